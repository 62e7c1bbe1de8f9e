"""The ops: importing this package fills `compiler.ops.registry.OPS`. The list is written out on purpose."""

from compiler.ops import (
    arithmetic,
    comparison,
    contraction,
    conversion,
    math,
    reduce,
    shape,
    slicing,
    sources,
    steps,
)

__all__ = [
    "arithmetic",
    "comparison",
    "contraction",
    "conversion",
    "math",
    "reduce",
    "shape",
    "slicing",
    "sources",
    "steps",
]
