"""Recurrences, compiled: against the interpreter in float64, and the same bits at any thread count."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler import functions as f
from compiler.driver import Compiled, compile_graph
from compiler.interpret import interpret
from compiler.ir import Builder, Graph, Value
from compiler.passes.context import PassContext
from compiler.passes.differentiate import differentiate, emit_gradient
from compiler.types import TensorType
from runtime import get_num_threads, set_num_threads
from runtime.dimensions import symbol
from runtime.program import Program

BATCH, STEPS = symbol("batch"), symbol("steps")
UNITS, FEATURES = 5, 3
VARIABLES = {"w": (FEATURES, 4 * UNITS), "u": (UNITS, 4 * UNITS), "b": (4 * UNITS,)}


@dataclasses.dataclass(frozen=True)
class Case:
    """What a recurrent layer may be asked for."""

    sequences: bool
    limited: bool
    reverse: bool

    def __str__(self) -> str:
        return "-".join(name for name, flag in dataclasses.asdict(self).items() if flag) or "plain"


CASES = [Case(s, n, r) for s in (False, True) for n in (False, True) for r in (False, True)]


def lstm_cell() -> Graph:
    """Hochreiter and Schmidhuber's cell with the forget gate of Gers et al., the gates in Keras's order."""
    b = Builder("cell")
    h, c = (b.input(name, TensorType((BATCH, UNITS))) for name in "hc")
    x = b.input("x", TensorType((BATCH, 4 * UNITS)))
    u = b.input("u", TensorType((UNITS, 4 * UNITS)))
    i, forget, g, o = f.split(b, f.add(b, f.matmul(b, h, u), x), 4, axis=1)
    new = f.add(b, f.multiply(b, f.sigmoid(b, forget), c), f.multiply(b, f.sigmoid(b, i), f.tanh(b, g)))
    b.output("h", f.multiply(b, f.sigmoid(b, o), f.tanh(b, new)))
    b.output("c", new)
    return b.build()


def network(case: Case) -> Graph:
    """Sum of squares of an LSTM's last output, or of all, and its gradients."""
    b = Builder("network")
    x = b.input("x", TensorType((BATCH, STEPS, FEATURES)))
    limit = b.input("n", TensorType((), "int32")) if case.limited else None
    w, u, bias = (b.variable(name, TensorType(shape)) for name, shape in VARIABLES.items())
    projected = f.add(b, f.matmul(b, f.transpose(b, x, (1, 0, 2)), w), bias)
    zero = f.full(b, (BATCH, UNITS), 0.0)
    found = f.scan(b, lstm_cell(), [zero, zero], [projected], [u], reverse=case.reverse, limit=limit)
    out = f.transpose(b, found.after[0], (1, 0, 2)) if case.sequences else found.final[0]
    loss = f.reduce_sum(b, f.multiply(b, out, out))
    b.output("out", out)
    b.output("loss", loss)
    for name, value in zip("wubx", emit_gradient(b, loss, (w, u, bias, x)), strict=True):
        b.output(f"d{name}", value)
    return b.build()


@pytest.fixture(scope="module", params=CASES, ids=str)
def compiled(request) -> tuple[Case, Graph, Compiled]:
    case = request.param
    graph = network(case)
    return case, differentiate(graph, PassContext()), compile_graph(graph)


def arrays(batch: int, steps: int) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(batch, steps, FEATURES)).astype("float32")
    return x, tuple((rng.normal(size=shape) * 0.4).astype("float32") for shape in VARIABLES.values())


SIZES = [(3, 7, 4), (1, 1, 1), (2, 0, 0), (9, 20, 0), (6, 5, 9), (17, 3, -2)]


@pytest.mark.parametrize(("batch", "steps", "limit"), SIZES)
def test_one_program_serves_every_length(compiled, batch, steps, limit):
    case, reference, program = compiled
    x, variables = arrays(batch, steps)
    limits = [np.array(limit, np.int32)] if case.limited else []
    expected, _ = interpret(reference, [x.astype("float64"), *limits], [v.astype("float64") for v in variables])
    threads, results = get_num_threads(), []
    try:
        for count in (1, 2, 3, 4):
            set_num_threads(count)
            results.append(program.executable.run([x, *limits], variables))
    finally:
        set_num_threads(threads)
    for value, wanted in zip(results[0], expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=2e-5, atol=2e-6 * max(1.0, np.abs(wanted).max(initial=0)))
    for other in results[1:]:
        assert [array.tobytes() for array in other] == [array.tobytes() for array in results[0]]


def test_a_program_with_loops_survives_its_bytes(compiled):
    case, _, program = compiled
    again = Program.from_bytes(program.program.to_bytes())
    assert again.loops == program.program.loops
    assert len(again.loops) == (4 if case.limited else 2), "forward and backward, and what fills the rest of each"


def counting_body() -> Graph:
    """state' = state * x + c; stacked is state * 2: nothing is a product."""
    b = Builder("count")
    state = b.input("state", TensorType((BATCH, 3)))
    x = b.input("x", TensorType((BATCH, 3)))
    c = b.input("c", TensorType((3,)))
    b.output("state", f.add(b, f.multiply(b, state, x), c))
    b.output("y", f.multiply(b, state, 2.0))
    return b.build()


@pytest.fixture(scope="module", params=[(False, False), (False, True), (True, False), (True, True)])
def counted(request) -> tuple[bool, bool, Graph, Compiled]:
    """A scan whose state is an output itself, or only its last value; and the gradient of what it stacks."""
    reverse, keep = request.param
    b = Builder("counted")
    x = b.input("x", TensorType((STEPS, BATCH, 3)))
    start = b.input("start", TensorType((BATCH, 3)))
    limit = b.input("limit", TensorType((), "int32"))
    c = b.variable("c", TensorType((3,)))
    found = f.scan(b, counting_body(), [start], [x], [c], reverse=reverse, limit=limit)
    b.output("state", found.after[0] if keep else found.final[0])
    b.output("y", found.stacks[0])
    loss = f.reduce_sum(b, f.multiply(b, found.stacks[0], found.stacks[0]))
    for name, value in zip(("dx", "dstart", "dc"), emit_gradient(b, loss, (x, start, c)), strict=True):
        b.output(name, value)
    graph = b.build()
    return reverse, keep, differentiate(graph, PassContext()), compile_graph(graph)


@settings(max_examples=25, deadline=None)
@given(batch=st.integers(1, 20), steps=st.integers(0, 12), limit=st.integers(-1, 14), data=st.integers(0, 99))
def test_any_sizes_agree_with_the_interpreter(counted, batch, steps, limit, data):
    *_, reference, program = counted
    rng = np.random.default_rng(data)
    shapes = ((steps, batch, 3), (batch, 3))
    inputs = [*(rng.normal(size=shape).astype("float32") for shape in shapes), np.array(limit, np.int32)]
    variables = (rng.normal(size=3).astype("float32"),)
    wide = [a.astype("float64") if a.dtype == np.float32 else a for a in inputs]
    expected, _ = interpret(reference, wide, [v.astype("float64") for v in variables])
    for value, wanted in zip(program.executable.run(inputs, variables), expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-5 * max(1.0, np.abs(wanted).max(initial=0)))


@pytest.mark.parametrize("limited", [False, True])
def test_a_sequence_that_every_step_reads_whole_as_well(limited: bool) -> None:
    """As a decoder does that attends to what it goes through; the product is read so, too, out of the arena."""
    body = Builder("body")
    h, x = (body.input(name, TensorType((BATCH, FEATURES))) for name in "hx")
    whole = body.input("whole", TensorType((STEPS, BATCH, FEATURES)))
    attended = f.reduce_sum(body, f.multiply(body, f.tanh(body, whole), h), (0,))
    body.output("h", f.tanh(body, f.add(body, x, attended)))
    b = Builder("graph")
    x, w = b.input("x", TensorType((STEPS, BATCH, FEATURES))), b.variable("w", TensorType((FEATURES, FEATURES)))
    limit = b.input("limit", TensorType((), "int32")) if limited else None
    zero = f.full(b, (BATCH, FEATURES), 0.5)
    for entries in (x, f.matmul(b, x, w)):
        found = f.scan(b, body.build(), [zero], [entries], [entries], limit=limit)
        b.output(f"last{len(b.outputs)}", found.final[0])
    loss = f.reduce_sum(b, f.multiply(b, found.final[0], found.final[0]))
    for name, value in zip("xw", emit_gradient(b, loss, [x, w]), strict=True):
        b.output(f"d{name}", value)
    graph = b.build()
    judge, program = differentiate(graph, PassContext()), compile_graph(graph).executable
    rng = np.random.default_rng(8)
    variables = [0.4 * rng.normal(size=(FEATURES, FEATURES)).astype("float32")]
    for steps in (0, 1, 6):
        feeds = [0.4 * rng.normal(size=(steps, 2, FEATURES)).astype("float32")]
        feeds += [np.array(4, "int32")] if limited else []
        exact, _ = interpret(judge, [a.astype("float64") if a.ndim else a for a in feeds], variables)
        for got, wanted in zip(program.run(feeds, variables), exact, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_cotangents_that_are_doubled_over_and_over():
    """Of a constant, in the body, and of what the loop leaves: 2**50 paths, 50 additions."""
    body = Builder("body")
    h, c = (body.input(name, TensorType((3,))) for name in "hc")
    body.output("h", f.add(body, h, _doubled(body, c)))
    b = Builder("graph")
    c = b.input("c", TensorType((3,)))
    found = f.scan(b, body.build(), [f.full(b, (3,), 0.0)], constants=[c], count=4)
    loss = f.reduce_sum(b, _doubled(b, found.after[0]))
    (gradient,) = emit_gradient(b, loss, [c])
    b.output("dc", gradient)
    ((dc,), _) = interpret(differentiate(b.build(), PassContext()), [np.ones(3)])
    np.testing.assert_array_equal(dc, [10.0] * 3)  # 1 + 2 + 3 + 4: the states are sums of c


def _doubled(b: Builder, value: Value) -> Value:
    """The value itself, after 50 doublings."""
    for _ in range(50):
        value = f.add(b, value, value)
    return f.multiply(b, value, 2.0**-50)


def test_a_loop_in_a_loop_is_refused_by_name():
    inner = Builder("inner")
    state = inner.input("s", TensorType((2,)))
    inner.output("s", f.add(inner, state, 1.0))
    outer = Builder("outer")
    start = outer.input("s", TensorType((2,)))
    with outer.scope(layer="nested"):
        outer.output("s", f.scan(outer, inner.build(), [start], count=3).final[0])
    b = Builder("graph")
    with b.scope(layer="around"):
        b.output("y", f.scan(b, outer.build(), [b.input("x", TensorType((2,)))], count=2).final[0])
    with pytest.raises(NotImplementedError, match=r"'scan' \(nested\) in the body of 'scan' \(around\)"):
        compile_graph(b.build())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_memory_plan_shows_what_the_program_uses(case: Case) -> None:
    compiled = compile_graph(network(case))
    program = compiled.program
    for batch, steps in ((1, 1), (3, 7), (32, 80), (500, 2)):
        values = {"batch": batch, "steps": steps}
        sizes = [program.buffer_bytes(index, values) for index in range(len(program.buffers))]
        assert compiled.memory.at(values) == program.placement(sizes, values)


def test_what_surrounds_a_limited_loop_is_limited_too(compiled):
    case, _, program = compiled
    limited = [call.label for call in program.program.instructions if call.limit >= 0]
    if not case.limited:
        assert limited == []
        return
    # The projection; the gradients of its kernel, of the recurrent one, and of the bias in two steps. That of the input
    # is in the loop.
    assert sorted(limited) == ["matmul", "matmul", "packed_matmul+add", "reduce_sum", "reduce_sum"]
    x, variables = arrays(5, 9)
    garbage = x.copy()
    garbage[:, 3:] = np.inf
    limit = np.array(3, np.int32)
    clean, dirty = (program.executable.run([array, limit], variables) for array in (x, garbage))
    for left, right in zip(clean, dirty, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.usefixtures("threads_restored")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("steps", "batch"), [(3, 2), (300, 0), (0, 4)])
def test_nothing_to_do_before_a_loop(steps, batch, threads):
    """With no samples the product before the loop has no work; the loop's kernel, whose panels are packed, has."""
    b = Builder("cell")
    x, u = b.input("x", TensorType((BATCH, 32))), b.input("u", TensorType((32, 64)))
    b.output("y", f.tanh(b, f.matmul(b, x, u)))
    cell = b.build()
    b = Builder("stack")
    x = b.input("x", TensorType((STEPS, BATCH, 16)))
    w, u = b.variable("w", TensorType((16, 32))), b.variable("u", TensorType((32, 64)))
    stacks = f.scan(b, cell, (), [f.matmul(b, x, w)], [u], count=STEPS).stacks
    b.output("y", f.reduce_sum(b, stacks[0], (0, 1)))
    graph = b.build()
    compiled = compile_graph(graph)
    set_num_threads(threads)
    random = np.random.default_rng(4)
    arrays = [random.normal(size=shape).astype("float32") for shape in ((steps, batch, 16), (16, 32), (32, 64))]
    (right,), _ = interpret(graph, arrays[:1], arrays[1:])
    for _ in range(4):  # some on all threads, some on one
        (result,) = compiled.executable.run(arrays[:1], arrays[1:])
        np.testing.assert_allclose(result, right, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("threads_restored")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_limit_that_the_program_computes(threads):
    """What it limits must not be given its sizes before it is there."""
    b = Builder("net")
    x = b.input("x", TensorType((STEPS, BATCH, FEATURES)))
    lengths = b.input("lengths", TensorType((BATCH,), "int32"))
    w, u = b.variable("w", TensorType((FEATURES, 4 * UNITS))), b.variable("u", TensorType((UNITS, 4 * UNITS)))
    zero = f.full(b, (BATCH, UNITS), 0.0)
    limit = f.reduce_max(b, lengths, (0,))
    found = f.scan(b, lstm_cell(), [zero, zero], [f.matmul(b, x, w)], [u], limit=limit)
    loss = f.reduce_sum(b, f.multiply(b, found.final[0], found.final[0]))
    b.output("loss", loss)
    for name, value in zip("wu", emit_gradient(b, loss, (w, u)), strict=True):
        b.output(f"d{name}", value)
    graph = b.build()
    program = compile_graph(graph)
    set_num_threads(threads)
    rng = np.random.default_rng(3)
    variables = [(0.4 * rng.normal(size=entry.value.type.shape)).astype("float32") for entry in graph.variables]
    for lengths_given in ([2, 5, 1], [0, 0, 0], [7, 3, 7]):
        feeds = [rng.normal(size=(7, 3, FEATURES)).astype("float32"), np.array(lengths_given, np.int32)]
        wanted, _ = interpret(differentiate(graph, PassContext()), feeds, variables)
        for value, reference in zip(program.executable.run(feeds, variables), wanted, strict=True):
            np.testing.assert_allclose(value, reference, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("kind", ["computed", "given", "a state", "a result"])
def test_a_limit_that_is_seen_in_other_memory(kind: str) -> None:
    """A reshape takes no memory of its own: the limit gets some."""
    b = Builder("net")
    x = b.input("x", TensorType((STEPS, BATCH, FEATURES)))
    lengths = b.input("lengths", TensorType((1,), "int32"))
    w, u = b.variable("w", TensorType((FEATURES, 4 * UNITS))), b.variable("u", TensorType((UNITS, 4 * UNITS)))
    zero = f.full(b, (BATCH, UNITS), 0.0)
    limit = f.add(b, lengths, 1)
    if kind == "given":
        limit = lengths
    elif kind == "a result":
        b.output("limits", limit)
    elif kind == "a state":
        body = Builder("count")
        body.output("n", f.add(body, body.input("n", TensorType((1,), "int32")), 1))
        limit = f.scan(b, body.build(), [lengths], count=1).final[0]
    found = f.scan(b, lstm_cell(), [zero, zero], [f.matmul(b, x, w)], [u], limit=f.reshape(b, limit, ()))
    b.output("last", found.final[0])
    graph = b.build()
    program = compile_graph(graph)
    assert any(call.limit >= 0 for call in program.program.instructions)
    rng = np.random.default_rng(3)
    variables = [(0.4 * rng.normal(size=entry.value.type.shape)).astype("float32") for entry in graph.variables]
    for number in (0, 2, 9):
        feeds = [rng.normal(size=(6, 3, FEATURES)).astype("float32"), np.array([number], np.int32)]
        wanted, _ = interpret(graph, feeds, variables)
        for value, reference in zip(program.executable.run(feeds, variables), wanted, strict=True):
            np.testing.assert_allclose(value, reference, rtol=2e-5, atol=2e-6)
