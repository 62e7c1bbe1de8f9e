"""Operations and the record of their calls, from which Functional models are made.

A tensor refers to the node that makes it, a node to its operation and the tensors it reads: references point
backwards only. What an operation knows of its calls is weak, so a model that is dropped is freed at once.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from graphcore import tree
from graphcore.naming import auto_name
from graphcore.tensor import MIXED, KerasTensor


class Node:
    """One call of an operation on symbolic tensors.

    Attributes:
        operation: what was called.
        index: how many calls of it came before.
        args, kwargs: the arguments, with symbolic tensors among them.
        inputs: those tensors, in order.
        masks: masks of theirs that the call reads, where Keras counts them among its arguments.
        source: `file.py:line` of the call.
    """

    __slots__ = ("__weakref__", "_outputs", "args", "index", "inputs", "kwargs", "masks", "operation", "source")

    def __init__(
        self,
        operation: Operation,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        outputs: Sequence[KerasTensor],
        source: str = "",
        masks: Sequence[KerasTensor] = (),
    ) -> None:
        self.operation = operation
        self.args = args
        self.kwargs = dict(kwargs)
        self.inputs: tuple[KerasTensor, ...] = tuple(
            leaf for leaf in tree.flatten((args, self.kwargs)) if isinstance(leaf, KerasTensor)
        )
        self.masks = tuple(masks)
        self.source = source
        self.index = operation.add_node(self)
        self._outputs = tuple(weakref.ref(tensor) for tensor in outputs)
        for i, tensor in enumerate(outputs):
            tensor.node = self
            tensor.tensor_index = i

    @property
    def outputs(self) -> tuple[KerasTensor | None, ...]:
        """The tensors it makes; None in place of one that nothing holds any more."""
        return tuple(reference() for reference in self._outputs)

    @property
    def is_input(self) -> bool:
        """Whether it stands for an input of a model: it has an operation but reads nothing."""
        return not self.inputs and getattr(self.operation, "is_input_layer", False)

    def __repr__(self) -> str:
        return f"<Node operation={self.operation.name}, index={self.index}>"


class Operation:
    """Something that can be called on tensors and recorded in a Functional model.

    Raises:
        ValueError: if the name is not a text without '/'.
    """

    def __init__(self, name: str | None = None) -> None:
        if name is None:
            name = auto_name(self.kind)
        if not isinstance(name, str) or "/" in name:
            raise ValueError(
                f"Argument `name` must be a string without '/'. Received: name={name!r} (of type {type(name).__name__})"
            )
        self.name = name
        self._nodes: list[weakref.ref[Node]] = []

    @property
    def kind(self) -> str:
        """The class name shown in summaries."""
        return type(self).__name__

    def add_node(self, node: Node) -> int:
        """Remember a call; returns its number."""
        self._nodes.append(weakref.ref(node))
        return len(self._nodes) - 1

    @property
    def nodes(self) -> list[Node]:
        """The recorded calls that are still part of a model or tensor somebody holds."""
        return [node for reference in self._nodes if (node := reference()) is not None]

    @property
    def input(self) -> Any:
        """The symbolic input tensor or tensors of the first call."""
        node = self._first_node("input")
        inputs = list(node.inputs)
        return inputs[0] if len(inputs) == 1 else inputs

    @property
    def output(self) -> Any:
        """The symbolic output tensor or tensors of the first call."""
        node = self._first_node("output")
        outputs = list(node.outputs)
        if any(tensor is None for tensor in outputs):
            raise AttributeError(f"An output of '{self.name}' is part of no model any more.")
        return outputs[0] if len(outputs) == 1 else outputs

    def _first_node(self, what: str) -> Node:
        nodes = self.nodes
        if not nodes:
            raise AttributeError(
                f"'{self.name}' ({self.kind}) has no attribute '{what}': it has never been called on symbolic tensors. "
                f"Call it on `graphcore.Input(...)` or use it in a Sequential model that has an input shape."
            )
        return nodes[0]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the operation does."""
        raise NotImplementedError(f"{self.kind} cannot be called.")


def any_symbolic(values: Any) -> bool:
    """Whether a nested structure holds a tensor of Functional construction.

    Raises:
        ValueError: if it also holds one of a program being traced.
    """
    symbolic = traced = None
    for leaf in tree.flatten(values):
        if isinstance(leaf, KerasTensor):
            if leaf.value is None:
                symbolic = leaf
            else:
                traced = leaf
    if symbolic is not None and traced is not None:
        raise ValueError(MIXED.format(symbolic))
    return symbolic is not None
