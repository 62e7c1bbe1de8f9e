"""Printed kernels -> LLVM, past Numba's front end.

A kernel's text is valid Numba source and stays the single truth, but Numba spends a millisecond on each of its
operations: typing, two intermediate forms, rewriting. What the printers write is a small language, translated here
in one walk, into a function with Numba's calling convention (`compiler.codegen.objects`).

The language, with Numba's meaning:

* assignment to a name or to an element `p[i]` of a pointer, `for name in range(...)`, `while`;
* names, integers (int64), `True`, `False`, `float32(0.5)`, `uint32(7)`, `float32(-inf)`;
* `+ - *` on int64 and floats of one type, `/` on floats, `//` and `%` on int64 (rounding down, 0 for a divisor
  of 0), `-x`, comparisons of two values of one type, `and`, `or`, `not` on booleans (both sides are evaluated);
* elements `p[i]` of a pointer;
* calls of Numba intrinsics of the scope: their own typer and code generator are used, as Numba would.

Nothing is converted in passing. A name is visible from its assignment to the end of the block that holds it, and
keeps its type; only names that are visible before a loop carry values from turn to turn. The index of a loop cannot
be assigned.

Floating-point instructions carry no flags here: Numba's fast-math pass adds the kernel's to every one that has none.
"""

from __future__ import annotations

import ast
from collections import ChainMap, Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types as numba_types

from compiler.codegen.kernel_syntax import KernelCompileError, assigned_in, items_have_sums
from compiler.codegen.scalar_math_integer import INTEGER_FUNCTIONS

__all__ = ["KernelTranslator", "Typed"]

types: Any = numba_types
INT64 = ir.IntType(64)
BIT = ir.IntType(1)

# An innermost loop of more instructions a turn takes two of LLVM's vectors a turn. The processor looks some 256
# instructions ahead, less than three turns of a formula with an exponential, and waits for its chain of multiply-adds
# then: gelu and its derivative of 8 elements take 9.3 ns, two by two 6.9, four by four 7.4 (Zen 3, 28 cycles and 21).
LONG_TURN = 48

_RELATIONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip
_FLOAT_OPERATIONS: dict[type[ast.operator], str] = {
    ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv",
}  # fmt: skip
_INDEX_OPERATIONS: dict[type[ast.operator], str] = {
    ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.FloorDiv: "floor_divide", ast.Mod: "remainder",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Typed:
    """An LLVM value and the Numba type that says what it means."""

    value: Any
    type: Any


@dataclass(frozen=True, slots=True)
class Variable:
    """A name that is assigned more than once: a place on the stack, which LLVM turns into registers."""

    place: Any
    type: Any


class KernelTranslator:
    """Emits one kernel's statements into a function of its own."""

    def __init__(
        self,
        context: Any,
        builder: Any,
        meaning: Callable[[str], Any],
        pure: Callable[[str], bool],
        locate: Callable[[int], Any] | None = None,
    ) -> None:
        """Emit through `builder` with Numba's target `context`.

        `meaning`: the intrinsic or NumPy scalar type that a name stands for, None for no such name. `pure`: whether
        that intrinsic's result depends on its arguments alone, so that it is emitted once for equal arguments.
        `locate`: LLVM's metadata for a line of the text, which its instructions then carry.
        """
        self._locate = locate
        self._context = context
        self._builder = builder
        self._meaning = meaning
        self._pure = pure
        self._names: ChainMap[str, Typed | Variable] = ChainMap()
        self._indices: set[str] = set()
        self._assignments: Counter[str] = Counter()
        # What was computed already, by what computed it: printed kernels repeat long index expressions. Each block
        # of the program has its own table, before those of the blocks around it, whose values reach into it.
        self._known: ChainMap[tuple[Any, ...], Typed] = ChainMap()

    def translate(self, definition: ast.FunctionDef, parameters: Mapping[str, Typed]) -> None:
        """Emit the body of a function, its `parameters` given by name.

        Raises:
            KernelCompileError: naming the line, for anything outside the language.
        """
        self._assignments = Counter(assigned_in(definition.body))
        self._names.update(parameters)
        self._indices.update(parameters)
        self._statements(definition.body)

    # Statements.

    def _statements(self, body: list[ast.stmt]) -> None:
        around = self._builder.debug_metadata
        for statement in body:
            if self._locate is not None:
                self._builder.debug_metadata = self._locate(statement.lineno)
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)]):
                    self._bind(statement, name, self._value(statement.value))
                case ast.Assign(targets=[ast.Subscript() as target]):
                    self._store(target, self._value(statement.value))
                case ast.For(target=ast.Name(), orelse=[]):
                    self._for_loop(statement)
                case ast.While(orelse=[]):
                    self._while_loop(statement)
                case _:
                    raise self._refusal(statement, "no such statement in kernels")
        self._builder.debug_metadata = around

    def _bind(self, node: ast.AST, name: str, value: Typed) -> None:
        if name in self._indices:
            raise self._refusal(node, f"'{name}' is a parameter or the index of a loop and cannot be assigned")
        known = self._names.get(name)
        if known is None and self._assignments[name] == 1:
            self._names[name] = value
            return
        if known is None:
            with self._builder.goto_entry_block():
                known = Variable(self._builder.alloca(value.value.type), value.type)
            self._names[name] = known
        if not isinstance(known, Variable) or known.type != value.type:
            raise self._refusal(node, f"'{name}' is {known.type} already and cannot become {value.type}")
        self._builder.store(value.value, known.place)

    def _store(self, target: ast.Subscript, value: Typed) -> None:
        place, kind = self._element(target)
        if kind == types.uint8 and value.type == types.boolean:
            value = Typed(self._builder.zext(value.value, place.type.pointee), kind)
        if value.type != kind:
            raise self._refusal(target, f"an element is {kind}; the value stored is {value.type}")
        self._builder.store(value.value, place)

    def _for_loop(self, node: ast.For) -> None:
        first, last, step = self._range_of(node.iter)
        assert isinstance(node.target, ast.Name)
        name = node.target.id
        if name in self._names:
            raise self._refusal(node, f"the index '{name}' has the name of something visible here")
        before = self._builder.block
        head, body, done = (self._builder.append_basic_block(part) for part in ("for", "body", "done"))
        self._builder.branch(head)
        self._builder.position_at_end(head)
        counter = self._builder.phi(INT64)
        counter.add_incoming(first, before)
        self._builder.cbranch(self._builder.icmp_signed("<", counter, last), body, done)
        self._builder.position_at_end(body)
        self._indices.add(name)
        if items_have_sums(node):
            # Nothing moves past this: LLVM widens no loop over it, so each item is summed by the same instructions.
            self._builder.asm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", [], side_effect=True)
        self._block(node.body, {name: Typed(counter, types.int64)})
        self._indices.remove(name)
        # It was below `last`, so one step further does not overflow unless `last` is within a step of 2**63.
        counter.add_incoming(self._builder.add(counter, step, flags=["nsw"]), self._builder.block)
        latch = self._builder.branch(head)
        if self._builder.block is body and len(body.instructions) > LONG_TURN:
            latch.set_metadata("llvm.loop", _interleaved(self._builder.module))
        self._builder.position_at_end(done)

    def _while_loop(self, node: ast.While) -> None:
        head, body, done = (self._builder.append_basic_block(part) for part in ("while", "body", "done"))
        self._builder.branch(head)
        self._builder.position_at_end(head)
        self._known = self._known.new_child()
        condition = self._typed(node.test, types.boolean)
        self._builder.cbranch(condition, body, done)
        self._builder.position_at_end(body)
        self._block(node.body, {})
        self._known = self._known.parents
        self._builder.branch(head)
        self._builder.position_at_end(done)

    def _block(self, body: list[ast.stmt], names: dict[str, Typed | Variable]) -> None:
        """The body of a loop: its names and values end with it."""
        self._names, self._known = self._names.new_child(names), self._known.new_child()
        self._statements(body)
        self._names, self._known = self._names.parents, self._known.parents

    def _range_of(self, node: ast.expr) -> tuple[Any, Any, Any]:
        match node:
            case ast.Call(func=ast.Name(id="range"), args=arguments, keywords=[]) if 1 <= len(arguments) <= 3:
                values = [self._typed(argument, types.int64) for argument in arguments]
            case _:
                raise self._refusal(node, "a loop runs over range(...)")
        if len(values) == 1:
            return ir.Constant(INT64, 0), values[0], ir.Constant(INT64, 1)
        if len(values) == 2:
            return values[0], values[1], ir.Constant(INT64, 1)
        match arguments[2]:
            case ast.Constant(value=int() as step) if step > 0:
                return values[0], values[1], values[2]
        raise self._refusal(node, "the step of a range is a positive literal")

    # Expressions.

    def _value(self, node: ast.expr) -> Typed:
        """The value of an expression."""
        match node:
            case ast.Constant(value=bool() as truth):
                return Typed(ir.Constant(BIT, int(truth)), types.boolean)
            case ast.Constant(value=int() as number):
                return self._integer(node, number)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as number)) if type(number) is int:
                return self._integer(node, -number)
            case ast.Name(id=name):
                return self._name(node, name)
            case ast.BinOp(left=left, op=kind, right=right):
                return self._binary(node, kind, self._value(left), self._value(right))
            case ast.Compare(left=left, ops=[relation], comparators=[right]):
                return self._compare(node, relation, self._value(left), self._value(right))
            case ast.BoolOp(op=combine, values=values):
                return self._logical(combine, [self._typed(value, types.boolean) for value in values])
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self._once(("not", self._typed(operand, types.boolean)), types.boolean, self._builder.not_)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._negate(node, self._value(operand))
            case ast.Subscript():
                place, kind = self._element(node)
                return Typed(self._builder.load(place), kind)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._call(node, name, arguments)
        raise self._refusal(node, "no such expression in kernels")

    def _typed(self, node: ast.expr, expected: Any) -> Any:
        """The LLVM value of an expression that must have a type."""
        result = self._value(node)
        if result.type != expected:
            raise self._refusal(node, f"expected {expected}, found {result.type}")
        return result.value

    def _once(self, key: tuple[Any, ...], kind: Any, emit: Any) -> Typed:
        """`emit(*operands)` for `key` = (what, *operands), unless that was computed already."""
        # Constants are equal by their text, all else is itself.
        name = (key[0], *(str(part) if isinstance(part, ir.Constant) else id(part) for part in key[1:]))
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = Typed(emit(*key[1:]), kind)
        return found

    def _integer(self, node: ast.AST, number: int) -> Typed:
        if not -(2**63) <= number < 2**63:
            raise self._refusal(node, "the number does not fit into int64")
        return Typed(ir.Constant(INT64, number), types.int64)

    def _name(self, node: ast.AST, name: str) -> Typed:
        known = self._names.get(name)
        if known is None:
            raise self._refusal(node, f"'{name}' has no value here")
        if isinstance(known, Variable):
            return Typed(self._builder.load(known.place), known.type)
        return known

    def _binary(self, node: ast.AST, kind: ast.operator, left: Typed, right: Typed) -> Typed:
        if left.type == right.type == types.int64 and type(kind) in _INDEX_OPERATIONS:
            function = _INDEX_OPERATIONS[type(kind)]
            _, emit = INTEGER_FUNCTIONS[function]
            return self._once(
                (function, left.value, right.value), types.int64, lambda a, b: emit(self._builder, True, a, b)
            )
        if left.type == right.type and isinstance(left.type, types.Float) and type(kind) in _FLOAT_OPERATIONS:
            operation = getattr(self._builder, _FLOAT_OPERATIONS[type(kind)])
            return Typed(operation(left.value, right.value), left.type)
        raise self._refusal(node, f"{type(kind).__name__} of {left.type} and {right.type}")

    def _compare(self, node: ast.AST, relation: ast.cmpop, left: Typed, right: Typed) -> Typed:
        sign = _RELATIONS.get(type(relation))
        if sign is None or left.type != right.type:
            raise self._refusal(node, f"comparison of {left.type} with {right.type}")
        if isinstance(left.type, types.Float):
            # True for NaN only where NaN differs from everything.
            comparison = self._builder.fcmp_unordered if sign == "!=" else self._builder.fcmp_ordered
        elif isinstance(left.type, types.Integer) and left.type.signed:
            comparison = self._builder.icmp_signed
        elif isinstance(left.type, (types.Integer, types.Boolean)):
            comparison = self._builder.icmp_unsigned
        else:
            raise self._refusal(node, f"comparison of {left.type}")
        return self._once((sign, left.value, right.value), types.boolean, lambda a, b: comparison(sign, a, b))

    def _logical(self, combine: ast.boolop, values: list[Any]) -> Typed:
        word = "and_" if isinstance(combine, ast.And) else "or_"
        result = values[0]
        for value in values[1:]:
            result = self._once((word, result, value), types.boolean, getattr(self._builder, word)).value
        return Typed(result, types.boolean)

    def _negate(self, node: ast.AST, operand: Typed) -> Typed:
        if isinstance(operand.type, types.Float):
            return Typed(self._builder.fsub(ir.Constant(operand.value.type, -0.0), operand.value), operand.type)
        if operand.type == types.int64:
            return Typed(self._builder.neg(operand.value), types.int64)
        raise self._refusal(node, f"the negative of {operand.type}")

    def _element(self, node: ast.Subscript) -> tuple[Any, Any]:
        """The place of an element in memory, and its type."""
        pointer = self._value(node.value)
        if not isinstance(pointer.type, types.CPointer):
            raise self._refusal(node, f"an element of {pointer.type}, which is no pointer")
        index = self._typed(node.slice, types.int64)
        return self._builder.gep(pointer.value, [index], inbounds=True), pointer.type.dtype

    def _call(self, node: ast.Call, name: str, arguments: list[ast.expr]) -> Typed:
        function = self._meaning(name)
        if isinstance(function, type) and issubclass(function, np.number) and len(arguments) == 1:
            return self._literal(node, function, arguments[0])
        define = getattr(function, "_defn", None)
        if define is None:
            raise self._refusal(node, f"'{name}' is no function that kernels may call")
        values = [self._value(argument) for argument in arguments]
        try:
            signature, generate = define(self._context.typing_context, *(value.type for value in values))
        except Exception as error:
            raise self._refusal(node, str(error)) from error
        if tuple(signature.args) != tuple(value.type for value in values):
            raise self._refusal(node, f"'{name}' takes {signature.args}")

        def emit(*operands: Any) -> Any:
            return generate(self._context, self._builder, signature, list(operands))

        operands = [value.value for value in values]
        if self._pure(name):
            return self._once((name, *operands), signature.return_type, emit)
        return Typed(emit(*operands), signature.return_type)

    def _literal(self, node: ast.Call, kind: type[np.number[Any]], argument: ast.expr) -> Typed:
        """`float32(0.5)`, `int8(-1)`, `float64(inf)`: a number rounded to its type."""
        negative, inner = False, argument
        if isinstance(argument, ast.UnaryOp) and isinstance(argument.op, ast.USub):
            negative, inner = True, argument.operand
        match inner:
            case ast.Constant(value=int() | float() as number) if type(number) is not bool:
                pass
            case ast.Name(id="inf" | "nan" as word) if word not in self._names:
                number = float(word)
            case _:
                raise self._refusal(node, "the argument of a literal is a number")
        number = -number if negative else number
        numba_type = getattr(types, kind.__name__)
        llvm_type = self._context.get_value_type(numba_type)
        if issubclass(kind, np.floating):
            with np.errstate(over="ignore"):
                return Typed(ir.Constant(llvm_type, float(kind(number))), numba_type)
        bounds = np.iinfo(kind.__name__)
        if not isinstance(number, int) or not bounds.min <= number <= bounds.max:
            raise self._refusal(node, f"{kind.__name__} holds integers from {bounds.min} to {bounds.max}")
        return Typed(ir.Constant(llvm_type, number), numba_type)

    def _refusal(self, node: ast.AST, reason: str) -> KernelCompileError:
        construct = ast.unparse(node).partition("\n")[0]
        return KernelCompileError(f"line {getattr(node, 'lineno', 0)}, `{construct}`: {reason}")


def _interleaved(module: Any) -> Any:
    """A loop's metadata, a node that names itself first, as LLVM asks: two vectors a turn."""
    count = ir.Constant(ir.IntType(32), 2)
    hint = module.add_metadata([ir.MetaDataString(module, "llvm.loop.interleave.count"), count])
    loop = ir.MDValue(module, [hint], name=str(len(module.metadata)))
    loop.operands = (loop, hint)
    return loop
