"""The pass `touch_rows`: which rows of a table are computed, and the numbers of what it makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.driver import compile_graph
from compiler.interpret import interpret
from compiler.ir import Graph
from compiler.ops.table_rows import PutRows, SegmentSum, SortedRows, TouchedRows
from compiler.passes.context import PassContext
from compiler.passes.touch_rows import touch_rows
from compiler.text import parse
from compiler.types import TensorType
from runtime.threads import get_num_threads, set_num_threads

ROWS, COLUMNS = 23, 5

STEP = """
graph step {
  input %0 "indices": i32[n]
  input %1 "g": f32[n,5]
  variable %2 "table": f32[23,5]
  variable %3 "slot": f32[23,5]
  variable %4 "rate": f32[]
  %5: f32[23,5] = scatter_add(%1, %0) {axis=0, extent=23}
  %6: f32[23,5] = broadcast(%4) {shape=(23, 5), axes=()}
RULE
}
"""
GRADIENT_DESCENT = """
  %7: f32[23,5] = multiply(%5, %6)
  %8: f32[23,5] = subtract(%2, %7)
  update "table"=%8
"""
ADAGRAD = """
  %7: f32[23,5] = multiply(%5, %5)
  %8: f32[23,5] = add(%3, %7)
  %9: f32[23,5] = multiply(%6, %5)
  %10: f32[23,5] = sqrt(%8)
  %11: f32[23,5] = divide(%9, %10)
  %12: f32[23,5] = subtract(%2, %11)
  update "table"=%12
  update "slot"=%8
"""
CLIPPED_BY_NORM = """
  %7: f32[23,5] = multiply(%5, %5)
  %8: f32[23] = reduce_sum(%7) {axes=(1,)}
  %9: f32[] = reduce_sum(%8) {axes=(0,)}
  %10: f32[] = sqrt(%9)
  %11: f32[23,5] = broadcast(%10) {shape=(23, 5), axes=()}
  %12: f32[23,5] = divide(%5, %11)
  %13: f32[23,5] = subtract(%2, %12)
  update "table"=%13
"""
CLIPPED_BY_VALUE = """
  %7: f32[23,5] = full() {shape=(23, 5), value=0.5, dtype="float32"}
  %8: f32[23,5] = full() {shape=(23, 5), value=-0.5, dtype="float32"}
  %9: f32[23,5] = minimum(%5, %7)
  %10: f32[23,5] = maximum(%8, %9)
  %11: f32[23,5] = subtract(%2, %10)
  update "table"=%11
"""
MOMENTUM = """
  %7: f32[23,5] = multiply(%3, %6)
  %8: f32[23,5] = subtract(%7, %5)
  %9: f32[23,5] = add(%2, %8)
  update "table"=%9
  update "slot"=%8
"""
DECAY = """
  %7: f32[23,5] = multiply(%2, %6)
  %8: f32[23,5] = subtract(%2, %7)
  %9: f32[23,5] = subtract(%8, %5)
  update "table"=%9
"""
RETURNED = """
  %7: f32[23,5] = subtract(%2, %5)
  return "gradient"=%5
  update "table"=%7
"""
NOT_BOUNDED = """
  %7: f32[23,5] = full() {shape=(23, 5), value=0.5, dtype="float32"}
  %8: f32[23,5] = maximum(%5, %7)
  %9: f32[23,5] = subtract(%2, %8)
  update "table"=%9
"""
REVERSED = """
  %7: f32[23,5] = subtract(%5, %2)
  update "table"=%7
"""
OTHERS_OWN = """
  %7: f32[23,5] = subtract(%3, %5)
  update "table"=%7
"""
DIFFERENCE = """
  %7: f32[23,5] = subtract(%2, %5)
  %8: f32[23,5] = subtract(%7, %2)
  %9: f32[23] = reduce_sum(%8) {axes=(1,)}
  return "change"=%9
  update "table"=%7
"""
SCALED_BY_THE_SUM = """
  %7: f32[23,5] = divide(%5, %3)
  %8: f32[23,5] = multiply(%7, %7)
  %9: f32[] = reduce_sum(%8) {axes=(0, 1)}
  %10: f32[23,5] = broadcast(%9) {shape=(23, 5), axes=()}
  %11: f32[23,5] = multiply(%7, %10)
  %12: f32[23,5] = subtract(%2, %11)
  update "table"=%12
"""
SPARSE = {
    "scaled_by_the_sum": SCALED_BY_THE_SUM,
    "gradient_descent": GRADIENT_DESCENT,
    "adagrad": ADAGRAD,
    "clipped_by_norm": CLIPPED_BY_NORM,
    "clipped_by_value": CLIPPED_BY_VALUE,
}
DENSE = {
    "momentum": MOMENTUM,
    "decay": DECAY,
    "returned": RETURNED,
    "not_bounded": NOT_BOUNDED,
    "reversed": REVERSED,
    "others_own": OTHERS_OWN,
}
ALL = SPARSE | DENSE | {"difference": DIFFERENCE}
Check = Callable[..., Graph]


def graph_of(rule: str) -> Graph:
    return parse(STEP.replace("RULE", rule))


@pytest.fixture
def few_names(arrays_for: Callable[..., list[np.ndarray]]) -> Callable[..., list[np.ndarray]]:
    """Arrays for a graph: indices that repeat, count from the end and lie outside; positive variables."""

    def make(graph: Graph, count: int, seed: int = 0) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        arrays = arrays_for(graph, seed, n=count)
        arrays[0] = rng.integers(-ROWS - 2, ROWS // 2, count).astype("int32")
        return [*arrays[:2], *(np.asarray(np.abs(array) + np.float32(0.1)) for array in arrays[2:])]

    return make


def expected(graph: Graph, arrays: list[np.ndarray]) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """What the graph as it was written gives in float64: `scatter_add` is NumPy's unbuffered addition."""
    wide = [a.astype("float64") if a.dtype == "float32" else a for a in arrays]
    outputs, updates = interpret(graph, wide[:2], wide[2:])
    return list(outputs), updates


@pytest.mark.parametrize("rule", SPARSE.values(), ids=SPARSE)
def test_only_named_rows_are_computed(rule: str, check: Check, operations: Callable[[Graph], list[str]]) -> None:
    result = check(touch_rows, STEP.replace("RULE", rule), numbers=False)
    names = operations(result)
    assert "touched_rows" in names
    assert not {"scatter_add", "sorted_rows"}.intersection(names)
    assert names.count("put_rows") == len(result.updates)
    whole = {"put_rows"}
    for node in result.nodes:
        assert node.op.name in whole or node.outputs[0].type.shape[:1] != (ROWS,), f"{node.op} has all rows"


def test_golden_text_of_a_step(check: Check) -> None:
    check(touch_rows, STEP.replace("RULE", ADAGRAD), golden="touch_rows_adagrad", numbers=False)


@pytest.mark.parametrize("rule", DENSE.values(), ids=DENSE)
def test_a_rule_that_moves_every_row_computes_every_row(
    rule: str, check: Check, operations: Callable[[Graph], list[str]]
) -> None:
    names = operations(check(touch_rows, STEP.replace("RULE", rule), numbers=False))
    assert "sorted_rows" in names
    assert not {"scatter_add", "put_rows"}.intersection(names)


def test_a_remark_says_why_every_row_is_computed() -> None:
    context = PassContext()
    touch_rows(graph_of(MOMENTUM), context)
    assert "no update leaves a row without gradient as it is" in str(context.remarks[0])
    context = PassContext()
    touch_rows(graph_of(RETURNED), context)
    assert "a result of the graph has all of them" in str(context.remarks[0])


@pytest.mark.parametrize("rule", ALL.values(), ids=ALL)
@pytest.mark.parametrize("count", [1, 7, 60])
def test_compiled_numbers(rule: str, count: int, few_names: Callable[..., list[np.ndarray]]) -> None:
    graph = graph_of(rule)
    arrays = few_names(graph, count)
    outputs, updates = expected(graph, arrays)
    variables = [a.copy() for a in arrays[2:]]
    results = compile_graph(graph).executable.run(arrays[:2], variables)
    for got, wanted in zip(results, outputs, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-6)
    for entry, got, before in zip(graph.variables, variables, arrays[2:], strict=True):
        np.testing.assert_allclose(got, updates.get(entry.name, before), rtol=2e-5, atol=2e-6, err_msg=entry.name)


def test_rows_without_gradient_keep_their_bits(few_names: Callable[..., list[np.ndarray]]) -> None:
    graph = graph_of(ADAGRAD)
    arrays = few_names(graph, 6)
    wrapped = np.where(arrays[0] < 0, arrays[0] + ROWS, arrays[0])
    other = np.setdiff1d(np.arange(ROWS), wrapped)
    table, slot, rate = [a.copy() for a in arrays[2:]]
    table[other[0]] = np.nan
    before = table.copy()
    compile_graph(graph).executable.run(arrays[:2], [table, slot, rate])
    np.testing.assert_array_equal(table[other], before[other])
    named = np.unique(wrapped[(wrapped >= 0) & (wrapped < ROWS)])
    assert (table[named] != before[named]).any(axis=1).all()


def test_what_is_not_finite_in_a_gradient_reaches_its_row_alone() -> None:
    graph = graph_of(GRADIENT_DESCENT)
    g = np.ones((3, COLUMNS), "float32")
    g[1, 2], g[2, 0] = np.nan, np.inf
    table, slot, rate = np.ones((ROWS, COLUMNS), "float32"), np.ones((ROWS, COLUMNS), "float32"), np.float32(0.5)
    compile_graph(graph).executable.run([np.array([4, 4, 9], "int32"), g], [table, slot, np.asarray(rate)])
    assert np.isnan(table[4, 2])
    assert table[9, 0] == -np.inf
    assert np.isfinite(np.delete(table.reshape(-1), [4 * COLUMNS + 2, 9 * COLUMNS])).all()


TWO_GRADIENTS = """
graph step {
  input %0 "indices": i32[n]
  input %1 "g": f32[n,5]
  input %2 "others": i32[m]
  input %3 "k": f32[m,5]
  variable %4 "table": f32[23,5]
  variable %5 "second": f32[23,5]
  %6: f32[23,5] = scatter_add(%1, %0) {axis=0, extent=23}
  %7: f32[23,5] = scatter_add(%3, %2) {axis=0, extent=23}
RULE
}
"""
THEIR_PRODUCT = """
  %8: f32[23,5] = multiply(%6, %7)
  %9: f32[23,5] = subtract(%4, %8)
  update "table"=%9
"""
ONE_OF_THE_OTHER = """
  %8: f32[23,5] = multiply(%6, %7)
  %9: f32[23,5] = subtract(%4, %8)
  %10: f32[23,5] = subtract(%5, %7)
  update "table"=%9
  update "second"=%10
"""
EACH_ITS_OWN = """
  %8: f32[23,5] = subtract(%4, %6)
  %9: f32[23,5] = subtract(%5, %7)
  update "table"=%8
  update "second"=%9
"""
TOGETHER = {
    "their_product": (THEIR_PRODUCT, 1, "'multiply' is computed for the rows of another gradient"),
    "one_of_the_other": (ONE_OF_THE_OTHER, 1, "'multiply' is computed for the rows of another gradient"),
    "each_its_own": (EACH_ITS_OWN, 2, ""),
}


@pytest.mark.parametrize(("rule", "sparse", "reason"), TOGETHER.values(), ids=TOGETHER)
def test_rows_of_two_gradients(
    rule: str, sparse: int, reason: str, check_compiled: Callable[..., object], operations: Callable[..., list[str]]
) -> None:
    """What depends on both is computed for the rows of one: there the other has all its rows."""
    text = TWO_GRADIENTS.replace("RULE", rule)
    context = PassContext()
    changed = touch_rows(parse(text), context)
    assert operations(changed).count("touched_rows") == sparse
    assert operations(changed).count("sorted_rows") == 2 - sparse
    assert reason in "\n".join(map(str, context.remarks))
    for n, m in ((1, 1), (4, 9), (30, 2)):
        check_compiled(text, n=n, m=m)


@pytest.fixture
def restored_threads() -> Iterator[None]:
    before = get_num_threads()
    yield
    set_num_threads(before)


@pytest.mark.usefixtures("restored_threads")
def test_bits_do_not_depend_on_the_threads(few_names: Callable[..., list[np.ndarray]]) -> None:
    for rule in (ADAGRAD, MOMENTUM):
        graph = graph_of(rule)
        arrays = few_names(graph, 300)
        executable = compile_graph(graph).executable
        seen = []
        for threads in (1, 2, 3, 4):
            set_num_threads(threads)
            variables = [a.copy() for a in arrays[2:]]
            executable.run(arrays[:2], variables)
            seen.append([a.tobytes() for a in variables])
        assert all(bits == seen[0] for bits in seen)


def scatter(shape: tuple[int, ...], indices: tuple[int, ...], axis: int, extent: int, dtype: str = "f32") -> Graph:
    end = axis + len(indices)
    result = (*shape[:axis], extent, *shape[end:])
    return parse(
        f"graph g {{\n  input %0 \"u\": {dtype}[{','.join(map(str, shape))}]\n"
        f"  input %1 \"i\": i64[{','.join(map(str, indices))}]\n"
        f"  %2: {dtype}[{','.join(map(str, result))}] = scatter_add(%0, %1) {{axis={axis}, extent={extent}}}\n"
        '  return "y"=%2\n}\n'
    )


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_every_axis_and_rank(data: st.DataObject) -> None:
    lengths = st.lists(st.integers(1, 5), max_size=2)
    before, named, after = (tuple(data.draw(lengths)) for _ in range(3))
    extent = data.draw(st.integers(1, 9))
    shape = (*before, *named, *after)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    u = rng.normal(size=shape).astype("float32")
    i = rng.integers(-extent - 2, extent + 2, named)
    (got,) = compile_graph(scatter(shape, named, len(before), extent)).executable.run([u, i], [])
    wanted = np.zeros((*before, extent, *after))
    for where in np.ndindex(*named):
        row = int(i[where]) + (extent if i[where] < 0 else 0)
        if 0 <= row < extent:
            at: tuple[object, ...] = (slice(None),) * len(before)
            wanted[(*at, row)] += u[(*at, *where)]
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_rows_longer_than_the_private_row_and_integers() -> None:
    rng = np.random.default_rng(3)
    i = rng.integers(0, 4, 9)
    for dtype, name in (("f32", "float32"), ("i32", "int32"), ("f16", "float16")):
        u = rng.integers(-50, 50, (9, 5001)).astype(name)
        (got,) = compile_graph(scatter((9, 5001), (9,), 0, 4, dtype)).executable.run([u, i], [])
        wanted = np.zeros((4, 5001), name)
        np.add.at(wanted, i, u)
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("extent", [3, 2047, 2048, 5_000_000])
def test_the_sort_is_stable_with_any_number_of_digits(extent: int) -> None:
    rng = np.random.default_rng(extent)
    indices = rng.integers(-extent, extent + extent // 2, 500)
    indices[::3] = indices[0]
    for op in (SortedRows(min(extent, 4000)), TouchedRows(extent)):
        results = ", ".join(f"%{k + 1}: i32[{n}]" for k, n in enumerate(t.shape[0] for t in op.infer(type_of(indices))))
        count = results.count("%")
        text = f'graph g {{\n  input %0 "i": i64[500]\n  {results} = {op.name}(%0) {{extent={op.extent}}}\n'
        graph = parse(text + "".join(f'  return "y{k}"=%{k + 1}\n' for k in range(count)) + "}\n")
        got = compile_graph(graph).executable.run([indices], [])
        for array, wanted in zip(got, op.reference(indices), strict=True):
            np.testing.assert_array_equal(array, wanted)


def type_of(array: np.ndarray) -> TensorType:
    return TensorType(array.shape, array.dtype.name)


def test_types_are_checked() -> None:
    f32, i32 = parse_types("f32[6,2] i32[6]")
    starts, table, rows = parse_types("i32[4] f32[9,2] i32[6]")
    with pytest.raises(ValueError, match="starts"):
        SegmentSum(0, 4).infer(f32, i32, starts)
    with pytest.raises(ValueError, match="order"):
        SegmentSum(1, 3).infer(f32, i32, starts)
    with pytest.raises(ValueError, match="rows of"):
        PutRows().infer(table, table, rows)
    with pytest.raises(TypeError, match="integer"):
        TouchedRows(4).infer(f32.with_shape(6))


def parse_types(text: str) -> list[TensorType]:
    graph = parse("graph t {\n" + "".join(f'  input %{i} "x{i}": {t}\n' for i, t in enumerate(text.split())) + "}\n")
    return [entry.value.type for entry in graph.inputs]
