"""What a layer expects of its inputs, checked before it is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphcore import tree
from graphcore.dtype_policies import standardize_dtype


class InputSpec:
    """Rank, shape and element type of one input of a layer.

    Args:
        dtype: element type; None allows any.
        shape: extents; None allows any, as does None in place of an extent.
        ndim, min_ndim, max_ndim: number of axes.
        axes: extents of some axes, e.g. `{-1: 64}`.
        allow_last_axis_squeeze: whether a missing or additional last axis of extent 1 is accepted.
        optional: whether None may be given in place of a tensor.
        name: the input's name, used in messages and to pick entries of a dict.

    Raises:
        ValueError: if an axis lies outside of the rank.
    """

    def __init__(
        self,
        dtype: Any = None,
        shape: Sequence[int | None] | None = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: Mapping[int, int | None] | None = None,
        allow_last_axis_squeeze: bool = False,
        name: str | None = None,
        optional: bool = False,
    ) -> None:
        self.dtype = None if dtype is None else standardize_dtype(dtype)
        self.shape = None if shape is None else tuple(shape)
        self.ndim = len(self.shape) if self.shape is not None else ndim
        self.max_ndim = max_ndim
        self.min_ndim = min_ndim
        self.name = name
        self.optional = optional
        self.allow_last_axis_squeeze = allow_last_axis_squeeze
        self.axes = {int(axis): extent for axis, extent in (axes or {}).items()}
        limit = self.ndim if self.ndim is not None else max_ndim
        if self.axes and limit is not None and max(self.axes) >= limit:
            raise ValueError(
                f"Axis {max(self.axes)} is greater than the maximum allowed value {limit - 1}. Received: axes={axes}"
            )

    def __repr__(self) -> str:
        fields = ("dtype", "shape", "ndim", "max_ndim", "min_ndim", "axes")
        given = [f"{field}={getattr(self, field)}" for field in fields if getattr(self, field)]
        return f"InputSpec({', '.join(given)})"

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal specification."""
        return {
            "dtype": self.dtype,
            "shape": self.shape,
            "ndim": self.ndim,
            "max_ndim": self.max_ndim,
            "min_ndim": self.min_ndim,
            "axes": self.axes,
            "optional": self.optional,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> InputSpec:
        """The specification that `get_config` described."""
        return cls(**config)


def check_inputs(input_spec: Any, inputs: Any, layer: str) -> None:
    """Compare what a layer was called on with what it expects.

    Raises:
        ValueError: naming the layer, the input, what was expected and what was received.
    """
    if not input_spec:
        return
    specs = tree.flatten(input_spec)
    if isinstance(inputs, dict) and all(spec.name is not None for spec in specs):
        given = [_entry(inputs, spec, layer) for spec in specs]
    else:
        given = tree.flatten(inputs)
    if len(given) != len(specs):
        raise ValueError(
            f"Layer '{layer}' expected {len(specs)} input(s). Received {len(given)} instead. Inputs received: "
            f"{[getattr(x, 'shape', x) for x in given]}. Fix: pass one tensor per input, in the model's order."
        )
    for number, (tensor, spec) in enumerate(zip(given, specs, strict=True)):
        label = f"Input {number}" + (f" (name '{spec.name}')" if spec.name else "") + f" of layer '{layer}'"
        _check_one(spec, tensor, label)


def _entry(inputs: dict[str, Any], spec: InputSpec, layer: str) -> Any:
    if spec.name not in inputs:
        if spec.optional:
            return None
        raise ValueError(
            f"Missing data for input '{spec.name}' of layer '{layer}'. You passed a data dictionary with keys "
            f"{list(inputs)}. Expected the following keys: '{spec.name}' among them."
        )
    return inputs[spec.name]


def _check_one(spec: InputSpec, tensor: Any, label: str) -> None:
    if tensor is None and spec.optional:
        return
    if not hasattr(tensor, "shape"):
        raise ValueError(
            f"{label} must be a tensor or an array. Received: {tensor!r} (of type {type(tensor).__name__})"
        )
    shape = tuple(tensor.shape)
    rank = len(shape)
    if spec.ndim is not None and not spec.allow_last_axis_squeeze and rank != spec.ndim:
        raise ValueError(f"{label} is incompatible: expected ndim={spec.ndim}, found ndim={rank}. {_full(shape)}")
    if spec.max_ndim is not None and rank > spec.max_ndim:
        raise ValueError(
            f"{label} is incompatible: expected max_ndim={spec.max_ndim}, found ndim={rank}. {_full(shape)}"
        )
    if spec.min_ndim is not None and rank < spec.min_ndim:
        raise ValueError(
            f"{label} is incompatible: expected min_ndim={spec.min_ndim}, found ndim={rank}. {_full(shape)}"
        )
    if spec.dtype is not None and standardize_dtype(tensor.dtype) != spec.dtype:
        raise ValueError(f"{label} is incompatible: expected dtype={spec.dtype}, found dtype={tensor.dtype}.")
    for axis, extent in spec.axes.items():
        if extent is not None and -rank <= axis < rank and shape[axis] not in (extent, None):
            raise ValueError(
                f"{label} is incompatible with the layer: expected axis {axis} of input shape to have value {extent}, "
                f"but received input with shape {shape}. Fix: feed data with {extent} there, or build the layer anew "
                "for the new size."
            )
    if spec.shape is not None:
        _check_shape(spec, shape, label)


def _full(shape: tuple[int | None, ...]) -> str:
    return (
        f"Full shape received: {shape}. Fix: reshape the input (ops.expand_dims adds an axis, a Flatten layer joins "
        "axes)."
    )


def _check_shape(spec: InputSpec, shape: tuple[int | None, ...], label: str) -> None:
    expected = spec.shape
    assert expected is not None
    message = (
        f"{label} is incompatible: expected shape={expected}, found shape={shape}. Fix: reshape the data, or give the "
        "model's Input the shape of one of its rows."
    )
    compared, wanted = shape, expected
    if spec.allow_last_axis_squeeze and len(shape) != len(expected):
        if len(shape) == len(expected) + 1 and shape[-1] == 1:
            compared = shape[:-1]
        elif len(shape) == len(expected) - 1 and expected[-1] == 1:
            wanted = expected[:-1]
    if len(compared) != len(wanted):
        raise ValueError(message)
    if any(want is not None and have is not None and want != have for want, have in zip(wanted, compared, strict=True)):
        raise ValueError(message)
