"""A dense layer over any axes."""

from __future__ import annotations

import copy
import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphcore import activations, ops
from graphcore.initializers import VarianceScaling
from graphcore.layers.arguments import refuse
from graphcore.layers.input_spec import InputSpec
from graphcore.layers.layer import Layer
from graphcore.layers.weight_arguments import add_named_weight, keep_weight_arguments, weight_config

_FORMS = re.compile(r"(?:([a-zA-Z]+)|\.\.\.([a-zA-Z]+)|([a-zA-Z]{2,})\.\.\.)")


@dataclass(frozen=True)
class EinsumPlan:
    """What an equation, with the ellipsis written out, means for the weights.

    Attributes:
        inputs, kernel, outputs: one letter an axis.
        kernel_shape, bias_shape: of the weights; no bias: None.
        input_axes, output_axes: axes of the kernel that are summed over, and that the output has.
    """

    inputs: str
    kernel: str
    outputs: str
    kernel_shape: tuple[int, ...]
    bias_shape: tuple[int, ...] | None
    input_axes: tuple[int, ...]
    output_axes: tuple[int, ...]

    def summed(self) -> int:
        """How many trailing axes of the input a plain matrix product sums over; 0 if the equation is none.

        It is one if the kernel's axes are the input's last ones followed by the output's last ones.
        """
        count = len(self.input_axes)
        kept = self.inputs[: len(self.inputs) - count]
        plain = self.inputs[len(kept) :] == self.kernel[:count] and self.outputs == kept + self.kernel[count:]
        return count if plain and 0 < count < len(self.kernel) else 0


class EinsumDense(Layer):
    """`activation(einsum(equation, inputs, kernel) + bias)`.

    Args:
        equation: of the inputs and the kernel, e.g. `"abc,cd->abd"`; axes in `...` are left alone.
        output_shape: extents of the output without the batch and without the axes in `...`; None: as in the input.
        activation: name or function; None is linear.
        bias_axes: letters of the output that the bias has; None for no bias.
        kernel_initializer, bias_initializer: first values; `glorot_uniform` and `zeros`.
        kernel_regularizer, bias_regularizer, activity_regularizer: penalties.
        kernel_constraint, bias_constraint: projections after each optimizer step.
        kwargs: see `Layer`.

    Weights: kernel, with the axes that the equation gives it, and bias.

    Raises:
        ValueError: an equation of another form, or one that does not fit the shapes.
    """

    def __init__(
        self,
        equation: str,
        output_shape: int | Sequence[int | None],
        activation: Any = None,
        bias_axes: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        refuse(kwargs, "EinsumDense", "lora_rank", "lora_alpha", "gptq_unpacked_column_size", "quantization_config")
        super().__init__(**kwargs)
        self.equation = equation
        _split(equation)
        self.partial_output_shape = (output_shape,) if isinstance(output_shape, int) else tuple(output_shape)
        self.bias_axes = bias_axes
        self.activation = activations.get(activation)
        keep_weight_arguments(self, "kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        keep_weight_arguments(self, "bias", bias_initializer, bias_regularizer, bias_constraint)
        self.bias: Any = None
        self._plan: EinsumPlan

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Create the weights for inputs of this shape."""
        self._plan = plan = einsum_plan(self.equation, self.bias_axes, input_shape, self.partial_output_shape)
        self.kernel = add_named_weight(self, "kernel", plan.kernel_shape, initializer=self._initializer(plan))
        if plan.bias_shape is not None:
            self.bias = add_named_weight(self, "bias", plan.bias_shape)
        self.input_spec = InputSpec(ndim=len(input_shape))

    def _initializer(self, plan: EinsumPlan) -> Any:
        """The kernel's, told which axes are inputs and which are outputs."""
        initializer = self.kernel_initializer  # type: ignore[attr-defined]
        if not isinstance(initializer, VarianceScaling):
            return initializer
        if initializer.input_axes is None or initializer.output_axes is None:
            initializer = copy.copy(initializer)  # with the same seed
            initializer.input_axes, initializer.output_axes = plan.input_axes, plan.output_axes
        return initializer

    def call(self, inputs: Any, training: Any = None) -> Any:
        """Compute the output."""
        summed = self._plan.summed()
        if summed:
            return self.activation(self._product(inputs, summed))
        plan = self._plan
        outputs = ops.einsum(f"{plan.inputs},{plan.kernel}->{plan.outputs}", inputs, self.kernel)
        if self.bias is not None:
            outputs = ops.add(outputs, self.bias)
        return self.activation(outputs)

    def _product(self, inputs: Any, summed: int) -> Any:
        """One matrix product with the bias at its end; inputs, weights and the result are only seen in other shapes."""
        shape = self._plan.kernel_shape
        extents = ops.shape(inputs)[: len(inputs.shape) - summed]
        outer, columns = shape[:summed], shape[summed:]
        rows = inputs if summed == 1 else ops.reshape(inputs, (*extents, _product_of(outer)))
        matrix = self.kernel if len(shape) == 2 else ops.reshape(self.kernel, (_product_of(outer), -1))
        outputs = ops.matmul(rows, matrix)
        bias = self.bias
        if bias is not None and self._plan.bias_shape == columns:
            outputs, bias = ops.add(outputs, ops.reshape(bias, (-1,))), None
        if len(columns) > 1:
            outputs = ops.reshape(outputs, (*extents, *columns))
        return outputs if bias is None else ops.add(outputs, bias)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "output_shape": self.partial_output_shape,
            "equation": self.equation,
            "activation": activations.serialize(self.activation),
            "bias_axes": self.bias_axes,
            **weight_config(self, "kernel", "bias"),
        }


def _product_of(extents: Sequence[int]) -> int:
    result = 1
    for extent in extents:
        result *= extent
    return result


def _split(equation: str) -> tuple[str, str, str]:
    """The terms of an equation.

    Raises:
        ValueError: it is none of the three forms.
    """
    terms = re.fullmatch(r"([a-zA-Z.]+),([a-zA-Z]+)->([a-zA-Z.]+)", equation.replace(" ", ""))
    if terms is not None:
        inputs, kernel, outputs = terms.groups()
        forms = [_FORMS.fullmatch(term) for term in (inputs, outputs)]
        starts, ends = inputs.startswith("..."), inputs.endswith("...")
        same = (starts, ends) == (outputs.startswith("..."), outputs.endswith("..."))
        if forms[0] is not None and same and (forms[1] is not None or ends):
            return inputs, kernel, outputs
    raise ValueError(
        f"Invalid einsum equation '{equation}'. Equations must be in the form [X],[Y]->[Z], ...[X],[Y]->...[Z], or "
        "[X]...,[Y]->[Z]...."
    )


def einsum_plan(
    equation: str,
    bias_axes: str | None,
    input_shape: Sequence[int | None],
    output_shape: Sequence[int | None],
) -> EinsumPlan:
    """What the equation means for inputs of this shape.

    Raises:
        ValueError: it does not fit the shapes.
    """
    inputs, kernel, outputs = _split(equation)
    hidden = len(input_shape) - len(inputs.replace("...", ""))
    if hidden < 0 or (hidden > 0 and "..." not in inputs):
        raise ValueError(
            f"EinsumDense: '{inputs}' of equation='{equation}' does not fit an input of shape {tuple(input_shape)}"
        )
    elided = "".join(letter for letter in string.ascii_letters if letter not in equation)[:hidden]
    # The extents that are given leave out the batch and what is in the ellipsis.
    if "..." in inputs and inputs.startswith("..."):
        full = (*input_shape[: max(hidden, 1)], *output_shape)
    else:
        full = (input_shape[0], *output_shape, *input_shape[len(input_shape) - hidden :])
    inputs, outputs = inputs.replace("...", elided), outputs.replace("...", elided)
    if len(outputs) != len(full):
        raise ValueError(
            f"EinsumDense: equation='{equation}' gives an output of {len(outputs)} axes, output_shape="
            f"{tuple(output_shape)} one of {len(full)}, for inputs of shape {tuple(input_shape)}"
        )
    known = dict(zip(inputs, input_shape, strict=True))
    results = dict(zip(outputs, full, strict=True))
    _check_letters(equation, inputs, kernel, outputs, known, results)
    results = {letter: known.get(letter) if extent is None else extent for letter, extent in results.items()}
    kernel_shape = tuple(results[letter] if letter in results else known[letter] for letter in kernel)
    if None in kernel_shape:
        raise ValueError(
            f"EinsumDense needs to know the extents of the kernel of equation='{equation}'. Received: "
            f"input_shape={tuple(input_shape)}, output_shape={tuple(output_shape)}"
        )
    bias_shape = None if bias_axes is None else _bias_shape(equation, bias_axes, outputs, results)
    return EinsumPlan(
        inputs, kernel, outputs, tuple(int(extent) for extent in kernel_shape if extent is not None), bias_shape,
        tuple(i for i, letter in enumerate(kernel) if letter not in results),
        tuple(i for i, letter in enumerate(kernel) if letter in results),
    )  # fmt: skip


def _check_letters(
    equation: str, inputs: str, kernel: str, outputs: str, known: dict[str, Any], results: dict[str, Any]
) -> None:
    for letter in inputs:
        if letter in results and results[letter] is not None and results[letter] != known[letter]:
            raise ValueError(
                f"EinsumDense: axis '{letter}' of equation='{equation}' is {known[letter]} in the input and "
                f"{results[letter]} in the output"
            )
    for letter in outputs:
        if letter not in inputs and letter not in kernel:
            raise ValueError(f"EinsumDense: axis '{letter}' of the output of equation='{equation}' is in no operand")
    for letter in kernel:
        if letter not in inputs and letter not in outputs:
            raise ValueError(
                f"EinsumDense: axis '{letter}' of the kernel of equation='{equation}' is neither in the input nor in "
                "the output"
            )


def _bias_shape(equation: str, bias_axes: str, outputs: str, results: dict[str, Any]) -> tuple[int, ...]:
    """From the first axis of the bias on, 1 for axes it does not have."""
    missing = [letter for letter in bias_axes if letter not in outputs]
    if missing or not bias_axes:
        raise ValueError(
            f"EinsumDense: bias_axes='{bias_axes}' must be letters of the output of equation='{equation}'"
        )
    first = min(outputs.index(letter) for letter in bias_axes)
    shape = tuple(results[letter] if letter in bias_axes else 1 for letter in outputs[first:])
    if None in shape:
        raise ValueError(
            f"EinsumDense needs to know the extents of the bias: bias_axes='{bias_axes}' of equation='{equation}'"
        )
    return shape
