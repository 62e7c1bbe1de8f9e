"""Conversions and questions about tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compiler.ir import Builder, Value
from graphcore import tree
from graphcore.dtype_policies import standardize_dtype
from graphcore.ops.dispatch import Tensor, operation
from graphcore.ops.elementwise import cast, clip, where
from graphcore.tensor import KerasTensor
from graphcore.tracing import as_array, as_value, current_trace
from graphcore.variable import Variable


def shape(x: Any) -> tuple[Any, ...]:
    """The extents of a tensor to compute with: integers, or symbolic sizes where they are not known yet.

    Symbolic sizes may stand wherever a size is asked for (`ops.zeros((ops.shape(x)[0], 3))`), be added and
    multiplied, and become numbers when they meet a tensor.
    """
    if isinstance(x, KerasTensor):
        return x.dims
    return tuple(x.shape) if hasattr(x, "shape") else tuple(np.shape(x))


def ndim(x: Any) -> int:
    """Number of axes."""
    return int(x.ndim) if hasattr(x, "ndim") else int(np.ndim(x))


def size(x: Any) -> Any:
    """Number of elements; a symbolic size if an extent is."""
    total: Any = 1
    for extent in shape(x):
        total = total * extent
    return total


def dtype(x: Any) -> str:
    """The name of the element type."""
    return standardize_dtype(x.dtype if hasattr(x, "dtype") else as_array(x).dtype)


def is_tensor(x: Any) -> bool:
    """Whether this is a tensor or an array."""
    return isinstance(x, (KerasTensor, np.ndarray))


@operation
def _identity(b: Builder, x: Tensor) -> Value:
    return x  # type: ignore[no-any-return]


def convert_to_tensor(x: Any, dtype: Any = None, sparse: Any = None, ragged: Any = None) -> Any:
    """A tensor while a program is traced, an array otherwise.

    Python floats become `floatx()` and Python integers int32 unless a type is given.
    """
    wanted = None if dtype is None else standardize_dtype(dtype)
    if isinstance(x, KerasTensor):
        return x if wanted in (None, x.dtype) else cast(x, wanted)
    trace = current_trace()
    if isinstance(x, Variable):
        value = x.array.copy() if trace is None else trace.read(x)
        return value if wanted in (None, x.dtype) else cast(value, wanted)
    if isinstance(x, (list, tuple)) and any(isinstance(leaf, (KerasTensor, Variable)) for leaf in x):
        return cast(_identity(x), wanted) if wanted else _identity(x)
    array = as_array(x, wanted)
    return array if trace is None else trace.wrap(as_value(trace, array))


def array(x: Any, dtype: Any = None) -> Any:
    """`convert_to_tensor`."""
    return convert_to_tensor(x, dtype)


def copy(x: Any) -> Any:
    """The same numbers in memory of their own."""
    return np.array(x) if isinstance(x, (np.ndarray, Variable)) else convert_to_tensor(x)


def convert_to_numpy(x: Any) -> np.ndarray[Any, Any]:
    """An array with the numbers.

    Raises:
        TypeError: for a tensor of a program under description, which has none.
    """
    if isinstance(x, Variable):
        return x.numpy()
    return np.array(x)


def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """The result of one of two functions.

    A condition known when the program is described picks one. Otherwise both are computed and the result is
    selected element by element, so neither may assign variables.
    """
    if not isinstance(pred, (KerasTensor, Variable)):
        return true_fn() if bool(pred) else false_fn()
    return tree.map_structure(lambda a, c: where(pred, a, c), true_fn(), false_fn())


def saturate_cast(x: Any, dtype: Any) -> Any:
    """`cast`, with numbers beyond the type's range moved to its ends."""
    name = standardize_dtype(dtype)
    if name == "bool":
        return cast(x, name)
    limits = np.finfo(name) if name.startswith("float") else np.iinfo(name)
    return cast(clip(x, float(limits.min), float(limits.max)), name)
