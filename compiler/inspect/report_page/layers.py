"""The tab Model: a row for each layer, and the tree of blocks that the drawing folds.

A drawing of a training graph helps nobody: it is the layers that are drawn, what is saved for the backward sweep is
a port on the layer's box. Blocks are inner models; in a long chain also each stretch of branches between two layers
that everything passes through (a residual block, say), and where more than `MOST_CHILDREN` would still stand side by
side, runs of neighbours. So a block never opens into more boxes than a page can hold.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from compiler.inspect.report_page.attribution import flops_by_layer, saved_by_layer, seconds_by, under
from compiler.inspect.report_page.subject import LayerRow, path_of
from compiler.ir import Graph, Value

if TYPE_CHECKING:
    from compiler.inspect.report_page.subject import Subject

__all__ = ["MOST_CHILDREN", "MOST_VISIBLE", "block_tree", "model_tab", "rows_of_graph"]

MOST_VISIBLE = 150  # boxes of the drawing
MOST_CHILDREN = 40  # of one block


def rows_of_graph(graph: Graph) -> tuple[LayerRow, ...]:
    """The layers that a graph's nodes name, in the order in which they first appear.

    Backward edges of a layer that is called twice are left out. A variable counts for the layer that first reads it.
    """
    number: dict[str, int] = {}
    shapes: dict[str, str] = {}
    reads: dict[str, dict[int, None]] = {}
    parameters: dict[str, int] = {}
    variables = {entry.value for entry in graph.variables}
    counted: set[Value] = set()
    for node in graph.nodes:
        if not node.layer or node.op.name == "gradient":
            continue
        here = number.setdefault(node.layer, len(number))
        shapes.setdefault(node.layer, str(node.outputs[-1].type))
        sources = reads.setdefault(node.layer, {})
        for value in node.inputs:
            if value in variables and value not in counted:
                counted.add(value)
                size = value.type.size
                parameters[node.layer] = parameters.get(node.layer, 0) + (size if isinstance(size, int) else 0)
            elif value.node is not None and number.get(value.node.layer, here) < here:
                sources[number[value.node.layer]] = None
                shapes[value.node.layer] = str(value.type)  # what another layer reads is its result
    return tuple(
        LayerRow(path_of(layer), "", shapes[layer], parameters.get(layer, 0), tuple(reads[layer])) for layer in number
    )


def model_tab(subject: Subject) -> dict[str, Any]:
    """What the template shows: rows, totals, and the drawing as data."""
    rows = subject.layers or rows_of_graph(subject.traced)
    paths = [row.path for row in rows]
    flops, other_flops = under(paths, {layer: float(count) for layer, count in flops_by_layer(subject).items()})
    seconds, other_seconds = under(paths, seconds_by(subject)[0])
    ports = _ports(subject, rows)
    total = sum(seconds.values()) + other_seconds
    shown: set[tuple[str, ...]] = set()
    table = []
    for i, row in enumerate(rows):
        again = row.path in shown
        shown.add(row.path)
        time = 0.0 if again else seconds.get(row.path, 0.0)
        table.append({
            "id": i, "name": "/".join(row.path), "kind": row.kind, "shape": row.shape, "parameters": row.parameters,
            "flops": 0 if again else int(flops.get(row.path, 0)), "seconds": time, "again": again,
            "share": time / total if total else 0.0, "ports": ports.get(i, []), "inputs": list(row.inputs),
        })  # fmt: skip
    return {
        "rows": table,
        "tree": block_tree(rows),
        "other": {"flops": int(other_flops), "seconds": other_seconds,
                  "share": other_seconds / total if total else 0.0},
        "total": {"parameters": sum(row.parameters for row in rows),
                  "flops": int(sum(flops.values()) + other_flops), "seconds": total},
        "saved": sum(size for found in ports.values() for _, size in found),
        "limit": MOST_VISIBLE,
    }  # fmt: skip


def _ports(subject: Subject, rows: tuple[LayerRow, ...]) -> dict[int, list[tuple[str, int]]]:
    """Activations saved for the backward sweep, by row."""
    first: dict[tuple[str, ...], int] = {}
    for i, row in enumerate(rows):
        first.setdefault(row.path, i)
    found: dict[int, list[tuple[str, int]]] = {}
    for layer, values in saved_by_layer(subject).items():
        path = path_of(layer)
        while path and path not in first:
            path = path[:-1]
        if path:
            found.setdefault(first[path], []).extend(values)
    return found


Tree = list[Any]


def block_tree(rows: tuple[LayerRow, ...]) -> Tree:
    """Nested blocks: a number stands for a row, `{"name", "kind", "children"}` for a block."""
    return _folded(_by_path(list(range(len(rows))), rows, 0), rows)


def _by_path(members: list[int], rows: tuple[LayerRow, ...], depth: int) -> Tree:
    """Rows with the same beginning of their paths are one block, at the place of the first."""
    groups: dict[str, list[int]] = {}
    for i in members:
        groups.setdefault(rows[i].path[depth] if len(rows[i].path) > depth + 1 else f"\0{i}", []).append(i)
    tree: Tree = []
    for name, inside in groups.items():
        if name.startswith("\0"):
            tree.append(inside[0])
        else:
            children = _folded(_by_path(inside, rows, depth + 1), rows)
            tree.append({"name": name, "kind": "model", "children": children})
    return tree


def _folded(items: Tree, rows: tuple[LayerRow, ...]) -> Tree:
    """Items side by side, as blocks where they are many."""
    return _in_runs(_branches(items, rows) if len(items) > MOST_CHILDREN else items, rows)


def _in_runs(items: Tree, rows: tuple[LayerRow, ...]) -> Tree:
    """Runs of neighbours, and runs of those, until few enough stand side by side."""
    while len(items) > MOST_CHILDREN:
        size = min(math.ceil(math.sqrt(len(items))), MOST_CHILDREN)
        runs = [items[i : i + size] for i in range(0, len(items), size)]
        items = [_block(run, rows, "run") if len(run) > 1 else run[0] for run in runs]
    return items


def _branches(items: Tree, rows: tuple[LayerRow, ...]) -> Tree:
    """What lies between two items that every path goes through becomes a block, with the one that joins it."""
    place = {leaf: i for i, item in enumerate(items) for leaf in _leaves(item)}
    reach = list(range(len(items)))  # the furthest reader
    for i, item in enumerate(items):
        for leaf in _leaves(item):
            for source in rows[leaf].inputs:
                if source in place:
                    reach[place[source]] = max(reach[place[source]], i)
    found: Tree = []
    waiting: Tree = []
    furthest = 0
    for i, item in enumerate(items):
        is_joint = furthest <= i  # nothing before it is read behind it
        waiting.append(item)
        if is_joint:
            found.extend([_block(waiting, rows, "block")] if len(waiting) > 2 else waiting)
            waiting = []
        furthest = max(furthest, reach[i])
    return [*found, *waiting]


def _block(items: Tree, rows: tuple[LayerRow, ...], kind: str) -> dict[str, Any]:
    """A block named after what its layers' names have in common, else after its first and last."""
    names = ["/".join(rows[leaf].path) for item in items for leaf in _leaves(item)]
    common = "".join(one[0] for one in itertools.takewhile(lambda one: len(set(one)) == 1, zip(*names, strict=False)))
    whole = common.rstrip("_/-. ") if common and not common[-1].isalnum() else common.rpartition("_")[0]
    first, last = ("/".join(rows[end].path) if isinstance(end, int) else end["name"] for end in (items[0], items[-1]))
    name = whole if len(whole) > 2 else f"{first.split(' … ')[0]} … {last.split(' … ')[-1]}"
    return {"name": name, "kind": kind, "children": _in_runs(items, rows)}


def _leaves(item: Any) -> list[int]:
    return [item] if isinstance(item, int) else [leaf for child in item["children"] for leaf in _leaves(child)]
