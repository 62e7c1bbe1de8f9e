"""Each callback by itself, against logs and models made by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphcore import callbacks
from graphcore.callbacks.callback_list import pythonify


class Optimizer:
    learning_rate = 0.1


class Metric:
    def __init__(self, name: str, direction: str | None) -> None:
        self.name = name
        self._direction = direction


class Bundle:
    name = "compile_metrics"

    def __init__(self, *metrics: Metric) -> None:
        self.metrics = list(metrics)


class Model:
    """As much of a model as callbacks touch; its only weight is the number of the epoch."""

    def __init__(self) -> None:
        self.optimizer = Optimizer()
        self.metrics = [Metric("loss", "down"), Bundle(Metric("accuracy", "up"), Metric("odd", None))]
        self.stop_training = False
        self.weights = [np.zeros(1)]
        self.saved: list[str] = []
        self.history: Any = None

    def get_weights(self) -> list[np.ndarray[Any, Any]]:
        return [weight.copy() for weight in self.weights]

    def set_weights(self, weights: list[np.ndarray[Any, Any]]) -> None:
        self.weights = weights

    def save_weights(self, path: str, overwrite: bool = True) -> None:
        self.saved.append(path)


def train(callback: callbacks.Callback, logs: list[dict[str, float]], model: Model | None = None) -> Model:
    """Play the epochs of `logs`; the model's weight is the epoch's number while it runs."""
    model = model or Model()
    every = callbacks.CallbackList(callback, model=model, verbose=0, epochs=len(logs), steps=1)
    every.on_train_begin()
    model.stop_training = False
    for epoch, values in enumerate(logs):
        every.on_epoch_begin(epoch)
        model.weights = [np.array([float(epoch)])]
        every.on_epoch_end(epoch, values)
        if model.stop_training:
            break
    every.on_train_end()
    return model


def losses(*values: float) -> list[dict[str, float]]:
    return [{"val_loss": value} for value in values]


# EarlyStopping


def stopped_after(callback: callbacks.EarlyStopping, logs: list[dict[str, float]]) -> int:
    """Number of epochs run."""
    return int(train(callback, logs).weights[0][0]) + 1


def test_early_stopping_has_patience_zero_but_never_stops_after_the_first_epoch() -> None:
    assert stopped_after(callbacks.EarlyStopping(), losses(1, 1, 1)) == 2
    assert stopped_after(callbacks.EarlyStopping(), losses(3, 2, 1)) == 3


def test_early_stopping_counts_epochs_since_the_best() -> None:
    assert stopped_after(callbacks.EarlyStopping(patience=2), losses(1, 2, 0.5, 2, 2, 2)) == 5


def test_early_stopping_with_min_delta_ignores_small_improvements() -> None:
    assert stopped_after(callbacks.EarlyStopping(patience=2, min_delta=0.1), losses(1, 0.95, 0.91, 0.5)) == 3
    assert stopped_after(callbacks.EarlyStopping(patience=2, min_delta=-0.1), losses(1, 0.95, 0.8, 0.8)) == 4


def test_early_stopping_restores_the_best_weights_also_without_a_stop() -> None:
    model = train(callbacks.EarlyStopping(patience=9, restore_best_weights=True), losses(3, 1, 2))
    assert model.weights[0][0] == 1
    assert not model.stop_training


def test_early_stopping_with_a_baseline_waits_until_it_is_beaten() -> None:
    assert stopped_after(callbacks.EarlyStopping(patience=2, baseline=0.5), losses(3, 2, 1, 0.9)) == 4
    assert stopped_after(callbacks.EarlyStopping(patience=3, baseline=0.5), losses(3, 0.4, 1, 1, 1, 1)) == 5


def test_early_stopping_starts_late() -> None:
    assert stopped_after(callbacks.EarlyStopping(start_from_epoch=3), losses(1, 2, 3, 4, 5, 6)) == 5


def test_early_stopping_reads_the_direction_from_the_metric() -> None:
    stopper = callbacks.EarlyStopping(monitor="val_accuracy")
    assert stopped_after(stopper, [{"val_accuracy": v} for v in (0.1, 0.5, 0.4, 0.9)]) == 3


@pytest.mark.parametrize("monitor", ["val_odd", "val_unknown"])
def test_early_stopping_needs_a_direction(monitor: str) -> None:
    with pytest.raises(ValueError, match="isn't able to automatically determine"):
        train(callbacks.EarlyStopping(monitor=monitor), [{monitor: 1.0}])


def test_early_stopping_warns_of_a_missing_value_and_goes_on() -> None:
    with pytest.warns(UserWarning, match="monitors `val_loss`, which is not logged. Logged are: loss"):
        model = train(callbacks.EarlyStopping(), [{"loss": 1.0}])
    assert not model.stop_training


def test_early_stopping_messages(capsys: pytest.CaptureFixture[str]) -> None:
    train(callbacks.EarlyStopping(patience=1, verbose=1, restore_best_weights=True), losses(1, 2))
    assert capsys.readouterr().out == (
        "Epoch 2: early stopping\nRestoring model weights from the end of the best epoch: 1.\n"
    )


def test_an_early_stopping_can_be_used_again() -> None:
    stopper = callbacks.EarlyStopping(patience=1)
    train(stopper, losses(1, 2))
    assert stopped_after(stopper, losses(9, 8, 8)) == 3


def test_unknown_mode_warns_and_is_auto() -> None:
    with pytest.warns(UserWarning, match="mode 'largest' is unknown"):
        assert callbacks.EarlyStopping(mode="largest").mode == "auto"


# ReduceLROnPlateau and LearningRateScheduler


def test_reduce_on_plateau_lowers_the_rate_and_logs_the_one_used() -> None:
    reducer = callbacks.ReduceLROnPlateau(factor=0.5, patience=2)
    logs = losses(1, 1, 1, 1, 1)
    history = callbacks.History()
    model = Model()
    every = callbacks.CallbackList([reducer, history], model=model, verbose=0, epochs=5, steps=1)
    every.on_train_begin()
    for epoch, values in enumerate(logs):
        every.on_epoch_end(epoch, values)
    assert model.optimizer.learning_rate == pytest.approx(0.1 * 0.25)
    assert history.history["learning_rate"] == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.05])


def test_reduce_on_plateau_counts_changes_up_to_min_delta_as_none() -> None:
    model = train(callbacks.ReduceLROnPlateau(factor=0.5, patience=1), losses(1, 1 - 0.9e-4))
    assert model.optimizer.learning_rate == pytest.approx(0.05)
    model = train(callbacks.ReduceLROnPlateau(factor=0.5, patience=1), losses(1, 1 - 1.1e-4))
    assert model.optimizer.learning_rate == pytest.approx(0.1)


def test_reduce_on_plateau_cools_down() -> None:
    model = train(callbacks.ReduceLROnPlateau(factor=0.5, patience=1, cooldown=2), losses(1, 1, 1, 1))
    assert model.optimizer.learning_rate == pytest.approx(0.025)
    model = train(callbacks.ReduceLROnPlateau(factor=0.5, patience=1, cooldown=3), losses(1, 1, 1, 1))
    assert model.optimizer.learning_rate == pytest.approx(0.05)


def test_reduce_on_plateau_stops_at_the_minimum() -> None:
    model = train(callbacks.ReduceLROnPlateau(factor=0.1, patience=1, min_lr=0.05), losses(1, 1, 1, 1))
    assert model.optimizer.learning_rate == pytest.approx(0.05)


def test_reduce_on_plateau_needs_a_factor_below_one() -> None:
    with pytest.raises(ValueError, match=r"factor below 1\. Received: factor=1\.0"):
        callbacks.ReduceLROnPlateau(factor=1.0)


def test_scheduler_passes_epoch_and_rate() -> None:
    model = train(callbacks.LearningRateScheduler(lambda epoch, rate: rate / (epoch + 1)), losses(1, 1, 1))
    assert model.optimizer.learning_rate == pytest.approx(0.1 / 6)


def test_scheduler_accepts_a_function_of_the_epoch() -> None:
    model = train(callbacks.LearningRateScheduler(lambda epoch: 0.5 + epoch), losses(1, 1))
    assert model.optimizer.learning_rate == 1.5


def test_scheduler_does_not_hide_a_type_error_of_the_function() -> None:
    def schedule(epoch: int, rate: float) -> float:
        raise TypeError("inside")

    with pytest.raises(TypeError, match="inside"):
        train(callbacks.LearningRateScheduler(schedule), losses(1))


def test_scheduler_must_return_a_float() -> None:
    with pytest.raises(ValueError, match=r"must return a float\. Received for epoch 0: 1 of type int"):
        train(callbacks.LearningRateScheduler(lambda epoch: 1), losses(1))


# ModelCheckpoint


def test_checkpoint_names_count_epochs_from_one(tmp_path: Path) -> None:
    path = str(tmp_path / "new" / "{epoch:02d}-{val_loss:.2f}.weights.h5")
    model = train(callbacks.ModelCheckpoint(path, save_weights_only=True), losses(1, 0.5))
    assert [Path(saved).name for saved in model.saved] == ["01-1.00.weights.h5", "02-0.50.weights.h5"]
    assert (tmp_path / "new").is_dir()


def test_checkpoint_of_the_best_only(tmp_path: Path) -> None:
    path = str(tmp_path / "{epoch}.weights.h5")
    model = train(callbacks.ModelCheckpoint(path, save_weights_only=True, save_best_only=True), losses(1, 2, 0.5, 0.5))
    assert [Path(saved).name for saved in model.saved] == ["1.weights.h5", "3.weights.h5"]


def test_checkpoint_with_a_value_to_beat_at_first(tmp_path: Path) -> None:
    checkpoint = callbacks.ModelCheckpoint(
        tmp_path / "{epoch}.weights.h5",
        save_weights_only=True,
        save_best_only=True,
        initial_value_threshold=0.7,
    )
    assert [Path(saved).name for saved in train(checkpoint, losses(1, 0.6)).saved] == ["2.weights.h5"]


def test_checkpoint_saves_and_warns_when_the_value_is_missing(tmp_path: Path) -> None:
    checkpoint = callbacks.ModelCheckpoint(
        tmp_path / "w.weights.h5", monitor="val_loss", save_weights_only=True, save_best_only=True
    )
    with pytest.warns(UserWarning, match="`val_loss` is not logged"):
        assert len(train(checkpoint, [{"loss": 1.0}]).saved) == 1


def test_checkpoint_by_batches_counts_across_epochs(tmp_path: Path) -> None:
    checkpoint = callbacks.ModelCheckpoint(tmp_path / "{epoch}-{batch}.weights.h5", save_weights_only=True, save_freq=3)
    model = Model()
    every = callbacks.CallbackList(checkpoint, model=model, verbose=0, epochs=2, steps=4)
    for epoch in range(2):
        every.on_epoch_begin(epoch)
        for batch in range(4):
            every.on_train_batch_end(batch, {})
        every.on_epoch_end(epoch, {})
    assert [Path(saved).name for saved in model.saved] == ["1-3.weights.h5", "2-2.weights.h5"]


def test_checkpoint_refuses_before_training_what_it_cannot_save(tmp_path: Path) -> None:
    with pytest.raises(NotImplementedError, match="pass save_weights_only=True"):
        train(callbacks.ModelCheckpoint(tmp_path / "model.keras"), losses(1))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"filepath": "a.keras", "save_weights_only": True}, "must end in '.weights.h5'"),
        ({"filepath": "a.ckpt"}, "must end in '.keras'"),
        ({"filepath": "a.h5"}, "must end in '.keras'"),
        ({"filepath": "a.weights.h5"}, "pass save_weights_only=True"),
        ({"filepath": "a.keras", "save_freq": "batch"}, "`save_freq` must be 'epoch' or a positive number"),
        ({"filepath": "a.keras", "save_freq": 0}, "`save_freq` must be 'epoch' or a positive number"),
    ],
)
def test_checkpoint_arguments(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        callbacks.ModelCheckpoint(**kwargs)


def test_checkpoint_names_the_missing_name(tmp_path: Path) -> None:
    checkpoint = callbacks.ModelCheckpoint(tmp_path / "{mape}.weights.h5", save_weights_only=True)
    with pytest.raises(KeyError, match=r"mape.*Available: epoch, val_loss"):
        train(checkpoint, losses(1))


def test_checkpoint_refuses_a_folder(tmp_path: Path) -> None:
    (tmp_path / "w.weights.h5").mkdir()
    with pytest.raises(OSError, match="a folder"):
        train(callbacks.ModelCheckpoint(tmp_path / "w.weights.h5", save_weights_only=True), losses(1))


# CSVLogger


def test_csv_has_sorted_columns_and_empty_validation_columns(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    train(callbacks.CSVLogger(path), [{"loss": 1.0, "accuracy": 0.5}, {"loss": 0.5, "accuracy": 0.75}])
    assert path.read_bytes() == (
        b"epoch,accuracy,loss,val_accuracy,val_loss\r\n0,0.5,1.0,NA,NA\r\n1,0.75,0.5,NA,NA\r\n"
    )


def test_csv_arrays_of_no_axes_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    train(callbacks.CSVLogger(path), [{"loss": np.array(1.5), "val_loss": np.array([1.0, 2.0])}])
    assert path.read_bytes() == b'epoch,loss,val_loss\r\n0,1.5,"""[1.0, 2.0]"""\r\n'


def test_csv_appends_without_a_second_header(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    logs = [{"loss": 1.0, "val_loss": 2.0}]
    train(callbacks.CSVLogger(path, separator=";"), logs)
    train(callbacks.CSVLogger(path, separator=";", append=True), logs)
    assert path.read_text() == "epoch;loss;val_loss\n0;1.0;2.0\n0;1.0;2.0\n"
    train(callbacks.CSVLogger(path), logs)
    assert path.read_text() == "epoch,loss,val_loss\n0,1.0,2.0\n"


# TerminateOnNaN


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_terminate_on_nan_stops_at_the_batch(loss: float, capsys: pytest.CaptureFixture[str]) -> None:
    model = Model()
    every = callbacks.CallbackList(callbacks.TerminateOnNaN(), model=model)
    every.on_train_batch_end(0, {"loss": 1.0})
    assert not model.stop_training
    every.on_train_batch_end(1, {"loss": loss})
    assert model.stop_training
    assert capsys.readouterr().out == "Batch 1: Invalid loss, terminating training\n"


def test_terminate_on_nan_can_raise() -> None:
    with pytest.raises(RuntimeError, match="The loss is nan at batch 4"):
        callbacks.TerminateOnNaN(raise_error=True).on_train_batch_end(4, {"loss": math.nan})


# LambdaCallback, History, CallbackList


def test_lambda_callback_calls_the_functions() -> None:
    seen: list[object] = []
    callback = callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append((epoch, logs["loss"])),
        on_train_end=lambda logs: seen.append("end"),
        on_test_begin=lambda logs: seen.append("test"),
    )
    every = callbacks.CallbackList(callback)
    every.on_epoch_end(3, {"loss": 2.0})
    every.on_test_begin()
    every.on_train_end()
    assert seen == [(3, 2.0), "test", "end"]


def test_lambda_callback_refuses_unknown_hooks() -> None:
    with pytest.raises(ValueError, match="no hook 'on_epoch_finished'"):
        callbacks.LambdaCallback(on_epoch_finished=print)


def test_batch_hooks_have_two_names() -> None:
    calls: list[str] = []

    class Old(callbacks.Callback):
        def on_batch_begin(self, batch: int, logs: Any = None) -> None:
            calls.append(f"begin {batch}")

        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            calls.append(f"end {batch}")

    every = callbacks.CallbackList([Old(), callbacks.Callback()])
    every.on_train_batch_begin(1)
    every.on_train_batch_end(1, {})
    assert calls == ["begin 1", "end 1"]


def test_logs_of_a_batch_are_made_once_and_only_if_somebody_reads_them() -> None:
    made: list[int] = []

    def logs() -> dict[str, float]:
        made.append(1)
        return {"loss": 1.0}

    callbacks.CallbackList([callbacks.Callback(), callbacks.EarlyStopping()]).on_train_batch_end(0, logs)
    assert made == []
    seen: list[Any] = []
    reader = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(logs))
    callbacks.CallbackList([reader, reader]).on_train_batch_end(0, logs)
    assert made == [1]
    assert seen == [{"loss": 1.0}, {"loss": 1.0}]


def test_logs_are_sorted_python_floats_with_nested_ones_merged() -> None:
    logs = pythonify({"loss": np.float32(1.5), "b": {"z": np.array(2), "a": 1}, "f1": np.array([1.0, 2.0])})
    assert list(logs) == ["z", "a", "f1", "loss"] or list(logs) == ["a", "z", "f1", "loss"]
    assert type(logs["loss"]) is float
    assert type(logs["z"]) is float
    assert isinstance(logs["f1"], np.ndarray)


def test_defaults_come_after_the_users_callbacks_unless_given() -> None:
    early, history = callbacks.EarlyStopping(), callbacks.History()
    every = callbacks.CallbackList([early], add_history=True, add_progbar=True)
    assert [type(c).__name__ for c in every.callbacks] == ["EarlyStopping", "History", "ProgbarLogger"]
    assert callbacks.CallbackList([history], add_history=True).callbacks == [history]


def test_history_is_kept_by_the_model() -> None:
    model = Model()
    every = callbacks.CallbackList(None, add_history=True, model=model, verbose=0, epochs=2, steps=3)
    every.on_train_begin()
    every.on_epoch_end(4, {"loss": np.float32(0.5)})
    assert model.history.history == {"loss": [0.5]}
    assert model.history.epoch == [4]
    assert model.history.params == {"verbose": 0, "epochs": 2, "steps": 3}


def test_a_class_instead_of_an_instance_is_refused() -> None:
    with pytest.raises(ValueError, match=r"call it: EarlyStopping\(\)"):
        callbacks.CallbackList([callbacks.EarlyStopping])
