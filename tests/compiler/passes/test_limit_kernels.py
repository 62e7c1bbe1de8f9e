"""`limit_kernels`: which kernels around a limited loop work on its steps alone, and that the numbers are the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from compiler import functions as f
from compiler.driver import compile_graph
from compiler.interpret import interpret
from compiler.ir import Builder, Graph, Value
from compiler.ops.fused import FusedSteps
from compiler.passes.context import PassContext
from compiler.passes.differentiate import differentiate, emit_gradient
from compiler.pipeline import run_pipeline
from compiler.target import CUDA_TARGET
from compiler.types import TensorType
from runtime.dimensions import symbol

STEPS, BATCH, UNITS = symbol("t"), symbol("n"), 3
Between = Callable[[Builder, Value], Value]


def running_sum() -> Graph:
    """h' = h + x; tanh(h') is stacked."""
    body = Builder("sum")
    h, x = (body.input(name, TensorType((BATCH, UNITS))) for name in "hx")
    new = f.add(body, h, x)
    body.output("h", new)
    body.output("y", f.tanh(body, new))
    return body.build()


class Net:
    """A limited loop over what `between` makes of the input."""

    def __init__(self, between: Between, *, reverse: bool = False) -> None:
        b = self.b = Builder("net")
        self.x = b.input("x", TensorType((STEPS, BATCH, UNITS)))
        self.limit = b.input("limit", TensorType((), "int32"))
        self.entries = between(b, self.x)
        self.zero = f.full(b, (BATCH, UNITS), 0.0)
        self.loop = f.scan(b, running_sum(), [self.zero], [self.entries], limit=self.limit, reverse=reverse)
        b.output("last", self.loop.final[0])


def product(b: Builder, x: Value) -> Value:
    return f.matmul(b, x, b.variable("w", TensorType((UNITS, UNITS))))


def limited(graph: Graph, **options: object) -> list[list[str]]:
    """The ops of each kernel that is limited."""
    nodes = run_pipeline(graph, PassContext(**options)).nodes
    return [[inner.op.name for inner in node.op.body.nodes] for node in nodes if isinstance(node.op, FusedSteps)]


def check_numbers(graph: Graph) -> None:
    """Limits of no step to more than there are, each after a run that leaves NaN in the arena."""
    judge, program = differentiate(graph, PassContext()), compile_graph(graph).executable
    rng = np.random.default_rng(5)
    x = rng.normal(size=(5, 4, UNITS)).astype("float32")
    variables = [rng.normal(size=(UNITS, UNITS)).astype("float32") for _ in graph.variables]
    for limit in (0, 3, 5, 8):
        feeds = [x, np.array(limit, "int32")]
        program.run([np.full_like(x, np.nan), np.array(5, "int32")], variables)
        expected, _ = interpret(judge, feeds, variables)
        for (name, _), got, wanted in zip(graph.outputs, program.run(feeds, variables), expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-6, err_msg=f"{name}, {limit} steps")


@pytest.mark.parametrize("reverse", [False, True])
def test_what_the_loop_alone_reads_is_limited(reverse: bool) -> None:
    graph = Net(product, reverse=reverse).b.build()
    assert limited(graph) == [["matmul"]]
    check_numbers(graph)


def test_sums_over_the_steps_of_a_gradient_are_limited() -> None:
    net = Net(product)
    loss = f.reduce_sum(net.b, f.multiply(net.b, net.loop.final[0], net.loop.final[0]))
    net.b.output("dw", emit_gradient(net.b, loss, [net.b.variables[0].value])[0])
    graph = net.b.build()
    assert limited(graph) == [["matmul"], ["matmul"]]
    check_numbers(graph)


def test_a_chain_of_kernels_is_limited() -> None:
    def two_kernels(b: Builder, x: Value) -> Value:
        return f.add(b, product(b, x), f.spread(b, f.reduce_sum(b, x, (2,)), x.type.shape, (2,)))

    graph = Net(two_kernels).b.build()
    assert len(limited(graph)) == 2
    check_numbers(graph)


def over_count(b: Builder, x: Value) -> Value:
    return f.divide(b, x, f.dimension(b, STEPS, "float32"))


def over_batch(b: Builder, x: Value) -> Value:
    return f.divide(b, x, f.dimension(b, BATCH, "float32"))


def test_a_kernel_that_reads_how_many_steps_there_are_is_not_limited() -> None:
    graph = Net(over_count).b.build()
    assert limited(graph) == []
    check_numbers(graph)
    graph = Net(over_batch).b.build()
    assert len(limited(graph)) == 1, "how many rows there are stays what it is"
    check_numbers(graph)


def test_a_sum_that_reads_how_many_steps_there_are_is_not_limited() -> None:
    net = Net(product)
    total = f.reduce_sum(net.b, net.loop.stacks[0], (0,))
    net.b.output("mean", f.divide(net.b, total, f.dimension(net.b, STEPS, "float32")))
    graph = net.b.build()
    assert limited(graph) == [["matmul"]]
    check_numbers(graph)


def test_sources_of_one_number_a_step_are_limited() -> None:
    def numbered(b: Builder, x: Value) -> Value:
        return f.multiply(b, x, f.cast(b, f.iota(b, x.type.shape, 0, "int32"), "float32"))

    graph = Net(numbered).b.build()
    assert len(limited(graph)) == 1
    check_numbers(graph)


def reads_as_constant(net: Net) -> None:
    body = Builder("whole")
    h = body.input("h", TensorType((BATCH, UNITS)))
    x = body.input("x", TensorType((BATCH, UNITS)))
    whole = body.input("whole", net.entries.type)
    body.output("h", f.add(body, f.add(body, h, x), f.reduce_sum(body, whole, (0,))))
    found = f.scan(net.b, body.build(), [net.zero], [net.x], [net.entries], limit=net.limit)
    net.b.output("other", found.final[0])


def reads_without_limit(net: Net) -> None:
    net.b.output("other", f.scan(net.b, running_sum(), [net.zero], [net.entries]).final[0])


def reads_by_another_limit(net: Net) -> None:
    other = f.minimum(net.b, net.limit, 2)
    net.b.output("other", f.scan(net.b, running_sum(), [net.zero], [net.entries], limit=other).final[0])


def is_a_result(net: Net) -> None:
    net.b.output("other", net.entries)


def reads_in_a_kernel(net: Net) -> None:
    net.b.output("other", f.reduce_max(net.b, net.entries, (0, 1)))


@pytest.mark.parametrize(
    "read", [reads_as_constant, reads_without_limit, reads_by_another_limit, is_a_result, reads_in_a_kernel]
)
def test_what_is_read_beyond_the_limit_is_computed_there(read: Callable[[Net], None]) -> None:
    net = Net(product)
    read(net)
    graph = net.b.build()
    assert limited(graph) == []
    check_numbers(graph)


def test_a_product_of_time_is_not_limited() -> None:
    """Its rows are features; the leading steps lie in all of them."""

    def columns(b: Builder, x: Value) -> Value:
        rows = f.reshape(b, f.transpose(b, x, (2, 1, 0)), (UNITS, -1))
        result = f.matmul(b, b.variable("w", TensorType((UNITS, UNITS))), rows)
        return f.transpose(b, f.reshape(b, result, (UNITS, BATCH, STEPS)), (2, 1, 0))

    graph = Net(columns).b.build()
    assert not any("matmul" in names for names in limited(graph))
    check_numbers(graph)


@pytest.mark.parametrize("place", ["constants", "initial state"])
def test_a_stack_that_another_loop_reads_whole_is_filled_up(place: str) -> None:
    """Limited by the same value, but what it reads whole it reads beyond the limit, too."""
    net = Net(product)
    stack = net.loop.stacks[0]
    body = Builder("whole")
    h = body.input("h", TensorType((BATCH, UNITS)))
    state = [body.input("all", stack.type)] if place == "initial state" else []
    x = body.input("x", TensorType((BATCH, UNITS)))
    whole = state[0] if state else body.input("all", stack.type)
    body.output("h", f.add(body, h, f.reduce_sum(body, f.multiply(body, whole, x), (0,))))
    for value in state:
        body.output("all", f.multiply(body, value, 2.0))
    initial, constants = ([net.zero, stack], []) if state else ([net.zero], [stack])
    found = f.scan(net.b, body.build(), initial, [net.x], constants, limit=net.limit)
    net.b.output("other", found.final[0])
    check_numbers(net.b.build())


def test_other_targets_and_graphs_without_a_limit_stay() -> None:
    assert limited(Net(product).b.build(), target=CUDA_TARGET) == []
    b = Builder("net")
    x = b.input("x", TensorType((STEPS, BATCH, UNITS)))
    b.output("y", f.scan(b, running_sum(), [f.full(b, (BATCH, UNITS), 0.0)], [product(b, x)]).final[0])
    assert limited(b.build()) == []
