"""Where Keras puts the state of an object in a file: paths of attribute and class names.

A layer in attribute `encoder` is stored under `encoder`; layers in the list `blocks` under `blocks/dense`,
`blocks/dense_1`, ... after their classes; those of a Sequential or Functional model under `layers`. Public
attributes come before private ones, each sorted by name, and an object met twice is stored where it is met first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from graphcore.layers.layer import Layer
from graphcore.layers.tracking import UNTRACKED, is_metric, is_seed_generator
from graphcore.naming import to_snake_case

# Attributes of the framework, which Keras leaves out too.
_OWN = UNTRACKED | {"_own_variables", "_stack", "_tensors", "_graph", "input_spec", "loss", "history", "dtype_policy"}


def saveables(root: Any, with_optimizer: bool = True) -> Iterator[tuple[str, Any]]:
    """(path, object) of everything with state below an object, itself first with the path ''."""
    visited: set[int] = set()
    pending: list[tuple[str, Any]] = [("", root)]
    while pending:
        path, item = pending.pop()
        if isinstance(item, (list, tuple, set, dict)):
            pending.extend(reversed(list(_in_container(path, item))))
            continue
        if id(item) in visited:
            continue
        visited.add(id(item))
        yield path, item
        pending.extend(reversed([(join(path, name), child) for name, child in _children(item, with_optimizer)]))


def join(path: str, name: str) -> str:
    """A path below another."""
    return f"{path}/{name}" if path else name


def is_saveable(item: Any) -> bool:
    """Whether a file has a place for this object's state."""
    return isinstance(item, Layer) or is_metric(item) or is_seed_generator(item) or _is_optimizer(item)


def _is_optimizer(item: Any) -> bool:
    return hasattr(item, "apply_gradients") and hasattr(item, "save_own_variables")


def _in_container(path: str, container: Any) -> Iterator[tuple[str, Any]]:
    """Members under the snake case of their class, numbered; a dict's under their keys."""
    used: dict[str, int] = {}
    for key, item in container.items() if isinstance(container, dict) else enumerate(container):
        if isinstance(item, (list, tuple, dict, set)) or not is_saveable(item):
            continue
        name = str(key) if isinstance(container, dict) else to_snake_case(type(item).__name__)
        number = used.get(name, 0)
        used[name] = number + 1
        yield join(path, f"{name}_{number}" if number else name), item


def _children(item: Any, with_optimizer: bool) -> Iterator[tuple[str, Any]]:
    if not isinstance(item, Layer):
        return
    if getattr(item, "graph", None) is not None or hasattr(item, "_stack"):
        yield "layers", getattr(item, "layers", [])
    attributes = {name: value for name, value in vars(item).items() if not name.startswith("__")}
    optimizer = getattr(item, "optimizer", None)
    if with_optimizer and optimizer is not None:
        attributes["optimizer"] = optimizer
    for name in sorted(attributes, key=lambda text: "~" + text if text.startswith("_") else text):
        value = attributes[name]
        holds_state = isinstance(value, (list, tuple, dict, set)) or is_saveable(value)
        is_own = name in _OWN or name.startswith("_untracked")
        if (name == "optimizer" and _is_optimizer(value)) or (holds_state and not is_own):
            yield name, value
