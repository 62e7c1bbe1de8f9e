"""The loops over epochs and batches: what runs when, and which callbacks hear of it."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

from graphcore.callbacks.callback import Logs
from graphcore.callbacks.callback_list import CallbackList
from graphcore.training.checks import check_batch
from graphcore.training.data.arrays import Array
from graphcore.training.data.epochs import EpochIterator
from graphcore.training.data.stretch import Stretch
from graphcore.training.pace import Pace
from graphcore.training.predictions import Predictions
from graphcore.training.program import StepProgram

if TYPE_CHECKING:
    from graphcore.training.trainer import Trainer


@dataclasses.dataclass(frozen=True)
class Validation:
    """When and on what to validate.

    Attributes:
        data: the batches.
        frequency: every so many epochs, or the epochs (counted from 1) after which to validate.
    """

    data: EpochIterator
    frequency: int | list[int] = 1

    def is_due(self, epoch: int) -> bool:
        """Whether to validate after this epoch, counted from 0."""
        if isinstance(self.frequency, int):
            return (epoch + 1) % self.frequency == 0
        return epoch + 1 in self.frequency


def fit_loop(
    model: Trainer,
    data: EpochIterator,
    validation: Validation | None,
    callbacks: CallbackList,
    initial_epoch: int,
    epochs: int,
) -> None:
    """Train for the epochs from `initial_epoch` up to `epochs`."""
    session = model.training_session
    model.stop_training = False
    logs: Logs = {}
    pace, validation_pace = _pace(model, "train", callbacks), _pace(model, "test", callbacks)
    callbacks.on_train_begin()
    for epoch in range(initial_epoch, epochs):
        model.reset_metrics()
        callbacks.on_epoch_begin(epoch)
        steps, results = _run_epoch(model, "train", data, callbacks, pace)
        if steps == 0:
            break  # the data are used up; EpochIterator has warned
        logs = session.final_logs(model, "train", results)
        if validation is not None and validation.is_due(epoch):
            values = evaluate_loop(model, validation.data, callbacks, validation_pace)
            logs = logs | {f"val_{name}": value for name, value in values.items()}
        callbacks.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    if model.optimizer is not None and epochs > initial_epoch:
        model.optimizer.finalize_variable_values(session.trainable or [])
    callbacks.on_train_end(logs)


def evaluate_loop(
    model: Trainer, data: EpochIterator, callbacks: CallbackList, pace: Pace | None = None
) -> Logs:
    """Loss and metrics over all batches."""
    pace = pace or _pace(model, "test", callbacks)
    model.stop_evaluating = False
    data.reset()
    callbacks.on_test_begin()
    model.reset_metrics()
    _, results = _run_epoch(model, "test", data, callbacks, pace)
    logs = model.training_session.final_logs(model, "test", results)
    callbacks.on_test_end(logs)
    return logs


def _run_epoch(model: Trainer, kind: str, data: EpochIterator, callbacks: CallbackList, pace: Pace) -> tuple[int, Any]:
    """Train or test on the batches of one epoch; their number and what the last step returned."""
    session = model.training_session
    on_begin, on_end = getattr(callbacks, f"on_{kind}_batch_begin"), getattr(callbacks, f"on_{kind}_batch_end")
    program: StepProgram | None = None
    outputs: tuple[Array, ...] = ()
    done = 0

    def logs() -> Logs:
        assert program is not None
        return session.logs(model, program.results(outputs))

    for stretch in data.epoch(pace.most):
        if pace.is_boundary(done):
            on_begin(done)
        if stretch.batch is not None:
            program = session.program(model, kind, stretch.batch)
            check_batch(model, stretch.batch)
        elif program is None:  # all data were checked before the first batch
            program = session.program(model, kind, data.adapter.peek(), data.adapter.layout)
        outputs = _timed(pace, program, stretch)
        done += stretch.steps
        if pace.is_boundary(done):
            on_end(done - 1, logs)
            if model.stop_training if kind == "train" else model.stop_evaluating:
                break
    else:
        if not pace.is_boundary(done):
            on_end(done - 1, logs)
    return done, None if program is None else program.results(outputs)


def _timed(pace: Pace, program: StepProgram, stretch: Stretch) -> tuple[Array, ...]:
    start = time.perf_counter()
    outputs = program.run_stretch(stretch)
    pace.record(stretch.steps, time.perf_counter() - start)
    return outputs


def _pace(model: Trainer, kind: str, callbacks: CallbackList) -> Pace:
    """As `compile(steps_per_execution=...)` says, else every batch if a callback needs it."""
    given = model.training_session.steps_per_execution
    return Pace(given or (1 if callbacks.needs_every_batch(kind) else None))


def predict_loop(model: Trainer, data: EpochIterator, callbacks: CallbackList) -> Any:
    """Predictions of all batches, joined along the first axis, in the structure of the model's output."""
    pace = _pace(model, "predict", callbacks)
    predictions = Predictions(model, data)
    done = start = 0
    model.stop_predicting = False
    callbacks.on_predict_begin()

    def logs() -> Logs:
        return {"outputs": predictions.since(start)}

    for stretch in data.epoch(lambda done: predictions.most(pace.most(done))):
        if pace.is_boundary(done):
            start = predictions.mark()
            callbacks.on_predict_batch_begin(done)
        began = time.perf_counter()
        predictions.add(stretch)
        pace.record(stretch.steps, time.perf_counter() - began)
        done += stretch.steps
        if pace.is_boundary(done):
            callbacks.on_predict_batch_end(done - 1, logs)
            if model.stop_predicting:
                break
    else:
        if not pace.is_boundary(done):
            callbacks.on_predict_batch_end(done - 1, logs)
    callbacks.on_predict_end()
    return predictions.since(0)
