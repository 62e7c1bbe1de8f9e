"""What ops cost, where a pass or a gradient must choose between keeping a value and computing it again."""

from __future__ import annotations

__all__ = ["CHEAP"]

# Ops of one or two instructions.
CHEAP = frozenset({
    "add", "subtract", "multiply", "negative", "absolute", "square", "maximum", "minimum", "relu", "cast", "select",
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or", "logical_not",
})  # fmt: skip
