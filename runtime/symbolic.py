"""The algebra behind symbolic sizes: canonical polynomials with integer coefficients over atoms.

An atom is a symbol (`batch`), the floor division of an expression by a positive integer (`(h+1)//2`), or the
maximum of several expressions (`max(64*a, 64*b)`). Symbols stand for sizes, so they are never negative.

Arithmetic keeps one canonical form, so two ways of computing a size compare equal:

- like terms are collected, and a result without a symbol is an `int`;
- a floor division gives up every multiple of its divisor: `(64*batch)//64 == batch`,
  `(h-1)//2 + 1 == (h+1)//2`;
- nested floor divisions join: `(h//2)//2 == h//4`;
- a maximum drops every argument that another one is never below:
  `dim_max(64*batch, 128*batch) == 128*batch`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import gcd
from typing import NoReturn, SupportsIndex, TypeAlias

# More terms are an error in a file, not a size that a model has.
_MOST_TERMS = 4096

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Symbol:
    """An unknown size, by name."""

    text: str


@dataclass(frozen=True, slots=True)
class FloorDivision:
    """The floor of `numerator` over the positive integer `divisor`."""

    text: str = field(init=False)
    numerator: SymbolicInt = field(compare=False)
    divisor: int = field(compare=False)

    def __post_init__(self) -> None:
        numerator = self.numerator.text
        if not _NAME.fullmatch(numerator):
            numerator = f"({numerator})"
        object.__setattr__(self, "text", f"{numerator}//{self.divisor}")


@dataclass(frozen=True, slots=True)
class Maximum:
    """The greatest of two or more expressions, sorted by their text."""

    text: str = field(init=False)
    arguments: tuple[Dim, ...] = field(compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", f"max({', '.join(str(a) for a in self.arguments)})")


Atom: TypeAlias = Symbol | FloorDivision | Maximum
Monomial: TypeAlias = tuple[Atom, ...]


@dataclass(frozen=True, slots=True, repr=False)
class SymbolicInt:
    """An integer that depends on at least one symbol. Build it with `symbol`, `parse_dim` and arithmetic.

    Immutable and hashable; `==` compares canonical forms. It refuses to act as a Python integer, an index or
    a truth value with a `TypeError` that names the unbound symbols: use `evaluate` to get a number.
    """

    terms: tuple[tuple[Monomial, int], ...] = field(compare=False)
    text: str = field(init=False)

    # NumPy integers leave arithmetic with a symbolic size to it.
    __array_ufunc__ = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", _format_terms(self.terms))

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text

    def __add__(self, other: Dim) -> Dim:
        if not _is_dim(other):
            return NotImplemented
        return _add(self, other)

    __radd__ = __add__

    def __sub__(self, other: Dim) -> Dim:
        if not _is_dim(other):
            return NotImplemented
        return _add(self, _scale(other, -1))

    def __rsub__(self, other: Dim) -> Dim:
        if not _is_dim(other):
            return NotImplemented
        return _add(other, _scale(self, -1))

    def __mul__(self, other: Dim) -> Dim:
        if not _is_dim(other):
            return NotImplemented
        return _multiply(self, other)

    __rmul__ = __mul__

    def __neg__(self) -> Dim:
        return _scale(self, -1)

    def __floordiv__(self, other: Dim) -> Dim:
        if not _is_dim(other):
            return NotImplemented
        return _floor_divide(self, other)

    def __rfloordiv__(self, other: Dim) -> Dim:
        if not _is_dim(other):
            return NotImplemented
        return _floor_divide(other, self)

    def __mod__(self, other: Dim) -> Dim:
        if not _is_dim(other):
            return NotImplemented
        return self - _floor_divide(self, other) * other

    def __index__(self) -> int:
        self._refuse("be used as an integer")

    def __int__(self) -> int:
        self._refuse("be converted to an integer")

    def __float__(self) -> float:
        self._refuse("be converted to a float")

    def __bool__(self) -> bool:
        self._refuse("be used as a truth value")

    def __lt__(self, other: object) -> bool:
        self._refuse("be ordered")

    __le__ = __gt__ = __ge__ = __lt__

    def _refuse(self, action: str) -> NoReturn:
        names = ", ".join(repr(name) for name in symbols_of(self))
        raise TypeError(
            f"the symbolic size {self.text} cannot {action}: {names} is unbound; "
            f"call evaluate(dim, {{...}}) with a value for each symbol"
        )


Dim: TypeAlias = int | SymbolicInt


def symbol(name: str) -> SymbolicInt:
    """The size called `name`. Raises `ValueError` unless it is an ASCII identifier other than `max`."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name == "max":
        raise ValueError(f"a symbol's name must be an ASCII identifier other than 'max', got {name!r}")
    return SymbolicInt((((Symbol(name),), 1),))


def dim_max(*dims: Dim) -> Dim:
    """The greatest of the given sizes, simplified where one is known never to be below another.

    Raises `ValueError` when called with nothing.
    """
    if not dims:
        raise ValueError("dim_max needs at least one size")
    kept: list[Dim] = []
    for dim in _flatten_maxima(dims):
        if any(is_nonnegative(other - dim) for other in kept):
            continue
        kept = [other for other in kept if not is_nonnegative(dim - other)]
        kept.append(dim)
    if len(kept) == 1:
        return kept[0]
    return SymbolicInt((((Maximum(tuple(sorted(kept, key=str))),), 1),))


def is_nonnegative(dim: Dim) -> bool:
    """True when `dim` is at least 0 for every value of its symbols; False when that is not known."""
    if not isinstance(dim, SymbolicInt):
        return dim >= 0
    return all(c > 0 and all(_atom_is_nonnegative(atom) for atom in monomial) for monomial, c in dim.terms)


def symbols_of(dim: Dim) -> tuple[str, ...]:
    """The names of the symbols in `dim`, sorted."""
    names: set[str] = set()
    pending: list[Dim] = [dim]
    while pending:
        expression = pending.pop()
        if not isinstance(expression, SymbolicInt):
            continue
        for atom in (atom for monomial, _ in expression.terms for atom in monomial):
            match atom:
                case Symbol():
                    names.add(atom.text)
                case FloorDivision():
                    pending.append(atom.numerator)
                case Maximum():
                    pending.extend(atom.arguments)
    return tuple(sorted(names))


def _is_dim(value: object) -> bool:
    return isinstance(value, (int, SymbolicInt, SupportsIndex))  # the last one is a protocol and slow to ask


def _terms_of(dim: Dim) -> Iterable[tuple[Monomial, int]]:
    if isinstance(dim, SymbolicInt):
        return dim.terms
    return (((), operator.index(dim)),)


def _monomial_order(monomial: Monomial) -> tuple[int, tuple[str, ...]]:
    """Highest degree first, then lexicographic: the graded order, which exact division relies on."""
    return -len(monomial), tuple(atom.text for atom in monomial)


def _from_terms(collected: Mapping[Monomial, int]) -> Dim:
    terms = sorted(((m, c) for m, c in collected.items() if c), key=lambda term: _monomial_order(term[0]))
    if not terms:
        return 0
    if not terms[0][0]:
        return terms[0][1]
    if len(terms) > _MOST_TERMS:
        raise ValueError(f"a symbolic size may have at most {_MOST_TERMS} terms, this one has {len(terms)}")
    return SymbolicInt(tuple(terms))


def _add(left: Dim, right: Dim) -> Dim:
    collected = dict(_terms_of(left))
    for monomial, coefficient in _terms_of(right):
        collected[monomial] = collected.get(monomial, 0) + coefficient
    return _from_terms(collected)


def _scale(dim: Dim, factor: int) -> Dim:
    return _from_terms({monomial: c * factor for monomial, c in _terms_of(dim)})


def _multiply(left: Dim, right: Dim) -> Dim:
    left_terms, right_terms = tuple(_terms_of(left)), tuple(_terms_of(right))
    if len(left_terms) * len(right_terms) > _MOST_TERMS:
        raise ValueError(f"the product of two symbolic sizes would have more than {_MOST_TERMS} terms")
    collected: dict[Monomial, int] = {}
    for left_monomial, left_coefficient in left_terms:
        for right_monomial, right_coefficient in right_terms:
            monomial = tuple(sorted(left_monomial + right_monomial, key=lambda atom: atom.text))
            collected[monomial] = collected.get(monomial, 0) + left_coefficient * right_coefficient
    return _from_terms(collected)


def _floor_divide(numerator: Dim, divisor: Dim) -> Dim:
    if isinstance(divisor, SymbolicInt):
        return _divide_exactly(numerator, divisor)
    divisor = operator.index(divisor)
    if divisor == 0:
        raise ZeroDivisionError(f"the size {numerator} is divided by zero")
    if divisor < 0:
        raise ValueError(f"a size is divided by a positive integer only, got {numerator} // {divisor}")
    # With c = q*divisor + r, floor(c*m / divisor) gives up q*m exactly, because m is an integer.
    whole = _from_terms({monomial: c // divisor for monomial, c in _terms_of(numerator)})
    rest = _from_terms({monomial: c % divisor for monomial, c in _terms_of(numerator)})
    return _add(whole, _reduced_quotient(rest, divisor))


def _reduced_quotient(rest: Dim, divisor: int) -> Dim:
    """`rest // divisor` where every coefficient of `rest` is in [0, divisor)."""
    if not isinstance(rest, SymbolicInt):
        return rest // divisor
    common = gcd(divisor, *(c for monomial, c in rest.terms if monomial))
    if common > 1:
        # floor((common*x + c) / (common*d)) = floor((x + floor(c / common)) / d)
        reduced = _from_terms({monomial: c // common for monomial, c in rest.terms})
        return _floor_divide(reduced, divisor // common)
    (first, coefficient), *others = rest.terms
    constant = others[0][1] if others and not others[0][0] else 0
    is_one_atom = len(first) == 1 and coefficient == 1 and len(others) == (constant != 0)
    if is_one_atom and isinstance(first[0], FloorDivision):
        inner = first[0]
        return _floor_divide(inner.numerator + constant * inner.divisor, inner.divisor * divisor)
    return SymbolicInt((((FloorDivision(rest, divisor),), 1),))


def _divide_exactly(numerator: Dim, divisor: SymbolicInt) -> Dim:
    """Polynomial long division; refused with `ValueError` when a remainder is left."""
    quotient: Dim = 0
    rest = numerator
    leading, leading_coefficient = divisor.terms[0]
    while rest != 0:
        monomial, coefficient = next(iter(_terms_of(rest)))
        factor = _monomial_quotient(monomial, leading)
        if factor is None or coefficient % leading_coefficient:
            raise ValueError(f"the size {numerator} is not an exact multiple of {divisor}")
        step = _from_terms({factor: coefficient // leading_coefficient})
        quotient = quotient + step
        rest = rest - step * divisor
    return quotient


def _monomial_quotient(numerator: Monomial, divisor: Monomial) -> Monomial | None:
    remaining = list(numerator)
    for atom in divisor:
        if atom not in remaining:
            return None
        remaining.remove(atom)
    return tuple(remaining)


def _flatten_maxima(dims: Iterable[Dim]) -> Iterable[Dim]:
    for dim in dims:
        atom = _single_atom(dim)
        if isinstance(atom, Maximum):
            yield from atom.arguments
        else:
            yield dim if isinstance(dim, SymbolicInt) else operator.index(dim)


def _single_atom(dim: Dim) -> Atom | None:
    if not isinstance(dim, SymbolicInt) or len(dim.terms) != 1:
        return None
    monomial, coefficient = dim.terms[0]
    return monomial[0] if coefficient == 1 and len(monomial) == 1 else None


def _atom_is_nonnegative(atom: Atom) -> bool:
    match atom:
        case FloorDivision():
            return is_nonnegative(atom.numerator)
        case Maximum():
            return any(is_nonnegative(argument) for argument in atom.arguments)
    return True


def _format_terms(terms: tuple[tuple[Monomial, int], ...]) -> str:
    pieces: list[str] = []
    for monomial, coefficient in terms:
        sign = "-" if coefficient < 0 else "+" if pieces else ""
        pieces.append(sign + _format_term(monomial, abs(coefficient), alone=not sign or sign == "+"))
    return "".join(pieces)


def _format_term(monomial: Monomial, coefficient: int, alone: bool) -> str:
    if not monomial:
        return str(coefficient)
    alone = alone and coefficient == 1 and len(monomial) == 1
    factors = [str(coefficient)] if coefficient != 1 else []
    for atom in monomial:
        # A quotient binds like a product, so within one it needs parentheses.
        factors.append(f"({atom.text})" if isinstance(atom, FloorDivision) and not alone else atom.text)
    return "*".join(factors)
