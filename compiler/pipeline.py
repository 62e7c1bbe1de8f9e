"""The passes, in order, and the loop that runs them.

To add a pass: one file in `compiler/passes/`, one line here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from compiler.bodies import in_bodies
from compiler.ir import Graph, Node
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


class Hook(Protocol):
    """Called before or after a pass, for looking only."""

    def __call__(self, name: str, graph: Graph, context: PassContext, seconds: float) -> None:
        """`seconds` is what the pass took (0 before it)."""


def nothing(name: str, graph: Graph, context: PassContext, seconds: float) -> None:
    """The hook that does nothing."""


def run_pipeline(
    graph: Graph,
    context: PassContext | None = None,
    *,
    passes: tuple[Pass, ...] = PIPELINE,
    before: Hook = nothing,
    after: Hook = nothing,
) -> Graph:
    """Run `passes` in order, verifying the graph after each.

    An exception gains a note with the pass, those before it, and the graph it worked on.
    """
    context = context or PassContext()
    checked: set[Node] = set()
    verify(graph, checked)
    done: list[str] = []
    for pass_ in passes:
        name = pass_.__name__
        before(name, graph, context, 0.0)
        start = time.perf_counter()
        try:
            changed = pass_(_with_bodies(pass_, graph, context), context)
            if changed is not graph:
                verify(changed, checked)
        except Exception as error:
            error.add_note(f"in pass '{name}' (after {', '.join(done) or 'none'}), on:\n{to_text(graph)}")
            raise
        graph = changed
        done.append(name)
        after(name, graph, context, time.perf_counter() - start)
    return graph


def _with_bodies(pass_: Pass, graph: Graph, context: PassContext) -> Graph:
    return in_bodies(graph, lambda body: pass_(body, context)) if pass_ in INSIDE_LOOPS else graph
