"""The cases of recurrent.json: recurrent layers, masked or not, by Keras's own configuration of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from keras import layers

SHAPE = (4, 6, 3)
MASKS = {
    # A hole, a late start, a row without any valid step, a full row.
    "mixed": ["110110", "001111", "000000", "111111"],
    # Padding at the end of every row: two steps are valid nowhere.
    "trailing": ["111100", "110000", "111000", "111100"],
}


@dataclass(frozen=True)
class Row:
    """A layer and how it is called."""

    name: str
    layer: Any
    shape: tuple[int, ...] = SHAPE
    mask: str | None = None
    initial: tuple[tuple[int, ...], ...] = ()  # shapes of the initial states
    call: dict[str, Any] = field(default_factory=dict)


def rows() -> Iterator[Row]:
    """Every case."""
    for name, cls, states, kwargs in (
        ("simple_rnn", layers.SimpleRNN, 1, {}),
        ("lstm", layers.LSTM, 2, {}),
        ("gru", layers.GRU, 1, {}),
        ("gru_reset_before", layers.GRU, 1, {"reset_after": False}),
    ):
        yield from layer_rows(name, cls, states, kwargs)
    yield from option_rows()
    yield from cell_rows()
    yield from stacked_rows()
    yield from bidirectional_rows()
    yield from time_distributed_rows()
    yield from convolutional_rows()


def layer_rows(name: str, cls: Any, states: int, kwargs: dict[str, Any]) -> Iterator[Row]:
    """What every recurrent layer does."""
    everything = {"return_sequences": True, "return_state": True, **kwargs}
    initial = ((4, 5),) * states
    yield Row(name, cls(5, **kwargs))
    yield Row(f"{name}_everything", cls(5, **everything))
    yield Row(f"{name}_backwards", cls(5, go_backwards=True, **everything))
    yield Row(f"{name}_last_backwards", cls(5, go_backwards=True, **kwargs))
    yield Row(f"{name}_initial", cls(5, **everything), initial=initial)
    yield Row(f"{name}_one_step", cls(5, **everything), shape=(2, 1, 3))
    yield Row(f"{name}_no_bias", cls(5, use_bias=False, **everything))
    for mask in MASKS:
        yield Row(f"{name}_{mask}", cls(5, **kwargs), mask=mask)
        yield Row(f"{name}_{mask}_everything", cls(5, **everything), mask=mask)
        yield Row(f"{name}_{mask}_backwards", cls(5, go_backwards=True, **everything), mask=mask)
        yield Row(f"{name}_{mask}_zero", cls(5, zero_output_for_mask=True, **everything), mask=mask)
        yield Row(f"{name}_{mask}_last_zero", cls(5, zero_output_for_mask=True, **kwargs), mask=mask)
        # Unrolled, Keras starts from an output of zeros; its loop on JAX would repeat the initial state instead.
        yield Row(f"{name}_{mask}_initial", cls(5, unroll=True, **everything), mask=mask, initial=initial)
        yield Row(f"{name}_{mask}_last_initial", cls(5, unroll=True, **kwargs), mask=mask, initial=initial)


def option_rows() -> Iterator[Row]:
    """Activations, implementations."""
    yield Row("simple_rnn_relu", layers.SimpleRNN(5, activation="relu", return_sequences=True))
    yield Row("simple_rnn_linear", layers.SimpleRNN(5, activation=None))
    yield Row("lstm_activations", layers.LSTM(5, activation="softsign", recurrent_activation="hard_sigmoid"))
    yield Row("gru_activations", layers.GRU(5, activation="elu", recurrent_activation="hard_sigmoid"))
    for implementation in (1, 2):
        yield Row(f"lstm_implementation_{implementation}", layers.LSTM(5, implementation=implementation))
        yield Row(f"gru_implementation_{implementation}", layers.GRU(5, implementation=implementation))
    # Dropout has no effect outside of training.
    yield Row("lstm_dropout_off", layers.LSTM(5, dropout=0.5, recurrent_dropout=0.5, return_sequences=True))


def cell_rows() -> Iterator[Row]:
    """`RNN` around a cell."""
    yield Row("rnn_lstm", layers.RNN(layers.LSTMCell(4), return_sequences=True, return_state=True))
    yield Row("rnn_gru", layers.RNN(layers.GRUCell(4), go_backwards=True, return_state=True))
    yield Row("rnn_simple", layers.RNN(layers.SimpleRNNCell(4)), mask="mixed")


def stacked_rows() -> Iterator[Row]:
    """Stacked cells."""
    for mask in (None, *MASKS):
        suffix = "" if mask is None else f"_{mask}"
        cells = [layers.LSTMCell(4), layers.GRUCell(3), layers.SimpleRNNCell(2)]
        yield Row(f"stacked{suffix}", layers.RNN(cells, return_sequences=True), mask=mask)
        cells = [layers.LSTMCell(4), layers.LSTMCell(2)]
        layer = layers.RNN(cells, return_sequences=True, return_state=True, go_backwards=True)
        yield Row(f"stacked_backwards{suffix}", layer, mask=mask)


def bidirectional_rows() -> Iterator[Row]:
    """All merge modes, sequences or not, masks, initial states, a backward layer of its own."""
    for mode in ("concat", "sum", "mul", "ave", None):
        for sequences in (False, True):
            name = f"bidirectional_{mode}{'_sequences' if sequences else ''}"
            yield Row(name, layers.Bidirectional(layers.GRU(3, return_sequences=sequences), merge_mode=mode))
    for mask in MASKS:
        for sequences in (False, True):
            inner = layers.LSTM(3, return_sequences=sequences, return_state=True)
            name = f"bidirectional_{mask}{'_sequences' if sequences else ''}"
            yield Row(name, layers.Bidirectional(inner), mask=mask)
    inner = layers.LSTM(3, return_sequences=True, return_state=True)
    yield Row("bidirectional_initial", layers.Bidirectional(inner), initial=((4, 3),) * 4)
    backward = layers.SimpleRNN(2, return_sequences=True, go_backwards=True)
    yield Row("bidirectional_backward_layer", layers.Bidirectional(
        layers.GRU(3, return_sequences=True), backward_layer=backward))  # fmt: skip


def time_distributed_rows() -> Iterator[Row]:
    """A layer at each step."""
    yield Row("time_distributed_dense", layers.TimeDistributed(layers.Dense(4, activation="tanh")))
    yield Row("time_distributed_masked", layers.TimeDistributed(layers.Dense(4)), mask="mixed")
    convolution = layers.Conv2D(2, 3, padding="same", activation="relu")
    yield Row("time_distributed_conv2d", layers.TimeDistributed(convolution), shape=(2, 3, 4, 5, 2))
    yield Row("time_distributed_lstm", layers.TimeDistributed(layers.LSTM(3)), shape=(2, 3, 4, 2))
    yield Row("time_distributed_batch_normalization", layers.TimeDistributed(layers.BatchNormalization()))


def convolutional_rows() -> Iterator[Row]:
    """Convolutional LSTM of every rank."""
    everything = {"return_sequences": True, "return_state": True}
    yield Row("conv_lstm1d", layers.ConvLSTM1D(2, 3), shape=(2, 4, 6, 3))
    yield Row("conv_lstm1d_everything", layers.ConvLSTM1D(2, 3, padding="same", **everything), shape=(2, 4, 6, 3))
    yield Row("conv_lstm2d", layers.ConvLSTM2D(2, 3), shape=(2, 3, 5, 6, 3))
    yield Row("conv_lstm2d_everything", layers.ConvLSTM2D(2, [2, 3], padding="same", **everything),
              shape=(2, 3, 5, 4, 3))  # fmt: skip
    yield Row("conv_lstm2d_strided", layers.ConvLSTM2D(2, 3, strides=2, padding="same", go_backwards=True,
                                                       **everything), shape=(2, 3, 5, 4, 1))  # fmt: skip
    yield Row("conv_lstm2d_dilated", layers.ConvLSTM2D(2, 2, dilation_rate=2, use_bias=False), shape=(2, 3, 5, 4, 2))
    yield Row("conv_lstm2d_channels_first", layers.ConvLSTM2D(2, 3, padding="same", data_format="channels_first"),
              shape=(2, 3, 2, 5, 4))  # fmt: skip
    yield Row("conv_lstm3d", layers.ConvLSTM3D(2, 2, return_sequences=True), shape=(2, 3, 3, 4, 3, 1))
