"""Types of values: an element type and a shape whose extents may be symbolic."""

from __future__ import annotations

import functools
import re
from math import prod

import numpy as np

from runtime.dimensions import Dim, evaluate, parse_dim, substitute, symbols_of
from runtime.records import record

SHORT_NAMES = {
    "float16": "f16", "float32": "f32", "float64": "f64",
    "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64",
    "uint8": "u8", "uint16": "u16", "uint32": "u32", "uint64": "u64",
    "bool": "bool",
}  # fmt: skip
LONG_NAMES = {short: long for long, short in SHORT_NAMES.items()}
FLOAT_DTYPES = ("float16", "float32", "float64")


def is_float(dtype: str) -> bool:
    """Whether gradients flow through values of this element type."""
    return dtype in FLOAT_DTYPES


@functools.cache
def item_size(dtype: str) -> int:
    """Bytes one element takes in memory."""
    return int(np.dtype(dtype).itemsize)


@record
class TensorType:
    """An element type and a shape; each extent is an integer or a symbolic expression."""

    shape: tuple[Dim, ...]
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in SHORT_NAMES:
            raise ValueError(f"Unknown dtype {self.dtype!r}. Expected one of {', '.join(SHORT_NAMES)}.")
        for extent in self.shape:
            if isinstance(extent, int) and extent < 0:
                raise ValueError(f"A shape cannot have a negative extent. Received: shape={self.shape}")

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> Dim:
        """Number of elements."""
        return product(self.shape)

    @property
    def size_in_bytes(self) -> Dim:
        """Bytes a dense array of this type takes."""
        return self.size * item_size(self.dtype)

    def with_shape(self, *shape: Dim) -> TensorType:
        """The same element type with another shape."""
        return TensorType(shape, self.dtype)

    def with_dtype(self, dtype: str) -> TensorType:
        """The same shape with another element type."""
        return TensorType(self.shape, dtype)

    def __str__(self) -> str:
        return f"{SHORT_NAMES[self.dtype]}[{','.join(map(str, self.shape))}]"


def product(extents: tuple[Dim, ...]) -> Dim:
    """Product of extents; 1 for none."""
    total: Dim = prod([extent for extent in extents if isinstance(extent, int)])
    for extent in extents:
        if not isinstance(extent, int):
            total = total * extent
    return total


_TYPE = re.compile(r"(\w+)\[([^\]]*)\]\Z")


def parse_type(text: str) -> TensorType:
    """Read a type as `str` prints it, e.g. `f32[batch,28,28,1]`.

    Raises:
        ValueError: if the text is no type.
    """
    match = _TYPE.match(text.strip())
    if match is None or match[1] not in LONG_NAMES:
        raise ValueError(f"Expected a type such as 'f32[batch,10]'. Received: {text!r}")
    extents = match[2].strip()
    shape = tuple(parse_dim(extent) for extent in _split_extents(extents)) if extents else ()
    return TensorType(shape, LONG_NAMES[match[1]])


def _split_extents(text: str) -> list[str]:
    """Parts between the commas that are not inside `max(a, b)`."""
    parts = [""]
    depth = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def substitute_type(type_: TensorType, bindings: dict[str, Dim]) -> TensorType:
    """The type with symbols replaced."""
    return TensorType(tuple(substitute(extent, bindings) for extent in type_.shape), type_.dtype)


def concrete_shape(shape: tuple[Dim, ...], bindings: dict[str, int]) -> tuple[int, ...]:
    """The shape as plain integers once every symbol has a value."""
    return tuple(evaluate(extent, bindings) for extent in shape)


def symbols_of_type(type_: TensorType) -> frozenset[str]:
    """Names of the symbols in a type's shape."""
    return frozenset().union(*(symbols_of(extent) for extent in type_.shape)) if type_.shape else frozenset()
