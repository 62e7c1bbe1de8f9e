"""Random batches that a model or a graph can be run on, for measuring: shapes matter, values do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.instruments.made_up import made_up_array, program_sizes, warmed_up
from compiler.ir import Graph
from graphcore import losses, tree
from graphcore.layers import Embedding
from graphcore.profiling import Recording, profile
from graphcore.training.data.arrays import Array
from graphcore.training.labels import takes_class_numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from graphcore.losses import Loss
    from graphcore.models import Model

__all__ = ["profile_graph", "random_inputs", "random_targets"]

Random = np.random.Generator

_ONE_HOT = (losses.categorical_crossentropy, losses.categorical_focal_crossentropy, losses.categorical_hinge)
_BINARY = (losses.binary_crossentropy, losses.binary_focal_crossentropy)


def random_inputs(model: Model, batch: int, length: int, rng: Random) -> Any:
    """A batch for a model's inputs; open sizes but the first become `length`, and integers are below the vocabulary of
    the smallest `Embedding`.

    Raises:
        ValueError: for a model that declares no inputs.
    """
    declared = getattr(model, "inputs", None)
    if not declared:
        raise ValueError(
            f"model '{model.name}' declares no inputs, so no data can be made up for it: start it with Input(...), or "
            "call model.profile(x) with data of its own"
        )
    below = min((layer.input_dim for layer in model.flatten_layers() if isinstance(layer, Embedding)), default=None)
    arrays = []
    for tensor in declared:
        rest = tuple(length if extent is None else extent for extent in tensor.shape[1:])
        arrays.append(made_up_array((tensor.shape[0] or batch, *rest), tensor.dtype, rng, below))
    return arrays[0] if len(arrays) == 1 else arrays


def random_targets(model: Model, x: Any, rng: Random) -> Any:
    """Targets for a model's outputs, of the form that its losses take.

    Raises:
        ValueError: for a model that has not been compiled with a loss.
    """
    compile_loss = model.training_session.compile_loss
    if compile_loss is None:
        raise ValueError(
            f"model '{model.name}' has no loss to train with: compile it in the script, or pass --loss NAME"
        )
    outputs = model.predict_on_batch(x)
    pairs = zip(tree.flatten(outputs), compile_loss.foreseen(outputs), strict=True)
    targets = [_target(output, loss, rng) for output, loss in pairs]
    return tree.pack_sequence_as(outputs, targets)


def _target(output: Array, loss: Loss | None, rng: Random) -> Array:
    function = getattr(loss, "fn", None)
    if takes_class_numbers(loss) or function in _ONE_HOT:
        classes = np.asarray(rng.integers(0, max(output.shape[-1], 1), output.shape[:-1]), np.int32)
        return np.asarray(np.eye(output.shape[-1], dtype=np.float32)[classes]) if function in _ONE_HOT else classes
    if function in _BINARY:
        return np.asarray(rng.integers(0, 2, output.shape), np.float32)
    return np.asarray(rng.uniform(0.1, 1.0, output.shape), np.float32)


def profile_graph(graph: Graph, sizes: Mapping[str, int], runs: int, rng: Random) -> Recording:
    """Compile a graph and profile it on made-up arrays.

    Raises:
        ValueError: for a size of a symbol that the graph does not have.
    """
    from compiler.driver import compile_graph  # here, since models have been compiled already

    compiled = compile_graph(graph)
    inputs, variables = warmed_up(compiled, program_sizes(compiled.program, sizes), rng)
    with profile() as recording:
        for _ in range(runs):
            compiled.executable.run(inputs, variables)
    return recording
