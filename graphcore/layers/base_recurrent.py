"""What the recurrent layers with a cell of their own share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphcore import regularizers
from graphcore.layers.input_spec import InputSpec
from graphcore.layers.rnn import RNN


class CellAttribute:
    """An attribute that belongs to the cell of a layer, and is read there."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, layer: Any, owner: type | None = None) -> Any:
        return self if layer is None else getattr(layer.cell, self.name)

    def __set__(self, layer: Any, value: Any) -> None:
        raise AttributeError(
            f"'{self.name}' of a layer {type(layer).__name__} cannot be set: it belongs to its cell. Fix: set "
            f"`layer.cell.{self.name}`, before the layer is called."
        )


class BaseRecurrent(RNN):
    """A recurrent layer that makes its cell from its own arguments and shows the cell's attributes as its own."""

    units = CellAttribute()
    activation = CellAttribute()
    use_bias = CellAttribute()
    kernel_initializer = CellAttribute()
    recurrent_initializer = CellAttribute()
    bias_initializer = CellAttribute()
    kernel_regularizer = CellAttribute()
    recurrent_regularizer = CellAttribute()
    bias_regularizer = CellAttribute()
    kernel_constraint = CellAttribute()
    recurrent_constraint = CellAttribute()
    bias_constraint = CellAttribute()
    dropout = CellAttribute()
    recurrent_dropout = CellAttribute()

    def __init__(self, cell: Any, **kwargs: Any) -> None:
        super().__init__(cell, **kwargs)
        self.input_spec = InputSpec(ndim=3)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        config = super().get_config()
        del config["cell"]
        own = {name: value for name, value in self.cell.get_config().items() if name not in config}
        return {**config, **own, "activity_regularizer": regularizers.serialize(self.activity_regularizer)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """The layer that `get_config` described."""
        return cls(**config)


class GatedRecurrent(BaseRecurrent):
    """A recurrent layer for whose kind Keras has a kernel of NVIDIA's cuDNN: LSTM and GRU."""

    def __init__(self, cell: Any, use_cudnn: Any = "auto", **kwargs: Any) -> None:
        if use_cudnn not in ("auto", True, False):
            raise ValueError(f"{type(self).__name__}: `use_cudnn` is 'auto', True or False. Received: {use_cudnn!r}")
        super().__init__(cell, **kwargs)
        self.use_cudnn = use_cudnn  # accepted: there is one implementation


def cell_options(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments that a layer shares with its cell."""
    return {name: kwargs[name] for name in ("dtype", "trainable") if name in kwargs}


def gated_cell_options(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The same for cells with gates; `implementation` is the cell's alone and taken out."""
    return cell_options(kwargs) | {"implementation": kwargs.pop("implementation", 2)}
