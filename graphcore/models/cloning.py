"""Models like others: copied with new weights, or made from their configuration as text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from graphcore import tree
from graphcore.layers.input_layer import InputLayer
from graphcore.layers.layer import Layer
from graphcore.models.function_graph import FunctionGraph
from graphcore.models.model import Model
from graphcore.models.sequential import Sequential
from graphcore.operation import Operation
from graphcore.saving.objects import deserialize_keras_object
from graphcore.tensor import KerasTensor


def clone_model(
    model: Model,
    input_tensors: Any = None,
    clone_function: Callable[[Layer], Layer] | None = None,
) -> Any:
    """A model with the same layers, joined in the same way, and new weights.

    Args:
        model: a Sequential model, a Functional one, or one whose class has `get_config`.
        input_tensors: symbolic tensors to begin with, in place of new inputs.
        clone_function: makes the copy of each layer; by default from its configuration.

    Raises:
        ValueError: if `input_tensors` are given for a model that is not described by tensors.
    """
    copy = clone_function or _copy
    if isinstance(model, Sequential):
        tensors = tree.flatten(input_tensors) if input_tensors is not None else []
        copies = [copy(layer) for layer in model.layers]
        if not tensors and model.graph is not None:
            tensors = [_new_input(model.inputs[0])]
        return type(model)([*tensors, *copies], name=model.name)
    if model.graph is None:
        if input_tensors is not None:
            raise ValueError(f"Model '{model.name}' is not described by tensors, so `input_tensors` cannot be used.")
        return _copy(model)
    given = None if input_tensors is None else tree.flatten(input_tensors)
    inputs, outputs = clone_graph(model.graph, copy, given)
    return type(model)(inputs=inputs, outputs=outputs, name=model.name)


def _copy(layer: Layer) -> Any:
    return type(layer).from_config(layer.get_config())


def _new_input(tensor: KerasTensor) -> KerasTensor:
    made_by = tensor.node.operation if tensor.node is not None else None
    if isinstance(made_by, InputLayer):
        copy: InputLayer = InputLayer.from_config(made_by.get_config())
        return copy.make_tensor()
    return InputLayer(batch_shape=tensor.shape, dtype=tensor.dtype).make_tensor()


def clone_graph(
    graph: FunctionGraph, copy: Callable[[Layer], Layer], inputs: list[KerasTensor] | None = None
) -> tuple[Any, Any]:
    """The same graph with new layers, each made once; its inputs and outputs."""
    clones: dict[Operation, Operation] = {}
    table: dict[int, KerasTensor] = {
        id(tensor): _new_input(tensor) if inputs is None else inputs[i] for i, tensor in enumerate(graph.inputs)
    }

    def new(leaf: Any) -> Any:
        return table[id(leaf)] if isinstance(leaf, KerasTensor) else leaf

    for node in graph.nodes:
        if node.is_input:
            continue
        operation = node.operation
        if operation not in clones:
            clones[operation] = copy(operation) if isinstance(operation, Layer) else operation
        args, kwargs = tree.map_structure(new, (node.args, node.kwargs))
        results = tree.flatten(clones[operation](*args, **kwargs))
        tensors = [leaf for leaf in results if isinstance(leaf, KerasTensor)]
        for old, made in zip(node.outputs, tensors, strict=True):
            if old is not None:
                table[id(old)] = made
    return tree.map_structure(new, graph.input_structure), tree.map_structure(new, graph.output_structure)


def model_from_json(json_string: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The model that `model.to_json()` described, with new weights."""
    return deserialize_keras_object(json.loads(json_string), custom_objects)
