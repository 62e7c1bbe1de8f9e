"""Which layer a kernel's time belongs to, which op, and what each layer costs.

A kernel that holds a contraction counts for that contraction's layer, the rest of it is its tail; the time of any other
is shared equally by the layers of what it computes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from compiler.inspect.operations import core_of
from compiler.ir import Fusion, Graph

if TYPE_CHECKING:
    from compiler.inspect.report_page.subject import Subject

__all__ = ["flops_by_layer", "layers_of", "op_title", "saved_by_layer", "seconds_by", "under"]


def layers_of(body: Graph, fallback: str = "") -> tuple[str, ...]:
    """The layers that a kernel's time belongs to."""
    core = core_of(body)
    if core is not None and core.layer:
        return (core.layer,)
    named = tuple(dict.fromkeys(node.layer for node in body.nodes if node.layer))
    return named or (fallback,)


def op_title(body: Graph) -> str:
    """What a kernel is called in totals by op: its contraction or generator, else its reduction, else element-wise."""
    core = core_of(body)
    if core is not None:
        return core.op.name
    first = next((node for node in body.nodes if node.op.fusion in (Fusion.REDUCTION, Fusion.WINDOW)), None)
    return "element-wise" if first is None else first.op.name


def seconds_by(subject: Subject) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of one run by layer and by op, those of all threads by their number."""
    by_layer: dict[str, float] = defaultdict(float)
    by_op: dict[str, float] = defaultdict(float)
    for call, seconds in zip(subject.calls, subject.seconds, strict=bool(subject.seconds)):
        layers = layers_of(call.body, call.layer)
        for layer in layers:
            by_layer[layer] += seconds / len(layers)
        by_op[op_title(call.body)] += seconds
    return dict(by_layer), dict(by_op)


def flops_by_layer(subject: Subject) -> dict[str, int]:
    """Floating-point operations of contractions by definition, gradients included, two for each multiply-add."""
    found: dict[str, int] = defaultdict(int)
    # Here gradients are there, what nothing needs is gone, and no pass has replaced a convolution by its transforms.
    for node in subject.after("eliminate_dead_code").nodes:
        types = ([value.type for value in values] for values in (node.inputs, node.outputs))
        found[node.layer] += 2 * subject.number(node.op.multiply_adds(*types))
    return dict(found)


def saved_by_layer(subject: Subject) -> dict[str, list[tuple[str, int]]]:
    """Type and bytes of the activations of each layer that the backward sweep reads."""
    (before, after) = next((run.before, run.after) for run in subject.passes if run.name == "differentiate")
    if before is after:
        return {}
    old = set(before.nodes)
    # Loops are replaced on the way forward, by ones that keep what their gradients need.
    new = (i for i, node in enumerate(after.nodes) if node not in old and node.op.fusion is not Fusion.LOOP)
    start = next(new, len(after.nodes))
    forward = {value for node in after.nodes[:start] for value in node.outputs}
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)
    seen = set()
    for node in after.nodes[start:]:
        for value in node.inputs if node not in old else ():
            if value in forward and value not in seen and value.producer.op.fusion is not Fusion.SOURCE:
                seen.add(value)
                size = subject.number(value.type.size_in_bytes)
                found[value.producer.layer].append((str(value.type), size))
    return dict(found)


def under(paths: Iterable[tuple[str, ...]], costs: Mapping[str, float]) -> tuple[dict[tuple[str, ...], float], float]:
    """Costs by the longest of `paths` that a layer's name begins with; and what is under none of them."""
    known = set(paths)
    found: dict[tuple[str, ...], float] = defaultdict(float)
    rest = 0.0
    for layer, cost in costs.items():
        path = tuple(layer.split("/"))
        while path and path not in known:
            path = path[:-1]
        if path:
            found[path] += cost
        else:
            rest += cost
    return dict(found), rest
