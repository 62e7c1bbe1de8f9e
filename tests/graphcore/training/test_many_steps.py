"""Many batches in one native call: the same bits however many, the hooks that callbacks ask for, what is copied."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from graphcore import config, ops
from graphcore.callbacks import Callback, LambdaCallback, ModelCheckpoint, ProgbarLogger, TerminateOnNaN
from graphcore.callbacks.callback_list import CallbackList
from graphcore.layers import BatchNormalization, Dense, Dropout, Input, Rescaling
from graphcore.models import Model, Sequential
from graphcore.training import pace as pace_module
from graphcore.training.pace import Pace
from graphcore.training.program import StepProgram
from graphcore.utils import set_random_seed

RNG = np.random.default_rng(7)
SAMPLES = 203
X = RNG.integers(0, 256, (SAMPLES, 4, 3)).astype(np.uint8)
Y = RNG.integers(0, 3, SAMPLES)
WEIGHTS = RNG.uniform(0.5, 2.0, SAMPLES)


def classifier(**options: Any) -> Model:
    """Everything that keeps state from step to step: statistics, random bits, moments, metrics."""
    set_random_seed(3)
    hidden = [Rescaling(1 / 255), Dense(8, "relu"), BatchNormalization(), Dropout(0.3)]
    model = Sequential([Input((4, 3)), *hidden, Head()])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], **options)
    return model


class Head(Dense):
    """Class probabilities from the mean over the first axis of a sample."""

    def __init__(self, **options: Any) -> None:
        super().__init__(3, activation="softmax", **options)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return super().call(ops.mean(inputs, axis=1))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Steps of each native call so far."""
    made: list[int] = []
    original = StepProgram.run_stretch

    def counting(self: StepProgram, stretch: Any, *arguments: Any) -> Any:
        made.append(stretch.steps)
        return original(self, stretch, *arguments)

    monkeypatch.setattr(StepProgram, "run_stretch", counting)
    return made


@pytest.fixture
def slow_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """No call ever takes so long that it would be made shorter."""
    monkeypatch.setattr(pace_module, "SECONDS_PER_CALL", 1e9)


def everything(model: Model) -> list[np.ndarray[Any, Any]]:
    variables = [*model.variables, *model.optimizer.variables, *(v for m in model.metrics for v in m.variables)]
    return [variable.numpy().copy() for variable in variables]


@pytest.mark.parametrize("shuffle", [True, False, "batch"])
def test_training_gives_the_same_bits_however_many_steps_a_call_runs(
    shuffle: bool | str, calls: list[int], slow_clock: None
) -> None:
    def train(steps: int | str, callbacks: list[Callback], threads: int) -> tuple[Any, Any]:
        config.set_num_threads(threads)
        model = classifier(steps_per_execution=steps)
        history = model.fit(
            X, Y, batch_size=16, epochs=3, shuffle=shuffle, sample_weight=WEIGHTS, validation_split=0.2,
            callbacks=callbacks, verbose=0,
        )  # fmt: skip
        return history.history, everything(model)

    before = config.get_num_threads()
    try:
        expected_history, expected = train(1, [], 1)
        assert set(calls) == {1}
        for steps, threads in ((3, 1), (100, 1), ("auto", 1), (4, 2), ("auto", 2)):
            calls.clear()
            history, state = train(steps, [], threads)
            assert max(calls) > 1
            assert history == expected_history
            for array, other in zip(state, expected, strict=True):
                np.testing.assert_array_equal(array, other)
    finally:
        config.set_num_threads(before)


def test_evaluation_and_prediction_give_the_same_bits(calls: list[int], slow_clock: None) -> None:
    model = classifier()
    model.fit(X, Y, verbose=0)
    weights = model.get_weights()
    results = {}
    for steps in (1, 5, "auto"):
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], steps_per_execution=steps)
        calls.clear()
        evaluation = model.evaluate(X, Y, batch_size=10, sample_weight=WEIGHTS, verbose=0)
        results[steps] = (evaluation, model.predict(X, batch_size=10, verbose=0))
        assert (max(calls) > 1) == (steps != 1)
    model.set_weights(weights)
    by_batches = np.concatenate([model.predict_on_batch(X[i : i + 10]) for i in range(0, SAMPLES, 10)])
    for evaluation, prediction in results.values():
        assert evaluation == results[1][0]
        np.testing.assert_array_equal(prediction, by_batches)


def test_predictions_of_several_outputs_keep_their_structure(calls: list[int], slow_clock: None) -> None:
    x = Input((5,))
    model = Model(x, {"sum": ops.sum(x, axis=1), "twice": [2 * x]})
    data = RNG.normal(size=(23, 5))
    prediction = model.predict(data, batch_size=3, verbose=0)
    assert max(calls) > 1
    np.testing.assert_allclose(prediction["sum"], data.sum(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(prediction["twice"][0], 2 * data.astype(np.float32))
    short = model.predict(data, batch_size=3, steps=2, verbose=0)
    np.testing.assert_array_equal(short["twice"][0], prediction["twice"][0][:6])


class Doubled(Model):
    """Predicts two rows for each sample, so that the size of the result does not follow from the samples."""

    def call(self, inputs: Any) -> Any:
        return ops.concatenate([inputs, inputs + 1], axis=0)


def test_predictions_with_another_number_of_rows_are_joined_batch_by_batch() -> None:
    data = np.arange(5.0, dtype=np.float32)[:, None]
    prediction = Doubled().predict(data, batch_size=2, verbose=0)
    assert prediction[:, 0].tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]


def test_hooks_of_prediction_get_the_outputs_of_their_batches(slow_clock: None) -> None:
    seen: list[tuple[int, list[float]]] = []
    callback = LambdaCallback(
        on_predict_batch_end=lambda batch, logs: seen.append((batch, logs["outputs"][:, 0].tolist()))
    )
    x = Input((1,))
    model = Model(x, x + 1)
    data = np.arange(7.0)[:, None]
    expected = [(0, [1, 2]), (1, [3, 4]), (2, [5, 6]), (3, [7])]
    model.predict(data, batch_size=2, callbacks=[callback], verbose=0)
    assert seen == expected
    seen.clear()
    model.compile(steps_per_execution=2)
    model.predict(data, batch_size=2, callbacks=[callback], verbose=0)
    assert seen == [(1, [1, 2, 3, 4]), (3, [5, 6, 7])]


# What callbacks ask for


class EpochLogger(Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Hears of epochs only."""


class OwnBar(ProgbarLogger):
    pass


@pytest.mark.parametrize(
    ("make", "needs"),
    [
        (EpochLogger, False),
        (ProgbarLogger, False),
        (lambda: ModelCheckpoint("model.keras"), False),
        (lambda: ModelCheckpoint("model.keras", save_freq=10), True),
        (TerminateOnNaN, True),
        (OwnBar, True),
        (lambda: LambdaCallback(on_train_batch_begin=print), True),
        (lambda: LambdaCallback(on_test_batch_end=print), False),
    ],
)
def test_which_callbacks_need_every_batch(make: Callable[[], Callback], needs: bool) -> None:
    assert CallbackList([make()]).needs_every_batch("train") is needs


@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_a_callback_hears_of_every_batch_by_default(method: str, calls: list[int], slow_clock: None) -> None:
    kind = {"fit": "train", "evaluate": "test", "predict": "predict"}[method]
    seen: list[int] = []
    callback = LambdaCallback(**{f"on_{kind}_batch_end": lambda batch, logs: seen.append(batch)})  # type: ignore[arg-type]
    data = (X,) if method == "predict" else (X, Y)
    getattr(classifier(), method)(*data, batch_size=50, callbacks=[callback], verbose=0)
    assert seen == [0, 1, 2, 3, 4]
    assert calls == [1] * 5


def test_a_stride_is_kept_even_where_a_call_is_shorter(calls: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace_module, "SECONDS_PER_CALL", 0.0)  # one step a call
    seen: list[int] = []
    callback = LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    classifier(steps_per_execution=3).fit(X, Y, batch_size=25, callbacks=[callback], verbose=0)  # 9 batches
    assert seen == [2, 5, 8]
    assert calls == [1] * 9


def test_a_bar_is_drawn_from_the_last_batch_of_each_call(
    slow_clock: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("graphcore.training.progress_bar.can_redraw", lambda: True)
    monkeypatch.setattr("graphcore.training.progress_bar.Progbar.is_due", lambda self: True)
    classifier().fit(X, Y, batch_size=10, verbose=1)  # calls of 1, 4, 15 and the smaller batch
    drawn = capsys.readouterr().out
    assert "21/21" in drawn
    assert "loss: " in drawn


def test_a_stop_takes_effect_at_the_end_of_a_call(calls: list[int], slow_clock: None) -> None:
    class Stop(ProgbarLogger):
        def needs_every_batch(self) -> bool:
            return False

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.stop_training = batch >= 4

    classifier().fit(X, Y, batch_size=10, epochs=5, callbacks=[Stop()], verbose=0)
    assert calls == [1, 4]


# The pace


def test_calls_grow_while_they_are_short() -> None:
    pace = Pace()
    steps = []
    for _ in range(6):
        steps.append(pace.most(0))
        pace.record(steps[-1], steps[-1] * 1e-3)
    assert steps == [1, 4, 16, 40, 40, 40]
    pace.record(40, 4.0)  # the machine is busy: 100 milliseconds a step
    assert pace.most(0) == 1
    pace.record(1, 1e-6)
    assert pace.most(0) == 4


def test_a_stride_bounds_calls_and_sets_where_hooks_are_called() -> None:
    pace = Pace(5)
    pace.record(1, 1e-9)
    assert [pace.most(done) for done in range(6)] == [4, 4, 3, 2, 1, 4]
    assert [done for done in range(12) if pace.is_boundary(done)] == [0, 5, 10]
    assert all(Pace().is_boundary(done) for done in range(5))


# What data reach a program


def test_bytes_are_trained_on_as_they_are(calls: list[int], slow_clock: None) -> None:
    model = classifier()
    model.fit(X, Y, batch_size=16, shuffle=True, verbose=0)
    inputs = {entry.name: entry.value.type for entry in model.lower("train").traced.graph.inputs}
    assert {name: str(type_) for name, type_ in inputs.items()} == {
        "rows": "i64[batch]",
        "x": "u8[samples,4,3]",
        "y": "i64[samples]",
    }
    assert calls == [1, 4, 7, 1]
    same = classifier()
    same.fit(X.astype(np.float32), Y, batch_size=16, shuffle=True, verbose=0)
    for array, other in zip(model.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_array_equal(array, other)


def test_no_copy_of_the_data_is_made() -> None:
    import tracemalloc

    x = np.zeros((4000, 500), np.uint8)  # 2 MB; as floats 8 MB
    y = np.zeros(4000)
    model = Sequential([Input((500,)), Dense(1)])
    model.compile("sgd", "mse")
    for shuffle in (True, False):
        model.fit(x[:64], y[:64], shuffle=shuffle, verbose=0)
    model.evaluate(x[:64], y[:64], verbose=0)
    model.predict(x[:64], verbose=0)
    tracemalloc.start()
    try:
        for shuffle in (True, False, "batch"):
            model.fit(x, y, shuffle=shuffle, verbose=0)
        model.evaluate(x, y, verbose=0)
        model.predict(x, verbose=0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000, peak  # batches, the order of the rows, predictions


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "uint16", "int32", "int64", "bool"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_type_is_cast_in_the_program_as_numpy_casts_it(dtype: str, shuffle: bool) -> None:
    x = RNG.integers(0, 2, (40, 3)).astype(dtype) if dtype == "bool" else (RNG.normal(size=(40, 3)) * 50).astype(dtype)
    y = x.astype(np.float64) @ np.ones((3, 1))

    def trained(inputs: Any, targets: Any) -> Any:
        set_random_seed(1)
        model = Sequential([Input((3,)), Dense(1, kernel_initializer="ones")])
        model.compile("sgd", "mae")
        history = model.fit(inputs, targets, batch_size=7, shuffle=shuffle, epochs=2, verbose=0)
        return history.history["loss"], model.predict(inputs, verbose=0), model.get_weights()[0]

    loss, prediction, weights = trained(x, y)
    expected = trained(x.astype(np.float32), y.astype(np.float32))
    np.testing.assert_allclose(loss, expected[0], rtol=1e-6)
    np.testing.assert_allclose(prediction, expected[1], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(weights, expected[2], rtol=1e-6)


def test_data_that_change_between_epochs_are_seen() -> None:
    x, y = np.zeros((40, 1), np.float32), np.ones(40, np.float32)

    def fill(epoch: int, logs: Any) -> None:
        x[...] = epoch

    model = Sequential([Input((1,)), Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile("sgd", "mse")
    model.fit(x, y, epochs=1, callbacks=[LambdaCallback(on_epoch_begin=fill)], verbose=0)
    assert model.get_weights()[0] == 0
    model.fit(x, y, epochs=2, callbacks=[LambdaCallback(on_epoch_begin=fill)], verbose=0)
    assert model.get_weights()[0] > 0


def test_generators_keep_their_batches_and_their_stride(calls: list[int]) -> None:
    def batches() -> Iterator[Any]:
        for start in range(0, SAMPLES, 29):
            yield X[start : start + 29], Y[start : start + 29]

    seen: list[int] = []
    callback = LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    by_batch, by_array = classifier(steps_per_execution=3), classifier()
    by_batch.fit(batches(), callbacks=[callback], verbose=0)
    by_array.fit(X, Y, batch_size=29, shuffle=False, verbose=0)
    assert seen == [2, 5, 6]
    for array, other in zip(by_batch.get_weights(), by_array.get_weights(), strict=True):
        np.testing.assert_array_equal(array, other)


def test_a_profile_of_a_program_that_takes_rows_by_number_takes_a_batch() -> None:
    from graphcore.training.data.arrays import Batch

    model = classifier()
    model.fit(X, Y, verbose=0)
    before = everything(model)
    model.lower("train").step.measure(Batch(X[:32], Y[:32]), runs=2)
    for array, other in zip(everything(model), before, strict=True):
        np.testing.assert_array_equal(array, other)


def test_the_bar_shows_when_output_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert not sys.stdout.isatty()
    classifier().fit(X, Y, batch_size=16, verbose=1)
    assert "13/13" in capsys.readouterr().out


@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_of_every_size_follow_the_interpreter(shuffle: bool) -> None:
    def trained(jit: bool) -> list[np.ndarray[Any, Any]]:
        set_random_seed(2)
        model = Sequential([Input((4, 3)), Rescaling(1 / 255), Dense(8, "relu"), Head()])
        model.compile("sgd", "sparse_categorical_crossentropy", jit=jit)
        for batch_size in (32, 50):  # the last batches have 11 and 3 samples
            model.fit(X, Y, batch_size=batch_size, shuffle=shuffle, verbose=0)
        return [weight.copy() for weight in model.get_weights()]

    for compiled, interpreted in zip(trained(True), trained(False), strict=True):
        np.testing.assert_allclose(compiled, interpreted, atol=2e-6)


@pytest.mark.parametrize("shuffle", [True, False])
def test_several_inputs_outputs_and_weights_of_different_types_meet_their_places(shuffle: bool) -> None:
    x = {"b": RNG.integers(0, 200, (40, 2)).astype(np.uint8), "a": RNG.normal(size=(40, 3))}
    y = [RNG.normal(size=(40, 1)), RNG.integers(0, 3, 40).astype(np.int16)]
    weights = [RNG.uniform(size=40), RNG.integers(1, 4, 40)]

    def compiled() -> Model:
        set_random_seed(4)
        a, b = Input((3,), name="a"), Input((2,), name="b")
        features = ops.concatenate([a, Rescaling(1 / 200)(b)], axis=1)
        model = Model({"a": a, "b": b}, [Dense(1)(features), Dense(3, "softmax")(features)])
        model.compile("sgd", ["mse", "sparse_categorical_crossentropy"])
        return model

    by_fit, by_batch = compiled(), compiled()
    # One batch of all samples: the order does not matter.
    by_fit.fit(x, y, sample_weight=weights, batch_size=40, epochs=3, shuffle=shuffle, verbose=0)
    for _ in range(3):
        by_batch.train_on_batch(x, y, sample_weight=weights)
    for array, other in zip(by_fit.get_weights(), by_batch.get_weights(), strict=True):
        np.testing.assert_allclose(array, other, atol=1e-6)
