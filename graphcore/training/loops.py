"""The loops over epochs and batches: what runs when, and which callbacks hear of it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from graphcore import tree
from graphcore.callbacks.callback import Logs
from graphcore.callbacks.callback_list import CallbackList
from graphcore.training.checks import check_batch
from graphcore.training.data.epochs import EpochIterator
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
    callbacks.on_train_begin()
    for epoch in range(initial_epoch, epochs):
        model.reset_metrics()
        callbacks.on_epoch_begin(epoch)
        steps, results = _run_epoch(model, "train", data, callbacks)
        if steps == 0:
            break  # the data are used up; EpochIterator has warned
        logs = session.final_logs(model, "train", results)
        if validation is not None and validation.is_due(epoch):
            values = evaluate_loop(model, validation.data, callbacks)
            logs = logs | {f"val_{name}": value for name, value in values.items()}
        callbacks.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    if model.optimizer is not None and epochs > initial_epoch:
        model.optimizer.finalize_variable_values(session.trainable or [])
    callbacks.on_train_end(logs)


def evaluate_loop(model: Trainer, data: EpochIterator, callbacks: CallbackList) -> Logs:
    """Loss and metrics over all batches."""
    model.stop_evaluating = False
    data.reset()
    callbacks.on_test_begin()
    model.reset_metrics()
    _, results = _run_epoch(model, "test", data, callbacks)
    logs = model.training_session.final_logs(model, "test", results)
    callbacks.on_test_end(logs)
    return logs


def _run_epoch(model: Trainer, kind: str, data: EpochIterator, callbacks: CallbackList) -> tuple[int, Any]:
    """Train or test on the batches of one epoch; their number and what the last step returned."""
    session = model.training_session
    stride = session.steps_per_execution
    on_begin, on_end = getattr(callbacks, f"on_{kind}_batch_begin"), getattr(callbacks, f"on_{kind}_batch_end")
    is_uniform = data.adapter.uniform
    program: StepProgram | None = None
    done, results = 0, None

    def logs() -> Logs:
        return session.logs(model, results)

    for batch in data.epoch():
        if done % stride == 0:
            on_begin(done)
        if program is None or not is_uniform:
            program = session.program(model, kind, batch)
            if not is_uniform:  # else all data were checked before the first batch
                check_batch(model, batch)
        results = program(batch)
        done += 1
        if done % stride == 0:
            on_end(done - 1, logs)
            if model.stop_training if kind == "train" else model.stop_evaluating:
                return done, results
    if done % stride:
        on_end(done - 1, logs)
    return done, results


def predict_loop(model: Trainer, data: EpochIterator, callbacks: CallbackList) -> Any:
    """Predictions of all batches, joined along the first axis, in the structure of the model's output."""
    session = model.training_session
    stride = session.steps_per_execution
    collected: list[Any] = []
    model.stop_predicting = False
    callbacks.on_predict_begin()
    for batch in data.epoch():
        step = len(collected)
        if step % stride == 0:
            callbacks.on_predict_batch_begin(step)
        collected.append(session.run(model, "predict", batch._replace(y=None, sample_weight=None)))
        if len(collected) % stride == 0:
            callbacks.on_predict_batch_end(step, {"outputs": _join(collected[-stride:])})
            if model.stop_predicting:
                break
    else:
        remainder = len(collected) % stride
        if remainder:
            outputs = _join(collected[-remainder:])
            callbacks.on_predict_batch_end(len(collected) - 1, {"outputs": outputs})
    callbacks.on_predict_end()
    return _join(collected)


def _join(batches: list[Any]) -> Any:
    if len(batches) == 1:
        return batches[0]
    return tree.map_structure(lambda *parts: np.concatenate(parts), *batches)
