"""Checks of constructor arguments that several layers share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import random

Pairs = tuple[tuple[int, int], ...]


def positive_integer(value: Any, name: str, layer: str) -> int:
    """`value` as an integer.

    Raises:
        ValueError: it is no positive integer.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) <= 0:
        raise ValueError(f"{layer}: expected `{name}` to be a positive integer. Received: {name}={value!r}")
    return int(value)


def refuse(kwargs: dict[str, Any], layer: str, *names: str) -> None:
    """Take arguments of Keras that are not supported out of `kwargs`; None is what configurations hold.

    Raises:
        ValueError: one of them is set.
    """
    for name in names:
        value = kwargs.pop(name, None)
        if value is not None:
            raise ValueError(f"{layer}: `{name}` is not supported. Received: {name}={value!r}. Leave it out.")


def rate_argument(value: Any, name: str, layer: str) -> float:
    """`value`, if it lies in [0, 1].

    Raises:
        ValueError: it does not.
    """
    if isinstance(value, (int, float)) and 0 <= value <= 1:
        return value
    raise ValueError(f"{layer}: expected `{name}` to be a number in [0, 1]. Received: {name}={value!r}")


def padding_argument(padding: Any, layer: str, allowed: Sequence[str] = ("valid", "same")) -> str:
    """`padding` in lower case.

    Raises:
        ValueError: it is not allowed for this layer.
    """
    mode = str(padding).lower()
    if mode not in allowed:
        raise ValueError(f"{layer}: expected `padding` to be one of {tuple(allowed)}. Received: padding={padding!r}")
    return mode


def _pair(value: Any, text: str) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or any(not isinstance(item, int) or item < 0 for item in pair):
        raise ValueError(text)
    return pair[0], pair[1]


def border_argument(value: Any, rank: int, name: str, layer: str) -> Pairs:
    """Amounts before and after each spatial axis: from one integer, one an axis, or a pair an axis.

    Raises:
        ValueError: another structure, or a negative amount.
    """
    text = (
        f"{layer}: expected `{name}` to be an integer >= 0, {rank} integers (symmetric), or {rank} pairs (before, "
        f"after). Received: {name}={value!r}"
    )
    if isinstance(value, int):
        return (_pair(value, text),) * rank
    if not hasattr(value, "__len__") or len(value) != rank:
        raise ValueError(text)
    return tuple(_pair(item, text) for item in value)


def with_batch_and_channels(borders: Pairs, data_format: str) -> Pairs:
    """Amounts for all axes of an image tensor from those of its spatial axes."""
    none = (0, 0)
    return (none, none, *borders) if data_format == "channels_first" else (none, *borders, none)


def seed_generator(seed: Any) -> random.SeedGenerator:
    """The generator of a layer: its own, or the one that was given."""
    return seed if isinstance(seed, random.SeedGenerator) else random.SeedGenerator(seed)


def seed_config(seed: Any) -> Any:
    """A seed as plain data."""
    return seed.get_config()["seed"] if isinstance(seed, random.SeedGenerator) else seed
