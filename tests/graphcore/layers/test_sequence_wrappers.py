"""`Bidirectional`, `TimeDistributed` and convolutional LSTM: what reference arrays do not show."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compiler.text import to_text
from graphcore import Input, Model, Sequential, layers, models, ops, regularizers, utils

X = np.random.default_rng(0).normal(size=(4, 6, 3)).astype(np.float32)
MASK = np.array([[c == "1" for c in row] for row in ("110110", "001111", "000000", "111100")])


def test_the_two_directions_are_copies() -> None:
    inner = layers.LSTM(5, return_sequences=True, name="memory", recurrent_dropout=0.2)
    both = layers.Bidirectional(inner)
    assert (both.forward_layer.name, both.backward_layer.name) == ("forward_memory", "backward_memory")
    assert (both.forward_layer.go_backwards, both.backward_layer.go_backwards) == (False, True)
    assert both.forward_layer.zero_output_for_mask
    both.build((None, None, 3))
    assert [w.path.split("/")[1:3] for w in both.weights[::3]] == [
        ["forward_memory", "lstm_cell"], ["backward_memory", "lstm_cell"]
    ]  # fmt: skip
    assert not inner.weights


def test_both_outputs_of_a_step_stand_beside_each_other() -> None:
    both = layers.Bidirectional(layers.GRU(2, return_sequences=True))
    found = both(X, mask=MASK)
    ahead = both.forward_layer(X, mask=MASK)
    back = both.backward_layer(X, mask=MASK)[:, ::-1]
    np.testing.assert_array_equal(found, np.concatenate([ahead, back], -1))
    assert not found[~MASK].any()
    assert found[MASK].any(axis=-1).all()


@pytest.mark.parametrize("mode", ["concat", None])
def test_layers_with_penalties_are_joined_alike(mode: str | None) -> None:
    """They are called as layers, others as loops whose outputs are joined time first."""
    plain = layers.Bidirectional(layers.GRU(2, return_sequences=True, return_state=True), merge_mode=mode)
    inner = layers.GRU(2, return_sequences=True, return_state=True, activity_regularizer="l2")
    called = layers.Bidirectional(inner, merge_mode=mode)
    called.build(X.shape)
    plain.build(X.shape)
    called.set_weights(plain.get_weights())
    for ours, theirs in zip(plain(X, mask=MASK), called(X, mask=MASK), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(called.losses) == 4  # of an output and a state in each direction
    assert not plain.losses


def test_a_forward_layer_that_goes_backwards() -> None:
    """Both outputs are then in reversed order."""
    swapped = layers.Bidirectional(
        layers.GRU(2, return_sequences=True, go_backwards=True), backward_layer=layers.GRU(2, return_sequences=True)
    )
    usual = layers.Bidirectional(layers.GRU(2, return_sequences=True))
    found = swapped(X)
    usual.build(X.shape)
    usual.set_weights([*swapped.get_weights()[3:], *swapped.get_weights()[:3]])
    expected = usual(X)[:, ::-1]
    np.testing.assert_allclose(found, np.concatenate([expected[..., 2:], expected[..., :2]], -1), rtol=1e-6)


def test_first_weights() -> None:
    source = layers.Bidirectional(layers.GRU(2))
    expected = source(X)
    copy = layers.Bidirectional(layers.GRU(2), weights=source.get_weights())
    np.testing.assert_array_equal(copy(X), expected)


def test_stateful_bidirectional() -> None:
    both = layers.Bidirectional(layers.GRU(2, stateful=True))
    first, second = both(X), both(X)
    assert (first != second).any()
    both.reset_state()
    np.testing.assert_array_equal(both(X), first)


@pytest.mark.parametrize("build", [
    lambda: layers.Bidirectional(layers.LSTM(2), merge_mode="max"),
    lambda: layers.Bidirectional("lstm"),
    lambda: layers.Bidirectional(layers.LSTM(2), backward_layer=layers.LSTM(2)),
    lambda: layers.Bidirectional(layers.LSTM(2), backward_layer=layers.LSTM(2, go_backwards=True, return_state=True)),
    lambda: layers.TimeDistributed("dense"),
    lambda: layers.TimeDistributed(layers.Dense(2))(X[:, 0]),
    lambda: layers.TimeDistributed(layers.Dense(2))(X, mask=MASK[:, :3]),
    lambda: layers.ConvLSTM2D(2, 3, strides=2, dilation_rate=2),
    lambda: layers.ConvLSTM2D(2, 3)(Input((4, None, 5, 1))),
])  # fmt: skip
def test_errors(build: Any) -> None:
    with pytest.raises(ValueError, match=r"merge_mode|expected|go_backwards|return_state|mask|strides|spatial"):
        build()


class Centred(layers.Layer):
    """Looks at the batch as a whole."""

    def call(self, x: Any) -> Any:
        return x - ops.mean(x, axis=0, keepdims=True)


def test_a_layer_that_looks_at_the_batch_sees_one_step_at_a_time() -> None:
    found = layers.TimeDistributed(Centred())(X)
    np.testing.assert_allclose(found, X - X.mean(0, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("jit", [True, False])
def test_batch_normalisation_has_the_statistics_of_each_step(jit: bool) -> None:
    layer = layers.BatchNormalization(momentum=0.5)
    model = Sequential([Input((None, 3)), layers.TimeDistributed(layer)])
    model.compile("sgd", "mse", jit=jit)
    model.train_on_batch(X, X)
    mean = np.zeros(3)
    for step in range(6):
        mean = 0.5 * mean + 0.5 * X[:, step].mean(0)
    np.testing.assert_allclose(layer.moving_mean.numpy(), mean, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("inner", [
    lambda: layers.UnitNormalization(axis=-2),
    lambda: layers.UnitNormalization(axis=0),
    lambda: Sequential([Input((3,)), layers.UnitNormalization(axis=-2)]),
])  # fmt: skip
def test_an_axis_that_is_the_batch_counted_from_the_end(inner: Any) -> None:
    found = layers.TimeDistributed(inner())(X)
    np.testing.assert_allclose(found, X / np.sqrt((X**2).sum(0, keepdims=True)), rtol=1e-5)


def test_an_axis_that_is_not_the_batch_is_computed_at_once() -> None:
    inputs = Input((None, 5, 3))
    model = Model(inputs, layers.TimeDistributed(layers.Softmax(axis=-2))(inputs))
    x = np.random.default_rng(1).normal(size=(2, 4, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(model.predict(x, verbose=0).sum(-2), np.ones((2, 4, 3)), rtol=1e-5)
    assert "scan(" not in to_text(model.lower("predict").traced.graph)


def test_masks_of_steps_and_of_entries() -> None:
    softmax = layers.TimeDistributed(layers.Softmax())
    plain = np.exp(X) / np.exp(X).sum(-1, keepdims=True)
    np.testing.assert_allclose(softmax(X, mask=MASK), plain, rtol=1e-5)
    entries = np.random.default_rng(3).random(X.shape) < 0.7
    entries[..., 0] = True
    exponent = np.where(entries, np.exp(X), 0)
    np.testing.assert_allclose(softmax(X, mask=entries), exponent / exponent.sum(-1, keepdims=True), rtol=1e-5)


class Largest(regularizers.Regularizer):
    """No sum over entries."""

    def __call__(self, x: Any) -> Any:
        return ops.max(ops.abs(x))


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("regularizer", ["l2", Largest()])
def test_activity_losses_in_a_model_are_summed_over_the_steps(regularizer: Any, jit: bool) -> None:
    """Each is divided by the batch size, as in Keras 3.15."""
    inner = Sequential([Input((3,)), layers.Dense(2, activity_regularizer=regularizer)])
    model = Sequential([Input((None, 3)), layers.TimeDistributed(inner)])
    model.compile("sgd", "mse", jit=jit)
    outputs = X.astype(np.float64) @ inner.get_weights()[0]
    penalty = 0.01 * (outputs**2).sum() if regularizer == "l2" else np.abs(outputs).max((0, 2)).sum()
    expected = penalty / len(X) + (outputs**2).mean()
    assert model.train_on_batch(X, np.zeros((4, 6, 2))) == pytest.approx(expected, rel=1e-5)
    assert ("scan(" in to_text(model.lower("train").traced.graph)) == (regularizer != "l2")


def test_a_loss_that_a_layer_adds_at_each_step() -> None:
    class Adding(layers.Layer):
        def call(self, x: Any) -> Any:
            self.add_loss(ops.mean(x**2))
            return x

    layer = layers.TimeDistributed(Adding())
    np.testing.assert_array_equal(layer(X), X)
    (loss,) = layer.losses
    assert float(loss) == pytest.approx((X**2).mean((0, 2)).sum(), rel=1e-5)


def test_the_activity_regularizer_of_the_layer_itself_adds_nothing() -> None:
    """As in Keras 3.15, which calls the layer's `call` alone."""
    with pytest.warns(UserWarning, match=r"activity regularizer of layer 'inner' adds no loss"):
        layer = layers.TimeDistributed(layers.Dense(2, activity_regularizer="l2", name="inner"))
    kernel, _ = (layer.build(X.shape), layer.get_weights())[1]
    np.testing.assert_allclose(layer(X), X @ kernel, rtol=1e-5, atol=1e-6)
    assert not layer.losses


@pytest.mark.parametrize("inner", [lambda: layers.Activation("relu"), Centred])
def test_no_steps(inner: Any) -> None:
    assert layers.TimeDistributed(inner())(X[:, :0]).shape == (4, 0, 3)


def test_a_model_at_each_step_is_called_once() -> None:
    inner = Sequential([Input((8, 8, 1)), layers.Conv2D(3, 3), layers.GlobalMaxPooling2D()])
    inputs = Input((None, 8, 8, 1))
    model = Model(inputs, layers.LSTM(2)(layers.TimeDistributed(inner)(inputs)))
    frames = np.random.default_rng(1).normal(size=(2, 5, 8, 8, 1)).astype(np.float32)
    each = np.stack([inner.predict(frames[:, t], verbose=0) for t in range(5)], 1)
    expected = model.layers[-1](each)
    np.testing.assert_allclose(model.predict(frames, verbose=0), expected, rtol=1e-5, atol=1e-6)
    graph = to_text(model.lower("predict").traced.graph)
    assert graph.count("convolution(") == 1
    assert graph.count("scan(") == 1


def test_saving(tmp_path: Any) -> None:
    inputs = Input((None, 3))
    hidden = layers.Bidirectional(layers.LSTM(3, return_sequences=True), merge_mode="sum")(layers.Masking()(inputs))
    hidden = layers.TimeDistributed(layers.Dense(4, activation="tanh"))(hidden)
    model = Model(inputs, layers.Bidirectional(layers.RNN([layers.GRUCell(2), layers.LSTMCell(2)]))(hidden))
    model.compile("adam", "mse")
    model.train_on_batch(X, np.ones((4, 4)))
    model.save(f"{tmp_path}/model.keras")
    again = models.load_model(f"{tmp_path}/model.keras")
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))
    assert again.get_config() == model.get_config()


@pytest.mark.parametrize("options", [{}, {"dropout": 0.3, "recurrent_dropout": 0.3}])
def test_convolutional_lstm_compiled_is_interpreted(options: dict[str, float]) -> None:
    x = np.random.default_rng(2).normal(size=(3, 4, 7, 6, 2)).astype(np.float32)
    results = []
    for jit in (True, False):
        utils.set_random_seed(1)
        model = Sequential(
            [
                Input((None, 7, 6, 2)),
                layers.ConvLSTM2D(3, 3, padding="same", return_sequences=True, **options),
                layers.ConvLSTM2D(2, 3, strides=2),
                layers.Flatten(),
            ]
        )
        model.compile("sgd", "mse", jit=jit)
        results.append([model.train_on_batch(x, np.ones((3, 12))) for _ in range(3)])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5)
