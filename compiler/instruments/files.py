"""Graphs in files: `.gcir` text, which may name large arrays by their hash only."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from compiler.ir import Graph
from compiler.ops.sources import ArrayAttribute
from compiler.text import parse
from compiler.types import is_float

__all__ = ["graph_of_text", "missing_constants", "stand_in"]

_BY_HASH = re.compile(r"\barray (\w+) \[([\d,]*)\] sha256 ([0-9a-f]+)")


def graph_of_text(text: str, known: Mapping[str, ArrayAttribute] | None = None) -> tuple[Graph, tuple[str, ...]]:
    """The graph that a text is, and the hashes of the arrays in it that random numbers stand in for.

    Args:
        text: as `compiler.text.to_text` writes it.
        known: arrays that the text may name by their hash.

    Raises:
        ParseError: if it is no graph.
    """
    held = known or {}
    missing = {digest: array for digest, array in missing_constants(text).items() if digest not in held}
    return parse(text, {**held, **missing}), tuple(missing)


def missing_constants(text: str) -> dict[str, ArrayAttribute]:
    """A stand-in for each array that a text names by its hash only."""
    return {digest: stand_in(dtype, shape, digest) for dtype, shape, digest in _BY_HASH.findall(text)}


def stand_in(dtype: str, extents: str, digest: str) -> ArrayAttribute:
    """Numbers of the right dtype and shape, the same for the same hash: normal floats, and integers of 0 and 1, which
    are right as indices too."""
    shape = tuple(int(extent) for extent in extents.split(",") if extent)
    generator = np.random.default_rng(int(digest[:16], 16))
    array = generator.normal(size=shape) if is_float(dtype) else generator.integers(0, 2, shape)
    return ArrayAttribute(np.asarray(array, dtype))
