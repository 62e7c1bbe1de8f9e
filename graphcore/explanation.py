"""`graphcore.explain(a, b)`: why two layers did or did not end in one kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compiler.inspect.explanation import Explanation, explain_layers, is_of_layer
from graphcore.layers import Layer
from graphcore.training.program import StepProgram, recent_programs

if TYPE_CHECKING:
    from compiler.driver import Compiled

__all__ = ["explain"]


def explain(a: Layer | str, b: Layer | str, of: Any = None) -> Explanation:
    """Why two layers did or did not end in one kernel.

    Args:
        a, b: layers, or their names; "outer/inner" for one inside of another.
        of: where to look: a model (its programs for training, testing and predicting, the first that has both layers;
            or, where none has run, the one that `lower` makes), what `lower` returns, or a compiled graph. By
            default the program compiled last that has both.

    Returns:
        The kernels that hold ops of both, and each value that one writes for the other with the reason. Print it.

    Raises:
        ValueError: if no program has both layers.
    """
    first, second = (layer.name if isinstance(layer, Layer) else layer for layer in (a, b))
    compiled = _found(first, second, of)
    return explain_layers(compiled.graph, compiled.remarks, first, second)


def _found(first: str, second: str, of: Any) -> Compiled:
    candidates = [of] if hasattr(of, "remarks") else _programs(of)
    for candidate in candidates:
        if not isinstance(candidate, StepProgram):
            compiled: Compiled = candidate
            return compiled
        paths = {node.layer for node in candidate.graph.nodes}
        if all(any(is_of_layer(path, layer) for path in paths) for layer in (first, second)):
            return candidate.compiled
    where = "No program that was compiled in this process" if of is None else f"No program of {of!r}"
    raise ValueError(
        f"{where} has both layer '{first}' and layer '{second}'. Run a step first, or say where to look: "
        "explain(a, b, of=model)."
    )


def _programs(of: Any) -> list[Any]:
    if of is None:
        return recent_programs()
    if isinstance(of, StepProgram):
        return [of]
    if hasattr(of, "compiled") and hasattr(of, "traced"):  # the stages of a step or graph
        return [of.compiled]
    latest = of.training_session.latest
    programs = [latest[kind] for kind in ("train", "test", "predict") if kind in latest]
    return programs or [of.lower("train" if of.compiled else "predict").step]
