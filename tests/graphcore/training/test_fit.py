"""The loops of fit, evaluate and predict, rule by rule, against numbers computed by hand with NumPy."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from graphcore import ops
from graphcore.callbacks import Callback, EarlyStopping, History, LambdaCallback
from graphcore.layers import Dense, Dropout, Input
from graphcore.models import Model, Sequential
from graphcore.optimizers import SGD, Adam
from graphcore.utils import set_random_seed

RATE = 0.1


def linear(features: int = 1, weight: float = 0.0, **kwargs: Any) -> Sequential:
    """y = w·x, compiled with SGD and squared error, interpreted."""
    model = Sequential([Input((features,)), Dense(1, use_bias=False, kernel_initializer="zeros", name="only")])
    model.set_weights([np.full((features, 1), weight)])
    model.compile(**{"optimizer": SGD(RATE), "loss": "mse", "jit": False, **kwargs})
    return model


def weight_of(model: Model) -> float:
    return float(model.get_weights()[0][0, 0])


def train_by_hand(
    x: Any, y: Any, batch: int, epochs: int, weight: float = 0.0, w: Any = None
) -> tuple[float, list[float]]:
    """Weight and loss of each epoch of SGD on mean squared error without shuffling."""
    w = np.ones(len(x)) if w is None else w
    weight, losses = 0.0, []
    for _ in range(epochs):
        total = 0.0
        for start in range(0, len(x), batch):
            rows = slice(start, start + batch)
            error = weight * x[rows] - y[rows]
            total += float(np.sum(w[rows] * error**2))
            weight -= RATE * float(np.mean(w[rows] * 2 * error * x[rows]))
        losses.append(total / len(x))
    return weight, losses


X = np.array([1.0, 2.0, -1.0, 0.5, 3.0])
Y = np.array([2.0, 3.5, -2.0, 1.5, 5.0])


def test_training_follows_the_formula_and_weighs_the_smaller_last_batch_by_its_size() -> None:
    model = linear()
    history = model.fit(X, Y, batch_size=2, epochs=3, shuffle=False, verbose=0)
    weight, losses = train_by_hand(X, Y, batch=2, epochs=3)
    assert weight_of(model) == pytest.approx(weight, rel=1e-5)
    assert history.history["loss"] == pytest.approx(losses, rel=1e-5)


def test_the_epoch_loss_is_exact_with_a_partial_batch() -> None:
    model = linear(weight=1.0)
    y = np.array([0.0, 0.0, 0.0, 0.0, 10.0])
    assert model.evaluate(np.zeros(5), y, batch_size=4, verbose=0) == pytest.approx(20.0)


def test_predictions_keep_all_rows_in_order() -> None:
    model = linear(weight=2.0)
    for batch_size in (1, 2, 5, 100):
        prediction = model.predict(X, batch_size=batch_size, verbose=0)
        np.testing.assert_allclose(prediction, 2 * X[:, None], rtol=1e-6)
    assert model.predict_on_batch(X[:2]).tolist() == [[2.0], [4.0]]


def test_predicting_needs_no_compile() -> None:
    model = Sequential([Input((1,)), Dense(1, kernel_initializer="ones")])
    model.training_session.jit = False
    assert model.predict(X, verbose=0).shape == (5, 1)


# History


def test_history_has_python_floats_epochs_and_parameters() -> None:
    model = linear(metrics=["mae"])
    history = model.fit(X, Y, batch_size=2, epochs=3, initial_epoch=1, validation_data=(X, Y), verbose=0)
    assert isinstance(history, History)
    assert model.history is history
    assert list(history.history) == ["loss", "mae", "val_loss", "val_mae"]
    assert all(type(value) is float for values in history.history.values() for value in values)
    assert history.epoch == [1, 2]
    assert history.params == {"verbose": 0, "epochs": 3, "steps": 3}


def test_initial_epoch_is_an_index_and_epochs_the_last() -> None:
    seen: list[int] = []
    model = linear()
    callback = LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch))
    model.fit(X, Y, epochs=5, initial_epoch=3, callbacks=[callback], verbose=0)
    assert seen == [3, 4]
    assert model.fit(X, Y, epochs=2, initial_epoch=2, verbose=0).history == {}


# evaluate, train_on_batch, test_on_batch


def test_evaluate_returns_a_number_a_list_or_a_dict() -> None:
    loss = float(np.mean(Y**2))
    mae = float(np.mean(np.abs(Y)))
    assert linear().evaluate(X, Y, verbose=0) == pytest.approx(loss)
    model = linear(metrics=["mae"])
    assert model.evaluate(X, Y, verbose=0) == pytest.approx([loss, mae])
    assert model.evaluate(X, Y, verbose=0, return_dict=True) == pytest.approx({"loss": loss, "mae": mae})
    assert model.metrics_names == ["loss", "compile_metrics"]


def test_evaluate_puts_the_loss_first_and_changes_no_weight() -> None:
    model = linear(metrics=["cosine_similarity", "mae"], weight=0.5)
    names = list(model.evaluate(X, Y, verbose=0, return_dict=True))
    assert names == ["cosine_similarity", "loss", "mae"]
    values = model.evaluate(X, Y, verbose=0)
    assert values[0] == pytest.approx(float(np.mean((0.5 * X - Y) ** 2)))
    assert weight_of(model) == 0.5


def test_steps_limit_evaluation_and_prediction() -> None:
    model = linear(weight=1.0)
    assert model.evaluate(X, X, batch_size=2, steps=1, verbose=0) == 0.0
    assert len(model.predict(X, batch_size=2, steps=2, verbose=0)) == 4


def test_train_on_batch_reports_its_own_batch_only() -> None:
    model = linear(metrics=["mae"])
    first = model.train_on_batch(X[:2], Y[:2])
    weight, _ = train_by_hand(X[:2], Y[:2], batch=2, epochs=1)
    assert first == pytest.approx([np.mean(Y[:2] ** 2), np.mean(np.abs(Y[:2]))])
    error = weight * X[2:] - Y[2:]
    second = model.train_on_batch(X[2:], Y[2:], return_dict=True)
    assert second == pytest.approx({"loss": np.mean(error**2), "mae": np.mean(np.abs(error))}, rel=1e-5)


def test_test_on_batch_changes_nothing() -> None:
    model = linear(weight=1.5)
    assert model.test_on_batch(X, Y) == pytest.approx(float(np.mean((1.5 * X - Y) ** 2)))
    assert weight_of(model) == 1.5


# Weights of samples and classes


def test_the_loss_divides_by_samples_and_weighted_metrics_by_weights() -> None:
    model = linear(metrics=["mae"], weighted_metrics=["mse"])
    x, y, w = np.ones(2), np.ones(2), np.array([0.0, 1.0])
    values = model.evaluate(x, y, sample_weight=w, verbose=0, return_dict=True)
    assert values == pytest.approx({"loss": 0.5, "mae": 1.0, "mse": 1.0})


def test_sample_weights_scale_the_gradient() -> None:
    w = np.array([0.0, 2.0, 1.0, 0.5, 0.25])
    model = linear()
    history = model.fit(X, Y, batch_size=3, epochs=2, sample_weight=w, shuffle=False, verbose=0)
    weight, losses = train_by_hand(X, Y, batch=3, epochs=2, w=w)
    assert weight_of(model) == pytest.approx(weight, rel=1e-5)
    assert history.history["loss"] == pytest.approx(losses, rel=1e-5)


def test_weights_of_elements() -> None:
    model = Sequential([Input((1,)), Dense(3, kernel_initializer="zeros")])
    model.compile(SGD(RATE), "mse", jit=False)
    w = np.array([[1.0], [3.0]])
    value = model.evaluate(np.ones((2, 1)), np.ones((2, 3)), sample_weight=w, verbose=0)
    assert value == pytest.approx(2.0)


def test_class_weights_count_in_training_only_and_missing_classes_weigh_one() -> None:
    y = np.array([0.0, 1.0, 1.0, 0.0, 2.0])
    model = linear(weighted_metrics=["mae"])
    history = model.fit(X, y, batch_size=5, class_weight={1: 3.0}, validation_data=(X, y), shuffle=False, verbose=0)
    w = np.array([1.0, 3.0, 3.0, 1.0, 1.0])
    weight, losses = train_by_hand(X, y, batch=5, epochs=1, w=w)
    assert history.history["loss"] == pytest.approx(losses)
    assert history.history["mae"] == pytest.approx([np.sum(w * y) / np.sum(w)])
    assert history.history["val_loss"] == pytest.approx([float(np.mean((weight * X - y) ** 2))], rel=1e-5)


# Validation


def test_validation_split_is_taken_from_the_end_before_shuffling() -> None:
    x, y = np.arange(8.0), np.arange(8.0)
    model = linear(weight=0.0, optimizer=SGD(0.0))
    history = model.fit(x, y, validation_split=0.3, verbose=0)
    # floor(8 * 0.7) = 5 samples train.
    assert history.history["loss"] == pytest.approx([np.mean(y[:5] ** 2)])
    assert history.history["val_loss"] == pytest.approx([np.mean(y[5:] ** 2)])


def test_validation_data_win_over_the_split() -> None:
    model = linear(optimizer=SGD(0.0))
    history = model.fit(X, Y, validation_split=0.4, validation_data=(X[:1], Y[:1]), verbose=0)
    assert history.history["loss"] == pytest.approx([np.mean(Y**2)])
    assert history.history["val_loss"] == pytest.approx([Y[0] ** 2])


def test_validation_data_may_be_weighted_or_a_generator() -> None:
    model = linear(optimizer=SGD(0.0))
    history = model.fit(X, Y, validation_data=(X[:2], Y[:2], np.array([0.0, 1.0])), verbose=0)
    assert history.history["val_loss"] == pytest.approx([Y[1] ** 2 / 2])
    history = model.fit(X, Y, validation_data=iter([(X[:1], Y[:1])]), verbose=0)
    assert history.history["val_loss"] == pytest.approx([Y[0] ** 2])


@pytest.mark.parametrize(("frequency", "epochs"), [(1, 4), (2, 2), ([1, 4], 2), (9, 0)])
def test_validation_frequency(frequency: Any, epochs: int) -> None:
    history = linear().fit(X, Y, epochs=4, validation_data=(X, Y), validation_freq=frequency, verbose=0)
    assert len(history.history.get("val_loss", [])) == epochs


def test_validation_steps_start_at_the_beginning_each_time() -> None:
    model = linear(optimizer=SGD(0.0))
    history = model.fit(X, Y, epochs=2, validation_data=(X, Y), validation_steps=1, validation_batch_size=2, verbose=0)
    assert history.history["val_loss"] == pytest.approx([np.mean(Y[:2] ** 2)] * 2)


# Steps and shuffling


def test_steps_per_epoch_go_on_in_the_data() -> None:
    seen: list[float] = []
    model = linear(optimizer=SGD(0.0))
    callback = LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs["loss"]))
    model.fit(X[:4], Y[:4], batch_size=1, epochs=2, steps_per_epoch=2, shuffle=False, callbacks=[callback], verbose=0)
    assert seen == pytest.approx([np.mean(Y[:2] ** 2), np.mean(Y[2:4] ** 2)])


def test_without_batch_size_steps_decide_it() -> None:
    assert linear().fit(X[:4], Y[:4], steps_per_epoch=2, verbose=0).params["steps"] == 2


def test_a_used_up_generator_ends_training_with_a_warning() -> None:
    def batches() -> Iterator[Any]:
        for _ in range(3):
            yield X, Y

    model = linear()
    with pytest.warns(UserWarning, match="ran out of data: this epoch had 1 of 2 batches"):
        history = model.fit(batches(), steps_per_epoch=2, epochs=5, verbose=0)
    assert len(history.history["loss"]) == 2


def test_shuffling_is_reproducible_and_changes_the_order() -> None:
    def run(seed: int, shuffle: bool) -> float:
        np.random.seed(seed)
        model = linear()
        model.fit(X, Y, batch_size=1, shuffle=shuffle, verbose=0)
        return weight_of(model)

    assert run(1, True) == run(1, True)
    assert len({run(seed, True) for seed in range(5)} | {run(0, False)}) > 2


@pytest.mark.parametrize("stride", [2, 5])
def test_batch_callbacks_fire_every_steps_per_execution_batches(stride: int) -> None:
    calls: list[tuple[str, int]] = []

    class Recorder(Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            calls.append(("begin", batch))

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            calls.append(("end", batch))

    model = linear(steps_per_execution=stride)
    model.fit(X, Y, batch_size=1, shuffle=False, callbacks=[Recorder()], verbose=0)
    weight, _ = train_by_hand(X, Y, batch=1, epochs=1)
    assert weight_of(model) == pytest.approx(weight, rel=1e-5)
    two = [("begin", 0), ("end", 1), ("begin", 2), ("end", 3), ("begin", 4), ("end", 4)]
    assert calls == (two if stride == 2 else [("begin", 0), ("end", 4)])


# Callbacks


def test_hooks_come_in_keras_order() -> None:
    calls: list[str] = []

    class Recorder(Callback):
        pass

    for name in [name for name in vars(Callback) if name.startswith("on_")]:
        if name not in ("on_batch_begin", "on_batch_end"):
            setattr(Recorder, name, lambda self, *a, _name=name, **k: calls.append(_name.removeprefix("on_")))
    linear().fit(X[:2], Y[:2], batch_size=1, validation_data=(X[:1], Y[:1]), callbacks=[Recorder()], verbose=0)
    batch = ["train_batch_begin", "train_batch_end"]
    validation = ["test_begin", "test_batch_begin", "test_batch_end", "test_end"]
    assert calls == ["train_begin", "epoch_begin", *batch, *batch, *validation, "epoch_end", "train_end"]


def test_logs_of_a_batch_are_running_values() -> None:
    seen: list[float] = []
    callback = LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(logs["loss"]))
    linear(optimizer=SGD(0.0)).fit(X, Y, batch_size=2, shuffle=False, callbacks=[callback], verbose=0)
    assert seen == pytest.approx([np.mean(Y[:2] ** 2), np.mean(Y[:4] ** 2), np.mean(Y**2)])


def test_metrics_start_anew_each_epoch() -> None:
    history = linear(optimizer=SGD(0.0), metrics=["mae"]).fit(X, Y, epochs=3, verbose=0)
    assert history.history["mae"] == pytest.approx([np.mean(np.abs(Y))] * 3)


def test_a_callback_may_edit_weights_between_steps() -> None:
    model = linear(optimizer=SGD(0.0))

    class Edit(Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.model.set_weights([np.full((1, 1), float(batch))])

    seen: list[float] = []
    values = LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(logs["loss"]))
    model.fit(np.ones(2), np.zeros(2), batch_size=1, callbacks=[Edit(), values], verbose=0)
    assert seen == [0.0, 0.5]


def test_a_callback_may_change_the_learning_rate() -> None:
    model = linear()
    callback = LambdaCallback(on_epoch_begin=lambda epoch, logs: setattr(model.optimizer, "learning_rate", 0.0))
    model.fit(X, Y, callbacks=[callback], verbose=0)
    assert weight_of(model) == 0.0


def test_a_callback_stops_training_in_the_middle_of_an_epoch() -> None:
    model = linear()
    steps: list[int] = []

    class Stop(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            steps.append(batch)
            self.model.stop_training = batch == 1

    history = model.fit(X, Y, batch_size=1, epochs=3, callbacks=[Stop()], verbose=0)
    assert steps == [0, 1]
    assert len(history.history["loss"]) == 1


def test_early_stopping_stops_and_restores() -> None:
    model = linear(weight=5 / 3, optimizer=SGD(1.5))
    stopper = EarlyStopping(monitor="loss", patience=2, restore_best_weights=True)
    history = model.fit(X, Y, epochs=20, callbacks=[stopper], verbose=0)
    assert len(history.history["loss"]) == 3
    assert stopper.best == history.history["loss"][0]


def test_callbacks_of_evaluate_and_predict() -> None:
    calls: list[Any] = []
    model = linear(weight=2.0)
    callback = LambdaCallback(
        on_test_batch_end=lambda batch, logs: calls.append(("test", batch, logs["loss"])),
        on_predict_batch_end=lambda batch, logs: calls.append(("predict", batch, logs["outputs"].tolist())),
    )
    model.evaluate(np.ones(2), np.zeros(2), batch_size=2, callbacks=[callback], verbose=0)
    model.predict(np.array([1.0, 3.0]), batch_size=1, callbacks=[callback], verbose=0)
    assert calls == [("test", 0, 4.0), ("predict", 0, [[2.0]]), ("predict", 1, [[6.0]])]


# Printing


def test_fit_prints_what_keras_prints(capsys: pytest.CaptureFixture[str]) -> None:
    model = linear(optimizer=SGD(0.0), metrics=["mae"])
    model.fit(X, Y, batch_size=2, epochs=2, validation_data=(X[:1], Y[:1]))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Epoch 1/2"
    assert lines[2] == "Epoch 2/2"
    start, _, values = lines[1].partition("step - ")
    assert start.startswith("3/3 " + "━" * 20 + " 0s ")
    loss, mae = np.mean(Y**2), np.mean(np.abs(Y))
    assert values == f"loss: {loss:.4f} - mae: {mae:.4f} - val_loss: 4.0000 - val_mae: 2.0000"
    assert len(lines) == 4


def test_evaluate_and_predict_print_one_bar(capsys: pytest.CaptureFixture[str]) -> None:
    model = linear()
    model.evaluate(X, Y, verbose=2)
    assert capsys.readouterr().out.startswith("1/1 - 0s - ")
    model.predict(X)
    assert capsys.readouterr().out.startswith("1/1 " + "━" * 20)
    model.predict(X, verbose=0)
    model.fit(X, Y, verbose=0)
    assert capsys.readouterr().out == ""


# Programs


def test_one_program_serves_every_batch_size_and_fit_and_evaluate_share_what_they_can() -> None:
    model = linear()
    for batch_size in (2, 3, 5):
        model.fit(X, Y, batch_size=batch_size, validation_data=(X, Y), verbose=0)
        model.evaluate(X, Y, batch_size=batch_size, verbose=0)
        model.predict(X, batch_size=batch_size, verbose=0)
    assert sorted(key[0] for key in model.training_session.programs) == ["predict", "test", "train"]


def test_another_dtype_or_weights_need_another_program_and_compile_forgets_all() -> None:
    model = linear()
    model.fit(X, Y, verbose=0)
    model.fit(np.ones(5, np.uint8), Y, verbose=0)
    model.fit(X, Y, sample_weight=np.ones(5), verbose=0)
    assert len(model.training_session.programs) == 3
    model.compile("sgd", "mse", jit=False)
    assert model.training_session.programs == {}


def test_the_step_is_one_graph_with_its_state_as_variables() -> None:
    model = linear(optimizer=Adam(), metrics=["mae"])
    model.fit(X, Y, verbose=0)
    graph = model.lower("train").traced.graph
    assert [entry.name for entry in graph.inputs] == ["rows", "x", "y"]
    assert [str(entry.value.type) for entry in graph.inputs] == ["i64[batch]", "f64[samples]", "f64[samples]"]
    assert graph.outputs == ()
    updated = [name for name, _ in graph.updates]
    for part in ("only/kernel", "loss/total", "loss/count", "mean_absolute_error/total", "/iteration"):
        assert sum(name.endswith(part) for name in updated) == 1, part
    assert sum("momentum" in name or "velocity" in name for name in updated) == 2


def test_integers_and_bytes_are_cast_in_the_graph() -> None:
    model = linear(weight=2.0)
    for dtype in (np.uint8, np.int64, np.float64, bool):
        prediction = model.predict(np.array([0, 1, 1]).astype(dtype), verbose=0)
        np.testing.assert_array_equal(prediction[:, 0], [0.0, 2.0, 2.0])


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_a_missing_or_extra_last_axis_of_one_is_mended(shape: tuple[int, ...]) -> None:
    assert linear().predict(np.zeros(shape), verbose=0).shape == (4, 1)


def test_trainable_is_read_at_compile() -> None:
    model = linear()
    model.layers[0].trainable = False
    model.fit(X, Y, verbose=0)
    changed = weight_of(model)
    assert changed != 0.0
    model.compile(SGD(RATE), "mse", jit=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, Y, verbose=0)
    assert weight_of(model) == changed


def test_an_unbuilt_model_is_built_by_the_first_batch() -> None:
    model = Sequential([Dense(1, kernel_initializer="zeros", use_bias=False)])
    model.compile(SGD(RATE), "mse", jit=False)
    model.fit(X[:, None], Y, batch_size=2, epochs=3, shuffle=False, verbose=0)
    assert weight_of(model) == pytest.approx(train_by_hand(X, Y, batch=2, epochs=3)[0], rel=1e-5)


def test_sequences_of_any_length_run_through_one_program() -> None:
    inputs = Input((None, 2))
    model = Model(inputs, ops.sum(inputs, axis=-1))
    model.compile(None, "mse", jit=False)
    for length in (3, 5):
        x = np.arange(4.0 * length).reshape(2, length, 2)
        assert model.evaluate(x, x.sum(-1), verbose=0) == 0.0
    assert len(model.training_session.programs) == 1


def test_shapes_that_keep_changing_are_warned_of_once() -> None:
    class Total(Model):
        def call(self, x: Any) -> Any:
            return ops.sum(x, axis=-1)

    model = Total()
    model.training_session.jit = False
    for length in range(1, 8):
        assert model.predict(np.ones((2, length)), verbose=0).tolist() == [length, length]
    with pytest.warns(UserWarning, match="8 different 'predict' programs were made"):
        model.predict(np.ones((2, 8)), verbose=0)
    model.predict(np.ones((2, 9)), verbose=0)


def test_a_seed_fixes_weights_order_and_dropout() -> None:
    def run(seed: int) -> list[Any]:
        set_random_seed(seed)
        model = Sequential([Input((4,)), Dropout(0.5), Dense(3, activation="softmax")])
        model.compile("adam", "sparse_categorical_crossentropy", jit=False)
        x = np.linspace(-1, 1, 80).reshape(20, 4)
        model.fit(x, np.arange(20) % 3, batch_size=8, epochs=2, verbose=0)
        return [weight.tobytes() for weight in model.get_weights()]

    assert run(1) == run(1)
    assert run(1) != run(2)


@pytest.mark.parametrize("kind", ["weights", "validation", "prediction"])
def test_compiled_training_equals_interpreted(kind: str) -> None:
    def run(jit: bool) -> list[Any]:
        set_random_seed(3)
        inputs = Input((6,))
        x = Dropout(0.25)(Dense(8, activation="relu", kernel_regularizer="l2")(inputs))
        outputs = {"kind": Dense(3, activation="softmax")(x), "size": Dense(1, activity_regularizer="l1")(x)}
        model = Model(inputs, outputs)
        model.compile(
            "adam",
            {"kind": "crossentropy", "size": "mae"},
            {"kind": 1.0, "size": 0.5},
            metrics={"kind": ["accuracy"]},
            weighted_metrics={"size": ["mse"]},
            jit=jit,
        )
        x, y = np.random.default_rng(0).normal(size=(37, 6)), {"kind": np.arange(37) % 3, "size": np.arange(37.0) / 37}
        history = model.fit(
            x, y, batch_size=8, epochs=2, sample_weight=np.linspace(0, 2, 37), validation_data=(x, y), verbose=0
        )
        results = {
            "weights": model.get_weights(),
            "validation": list(history.history.values()),
            "prediction": [model.predict(x, batch_size=10, verbose=0)[key] for key in outputs],
        }
        return results[kind]

    for compiled, interpreted in zip(run(True), run(False), strict=True):
        np.testing.assert_allclose(compiled, interpreted, rtol=1e-4, atol=1e-6)
