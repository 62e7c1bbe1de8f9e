"""Symbolic integers: canonical form, agreement with integer arithmetic, text that parses back."""

from __future__ import annotations

import operator
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.dimensions import (
    Dim,
    SymbolicInt,
    align_up,
    ceil_div,
    dim_max,
    dim_product,
    evaluate,
    is_nonnegative,
    parse_dim,
    substitute,
    symbol,
    symbols_of,
    tabulate,
)

BATCH, H, W = symbol("batch"), symbol("h"), symbol("w")
VALUES = st.fixed_dictionaries({name: st.integers(0, 300) for name in ("batch", "h", "w")})


class Expression:
    """A size built two ways: symbolically, and as a function of numbers that never sees SymbolicInt."""

    def __init__(self, dim: Dim, oracle) -> None:
        self.dim = dim
        self.oracle = oracle

    def __repr__(self) -> str:
        return f"Expression({self.dim})"


def _leaf_symbol(name: str) -> Expression:
    return Expression(symbol(name), lambda values: values[name])


def _leaf_integer(number: int) -> Expression:
    return Expression(number, lambda values: number)


def _binary(function, symbolic=None):
    def build(pair):
        left, right = pair
        combine = symbolic or function
        return Expression(combine(left.dim, right.dim), lambda v: function(left.oracle(v), right.oracle(v)))

    return build


def _divided(pair):
    numerator, divisor = pair
    return Expression(numerator.dim // divisor, lambda v: numerator.oracle(v) // divisor)


LEAVES = st.one_of(st.sampled_from(["batch", "h", "w"]).map(_leaf_symbol), st.integers(-70, 70).map(_leaf_integer))


def _grow(children):
    pair = st.tuples(children, children)
    return st.one_of(
        pair.map(_binary(operator.add)),
        pair.map(_binary(operator.sub)),
        pair.map(_binary(operator.mul)),
        pair.map(_binary(max, dim_max)),
        st.tuples(children, st.integers(1, 64)).map(_divided),
    )


EXPRESSIONS = st.recursive(LEAVES, _grow, max_leaves=7)


@given(EXPRESSIONS, VALUES)
@settings(max_examples=120, deadline=None)
def test_arithmetic_agrees_with_integers(expression: Expression, values: dict[str, int]) -> None:
    assert evaluate(expression.dim, values) == expression.oracle(values)


@given(EXPRESSIONS, VALUES, st.sampled_from(["batch", "h"]), st.integers(0, 40))
@settings(max_examples=120, deadline=None)
def test_tables_hold_what_each_number_gives(
    expression: Expression, values: dict[str, int], name: str, count: int
) -> None:
    table = tabulate(expression.dim, values, name, count)
    assert table.dtype == np.int64
    assert table.tolist() == [expression.oracle({**values, name: number}) for number in range(count)]


def test_tables_out_of_range_are_refused() -> None:
    assert tabulate((BATCH + 2**62) // 2, {}, "batch", 3).tolist() == [2**61, 2**61, 2**61 + 1]
    for dim in (BATCH * 2**62, dim_max(H * (2**63), W) - H * 2**63, (BATCH * 3) // (2**70)):
        with pytest.raises(ValueError, match="out of range"):
            tabulate(dim, {"h": 1, "w": 0}, "batch", 3)
    with pytest.raises(ValueError, match="'w' has no value"):
        tabulate(BATCH * W, {}, "batch", 3)


@given(EXPRESSIONS)
@settings(max_examples=120, deadline=None)
def test_text_parses_back(expression: Expression) -> None:
    parsed = parse_dim(str(expression.dim))
    assert parsed == expression.dim
    assert hash(parsed) == hash(expression.dim)
    assert str(parsed) == str(expression.dim)


@given(EXPRESSIONS, VALUES)
@settings(max_examples=120, deadline=None)
def test_substituting_numbers_is_evaluating(expression: Expression, values: dict[str, int]) -> None:
    result = substitute(expression.dim, values)
    assert type(result) is int
    assert result == expression.oracle(values)


@given(EXPRESSIONS, EXPRESSIONS, VALUES)
@settings(max_examples=120, deadline=None)
def test_substituting_an_expression(outer: Expression, inner: Expression, values: dict[str, int]) -> None:
    size = dim_max(inner.dim, 0)
    result = substitute(outer.dim, {"h": size})
    expected = outer.oracle({**values, "h": max(inner.oracle(values), 0)})
    assert evaluate(result, values) == expected


@given(EXPRESSIONS, VALUES)
@settings(max_examples=120, deadline=None)
def test_known_nonnegative_is_nonnegative(expression: Expression, values: dict[str, int]) -> None:
    if is_nonnegative(expression.dim):
        assert expression.oracle(values) >= 0


@given(EXPRESSIONS, EXPRESSIONS)
@settings(max_examples=120, deadline=None)
def test_exact_division_by_a_symbolic_factor(left: Expression, right: Expression) -> None:
    divisor = right.dim
    if not isinstance(divisor, SymbolicInt):
        return
    assert (left.dim * divisor) // divisor == left.dim


@pytest.mark.parametrize(
    ("dim", "text"),
    [
        (2 * BATCH + 1, "2*batch+1"),
        ((H + 1) // 2, "(h+1)//2"),
        (H // 2, "h//2"),
        (2 * (H // 2), "2*(h//2)"),
        (3 - H // 2, "-(h//2)+3"),
        (H * W * BATCH - 4, "batch*h*w-4"),
        (dim_max(64 * H, 64 * W), "max(64*h, 64*w)"),
        (BATCH * (H // 3), "batch*(h//3)"),
    ],
)
def test_text(dim: Dim, text: str) -> None:
    assert str(dim) == text
    assert repr(dim) == text


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ((64 * BATCH) // 64, BATCH),
        ((64 * BATCH + 63) // 64, BATCH),
        (align_up(256 * BATCH, 64), 256 * BATCH),
        (align_up(100 * BATCH), 64 * ((100 * BATCH + 63) // 64)),
        ((H - 1) // 2 + 1, (H + 1) // 2),
        (ceil_div(H, 2), (H - 1) // 2 + 1),
        ((H // 2) // 2, H // 4),
        ((6 * H + 4) // 4, (3 * H) // 2 + 1),
        ((BATCH * 784) // BATCH, 784),
        ((BATCH * H - 2 * BATCH) // (H - 2), BATCH),
        (dim_max(64 * BATCH, 128 * BATCH + 3), 128 * BATCH + 3),
        (dim_max(BATCH, 0), BATCH),
        (dim_max(BATCH, dim_max(H, BATCH)), dim_max(H, BATCH)),
        (BATCH - BATCH, 0),
        (BATCH % 1, 0),
        (dim_product((BATCH, 28, 28)), 784 * BATCH),
        (dim_product(()), 1),
    ],
)
def test_canonical_form(found: Dim, expected: Dim) -> None:
    assert found == expected
    assert type(found) is type(expected)


def test_results_without_symbols_are_python_integers() -> None:
    assert type(BATCH + np.int64(3) - BATCH) is int
    assert np.int64(3) * BATCH == BATCH * 3
    assert type(dim_max(np.int64(3), 2)) is int


def test_equality_is_structural_and_never_with_integers() -> None:
    assert symbol("batch") == BATCH
    assert BATCH != H
    assert BATCH != 1
    assert len({BATCH + 1, 1 + BATCH, symbol("batch") + 1}) == 1
    assert pickle.loads(pickle.dumps(BATCH // 2)) == BATCH // 2


@pytest.mark.parametrize(
    "use",
    [
        operator.index,
        int,
        float,
        bool,
        lambda dim: range(dim),
        lambda dim: [0][dim],
        lambda dim: dim < 3,
        lambda dim: dim >= 3,
    ],
)
def test_unbound_sizes_refuse_to_be_numbers(use) -> None:
    with pytest.raises(TypeError, match="'batch' is unbound"):
        use(2 * BATCH)


def test_unbound_and_negative_values_are_named() -> None:
    with pytest.raises(ValueError, match="'h' has no value; values were given for: batch"):
        evaluate(BATCH * H, {"batch": 2})
    with pytest.raises(ValueError, match="'batch' must not be negative, got -1"):
        evaluate(BATCH, {"batch": -1})


def test_symbols_of_reaches_into_every_atom() -> None:
    assert symbols_of(dim_max(H // 2, W) * BATCH) == ("batch", "h", "w")
    assert symbols_of(7) == ()


@pytest.mark.parametrize(
    "text",
    ["", "2*", "batch**2", "(h", "h)", "a b", "h//0", "h//-2", "h/2", "max", "max(h", "h.x", "f('os')",
     "1.5", "h//w", "(" * 100 + "h" + ")" * 100, "h+" * 15_000 + "h", "é", "lambda: 0"],
)  # fmt: skip
def test_parse_refuses_anything_else(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_dim(text)


def test_parse_refuses_an_expansion_without_end() -> None:
    text = "*".join(f"(a{i}+b{i})" for i in range(30))
    with pytest.raises(ValueError, match="terms"):
        parse_dim(text)


@pytest.mark.parametrize("name", ["", "max", "a-b", "2a", "batch\n"])
def test_symbol_names(name: str) -> None:
    with pytest.raises(ValueError, match="identifier"):
        symbol(name)


def test_division_that_is_not_exact_is_refused() -> None:
    with pytest.raises(ValueError, match="not an exact multiple"):
        (BATCH + 1) // H
    with pytest.raises(ZeroDivisionError):
        BATCH // 0


def test_values_are_immutable() -> None:
    with pytest.raises(AttributeError):
        BATCH.text = "other"  # type: ignore[misc]
