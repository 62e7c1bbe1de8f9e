"""Kernels of whole steps, called item by item: calls that go on from the last one give the bits of a single call.

`tests/compiler/contraction_oracle.py` does this with kernels by themselves. Here are those that come about in models
only: attention and its gradient, reductions over the images of a convolution, packed products, tails that store twice.
"""

from __future__ import annotations

import ctypes
import itertools
from typing import Any

import numpy as np
import pytest

import graphcore as keras
from graphcore import layers
from runtime.dimensions import Dim, evaluate
from runtime.loader import load_objects
from runtime.program import CONTINUED, Instruction, Program

KERNEL = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_int64] * 7)
BATCH = 3


def images() -> keras.Model:
    inputs = keras.Input((12, 12, 4))
    x = inputs
    for filters, strides in ((16, 1), (24, 2)):
        x = layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.ReLU()(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(x)))
    x = layers.Conv2DTranspose(5, 3, strides=2, padding="same", activation="relu")(x)
    return keras.Model(inputs, layers.Dense(7, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def sequences() -> keras.Model:
    inputs = keras.Input((70, 24))
    x = layers.LayerNormalization()(inputs + layers.MultiHeadAttention(4, 8)(inputs, inputs, use_causal_mask=True))
    x = layers.LayerNormalization()(x + layers.Dense(24)(layers.Dense(80, activation="gelu")(x)))
    return keras.Model(inputs, layers.Dense(7, activation="softmax")(layers.GlobalAveragePooling1D()(x)))


def array_of(program: Program, number: int, sizes: dict[str, int], seed: int) -> np.ndarray:
    buffer = program.buffers[number]
    shape = tuple(evaluate(extent, sizes) for extent in buffer.shape)
    values = np.random.default_rng(seed).uniform(0.1, 1, shape)
    return values.astype(buffer.dtype) if buffer.dtype != "bool" else values > 0.5


class Caller:
    """Calls of one instruction over arrays made up for its operands."""

    def __init__(self, program: Program, instruction: Instruction, address: int) -> None:
        sizes = dict.fromkeys(program.symbols, BATCH)

        def size(dim: Dim) -> int:
            return evaluate(dim, sizes)

        self.function = KERNEL(address)
        self.work = size(instruction.work)
        arrays = {number: array_of(program, number, sizes, number) for number in instruction.operands}
        self.results = [arrays[number] for number in instruction.operands[instruction.reads :]]
        self.pointers = np.array([arrays[number].ctypes.data for number in instruction.operands], np.int64)
        self.extents = np.array([size(dim) for dim in instruction.extents] or [0], np.int64)
        self.memory = np.full(size(instruction.scratch) + 64, 0xFF, np.uint8)
        self.kept: Any = (arrays, address)

    def run(self, places: list[int], mark: int) -> list[bytes]:
        """The results of calls between these places, each but the first with the mark."""
        returned = np.zeros(2, np.int64)
        scratch = self.memory.ctypes.data + -self.memory.ctypes.data % 64
        self.memory[:] = 0xFF
        for result in self.results:
            result.view(np.uint8)[...] = 0
        for begin, end in itertools.pairwise(places):
            arguments = (returned.ctypes.data, returned.ctypes.data + 8, self.pointers.ctypes.data)
            first = begin + (mark if begin > 0 else 0)
            assert self.function(*arguments, self.extents.ctypes.data, scratch, first, end) == 0
        return [result.tobytes() for result in self.results]


@pytest.mark.slow
@pytest.mark.parametrize("make", [images, sequences])
@pytest.mark.parametrize("kind", ["train", "predict"])
def test_calls_that_go_on_change_no_bit(make: Any, kind: str) -> None:
    model = make()
    model.compile("adam", "sparse_categorical_crossentropy")
    program = model.lower(kind).compiled.program
    code = load_objects([(kernel.symbol, kernel.object_code) for kernel in program.kernels])
    checked = []
    for instruction in program.instructions:
        caller = Caller(program, instruction, code[instruction.kernel].address)
        in_place = set(instruction.operands[: instruction.reads]) & set(instruction.operands[instruction.reads :])
        if not instruction.keeps or caller.work < 2 or in_place:
            continue
        whole = caller.run([0, caller.work], 0)
        item_by_item = list(range(caller.work + 1))
        assert caller.run(item_by_item, CONTINUED) == whole, instruction.label
        assert caller.run([0, caller.work // 2, caller.work], CONTINUED) == whole, instruction.label
        checked.append(instruction.label)
    wanted = "attention_kernel" if make is sequences else "convolution"
    assert any(wanted in label for label in checked), checked
    if kind == "train" and make is sequences:
        assert any("attention_gradient_kernel" in label for label in checked), checked
