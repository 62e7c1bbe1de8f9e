"""Native driver functions, written in a small subset of Python and translated straight to LLVM.

Numba spends about a millisecond on each arithmetic operation of a function it compiles; a convolution's driver
has hundreds, all on integers. This translator handles just that case in a few milliseconds: every variable is an
int64, and a subscripted variable is the address of a table of int64.

Statements: assignment and augmented assignment to a name, assignment to `table[index]`, `if`, `while`,
`for name in range(...)` with a positive step, `continue`, `return`, calls. Expressions: integers, names,
constants given from outside, `+ - * // %` with Python's rounding, comparisons, `and`, `or`, `not`, `a if c else
b`, `min`, `max`, `table[index]`, calls of native functions. Both sides of `and`, `or` and a conditional
expression are evaluated. Anything else is a `SyntaxError` at translation.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any, NoReturn

from llvmlite import ir

from compiler.codegen.contraction_ir import INT64, NativeFunction, constant, native_type

__all__ = ["translate"]

_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}


def translate(module: Any, source: str, constants: Mapping[str, int], callees: Mapping[str, int]) -> None:
    """Add the one function that `source` defines to an LLVM module.

    `callees`: the native functions it may call, each with its number of arguments. Raises `SyntaxError` for a
    source outside the language.
    """
    definition = ast.parse(source).body[0]
    if not isinstance(definition, ast.FunctionDef):
        raise SyntaxError(f"a native driver's source is one function definition; got {ast.dump(definition)}")
    parameters = [argument.arg for argument in definition.args.args]
    native = NativeFunction(module, definition.name, parameters)
    _Translator(native, constants, callees).function(definition)


class _Translator:
    """Translates one function; variables live on the stack until LLVM promotes them to registers."""

    def __init__(self, native: NativeFunction, constants: Mapping[str, int], callees: Mapping[str, int]) -> None:
        self.native = native
        self.callees = callees
        self.builder = native.builder
        self.constants = constants
        self.variables: dict[str, Any] = {}
        self.next_turn: list[Any] = []

    def function(self, definition: ast.FunctionDef) -> None:
        names = sorted(
            {node.id for node in ast.walk(definition) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        )
        for name in [*self.native.arguments, *names]:
            self.variables[name] = self.builder.alloca(INT64, name=name)
        for name, value in self.native.arguments.items():
            self.builder.store(value, self.variables[name])
        self.statements(definition.body)
        if not self.builder.block.is_terminated:
            self.builder.ret(constant(0))

    def statements(self, body: list[ast.stmt]) -> None:
        for statement in body:
            if self.builder.block.is_terminated:
                self.refuse(statement)
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign(targets=[target]):
                self.assign(target, self.value(node.value))
            case ast.AugAssign(target=ast.Name(id=name)):
                held = self.builder.load(self.variables[name])
                self.builder.store(self.binary(node.op, held, self.value(node.value)), self.variables[name])
            case ast.Expr(value=ast.Call()):
                self.value(node.value)
            case ast.If():
                self.branch(node)
            case ast.While(orelse=[]):
                self.while_loop(node)
            case ast.For(target=ast.Name(), orelse=[]):
                self.for_loop(node)
            case ast.Continue():
                self.builder.branch(self.next_turn[-1])
            case ast.Return(value=ast.expr()):
                assert node.value is not None
                self.builder.ret(self.value(node.value))
            case _:
                self.refuse(node)

    def assign(self, target: ast.expr, value: Any) -> None:
        match target:
            case ast.Name(id=name):
                self.builder.store(value, self.variables[name])
            case ast.Subscript():
                self.builder.store(value, self.element(target))
            case _:
                self.refuse(target)

    def branch(self, node: ast.If) -> None:
        then = self.native.function.append_basic_block("then")
        otherwise = self.native.function.append_basic_block("otherwise")
        joined = self.native.function.append_basic_block("joined")
        self.builder.cbranch(self.condition(node.test), then, otherwise)
        for block, body in ((then, node.body), (otherwise, node.orelse)):
            self.builder.position_at_end(block)
            self.statements(body)
            if not self.builder.block.is_terminated:
                self.builder.branch(joined)
        self.builder.position_at_end(joined)

    def while_loop(self, node: ast.While) -> None:
        head = self.native.function.append_basic_block("while")
        body = self.native.function.append_basic_block("body")
        done = self.native.function.append_basic_block("done")
        self.builder.branch(head)
        self.builder.position_at_end(head)
        self.builder.cbranch(self.condition(node.test), body, done)
        self.turn(body, node.body, head)
        self.builder.position_at_end(done)

    def for_loop(self, node: ast.For) -> None:
        match node.iter:
            case ast.Call(func=ast.Name(id="range"), args=arguments) if 1 <= len(arguments) <= 3:
                values = [self.value(argument) for argument in arguments]
            case _:
                self.refuse(node.iter)
        first = values[0] if len(values) > 1 else constant(0)
        last = values[1] if len(values) > 1 else values[0]
        step = values[2] if len(values) > 2 else constant(1)
        assert isinstance(node.target, ast.Name)
        variable = self.variables[node.target.id]
        # The counter is apart from the variable, which keeps its last value after the loop as in Python.
        with self.builder.goto_entry_block():
            counter = self.builder.alloca(INT64)
        self.builder.store(first, counter)
        head = self.native.function.append_basic_block("for")
        body = self.native.function.append_basic_block("body")
        step_block = self.native.function.append_basic_block("step")
        done = self.native.function.append_basic_block("done")
        self.builder.branch(head)
        self.builder.position_at_end(head)
        current = self.builder.load(counter)
        self.builder.cbranch(self.builder.icmp_signed("<", current, last), body, done)
        self.builder.position_at_end(body)
        self.builder.store(current, variable)
        self.turn(body, node.body, step_block)
        self.builder.position_at_end(step_block)
        self.builder.store(self.builder.add(self.builder.load(counter), step), counter)
        self.builder.branch(head)
        self.builder.position_at_end(done)

    def turn(self, block: Any, body: list[ast.stmt], following: Any) -> None:
        """A loop's body, which goes on at `following`."""
        self.next_turn.append(following)
        self.builder.position_at_end(block)
        self.statements(body)
        if not self.builder.block.is_terminated:
            self.builder.branch(following)
        self.next_turn.pop()

    def condition(self, node: ast.expr) -> Any:
        """A truth value."""
        match node:
            case ast.Compare(left=left, ops=[comparison], comparators=[right]):
                sign = _COMPARISONS.get(type(comparison)) or self.refuse(node)
                return self.builder.icmp_signed(sign, self.value(left), self.value(right))
            case ast.BoolOp(op=kind, values=values):
                combine = self.builder.and_ if isinstance(kind, ast.And) else self.builder.or_
                result = self.condition(values[0])
                for value in values[1:]:
                    result = combine(result, self.condition(value))
                return result
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.builder.not_(self.condition(operand))
            case _:
                return self.builder.icmp_signed("!=", self.value(node), constant(0))

    def value(self, node: ast.expr) -> Any:
        """An int64 value."""
        match node:
            case ast.Constant(value=int() as number):
                return constant(number)
            case ast.Name(id=name) if name in self.variables:
                return self.builder.load(self.variables[name])
            case ast.Name(id=name) if name in self.constants:
                return constant(self.constants[name])
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.builder.neg(self.value(operand))
            case ast.BinOp(left=left, op=kind, right=right):
                return self.binary(kind, self.value(left), self.value(right))
            case ast.IfExp(test=test, body=body, orelse=otherwise):
                return self.builder.select(self.condition(test), self.value(body), self.value(otherwise))
            case ast.Compare(ops=[_]) | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                return self.builder.zext(self.condition(node), INT64)
            case ast.Subscript():
                return self.builder.load(self.element(node))
            case ast.Call(func=ast.Name(id="min" | "max" as name), args=[_, _, *_] as arguments, keywords=[]):
                return self.extremum(name, [self.value(argument) for argument in arguments])
            case ast.Call(func=ast.Name(id=name), args=arguments) if len(arguments) == self.callees.get(name):
                module = self.builder.module
                callee = module.globals.get(name) or ir.Function(module, native_type(len(arguments)), name)
                return self.builder.call(callee, [self.value(argument) for argument in arguments])
            case _:
                self.refuse(node)
        raise AssertionError("every case above returns or raises")

    def element(self, node: ast.Subscript) -> Any:
        index = self.builder.shl(self.value(node.slice), constant(3))
        return self.native.pointer(self.builder.add(self.value(node.value), index), INT64)

    def extremum(self, name: str, values: list[Any]) -> Any:
        sign = "<" if name == "min" else ">"
        result = values[0]
        for value in values[1:]:
            result = self.builder.select(self.builder.icmp_signed(sign, result, value), result, value)
        return result

    def binary(self, kind: ast.operator, left: Any, right: Any) -> Any:
        match kind:
            case ast.Add():
                return self.builder.add(left, right)
            case ast.Sub():
                return self.builder.sub(left, right)
            case ast.Mult():
                return self.builder.mul(left, right)
            case ast.FloorDiv():
                return self.floor_divide(left, right)
            case ast.Mod():
                product = self.builder.mul(self.floor_divide(left, right), right)
                return self.builder.sub(left, product)
            case _:
                raise SyntaxError(f"a native driver has no operator {type(kind).__name__}")

    def floor_divide(self, left: Any, right: Any) -> Any:
        """Python's division for a positive divisor: towards minus infinity."""
        quotient = self.builder.sdiv(left, right)
        rest = self.builder.srem(left, right)
        return self.builder.add(quotient, self.builder.ashr(rest, constant(63)))

    def refuse(self, node: ast.AST) -> NoReturn:
        line = getattr(node, "lineno", 0)
        raise SyntaxError(f"a native driver cannot hold, at its line {line}: {ast.unparse(node)}")
