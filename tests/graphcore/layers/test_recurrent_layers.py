"""Recurrent layers, rule by rule, against loops in NumPy (float64); in training, compiled and interpreted alike."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from graphcore import Input, Model, Sequential, layers, models, ops, random, utils
from graphcore.saving import register_keras_serializable

B, T, F, U = 4, 6, 3, 5
MASK = np.array([[c == "1" for c in row] for row in ("110110", "001111", "000000", "111111")])
TRAILING = np.array([[c == "1" for c in row] for row in ("111100", "110000", "111000", "111100")])
LAYERS = {
    "simple_rnn": layers.SimpleRNN,
    "lstm": layers.LSTM,
    "gru": layers.GRU,
    "gru_reset_before": lambda *args, **kwargs: layers.GRU(*args, reset_after=False, **kwargs),
}


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def step(kind: str, x: np.ndarray, states: list[np.ndarray], weights: list[np.ndarray]) -> list[np.ndarray]:
    """One step of a cell as the papers write it, gate by gate."""
    kernel, recurrent, bias = (w.astype(np.float64) for w in weights)
    units = recurrent.shape[0]

    def part(array: np.ndarray, gate: int) -> np.ndarray:
        return array[..., gate * units : (gate + 1) * units]

    if kind == "simple_rnn":
        return [np.tanh(x @ kernel + bias + states[0] @ recurrent)]
    if kind == "lstm":
        i, f, z, o = (x @ part(kernel, g) + states[0] @ part(recurrent, g) + part(bias, g) for g in range(4))
        carry = sigmoid(f) * states[1] + sigmoid(i) * np.tanh(z)
        return [sigmoid(o) * np.tanh(carry), carry]
    (h,) = states
    inputs, inner = (bias[0], bias[1]) if kind == "gru" else (bias, 0 * bias)
    z, r = (
        sigmoid(x @ part(kernel, g) + part(inputs, g) + h @ part(recurrent, g) + part(inner, g)) for g in range(2)
    )
    candidate = x @ part(kernel, 2) + part(inputs, 2)
    candidate = candidate + (
        r * (h @ part(recurrent, 2) + part(inner, 2)) if kind == "gru" else (r * h) @ part(recurrent, 2)
    )
    return [z * h + (1 - z) * np.tanh(candidate)]


def loop(
    kind: str, x: np.ndarray, weights: list[np.ndarray], *, mask: np.ndarray | None = None,
    initial: list[np.ndarray] | None = None, backwards: bool = False, zero: bool = False,
) -> tuple[np.ndarray, list[np.ndarray]]:  # fmt: skip
    """Outputs [batch, steps, units] in the order in which they are computed, and the final states."""
    batch, steps, _ = x.shape
    units = weights[1].shape[0]
    states = initial or [np.zeros((batch, units)) for _ in range(2 if kind == "lstm" else 1)]
    output, outputs = np.zeros((batch, units)), []
    for t in reversed(range(steps)) if backwards else range(steps):
        new = step(kind, x[:, t].astype(np.float64), states, weights)
        if mask is None:
            states, output = new, new[0]
        else:
            valid = mask[:, t, None]
            output = np.where(valid, new[0], 0 if zero else output)
            states = [np.where(valid, a, b) for a, b in zip(new, states, strict=True)]
        outputs.append(output)
    return np.stack(outputs, 1), states


def varied(layer: layers.Layer, seed: int = 1) -> list[np.ndarray]:
    """Set weights that leave nothing at its initial value."""
    values = [0.5 * numbers(*w.shape, seed=seed + i) for i, w in enumerate(layer.weights)]
    layer.set_weights(values)
    return values


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("mask", [None, MASK, TRAILING], ids=["no mask", "mask", "trailing"])
@pytest.mark.parametrize("kind", LAYERS)
def test_outputs_and_states_follow_the_definition(kind: str, mask: np.ndarray | None, backwards: bool) -> None:
    x = numbers(B, T, F)
    layer = LAYERS[kind](U, return_sequences=True, return_state=True, go_backwards=backwards)
    layer.build(x.shape)
    expected, states = loop(kind, x, varied(layer), mask=mask, backwards=backwards)
    found = layer(x, mask=mask)
    for value, reference in zip(found, [expected, *states], strict=True):
        np.testing.assert_allclose(value, reference, rtol=1e-5, atol=1e-6)
    layer.return_sequences = layer.return_state = False
    np.testing.assert_allclose(layer(x, mask=mask), expected[:, -1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_masked_step_before_the_first_valid_one_gives_zeros_even_if_a_state_is_given(kind: str, zero: bool) -> None:
    x = numbers(B, T, F)
    layer = LAYERS[kind](U, return_sequences=True, zero_output_for_mask=zero)
    layer.build(x.shape)
    initial = [numbers(B, U, seed=9 + i) for i in range(2 if kind == "lstm" else 1)]
    expected, _ = loop(kind, x, varied(layer), mask=MASK, initial=initial, zero=zero)
    found = layer(x, initial_state=initial, mask=MASK)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert not found[1, 0].any()
    layer.return_sequences = False
    np.testing.assert_allclose(layer(x, initial_state=initial, mask=MASK), expected[:, -1], rtol=1e-5, atol=1e-6)


class Ones(layers.LSTM):
    def get_initial_state(self, batch_size: object) -> list[object]:
        return [ops.ones((batch_size, self.units)) for _ in range(2)]


class StackOfOnes(layers.StackedRNNCells):
    def get_initial_state(self, batch_size: object = None) -> list[object]:
        return [[ops.ones((batch_size, size)) for size in sizes] for sizes in self.state_size]


def cell_of_ones() -> layers.LSTMCell:
    cell = layers.LSTMCell(U)
    cell.get_initial_state = lambda batch_size: [ops.ones((batch_size, U)) for _ in range(2)]
    return cell


@pytest.mark.parametrize("make", [
    lambda: Ones(U, return_sequences=True),
    lambda: layers.RNN(StackOfOnes([layers.LSTMCell(U)]), return_sequences=True),
    lambda: layers.RNN(cell_of_ones(), return_sequences=True),
], ids=["layer", "stack", "cell"])  # fmt: skip
def test_first_states_of_a_user_are_not_taken_for_zeros(make: object) -> None:
    """Masked steps before the first valid one give zeros, not what the states are."""
    x, layer = numbers(B, T, F), make()
    layer.build(x.shape)
    expected, _ = loop("lstm", x, varied(layer), mask=MASK, initial=[np.ones((B, U)) for _ in range(2)])
    found = layer(x, mask=MASK)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert not found[1, 0].any()


def test_padding_at_the_end_is_not_computed() -> None:
    x = numbers(B, T, F)
    x[:, 4:] = np.nan  # a select alone would let the gradient of the weights become NaN
    inputs, mask = Input((T, F)), Input((T,), dtype="bool")
    layer = layers.LSTM(U)
    model = Model([inputs, mask], layer(inputs, mask=mask))
    model.compile("sgd", "mse")
    before = layer.get_weights()[1]
    assert np.isfinite(model.train_on_batch([x, TRAILING], np.ones((B, U))))
    changed = layer.get_weights()[1]
    assert np.isfinite(changed).all()
    assert (changed != before).any()


def test_initial_values() -> None:
    lstm, gru, before = layers.LSTM(8), layers.GRU(8), layers.GRU(8, reset_after=False)
    for layer in (lstm, gru, before):
        layer.build((None, None, 6))
    assert [w.path.split("/", 1)[1] for w in lstm.weights] == [
        "lstm_cell/kernel", "lstm_cell/recurrent_kernel", "lstm_cell/bias"
    ]  # fmt: skip
    assert [w.shape for w in lstm.weights] == [(6, 32), (8, 32), (32,)]
    assert [w.shape for w in gru.weights] == [(6, 24), (8, 24), (2, 24)]
    assert [w.shape for w in before.weights] == [(6, 24), (8, 24), (24,)]
    kernel, recurrent, bias = lstm.get_weights()
    np.testing.assert_array_equal(bias, np.repeat([0, 1, 0, 0], 8))
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(8), atol=1e-5)  # one orthogonal matrix, not four
    assert np.abs(kernel).max() <= np.sqrt(6 / (6 + 32))
    plain = layers.LSTM(8, unit_forget_bias=False)
    plain.build((None, None, 6))
    assert not plain.get_weights()[2].any()


@pytest.mark.parametrize("implementation", [1, 2])
@pytest.mark.parametrize("kind", LAYERS)
def test_dropout_patterns_serve_all_steps(kind: str, implementation: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all inputs alike the projected inputs are, too, if and only if the pattern is one for the sequence."""
    options = {} if kind == "simple_rnn" else {"implementation": implementation}
    layer = LAYERS[kind](64, dropout=0.5, return_sequences=True, **options)
    cell, x = layer.cell, np.ones((2, 4, 16), np.float32)
    before = layer(x)
    assert (layer(x, training=True) != before).any()
    np.testing.assert_array_equal(layer(x, training=False), before)
    for gate in range(cell.gates):
        columns = slice(64 * gate, 64 * gate + 64)
        monkeypatch.setattr(cell, "advance", lambda projected, states, _, c=columns: [projected[:, c] for _ in states])
        projected = layer(x, training=True)
        np.testing.assert_array_equal(projected, np.broadcast_to(projected[:, :1], projected.shape))
        assert (projected[0] != projected[1]).any()
        assert (layer(x, training=True) != projected).any()


def test_recurrent_dropout_has_one_pattern_for_each_gate() -> None:
    layer = layers.LSTM(4, recurrent_dropout=0.5)
    assert layer.cell.implementation == 1
    assert layer.cell.dropout_mask_count == 4
    assert layers.GRU(4, recurrent_dropout=0.5).cell.dropout_mask_count == 3
    assert layers.SimpleRNN(4, recurrent_dropout=0.5).cell.dropout_mask_count is None
    assert layers.LSTM(4, dropout=0.5).cell.dropout_mask_count is None
    x = numbers(2, 5, 3)
    layer.build(x.shape)
    outputs = [layer(x, training=True) for _ in range(4)]
    assert all((a != b).any() for a, b in pairwise(outputs))


@pytest.mark.parametrize("options", [{"dropout": 0.4}, {"dropout": 0.4, "recurrent_dropout": 0.3}])
@pytest.mark.parametrize("kind", LAYERS)
def test_dropout_compiled_is_dropout_interpreted(kind: str, options: dict[str, float]) -> None:
    x, y = numbers(8, 5, 3), numbers(8, 4)
    results = []
    for jit in (True, False):
        utils.set_random_seed(3)
        model = Sequential([layers.Input((None, 3)), LAYERS[kind](4, **options)])
        model.compile("sgd", "mse", jit=jit)
        results.append([model.train_on_batch(x, y) for _ in range(3)])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5)
    assert len(set(results[0])) == 3


def test_stateful_layers_go_on_where_the_last_batch_ended() -> None:
    x = numbers(B, 2 * T, F)
    layer = layers.LSTM(U, return_sequences=True, stateful=True)
    whole = layers.LSTM(U, return_sequences=True)
    layer.build((B, T, F))
    whole.build((B, T, F))
    whole.set_weights(varied(layer))
    expected = whole(x)
    first, second = layer(x[:, :T]), layer(x[:, T:])
    np.testing.assert_allclose(np.concatenate([first, second], 1), expected, rtol=1e-5, atol=1e-6)
    layer.reset_state()
    np.testing.assert_array_equal(layer(x[:, :T]), first)
    assert len(layer.weights) == 3
    with pytest.raises(ValueError, match="batches of 4"):
        layer(x[:2])
    with pytest.raises(ValueError, match="stateful"):
        layers.LSTM(U, stateful=True).build((None, T, F))


@pytest.mark.parametrize(("layer", "expected"), [
    (lambda: layers.GRU(U, stateful=True, return_sequences=True), (None, T, U)),
    (lambda: layers.LSTM(U, stateful=True, return_state=True), ((None, U),) * 3),
    (lambda: layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)], stateful=True, return_state=True),
     ((None, 3), [(None, 4), (None, 4)], (None, 3))),
    (lambda: layers.Bidirectional(layers.LSTM(U, stateful=True, return_sequences=True)), (None, T, 2 * U)),
    (lambda: layers.Bidirectional(layers.GRU(U, stateful=True), merge_mode="sum"), (None, U)),
    (lambda: layers.Bidirectional(layers.LSTM(U, stateful=True, return_state=True), merge_mode=None), ((None, U),) * 6),
    (lambda: layers.Bidirectional(layers.GRU(U, stateful=True), merge_mode=None), ((None, U), (None, U))),
])  # fmt: skip
def test_stateful_layers_tell_their_shape_for_any_batch(layer: object, expected: object) -> None:
    """As Keras 3.15, which makes no weights for it."""
    made = layer()
    assert made.compute_output_shape((None, T, F)) == expected
    assert not made.built
    made.build((B, T, F))
    assert made.compute_output_shape((None, T, F)) == expected


@pytest.mark.parametrize(("order", "shape", "image"), [
    ("channels_last", (7, 6, 3), (6, 5, 4)), ("channels_first", (3, 7, 6), (4, 6, 5))
])  # fmt: skip
def test_stateful_convolutions_tell_their_shape_for_any_batch(
    order: str, shape: tuple[int, ...], image: tuple[int, ...]
) -> None:
    layer = layers.ConvLSTM2D(4, 2, data_format=order, stateful=True, return_sequences=True, return_state=True)
    assert layer.compute_output_shape((None, T, *shape)) == ((None, T, *image), (None, *image), (None, *image))
    layer.build((B, T, *shape))
    assert [state.shape for state in layer.states] == [(B, *image)] * 2
    layer.return_sequences = layer.return_state = False
    assert layer.compute_output_shape((None, None, *shape)) == (None, *image)


@pytest.mark.parametrize("jit", [True, False])
def test_stateful_layers_in_a_model(jit: bool) -> None:
    x = numbers(B, T, F)
    model = Sequential([layers.Input((None, F), batch_size=B), layers.GRU(U, stateful=True)])
    model.compile(jit=jit)
    first = model.predict(x, batch_size=B, verbose=0)
    second = model.predict(x, batch_size=B, verbose=0)
    assert (first != second).any()
    model.layers[0].reset_state()
    np.testing.assert_array_equal(model.predict(x, batch_size=B, verbose=0), first)


@register_keras_serializable("tests")
class Residual(layers.Layer):
    """A cell of a user: the output is no state."""

    def __init__(self, units: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.state_size = units
        self.output_size = units
        self.inner = layers.Dense(units, activation="tanh")

    def call(self, inputs: object, states: list[object]) -> tuple[object, list[object]]:
        new = self.inner(ops.concatenate([inputs, states[0]], axis=-1))
        return new + states[0], [new]

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "units": self.units}


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("mask", [None, MASK, TRAILING], ids=["no mask", "mask", "trailing"])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_cell_of_a_user(mask: np.ndarray | None, backwards: bool, zero: bool) -> None:
    x = numbers(B, T, F)
    layer = layers.RNN(
        Residual(U), return_sequences=True, return_state=True, go_backwards=backwards, zero_output_for_mask=zero
    )
    outputs, final = layer(x, mask=mask)
    kernel, bias = layer.get_weights()
    state, output, expected = np.zeros((B, U)), np.zeros((B, U)), []
    for t in reversed(range(T)) if backwards else range(T):
        new = np.tanh(np.concatenate([x[:, t], state], -1) @ kernel + bias)
        valid = np.ones((B, 1), bool) if mask is None else mask[:, t, None]
        output = np.where(valid, new + state, 0 if zero else output)
        state = np.where(valid, new, state)
        expected.append(output)
    np.testing.assert_allclose(outputs, np.stack(expected, 1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(final, state, rtol=1e-5, atol=1e-6)
    layer.return_sequences = layer.return_state = False
    np.testing.assert_allclose(layer(x, mask=mask), expected[-1], rtol=1e-5, atol=1e-6)


def test_a_cell_that_is_no_layer() -> None:
    class Sum:
        state_size = F

        def call(self, inputs: object, states: list[object]) -> tuple[object, object]:
            total = inputs + states[0]
            return total, total

    x = numbers(B, T, F)
    np.testing.assert_allclose(layers.RNN(Sum(), return_sequences=True)(x), np.cumsum(x, 1), rtol=1e-5, atol=1e-6)


class Noisy(layers.Layer):
    """A cell that draws numbers and counts its steps."""

    state_size = 1

    def __init__(self) -> None:
        super().__init__()
        self.seed_generator = random.SeedGenerator(5)
        self.steps = self.add_weight(shape=(), initializer="zeros", trainable=False, name="steps")

    def call(self, inputs: object, states: list[object]) -> tuple[object, list[object]]:
        self.steps.assign(self.steps + 1.0)
        return random.uniform(ops.shape(inputs), seed=self.seed_generator), states


@pytest.mark.parametrize("jit", [True, False])
def test_what_a_cell_assigns_goes_from_step_to_step(jit: bool) -> None:
    cell = Noisy()
    model = Sequential([layers.Input((None, 1)), layers.RNN(cell, return_sequences=True)])
    model.compile(jit=jit)
    drawn = model.predict(numbers(B, T, 1), verbose=0)
    assert len(np.unique(drawn)) == drawn.size
    assert float(cell.steps.numpy()) == T
    again = random.SeedGenerator(5)
    expected = np.stack([random.uniform((B, 1), seed=again) for _ in range(T)], 1)
    np.testing.assert_array_equal(drawn, expected)


def test_stacked_cells_are_layers_one_above_another() -> None:
    x = numbers(B, T, F)
    cells = [layers.LSTMCell(4), Residual(3), layers.GRUCell(2)]
    stacked = layers.RNN(cells, return_sequences=True, return_state=True)
    outputs, *states = stacked(x, mask=MASK)
    below = x
    for cell, own in zip(cells, states, strict=True):
        below, *single = layers.RNN(cell, return_sequences=True, return_state=True)(below, mask=MASK)
        for value, expected in zip(own if isinstance(own, list) else [own], single, strict=True):
            np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(outputs, below)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_cell_called_step_by_step(kind: str) -> None:
    x = numbers(B, T, F)
    layer = LAYERS[kind](U)
    expected = layer(x)
    states = layer.cell.get_initial_state(B)
    for t in range(T):
        output, states = layer.cell(x[:, t], states)
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)


def test_configurations() -> None:
    layer = layers.LSTM(
        4, activation="relu", kernel_regularizer="l2", dropout=0.1, go_backwards=True, seed=3, zero_output_for_mask=True
    )
    again = layers.deserialize(layers.serialize(layer))
    assert again.get_config() == layer.get_config()
    assert again.cell.kernel_regularizer is not None
    assert again.dropout == 0.1
    assert again.zero_output_for_mask
    nested = layers.RNN([layers.GRUCell(3), Residual(2)], return_state=True)
    copy = layers.deserialize(layers.serialize(nested))
    assert copy.get_config() == nested.get_config()
    assert [type(cell) for cell in copy.cell.cells] == [layers.GRUCell, Residual]


def test_saving(tmp_path: object) -> None:
    x = numbers(B, T, F)
    inputs = Input((None, F))
    hidden = layers.RNN([layers.GRUCell(3), Residual(3)], return_sequences=True)(layers.Masking()(inputs))
    model = Model(inputs, layers.LSTM(4)(hidden))
    model.save(f"{tmp_path}/model.keras")
    again = models.load_model(f"{tmp_path}/model.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize("option", [{"use_cudnn": False}, {"implementation": 1}])
@pytest.mark.parametrize("make", [
    layers.SimpleRNN, layers.SimpleRNNCell, lambda *a, **k: layers.ConvLSTM2D(*a, 2, **k),
    lambda *a, **k: layers.RNN(layers.SimpleRNNCell(*a), **k),
])  # fmt: skip
def test_options_that_only_layers_with_gates_have(make: object, option: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="Unrecognized keyword arguments"):
        make(4, **option)
    layers.LSTM(4, **option)
    layers.GRU(4, **option)


@pytest.mark.parametrize("build", [
    lambda: layers.LSTM(0),
    lambda: layers.LSTM(4, use_cudnn="maybe"),
    lambda: layers.RNN(object()),
    lambda: layers.RNN([layers.Dense(3)]),
    lambda: layers.LSTM(4)(numbers(2, 3)),
    lambda: layers.LSTM(4)(numbers(2, 3, 4), initial_state=[numbers(2, 4)]),
])  # fmt: skip
def test_errors(build: object) -> None:
    with pytest.raises(ValueError, match=r"units|use_cudnn|call|state_size|ndim|states"):
        build()
