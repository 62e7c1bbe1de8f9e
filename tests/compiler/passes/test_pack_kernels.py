"""Which kernels of convolutions and matrices of products are packed once, and that packing changes no number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from convolution_graphs import SAME, convolution, transposed_convolution

from compiler import functions as f
from compiler.driver import compile_graph
from compiler.interpret import interpret
from compiler.ir import Builder, Graph
from compiler.ops.convolution import Convolution
from compiler.ops.packed_matmul import PackedMatmul
from compiler.ops.scan import Scan
from compiler.ops.spatial import Padding
from compiler.passes.context import PassContext
from compiler.passes.pack_kernels import pack_kernels
from compiler.target import CUDA_TARGET, host_target
from compiler.text import parse, to_text
from compiler.types import TensorType
from runtime.dimensions import evaluate, symbol
from runtime.threads import set_num_threads

pytestmark = pytest.mark.usefixtures("threads_restored")


def forward(
    kernel: tuple[int, ...] = (3, 3, 5, 24), strides: tuple[int, ...] = (2, 2), *rest: Any, **options: Any
) -> Graph:
    return convolution(kernel, tuple(9 + axis for axis in range(len(kernel) - 2)), strides, *rest, **options)


def transposed(
    kernel: tuple[int, ...] = (3, 3, 20, 6),
    strides: tuple[int, ...] = (2, 2),
    padding: Padding = ((0, 1), (0, 1)),
    *rest: Any,
) -> Graph:
    spatial = tuple(9 + axis for axis in range(len(kernel) - 2))
    return transposed_convolution(kernel, spatial, strides, padding, *rest)


def is_packed(graph: Graph, **options: Any) -> bool:
    return any(node.op.name == "packed_convolution" for node in pack_kernels(graph, PassContext(**options)).nodes)


CASES = {
    "strided": forward(),
    "one by one": forward((1, 1, 7, 33), (1, 1), ((0, 0), (0, 0))),
    "dilated": forward((3, 2, 4, 16), (1, 2), ((2, 1), (0, 1)), (2, 1)),
    "parts": forward((3, 3, 8, 72)),  # of one image: four work items, each with panels of its own
    "parts transposed": transposed((3, 3, 50, 7)),
    "row": forward((4, 3, 18), (2,), ((1, 2),), (1,)),
    "double": forward(dtype="float64"),
    "transposed": transposed(),
    "transposed unevenly": transposed((4, 3, 17, 8), (3, 2), ((1, 2), (0, 2))),
    "transposed dilated": transposed((3, 3, 40, 5), (2, 1), ((2, 1), (1, 1)), (1, 2)),
    "transposed by one": transposed((3, 3, 16, 3), (1, 1), SAME),
    "transposed row": transposed((5, 20, 4), (2,), ((2, 2),), (1,)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_packed_form_computes_the_same(name: str, arrays_for: Callable[..., Any]) -> None:
    graph = CASES[name]
    packed = pack_kernels(graph, PassContext())
    assert is_packed(graph)
    assert pack_kernels(packed, PassContext()) is packed
    assert to_text(parse(to_text(packed))) == to_text(packed)
    for batch in (1, 3):
        arrays = arrays_for(graph, 1, batch=batch)
        wide = [array.astype("float64") for array in arrays]
        (exact,), _ = interpret(graph, wide[:1], wide[1:])
        if arrays[0].dtype == "float64":
            (again,), _ = interpret(packed, wide[:1], wide[1:])
            np.testing.assert_allclose(again, exact, rtol=1e-13, atol=1e-13)
        compiled = compile_graph(graph)
        assert "packed_convolution" in to_text(compiled.graph)
        assert compiled.program.prepared >= 2, "panels, and whether they are finite, are made once"
        results = []
        for threads in (1, 2, 3):
            set_num_threads(threads)
            (result,) = compiled.executable.run(arrays[:1], arrays[1:])
            results.append(np.array(result))
        unit = np.finfo(arrays[0].dtype).eps
        np.testing.assert_allclose(results[0], exact, rtol=0, atol=30 * unit * np.abs(exact).max())
        for other in results[1:]:
            np.testing.assert_array_equal(other, results[0])


def product(depth: int = 37, columns: int = 40, dtype: str = "float32", **options: Any) -> Graph:
    """y = x[batch, depth] @ w, of which w is a variable."""
    b = Builder("step")
    transposed = options.get("transpose_b", False)
    x = b.input("x", TensorType((symbol("batch"), *options.get("inner", ()), depth), dtype))
    w = b.variable("kernel", TensorType((columns, depth) if transposed else (depth, columns), dtype))
    b.output("y", f.matmul(b, x, w, transpose_b=transposed))
    if options.get("updated"):
        b.update("kernel", f.negative(b, w))
    return b.build()


@pytest.mark.parametrize(
    "graph",
    [
        product(),
        product(transpose_b=True),
        product(300, 130),
        product(5, host_target().lanes("float32")),
        product(1100, 520),
        product(dtype="float64"),
        product(inner=(1,)),
        product(inner=(3, 2), transpose_b=True),
    ],
    ids=["ragged", "transposed", "flat", "one vector", "long", "double", "rank 3", "rank 4"],
)
def test_matrix_products_read_panels_that_are_made_once(graph: Graph, arrays_for: Callable[..., Any]) -> None:
    packed = pack_kernels(graph, PassContext())
    assert [node.op.name for node in packed.nodes][-1] == "packed_matmul"
    assert pack_kernels(packed, PassContext()) is packed
    assert to_text(parse(to_text(packed))) == to_text(packed)
    compiled = compile_graph(graph)
    assert compiled.program.prepared >= 1
    for batch in (1, 2, 3, 70):
        x, w = arrays_for(graph, 1, batch=batch)
        (exact,), _ = interpret(graph, [x.astype("float64")], [w.astype("float64")])
        magnitude = interpret(graph, [np.abs(x).astype("float64")], [np.abs(w).astype("float64")])[0][0]
        results = []
        for threads in (1, 2, 3):
            set_num_threads(threads)
            (result,) = compiled.executable.run([x], [w])
            results.append(np.array(result))
        assert (np.abs(results[0] - exact) <= (x.shape[-1] + 2) * np.finfo(x.dtype).eps * magnitude).all()
        for other in results[1:]:
            np.testing.assert_array_equal(other, results[0])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_not_finite_stays_in_its_column(value: float, arrays_for: Callable[..., Any]) -> None:
    graph = product(20, 37)
    for batch in (1, 2, 9):
        x, w = arrays_for(graph, 1, batch=batch)
        w[3, 36] = value
        (result,) = compile_graph(graph).executable.run([x], [w])
        assert np.isfinite(result[:, :36]).all()
        assert not np.isfinite(result[:, 36]).any()


@pytest.mark.parametrize(
    "graph",
    [product(updated=True), product(9, 7), product(0, 16), product(dtype="int32")],
    ids=["updated", "few columns", "no sum", "integers"],
)
def test_products_that_keep_the_plain_form(graph: Graph) -> None:
    assert pack_kernels(graph, PassContext()) is graph


@pytest.mark.parametrize("graph", [forward(), transposed()], ids=["forward", "transposed"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_touches_only_what_it_multiplies(
    graph: Graph, value: float, arrays_for: Callable[..., Any]
) -> None:
    x, kernel = arrays_for(graph, 1, batch=2)
    x = np.abs(x) + 1  # no product of zero and infinity, no sum of two infinities
    kernel[0, 0, 1, 2] = value
    op = next(node.op for node in graph.nodes)
    forwards = isinstance(op, Convolution)
    marked = np.zeros_like(kernel, "float64")
    marked[0, 0, 1, 2] = 1
    (touched,) = op.reference(x.astype("float64"), marked)
    (result,) = compile_graph(graph).executable.run([x], [kernel])
    assert (~np.isfinite(result) == (touched != 0)).all()
    assert (touched == 0)[..., 2 if forwards else 1].any(), "the padding, which has no product, is among the pixels"


def test_one_image_has_work_for_several_threads() -> None:
    (instruction,) = [i for i in compile_graph(CASES["parts"]).program.instructions if "convolution" in i.label]
    assert [evaluate(instruction.work, {"batch": batch}) for batch in (0, 1, 2, 3, 4, 64)] == [0, 4, 8, 12, 16, 64]


def test_new_weights_are_packed_again(arrays_for: Callable[..., Any]) -> None:
    graph = forward()
    compiled = compile_graph(graph)
    x, kernel = arrays_for(graph, 1, batch=2)
    (first,) = map(np.array, compiled.executable.run([x], [kernel]))
    (second,) = map(np.array, compiled.executable.run([x], [kernel * 2]))
    np.testing.assert_array_equal(second, first * 2)


@pytest.mark.parametrize(
    "graph",
    [
        forward(updated=True),
        forward(groups=2),
        forward((3, 3, 1, 8), groups=8),
        forward((3, 3, 5, 3)),
        forward((2, 2, 2, 3, 16), (1, 1, 1), (SAME[0],) * 3, (1, 1, 1)),
        transposed((3, 3, 3, 16)),
    ],
    ids=["updated", "groups", "depthwise", "few filters", "3-D", "few channels"],
)
def test_what_keeps_the_plain_form(graph: Graph) -> None:
    assert pack_kernels(graph, PassContext()) is graph


def test_other_targets_keep_the_plain_form() -> None:
    assert not is_packed(forward(), target=CUDA_TARGET)


def test_panels_that_do_not_fit_are_refused() -> None:
    packed = pack_kernels(forward(), PassContext())
    node = next(node for node in packed.nodes if node.op.name == "packed_convolution")
    x, panels, finite = (value.type for value in node.inputs)
    with pytest.raises(ValueError, match="panels must hold 24 channels"):
        node.op.infer(x, panels.with_shape(9, *panels.shape[1:]), finite)
    with pytest.raises(ValueError, match=r"rows of .* and steps of the sum"):
        node.op.infer(x, panels.with_shape(panels.shape[0], 44, panels.shape[2]), finite)
    with pytest.raises(TypeError, match="expected 3 inputs"):
        node.op.infer(x, panels)
    left, right = TensorType((6, 10)), TensorType((3, 10, 8))
    assert PackedMatmul(20).infer(left, right) == (TensorType((6, 20)),)
    with pytest.raises(ValueError, match="panels must hold 25 columns"):
        PackedMatmul(25).infer(left, right)
    with pytest.raises(ValueError, match=r"rows of panels .* and steps of the sum"):
        PackedMatmul(20).infer(left, right.with_shape(3, 9, 8))


@pytest.mark.parametrize("transpose_b", [False, True])
def test_a_matrix_that_every_step_of_a_loop_reads_is_packed(transpose_b: bool) -> None:
    """In training, too; one with few columns stays, and so does one that the step makes."""
    body = Builder("cell")
    h, w, narrow = (body.input(n, TensorType(s)) for n, s in (("h", (4, 20)), ("w", (20, 20)), ("v", (20, 2))))
    new = f.matmul(body, h, w, transpose_b=transpose_b)
    own = f.matmul(body, new, f.matmul(body, h, h, transpose_a=True))
    body.output("h", f.add(body, f.tanh(body, own), f.reduce_sum(body, f.matmul(body, new, narrow))))
    b = Builder("net")
    values = [b.variable(e.name, e.value.type) for e in body.inputs]
    b.output("last", f.scan(b, body.build(), values[:1], constants=values[1:], count=3).final[0])
    b.update("w", f.multiply(b, values[1], 0.5))
    graph = b.build()
    packed = pack_kernels(graph, PassContext())
    (scan,) = (node.op for node in packed.nodes if isinstance(node.op, Scan))
    assert [node.op.name for node in scan.body.nodes if "mat" in node.op.name] == ["packed_matmul", *["matmul"] * 3]
    assert pack_kernels(packed, PassContext()) is packed
    variables = [0.2 * np.random.default_rng(4).normal(size=v.type.shape) for v in values]
    for left, right in zip(interpret(graph, (), variables)[0], interpret(packed, (), variables)[0], strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-12)
