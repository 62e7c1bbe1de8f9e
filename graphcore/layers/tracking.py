"""What a layer owns: found by looking through its attributes when asked, so nothing can be stale."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from graphcore.variable import Variable

T = TypeVar("T")

# State of the framework itself; what it refers to belongs to somebody else.
UNTRACKED = frozenset({"_nodes", "_loss_values", "_build_shapes", "_init_arguments", "optimizer"})


def attributes(layer: Any) -> Iterator[tuple[str, Any]]:
    """Attributes that may hold state, in the order of assignment."""
    for name, value in vars(layer).items():
        if name not in UNTRACKED and not name.startswith("_untracked"):
            yield name, value


def members(value: Any) -> Iterator[Any]:
    """The value itself or, for nested lists, tuples, sets and dicts, everything in them."""
    if not isinstance(value, (list, tuple, dict, set, frozenset)):
        yield value
        return
    pending: list[Any] = [value]
    seen: set[int] = set()
    while pending:
        item = pending.pop()
        if isinstance(item, (list, tuple, dict, set, frozenset)):
            if id(item) not in seen:
                seen.add(id(item))
                pending.extend(reversed(list(item.values() if isinstance(item, dict) else item)))
        else:
            yield item


def owned(layer: Any, wanted: Callable[[Any], bool]) -> list[Any]:
    """What a layer's attributes hold that is wanted, each object once."""
    return unique(item for _, value in attributes(layer) for item in members(value) if wanted(item))


def unique(items: Iterable[T]) -> list[T]:
    """The items in order, each object once."""
    seen: set[int] = set()
    result = []
    for item in items:
        if id(item) not in seen:
            seen.add(id(item))
            result.append(item)
    return result


def is_metric(value: Any) -> bool:
    """Whether this behaves like a metric."""
    return hasattr(value, "update_state") and hasattr(value, "reset_state") and hasattr(value, "result")


def is_seed_generator(value: Any) -> bool:
    """Whether this behaves like a `graphcore.random.SeedGenerator`."""
    return isinstance(getattr(value, "state", None), Variable) and hasattr(value, "next")


def own_variables(layer: Any) -> list[Variable]:
    """A layer's own variables: trainable ones first, each group in order of creation."""
    found = unique([*layer._own_variables, *owned(layer, lambda item: isinstance(item, Variable))])
    trainable = [variable for variable in found if variable.created_trainable]
    return trainable + [variable for variable in found if not variable.created_trainable]
