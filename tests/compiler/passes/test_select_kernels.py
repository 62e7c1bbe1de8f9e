"""Which convolutions take Winograd's form, and what stands in their place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from convolution_graphs import SAME, convolution

from compiler.driver import compile_graph, program_key
from compiler.interpret import interpret
from compiler.ir import Builder, Graph
from compiler.ops.convolution import ConvolutionKernelGradient
from compiler.ops.kernel_gradient_parts import ConvolutionKernelGradientParts
from compiler.passes.context import PassContext
from compiler.passes.differentiate import differentiate
from compiler.passes.select_kernels import select_kernels
from compiler.target import CUDA_TARGET, host_target
from compiler.text import parse, to_text
from compiler.types import TensorType
from runtime.dimensions import Dim, symbol
from runtime.threads import set_num_threads

TRAINING = """
    graph step {
      input %0 "x": f32[batch,h,w,16]
      variable %1 "kernel": f32[3,3,16,24]
      variable %2 "bias": f32[24]
      %3: f32[batch,h,w,24] = convolution(%0, %1) {strides=(1, 1), padding=((1, 1), (1, 1)), dilation=(1, 1), groups=1}
      %4: f32[batch,h,w,24] = broadcast(%2) {shape=(batch, h, w, 24), axes=(3,)}
      %5: f32[batch,h,w,24] = add(%3, %4)
      %6: f32[batch,h,w,24] = relu(%5)
      %7: f32[batch,h,w,24] = multiply(%6, %6)
      %8: f32[] = reduce_sum(%7) {axes=(0, 1, 2, 3)}
      %9: f32[batch,h,w,16], %10: f32[3,3,16,24], %11: f32[24] = gradient(%8, %0, %1, %2)
      return "loss"=%8
      return "of_x"=%9
      return "of_kernel"=%10
      return "of_bias"=%11
    }
"""


pytestmark = pytest.mark.usefixtures("threads_restored")


def forward(
    channels: int = 16, filters: int = 16, size: Dim = 8, kernel: tuple[int, int] = (3, 3), **options: Any
) -> Graph:
    return convolution((*kernel, channels, filters), (size, size), **options)


def selected(graph: Graph, **options: Any) -> bool:
    result = select_kernels(graph, PassContext(**options))
    return any(node.op.name.startswith("winograd") for node in result.nodes)


def test_a_convolution_and_its_gradients(check: Callable[..., Graph], arrays_for: Callable[..., Any]) -> None:
    traced = differentiate(parse(TRAINING), PassContext())
    result = check(select_kernels, to_text(traced), golden="select_kernels", numbers=False)
    arrays = [array.astype("float64") for array in arrays_for(traced)]
    expected, _ = interpret(traced, arrays[:1], arrays[1:])
    found, _ = interpret(result, arrays[:1], arrays[1:])
    for before, after in zip(expected, found, strict=True):
        # The matrices of the transforms are float32 constants.
        np.testing.assert_allclose(after, before, rtol=0, atol=2e-6 * np.abs(before).max())


@pytest.mark.parametrize("size", [7, 8, 32, symbol("h")])
def test_layers_that_win(size: Dim) -> None:
    assert selected(forward(64, 64, size))
    assert selected(forward(16, 16, 32))


@pytest.mark.parametrize(
    "graph",
    [
        forward(strides=(2, 2)),
        forward(dilation=(2, 2)),
        forward(padding=((1, 1), (3, 0))),
        forward(channels=8),
        forward(filters=8),
        forward(size=1),
        forward(size=5),
        forward(dtype="float64"),
        forward(kernel=(3, 1)),
    ],
    ids=["strided", "dilated", "padded wide", "few channels", "few filters", "a pixel", "small", "f64", "other kernel"],
)
def test_layers_that_stay_direct(graph: Graph) -> None:
    assert not selected(graph)
    assert select_kernels(graph, PassContext()) is graph


def test_the_context_forbids_it() -> None:
    assert selected(forward())
    assert not selected(forward(), winograd=False)
    assert not selected(forward(), target=CUDA_TARGET)


def test_a_program_knows_whether_it_was_allowed() -> None:
    graph, target = forward(), host_target()
    assert program_key(graph, target, winograd=True) != program_key(graph, target, winograd=False)
    for allowed in (True, False):
        compiled = compile_graph(graph, winograd=allowed)
        kernels = " ".join(instruction.label for instruction in compiled.program.instructions)
        assert ("winograd" in kernels) == allowed
        again = compile_graph(graph, winograd=allowed)  # from the cache: its graph is made by running the passes again
        assert ("winograd" in to_text(again.graph)) == allowed


@pytest.mark.parametrize("sizes", [{"batch": 3, "h": 9, "w": 6}, {"batch": 2, "h": 4, "w": 17}], ids=str)
def test_a_training_step_gives_the_same_numbers(sizes: dict[str, int], arrays_for: Callable[..., Any]) -> None:
    graph = parse(TRAINING)
    judge = differentiate(graph, PassContext())
    arrays = arrays_for(graph, 1, **sizes)
    wide = [array.astype("float64") for array in arrays]
    exact, _ = interpret(judge, wide[:1], wide[1:])
    compiled = compile_graph(graph)
    results = []
    for threads in (1, 2, 4):
        set_num_threads(threads)
        results.append(compiled.executable.run(arrays[:1], arrays[1:]))
    for values in zip(exact, *results, strict=True):
        for value in values[1:]:
            np.testing.assert_allclose(value, values[0], rtol=0, atol=3e-6 * np.abs(values[0]).max())
            np.testing.assert_array_equal(value, values[1])


def test_a_kernel_gradient_with_few_tiles_stays_direct() -> None:
    def gradient(size: int) -> Graph:
        b = Builder("step")
        x, g = (b.input(name, TensorType((symbol("batch"), size, size, 64))) for name in "xg")
        op = ConvolutionKernelGradient((3, 3), (1, 1), SAME, (1, 1))
        b.output("of_kernel", b.emit(op, x, g))
        return b.build()

    assert selected(gradient(8))
    assert not selected(gradient(3)), "clearing and adding the sums of 36 points costs more than nine taps"
    assert selected(forward(64, 64, 3)), "the convolution has no such sums"


def kernel_gradient(
    kernel: tuple[int, ...] = (1, 1),
    channels: int = 32,
    filters: int = 64,
    size: Dim = 16,
    groups: int = 1,
    dtype: str = "float32",
) -> Graph:
    b = Builder("step")
    rank, batch = len(kernel), symbol("batch")
    pads = tuple(((extent - 1) // 2, extent // 2) for extent in kernel)
    x = b.input("x", TensorType((batch, *[size] * rank, channels), dtype))
    g = b.input("g", TensorType((batch, *[size] * rank, filters), dtype))
    op = ConvolutionKernelGradient(kernel, (1,) * rank, pads, (1,) * rank, groups)
    b.output("of_kernel", b.emit(op, x, g))
    return b.build()


def chunks_of(graph: Graph, **options: Any) -> int | None:
    nodes = select_kernels(graph, PassContext(**options)).nodes
    found = [node.op for node in nodes if isinstance(node.op, ConvolutionKernelGradientParts)]
    return found[0].chunks if found else None


def test_kernel_gradients_in_parts() -> None:
    assert chunks_of(kernel_gradient()) == 8
    assert chunks_of(kernel_gradient(), winograd=False) == 8, "rounding does not grow, so nobody has to allow it"
    assert chunks_of(kernel_gradient((3, 3), 3, 32, symbol("size"))) == 8
    assert chunks_of(kernel_gradient((5,), 64, 64, 256)) == 8
    assert chunks_of(kernel_gradient(dtype="float64")) == 8
    assert chunks_of(kernel_gradient((3, 3), 32, 64, groups=2)) == 8
    assert chunks_of(kernel_gradient((1, 1), 256, 256, size=4)) == 4, "the sum is shorter"
    assert chunks_of(kernel_gradient((1, 1), 256, 512, size=2)) is None, "and here too short"
    assert chunks_of(kernel_gradient((1, 1), 512, 1024)) is None, "much to add; there are rows enough to share"
    assert chunks_of(kernel_gradient((1, 1), 3, 4)) is None, "an instruction of its own costs more"
    assert chunks_of(kernel_gradient((3, 3), 64, 64, groups=64)) is None, "depthwise"
    assert chunks_of(kernel_gradient((3, 3, 3), 8, 8, 8)) is None, "plain loops"
    assert chunks_of(kernel_gradient(), target=CUDA_TARGET) is None


@pytest.mark.parametrize("graph", [kernel_gradient(), kernel_gradient((4,), 64, 30, 300)], ids=["2-D", "1-D"])
def test_parts_give_the_sum(graph: Graph, arrays_for: Callable[..., Any]) -> None:
    arrays = [array.astype("float64") for array in arrays_for(graph, 2, batch=3)]
    expected, _ = interpret(graph, arrays)
    result = select_kernels(graph, PassContext())
    assert result is not graph
    assert select_kernels(result, PassContext()) is result
    found, _ = interpret(result, arrays)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12, atol=1e-10)
