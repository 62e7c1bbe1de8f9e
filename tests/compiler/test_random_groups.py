"""Random numbers in groups of 32: the words of the reference whatever the loops, each block computed once."""

from __future__ import annotations

import numpy as np
import pytest

from compiler import functions as f
from compiler.codegen.cpu import print_loop_kernel
from compiler.driver import compile_graph
from compiler.ir import Builder, Graph
from compiler.loops import LoopKernel
from compiler.lower import lower_group
from compiler.ops.random import STATE, Dropout, RandomBits
from compiler.random_groups import draws_whole_groups
from compiler.types import TensorType
from runtime.dimensions import Dim, symbol

SEED = np.array([123, 2**32 - 1], "uint32")


def bits_graph(shape: tuple[Dim, ...]) -> Graph:
    b = Builder("body")
    b.output("bits", b.emit(RandomBits(shape), b.input("state", STATE)))
    return b.build()


def dropout_graph(shape: tuple[Dim, ...]) -> Graph:
    """Scaled before, pooled before, kept after: what may share the kernel."""
    b = Builder("step")
    x, state, scale = b.input("x", TensorType(shape)), b.input("state", STATE), b.input("s", TensorType(shape[-1:]))
    b.output("y", b.emit(Dropout(0.3), f.multiply(b, f.max_pool(b, x, 2), scale), state))
    return b.build()


@pytest.mark.parametrize("shape", [(1, 32), (3, 64), (2, 3, 96), (2, 2, 3, 32), (5, 33), (3, 8), (70,)])
def test_compiled_words_are_those_of_the_reference(shape: tuple[int, ...]) -> None:
    (bits,) = compile_graph(bits_graph(shape)).executable.run([SEED], [])
    np.testing.assert_array_equal(bits, RandomBits(shape).reference(SEED)[0])


@pytest.mark.parametrize("columns", [32, 64, 12])
def test_fused_masks_drop_what_the_reference_drops(columns: int) -> None:
    compiled = compile_graph(dropout_graph((symbol("batch"), 6, 5, columns)))
    random = np.random.default_rng(0)
    for batch in (1, 4):
        x = random.normal(size=(batch, 6, 5, columns)).astype("float32")
        scale = random.uniform(1, 2, columns).astype("float32")
        (result,) = compiled.executable.run([x, SEED, scale], [])
        pooled = x[:, :6, :4].reshape(batch, 3, 2, 2, 2, columns).max((2, 4)) * scale
        (bits,) = RandomBits(pooled.shape).reference(SEED)
        expected = np.where(bits >= round(0.3 * 2**32), pooled.astype("float64") / 0.7, 0)
        np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_a_block_is_computed_once_for_four_elements() -> None:
    texts = []
    for columns in (64, 65):
        body = bits_graph((8, columns))
        kernel = lower_group(body)
        assert isinstance(kernel, LoopKernel)
        assert draws_whole_groups(body, (8, columns)) is (columns == 64)
        texts.append(print_loop_kernel(kernel).source)
    whole, cut = texts
    assert whole.count("p1[") == 4
    assert cut.count("p1[") == 1
    assert whole.count("mulhi_uint32") == cut.count("mulhi_uint32")
