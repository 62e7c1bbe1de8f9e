"""What is measured: models with the batch each is stated at, and single kernels."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from benchmarks.generation import GENERATIONS, Generation

Array = np.ndarray[Any, np.dtype[Any]]

CLASSES = 10
LARGE_FACTOR = 4  # the large batch is so many times the stated one
INFERENCE_BATCH = 64


@dataclasses.dataclass(frozen=True)
class Workload:
    """A model, and random data that fit it.

    Attributes:
        name: the model's.
        batch: the one it is stated at.
        input_shape: shape of one input.
        target: what it gives: "class" probabilities, an "image", the probability of "binary" label 1, or the logits
            of a "token" at each step.
        classes: how many classes or tokens there are to tell apart.
        vocabulary: inputs are token numbers below it; 0 if they are images.
        inference_batch: the one that throughput of inference is measured at.
        unmasked: so many of the steps are words, the others are padding (token 0), which a mask leaves out; negative
            for a model without masks.
    """

    name: str
    batch: int
    input_shape: tuple[int, ...]
    target: str = "class"
    classes: int = CLASSES
    vocabulary: int = 0
    inference_batch: int = INFERENCE_BATCH
    unmasked: int = -1

    @property
    def masks(self) -> bool:
        """Whether token 0 is padding."""
        return self.unmasked >= 0

    def inputs(self, batch: int) -> Array:
        """Images (batch, *input_shape), float32, or token numbers, int32; the same every time."""
        rng = np.random.default_rng(0)
        if self.masks:
            tokens = rng.integers(1, self.vocabulary, (batch, *self.input_shape), dtype=np.int32)
            tokens[:, self.unmasked :] = 0
            return tokens
        if self.vocabulary:
            return rng.integers(0, self.vocabulary, (batch, *self.input_shape), dtype=np.int32)
        return rng.standard_normal((batch, *self.input_shape), dtype=np.float32)

    def labels(self, batch: int) -> Array:
        """Class numbers (batch,), binary labels (batch, 1) or tokens (batch, *input_shape), int64; not for images."""
        shape = {"class": (batch,), "binary": (batch, 1), "token": (batch, *self.input_shape)}[self.target]
        return np.random.default_rng(1).integers(0, self.classes, shape)

    def targets(self, batch: int) -> Array:
        """What Keras's loss takes: images in [0, 1), one-hot labels (batch, classes) or binary ones, float32; tokens
        as they are."""
        if self.target == "image":
            return np.random.default_rng(1).random((batch, *self.input_shape), dtype=np.float32)
        labels = self.labels(batch)
        if self.target == "class":
            return np.eye(self.classes, dtype=np.float32)[labels]
        return labels.astype(np.float32) if self.target == "binary" else labels


_IMAGE = (32, 32, 3)
_WORDS = 20000
WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("mlp", 128, (784,)),
        Workload("cnn", 64, _IMAGE),
        Workload("resnet20", 64, _IMAGE),
        Workload("autoencoder", 64, _IMAGE, "image"),
        Workload("mobilenet", 64, _IMAGE),
        Workload("lstm", 32, (80,), "binary", 2, _WORDS),
        Workload("bigru", 32, (80,), "binary", 2, _WORDS),
        Workload("transformer", 32, (128,), "class", 2, _WORDS),
        Workload("causal", 4, (1024,), "token", 256, 256, inference_batch=4),
    )
}

# The LSTM again, over 200 steps of which the last ones are padding. The words are few: what the optimizer does to them
# does not depend on the steps.
PADDED_STEPS = 200
_MASKED_WORDS = 1000
MASKED = {
    workload.name: workload
    for workload in (
        Workload(f"lstm-{n}-of-{PADDED_STEPS}", 32, (PADDED_STEPS,), "binary", 2, _MASKED_WORDS, unmasked=n)
        for n in range(0, PADDED_STEPS + 1, 25)
    )
}


@dataclasses.dataclass(frozen=True)
class KernelWorkload:
    """One matrix product, or one 3x3 convolution of stride 1 and padding "same", float32.

    Operands of a product: (m, k) and (k, n). Of a convolution: (n, h, w, c) and (3, 3, c, filters).
    """

    name: str
    left: tuple[int, ...]
    right: tuple[int, ...]

    @property
    def is_matmul(self) -> bool:
        """Whether it is a matrix product."""
        return len(self.left) == 2

    @property
    def flops(self) -> int:
        """Floating-point operations by definition, products with padding included."""
        return 2 * math.prod(self.left[:-1]) * math.prod(self.right)

    def operands(self) -> tuple[Array, Array]:
        """Random float32 arrays; the same every time."""
        rng = np.random.default_rng(0)
        return rng.standard_normal(self.left, dtype=np.float32), rng.standard_normal(self.right, dtype=np.float32)


KERNELS = {
    kernel.name: kernel
    for kernel in (
        KernelWorkload("matmul-1024", (1024, 1024), (1024, 1024)),
        KernelWorkload("conv3x3-32x32x16", (64, 32, 32, 16), (3, 3, 16, 16)),
        KernelWorkload("conv3x3-16x16x32", (64, 16, 16, 32), (3, 3, 32, 32)),
        KernelWorkload("conv3x3-8x8x64", (64, 8, 8, 64), (3, 3, 64, 64)),
    )
}


@dataclasses.dataclass(frozen=True)
class AttentionWorkload:
    """Causal attention with its gradients, float32: query, key, value and cotangent (1, length, heads, depth)."""

    name: str
    length: int
    heads: int
    depth: int

    @property
    def score_bytes(self) -> int:
        """Size of the matrix of scores of every query with every key."""
        return 4 * self.heads * self.length**2

    def operands(self, length: int) -> list[Array]:
        """Random query, key, value and cotangent of so many steps; the same every time."""
        rng = np.random.default_rng(0)
        return [rng.standard_normal((1, length, self.heads, self.depth), dtype=np.float32) for _ in range(4)]


ATTENTION_WARM_UP = 64  # steps with which engines compile and start before their memory is watched
ATTENTIONS = {one.name: one for one in (AttentionWorkload("causal-8192x4x64", 8192, 4, 64),)}


@dataclasses.dataclass(frozen=True)
class Task:
    """One thing to measure: a training step or an inference of a model at a batch size, a kernel (batch 0), a token of
    a generator, or attention with its gradients.
    """

    kind: str  # "train" | "infer" | "kernel" | "generate" | "attention"
    name: str
    batch: int = 0

    @property
    def workload(self) -> Workload:
        """The model's description."""
        return workload_of(self.name)

    @property
    def kernel(self) -> KernelWorkload:
        """The kernel's description."""
        return KERNELS[self.name]

    @property
    def generation(self) -> Generation:
        """The generator's description."""
        return GENERATIONS[self.name]

    @property
    def attention(self) -> AttentionWorkload:
        """The attention's description."""
        return ATTENTIONS[self.name]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" + (f" batch {self.batch}" if self.batch else "")


def workload_of(name: str) -> Workload:
    """The model of that name, with masks or without."""
    return WORKLOADS[name] if name in WORKLOADS else MASKED[name]
