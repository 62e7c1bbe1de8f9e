"""The tab Fusion: the kernels that nodes were grouped into, and for every edge between two kernels why it is one."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from compiler.inspect.operations import core_of
from compiler.ir import Graph
from compiler.lower import plan_of

if TYPE_CHECKING:
    from compiler.inspect.report_page.subject import Subject

__all__ = ["fusion_tab"]


def fusion_tab(subject: Subject) -> dict[str, Any]:
    """What the template shows: groups in program order, refused edges by reason."""
    groups = []
    for call in subject.calls:
        body = call.body
        core = core_of(body)
        groups.append({
            "position": call.position,
            "label": call.label,
            "layer": call.layer,
            "kind": plan_of(body).kind,
            "core": "" if core is None else core.op.name,
            "ops": _counted(body),
            "nodes": len(body.nodes),
            "inputs": len(body.inputs),
            "outputs": len(body.outputs),
            "sources": list(dict.fromkeys(node.source for node in body.nodes if node.source))[:3],
        })  # fmt: skip
    reasons: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    others = []
    for remark in subject.compiled.remarks:
        if remark.pass_name == "fuse":
            reasons[remark.text][remark.subject] += 1
        else:
            others.append({"pass": remark.pass_name, "subject": remark.subject, "text": remark.text})
    refused = [
        {"reason": reason, "count": sum(edges.values()), "edges": list(edges.items())}
        for reason, edges in sorted(reasons.items(), key=lambda item: -sum(item[1].values()))
    ]
    return {
        "groups": groups,
        "refused": refused,
        "others": others,
        "nodes": sum(group["nodes"] for group in groups),
        "edges": sum(entry["count"] for entry in refused),
    }


def _counted(body: Graph) -> str:
    """The ops of a body in order, repeated ones once with their number."""
    count: dict[str, int] = defaultdict(int)
    for node in body.nodes:
        count[node.op.name] += 1
    return ", ".join(name if n == 1 else f"{name} ×{n}" for name, n in count.items())
