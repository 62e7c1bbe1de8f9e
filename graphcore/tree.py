"""Nested structures: lists, tuples, named tuples and dicts with anything else as leaves.

As in Keras (`keras.tree`, built on optree), a plain dict is walked in the order of its sorted keys and an
`OrderedDict` in its own order; `None` is a leaf.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Structure = Any


def is_nested(structure: Structure) -> bool:
    """Whether this is a list, tuple or dict rather than a leaf."""
    return isinstance(structure, (list, tuple, dict))


def sorted_keys(mapping: dict[Any, Any]) -> list[Any]:
    """The keys in the order in which a dict is walked."""
    if isinstance(mapping, OrderedDict):
        return list(mapping)
    try:
        return sorted(mapping)
    except TypeError:  # keys of several types
        return sorted(mapping, key=lambda key: (type(key).__name__, str(key)))


def _children(structure: Structure) -> list[Any]:
    if isinstance(structure, dict):
        return [structure[key] for key in sorted_keys(structure)]
    return list(structure)


def flatten(structure: Structure) -> list[Any]:
    """The leaves, from left to right; a leaf alone gives a list of one."""
    if not is_nested(structure):
        return [structure]
    leaves: list[Any] = []
    pending = [structure]
    while pending:
        item = pending.pop()
        if is_nested(item):
            pending.extend(reversed(_children(item)))
        else:
            leaves.append(item)
    return leaves


def flatten_with_path(structure: Structure) -> list[tuple[tuple[Any, ...], Any]]:
    """Pairs of (keys and indices that lead to a leaf, leaf)."""
    if isinstance(structure, dict):
        items: Iterable[tuple[Any, Any]] = ((key, structure[key]) for key in sorted_keys(structure))
    elif isinstance(structure, (list, tuple)):
        items = enumerate(structure)
    else:
        return [((), structure)]
    return [((key, *path), leaf) for key, value in items for path, leaf in flatten_with_path(value)]


def _rebuild(structure: Structure, children: list[Any]) -> Structure:
    """A container like `structure` that holds `children` (in walking order)."""
    if isinstance(structure, dict):
        by_key = dict(zip(sorted_keys(structure), children, strict=True))
        ordered = {key: by_key[key] for key in structure}
        return OrderedDict(ordered) if isinstance(structure, OrderedDict) else ordered
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return type(structure)(*children)
    return tuple(children) if isinstance(structure, tuple) else list(children)


def map_structure(function: Callable[..., Any], *structures: Structure) -> Structure:
    """Apply a function to corresponding leaves and keep the structure of the first.

    Raises:
        ValueError: if the structures differ.
    """
    if not structures:
        raise ValueError("map_structure needs at least one structure. Received: none")
    first = structures[0]
    if not is_nested(first):
        return function(*structures)
    for other in structures[1:]:
        _check_same_level(first, other)
    rows = zip(*(_children(structure) for structure in structures), strict=True)
    return _rebuild(first, [map_structure(function, *row) for row in rows])


def _check_same_level(first: Structure, other: Structure) -> None:
    same = is_nested(other) and isinstance(first, dict) == isinstance(other, dict)
    if same and isinstance(first, dict):
        same = set(first) == set(other)
    if not same or len(first) != len(other):
        raise ValueError(f"The two structures differ. Received: {first} and {other}")


def assert_same_structure(first: Structure, second: Structure) -> None:
    """Raise ValueError if the two are not nested alike."""
    if is_nested(first) != is_nested(second):
        raise ValueError(f"The two structures differ. Received: {first} and {second}")
    if not is_nested(first):
        return
    _check_same_level(first, second)
    for one, other in zip(_children(first), _children(second), strict=True):
        assert_same_structure(one, other)


def pack_sequence_as(structure: Structure, leaves: Iterable[Any]) -> Structure:
    """Arrange leaves like `structure`.

    Raises:
        ValueError: if their number differs from the structure's.
    """
    values = list(leaves)
    expected = len(flatten(structure))
    if len(values) != expected:
        raise ValueError(f"The structure has {expected} leaves. Received: {len(values)} values")
    iterator = iter(values)
    return _pack(structure, iterator)


def _pack(structure: Structure, iterator: Iterator[Any]) -> Structure:
    if not is_nested(structure):
        return next(iterator)
    return _rebuild(structure, [_pack(child, iterator) for child in _children(structure)])


def is_shape(value: object) -> bool:
    """Whether this is a shape: a list or tuple of integers and None (not empty ones nested in others)."""
    return isinstance(value, (list, tuple)) and all(
        item is None or (not isinstance(item, (str, dict, list, tuple))) for item in value
    )


def map_shape_structure(function: Callable[[tuple[int | None, ...]], Any], structure: Structure) -> Structure:
    """Apply a function to each shape in a nested structure of shapes."""
    if is_shape(structure):
        return function(tuple(structure))
    if not is_nested(structure):
        raise ValueError(f"Expected a shape or a structure of shapes. Received: {structure!r}")
    return _rebuild(structure, [map_shape_structure(function, child) for child in _children(structure)])


def lists_to_tuples(structure: Structure) -> Structure:
    """The same structure with every list replaced by a tuple."""
    if not is_nested(structure):
        return structure
    children = [lists_to_tuples(child) for child in _children(structure)]
    return tuple(children) if isinstance(structure, list) else _rebuild(structure, children)
