"""The regularizers of Keras."""

from __future__ import annotations

import math
from typing import Any, Self

from graphcore import ops


class Regularizer:
    """Maps a tensor to a scalar penalty. Subclasses implement `__call__` and `get_config`."""

    def __call__(self, x: Any) -> Any:
        """The penalty of `x`, a scalar."""
        return 0.0

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        raise NotImplementedError(
            f"{type(self).__name__} must implement `get_config` for its layer to be saved."
        )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A regularizer with the constructor arguments `config`."""
        return cls(**config)


def checked_factor(value: Any, name: str) -> float:
    """`value` as a float; it must be a finite number that is not negative."""
    if isinstance(value, (int, float)) and math.isfinite(value) and value >= 0:
        return float(value)
    raise ValueError(
        f"Expected `{name}` to be a finite number that is not negative. Received: {name}={value!r}"
    )


class L1L2(Regularizer):
    """`l1·sum(|x|) + l2·sum(x²)`.

    Raises:
        ValueError: a factor is negative or not finite.
    """

    def __init__(self, l1: float | None = 0.0, l2: float | None = 0.0) -> None:
        self.l1 = checked_factor(0.0 if l1 is None else l1, "l1")
        self.l2 = checked_factor(0.0 if l2 is None else l2, "l2")

    def __call__(self, x: Any) -> Any:
        """The penalty of `x`, a scalar."""
        penalty: Any = ops.cast(0.0, x.dtype)
        if self.l1:
            penalty = penalty + self.l1 * ops.sum(ops.absolute(x))
        if self.l2:
            penalty = penalty + self.l2 * ops.sum(ops.square(x))
        return penalty

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {"l1": self.l1, "l2": self.l2}


class L1(Regularizer):
    """`l1·sum(|x|)`.

    Raises:
        ValueError: the factor is negative or not finite.
    """

    def __init__(self, l1: float | None = 0.01) -> None:
        self.l1 = checked_factor(0.01 if l1 is None else l1, "l1")

    def __call__(self, x: Any) -> Any:
        """The penalty of `x`, a scalar."""
        return self.l1 * ops.sum(ops.absolute(x))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {"l1": self.l1}


class L2(Regularizer):
    """`l2·sum(x²)` (no factor one half).

    Raises:
        ValueError: the factor is negative or not finite.
    """

    def __init__(self, l2: float | None = 0.01) -> None:
        self.l2 = checked_factor(0.01 if l2 is None else l2, "l2")

    def __call__(self, x: Any) -> Any:
        """The penalty of `x`, a scalar."""
        return self.l2 * ops.sum(ops.square(x))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {"l2": self.l2}


class OrthogonalRegularizer(Regularizer):
    """Pushes the rows (or columns) of a matrix towards being orthogonal.

    `factor` times the mean |cosine| over all pairs of different rows (`mode="rows"`) or columns
    (`"columns"`).

    Raises:
        ValueError: an unknown mode, a negative factor, or a tensor that is not a matrix.
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        if mode not in ("rows", "columns"):
            raise ValueError(f"Expected `mode` to be 'rows' or 'columns'. Received: mode={mode!r}")
        self.factor = checked_factor(factor, "factor")
        self.mode = mode

    def __call__(self, x: Any) -> Any:
        """The penalty of `x`, a scalar."""
        if len(x.shape) != 2:
            raise ValueError(
                f"OrthogonalRegularizer needs a matrix (rank 2). Received: shape={tuple(x.shape)}. Use it on "
                f"the kernel of a Dense layer."
            )
        size = x.shape[0] if self.mode == "rows" else x.shape[1]
        unit = ops.normalize(x, axis=1 if self.mode == "rows" else 0)
        transposed = ops.transpose(unit)
        product = ops.matmul(unit, transposed) if self.mode == "rows" else ops.matmul(transposed, unit)
        between = product * (1.0 - ops.eye(size, dtype=x.dtype))
        pairs = size * (size - 1.0) / 2.0
        return self.factor * 0.5 * ops.sum(ops.absolute(between)) / pairs

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {"factor": self.factor, "mode": self.mode}
