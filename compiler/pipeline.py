"""The passes, in order, and the loop that runs them.

To add a pass: one file in `compiler/passes/`, one line here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from compiler.bodies import in_bodies
from compiler.instruments.instrument import Failure, Instrument, Verification
from compiler.ir import Graph
from compiler.passes.canonicalize import canonicalize
from compiler.passes.context import PassContext
from compiler.passes.decompose import decompose
from compiler.passes.differentiate import differentiate
from compiler.passes.eliminate_common_subexpressions import eliminate_common_subexpressions
from compiler.passes.eliminate_dead_code import eliminate_dead_code
from compiler.passes.fold_constants import fold_constants
from compiler.passes.fuse import fuse
from compiler.passes.hoist_invariants import hoist_invariants
from compiler.passes.infer_shapes import infer_shapes
from compiler.passes.join_depthwise import join_depthwise
from compiler.passes.limit_kernels import limit_kernels
from compiler.passes.name_steps import name_steps
from compiler.passes.pack_kernels import pack_kernels
from compiler.passes.plan_memory import plan_memory
from compiler.passes.recompute import recompute
from compiler.passes.schedule import schedule
from compiler.passes.select_attention import select_attention
from compiler.passes.select_kernels import select_kernels
from compiler.passes.simplify_loops import simplify_loops
from compiler.passes.sink_products import sink_products
from compiler.passes.touch_rows import touch_rows
from compiler.text import to_text
from compiler.verify import verify

Pass = Callable[[Graph, PassContext], Graph]

PIPELINE: tuple[Pass, ...] = (
    infer_shapes,
    name_steps,
    select_attention,
    differentiate,
    decompose,
    canonicalize,
    fold_constants,
    canonicalize,
    eliminate_common_subexpressions,
    eliminate_dead_code,
    simplify_loops,
    sink_products,
    touch_rows,
    recompute,
    select_kernels,
    join_depthwise,
    pack_kernels,
    hoist_invariants,
    fuse,
    limit_kernels,
    schedule,
    plan_memory,
)

# These run in the bodies of loops first. The others look at loops themselves, or have nothing to do there.
INSIDE_LOOPS: frozenset[Pass] = frozenset((
    select_attention,
    decompose,
    canonicalize,
    fold_constants,
    eliminate_common_subexpressions,
    eliminate_dead_code,
    touch_rows,
    recompute,
    select_kernels,
    fuse,
    schedule,
))  # fmt: skip


def run_pipeline(
    graph: Graph,
    context: PassContext | None = None,
    *,
    passes: Sequence[Pass] = PIPELINE,
    instruments: Sequence[Instrument] = (),
) -> Graph:
    """Run `passes` in order, verifying the graph after each, while `instruments` look on.

    An exception gains a note with the pass, those before it, and the graph it worked on.
    """
    context = context or PassContext()
    verification = Verification()
    verify(graph, verification.checked)
    watching = (verification, *instruments)
    done: list[str] = []
    for position, pass_ in enumerate(passes):
        name = pass_.__name__
        if not all(instrument.should_run(name, graph, context) for instrument in watching):
            continue
        try:
            graph = _run_watched(pass_, graph, context, watching)
        except Exception as error:
            error.add_note(f"in pass '{name}' (after {', '.join(done) or 'none'}), on:\n{to_text(graph)}")
            failure = Failure(name, graph, context, tuple(rest.__name__ for rest in passes[position:]), error)
            for instrument in watching:
                instrument.failed(failure)
            raise
        done.append(name)
    return graph


def _run_watched(pass_: Pass, graph: Graph, context: PassContext, watching: Sequence[Instrument]) -> Graph:
    name = pass_.__name__
    for instrument in watching:
        instrument.before(name, graph, context)
    start = time.perf_counter()
    changed = pass_(_with_bodies(pass_, graph, context), context)
    seconds = time.perf_counter() - start
    for instrument in watching:
        instrument.after(name, graph, changed, context, seconds)
    return changed


def _with_bodies(pass_: Pass, graph: Graph, context: PassContext) -> Graph:
    return in_bodies(graph, lambda body: pass_(body, context)) if pass_ in INSIDE_LOOPS else graph
