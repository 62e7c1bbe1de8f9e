"""The masks that a call of a layer reads and makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphcore import tree
from graphcore.layers.signature import call_signature, tensor_arguments
from graphcore.tensor import KerasTensor

if TYPE_CHECKING:
    from graphcore.layers.layer import Layer


def call_masks(names: list[str], bound: dict[str, Any], first: Any) -> tuple[Any, dict[str, Any]]:
    """The mask of the first argument, and masks for the parameters that ask for one and were given none."""

    def mask_of(structure: Any) -> Any:
        return tree.map_structure(lambda leaf: getattr(leaf, "keras_mask", None), structure)

    tensors = {name: value for name, value in tensor_arguments(bound).items() if not name.endswith("mask")}
    extra: dict[str, Any] = {}
    if len(tensors) == 1:
        if "mask" in names and bound.get("mask") is None:
            extra["mask"] = mask_of(next(iter(tensors.values())))
    else:
        for name, value in tensors.items():
            if f"{name}_mask" in names and bound.get(f"{name}_mask") is None:
                extra[f"{name}_mask"] = mask_of(value)
    given = extra.get("mask", bound.get("mask"))
    return (given if given is not None else mask_of(first)), extra


def record_masks(
    layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Sequence[KerasTensor]
) -> list[KerasTensor]:
    """Record on symbolic tensors how the masks of these outputs are made; returns the masks that the call reads.

    Nothing is computed from these records. Keras counts the operations that make masks, and the masks a call is given,
    as parts of a Functional model, and orders layers (and so weights) by the length of the ways through them.
    """
    signature = call_signature(type(layer))
    bound = signature.bind(args, kwargs, layer.name)
    first = args[0] if args else next(iter(kwargs.values()), None)
    previous_mask, extra = tree.map_structure(_recorded, call_masks(signature.names, bound, first))
    if layer.supports_masking and any(tensor.keras_mask is not None for tensor in outputs):
        masks = tree.flatten(layer.compute_mask(first, previous_mask))
        for tensor, mask in zip(outputs, masks, strict=False):
            if tensor.keras_mask is not None and isinstance(mask, KerasTensor):
                tensor.keras_mask = mask
    if not _keeps(layer, args, kwargs):
        return []
    return [leaf for leaf in tree.flatten(extra) if isinstance(leaf, KerasTensor)]


def _recorded(leaf: Any) -> Any:
    """A mask whose making is on record; as in Keras there is none behind a model within the model."""
    return None if isinstance(leaf, KerasTensor) and leaf.node is None else leaf


def _keeps(layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether Keras keeps the masks it fills in among the arguments on record: where it need not convert any."""
    if not layer.casts_inputs:
        return True
    plain = not kwargs and len(args) == 1 and isinstance(args[0], KerasTensor)
    return plain and args[0].dtype == layer.compute_dtype
