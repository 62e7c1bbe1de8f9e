"""Predictions of many batches, collected where they will stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from graphcore import tree
from graphcore.training.data.array_adapter import ArrayAdapter
from graphcore.training.data.arrays import Array
from graphcore.training.data.epochs import EpochIterator
from graphcore.training.data.stretch import Stretch
from graphcore.training.input_types import BATCH
from graphcore.training.program import StepProgram
from runtime.arena import aligned_empty
from runtime.dimensions import evaluate, symbols_of

if TYPE_CHECKING:
    from graphcore.training.trainer import Trainer


class Predictions:
    """What a model predicts for the batches of a data set, joined along axis 0.

    For arrays the size of the result is known: programs then write into it, batch after batch.

    Args:
        model: the model.
        data: the batches; whether they lie in arrays decides how predictions are kept.
    """

    def __init__(self, model: Trainer, data: EpochIterator) -> None:
        self._model = model
        self._batches: list[Any] = []
        self._whole: tuple[Array, ...] | None = None
        self._program: StepProgram | None = None
        self._rows = 0
        adapter = data.adapter
        if isinstance(adapter, ArrayAdapter):
            batch = adapter.peek()
            self._program = model.training_session.program(model, "predict", batch, adapter.layout)
            samples = min(adapter.samples, adapter.batch_size * (data.steps or adapter.num_batches))
            self._whole = _whole_outputs(self._program, adapter.columns, samples)

    def most(self, most: int) -> int:
        """How many of so many batches may be predicted at once."""
        return 1 if self._whole is None else most

    def add(self, stretch: Stretch) -> None:
        """Predict the next batches."""
        if self._program is None or self._whole is None:
            self._batches.append(self._predict_one(stretch))
            return
        stop = self._rows + stretch.steps * stretch.rows
        out = [array[self._rows : stop] for array in self._whole]
        self._program.run_stretch(stretch, out, [True] * len(out))
        self._rows = stop

    def _predict_one(self, stretch: Stretch) -> Any:
        if stretch.batch is not None:
            batch = stretch.batch._replace(y=None, sample_weight=None)
            return self._model.training_session.run(self._model, "predict", batch)
        assert self._program is not None
        return self._program.results(self._program.run_stretch(stretch))

    def mark(self) -> int:
        """The place that the next batch will take, for `since`."""
        return len(self._batches) if self._whole is None else self._rows

    def since(self, mark: int) -> Any:
        """The predictions made since a mark, in the structure of the model's output."""
        if self._program is None or self._whole is None:
            return _join(self._batches[mark:])
        return self._program.results([array[mark : self._rows] for array in self._whole])


def _whole_outputs(program: StepProgram, inputs: tuple[Array, ...], samples: int) -> tuple[Array, ...] | None:
    """Arrays for the outputs of all samples; None unless each batch makes one row for each sample."""
    sizes: dict[str, int] = {}
    declared = program.graph.inputs[len(program.graph.inputs) - len(inputs) :]
    for entry, array in zip(declared, inputs, strict=True):
        sizes.update(zip(map(str, entry.value.type.shape[1:]), array.shape[1:], strict=True))
    arrays = []
    for _, value in program.graph.outputs:
        shape, rest = value.type.shape, value.type.shape[1:]
        if not shape or shape[0] != BATCH or any(symbols_of(dim) - sizes.keys() for dim in rest):
            return None
        arrays.append(aligned_empty((samples, *(evaluate(dim, sizes) for dim in rest)), value.type.dtype))
    return tuple(arrays)


def _join(batches: list[Any]) -> Any:
    if len(batches) == 1:
        return batches[0]
    return tree.map_structure(lambda *parts: np.concatenate(parts), *batches)
