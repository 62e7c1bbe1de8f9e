"""Symbolic tensors: what `Input` returns and what a layer's `call` receives while it is traced.

A `KerasTensor` has a shape and an element type but no numbers. There are two sorts. During Functional
construction it remembers the operation call that makes it (`node`). While a program is traced it stands for a
value of the IR (`value`). Operators and NumPy functions on it go to `graphcore.ops`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from compiler.ir import Value
from graphcore.dtype_policies import standardize_dtype
from runtime.dimensions import Dim, SymbolicInt, symbol

if TYPE_CHECKING:
    from graphcore.operation import Node, Operation

Shape = tuple[int | None, ...]

# Filled by `graphcore.ops`, which imports this module: name in `keras.ops` -> function.
OPERATORS: dict[str, Callable[..., Any]] = {}

# NumPy functions whose counterpart has another name.
_UFUNCS = {
    "bitwise_and": "logical_and",
    "bitwise_or": "logical_or",
    "bitwise_xor": "logical_xor",
    "fabs": "absolute",
    "invert": "logical_not",
    "remainder": "mod",
    "rint": "round",
}

_NO_NUMBERS = (
    "A KerasTensor has a shape and a type but no numbers{about}: it stands for a value in a model that is still "
    "being described. {fix}"
)


# Formatted with a symbolic tensor.
MIXED = (
    "{!r} belongs to a model under construction, but the code that uses it is being traced. Pass it to the layer as an "
    "argument of its call instead of keeping it in an attribute."
)


def dims_of_shape(shape: Sequence[Dim | None]) -> tuple[Dim, ...]:
    """Extents with None replaced by a symbol: `batch` on axis 0, `d<axis>` elsewhere.

    Raises:
        ValueError: if an extent is not an integer, symbolic size or None, or is negative.
    """
    return tuple(_dim(extent, axis, shape) for axis, extent in enumerate(shape))


def _dim(extent: Any, axis: int, shape: Sequence[Any]) -> Dim:
    if extent is None:
        return symbol("batch" if axis == 0 else f"d{axis}")
    if isinstance(extent, SymbolicInt):
        return extent
    if hasattr(extent, "__index__") and not isinstance(extent, bool) and int(extent) >= 0:
        return int(extent)
    raise ValueError(f"A shape holds non-negative integers and None. Received: {extent!r} in shape={tuple(shape)}")


def shape_of_dims(dims: Sequence[Dim]) -> Shape:
    """Extents with every symbolic one shown as None."""
    return tuple(None if isinstance(dim, SymbolicInt) else dim for dim in dims)


class KerasTensor:
    """A tensor of a model under description: a shape, an element type and where it comes from.

    Args:
        shape: extents; None where the size is known only when the model runs.
        dtype: element type.
        name: shown in messages; drawn from the operation if there is none.
        value: the IR value it stands for while a program is traced.
        history: the (node, output index) that makes it during Functional construction.
    """

    __slots__ = (
        "__weakref__",
        "dims",
        "dtype",
        "keras_mask",
        "name",
        "node",
        "tensor_index",
        "trace_number",
        "value",
    )

    # NumPy arrays leave `array + tensor` to `__array_ufunc__` below.
    __array_priority__ = 1000

    def __init__(
        self,
        shape: Sequence[Dim | None],
        dtype: Any = "float32",
        name: str | None = None,
        *,
        value: Value | None = None,
        history: tuple[Node, int] | None = None,
    ) -> None:
        self.dims: tuple[Dim, ...] = dims_of_shape(shape)
        self.dtype: str = standardize_dtype(dtype)
        self.name: str = name or "keras_tensor"
        self.value = value
        self.trace_number = 0
        self.keras_mask: KerasTensor | None = None
        self.node: Node | None = None
        self.tensor_index = 0
        if history is not None:
            self.node, self.tensor_index = history

    @classmethod
    def traced(cls, value: Value, trace_number: int) -> KerasTensor:
        """The tensor that stands for an IR value of the trace with this number."""
        tensor = cls.__new__(cls)
        tensor.dims = value.type.shape
        tensor.dtype = value.type.dtype
        tensor.name = "keras_tensor"
        tensor.value = value
        tensor.trace_number = trace_number
        tensor.keras_mask = None
        tensor.node = None
        tensor.tensor_index = 0
        return tensor

    @property
    def shape(self) -> Shape:
        """Extents; None where the size is symbolic. `ops.shape(x)` gives sizes to compute with."""
        return shape_of_dims(self.dims)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.dims)

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.dims)

    @property
    def history(self) -> tuple[Operation, int, int] | None:
        """(operation, number of its call, number of the output) during Functional construction."""
        if self.node is None:
            return None
        return self.node.operation, self.node.index, self.tensor_index

    _keras_history = history

    @property
    def _keras_mask(self) -> KerasTensor | None:
        return self.keras_mask

    @_keras_mask.setter
    def _keras_mask(self, mask: KerasTensor | None) -> None:
        self.keras_mask = mask

    @property
    def T(self) -> Any:  # noqa: N802 (NumPy's name)
        """The tensor with its axes reversed."""
        return OPERATORS["transpose"](self)

    def reshape(self, *shape: Any) -> Any:
        """`ops.reshape`; takes a shape or its extents."""
        only_one = len(shape) == 1 and isinstance(shape[0], (list, tuple))
        return OPERATORS["reshape"](self, shape[0] if only_one else shape)

    def squeeze(self, axis: int | Sequence[int] | None = None) -> Any:
        """`ops.squeeze`."""
        return OPERATORS["squeeze"](self, axis)

    def astype(self, dtype: Any) -> Any:
        """`ops.cast`."""
        return OPERATORS["cast"](self, dtype)

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"

    __hash__ = object.__hash__

    def __array__(self, *_: Any, **__: Any) -> Any:
        fix = (
            "Call functions of graphcore.ops (or NumPy functions that have a counterpart there) on it inside a "
            "layer's `call`, or feed numbers to the finished model: `model.predict(x)`."
        )
        raise TypeError(self._no_numbers("", fix))

    def __bool__(self) -> bool:
        fix = (
            "`if` and `while` on it cannot be decided. Use ops.where(condition, a, b), or compute with the "
            "condition as a number."
        )
        raise TypeError(self._no_numbers(", so no truth value", fix))

    def __iter__(self) -> Any:
        fix = "Use ops.unstack(x, axis=0), or index it: x[0], x[1]."
        raise TypeError(self._no_numbers(" to iterate over", fix))

    def __len__(self) -> int:
        fix = "Use x.shape[0], or ops.shape(x)[0] where the size is symbolic."
        raise TypeError(self._no_numbers(", so no length", fix))

    def __int__(self) -> int:
        raise TypeError(self._no_numbers("", "Use ops.cast(x, 'int32')."))

    def __float__(self) -> float:
        raise TypeError(self._no_numbers("", "Use ops.cast(x, 'float32')."))

    def __index__(self) -> int:
        fix = "For a size use ops.shape(x)[axis]; for an index into a tensor use ops.take(x, indices, axis)."
        raise TypeError(self._no_numbers("", fix))

    def _no_numbers(self, about: str, fix: str) -> str:
        return _NO_NUMBERS.format(about=about, fix=fix) + f" Received: {self!r}"

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        name = _UFUNCS.get(ufunc.__name__, ufunc.__name__)
        if method != "__call__" or kwargs or name not in OPERATORS:
            raise TypeError(
                f"numpy.{ufunc.__name__} ({method}) cannot run on a KerasTensor. Use a function of graphcore.ops. "
                f"Received: {self!r}"
            )
        return OPERATORS[name](*inputs)

    def __array_function__(self, function: Any, _types: Any, args: Any, kwargs: Any) -> Any:
        if function.__name__ not in OPERATORS:
            raise TypeError(
                f"numpy.{function.__name__} cannot run on a KerasTensor. Use a function of graphcore.ops. "
                f"Received: {self!r}"
            )
        return OPERATORS[function.__name__](*args, **kwargs)


def add_operators(cls: type) -> None:
    """Give a class Python's arithmetic, comparison and indexing operators, computed by `graphcore.ops`."""

    def binary(name: str) -> Callable[[Any, Any], Any]:
        return lambda self, other: OPERATORS[name](self, other)

    def reflected(name: str) -> Callable[[Any, Any], Any]:
        return lambda self, other: OPERATORS[name](other, self)

    def unary(name: str) -> Callable[[Any], Any]:
        return lambda self: OPERATORS[name](self)

    arithmetic = {
        "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "floordiv": "floor_divide",
        "mod": "mod", "pow": "power", "matmul": "matmul", "and": "logical_and", "or": "logical_or",
        "xor": "logical_xor",
    }  # fmt: skip
    comparisons = {
        "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal"
    }  # fmt: skip
    for symbol_, name in arithmetic.items():
        setattr(cls, f"__{symbol_}__", binary(name))
        setattr(cls, f"__r{symbol_}__", reflected(name))
    for symbol_, name in comparisons.items():
        setattr(cls, f"__{symbol_}__", binary(name))
    for symbol_, name in {"neg": "negative", "abs": "abs", "invert": "logical_not"}.items():
        setattr(cls, f"__{symbol_}__", unary(name))
    setattr(cls, "__getitem__", lambda self, key: OPERATORS["get_item"](self, key))  # noqa: B010


add_operators(KerasTensor)
