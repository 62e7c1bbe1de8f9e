"""`Input`: where a Functional model begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore.dtype_policies import standardize_dtype
from graphcore.layers.layer import Layer
from graphcore.naming import auto_name
from graphcore.operation import Node
from graphcore.tensor import KerasTensor
from graphcore.tracing import user_source


class InputLayer(Layer):
    """The layer behind an `Input`: one symbolic tensor, no computation.

    Args:
        shape: extents without the batch axis.
        batch_size: extent of the batch axis; None (any size) by default.
        dtype: element type that data are cast to; `floatx()` by default.
        batch_shape: extents with the batch axis, in place of `shape` and `batch_size`.
        optional: whether None may be fed.

    Raises:
        ValueError: if the shape is given twice, not at all, or is none.
    """

    is_input_layer = True

    def __init__(
        self,
        shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Sequence[int | None] | None = None,
        input_tensor: KerasTensor | None = None,
        optional: bool = False,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name or auto_name("input_layer"), **kwargs)
        if sparse or ragged:
            raise ValueError(f"Input '{self.name}': sparse and ragged tensors are not supported. Use dense arrays.")
        if input_tensor is not None:
            if not isinstance(input_tensor, KerasTensor):
                raise ValueError(f"Argument `input_tensor` must be a KerasTensor. Received: {input_tensor!r}")
            batch_shape, dtype = input_tensor.shape, dtype or input_tensor.dtype
        elif batch_shape is None:
            batch_shape = (batch_size, *_checked(shape, self.name))
        elif shape is not None or batch_size is not None:
            raise ValueError(
                f"Input '{self.name}': you cannot pass both `shape` (or `batch_size`) and `batch_shape`. Received: "
                f"shape={shape}, batch_size={batch_size}, batch_shape={batch_shape}"
            )
        self.batch_shape = _checked(batch_shape, self.name)
        self.optional = optional
        self._input_dtype = standardize_dtype(dtype)
        self.built = True

    @property
    def dtype(self) -> str:
        """The element type data are cast to."""
        return self._input_dtype

    def make_tensor(self) -> KerasTensor:
        """A symbolic tensor for this input. The layer does not hold it, so that a dropped model is freed at once."""
        tensor = KerasTensor(self.batch_shape, self._input_dtype, self.name)
        Node(self, (), {}, [tensor], user_source())
        return tensor

    @property
    def output(self) -> Any:
        """The symbolic tensor: the one in use, or a new one."""
        alive = [tensor for node in self.nodes for tensor in node.outputs if tensor is not None]
        return alive[0] if alive else self.make_tensor()

    def call(self) -> Any:
        """Inputs are fed, not computed."""
        raise NotImplementedError(f"Input '{self.name}' computes nothing: data are fed to it.")

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal input."""
        return {
            "batch_shape": self.batch_shape,
            "dtype": self._input_dtype,
            "sparse": False,
            "ragged": False,
            "name": self.name,
            **({"optional": True} if self.optional else {}),
        }


def _checked(shape: Any, name: str) -> tuple[int | None, ...]:
    if shape is None:
        raise ValueError(f"Input '{name}': you must pass a `shape` argument, e.g. Input(shape=(784,)).")
    if isinstance(shape, int):
        raise ValueError(
            f"Input '{name}': argument `shape` must be a tuple of integers and None. Received: shape={shape}. Fix: "
            f"shape=({shape},)"
        )
    extents = tuple(shape)
    for extent in extents:
        if extent is not None and (not hasattr(extent, "__index__") or int(extent) < 0):
            raise ValueError(f"Input '{name}': a shape holds non-negative integers and None. Received: shape={extents}")
    return tuple(None if extent is None else int(extent) for extent in extents)


def Input(  # noqa: N802 (Keras's name)
    shape: Sequence[int | None] | None = None,
    batch_size: int | None = None,
    dtype: Any = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Sequence[int | None] | None = None,
    name: str | None = None,
    tensor: KerasTensor | None = None,
    optional: bool = False,
) -> KerasTensor:
    """A symbolic tensor to call layers on.

    Args:
        shape: extents without the batch axis; None where any size may be fed.
        batch_size: extent of the batch axis; None (any size) by default.
        dtype: element type that data are cast to; `floatx()` by default.
        batch_shape: extents with the batch axis, in place of `shape` and `batch_size`.
        name: by default 'input_layer', numbered.
        tensor: a symbolic tensor whose shape and type are taken.
        optional: whether None may be fed.

    Raises:
        ValueError: if the shape is given twice, not at all, or is none.
    """
    layer = InputLayer(shape, batch_size, dtype, sparse, ragged, batch_shape, tensor, optional, name)
    return layer.make_tensor()
