"""What a model's step becomes, stage by stage: `model.lower("train")`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.inspect.stages import Stages
from graphcore import tree
from graphcore.settings import floatx
from graphcore.tensor import KerasTensor
from graphcore.training.data.arrays import Array, Batch
from graphcore.training.program import StepProgram
from runtime.dimensions import evaluate, symbols_of

if TYPE_CHECKING:
    from graphcore.training.compile_loss import CompileLoss
    from graphcore.training.trainer import Trainer

__all__ = ["KINDS", "StepStages", "checked_kind", "expected_batch", "lower_step"]

KINDS = ("train", "test", "predict")
# Extents for axes of any size: far apart, and long enough for any window; the arrays hold no memory.
_FIRST_EXTENT, _NEXT_EXTENT = 1009, 101


def checked_kind(kind: str) -> str:
    """The kind of a step, as it is.

    Raises:
        ValueError: if it is none of `KINDS`.
    """
    if kind not in KINDS:
        raise ValueError(f"`kind` must be one of {', '.join(map(repr, KINDS))}. Received: kind={kind!r}")
    return kind


class StepStages(Stages):
    """The stages of a step: `traced`, `optimized`, `kernels`, `memory` and `program`.

    Attributes:
        kind: "train", "test" or "predict".
        step: the step itself, which runs on arrays and can be measured.
    """

    def __init__(self, kind: str, step: StepProgram) -> None:
        super().__init__(step.graph, lambda: step.compiled, step.optimize)
        self.kind = kind
        self.step = step


def lower_step(model: Trainer, kind: str) -> StepStages:
    """See `Trainer.lower`."""
    checked_kind(kind)
    session = model.training_session
    program = session.latest.get(kind)
    if program is None:
        if kind != "predict" and not model.compiled:
            raise ValueError(
                f"Model '{model.name}' was never compiled, so only lower('predict') is possible: call compile() to "
                f"give it a loss and an optimizer. Received: kind={kind!r}"
            )
        program = _foreseen(model, kind)
    return StepStages(kind, program)


def _foreseen(model: Trainer, kind: str) -> StepProgram:
    batch = expected_batch(model, kind)
    try:
        return model.training_session.foreseen(model, kind, batch)
    except ValueError as error:
        arrays = [leaf for leaf in tree.flatten(batch.y) if leaf is not None]
        targets = ", ".join(f"y: {leaf.dtype}[{','.join(('batch', *map(str, leaf.shape[1:])))}]" for leaf in arrays)
        error.add_note(f"lower({kind!r}) assumed {targets or 'no targets'}. If yours are different, run a step first.")
        raise


def expected_batch(model: Trainer, kind: str) -> Batch:
    """A batch of zeros like those that a model declares and its losses expect; see `Trainer.lower`.

    Raises:
        ValueError: if the model does not declare its inputs.
    """
    graph = getattr(model, "graph", None)
    if graph is None:
        raise ValueError(
            f"Model '{model.name}' does not declare its inputs, and no {kind!r} step has run yet. Fix: run one, for "
            f"example with `{'predict' if kind == 'predict' else kind}_on_batch`, or give the model an Input."
        )
    names = sorted({name for tensor in graph.inputs for dim in tensor.dims for name in symbols_of(dim)})
    sizes = {name: _FIRST_EXTENT + _NEXT_EXTENT * i for i, name in enumerate(names)}

    def zeros(tensor: KerasTensor, dtype: str | None = None, drop_last: bool = False) -> Array:
        dims = tensor.dims[:-1] if drop_last else tensor.dims
        shape = tuple(evaluate(dim, sizes) for dim in dims)
        return np.broadcast_to(np.zeros((), dtype or tensor.dtype), shape)

    x = tree.map_structure(zeros, graph.input_structure)
    session = model.training_session
    if kind == "predict" or (session.compile_loss is None and session.compile_metrics is None):
        return Batch(x)
    wanted = _targets(session.compile_loss, graph.output_structure, session.compile_metrics is not None)
    leaves = []
    for tensor, numbers in zip(graph.outputs, wanted, strict=True):
        target = zeros(tensor, "int64", drop_last=True) if numbers else zeros(tensor, floatx())
        leaves.append(None if numbers is None else target)
    if all(leaf is None for leaf in leaves):
        return Batch(x)
    return Batch(x, tree.pack_sequence_as(graph.output_structure, leaves))


def _targets(compile_loss: CompileLoss | None, outputs: Any, with_metrics: bool) -> list[bool | None]:
    """For each output whether its targets are class numbers; None where nothing looks at targets."""
    if compile_loss is None:
        return [False] * len(tree.flatten(outputs))
    found = compile_loss.takes_class_numbers(outputs)
    return [False if numbers is None and with_metrics else numbers for numbers in found]
