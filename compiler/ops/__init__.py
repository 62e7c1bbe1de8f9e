"""The ops: importing this package fills `compiler.ops.registry.OPS`. The list is written out on purpose."""

from compiler.ops import (
    arithmetic,
    average_pooling,
    comparison,
    contraction,
    conversion,
    convolution,
    gather,
    math,
    max_pooling,
    reduce,
    shape,
    slicing,
    sources,
    steps,
)

__all__ = [
    "arithmetic",
    "average_pooling",
    "comparison",
    "contraction",
    "conversion",
    "convolution",
    "gather",
    "math",
    "max_pooling",
    "reduce",
    "shape",
    "slicing",
    "sources",
    "steps",
]
