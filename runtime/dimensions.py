"""Symbolic integers: sizes, offsets and extents that are known only when a program is called.

A `Dim` is a plain `int` or a `SymbolicInt`: see `runtime.symbolic` for the canonical form. This module is the
public face: it builds, reads, evaluates and substitutes sizes. `str(dim)` is the text that `parse_dim` reads.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, reduce
from typing import Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from runtime.symbolic import (
    Atom,
    Dim,
    FloorDivision,
    Maximum,
    Symbol,
    SymbolicInt,
    dim_max,
    is_nonnegative,
    symbol,
    symbols_of,
)

__all__ = [
    "Dim",
    "SymbolicInt",
    "align_up",
    "ceil_div",
    "dim_max",
    "dim_product",
    "evaluate",
    "is_at_most",
    "is_nonnegative",
    "parse_dim",
    "substitute",
    "symbol",
    "symbols_of",
    "tabulate",
]

# Text beyond these bounds is an error in a file, not a size that a model has.
_MOST_CHARACTERS = 20_000
_DEEPEST_NESTING = 60

_Values: TypeAlias = Mapping[str, Any]

_TOKEN = re.compile(r"\s*(?:([0-9]+)|([A-Za-z_][A-Za-z0-9_]*)|(//|[-+*(),]))")


def ceil_div(dim: Dim, divisor: int) -> Dim:
    """`dim / divisor` rounded up."""
    return (dim + (divisor - 1)) // divisor


def is_at_most(dim: Dim, most: int) -> Dim:
    """1 where a size is at most so large, 0 where it is larger."""
    return dim_max(0, 1 - dim // (most + 1))


def align_up(dim: Dim, alignment: int = 64) -> Dim:
    """The least multiple of `alignment` that is not below `dim`."""
    return ceil_div(dim, alignment) * alignment


def dim_product(dims: Iterable[Dim]) -> Dim:
    """The product of sizes; 1 when there are none."""
    return reduce(operator.mul, dims, 1)


def evaluate(dim: Dim, values: Mapping[str, int]) -> int:
    """The number that `dim` is when each symbol has the value given by name.

    Raises `ValueError` when a symbol has no value or a negative one.
    """
    number: int = _evaluated(dim, values, _value_of, max)
    return number


def tabulate(dim: Dim, values: Mapping[str, int], name: str, count: int) -> NDArray[np.int64]:
    """What `evaluate` gives where the symbol `name` is 0, 1, 2, … and `count - 1`, `count` of them, all at once.

    Raises `ValueError` as `evaluate` does, and where a part of the expression leaves 64 bits.
    """
    greatest = {**values, name: max(count - 1, 0)}
    if _magnitude(dim, greatest) >= 1 << 63:
        raise ValueError(f"the size {dim} is out of range for {greatest}")
    arrays = {**greatest, name: np.arange(count, dtype=np.int64)}  # no part of the expression wraps around
    numbers = _evaluated(dim, arrays, _array_of, _greatest_array)
    return np.ascontiguousarray(np.broadcast_to(np.asarray(numbers, np.int64), (count,)))


def _magnitude(dim: Dim, values: Mapping[str, int]) -> int:
    """What neither `dim` nor a part of it exceeds, with any sign, at values up to these."""
    if not isinstance(dim, SymbolicInt):
        return abs(dim)
    total = 0
    for monomial, coefficient in dim.terms:
        size = abs(coefficient)
        for atom in monomial:
            match atom:
                case Symbol():
                    size *= max(1, _value_of(atom.text, values))
                case FloorDivision():
                    size *= max(atom.divisor, _magnitude(atom.numerator, values))
                case Maximum():
                    size *= max(1, *(_magnitude(argument, values) for argument in atom.arguments))
        total += size
    return total


def _evaluated(
    dim: Dim, values: _Values, value_of: Callable[[str, _Values], Any], greatest: Callable[[Iterable[Any]], Any]
) -> Any:
    """`evaluate` and `tabulate`: numbers or arrays, which `value_of` gives for symbols and `greatest` chooses from."""
    if not isinstance(dim, SymbolicInt):
        return dim
    total: Any = 0
    for monomial, coefficient in dim.terms:
        product: Any = coefficient
        for atom in monomial:
            match atom:
                case Symbol():
                    product = product * value_of(atom.text, values)
                case FloorDivision():
                    product = product * (_evaluated(atom.numerator, values, value_of, greatest) // atom.divisor)
                case Maximum():
                    arguments = (_evaluated(argument, values, value_of, greatest) for argument in atom.arguments)
                    product = product * greatest(arguments)
        total = total + product
    return total


def _value_of(name: str, values: _Values) -> int:
    if name not in values:
        bound = ", ".join(sorted(values)) or "none"
        raise ValueError(f"the size {name!r} has no value; values were given for: {bound}")
    value = operator.index(values[name])
    if value < 0:
        raise ValueError(f"the size {name!r} must not be negative, got {value}")
    return value


def _array_of(name: str, values: _Values) -> Any:
    return values[name]


def _greatest_array(arrays: Iterable[Any]) -> Any:
    return reduce(np.maximum, arrays)


def substitute(dim: Dim, values: Mapping[str, Dim]) -> Dim:
    """`dim` with each symbol named in `values` replaced; the other symbols stay."""
    if not isinstance(dim, SymbolicInt):
        return dim
    result: Dim = 0
    for monomial, coefficient in dim.terms:
        result = result + dim_product(_substitute_atom(atom, values) for atom in monomial) * coefficient
    return result


def parse_dim(text: str) -> Dim:
    """Read a size written with integers, names, `+ - * //`, parentheses and `max(a, b)`.

    Raises `ValueError` with the text and the position for anything else.
    """
    if not isinstance(text, str):
        raise ValueError(f"a size is parsed from text, got {type(text).__name__}")
    return _parse(text)


@lru_cache(maxsize=4096)
def _parse(text: str) -> Dim:
    # A program repeats few sizes many times.
    return _Parser(text).parse()


def _substitute_atom(atom: Atom, values: Mapping[str, Dim]) -> Dim:
    match atom:
        case FloorDivision():
            return substitute(atom.numerator, values) // atom.divisor
        case Maximum():
            return dim_max(*(substitute(argument, values) for argument in atom.arguments))
    return values[atom.text] if atom.text in values else symbol(atom.text)


class _Parser:
    """Recursive descent over the grammar in `parse_dim`; depth and length are bounded."""

    def __init__(self, text: str) -> None:
        if len(text) > _MOST_CHARACTERS:
            raise ValueError(f"a size's text may have at most {_MOST_CHARACTERS} characters, got {len(text)}")
        self.text = text
        self.position = 0
        self.depth = 0

    def parse(self) -> Dim:
        result = self._sum()
        if self.text[self.position :].strip():
            self._fail("an operator or the end")
        return result

    def _sum(self) -> Dim:
        self.depth += 1
        if self.depth > _DEEPEST_NESTING:
            self._fail(f"at most {_DEEPEST_NESTING} levels of nesting")
        result = self._product()
        while operation := self._take("+", "-"):
            right = self._product()
            result = result + right if operation == "+" else result - right
        self.depth -= 1
        return result

    def _product(self) -> Dim:
        result = self._factor()
        while operation := self._take("*", "//"):
            right = self._factor()
            if operation == "//" and (right == 0 or (isinstance(right, int) and right < 0)):
                self._fail("a positive divisor before this")
            result = result * right if operation == "*" else result // right
        return result

    def _factor(self) -> Dim:
        negative = False
        while self._take("-"):
            negative = not negative
        value = self._primary()
        return -value if negative else value

    def _primary(self) -> Dim:
        if self._take("("):
            return self._closed(self._sum())
        match = _TOKEN.match(self.text, self.position)
        if match is None or match[3]:
            self._fail("a number, a name or '('")
        self.position = match.end()
        if match[1]:
            return int(match[1])
        return self._maximum() if match[2] == "max" else symbol(match[2])

    def _maximum(self) -> Dim:
        if not self._take("("):
            self._fail("'(' after max")
        arguments = [self._sum()]
        while self._take(","):
            arguments.append(self._sum())
        return self._closed(dim_max(*arguments))

    def _closed(self, value: Dim) -> Dim:
        if not self._take(")"):
            self._fail("')'")
        return value

    def _take(self, *operators: str) -> str | None:
        match = _TOKEN.match(self.text, self.position)
        if match is None or match[3] not in operators:
            return None
        self.position = match.end()
        return match[3]

    def _fail(self, expected: str) -> NoReturn:
        raise ValueError(f"cannot read the size {self.text!r}: expected {expected} at character {self.position}")
