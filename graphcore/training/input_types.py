"""With which types the arrays of a batch enter a program: which extents are symbols, which are fixed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from graphcore import tree
from graphcore.tensor import KerasTensor
from graphcore.training.data.arrays import Array, Batch
from runtime.dimensions import Dim, evaluate, symbol, symbols_of

LABELS = ("x", "y", "sample_weight")
BATCH = symbol("batch")
SAMPLES = symbol("samples")  # in a data set of which a program takes rows by their numbers


@dataclasses.dataclass(frozen=True)
class InputType:
    """Name, extents and element type of one input of a program."""

    name: str
    dims: tuple[Dim, ...]
    dtype: str


def input_types(model: Any, batch: Batch) -> tuple[InputType, ...]:
    """Types for the arrays of a batch in flat order.

    The first axis is the symbol `batch` (or the fixed `batch_size` of an `Input`). Other axes of `x` are
    symbols where the model's `Input` says None: one for each different extent in this batch, so that arrays
    that vary together share it. Targets and weights take the extents of the model's outputs where those are
    symbolic and fit. Everything else is fixed.
    """
    inputs = [leaf for leaf in tree.flatten(batch.x) if leaf is not None]
    templates = _templates(model, batch.x, len(inputs))
    fixed = {template[0] for template in templates if template and template[0] is not None}
    size: Dim = fixed.pop() if len(fixed) == 1 else BATCH
    symbols: dict[int, Dim] = {}
    shapes = [_input_dims(leaf, template, size, symbols) for leaf, template in zip(inputs, templates, strict=True)]
    bindings = {str(dim): extent for extent, dim in symbols.items()} | {"batch": len(inputs[0])}
    outputs = _symbolic_outputs(model, batch.x, inputs, shapes) if symbols else []
    for part in (batch.y, batch.sample_weight):
        leaves = [leaf for leaf in tree.flatten(part) if leaf is not None]
        for i, leaf in enumerate(leaves):
            candidates = [outputs[i]] if len(leaves) == len(outputs) else outputs
            shapes.append(_target_dims(leaf, candidates, size, bindings))
    arrays = [leaf for part in batch for leaf in tree.flatten(part) if leaf is not None]
    names = [
        "/".join((label, *map(str, path)))
        for label, part in zip(LABELS, batch, strict=True)
        for path, leaf in tree.flatten_with_path(part)
        if leaf is not None
    ]
    return tuple(InputType(name, dims, leaf.dtype.name) for name, dims, leaf in zip(names, shapes, arrays, strict=True))


def shape_signature(batch: Batch) -> tuple[Any, ...]:
    """A key equal for batches that differ at most in their number of samples and in values."""
    return tuple(_signature(part) for part in batch)


def _signature(structure: Any) -> Any:
    if structure is None:
        return None
    if isinstance(structure, dict):
        return ("dict", *((key, _signature(structure[key])) for key in tree.sorted_keys(structure)))
    if isinstance(structure, (list, tuple)):
        return (type(structure).__name__, *map(_signature, structure))
    return structure.dtype.num, structure.shape[1:]


def _templates(model: Any, x: Any, count: int) -> Sequence[tuple[int | None, ...] | None]:
    """The declared shape of each input in the order in which `x` is flattened; None where there is none."""
    tensors = declared_inputs(model, x)
    if tensors is None or len(tensors) != count:
        return [None] * count
    return [None if tensor is None else tuple(tensor.shape) for tensor in tensors]


def declared_inputs(model: Any, x: Any) -> list[KerasTensor | None] | None:
    """The model's `Input` tensors in the order in which `x` is flattened; None for a model that declares none."""
    declared = getattr(model, "inputs", None)
    if not declared:
        return None
    if isinstance(x, dict) and not any(tree.is_nested(value) for value in x.values()):
        by_name = dict(zip(model.input_names, declared, strict=True))
        return [by_name.get(key) for key in tree.sorted_keys(x) if x[key] is not None]
    return list(declared)


def _input_dims(
    leaf: Array, template: tuple[int | None, ...] | None, size: Dim, symbols: dict[int, Dim]
) -> tuple[Dim, ...]:
    dims: list[Dim] = [size]
    for axis, extent in enumerate(leaf.shape[1:], 1):
        is_free = template is not None and axis < len(template) and template[axis] is None
        if is_free and extent not in symbols:
            symbols[extent] = symbol(f"d{len(symbols) + 1}")
        dims.append(symbols[extent] if is_free else extent)
    return tuple(dims)


def _symbolic_outputs(
    model: Any, x: Any, inputs: Sequence[Array], shapes: Sequence[tuple[Dim, ...]]
) -> list[tuple[Dim, ...]]:
    """Extents of the model's outputs in terms of the symbols of its inputs."""
    pairs = iter(zip(inputs, shapes, strict=True))

    def tensor(leaf: Array | None) -> KerasTensor | None:
        if leaf is None:
            return None
        array, dims = next(pairs)
        return KerasTensor(dims, array.dtype.name)

    outputs = model.compute_output_spec(tree.map_structure(tensor, x))
    return [leaf.dims for leaf in tree.flatten(outputs)]


def _target_dims(
    leaf: Array, outputs: Sequence[tuple[Dim, ...]], size: Dim, bindings: dict[str, int]
) -> tuple[Dim, ...]:
    dims: list[Dim] = [size]
    for axis, extent in enumerate(leaf.shape[1:], 1):
        dims.append(extent)
        for output in outputs:
            dim = output[axis] if axis < len(output) else extent
            if symbols_of(dim) and bindings.keys() >= set(symbols_of(dim)) and evaluate(dim, bindings) == extent:
                dims[-1] = dim
                break
    return tuple(dims)
