"""The tab Passes: what each pass did, with a diff of those that changed the graph."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from compiler.inspect.report_page.diff import Naming, side_by_side, visible
from compiler.ir import Graph
from compiler.pipeline import PIPELINE

if TYPE_CHECKING:
    from compiler.inspect.report_page.subject import Subject

__all__ = ["passes_tab"]

MOST_ROWS = 200  # of one pass's diff
MOST_OPS = 12  # changes in the number of ops that are named


def passes_tab(subject: Subject) -> dict[str, Any]:
    """What the template shows: one entry for each pass, in order."""
    runs = subject.passes
    naming = Naming(subject.traced)
    total = sum(run.seconds for run in runs)
    found = []
    for number, run in enumerate(runs, 1):
        is_changed = run.after is not run.before
        rows = []
        if is_changed:
            before = naming.lines
            pairs = naming.follow(run.after)
            rows = side_by_side(before, naming.lines, pairs)
        differs = Counter(row.kind for row in rows)
        found.append({
            "number": number,
            "name": run.name,
            "purpose": _purpose(run.name),
            "changed": is_changed,
            "seconds": run.seconds,
            "share": run.seconds / total if total else 0.0,
            "before": len(run.before.nodes),
            "after": len(run.after.nodes),
            "inner": _inner(run.after),
            "ops": _op_changes(run.before, run.after),
            "lines": {kind: differs[kind] for kind in ("changed", "added", "removed")},
            "rows": list(visible(rows, MOST_ROWS)),
        })  # fmt: skip
    return {"passes": found, "seconds": total, "changed": sum(entry["changed"] for entry in found)}


def _purpose(name: str) -> str:
    """What the module that a pass is written in says first."""
    pass_ = next((pass_ for pass_ in PIPELINE if pass_.__name__ == name), None)
    module = sys.modules.get(pass_.__module__) if pass_ is not None else None
    text = "" if module is None else module.__doc__ or ""
    return " ".join(text.split("\n\n")[0].split()).rstrip(":")


def _inner(graph: Graph) -> int:
    """Nodes in bodies of kernels and loops."""
    bodies = [body for node in graph.nodes if isinstance(body := node.op.fields.get("body"), Graph)]
    return sum(len(body.nodes) + _inner(body) for body in bodies)


def _op_changes(before: Graph, after: Graph) -> list[tuple[str, int]]:
    """By how much the number of each op changed, the greatest change first."""
    if before is after:
        return []
    change = Counter(node.op.name for node in after.nodes)
    change.subtract(node.op.name for node in before.nodes)
    return sorted(((op, n) for op, n in change.items() if n), key=lambda item: (-abs(item[1]), item[0]))[:MOST_OPS]
