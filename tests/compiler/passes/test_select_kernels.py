"""Which convolutions take Winograd's form, and what stands in their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from compiler.driver import compile_graph, program_key
from compiler.interpret import interpret
from compiler.ir import Builder, Graph
from compiler.ops.convolution import Convolution, ConvolutionKernelGradient
from compiler.ops.spatial import Padding
from compiler.passes.context import PassContext
from compiler.passes.differentiate import differentiate
from compiler.passes.select_kernels import select_kernels
from compiler.target import CUDA_TARGET, host_target
from compiler.text import parse, to_text
from compiler.types import TensorType
from runtime.dimensions import Dim, symbol
from runtime.threads import get_num_threads, set_num_threads

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


SAME = ((1, 1), (1, 1))


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = get_num_threads()
    yield
    set_num_threads(before)


def forward(
    channels: int = 16,
    filters: int = 16,
    size: Dim = 8,
    padding: Padding = SAME,
    strides: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    dtype: str = "float32",
    kernel: tuple[int, int] = (3, 3),
) -> Graph:
    b = Builder("step")
    x = b.input("x", TensorType((symbol("batch"), size, size, channels), dtype))
    w = b.variable("kernel", TensorType((*kernel, channels, filters), dtype))
    b.output("y", b.emit(Convolution(strides, padding, dilation), x, w))
    return b.build()


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
