"""The graph of a Functional model as data, and rebuilt from data."""

from __future__ import annotations

from typing import Any

from graphcore import tree
from graphcore.identifiers import custom_objects
from graphcore.layers.input_layer import InputLayer
from graphcore.models.function_graph import FunctionGraph
from graphcore.operation import Node, Operation
from graphcore.ops.dispatch import FunctionCall
from graphcore.saving.objects import (
    deserialize_keras_object,
    deserialize_layer,
    serialize_keras_object,
)
from graphcore.saving.operations import StoredFunction, function_of, stored_call
from graphcore.tensor import KerasTensor
from graphcore.variable import Variable


def graph_config(graph: FunctionGraph) -> dict[str, Any]:
    """Layers with the calls that join them, as Keras writes a Functional model.

    Raises:
        TypeError: if a call has an argument that has no plain form, such as a variable.
    """
    numbers = _call_numbers(graph)
    rows = []
    for operation in graph.operations:
        calls = [node for node in operation.nodes if node in numbers and not node.is_input]
        if isinstance(operation, FunctionCall):
            rows.append(_function_row(operation, calls, numbers))
            continue
        data = serialize_keras_object(operation)
        data["name"] = operation.name
        data["inbound_nodes"] = [_call(node.args, node.kwargs, numbers, operation.name) for node in calls]
        rows.append(data)
    return {
        "layers": rows,
        "input_layers": tree.map_structure(lambda tensor: _history(tensor, numbers), graph.input_structure),
        "output_layers": tree.map_structure(lambda tensor: _history(tensor, numbers), graph.output_structure),
    }


def _function_row(operation: FunctionCall, calls: list[Node], numbers: dict[Node, int]) -> dict[str, Any]:
    """A function is a new operation at every call, so it has one."""
    (node,) = calls
    name, stored = operation.name, stored_call(operation, node)
    row: dict[str, Any] = {"name": name}
    if stored is None:  # nothing that Keras could read
        config = {"name": name, "function": operation.function.__name__}
        row |= {"module": "keras.ops", "class_name": operation.kind, "config": config, "registered_name": None}
        return row | {"inbound_nodes": [_call(node.args, node.kwargs, numbers, name)]}
    config = {"name": name, **serialize_keras_object(stored.config)}
    row |= {"module": stored.module, "class_name": stored.class_name, "config": config}
    row["registered_name"] = stored.class_name
    return row | {"inbound_nodes": [_call(stored.args, {}, numbers, name)]}


def _call(args: tuple[Any, ...], kwargs: dict[str, Any], numbers: dict[Node, int], operation: str) -> dict[str, Any]:
    return {
        "args": [_argument(value, numbers, operation) for value in args],
        "kwargs": {key: _argument(value, numbers, operation) for key, value in kwargs.items()},
    }


def _call_numbers(graph: FunctionGraph) -> dict[Node, int]:
    """The number of each call among those of its operation that belong to the graph."""
    inside = {id(node) for nodes in graph.nodes_by_depth.values() for node in nodes}
    numbers: dict[Node, int] = {}
    for operation in graph.operations:
        for number, node in enumerate(node for node in operation.nodes if id(node) in inside):
            numbers[node] = number
    return numbers


def _history(tensor: KerasTensor, numbers: dict[Node, int]) -> list[Any]:
    if tensor.node is None or tensor.node not in numbers:
        raise TypeError(
            f"{tensor!r} begins a part of another model, which has no plain form. Fix: begin with graphcore.Input(...)."
        )
    return [tensor.node.operation.name, numbers[tensor.node], tensor.tensor_index]


def _argument(value: Any, numbers: dict[Node, int], operation: str) -> Any:
    if isinstance(value, KerasTensor):
        config = {"shape": list(value.shape), "dtype": value.dtype, "keras_history": _history(value, numbers)}
        return {"class_name": "__keras_tensor__", "config": config}
    if isinstance(value, Variable):
        raise TypeError(
            f"'{operation}' reads variable '{value.path}' directly, which a configuration cannot hold. Fix: use the "
            "variable inside a layer."
        )
    if isinstance(value, (list, tuple)):
        return [_argument(item, numbers, operation) for item in value]
    if isinstance(value, dict):
        return {str(key): _argument(item, numbers, operation) for key, item in value.items()}
    return serialize_keras_object(value)


# -- from data ---------------------------------------------------------------------------------------------


def graph_from_config(config: dict[str, Any]) -> tuple[Any, Any]:
    """Inputs and outputs of the graph that `graph_config` (or Keras) described.

    Raises:
        ValueError: if a name is unknown or a call reads what is never made.
    """
    operations: dict[str, Operation] = {}
    made: dict[tuple[str, int, int], KerasTensor] = {}
    waiting: list[tuple[str, int, dict[str, Any]]] = []
    for row in config["layers"]:
        operation = _operation(row)
        operations[row["name"]] = operation
        if isinstance(operation, InputLayer):
            made[row["name"], 0, 0] = operation.make_tensor()
        waiting += [(row["name"], number, call) for number, call in enumerate(row["inbound_nodes"])]
    while waiting:
        # A layer called twice must be called in its order, so that calls keep their numbers.
        blocked: set[str] = set()
        left = []
        for name, number, call in waiting:
            if name in blocked or not _reads(call) <= made.keys():
                blocked.add(name)
                left.append((name, number, call))
                continue
            results = operations[name](
                *(_filled(value, made) for value in call["args"]),
                **{key: _filled(value, made) for key, value in call["kwargs"].items()},
            )
            for index, tensor in enumerate(tree.flatten(results)):
                made[name, number, index] = tensor
        if len(left) == len(waiting):
            names = sorted({name for name, _, _ in left})
            raise ValueError(f"The configuration has calls whose inputs are never made: {names}")
        waiting = left
    return _ends(config["input_layers"], made), _ends(config["output_layers"], made)


def _operation(row: dict[str, Any]) -> Operation:
    function = function_of(row)
    if function is not None:
        extra = {key: value for key, value in row["config"].items() if key not in ("name", "function")}
        return StoredFunction(function, deserialize_keras_object(extra), row["name"])
    layer: Operation = deserialize_layer(row)
    return layer


def _reads(call: Any) -> set[tuple[str, int, int]]:
    """What a stored call needs: (operation, call, output) of each tensor among its arguments."""
    needed: set[tuple[str, int, int]] = set()
    pending: list[Any] = [call["args"], call["kwargs"]]
    while pending:
        item = pending.pop()
        if isinstance(item, dict) and item.get("class_name") == "__keras_tensor__":
            needed.add(tuple(item["config"]["keras_history"]))
        elif isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    return needed


def _filled(value: Any, made: dict[tuple[str, int, int], KerasTensor]) -> Any:
    """A stored argument with its tensors."""
    if isinstance(value, list):
        return [_filled(item, made) for item in value]
    if not isinstance(value, dict):
        return value
    match value.get("class_name"):
        case "__keras_tensor__":
            return made[tuple(value["config"]["keras_history"])]
        case None:
            return {key: _filled(item, made) for key, item in value.items()}
    return deserialize_keras_object(value, custom_objects)


def _ends(structure: Any, made: dict[tuple[str, int, int], KerasTensor]) -> Any:
    """Tensors in the place of [name, call, output]."""
    if isinstance(structure, dict):
        return {key: _ends(value, made) for key, value in structure.items()}
    if len(structure) == 3 and isinstance(structure[0], str) and isinstance(structure[1], int):
        key = tuple(structure)
        if key not in made:
            raise ValueError(f"The configuration names the tensor {structure}, which no layer makes.")
        return made[key]
    return [_ends(item, made) for item in structure]
