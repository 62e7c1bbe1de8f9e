"""The tab Profile: one step's kernel calls on a line for each thread, and times by layer and by op."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compiler.inspect.report_page.attribution import layers_of, seconds_by
from compiler.inspect.report_page.charts import hue_of, seconds_text, ticks

if TYPE_CHECKING:
    from compiler.inspect.report_page.subject import Subject
    from runtime.profile import Profile

__all__ = ["profile_tab"]

WIDTH, LANE = 1000.0, 34.0
MOST_BARS = 6000  # calls in the drawing; the shortest are left out
MOST_ROWS = 300  # instructions in the table, the costly ones


def profile_tab(subject: Subject) -> dict[str, Any] | None:
    """What the template shows; None where nothing was measured."""
    profile = subject.profile
    if profile is None or not profile.runs:
        return None
    durations = profile.durations() * 1e-9
    run = _usual_run(durations, profile.team_sizes() == subject.threads)
    by_layer, by_op = seconds_by(subject)
    return {
        **_timeline(subject, profile, run, float(durations[run])),
        "runs": profile.runs,
        "threads": subject.threads,
        "least": float(durations.min()),
        "median": float(np.median(durations)),
        "note": subject.data_note,
        "layers": _totals(by_layer),
        "ops": _totals(by_op),
        "instructions": _instructions(subject),
    }


def _usual_run(durations: NDArray[np.float64], is_usual: NDArray[np.bool_]) -> int:
    """The median of the runs on the usual number of threads (of all, where no run had it), or the one before it."""
    runs = np.flatnonzero(is_usual) if is_usual.any() else np.arange(len(durations))
    return int(runs[np.argsort(durations[runs])[(len(runs) - 1) // 2]])


def _timeline(subject: Subject, profile: Profile, run: int, duration: float) -> dict[str, Any]:
    calls = profile.calls(run)
    end = max([duration, *(call.until * 1e-9 for call in calls)]) or 1.0
    threads = range(int(profile.team_sizes()[run]))
    drawn = sorted(calls, key=lambda call: call.begin - call.until)[:MOST_BARS]
    bars: dict[int, list[dict[str, Any]]] = {thread: [] for thread in threads}
    for call in sorted(drawn, key=lambda call: call.begin):
        bars[call.thread].append({
            "x": call.begin * 1e-9 / end * WIDTH,
            "width": (call.until - call.begin) * 1e-9 / end * WIDTH,
            "instruction": call.position,
            "begin": call.begin * 1e-9,
            "seconds": (call.until - call.begin) * 1e-9,
            "count": call.end - call.first,
            "hue": hue_of(layers_of(subject.calls[call.position].body, subject.calls[call.position].layer)[0]),
        })  # fmt: skip
    busy = {
        thread: sum(call.until - call.begin for call in calls if call.thread == thread) * 1e-9 for thread in threads
    }
    lanes = [
        {"thread": thread, "bars": bars[thread], "busy": busy[thread], "idle": max(end - busy[thread], 0.0),
         "waits": _waits([call for call in calls if call.thread == thread], end)}
        for thread in threads
    ]  # fmt: skip
    total = sum(busy.values())
    return {
        "width": WIDTH,
        "lane": LANE,
        "seconds": end,
        "lanes": lanes,
        "calls": len(calls),
        "drawn": len(drawn),
        "ticks": [{"x": at / (end * 1e6) * WIDTH, "text": seconds_text(at * 1e-6)} for at in ticks(end * 1e6, 8)],
        "accounted": total / (end * len(threads)),
    }


def _waits(calls: list[Any], end: float) -> list[dict[str, float]]:
    """The gaps of a thread: until the work it needs is there, or for want of any. Only those one can see."""
    found = []
    at = 0.0
    for call in [*calls, None]:
        begin = end if call is None else call.begin * 1e-9
        if begin - at > end / WIDTH:
            found.append({"x": at / end * WIDTH, "width": (begin - at) / end * WIDTH, "seconds": begin - at})
        at = at if call is None else max(at, call.until * 1e-9)
    return found


def _totals(seconds: dict[str, float]) -> list[dict[str, Any]]:
    total = sum(seconds.values()) or 1.0
    ordered = sorted(seconds.items(), key=lambda item: -item[1])
    return [{"name": name or "no layer", "seconds": spent, "share": spent / total} for name, spent in ordered]


def _instructions(subject: Subject) -> list[dict[str, Any]]:
    total = sum(subject.seconds) or 1.0
    rows: list[dict[str, Any]] = []
    for call, seconds in zip(subject.calls, subject.seconds, strict=True):
        flops, _, moved = subject.cost(call)
        rows.append({
            "position": call.position, "label": call.label, "layer": call.layer, "seconds": seconds,
            "share": seconds / total, "flops": flops, "bytes": moved, "prepared": call.prepared,
            "flops_rate": flops / seconds if seconds else 0.0, "bytes_rate": moved / seconds if seconds else 0.0,
        })  # fmt: skip
    return sorted(rows, key=lambda row: -row["seconds"])[:MOST_ROWS]
