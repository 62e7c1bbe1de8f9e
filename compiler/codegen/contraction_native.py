"""Native driver functions, written in a small subset of Python and translated straight to LLVM.

Numba spends about a millisecond on each arithmetic operation of a function it compiles; a convolution's driver
has hundreds, all on integers. This translator handles just that case in a few milliseconds: every variable is an
int64, and a subscripted variable is the address of a table of int64.

Statements: assignment and augmented assignment to a name, assignment to `table[index]`, `if`, `while`,
`for name in range(...)` with a positive step, `continue`, `return`, calls. Expressions: integers, names,
constants given from outside, `+ - * // %` with Python's rounding, comparisons, `and`, `or`, `not`, `a if c else
b`, `min`, `max`, `table[index]`, calls of native functions. Both sides of `and`, `or` and a conditional
expression are evaluated. Anything else is a `SyntaxError` at translation.

The result is LLVM's text, written as it comes: through llvmlite's objects it took several times as long.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import NoReturn

__all__ = ["translate"]

_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "slt", ast.LtE: "sle", ast.Gt: "sgt", ast.GtE: "sge", ast.Eq: "eq", ast.NotEq: "ne",
}  # fmt: skip
_OPERATIONS: dict[type[ast.operator], str] = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul"}


def translate(source: str, constants: Mapping[str, int], callees: Mapping[str, int]) -> str:
    """The LLVM text of the one function that `source` defines, and the declarations of what it calls.

    `callees`: the native functions it may call, each with its number of arguments. Raises `SyntaxError` for a
    source outside the language.
    """
    definition = ast.parse(source).body[0]
    if not isinstance(definition, ast.FunctionDef):
        raise SyntaxError(f"a native driver's source is one function definition; got {ast.dump(definition)}")
    return _Translator(constants, callees).function(definition)


class _Translator:
    """Translates one function; variables live on the stack until LLVM promotes them to registers.

    A value is its text: a number, or the name of an instruction's result.
    """

    def __init__(self, constants: Mapping[str, int], callees: Mapping[str, int]) -> None:
        self.constants = constants
        self.callees = callees
        self.called: dict[str, int] = {}
        self.places: list[str] = []
        self.variables: dict[str, str] = {}
        self.lines: list[str] = []
        self.count = 0
        self.terminated = False
        self.next_turn: list[str] = []

    def function(self, definition: ast.FunctionDef) -> str:
        parameters = [argument.arg for argument in definition.args.args]
        named = (node for node in ast.walk(definition) if isinstance(node, ast.Name))
        stored = sorted({node.id for node in named if isinstance(node.ctx, ast.Store)})
        for name in dict.fromkeys([*parameters, *stored]):
            self.variables[name] = self.place(name)
        for name in parameters:
            self.store(f"%{name}", self.variables[name])
        self.statements(definition.body)
        if not self.terminated:
            self.end("ret i64 0")
        arguments = ", ".join(f"i64 %{name}" for name in parameters)
        declared = [f"declare i64 @{name}({', '.join(['i64'] * count)})" for name, count in self.called.items()]
        head = f"define i64 @{definition.name}({arguments}) noinline nounwind {{\nentry:"
        return "\n".join([*declared, head, *self.places, *self.lines, "}", ""])

    # Instructions.

    def let(self, instruction: str) -> str:
        self.count += 1
        name = f"%.{self.count}"
        self.lines.append(f"  {name} = {instruction}")
        return name

    def place(self, name: str) -> str:
        """A variable's place on the stack, made at the function's head."""
        place = f"%{name}.place{len(self.places)}"
        self.places.append(f"  {place} = alloca i64")
        return place

    def load(self, place: str) -> str:
        return self.let(f"load i64, i64* {place}")

    def store(self, value: str, place: str) -> None:
        self.lines.append(f"  store i64 {value}, i64* {place}")

    def blocks(self, *names: str) -> list[str]:
        self.count += 1
        return [f"{name}.{self.count}" for name in names]

    def begin(self, block: str) -> None:
        self.lines.append(f"{block}:")
        self.terminated = False

    def end(self, instruction: str) -> None:
        self.lines.append(f"  {instruction}")
        self.terminated = True

    def go(self, block: str) -> None:
        self.end(f"br label %{block}")

    def choose(self, condition: str, then: str, otherwise: str) -> None:
        self.end(f"br i1 {condition}, label %{then}, label %{otherwise}")

    # Statements.

    def statements(self, body: list[ast.stmt]) -> None:
        for statement in body:
            if self.terminated:
                self.refuse(statement)
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign(targets=[target]):
                self.assign(target, self.value(node.value))
            case ast.AugAssign(target=ast.Name(id=name)):
                held = self.load(self.variables[name])
                self.store(self.binary(node.op, held, self.value(node.value)), self.variables[name])
            case ast.Expr(value=ast.Call()):
                self.value(node.value)
            case ast.If():
                self.branch(node)
            case ast.While(orelse=[]):
                self.while_loop(node)
            case ast.For(target=ast.Name(), orelse=[]):
                self.for_loop(node)
            case ast.Continue():
                self.go(self.next_turn[-1])
            case ast.Return(value=ast.expr() as value):
                self.end(f"ret i64 {self.value(value)}")
            case _:
                self.refuse(node)

    def assign(self, target: ast.expr, value: str) -> None:
        match target:
            case ast.Name(id=name):
                self.store(value, self.variables[name])
            case ast.Subscript():
                self.lines.append(f"  store i64 {value}, i64* {self.element(target)}, align 8")
            case _:
                self.refuse(target)

    def branch(self, node: ast.If) -> None:
        then, otherwise, joined = self.blocks("then", "otherwise", "joined")
        self.choose(self.condition(node.test), then, otherwise)
        for block, body in ((then, node.body), (otherwise, node.orelse)):
            self.begin(block)
            self.statements(body)
            if not self.terminated:
                self.go(joined)
        self.begin(joined)

    def while_loop(self, node: ast.While) -> None:
        head, body, done = self.blocks("while", "body", "done")
        self.go(head)
        self.begin(head)
        self.choose(self.condition(node.test), body, done)
        self.begin(body)
        self.turn(node.body, head)
        self.begin(done)

    def for_loop(self, node: ast.For) -> None:
        match node.iter:
            case ast.Call(func=ast.Name(id="range"), args=arguments) if 1 <= len(arguments) <= 3:
                values = [self.value(argument) for argument in arguments]
            case _:
                self.refuse(node.iter)
        first = values[0] if len(values) > 1 else "0"
        last = values[1] if len(values) > 1 else values[0]
        step = values[2] if len(values) > 2 else "1"
        assert isinstance(node.target, ast.Name)
        # The counter is apart from the variable, which keeps its last value after the loop as in Python.
        counter = self.place("counter")
        self.store(first, counter)
        head, body, following, done = self.blocks("for", "body", "step", "done")
        self.go(head)
        self.begin(head)
        current = self.load(counter)
        self.choose(self.let(f"icmp slt i64 {current}, {last}"), body, done)
        self.begin(body)
        self.store(current, self.variables[node.target.id])
        self.turn(node.body, following)
        self.begin(following)
        self.store(self.let(f"add i64 {self.load(counter)}, {step}"), counter)
        self.go(head)
        self.begin(done)

    def turn(self, body: list[ast.stmt], following: str) -> None:
        """A loop's body, which goes on at `following`."""
        self.next_turn.append(following)
        self.statements(body)
        if not self.terminated:
            self.go(following)
        self.next_turn.pop()

    # Expressions.

    def condition(self, node: ast.expr) -> str:
        """A truth value."""
        match node:
            case ast.Compare(left=left, ops=[comparison], comparators=[right]):
                sign = _COMPARISONS.get(type(comparison)) or self.refuse(node)
                return self.let(f"icmp {sign} i64 {self.value(left)}, {self.value(right)}")
            case ast.BoolOp(op=kind, values=values):
                combine = "and" if isinstance(kind, ast.And) else "or"
                result = self.condition(values[0])
                for value in values[1:]:
                    result = self.let(f"{combine} i1 {result}, {self.condition(value)}")
                return result
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.let(f"xor i1 {self.condition(operand)}, true")
            case _:
                return self.let(f"icmp ne i64 {self.value(node)}, 0")

    def value(self, node: ast.expr) -> str:
        """An int64 value."""
        match node:
            case ast.Constant(value=int() as number):
                return str(int(number))
            case ast.Name(id=name) if name in self.variables:
                return self.load(self.variables[name])
            case ast.Name(id=name) if name in self.constants:
                return str(self.constants[name])
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.let(f"sub i64 0, {self.value(operand)}")
            case ast.BinOp(left=left, op=kind, right=right):
                return self.binary(kind, self.value(left), self.value(right))
            case ast.IfExp(test=test, body=body, orelse=otherwise):
                return self.select(self.condition(test), self.value(body), self.value(otherwise))
            case ast.Compare(ops=[_]) | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                return self.let(f"zext i1 {self.condition(node)} to i64")
            case ast.Subscript():
                return self.let(f"load i64, i64* {self.element(node)}, align 8")
            case ast.Call(func=ast.Name(id="min" | "max" as name), args=[_, _, *_] as arguments, keywords=[]):
                return self.extremum(name, [self.value(argument) for argument in arguments])
            case ast.Call(func=ast.Name(id=name), args=arguments) if len(arguments) == self.callees.get(name):
                return self.call(name, [self.value(argument) for argument in arguments])
            case _:
                self.refuse(node)
        raise AssertionError("every case above returns or raises")

    def call(self, name: str, values: Sequence[str]) -> str:
        self.called[name] = len(values)
        return self.let(f"call i64 @{name}({', '.join(f'i64 {value}' for value in values)})")

    def element(self, node: ast.Subscript) -> str:
        offset = self.let(f"shl i64 {self.value(node.slice)}, 3")
        address = self.let(f"add i64 {self.value(node.value)}, {offset}")
        return self.let(f"inttoptr i64 {address} to i64*")

    def select(self, condition: str, then: str, otherwise: str) -> str:
        return self.let(f"select i1 {condition}, i64 {then}, i64 {otherwise}")

    def extremum(self, name: str, values: Sequence[str]) -> str:
        sign = "slt" if name == "min" else "sgt"
        result = values[0]
        for value in values[1:]:
            result = self.select(self.let(f"icmp {sign} i64 {result}, {value}"), result, value)
        return result

    def binary(self, kind: ast.operator, left: str, right: str) -> str:
        match kind:
            case ast.Add() | ast.Sub() | ast.Mult():
                return self.let(f"{_OPERATIONS[type(kind)]} i64 {left}, {right}")
            case ast.FloorDiv():
                return self.floor_divide(left, right)
            case ast.Mod():
                product = self.let(f"mul i64 {self.floor_divide(left, right)}, {right}")
                return self.let(f"sub i64 {left}, {product}")
            case _:
                raise SyntaxError(f"a native driver has no operator {type(kind).__name__}")

    def floor_divide(self, left: str, right: str) -> str:
        """Python's division for a positive divisor: towards minus infinity."""
        quotient = self.let(f"sdiv i64 {left}, {right}")
        rest = self.let(f"srem i64 {left}, {right}")
        return self.let(f"add i64 {quotient}, {self.let(f'ashr i64 {rest}, 63')}")

    def refuse(self, node: ast.AST) -> NoReturn:
        line = getattr(node, "lineno", 0)
        raise SyntaxError(f"a native driver cannot hold, at its line {line}: {ast.unparse(node)}")
