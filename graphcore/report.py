"""`model.report()`: the report page of a model's step, which knows the layers that the step's graph came from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.inspect.report_page import write_report
from compiler.inspect.report_page.layers import rows_of_graph
from compiler.inspect.report_page.subject import RUNS, LayerRow, Subject, measured
from compiler.instruments.made_up import DATA_NOTE, program_sizes
from graphcore.layers.layer import Layer
from graphcore.ops.dispatch import FunctionCall
from graphcore.training.checks import check_batch
from graphcore.training.data.iterable_adapter import standardize_batch
from graphcore.training.lowering import checked_kind
from runtime.dimensions import SymbolicInt

if TYPE_CHECKING:
    from compiler.driver import Compiled
    from compiler.ir import Graph
    from graphcore.models.function_graph import FunctionGraph
    from graphcore.models.model import Model

__all__ = ["layer_rows", "model_report"]

TITLES = {"train": "training step", "test": "evaluation step", "predict": "prediction"}


def model_report(
    model: Model, path: str | Path | None, kind: str, x: Any, y: Any, batch_size: int, measure: bool = True
) -> str:
    """See `Model.report`."""
    title = TITLES[checked_kind(kind)]
    if x is None:
        step = model.lower(kind).step
        compiled = step.compiled
        sizes = program_sizes(compiled.program, _declared_sizes(model, compiled, batch_size))
        profile = measured(compiled, sizes, map(np.asarray, step.variables)) if measure else None
        note = DATA_NOTE
    else:
        batch = standardize_batch((x, None if kind == "predict" else y, None), None, "report")
        step = model.training_session.program(model, kind, batch)
        check_batch(model, batch)
        compiled = step.compiled
        profile = step.measure(batch, RUNS) if measure and step.jit else None
        sizes = program_sizes(compiled.program, {} if profile is None else profile.values)
        note = "the batch that was given"
    rows = layer_rows(model, compiled.traced)
    return write_report(Subject(model.name, title, compiled, sizes, rows, profile, note), path)


def _declared_sizes(model: Model, compiled: Compiled, batch_size: int) -> dict[str, int]:
    """What a model's inputs say of its program's symbols; a program may serve more lengths than its model."""
    sizes = {"batch": batch_size} if "batch" in compiled.program.symbols else {}
    for entry, tensor in zip(compiled.traced.inputs, model.inputs if model.graph is not None else (), strict=False):
        for dim, extent in zip(entry.value.type.shape, tensor.shape, strict=False):
            if isinstance(dim, SymbolicInt) and extent is not None and str(dim) in compiled.program.symbols:
                sizes[str(dim)] = extent
    return sizes


def layer_rows(model: Model, traced: Graph) -> tuple[LayerRow, ...]:
    """A row for each call of a layer: from the model's own graph, or, where `call` is Python, from the traced one."""
    if model.graph is None:
        return _rows_of_subclass(model, traced)
    rows: list[LayerRow] = []
    counted: set[int] = set()
    _walk(model.graph, (), {}, rows, counted)
    return tuple(rows)


def _walk(
    graph: FunctionGraph, prefix: tuple[str, ...], made: dict[int, int], rows: list[LayerRow], counted: set[int]
) -> None:
    """Append the rows of a graph; `made` maps tensors to the rows that made them."""
    for node in graph.nodes:
        operation = node.operation
        inner = getattr(operation, "graph", None)
        sources = tuple(dict.fromkeys(made[id(tensor)] for tensor in node.inputs if id(tensor) in made))
        if inner is not None and node.inputs:
            known = {id(tensor): made[id(source)] for tensor, source in zip(inner.inputs, node.inputs, strict=False)}
            _walk(inner, (*prefix, operation.name), known, rows, counted)
            for tensor, result in zip(node.outputs, inner.outputs, strict=False):
                made[id(tensor)] = known.get(id(result), len(rows) - 1)
            continue
        if node.is_input and all(id(tensor) in made for tensor in node.outputs):
            continue  # stands for what the model around it passes in
        made.update((id(tensor), len(rows)) for tensor in node.outputs)
        shapes = ", ".join(str(tensor.shape) for tensor in node.outputs if tensor is not None)
        kind = "function" if isinstance(operation, FunctionCall) else operation.kind
        rows.append(LayerRow((*prefix, operation.name), kind, shapes, _parameters(operation, counted), sources))


def _parameters(operation: Any, counted: set[int]) -> int:
    """Weights of an operation that no earlier row has counted."""
    if not isinstance(operation, Layer) or not operation.built:
        return 0
    new = [weight for weight in operation.weights if id(weight) not in counted]
    counted.update(map(id, new))
    return sum(int(np.prod(weight.shape)) for weight in new)


def _rows_of_subclass(model: Model, traced: Graph) -> tuple[LayerRow, ...]:
    """The layers that the graph names, with what the model knows of those whose names are unique."""
    layers: dict[str, Any] = {}
    for layer in model.flatten_layers():
        layers[layer.name] = None if layer.name in layers else layer
    rows = []
    counted: set[int] = set()
    for row in rows_of_graph(traced):
        layer = layers.get(row.path[-1])
        if layer is not None:
            row = dataclasses.replace(row, kind=layer.kind, parameters=_parameters(layer, counted))
        rows.append(row)
    return tuple(rows)
