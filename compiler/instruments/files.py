"""Graphs in files: `.gcir` text, which may name large arrays by their hash only."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from compiler.ir import Graph
from compiler.ops.sources import ArrayAttribute
from compiler.text import parse
from compiler.types import is_float

__all__ = ["missing_constants", "read_graph", "stand_in"]

_BY_HASH = re.compile(r"\barray (\w+) \[([\d,]*)\] sha256 ([0-9a-f]+)")


def read_graph(path: Path) -> tuple[Graph, tuple[str, ...]]:
    """The graph in a file, and the hashes of the arrays in it that random numbers stand in for.

    Raises:
        OSError: if the file cannot be read.
        ParseError: if its text is no graph.
    """
    text = path.read_text(encoding="utf-8")
    missing = missing_constants(text)
    return parse(text, missing), tuple(missing)


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
