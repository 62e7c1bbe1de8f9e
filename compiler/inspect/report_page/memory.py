"""The tab Memory: the arena as rectangles of offset and time, with the plan's size and the least that any needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compiler.inspect.report_page.charts import hue_of

if TYPE_CHECKING:
    from compiler.inspect.report_page.subject import Subject

__all__ = ["memory_tab"]

WIDTH, HEIGHT = 1000.0, 420.0  # of the drawing, without its margins
MOST_LISTED = 200  # blocks in the table, the largest


def memory_tab(subject: Subject) -> dict[str, Any]:
    """What the template shows: rectangles, the curve of bytes alive, and the largest blocks."""
    data = subject.stages.memory.to_dict(subject.sizes)
    labels = data["instructions"]
    steps = max(len(labels), 1)
    top = max(data["bytes"], data["bound"], 1)
    alive = _alive(data["blocks"], steps)
    blocks = []
    for block in data["blocks"]:
        last = steps - 1 if block["kept"] else block["last"]
        values = block["values"]
        layers = dict.fromkeys(value["layer"] for value in values if value["layer"])
        blocks.append({
            "block": block["block"],
            "offset": block["offset"],
            "bytes": block["bytes"],
            "first": block["first"],
            "last": last,
            "kept": block["kept"],
            "layer": ", ".join(layers) or "no layer",
            "types": ", ".join(dict.fromkeys(value["type"]["text"] for value in values)),
            "made": values[0]["label"] if values else "",
            "shared": len(values),
            "hue": hue_of(next(iter(layers), "")),
            "x": block["first"] / steps * WIDTH,
            "y": HEIGHT - (block["offset"] + block["bytes"]) / top * HEIGHT,
            "width": (last - block["first"] + 1) / steps * WIDTH,
            "height": block["bytes"] / top * HEIGHT,
            "listed": False,
        })  # fmt: skip
    largest = sorted(blocks, key=lambda block: -block["bytes"])[:MOST_LISTED]
    for block in largest:
        block["listed"] = True
    points = [(i / steps * WIDTH, HEIGHT - bytes_ / top * HEIGHT) for i, bytes_ in enumerate(alive)]
    busiest = max(range(len(alive)), key=alive.__getitem__, default=0)
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "bytes": data["bytes"],
        "bound": data["bound"],
        "ratio": data["bytes"] / data["bound"] if data["bound"] else 1.0,
        "prepared": data["prepared_bytes"],
        "sizes": data["sizes"],
        "steps": len(labels),
        "top": top,
        "blocks": blocks,
        "sum": sum(block["bytes"] for block in blocks),
        "largest": largest,
        "curve": "M" + "L".join(f"{x:.1f},{y:.1f}H{x + WIDTH / steps:.1f}" for x, y in points) if points else "",
        "bound_y": HEIGHT - data["bound"] / top * HEIGHT,
        "peak_y": HEIGHT - data["bytes"] / top * HEIGHT,
        "busiest": busiest,
        "busiest_label": labels[busiest] if labels else "",
        "direct": len(data["direct"]),
    }


def _alive(blocks: list[dict[str, Any]], steps: int) -> list[int]:
    """Bytes of all blocks that are alive while each instruction runs."""
    change = [0] * (steps + 1)
    for block in blocks:
        last = steps - 1 if block["kept"] else block["last"]
        change[0 if block["kept"] else block["first"]] += block["bytes"]
        change[last + 1] -= block["bytes"]
    found, total = [], 0
    for step in range(steps):
        total += change[step]
        found.append(total)
    return found
