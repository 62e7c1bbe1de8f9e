"""What `compile()` makes of its arguments, and the programs traced since."""

from __future__ import annotations

import dataclasses
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.collector import collection_paused
from graphcore import tree
from graphcore.callbacks.callback import Logs
from graphcore.callbacks.callback_list import pythonify
from graphcore.metrics import Mean
from graphcore.settings import floatx
from graphcore.tensor import KerasTensor
from graphcore.training.compile_loss import CompileLoss
from graphcore.training.compile_metrics import CompileMetrics
from graphcore.training.data.arrays import Array, Batch, pack_x_y_sample_weight
from graphcore.training.data.stretch import Layout
from graphcore.training.input_types import declared_inputs, input_types, shape_signature
from graphcore.training.program import Repeated, StepProgram, trace_step
from graphcore.variable import Variable

if TYPE_CHECKING:
    from graphcore.training.trainer import Trainer

MANY_PROGRAMS = 8  # of one kind, from which on changing shapes are worth a warning
MANY_PREDICTIONS = 64  # shapes that are remembered


@dataclasses.dataclass
class Session:
    """State of a trainer that is neither weights nor layers.

    Attributes:
        jit: compile programs; otherwise interpret them.
        checked: where they are interpreted, stop at the first NaN or infinity.
        steps_per_execution: batches between two calls of batch callbacks; None calls them as often as they ask.
        compile_loss: the losses, or None.
        compile_metrics: the metrics, or None.
        loss_tracker: mean of the total loss; None before `compile()`.
        trainable: the variables that training changes, as they were at `compile()`; None while not built.
        programs: (kind, layout, nesting, input types) -> program.
        latest: kind -> the program used last.
    """

    jit: bool = True
    checked: bool = False
    steps_per_execution: int | None = None
    compile_loss: CompileLoss | None = None
    compile_metrics: CompileMetrics | None = None
    loss_tracker: Mean | None = None
    trainable: list[Variable] | None = None
    programs: dict[Any, StepProgram] = dataclasses.field(default_factory=dict)
    latest: dict[str, StepProgram] = dataclasses.field(default_factory=dict)
    _by_shape: dict[Any, StepProgram] = dataclasses.field(default_factory=dict)
    # Shape -> the program, and `floatx()` when it was used.
    _predictions: dict[tuple[int, ...], tuple[Repeated, str]] = dataclasses.field(default_factory=dict)
    _report: tuple[Any, StepProgram] | None = None
    _metrics: tuple[int, list[Any]] | None = None

    def metrics_of(self, model: Any) -> list[Any]:
        """`model.metrics`, searched for again only after something was traced: the search costs more than a step."""
        if self._metrics is None or self._metrics[0] != len(self.programs):
            self._metrics = (len(self.programs), list(model.metrics))
        return self._metrics[1]

    def program(self, model: Trainer, kind: str, batch: Batch, layout: Layout | None = None) -> StepProgram:
        """The program for batches like this one, in this layout; traced if there is none yet.

        Raises:
            ValueError: if the batch does not fit the model, losses or metrics; nothing is changed then.
        """
        signature = (kind, layout, *shape_signature(batch))
        program = self._by_shape.get(signature)
        if program is None:
            program = self._find(model, kind, batch, layout)
            self._by_shape[signature] = program
        self.latest[kind] = program
        return program

    def run(self, model: Trainer, kind: str, batch: Batch) -> Any:
        """Run one step; returns what it returned: logs of an overridden step, or predictions."""
        return self.program(model, kind, batch)(batch)

    def repeated_prediction(self, x: Any) -> Array | None:
        """The predictions for an array like one that `expect_prediction` was told of; None for anything else."""
        if type(x) is not np.ndarray:
            return None
        known = self._predictions.get(x.shape)
        if known is None:
            return None
        repeated, float_type = known
        program, dtype, run_again, variables, last = repeated
        if x.dtype is not dtype or floatx() != float_type:
            return None
        self.latest["predict"] = program
        result = None if last is None else run_again(x, variables, last)
        if result is not None:
            return result
        result = program.run((x,))[0]
        self._predictions[x.shape] = program.repeated(x), float_type
        return result

    def expect_prediction(self, model: Trainer, x: Array) -> None:
        """Let arrays of this shape and type go straight to the program that was used last to predict.

        Such an array has passed every check that looks at shapes and types: of the 50 microseconds that a small
        model takes for one sample, 35 went into making them again. Floats given for an integer input are looked at
        each time.
        """
        program = self.latest["predict"]
        if not program.jit:
            return
        declared = [tensor for tensor in declared_inputs(model, x) or [] if tensor is not None]
        if x.dtype.kind == "f" and any(np.dtype(tensor.dtype).kind in "iu" for tensor in declared):
            return
        if len(self._predictions) >= MANY_PREDICTIONS:
            self._predictions.clear()
        self._predictions[x.shape] = program.repeated(x), floatx()

    def metric_logs(self, model: Trainer) -> Logs:
        """`model.get_metrics_result()` as Python floats."""
        key = tuple(id(variable) for metric in self.metrics_of(model) for variable in metric.variables)
        if self._report is None or self._report[0] != key:
            # Compiled like the steps: interpreting a handful of scalar operations takes 0.1 ms, as long as a small
            # step, and the progress bar asks for them again and again.
            program = trace_step(
                "metrics", lambda _: model.get_metrics_result(), Batch(None), (), training=False, jit=self.jit
            )
            self._report = (key, program)
        return pythonify(self._report[1](Batch(None)))

    def logs(self, model: Trainer, results: Any) -> Logs:
        """Logs after a step: what an overridden step returned, else the metrics' values."""
        return self.metric_logs(model) if results is None else pythonify(results)

    def final_logs(self, model: Trainer, kind: str, results: Any) -> Logs:
        """Logs of an epoch: the metrics' values, or what an overridden step returned last.

        The latter if it reports other names than the metrics, or if it leaves metrics without updates: a step
        that returns {"loss": ...} of its own must not be shown the untouched mean that `compile()` made.
        """
        if results is None:
            return self.metric_logs(model)
        logs = pythonify(results)
        state = {id(variable) for metric in self.metrics_of(model) for variable in metric.variables}
        if not state <= self.latest[kind].updated:
            return logs
        metrics = self.metric_logs(model)
        return metrics if set(metrics) == set(logs) else logs

    @collection_paused()
    def _find(self, model: Trainer, kind: str, batch: Batch, layout: Layout | None) -> StepProgram:
        build_model(model, batch)
        types = input_types(model, batch)
        key = (kind, layout, tuple(_structure(part) for part in batch), types)
        program = self.programs.get(key)
        if program is None:
            program = self._trace(model, kind, batch, types, layout)
            self.programs[key] = program
            self._warn_of_many(kind, types)
        return program

    def _warn_of_many(self, kind: str, types: Any) -> None:
        count = sum(key[0] == kind for key in self.programs)
        if count == MANY_PROGRAMS:
            shapes = ", ".join(f"{type_.name}: {type_.dtype}{list(map(str, type_.dims))}" for type_ in types)
            warnings.warn(
                f"{count} different {kind!r} programs were made, because shapes or types of the data keep changing "
                f"(last: {shapes}). Give the model an Input with None for the extents that vary, or pad the data.",
                stacklevel=2,
            )

    def foreseen(self, model: Trainer, kind: str, batch: Batch) -> StepProgram:
        """A program for batches like this one before there are any; what is resolved for them is forgotten again, so
        that data of another form can follow.

        Raises:
            ValueError: if the batch does not fit the model, losses or metrics.
        """
        unbuilt = self._unbuilt()
        try:
            return self._trace(model, kind, batch, input_types(model, batch), None)
        finally:
            for part in unbuilt:
                part.unbuild()

    def _unbuilt(self) -> list[CompileLoss | CompileMetrics]:
        return [part for part in (self.compile_loss, self.compile_metrics) if part and not part.built]

    def _trace(self, model: Trainer, kind: str, batch: Batch, types: Any, layout: Layout | None) -> StepProgram:
        unbuilt = self._unbuilt()
        step = getattr(model, f"{kind}_step")
        try:
            if kind == "train":
                self._build_optimizer(model)
            return trace_step(
                f"{kind}_step",
                lambda tensors: _checked(kind, step(pack_x_y_sample_weight(*tensors))),
                batch,
                types,
                training=kind == "train",
                jit=self.jit,
                returns_results=kind == "predict" or model._reports_own_logs(kind),
                layout=layout,
                checked=self.checked,
            )
        except Exception:
            # What was resolved for data that do not fit must not outlive them.
            for part in unbuilt:
                part.unbuild()
            raise

    def _build_optimizer(self, model: Trainer) -> None:
        if self.trainable is None:
            self.trainable = list(model.trainable_variables)
        optimizer = model.optimizer
        if optimizer is not None and not optimizer.built:
            optimizer.build(self.trainable)


def build_model(model: Any, batch: Batch) -> None:
    """Create the weights of layers that have none yet, by describing the model's call on such a batch."""
    if all(layer.built for layer in model.flatten_layers()):
        return

    def tensor(leaf: Array | None) -> KerasTensor | None:
        return None if leaf is None else KerasTensor((None, *leaf.shape[1:]), leaf.dtype.name)

    model.compute_output_spec(tree.map_structure(tensor, batch.x))


def _structure(part: Any) -> Any:
    """A hashable picture of how a structure is nested."""
    return tuple(path for path, leaf in tree.flatten_with_path(part) if leaf is not None)


def _checked(kind: str, results: Any) -> Any:
    if kind != "predict" and not isinstance(results, dict):
        raise ValueError(
            f"`{kind}_step` must return a dict of logs, such as self.compute_metrics(x, y, y_pred, "
            f"sample_weight) makes. Received: {results!r}"
        )
    return results
