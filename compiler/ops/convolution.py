"""Convolutions over one to three spatial axes, and their two gradients.

Inputs are [batch, *spatial, channels], kernels [*kernel, channels / groups, filters]. As everywhere in deep
learning this is cross-correlation: the kernel is not flipped. Each of the three ops is linear in each input,
and its gradients are the other two, so that they can be differentiated any number of times.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from compiler import functions as f
from compiler.ir import Array, Builder, Op, Value
from compiler.loops import Element, Expr, Lowering
from compiler.ops.checks import (
    concrete,
    require_equal_extents,
    require_length,
)
from compiler.ops.families import Cotangents, received
from compiler.ops.registry import op
from compiler.ops.sliding_kernel import SlidingKernel, group_of
from compiler.ops.spatial import (
    Padding,
    all_of,
    clamp,
    cropped,
    guarded,
    inside,
    padded,
    tap,
    windows,
)
from compiler.types import TensorType
from runtime.dimensions import Dim

if TYPE_CHECKING:
    from compiler.contractions import Contraction


@op
class Convolution(SlidingKernel):
    """(x, kernel) -> [batch, *output, filters]."""

    strides: tuple[int, ...]
    padding: Padding
    dilation: tuple[int, ...]
    groups: int = 1

    by_image = True

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """Channels must agree; output extents follow from the windows."""
        self.check(*inputs)
        x, kernel = inputs
        channels = self.per_group("input channels", x.shape[-1])
        self.per_group("filters", kernel.shape[-1])
        require_equal_extents(
            self.name, f"channels per group of input {x} and kernel {kernel}", channels, kernel.shape[-2]
        )
        spatial = self.outputs_of(x.shape[1:-1], kernel.shape[:-2])
        return (x.with_shape(x.shape[0], *spatial, kernel.shape[-1]),)

    @staticmethod
    def result_and_kernel(
        first: TensorType, second: TensorType, output: TensorType
    ) -> tuple[TensorType, TensorType]:
        """(result, kernel)."""
        return output, second

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Sliding windows, contracted with the kernel group by group."""
        x, kernel = inputs
        size = kernel.shape[:-2]
        view = windows(padded(x, self.padding, 0), size, self.strides, self.dilation)
        axis = 1 + len(size)  # of the channels
        results = []
        for channels, filters in zip(
            np.split(np.arange(x.shape[-1]), self.groups),
            np.split(np.arange(kernel.shape[-1]), self.groups),
            strict=True,
        ):
            part = np.moveaxis(view.take(channels, axis), axis, -1)
            contracted = list(range(axis, axis + len(size) + 1))
            results.append(np.tensordot(part, kernel[..., filters], (contracted, list(range(len(size) + 1)))))
        return (np.concatenate(results, -1).astype(x.dtype, copy=False),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """The two gradient ops."""
        g, (x, kernel) = received(cotangents), inputs
        rest = (self.strides, self.padding, self.dilation, self.groups)
        of_x = ConvolutionInputGradient(x.type.shape[1:-1], *rest)
        of_kernel = ConvolutionKernelGradient(kernel.type.shape[:-2], *rest)
        return b.emit(of_x, g, kernel), b.emit(of_kernel, x, g)

    def contraction(self, types: Sequence[TensorType]) -> Contraction | None:
        """One over x and the kernel."""
        x, kernel, _ = types
        kind = "depthwise" if self.is_depthwise(kernel) else "convolution"
        return self.described(kind, x.dtype, x.shape, kernel.shape)

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """A sum over the kernel's elements and the channels of the filter's group."""
        x, kernel, _ = types
        batch, *output, filter_ = index
        size, channels = kernel.shape[:-2], kernel.shape[-2]
        group = group_of(k, filter_, kernel.shape[-1], self.groups)

        def body(i: tuple[Expr, ...]) -> Expr:
            *offset, channel = i
            positions, within = self.positions(k, x, output, offset)
            source = channel if group is None else group * k.extent(channels) + channel
            element = guarded(within, inputs[0]([batch, *positions, source]), 0)
            return element * inputs[1]([*offset, channel, filter_])

        return k.reduce("add", x.dtype, [*size, channels], body)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """All spatial ranks, strides, asymmetric padding, dilation, groups."""
        for attributes, x, kernel, _ in _sample_cases():
            yield cls(*attributes), (x, kernel)


@op
class ConvolutionInputGradient(SlidingKernel):
    """(cotangent of a convolution's result, kernel) -> cotangent of its input: a transposed convolution."""

    input_spatial: tuple[Dim, ...]
    strides: tuple[int, ...]
    padding: Padding
    dilation: tuple[int, ...]
    groups: int = 1

    by_image = True

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """The convolution's input; its result must have the cotangent's shape."""
        self.check(*inputs)
        g, kernel = inputs
        require_length(self.name, "input_spatial", self.input_spatial, g.rank - 2)
        self.per_group("filters", kernel.shape[-1])
        require_equal_extents(self.name, f"filters of cotangent {g} and kernel {kernel}", g.shape[-1], kernel.shape[-1])
        expected = self.outputs_of(self.input_spatial, kernel.shape[:-2])
        for axis, (extent, wanted) in enumerate(zip(g.shape[1:-1], expected, strict=True)):
            what = f"extent of the cotangent and of the convolution's result on spatial axis {axis}"
            require_equal_extents(self.name, what, extent, wanted)
        return (g.with_shape(g.shape[0], *self.input_spatial, kernel.shape[-2] * self.groups),)

    @staticmethod
    def result_and_kernel(
        first: TensorType, second: TensorType, output: TensorType
    ) -> tuple[TensorType, TensorType]:
        """(result, kernel)."""
        return first, second

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Each kernel element scatters its share into the padded input."""
        g, kernel = inputs
        size, channels = kernel.shape[:-2], kernel.shape[-2]
        extents = [e + sum(concrete(p)) for e, p in zip(concrete(self.input_spatial), self.padding, strict=True)]
        total = np.zeros((g.shape[0], *extents, channels * self.groups), g.dtype)
        filters = kernel.shape[-1] // self.groups
        for offset in itertools.product(*map(range, size)):
            target = tap(total, offset, g.shape[1:-1], self.strides, self.dilation)
            for group in range(self.groups):
                chosen = slice(group * filters, (group + 1) * filters)
                share = g[..., chosen] @ kernel[offset][:, chosen].T
                target[..., group * channels : (group + 1) * channels] += share
        return (cropped(total, self.padding, self.input_spatial),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """The convolution, and its kernel gradient with the cotangent in the place of the input."""
        c, (g, kernel) = received(cotangents), inputs
        rest = (self.strides, self.padding, self.dilation, self.groups)
        of_kernel = ConvolutionKernelGradient(kernel.type.shape[:-2], *rest)
        return b.emit(Convolution(*rest), c, kernel), b.emit(of_kernel, c, g)

    def contraction(self, types: Sequence[TensorType]) -> Contraction | None:
        """One over the result and the kernel."""
        _, kernel, x = types
        kind = "depthwise_input_gradient" if self.is_depthwise(kernel) else "convolution_input_gradient"
        return self.described(kind, x.dtype, x.shape, kernel.shape)

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """A sum over the windows that held the input element, and the filters of its group."""
        g, kernel, x = types
        batch, *at, channel = index
        filters = kernel.shape[-1] // self.groups
        group = group_of(k, channel, x.shape[-1], self.groups)
        own = channel if group is None else channel % k.extent(kernel.shape[-2])

        def body(i: tuple[Expr, ...]) -> Expr:
            *offset, filter_ = i
            output, tests = [], []
            for axis, extent in enumerate(g.shape[1:-1]):
                stride = self.strides[axis]
                reached = at[axis] + k.extent(self.padding[axis][0]) - offset[axis] * self.dilation[axis]
                window = reached // stride
                tests.append((reached % stride).equals(0) if stride > 1 else None)
                tests.append(inside(k, window, extent))
                output.append(clamp(k, window, extent))
            source = filter_ if group is None else group * k.extent(filters) + filter_
            element = guarded(all_of(tests), inputs[0]([batch, *output, source]), 0)
            return element * inputs[1]([*offset, own, source])

        return k.reduce("add", g.dtype, [*kernel.shape[:-2], filters], body)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Those of the convolution."""
        for attributes, x, kernel, g in _sample_cases():
            yield cls(x.shape[1:-1], *attributes), (g, kernel)


@op
class ConvolutionKernelGradient(SlidingKernel):
    """(a convolution's input, cotangent of its result) -> cotangent of its kernel."""

    kernel_spatial: tuple[Dim, ...]
    strides: tuple[int, ...]
    padding: Padding
    dilation: tuple[int, ...]
    groups: int = 1

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """The convolution's kernel; its result must have the cotangent's shape."""
        self.check(*inputs)
        x, g = inputs
        require_length(self.name, "kernel_spatial", self.kernel_spatial, x.rank - 2)
        channels = self.per_group("input channels", x.shape[-1])
        self.per_group("filters", g.shape[-1])
        require_equal_extents(self.name, f"batch of input {x} and cotangent {g}", x.shape[0], g.shape[0])
        expected = self.outputs_of(x.shape[1:-1], self.kernel_spatial)
        for axis, (extent, wanted) in enumerate(zip(g.shape[1:-1], expected, strict=True)):
            what = f"extent of the cotangent and of the convolution's result on spatial axis {axis}"
            require_equal_extents(self.name, what, extent, wanted)
        return (x.with_shape(*self.kernel_spatial, channels, g.shape[-1]),)

    def can_run_over_steps(self, inputs: Sequence[Value]) -> bool:
        """Always: the steps' images join the batch."""
        return True

    def over_steps(self, b: Builder, stacks: Sequence[Value]) -> Value:
        """The gradient over the images of all steps."""
        return b.emit(self, *(f.reshape(b, stack, (-1, *stack.type.shape[2:])) for stack in stacks))

    @staticmethod
    def result_and_kernel(
        first: TensorType, second: TensorType, output: TensorType
    ) -> tuple[TensorType, TensorType]:
        """(result, kernel)."""
        return second, output

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """For each kernel element the product of what it met with the cotangent."""
        x, g = inputs
        size = concrete(self.kernel_spatial)
        channels, filters = x.shape[-1] // self.groups, g.shape[-1] // self.groups
        source = padded(x, self.padding, 0)
        result = np.zeros((*size, channels, g.shape[-1]), x.dtype)
        summed = list(range(g.ndim - 1))
        for offset in itertools.product(*map(range, size)):
            met = tap(source, offset, g.shape[1:-1], self.strides, self.dilation)
            for group in range(self.groups):
                chosen = slice(group * filters, (group + 1) * filters)
                part = met[..., group * channels : (group + 1) * channels]
                result[offset][:, chosen] = np.tensordot(part, g[..., chosen], (summed, summed))
        return (result,)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """The input gradient and the convolution, with the cotangent in the place of the kernel."""
        c, (x, g) = received(cotangents), inputs
        rest = (self.strides, self.padding, self.dilation, self.groups)
        of_x = ConvolutionInputGradient(x.type.shape[1:-1], *rest)
        return b.emit(of_x, g, c), b.emit(Convolution(*rest), x, c)

    def contraction(self, types: Sequence[TensorType]) -> Contraction | None:
        """One over x and the result."""
        x, _, kernel = types
        kind = "depthwise_kernel_gradient" if self.is_depthwise(kernel) else "convolution_kernel_gradient"
        return self.described(kind, x.dtype, x.shape, kernel.shape)

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """A sum over the batch and all windows."""
        x, g, kernel = types
        *offset, channel, filter_ = index
        group = group_of(k, filter_, g.shape[-1], self.groups)
        source = channel if group is None else group * k.extent(kernel.shape[-2]) + channel

        def body(i: tuple[Expr, ...]) -> Expr:
            batch, *output = i
            positions, within = self.positions(k, x, output, offset)
            element = guarded(within, inputs[0]([batch, *positions, source]), 0)
            return element * inputs[1]([batch, *output, filter_])

        return k.reduce("add", x.dtype, g.shape[:-1], body)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Those of the convolution."""
        for attributes, x, kernel, g in _sample_cases():
            yield cls(kernel.shape[:-2], *attributes), (x, g)


Attributes = tuple[tuple[int, ...], Padding, tuple[int, ...], int]


def _sample_cases() -> Iterator[tuple[Attributes, Array, Array, Array]]:
    """Attributes, input, kernel and a cotangent of the result."""
    rng = np.random.default_rng(30)
    cases: list[tuple[tuple[int, ...], tuple[int, ...], Attributes]] = [
        ((2, 7, 3), (3, 3, 4), ((1,), ((0, 0),), (1,), 1)),
        ((1, 9, 2), (3, 2, 3), ((2,), ((2, 0),), (1,), 1)),
        ((2, 8, 2), (3, 2, 2), ((1,), ((4, 0),), (2,), 1)),
        ((2, 5, 6, 3), (3, 2, 3, 4), ((1, 1), ((1, 1), (0, 1)), (1, 1), 1)),
        ((1, 8, 7, 2), (3, 3, 2, 3), ((2, 3), ((0, 1), (1, 1)), (1, 1), 1)),
        ((1, 7, 6, 4), (2, 3, 2, 6), ((1, 2), ((1, 0), (1, 1)), (1, 1), 2)),
        ((2, 5, 4, 3), (3, 3, 1, 6), ((1, 1), ((2, 2), (1, 1)), (2, 1), 3)),
        ((2, 4, 3, 5), (1, 1, 5, 2), ((2, 1), ((0, 0), (0, 0)), (1, 1), 1)),
        ((1, 4, 3, 4, 2), (2, 3, 2, 2, 2), ((2, 1, 1), ((0, 1), (1, 1), (1, 0)), (1, 1, 1), 1)),
    ]
    for shape, kernel_shape, attributes in cases:
        x, kernel = rng.normal(size=shape), rng.normal(size=kernel_shape)
        (result,) = Convolution(*attributes).infer(TensorType(shape), TensorType(kernel_shape))
        yield attributes, x, kernel, rng.normal(size=concrete(result.shape))
