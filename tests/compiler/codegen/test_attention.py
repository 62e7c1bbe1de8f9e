"""Attention's kernels, compiled as part of programs: against NumPy in float64, no worse than twice plain float32."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from contraction_oracle import NATIVE, SIGNATURE
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from compiler import functions as f
from compiler.codegen.kernels import cpu_kernel
from compiler.driver import Compiled, compile_graph
from compiler.interpret import interpret
from compiler.ir import Builder, Fusion, Graph
from compiler.ops.attention import DotProductAttention
from compiler.passes.context import PassContext
from compiler.passes.differentiate import differentiate, emit_gradient
from compiler.pipeline import run_pipeline
from compiler.target import Target, host_target
from compiler.types import TensorType, concrete_shape
from runtime import get_num_threads, set_num_threads
from runtime.dimensions import Dim, evaluate, symbol

NAMES = ("result", "query", "key", "value")
Rules = dict[str, object]


def attention_graph(
    heads: int, key_heads: int, depth: int, values: int, rules: Rules, *, masked: bool, dtype: str = "float32"
) -> Graph:
    """Attention at any length, and its gradient: the cotangents of query, key and value."""
    batch, queries, keys = (symbol(name) for name in ("batch", "queries", "keys"))
    shapes: list[tuple[Dim, ...]] = [
        (batch, queries, heads, depth),
        (batch, keys, key_heads, depth),
        (batch, keys, key_heads, values),
        (batch, queries, heads, values),
    ]
    b = Builder("attention")
    query, key, value, weight = (
        b.input(name, TensorType(shape, dtype))
        for name, shape in zip(("query", "key", "value", "weight"), shapes, strict=True)
    )
    mask = b.input("mask", TensorType((batch, keys), "bool")) if masked else None
    state = b.input("state", TensorType((2,), "uint32")) if "dropout" in rules else None
    result = f.dot_product_attention(b, query, key, value, key_mask=mask, state=state, **rules)  # type: ignore[arg-type]
    loss = f.reduce_sum(b, f.multiply(b, result, weight))
    b.output("result", result)
    for name, gradient in zip(NAMES[1:], emit_gradient(b, loss, [query, key, value]), strict=True):
        b.output(name, gradient)
    return b.build()


def tensors(
    batch: int, queries: int, keys: int, heads: int, key_heads: int, depth: int, values: int, seed: int = 0
) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = [
        (batch, queries, heads, depth),
        (batch, keys, key_heads, depth),
        (batch, keys, key_heads, values),
        (batch, queries, heads, values),
    ]
    return [rng.normal(size=shape).astype("float32") for shape in shapes]


def expected(graph: Graph, arrays: Sequence[np.ndarray], dtype: str) -> tuple[np.ndarray, ...]:
    """What the differentiated graph gives, computed over all scores in another precision."""
    widened = [a.astype(dtype) if a.dtype == np.float32 else a for a in arrays]
    return interpret(differentiate(graph, PassContext()), widened)[0]


def assert_close(graph: Graph, arrays: Sequence[np.ndarray], results: Sequence[np.ndarray]) -> None:
    """Each result within twice the error of plain float32, give or take a few roundings of the greatest element.

    With one key, gradients of queries and keys are the rounding of a difference of equal numbers: hence of all results.
    A score's rounding becomes the relative error of its weight, but where there is nothing to weigh it against.
    """
    exact = expected(graph, arrays, "float64")
    plain = expected(graph, arrays, "float32")
    largest = max(float(np.max(np.abs(right))) for right in exact)
    heads, key_heads = arrays[0].shape[2], arrays[1].shape[2]
    scores = np.einsum("bihd,bjhd->bhij", arrays[0], np.repeat(arrays[1], heads // key_heads, 2))
    (scale,) = {node.op.scale for node in graph.nodes if isinstance(node.op, DotProductAttention)}
    noise = np.finfo("float32").eps * largest * (8 + scale * float(np.max(np.abs(scores))))
    for name, result, right, single in zip(NAMES, results, exact, plain, strict=True):
        allowed = 2 * np.max(np.abs(single - right)) + noise
        error = np.max(np.abs(result - right))
        assert error <= allowed, f"{name}: {error} > {allowed}"


def kernels_in(compiled: Compiled) -> list[str]:
    return [inner.op.name for node in compiled.graph.nodes if "body" in node.op.fields for inner in node.op.body.nodes]


RULES: dict[str, Rules] = {
    "everything": {},
    "causal": {"causal": True},
    "causal window": {"causal": True, "window": 9},
    "window": {"window": 5, "scale": 0.7},
    "dropout": {"dropout": 0.3},
    "causal dropout": {"causal": True, "dropout": 0.6},
}
COMPILED: dict[tuple[object, ...], tuple[Graph, Compiled]] = {}


def compiled_for(
    heads: int, key_heads: int, depth: int, values: int, rule: str, masked: bool
) -> tuple[Graph, Compiled]:
    key = (heads, key_heads, depth, values, rule, masked)
    if key not in COMPILED:
        graph = attention_graph(heads, key_heads, depth, values, RULES[rule], masked=masked)
        COMPILED[key] = graph, compile_graph(graph)
    return COMPILED[key]


def run_and_check(
    sizes: tuple[int, int, int], form: tuple[int, int, int, int], rule: str, masked: bool, seed: int = 0
) -> None:
    graph, compiled = compiled_for(*form, rule, masked)
    arrays = tensors(*sizes, *form, seed=seed)
    if masked:
        mask = np.random.default_rng(seed).random((sizes[0], sizes[2])) < 0.6
        mask[-1] = False  # a sequence of nothing but padding
        arrays.append(mask)
    if "dropout" in RULES[rule]:
        arrays.append(np.array([seed, 77], "uint32"))
    assert_close(graph, arrays, compiled.executable.run(arrays, []))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("sizes", "form"),
    [
        ((2, 128, 128), (2, 2, 32, 32)),
        ((1, 70, 61), (4, 2, 33, 17)),
        ((2, 7, 300), (2, 1, 5, 70)),
        ((1, 150, 141), (3, 3, 64, 64)),
        ((2, 1, 1), (1, 1, 1, 1)),
    ],
    ids=str,
)
def test_every_rule_on_blocks_of_all_sizes(
    sizes: tuple[int, int, int], form: tuple[int, int, int, int], rule: str, masked: bool
) -> None:
    run_and_check(sizes, form, rule, masked)


@settings(max_examples=40, deadline=None)
@given(
    queries=st.integers(1, 70),
    keys=st.integers(1, 70),
    batch=st.integers(1, 3),
    form=st.sampled_from([(2, 2, 8, 8), (4, 2, 3, 19), (2, 1, 70, 1), (1, 1, 17, 33)]),
    rule=st.sampled_from(sorted(RULES)),
    masked=st.booleans(),
    seed=st.integers(0, 99),
)
def test_one_program_for_all_lengths(
    queries: int, keys: int, batch: int, form: tuple[int, int, int, int], rule: str, masked: bool, seed: int
) -> None:
    run_and_check((batch, queries, keys), form, rule, masked, seed)


@pytest.mark.parametrize(("vector_bytes", "registers"), [(16, 16), (16, 32), (32, 16), (64, 32)])
def test_every_width_of_vectors(vector_bytes: int, registers: int) -> None:
    host = host_target()
    target = Target("cpu", host.cpu, host.features, vector_bytes, registers)
    graph = attention_graph(2, 1, 19, 35, {"causal": True, "window": 60, "dropout": 0.2}, masked=True)
    compiled = compile_graph(graph, target=target)
    arrays = [*tensors(2, 70, 141, 2, 1, 19, 35), np.random.default_rng(2).random((2, 141)) < 0.6]
    arrays.append(np.array([8, 2], "uint32"))
    assert_close(graph, arrays, compiled.executable.run(arrays, []))


def test_the_kernels_are_taken() -> None:
    _, compiled = compiled_for(2, 2, 32, 32, "causal", True)
    names = kernels_in(compiled)
    assert names.count("attention_kernel") == 1
    assert names.count("attention_gradient_kernel") == 1
    assert not {"matmul", "exp", "softmax"}.intersection(names)


@pytest.fixture
def threads() -> Iterator[None]:
    before = get_num_threads()
    yield
    set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("rule", ["everything", "causal", "causal dropout"])
def test_the_same_bits_at_any_number_of_threads(rule: str) -> None:
    _, compiled = compiled_for(4, 2, 33, 17, rule, True)
    arrays = [*tensors(3, 200, 190, 4, 2, 33, 17), np.random.default_rng(1).random((3, 190)) < 0.7]
    arrays += [np.array([5, 6], "uint32")] if "dropout" in rule else []
    runs = []
    for count in (1, 2, 3, 4):
        set_num_threads(count)
        for _ in range(4):  # some on all threads, some on one
            runs.append([array.copy() for array in compiled.executable.run(arrays, [])])
    for other in runs[1:]:
        for left, right in zip(runs[0], other, strict=True):
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("rule", ["everything", "causal window", "dropout"])
def test_no_keys_give_zeros(rule: str, masked: bool) -> None:
    """As the sum over no keys does in the decomposed graph, whatever an earlier run has left in the scratch memory."""
    form = (2, 1, 8, 19)
    run_and_check((2, 40, 50), form, rule, masked, seed=3)
    graph, compiled = compiled_for(*form, rule, masked)
    for queries in (1, 45):
        arrays = tensors(2, queries, 0, *form)
        arrays += [np.ones((2, 0), bool)] if masked else []
        arrays += [np.array([1, 77], "uint32")] if "dropout" in rule else []
        results = compiled.executable.run(arrays, [])
        for name, result, right in zip(NAMES, results, expected(graph, arrays, "float64"), strict=True):
            assert result.shape == right.shape
            assert not right.any()
            np.testing.assert_array_equal(result, np.zeros_like(result), err_msg=name)


def test_queries_that_see_nothing_get_the_mean_and_give_no_gradient() -> None:
    graph, compiled = compiled_for(2, 2, 8, 8, "causal", True)
    query, key, value, weight = tensors(2, 40, 50, 2, 2, 8, 8)
    mask = np.ones((2, 50), bool)
    mask[0, :25] = False  # queries 0 to 24 see keys at or before them only
    arrays = [query, key, value, weight, mask]
    result, of_query, _, _ = results = compiled.executable.run(arrays, [])
    np.testing.assert_allclose(result[0, :25], np.broadcast_to(value[0].mean(0), (25, 2, 8)), rtol=0, atol=1e-6)
    assert not of_query[0, :25].any()
    assert of_query[0, 25:].any()
    assert_close(graph, arrays, results)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["query", "key", "value"])
def test_what_is_not_finite_reaches_all_that_depends_on_it(bad: float, where: str) -> None:
    graph, compiled = compiled_for(2, 2, 8, 8, "causal", False)
    arrays = tensors(1, 60, 60, 2, 2, 8, 8)
    arrays[NAMES.index(where) - 1][0, 30, 1, 3] = bad
    results = compiled.executable.run(arrays, [])
    exact = expected(graph, arrays, "float64")
    positions = np.arange(60)[None, :, None, None]
    last = max(row for row in range(30, 60) if not np.isfinite(exact[0][:, row]).all())
    for name, result, right in zip(NAMES, results, exact, strict=True):
        finite, allowed = np.isfinite(result), np.isfinite(right)
        # A weight of 0 carries NaN to positions that see nothing of it, if they are in one block.
        if name in ("result", "query"):
            reached = positions == 30 if where == "query" else positions >= 30
        else:
            reached = positions <= last
        assert not (finite & ~allowed & reached).any(), f"{name} is finite where it must not be"
        assert finite[allowed & reached].all(), f"{name} is not finite where it must be"
        assert finite[:, :, 0].all(), f"{name} is not finite in another head"


def test_rows_of_large_scores_do_not_overflow() -> None:
    graph, compiled = compiled_for(2, 2, 8, 8, "everything", False)
    arrays = tensors(1, 33, 150, 2, 2, 8, 8)
    arrays[0] *= 60
    arrays[1] *= 60
    results = compiled.executable.run(arrays, [])
    assert all(np.isfinite(result).all() for result in results)
    right = expected(graph, arrays, "float64")[0]
    np.testing.assert_allclose(results[0], right, atol=5e-3)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (1, 70, 141), (2, 130, 64)])
def test_nothing_is_written_outside_of_the_scratch(sizes: tuple[int, int, int]) -> None:
    form, target = (4, 2, 19, 35), host_target()
    optimized = run_pipeline(attention_graph(*form, {"causal": True, "window": 90, "dropout": 0.1}, masked=True))
    batch, queries, keys = sizes
    symbols = {"batch": batch, "queries": queries, "keys": keys}
    bodies = [node.op.fields["body"] for node in optimized.nodes if "body" in node.op.fields]
    generated = [body for body in bodies if body.nodes[0].op.fusion is Fusion.GENERATED]
    assert len(generated) == 2
    rng = np.random.default_rng(0)
    for body in generated:
        kernel = cpu_kernel(body, target)
        operands = [entry.value.type for entry in body.inputs] + [value.type for _, value in body.outputs]
        arrays = [rng.random(concrete_shape(type_.shape, symbols)).astype(type_.dtype) for type_ in operands]
        scratch = evaluate(kernel.scratch, symbols)
        memory = np.full(scratch + 4096, 0x5A, np.uint8)
        start = 1024 + -(memory.ctypes.data + 1024) % 64
        memory[start : start + scratch] = 0xFF
        pointers = np.array([array.ctypes.data for array in arrays], np.int64)
        extents = np.array([evaluate(extent, symbols) for extent in kernel.extents], np.int64)
        empty = (ctypes.c_int64 * 2)()
        namespace = dict(kernel.namespace)
        exec(kernel.source, namespace)
        (compiled,) = njit(SIGNATURE, nogil=True)(namespace["kernel"]).overloads.values()
        NATIVE(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))(
            ctypes.addressof(empty),
            ctypes.addressof(empty) + 8,
            pointers.ctypes.data,
            extents.ctypes.data,
            memory.ctypes.data + start,
            0,
            evaluate(kernel.work, symbols),
        )
        assert (memory[:start] == 0x5A).all(), "wrote before the scratch"
        assert (memory[start + scratch :] == 0x5A).all(), "wrote past the scratch"


def test_memory_is_linear_in_the_length() -> None:
    length, heads, depth = 8192, 8, 64
    graph = attention_graph(heads, heads, depth, depth, {"causal": True}, masked=False)
    compiled = compile_graph(graph)
    sizes = {"batch": 1, "queries": length, "keys": length}
    scratch = [evaluate(instruction.scratch, sizes) for instruction in compiled.program.instructions]
    used = compiled.memory.at(sizes).size + 2 * max(scratch)
    assert used < heads * length * length * 4 / 20
    double = {**sizes, "queries": 2 * length, "keys": 2 * length}
    again = [evaluate(instruction.scratch, double) for instruction in compiled.program.instructions]
    assert compiled.memory.at(double).size + 2 * max(again) < 2.1 * used


def test_one_kernel_serves_all_rules_and_sizes() -> None:
    sources = set()
    for rules, masked in (({}, False), ({"causal": True, "window": 3}, True)):
        for form in ((2, 2, 32, 32), (4, 2, 5, 7)):
            graph = run_pipeline(attention_graph(*form, rules, masked=masked))
            for node in graph.nodes:
                if "body" in node.op.fields and "attention" in node.op.body.nodes[0].op.name:
                    sources.add(cpu_kernel(node.op.body, host_target()).source)
    assert len(sources) == 2
