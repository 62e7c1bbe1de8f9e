"""Variables: the state of layers, optimizers, metrics and random generators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphcore import tensor as tensors
from graphcore.dtype_policies import standardize_dtype
from graphcore.naming import auto_name
from graphcore.tensor import KerasTensor
from graphcore.tracing import as_array, as_value, current_trace, untraced
from runtime import contents

Array = np.ndarray[Any, np.dtype[Any]]
ALIGNMENT = 64  # bytes; one cache line and the widest vector


def aligned_empty(shape: Sequence[int], dtype: str) -> Array:
    """An uninitialised array whose first byte lies on a 64-byte boundary."""
    item = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * item.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(item).reshape(tuple(shape))


class Variable:
    """A named array that outlives a call.

    Its storage is 64-byte aligned and never moves: `assign` copies into it, so a compiled program may keep the
    address. While a program is traced, reading a variable gives a tensor of that program and `assign` records
    an update of it; outside, both act at once.

    Args:
        initializer: an array, a number, or a function of (shape, dtype=...) that returns one.
        shape: extents; needed with a function.
        dtype: element type; by default the initializer's, or `floatx()`.
        trainable: whether optimizers change it.
        autocast: whether a layer of another compute type sees it cast to that type.
        name: drawn from the class if None.
        path: name with the layer's path before it; the name if None.
        regularizer: function of the variable whose result is added to the loss.
        constraint: function applied to the variable after each optimizer step.

    Raises:
        ValueError: if there is no shape, or the initial value's shape differs from it.
    """

    def __init__(
        self,
        initializer: Any,
        shape: Sequence[int] | None = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        aggregation: str | None = None,
        synchronization: str | None = "auto",
        name: str | None = None,
        path: str | None = None,
        regularizer: Callable[..., Any] | None = None,
        constraint: Callable[..., Any] | None = None,
    ) -> None:
        self.name = name or auto_name("Variable")
        if "/" in self.name:
            raise ValueError(f"A variable's name cannot contain '/'. Received: name={self.name!r}")
        self.path = path or self.name
        self.trainable = bool(trainable)
        # Which of the owner's two lists the variable stands in; does not follow later changes of `trainable`.
        self.created_trainable = bool(trainable)
        self.autocast = autocast
        self.aggregation = aggregation
        self.synchronization = synchronization
        self.regularizer = regularizer
        self.constraint = constraint
        self.overwrite_with_gradient = False
        initial = self._initial_value(initializer, shape, dtype)
        self._array = aligned_empty(initial.shape, initial.dtype.name)
        self._array[...] = initial
        self._view = self._array.view()
        self._view.flags.writeable = False

    def _initial_value(self, initializer: Any, shape: Sequence[int] | None, dtype: Any) -> Array:
        if callable(initializer):
            if shape is None:
                raise ValueError(
                    f"Variable '{self.path}' is initialised by a function and needs `shape`. Received: shape=None"
                )
            checked = checked_shape(shape, self.path)
            with untraced():
                data = initializer(checked, dtype=standardize_dtype(dtype))
            value = as_array(_numbers(data), standardize_dtype(dtype))
        else:
            value = as_array(_numbers(initializer), None if dtype is None else standardize_dtype(dtype))
            checked = value.shape if shape is None else checked_shape(shape, self.path)
        if value.shape != checked:
            raise ValueError(
                f"The initial value of variable '{self.path}' must have shape {checked}. Received: a value of "
                f"shape {value.shape}"
            )
        return value

    # -- the numbers -------------------------------------------------------------------------------------

    @property
    def array(self) -> Array:
        """The numbers, read-only: always the same memory, so later changes show."""
        return self._view

    @property
    def storage(self) -> Array:
        """The memory itself, aligned to 64 bytes, for programs to update.

        Whoever else writes to it must report that to `runtime.contents.changed`, or programs that have prepared
        something from it go on with the old numbers. `assign` does.
        """
        return self._array

    @property
    def value(self) -> Any:
        """While a program is traced, a tensor of that program; else the numbers (see `array`)."""
        trace = current_trace()
        return self._view if trace is None else trace.read(self)

    def numpy(self) -> Array:
        """A copy of the numbers."""
        return self._array.copy()

    def assign(self, value: Any) -> Any:
        """Replace the value; numbers are cast to the variable's element type.

        Raises:
            ValueError: if the shape differs from the variable's.
        """
        trace = current_trace()
        if trace is not None:
            if isinstance(value, Variable):
                value = trace.read(value)
            trace.assign(self, as_value(trace, value, self.dtype if self.dtype.startswith("float") else None))
            return trace.read(self)
        if isinstance(value, KerasTensor):
            raise ValueError(
                f"Cannot assign {value!r} to variable '{self.path}' outside of a traced program: it has no numbers."
            )
        array = as_array(_numbers(value))
        if array.shape != self._array.shape:
            raise ValueError(
                f"Variable '{self.path}' has shape {self.shape}. Received in `assign`: a value of shape {array.shape}"
            )
        self._array[...] = array
        contents.changed((self._array,))
        return self._view

    def assign_add(self, value: Any) -> Any:
        """Add to the value."""
        return self.assign(tensors.OPERATORS["add"](self, value))

    def assign_sub(self, value: Any) -> Any:
        """Subtract from the value."""
        return self.assign(tensors.OPERATORS["subtract"](self, value))

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents."""
        return tuple(self._array.shape)

    @property
    def dtype(self) -> str:
        """Element type."""
        return self._array.dtype.name

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._array.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(self._array.size)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if current_trace() is not None:
            raise TypeError(
                f"Variable '{self.path}' was turned into a NumPy array while a program is traced; its value would be "
                "frozen into the program. Use functions of graphcore.ops on it."
            )
        return np.array(self._view, dtype=dtype, copy=None if copy is not True else True)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        trace = current_trace()
        read = (lambda v: v.array) if trace is None else trace.read
        return getattr(ufunc, method)(*(read(i) if isinstance(i, Variable) else i for i in inputs), **kwargs)

    def __bool__(self) -> bool:
        return bool(self.__array__())

    def __float__(self) -> float:
        return float(self.__array__())

    def __int__(self) -> int:
        return int(self.__array__())

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError(f"Variable '{self.path}' is a scalar and has no length.")
        return self.shape[0]

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<Variable path={self.path}, shape={self.shape}, dtype={self.dtype}, value={self._array}>"


tensors.add_operators(Variable)


def _numbers(data: Any) -> Any:
    return data.array if isinstance(data, Variable) else data


def checked_shape(shape: Any, path: str) -> tuple[int, ...]:
    """A variable's shape as integers.

    Raises:
        ValueError: if an extent is None, symbolic or negative.
    """
    extents = tuple(shape) if isinstance(shape, (list, tuple)) else (shape,)
    for extent in extents:
        if not hasattr(extent, "__index__") or isinstance(extent, KerasTensor) or int(extent) < 0:
            raise ValueError(
                f"Shapes of variables are fully known non-negative integers. Received for variable '{path}': "
                f"shape={extents}"
            )
    return tuple(int(extent) for extent in extents)
