"""The tab Kernels: what each kernel is, costs and reaches, its text beside LLVM's IR and the processor's instructions.

IR and instructions come from compiling a kernel once more, so only those that take most of the time have them: enough
to cover `COVERED` of a step, at most `MOST_COMPILED`, and as many as fit in. The texts are compressed in the page.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from typing import TYPE_CHECKING, Any

from compiler.inspect.kernel_times import itemsize_of
from compiler.inspect.report_page.charts import hue_of, log_ticks
from compiler.inspect.report_page.code import code_lines, linked_assembly, linked_llvm

if TYPE_CHECKING:
    from compiler.inspect.kernel_stage import KernelInfo
    from compiler.inspect.report_page.subject import Subject
    from compiler.roof import Roof

__all__ = ["add_instructions", "kernels_tab"]

COVERED = 0.95
MOST_COMPILED = 24
PLAIN_BYTES = 80_000  # of kernels' text that can be read without scripts
PACKED_BYTES = 260_000  # of compressed IR and instructions; the other kernels have their own text only
MARK_BYTES = 64  # of the page, for each kernel that has them
LONGEST_TEXT = 400_000  # characters of IR or instructions of one kernel, from which on the rest is left out
WIDTH, HEIGHT = 640.0, 340.0  # of the roofline plot, without its margins


def kernels_tab(subject: Subject) -> dict[str, Any]:
    """What the template shows: a row for each kernel, their texts, the roofline."""
    rows = [_row(subject, kernel) for kernel in subject.stages.kernels.kernels]
    rows.sort(key=lambda row: -row["seconds"])
    by_index = {kernel.index: kernel for kernel in subject.stages.kernels.kernels}
    texts: dict[int, str] = {}
    room = PLAIN_BYTES
    for row in rows:
        kernel = by_index[row["index"]]
        row["is_compiled"] = False
        texts[kernel.index] = _packed(_texts(kernel, compiled=False))
        row["plain"] = kernel.source if len(kernel.source) <= room else ""
        room -= len(row["plain"])
    return {
        "rows": rows,
        "texts": texts,
        "compiled": 0,
        "roof": _roofline(subject, rows),
        "seconds": sum(row["seconds"] for row in rows),
        "threads": subject.threads,
    }


def add_instructions(subject: Subject, tab: dict[str, Any], room: int) -> None:
    """Put LLVM's IR and the processor's instructions beside the text of the costliest kernels.

    Args:
        subject: the page's.
        tab: what `kernels_tab` gave; it is changed.
        room: bytes by which the page may grow.
    """
    room = min(room, PACKED_BYTES)
    by_index = {kernel.index: kernel for kernel in subject.stages.kernels.kernels}
    costly = _costly(tab["rows"])
    for row in tab["rows"]:
        if row["index"] not in costly or room <= MARK_BYTES:
            continue
        packed = _packed(_texts(by_index[row["index"]], compiled=True))
        growth = len(packed) - len(tab["texts"][row["index"]]) + MARK_BYTES
        if growth <= room:
            room -= growth
            tab["texts"][row["index"]] = packed
            row["is_compiled"] = True
            tab["compiled"] += 1


def _row(subject: Subject, kernel: KernelInfo) -> dict[str, Any]:
    seconds = flops = elements = moved = 0.0
    for call in kernel.calls:
        cost = subject.cost(call)
        flops, elements, moved = flops + cost.flops, elements + cost.elements, moved + cost.bytes
        seconds += subject.seconds[call.position] if subject.seconds else 0.0
    total = sum(subject.seconds) or 1.0
    return {
        "index": kernel.index,
        "name": kernel.name,
        "kind": kernel.kind,
        "choices": kernel.choices,
        "calls": [call.position for call in kernel.calls],
        "layers": list(dict.fromkeys(call.layer for call in kernel.calls if call.layer)),
        "flops": flops,
        "elements": elements,
        "bytes": moved,
        "seconds": seconds,
        "share": seconds / total,
        "flops_rate": (flops or elements) / seconds if seconds else 0.0,
        "bytes_rate": moved / seconds if seconds else 0.0,
        "object_bytes": len(kernel.object_code),
        "itemsize": itemsize_of(subject.compiled.program, kernel.calls[0].instruction, subject.sizes),
    }


def _costly(rows: list[dict[str, Any]]) -> set[int]:
    """The kernels that are worth compiling once more; `rows` are sorted by time."""
    found: set[int] = set()
    covered = 0.0
    for row in rows:
        if len(found) >= MOST_COMPILED or (covered >= COVERED and row["seconds"]):
            break
        found.add(row["index"])
        covered += row["share"]
    return found


def _texts(kernel: KernelInfo, *, compiled: bool) -> dict[str, Any]:
    """Highlighted lines of a kernel's texts, and which lines of each belong together."""
    found: dict[str, Any] = {"source": code_lines(kernel.source, "python")}
    if compiled:
        llvm, llvm_links = linked_llvm(kernel.llvm)
        assembly, assembly_links = linked_assembly(kernel.assembly)
        found["links"] = {"llvm": llvm_links, "assembly": assembly_links}
        found["llvm"] = code_lines(_cut(llvm, ";"), "llvm")
        found["assembly"] = code_lines(_cut(assembly, "#"), "gas")
    return found


def _cut(text: str, comment: str) -> str:
    if len(text) <= LONGEST_TEXT:
        return text
    whole = text[:LONGEST_TEXT].rpartition("\n")[0]
    return f"{whole}\n{comment} … {text.count(chr(10)) - whole.count(chr(10))} more lines are left out"


def _packed(data: object) -> str:
    # The time in the header would make two reports of the same thing differ.
    packed = gzip.compress(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode(), 9, mtime=0)
    return base64.b64encode(packed).decode()


def _roofline(subject: Subject, rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Operations a second over operations a byte, both axes logarithmic; None where nothing was measured."""
    if not subject.seconds:
        return None
    from compiler.roof import roof

    found: Roof = roof(subject.threads)
    points = []
    for row in rows:
        work = row["flops"] or row["elements"]
        if work <= 0 or row["bytes"] <= 0 or row["seconds"] <= 0:
            continue
        share = found.share(work, row["bytes"], row["seconds"], row["itemsize"])
        points.append((row, work / row["bytes"], work / row["seconds"], share))
    intensities = [x for _, x, _, _ in points] + [found.flops / found.bandwidth]
    rates = [y for _, _, y, _ in points]
    left, right = min(intensities) / 2, max(intensities) * 3
    top, bottom = max([*rates, found.flops]) * 1.6, min([*rates, found.flops / 1e3]) / 2

    def x(value: float) -> float:
        return math.log(value / left) / math.log(right / left) * WIDTH

    def y(value: float) -> float:
        return HEIGHT - math.log(value / bottom) / math.log(top / bottom) * HEIGHT

    ridge = found.flops / found.bandwidth
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "threads": found.threads,
        "flops": found.flops,
        "bandwidth": found.bandwidth,
        "path": f"M{x(left):.1f},{y(left * found.bandwidth):.1f}L{x(ridge):.1f},{y(found.flops):.1f}"
        f"L{x(right):.1f},{y(found.flops):.1f}",
        "points": [
            {"x": x(at), "y": y(rate), "index": row["index"], "name": row["name"], "hue": hue_of(row["layers"][0])
             if row["layers"] else 0, "radius": 3 + 12 * math.sqrt(row["share"]), "intensity": at, "rate": rate,
             "of_roof": share}
            for row, at, rate, share in points
        ],
        "across": [{"at": x(tick), "text": f"{tick:g}"} for tick in log_ticks(left, right)],
        "up": [{"at": y(tick), "text": f"{tick / 1e9:g}"} for tick in log_ticks(bottom, top)],
    }  # fmt: skip
