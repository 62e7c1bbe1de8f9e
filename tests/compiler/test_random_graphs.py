"""Random graphs through the whole pipeline: the same numbers, sound memory, every node in one kernel."""

from __future__ import annotations

import os
from collections import Counter

import numpy as np
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from random_graphs import graphs

from compiler.interpret import interpret
from compiler.ir import Fusion, Graph
from compiler.ops.fused import Fused
from compiler.passes.context import PassContext
from compiler.passes.differentiate import differentiate
from compiler.passes.fuse import fuse
from compiler.pipeline import PIPELINE, run_pipeline
from compiler.text import large_constants, parse, to_text
from compiler.verify import verify

relaxed = settings(
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # a graph of a dozen nodes is small enough to read as it is
    max_examples=int(os.environ.get("GRAPHCORE_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
SEED = st.integers(0, 1000)


def same_numbers(before: Graph, after: Graph, arrays: list[np.ndarray]) -> None:
    count = len(before.inputs)
    for one, other in zip(
        interpret(before, arrays[:count], arrays[count:]), interpret(after, arrays[:count], arrays[count:]), strict=True
    ):
        left = list(one.values()) if isinstance(one, dict) else list(one)
        right = list(other.values()) if isinstance(other, dict) else list(other)
        for got, expected in zip(right, left, strict=True):
            scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9 * scale)


@relaxed
@given(graph=graphs(gradients=True), seed=SEED)
def test_every_pass_keeps_the_numbers_and_settles(graph, seed, arrays_for):
    note(to_text(graph))
    arrays = [array.astype("float64") for array in arrays_for(graph, seed)]
    context = PassContext()
    current = graph
    for pass_ in PIPELINE:
        changed = pass_(current, context)
        verify(changed)
        if changed is not current and pass_ is not differentiate:
            same_numbers(current, changed, arrays)
        assert parse(to_text(changed), large_constants(changed)) == changed
        assert pass_ is fuse or pass_(changed, PassContext()) is changed, f"{pass_.__name__} does not settle"
        current = changed


@relaxed
@given(graph=graphs(gradients=True))
def test_fuse_puts_every_node_in_one_kernel_and_explains_every_edge(graph):
    note(to_text(graph))
    prepared = run_pipeline(graph, passes=PIPELINE[: PIPELINE.index(fuse)])
    context = PassContext()
    fused = fuse(prepared, context)
    counted = Counter(
        node.layer
        for kernel in fused.nodes
        if isinstance(kernel.op, Fused)
        for node in kernel.op.body.nodes
        if node.op.fusion not in (Fusion.BROADCAST, Fusion.SOURCE)
    )
    expected = Counter(
        node.layer
        for node in prepared.nodes
        if node.op.fusion not in (Fusion.BROADCAST, Fusion.SOURCE, Fusion.ALIAS, Fusion.OPAQUE)
    )
    # A comparison may be recomputed by each reader; nothing else is.
    recomputed = {node.layer for node in prepared.nodes if node.op.name == "greater"}
    assert {k: v for k, v in counted.items() if k not in recomputed} == {
        k: v for k, v in expected.items() if k not in recomputed
    }
    left = {node.op.fusion for node in fused.nodes}
    assert left <= {Fusion.FUSED, Fusion.ALIAS, Fusion.OPAQUE}
    for consumer in fused.nodes:
        for value in consumer.inputs if isinstance(consumer.op, Fused) else ():
            if value.node is not None and isinstance(value.node.op, Fused):
                assert is_explained(value.node.op.body, consumer.op.body, context), "an edge without a reason"


def is_explained(producer: Graph, consumer: Graph, context: PassContext) -> bool:
    """Whether a remark speaks of an edge between ops of two kernels; in these graphs each op has a layer of its own."""
    sources = {f"({node.layer})" for node in producer.nodes}
    targets = {f"({node.layer})" for node in consumer.nodes}
    subjects = [remark.subject.split(" -> ") for remark in context.remarks]
    return any(left.split()[-1] in sources and right.split()[-1] in targets for left, right in subjects)


@settings(relaxed, max_examples=int(os.environ.get("GRAPHCORE_EXAMPLES", "60")) // 4)
@given(graph=graphs(gradients=True), seed=SEED, size=st.sampled_from([1, 5, 33]))
def test_compiled_graphs_agree_with_the_interpreter(graph, seed, size, check_compiled):
    note(to_text(graph))
    check_compiled(graph, seed=seed, n=size)
