"""The graph between symbolic inputs and outputs: checked, ordered, and run on the tensors of a program."""

from __future__ import annotations

import collections
from typing import Any

from graphcore import tree
from graphcore.operation import Node, Operation
from graphcore.ops.dispatch import FunctionCall
from graphcore.tensor import KerasTensor
from graphcore.tracing import Trace
from runtime.dimensions import Dim, SymbolicInt, substitute, symbols_of


class FunctionGraph:
    """Everything between inputs and outputs of a Functional model.

    Args:
        inputs, outputs: nested structures of symbolic tensors.
        name: the model's name, for messages.

    Attributes:
        nodes: the calls in an order in which they can run.
        operations: the operations as Keras orders them: by distance from the outputs, farthest first.
        nodes_by_depth: distance from the outputs -> calls.

    Raises:
        TypeError: if an input or output is no symbolic tensor.
        ValueError: if an output does not follow from the inputs, calls form a cycle, or names are not unique.
    """

    def __init__(self, inputs: Any, outputs: Any, name: str) -> None:
        self.name = name
        self.input_structure, self.output_structure = inputs, outputs
        self.inputs: list[KerasTensor] = _tensors(inputs, "inputs", name)
        self.outputs: list[KerasTensor] = _tensors(outputs, "outputs", name)
        _check_distinct(self.inputs, name)
        self.nodes, indices = _ordered(self.inputs, self.outputs, name)
        computed = set(self.nodes)
        if any(node.masks for node in self.nodes):
            self.nodes, indices = _ordered(self.inputs, self.outputs, name, with_masks=True)
        self.operations, self.nodes_by_depth = _by_depth(self.nodes, indices, self.inputs, computed)
        self.nodes = [node for node in self.nodes if node in computed]
        _check_names(self.operations, name)
        # Results that nothing reads are kept too: `layer.output` may ask for them.
        self._kept = [tensor for node in self.nodes for tensor in node.outputs if tensor is not None]

    def run(self, trace: Trace, arguments: list[KerasTensor | None]) -> Any:
        """Call every operation in order on tensors of a trace; returns a structure like the outputs."""
        table: dict[int, Any] = {id(tensor): value for tensor, value in zip(self.inputs, arguments, strict=True)}
        sizes, unclear = self._sizes(arguments)

        def fill(leaf: Any) -> Any:
            if isinstance(leaf, KerasTensor):
                return table[id(leaf)]
            if not isinstance(leaf, SymbolicInt):
                return leaf
            if unclear.intersection(symbols_of(leaf)):
                raise ValueError(
                    f"Model '{self.name}' was described with the size {leaf}, but its inputs have different sizes "
                    f"there in this call: {[tensor.dims for tensor in arguments if tensor is not None]}. Fix: "
                    f"compute with "
                    "sizes inside the `call` of a layer."
                )
            return substitute(leaf, sizes)

        for node in self.nodes:
            if all(id(tensor) in table for tensor in node.outputs if tensor is not None):
                continue  # an input
            args, kwargs = tree.map_structure(fill, (node.args, node.kwargs))
            name = node.operation.name if isinstance(node.operation, FunctionCall) else None
            with trace.layer(name, node.source):
                results = node.operation(*args, **kwargs)
            values = [leaf for leaf in tree.flatten(results) if isinstance(leaf, KerasTensor)]
            for tensor, value in zip(node.outputs, values, strict=True):
                if tensor is not None:
                    table[id(tensor)] = value
        return tree.map_structure(lambda tensor: table[id(tensor)], self.output_structure)

    def _sizes(self, arguments: list[KerasTensor | None]) -> tuple[dict[str, Dim], set[str]]:
        """What the symbols of the inputs' shapes stand for in this call, and which stand for two sizes."""
        sizes: dict[str, Dim] = {}
        unclear: set[str] = set()
        for tensor, value in zip(self.inputs, arguments, strict=True):
            if value is None:
                continue
            for dim, actual in zip(tensor.dims, value.dims, strict=True):
                is_symbol = isinstance(dim, SymbolicInt) and symbols_of(dim) == (str(dim),)
                if is_symbol and sizes.setdefault(str(dim), actual) != actual:
                    unclear.add(str(dim))
        return sizes, unclear


def _tensors(structure: Any, what: str, name: str) -> list[KerasTensor]:
    leaves = tree.flatten(structure)
    for leaf in leaves:
        if not isinstance(leaf, KerasTensor) or leaf.value is not None:
            raise TypeError(
                f"All `{what}` of model '{name}' must be symbolic tensors: results of graphcore.Input and of "
                f"layers called "
                f"on them. Received: {leaf!r} (of type {type(leaf).__name__})"
            )
    if not leaves:
        raise ValueError(f"Model '{name}' must have at least one tensor in `{what}`. Received: {structure!r}")
    return leaves


def _check_distinct(inputs: list[KerasTensor], name: str) -> None:
    if len({id(tensor) for tensor in inputs}) != len(inputs):
        raise ValueError(f"The inputs of model '{name}' must be distinct tensors. Received: {inputs}")


def _ordered(
    inputs: list[KerasTensor], outputs: list[KerasTensor], name: str, *, with_masks: bool = False
) -> tuple[list[Node], dict[Operation, int]]:
    """The calls that the outputs need, each after those it reads; and when each operation was first met.

    `with_masks` also follows the masks that calls read, as far as they come from the inputs. Goes from the outputs
    backwards with a stack of its own, so depth is no limit.
    """
    given = {id(tensor) for tensor in inputs}
    order: list[Node] = []
    indices: dict[Operation, int] = {}
    finished: set[int] = set()
    in_progress: set[int] = set()
    for output in outputs:
        stack: list[tuple[KerasTensor, bool]] = [(output, False)]
        while stack:
            tensor, expanded = stack.pop()
            node = _node_of(tensor, given, name, is_strict=not with_masks)
            if node is None or id(node) in finished:
                continue
            if expanded:
                in_progress.discard(id(node))
                finished.add(id(node))
                order.append(node)
                continue
            if id(node) in in_progress:
                raise ValueError(
                    f"Model '{name}' contains a cycle: tensor {tensor!r} of operation '{node.operation.name}' "
                    f"depends on "
                    "itself. Fix: compute every tensor from earlier ones only."
                )
            indices.setdefault(node.operation, len(indices))
            in_progress.add(id(node))
            stack.append((tensor, True))
            if id(tensor) not in given:
                read = (*node.inputs, *node.masks) if with_masks else node.inputs
                stack.extend((parent, False) for parent in reversed(read))
    return order, indices


def _node_of(tensor: KerasTensor, given: set[int], name: str, *, is_strict: bool) -> Node | None:
    node = tensor.node
    if id(tensor) in given:
        return node if node is not None and node.is_input else None
    if not is_strict and (node is None or node.is_input):
        return None
    if node is None:
        raise ValueError(
            f"Model '{name}' is disconnected: {tensor!r} was made by no layer. Fix: begin with graphcore.Input(...)."
        )
    if node.is_input:
        raise ValueError(
            f"Model '{name}' is disconnected: an output depends on the input '{node.operation.name}' (shape "
            f"{tensor.shape}), which is not among the model's inputs. Fix: add that tensor to `inputs`."
        )
    return node


def _by_depth(
    order: list[Node], indices: dict[Operation, int], inputs: list[KerasTensor], computed: set[Node]
) -> tuple[list[Operation], dict[int, list[Node]]]:
    """Keras's order of operations: by the longest way to an output, then by first visit.

    Ways may lead through calls that only make masks: they are not `computed`, and are left out of the results.
    """
    makers = {id(tensor): node for node in order for tensor in node.outputs if tensor is not None}
    node_depth: dict[Node, int] = {}
    depth_of: dict[Operation, int] = {}
    for node in reversed(order):
        depth = max(node_depth.get(node, 0), depth_of.get(node.operation, 0))
        node_depth[node] = depth_of[node.operation] = depth
        for tensor in (*node.inputs, *node.masks):
            parent = makers.get(id(tensor))
            if parent is not None:
                node_depth[parent] = max(depth + 1, node_depth.get(parent, 0))
    for tensor in inputs:  # inputs that no output needs
        if tensor.node is not None and tensor.node.is_input and tensor.node not in node_depth:
            node_depth[tensor.node] = depth_of[tensor.node.operation] = 0
            indices[tensor.node.operation] = -1
            order.insert(0, tensor.node)
            computed.add(tensor.node)
    nodes_by_depth: dict[int, list[Node]] = collections.defaultdict(list)
    for node, depth in node_depth.items():
        if node in computed:
            nodes_by_depth[depth].append(node)
    made = {node.operation for node in computed}
    operations = [operation for operation in depth_of if operation in made]
    operations.sort(key=lambda operation: (-depth_of[operation], indices[operation]))
    return operations, {depth: nodes_by_depth[depth] for depth in sorted(nodes_by_depth, reverse=True)}


def _check_names(operations: list[Operation], name: str) -> None:
    counts = collections.Counter(operation.name for operation in operations)
    for operation_name, count in counts.items():
        if count > 1:
            raise ValueError(
                f"The name '{operation_name}' is used {count} times in the model '{name}'. All layer names must "
                f"be unique. "
                "Fix: give one of them another `name=`."
            )
