"""Shows one stage of compiling `docs/step.graph`: `python docs/stages.py STAGE`, as docs/compiler.md does."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from compiler.assembly import label_of
from compiler.codegen.cpu import print_loop_kernel
from compiler.driver import compile_graph
from compiler.instruments import Records
from compiler.ir import Graph
from compiler.loops import LoopKernel
from compiler.lower import lower_group, plan_of
from compiler.ops.fused import Fused
from compiler.passes.context import PassContext
from compiler.pipeline import PIPELINE, run_pipeline
from compiler.storage import is_kernel, root_of
from compiler.text import parse, to_text

TRACED = parse((Path(__file__).parent / "step.graph").read_text(encoding="utf-8"))
RECURRENCE = parse((Path(__file__).parent / "recurrence.graph").read_text(encoding="utf-8"))


def up_to(name: str) -> tuple[Graph, PassContext]:
    """The graph after the last pass of this name, and what the passes noted."""
    names = [pass_.__name__ for pass_ in PIPELINE]
    last = len(names) - names[::-1].index(name)
    context = PassContext()
    return run_pipeline(TRACED, context, passes=PIPELINE[:last]), context


def passes() -> None:
    """A line for each pass: how many nodes it leaves."""

    records = Records()
    run_pipeline(TRACED, instruments=(records,))
    print(f"{'traced':36}{len(TRACED.nodes):4} nodes")
    for record in records.records:
        print(f"{record.name:36}{record.nodes_after:4} nodes")


def differentiated() -> None:
    """The graph once the op `gradient` is expanded."""
    print(to_text(up_to("differentiate")[0], sources=False), end="")


def simplified() -> None:
    """The graph that goes into fusion."""
    print(to_text(up_to("eliminate_dead_code")[0], sources=False), end="")


def fused() -> None:
    """The graph of kernels."""
    print(to_text(up_to("fuse")[0], sources=False), end="")


def reasons() -> None:
    """Why edges between kernels stay in memory."""
    for remark in up_to("fuse")[1].remarks:
        print(remark)


def memory() -> None:
    """Where each kernel writes."""
    graph, context = up_to("plan_memory")
    plan = context.memory
    assert plan is not None
    slots = {slot.value: slot for slot in plan.slots}
    for position, node in enumerate(filter(is_kernel, graph.nodes)):
        for value in node.outputs:
            slot = slots.get(value)
            place = plan.direct[root_of(value)] if slot is None else f"block {slot.block}, {slot.size} bytes"
            life = "" if slot is None else f", until kernel {slot.last}"
            print(f"{position} {label_of(node)}: {value.type} -> {place}{life}")
    if plan.prepared_bytes:
        print(f"made once and kept: {plan.prepared_bytes} bytes")
    for batch in (1, 32, 1000):
        found = plan.at({"batch": batch})
        places = ", ".join(f"block {block} at {offset}" for block, offset in enumerate(found.offsets))
        print(f"batch {batch}: {places}; {found.size} bytes, {found.ratio:.2f} times the least possible")


def recurrence() -> None:
    """The graph of a recurrence before kernels are made of it."""
    names = [pass_.__name__ for pass_ in PIPELINE]
    print(to_text(run_pipeline(RECURRENCE, PassContext(), passes=PIPELINE[: names.index("pack_kernels")])), end="")


def loops() -> None:
    """The instructions of a recurrence's program, and which of them are loops."""
    program = compile_graph(RECURRENCE).program
    loop_of = {i: number for number, loop in enumerate(program.loops) for i in range(loop.first, loop.end)}
    for index, call in enumerate(program.instructions):
        inside = f"in loop {loop_of[index]}" if index in loop_of else ""
        limited = "below the limit" if call.limit >= 0 else inside
        print(f"{index:2} {call.label:44.44} {limited}".rstrip())
    for number, loop in enumerate(program.loops):
        order = "in reverse" if loop.reverse else "forward"
        part = "" if loop.limit < 0 else ", not below the limit" if loop.beyond else ", below the limit"
        print(f"loop {number}: {loop.count} times {order}{part}, {len(loop.windows)} windows")


def kernel() -> None:
    """The loops of the first kernel that is no contraction, printed for the CPU."""
    graph, _ = up_to("fuse")
    bodies = [node.op.body for node in graph.nodes if isinstance(node.op, Fused)]
    body = next(body for body in bodies if plan_of(body).kind != "contraction")
    lowered = lower_group(body)
    assert isinstance(lowered, LoopKernel)
    print(f"# work items: {lowered.work}")
    print(print_loop_kernel(lowered).source, end="")


def run() -> None:
    """Three steps at three batch sizes, all by one program."""
    compiled = compile_graph(TRACED)
    rng = np.random.default_rng(0)
    weights = (np.zeros((784, 10), "float32"), np.zeros(10, "float32"))
    for batch in (64, 64, 17):
        x = rng.random((batch, 784), dtype=np.float32) / 100
        target = np.eye(10, dtype=np.float32)[rng.integers(0, 10, batch)]
        (loss,) = compiled.executable.run([x, target], weights)
        print(f"batch {batch}: loss {float(loss) / batch:.4f} a sample, |bias| {np.abs(weights[1]).sum():.3f}")


STAGES: dict[str, Callable[[], None]] = {
    stage.__name__: stage
    for stage in (passes, differentiated, simplified, fused, reasons, memory, recurrence, loops, kernel, run)
}

if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("stage", choices=STAGES)
    STAGES[arguments.parse_args().stage]()
