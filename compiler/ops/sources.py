"""Values that come from no tensor: constants, ramps and run-time sizes."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterator, Sequence

import numpy as np

from compiler.ir import Array, Builder, Fusion, Op, Value
from compiler.loops import Element, Expr, Lowering, cast, literal
from compiler.ops.checks import concrete, require_axes, require_dtype, require_inputs, require_not_negative
from compiler.ops.families import Cotangents
from compiler.ops.registry import op
from compiler.types import SHORT_NAMES, TensorType, is_float
from runtime.dimensions import Dim


class Source(Op):
    """No inputs, one result, no gradient."""

    fusion = Fusion.SOURCE

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """Nothing to give a gradient to."""
        return ()


@op
class Full(Source):
    """Every element is `value`. Stored in the dtype's own Python type, so that equal means the same bits."""

    shape: tuple[Dim, ...]
    value: float | int | bool
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in SHORT_NAMES:
            raise ValueError(f"full: unknown dtype {self.dtype!r}. Expected one of {', '.join(SHORT_NAMES)}.")
        value = literal(self.value, self.dtype).value
        # One NaN object, since tuples compare NaN by identity.
        object.__setattr__(self, "value", math.nan if value != value else value)

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """As the attributes say."""
        require_inputs(self.name, inputs, 0)
        if not is_float(self.dtype) and self.dtype != "bool":
            limits = np.iinfo(self.dtype)
            if not limits.min <= self.value <= limits.max:
                raise ValueError(
                    f"{self.name}: the value must lie in {limits.min}..{limits.max} for dtype {self.dtype}. "
                    f"Received: {self.value}"
                )
        return (TensorType(self.shape, self.dtype),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's full."""
        return (np.full(concrete(self.shape), self.value, self.dtype),)

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """A literal."""
        return literal(self.value, self.dtype)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Every kind of dtype."""
        yield cls((), 1.5, "float64"), ()
        yield cls((3, 5), -2, "int32"), ()
        yield cls((7,), True, "bool"), ()
        yield cls((2, 1, 3), -math.inf, "float32"), ()


@op
class Iota(Source):
    """Every element is its own index along `axis`."""

    shape: tuple[Dim, ...]
    axis: int
    dtype: str = "int64"

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """As the attributes say."""
        require_inputs(self.name, inputs, 0)
        require_axes(self.name, (self.axis,), len(self.shape))
        result = TensorType(self.shape, self.dtype)
        require_dtype(self.name, result, "number", "result")
        return (result,)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's indices."""
        return (np.indices(concrete(self.shape))[self.axis].astype(self.dtype),)

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """The index itself."""
        return cast(index[self.axis], self.dtype)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Each axis."""
        yield cls((7,), 0), ()
        yield cls((3, 5), 0, "float64"), ()
        yield cls((3, 5), 1, "float32"), ()
        yield cls((2, 3, 4), 1, "int32"), ()


@op
class Dimension(Source):
    """A size, known at run time, as a scalar tensor."""

    extent: Dim
    dtype: str = "int64"

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """A scalar."""
        require_inputs(self.name, inputs, 0)
        require_not_negative(self.name, "extent", self.extent)
        result = TensorType((), self.dtype)
        require_dtype(self.name, result, "number", "result")
        return (result,)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The number."""
        return (np.array(concrete((self.extent,))[0], self.dtype),)

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """The run-time extent."""
        return cast(k.extent(self.extent), self.dtype)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Numbers; symbols are replaced before the reference runs."""
        yield cls(12), ()
        yield cls(5, "float32"), ()


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class ArrayAttribute:
    """A read-only array that can be an attribute: equality and hash go by dtype, shape and bytes."""

    array: Array
    digest: str = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        # A private copy: nothing that the caller does later may change what has been hashed.
        array = np.array(self.array, order="C", copy=True)
        if array.dtype.name not in SHORT_NAMES:
            raise TypeError(f"constant: expected dtype {', '.join(SHORT_NAMES)}. Received an array of {array.dtype}")
        array.setflags(write=False)
        object.__setattr__(self, "array", array)
        content = hashlib.sha256(f"{array.dtype.name}{array.shape}".encode())
        content.update(array.tobytes())
        object.__setattr__(self, "digest", content.hexdigest())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArrayAttribute) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"ArrayAttribute({self.array.dtype.name}{self.array.shape}, sha256={self.digest[:12]})"


@op
class Constant(Source):
    """A literal array. Its bytes are a buffer of the program; uniform ones should be a `Full` instead."""

    array: ArrayAttribute

    fusion = Fusion.OPAQUE

    def __post_init__(self) -> None:
        if not isinstance(self.array, ArrayAttribute):
            object.__setattr__(self, "array", ArrayAttribute(self.array))

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """The array's own shape and dtype."""
        require_inputs(self.name, inputs, 0)
        return (TensorType(self.array.array.shape, self.array.array.dtype.name),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The array."""
        return (self.array.array,)

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """A literal if there is one element; larger arrays are buffers and never computed."""
        if self.array.array.size != 1:
            raise TypeError(
                f"op '{self.name}' of {self.array.array.size} elements is a buffer of the program, not code: "
                "load it as an operand instead of lowering it."
            )
        return literal(self.array.array.item(), self.array.array.dtype.name)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Floats, integers and bools."""
        rng = np.random.default_rng(4)
        yield cls(ArrayAttribute(rng.normal(size=(3, 5)))), ()
        yield cls(ArrayAttribute(rng.integers(0, 9, 7))), ()
        yield cls(ArrayAttribute(np.array([True, False]))), ()
        yield cls(ArrayAttribute(np.array(2.5, "float32"))), ()
