"""Initializer, regularizer and constraint of a layer's weights, which most layers take by name.

A weight `kernel` has the arguments `kernel_initializer`, `kernel_regularizer` and `kernel_constraint`; the layer
keeps them as attributes of these names.
"""

from __future__ import annotations

from typing import Any

from graphcore import constraints, initializers, regularizers
from graphcore.layers.layer import Layer


def keep_weight_arguments(
    layer: Layer, name: str, initializer: Any, regularizer: Any = None, constraint: Any = None
) -> None:
    """Resolve the arguments of the weight `name` and keep them in the layer.

    Raises:
        ValueError: an unknown name.
    """
    setattr(layer, f"{name}_initializer", initializers.get(initializer))
    setattr(layer, f"{name}_regularizer", regularizers.get(regularizer))
    setattr(layer, f"{name}_constraint", constraints.get(constraint))


def add_named_weight(layer: Layer, name: str, shape: tuple[int, ...], **options: Any) -> Any:
    """Create the weight `name` with the arguments that the layer keeps for it, unless `options` hold others."""
    kept = {part: getattr(layer, f"{name}_{part}") for part in ("initializer", "regularizer", "constraint")}
    return layer.add_weight(shape=shape, name=name, **{**kept, **options})


def weight_config(layer: Layer, *names: str) -> dict[str, Any]:
    """The arguments of the weights `names`, as `get_config` returns them."""
    config: dict[str, Any] = {}
    for name in names:
        config[f"{name}_initializer"] = initializers.serialize(getattr(layer, f"{name}_initializer"))
        config[f"{name}_regularizer"] = regularizers.serialize(getattr(layer, f"{name}_regularizer"))
        config[f"{name}_constraint"] = constraints.serialize(getattr(layer, f"{name}_constraint"))
    return config
