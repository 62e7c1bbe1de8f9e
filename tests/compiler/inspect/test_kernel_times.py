"""Sums over profiles against figures worked out by hand, and the nesting of traces."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from compiler import functions as f
from compiler.driver import compile_graph
from compiler.inspect.kernel_times import layer_times, program_times
from compiler.inspect.trace_events import trace_events
from compiler.ir import Builder
from compiler.ops.scan import Scan
from compiler.roof import Roof
from compiler.types import TensorType
from runtime import set_num_threads
from runtime.dimensions import symbol
from runtime.recorder import Recorder

BATCH = symbol("batch")


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest, threads_restored: None) -> int:
    set_num_threads(request.param)
    return int(request.param)


def roof_of(threads: int) -> Roof:
    return Roof(threads, threads * 1e11, 1e10, 1e10)


def two_layers() -> Any:
    b = Builder("two_layers")
    x = b.input("x", TensorType((BATCH, 300), "float32"))
    w = b.variable("w", TensorType((300, 200), "float32"))
    with b.scope(layer="first: dense"):
        y = f.matmul(b, x, w)
    with b.scope(layer="second"):
        z = f.reduce_sum(b, y, (0,))
    b.output("y", y)
    b.output("z", z)
    return compile_graph(b.build()).executable


def recorded(executable: Any, runs: int = 12) -> Any:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(256, 300)).astype(np.float32), rng.normal(size=(300, 200)).astype(np.float32)
    with Recorder() as recorder:
        for _ in range(runs):
            executable.run([x], (w,))
    return recorder.profiles


def test_arithmetic_traffic_and_rates(threads: int) -> None:
    (profile,) = recorded(two_layers())
    times = program_times(profile, roof_of)
    assert (times.name, times.values, times.runs) == ("two_layers", {"batch": 256}, 12)
    product = next(kernel for kernel in times.kernels if "matmul" in kernel.label)
    assert product.flops == 2 * 256 * 300 * 200
    assert product.bytes >= 4 * (256 * 300 + 300 * 200 + 256 * 200)
    assert product.gflops == pytest.approx(product.flops / product.median)
    roof = roof_of(times.threads)
    assert product.roof == pytest.approx(
        max(product.flops / roof.flops, product.bytes / roof.bandwidth) / (product.median * 1e-9)
    )
    assert product.layer.startswith("first: dense")
    assert all(kernel.flops == 0 for kernel in times.kernels if "matmul" not in kernel.label)
    assert all(kernel.runs == 12 <= kernel.calls for kernel in times.kernels)


def test_a_lookup_moves_the_rows_that_it_looks_up_and_not_the_table() -> None:
    b = Builder("lookup")
    rows = b.input("rows", TensorType((BATCH, 6), "int32"))
    table = b.variable("table", TensorType((5000, 64), "float32"))
    b.output("y", f.take(b, table, rows, axis=0))
    executable = compile_graph(b.build()).executable
    chosen = np.random.default_rng(0).integers(0, 5000, (7, 6)).astype(np.int32)
    with Recorder() as recorder:
        executable.run([chosen], (np.zeros((5000, 64), np.float32),))
    (kernel,) = program_times(recorder.profiles[0], roof_of).kernels
    assert kernel.bytes == 4 * 7 * 6 + 2 * 4 * 7 * 6 * 64
    assert kernel.roof == pytest.approx(kernel.bytes / 1e10 / (kernel.median * 1e-9))


def test_every_nanosecond_is_accounted_for(threads: int) -> None:
    (profile,) = recorded(two_layers())
    times = program_times(profile, roof_of)
    assert times.waiting >= 0
    assert times.between > 0
    if threads == 1:
        assert times.waiting == pytest.approx(0, abs=1)
    parts = sum(kernel.total for kernel in times.kernels) + times.waiting + times.between
    assert parts == pytest.approx(times.total) == pytest.approx(profile.durations().sum())
    layers = layer_times(times.kernels)
    assert sum(layer.total for layer in layers) == pytest.approx(sum(kernel.total for kernel in times.kernels))
    assert [layer.total for layer in layers] == sorted((layer.total for layer in layers), reverse=True)


def counting_loop(steps: int) -> Any:
    """The state takes one sum for each step of a loop."""
    b, body = Builder("loop"), Builder("body")
    state = body.input("state", TensorType((BATCH, 64), "float32"))
    entry = body.input("entry", TensorType((BATCH, 64), "float32"))
    weights = body.input("weights", TensorType((64, 64), "float32"))
    with body.scope(layer="cell"):
        body.output("state", f.tanh(body, f.add(body, f.matmul(body, state, weights), entry)))
    x = b.input("x", TensorType((steps, BATCH, 64), "float32"))
    first = b.input("first", TensorType((BATCH, 64), "float32"))
    w = b.variable("w", TensorType((64, 64), "float32"))
    b.output("last", b.emit(Scan(1, 1, steps, (False,), False, False, body.build()), first, x, w))
    return compile_graph(b.build()).executable


def test_a_loop_counts_all_its_steps(threads: int) -> None:
    steps, rng = 9, np.random.default_rng(0)
    executable = counting_loop(steps)
    x, first, w = (rng.normal(size=size).astype(np.float32) for size in ((steps, 32, 64), (32, 64), (64, 64)))
    with Recorder() as recorder:
        for _ in range(8):
            executable.run([x, first], (w,))
    times = program_times(recorder.profiles[0], roof_of)
    assert sum(kernel.flops for kernel in times.kernels) == 2 * 32 * 64 * 64 * steps
    product = max(times.kernels, key=lambda kernel: kernel.flops)
    assert product.calls >= 8 * steps
    trace = trace_events(recorder.profiles)
    check_nesting(trace)
    instructions = [e for e in trace["traceEvents"] if e.get("cat") == "instruction" and e["name"] == product.label]
    assert len(instructions) >= 8 * steps


def test_the_trace_is_json_and_properly_nested(threads: int) -> None:
    profiles = recorded(two_layers())
    trace = json.loads(json.dumps(trace_events(profiles)))
    check_nesting(trace)
    calls = [event for event in trace["traceEvents"] if event.get("cat") == "call"]
    assert len(calls) == profiles[0].call_counts().sum()
    steps = [event for event in trace["traceEvents"] if event.get("cat") == "step"]
    assert sum(event["tid"] == 0 for event in steps) == 12
    longest = sum(event["dur"] for event in steps if event["tid"] == 0)
    assert longest * 1e3 == pytest.approx(profiles[0].durations().sum(), rel=1e-3)


@pytest.mark.parametrize("kind", ["instruction", "call"])
def test_the_walk_sees_what_is_not_nested(kind: str) -> None:
    trace = trace_events(recorded(two_layers()))
    wrong = next(event for event in reversed(trace["traceEvents"]) if event.get("cat") == kind)
    wrong["dur"] += 1e6
    with pytest.raises(AssertionError):
        check_nesting(trace)


def check_nesting(trace: dict[str, Any]) -> None:
    """Walk each thread's events with a stack of those that are open: no two overlap without one holding the other, and
    kinds come in their order."""
    above = {"step": (None,), "instruction": ("step",), "call": ("instruction",), "gap": ("step", "instruction")}
    named = {event["tid"] for event in trace["traceEvents"] if event["ph"] == "M" and event["name"] == "thread_name"}
    events = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert events
    for thread in {event["tid"] for event in events}:
        assert thread in named
        opened: list[tuple[int, str]] = []
        before = 0
        rank = {"step": 0, "instruction": 1, "call": 2, "gap": 3}
        own = [event for event in events if event["tid"] == thread]
        for event in sorted(own, key=lambda each: (each["ts"], -each["dur"], rank[each["cat"]])):
            begin = round(event["ts"] * 1000)
            end = begin + round(event["dur"] * 1000)
            assert before <= begin <= end
            before = begin
            while opened and opened[-1][0] <= begin and not (opened[-1][0] >= end and begin == end):
                opened.pop()
            while opened and rank[opened[-1][1]] >= rank[event["cat"]] and opened[-1][0] <= begin:
                opened.pop()
            if opened:
                assert end <= opened[-1][0], (event, opened[-1])
            parent = opened[-1][1] if opened else None
            assert parent in above[event["cat"]], (event, parent)
            opened.append((end, event["cat"]))
