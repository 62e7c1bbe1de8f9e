"""Layers in the configuration of a layer: cells, wrapped layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphcore.layers.layer import Layer


def serialize_nested(thing: Any) -> Any:
    """A layer or another object with `get_config` as plain data."""
    from graphcore import saving  # here, since it knows all layers

    return saving.serialize_keras_object(thing)


def deserialize_nested(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The object that `serialize_nested` described; one that is given already is handed back."""
    from graphcore import saving  # here, since it knows all layers

    return config if isinstance(config, Layer) else saving.deserialize_keras_object(config, custom_objects)
