"""`sink_products`: which products of what a limited loop stacks move into it, and that the numbers are the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from compiler import functions as f
from compiler.driver import compile_graph
from compiler.interpret import interpret
from compiler.ir import Builder, Graph, Value
from compiler.ops.scan import Scan
from compiler.passes.context import PassContext
from compiler.passes.sink_products import sink_products
from compiler.types import TensorType
from compiler.verify import verify
from runtime.dimensions import symbol

STEPS, BATCH, UNITS, COLUMNS = symbol("t"), symbol("n"), 3, 4
Read = Callable[[Builder, Value], Value]


def network(*reads: Read, limited: bool = True, reverse: bool = False, stack: int = 0) -> Graph:
    """A loop that stacks tanh(h') and h' x, and what `reads` make of one of the two or, beyond them, of the states."""
    body = Builder("cell")
    h, x = (body.input(name, TensorType((BATCH, UNITS))) for name in "hx")
    new = f.add(body, h, x)
    for name, value in (("h", new), ("y", f.tanh(body, new)), ("z", f.multiply(body, new, x))):
        body.output(name, value)
    b = Builder("net")
    x = b.input("x", TensorType((STEPS, BATCH, UNITS)))
    limit = b.input("limit", TensorType((), "int32"))
    zero = f.full(b, (BATCH, UNITS), 0.0)
    found = f.scan(b, body.build(), [zero], [x], limit=limit if limited else None, reverse=reverse)
    for number, read in enumerate(reads):
        b.output(f"result{number}", read(b, (*found.stacks, *found.after)[stack]))
    b.output("last", found.final[0])
    return b.build()


def matrix(b: Builder, shape: tuple[int, ...] = (UNITS, COLUMNS)) -> Value:
    return b.variable(f"w{len(b.variables)}", TensorType(shape))


def product(b: Builder, x: Value) -> Value:
    return f.matmul(b, x, matrix(b))


def by_transposed(b: Builder, x: Value) -> Value:
    return f.matmul(b, x, matrix(b, (COLUMNS, UNITS)), transpose_b=True)


def sunk(graph: Graph) -> Graph:
    result = sink_products(graph, PassContext())
    verify(result)
    assert sink_products(result, PassContext()) is result, "a second run must find nothing to do"
    return result


def check_numbers(graph: Graph) -> None:
    """Limits of no step to more than there are, each after a run that leaves NaN in the arena."""
    changed, program = sunk(graph), compile_graph(graph).executable
    rng = np.random.default_rng(6)
    x = rng.normal(size=(5, 4, UNITS)).astype("float32")
    variables = [rng.normal(size=entry.value.type.shape).astype("float32") for entry in graph.variables]
    for limit in (0, 3, 5, 8):
        feeds = [x, np.array(limit, "int32")]
        expected, _ = interpret(graph, feeds, variables)
        program.run([np.full_like(x, np.nan), np.array(5, "int32")], variables)
        for results in (interpret(changed, feeds, variables)[0], program.run(feeds, variables)):
            for (name, _), got, wanted in zip(graph.outputs, results, expected, strict=True):
                np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-6, err_msg=f"{name}, {limit} steps")


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("read", [product, by_transposed])
def test_a_product_with_a_weight_moves_into_the_loop(
    read: Read, reverse: bool, operations: Callable[[Graph], list[str]]
) -> None:
    graph = network(read, reverse=reverse)
    changed = sunk(graph)
    assert "matmul" not in operations(changed)
    (scan,) = (node.op for node in changed.nodes if isinstance(node.op, Scan))
    assert operations(scan.body).count("matmul") == 1
    assert [value.type.shape for value in scan.stacked] == [(BATCH, UNITS), (BATCH, UNITS), (BATCH, COLUMNS)]
    assert scan.constants == 1
    check_numbers(graph)


def test_several_products_of_one_stack_move_together(operations: Callable[[Graph], list[str]]) -> None:
    graph = network(product, by_transposed, lambda b, x: f.exp(b, product(b, x)), lambda b, x: f.exp(b, x))
    changed = sunk(graph)
    assert "matmul" not in operations(changed)
    (scan,) = (node.op for node in changed.nodes if isinstance(node.op, Scan))
    assert operations(scan.body).count("matmul") == scan.constants == 3
    check_numbers(graph)


def of_a_computed_matrix(b: Builder, x: Value) -> Value:
    return f.matmul(b, x, f.exp(b, matrix(b)))


def of_steps_and_matrices(b: Builder, x: Value) -> Value:
    return f.matmul(b, x, f.broadcast_to(b, matrix(b), (STEPS, UNITS, COLUMNS)))


def of_time(b: Builder, x: Value) -> Value:
    return f.matmul(b, f.reshape(b, x, (STEPS, -1)), f.reshape(b, x, (STEPS, -1)), transpose_a=True)


def of_what_is_made_of_it(b: Builder, x: Value) -> Value:
    return product(b, f.exp(b, x))


@pytest.mark.parametrize("read", [of_a_computed_matrix, of_steps_and_matrices, of_time, of_what_is_made_of_it])
def test_other_products_stay(read: Read) -> None:
    graph = network(read)
    assert sink_products(graph, PassContext()) is graph
    check_numbers(graph)


def test_products_of_states_stay() -> None:
    graph = network(product, stack=2)
    assert sink_products(graph, PassContext()) is graph
    check_numbers(graph)


def test_a_loop_without_limit_stays_since_one_product_serves_all_steps() -> None:
    graph = network(product, limited=False)
    assert sink_products(graph, PassContext()) is graph
