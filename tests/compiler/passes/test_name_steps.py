"""Loops of so many steps, as a number, become loops of `steps` steps, which kernels around them can be limited by."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from compiler import functions as f
from compiler.driver import compile_graph
from compiler.inspect.stages import Stages
from compiler.instruments.made_up import program_sizes
from compiler.interpret import interpret
from compiler.ir import Builder, Graph
from compiler.ops.scan import Scan
from compiler.passes.context import PassContext
from compiler.passes.differentiate import differentiate, emit_gradient
from compiler.passes.name_steps import name_steps
from compiler.target import CUDA_TARGET
from compiler.text import to_text
from compiler.types import TensorType
from runtime.dimensions import Dim, symbol

COUNT = 7


def recurrence(
    units: int = 5, features: int = 3, *, limited: bool = True, count: Dim = COUNT, flat: bool = False
) -> Graph:
    """h' = tanh(h @ w + x @ v) over x[batch, count, features]; the last state, and the derivatives of its sum."""
    batch = symbol("batch")
    body = Builder("cell")
    state, matrix = TensorType((batch, units)), TensorType((units, units))
    h, z, w = body.input("h", state), body.input("z", state), body.input("w", matrix)
    body.output("h", f.tanh(body, f.add(body, f.matmul(body, h, w), z)))
    b = Builder("step")
    x, limit = b.input("x", TensorType((batch, count, features))), b.input("limit", TensorType((), "int32"))
    w, v = b.variable("w", TensorType((units, units))), b.variable("v", TensorType((features, units)))
    z = f.matmul(b, f.transpose(b, x, (1, 0, 2)), v)
    start = f.full(b, (batch, units), 0.0)
    loop = f.scan(b, body.build(), [start], [z], [w], limit=limit if limited else None)
    loss = f.reduce_sum(b, f.square(b, loop.final[0]))
    if flat:
        loss = f.add(b, loss, f.reduce_sum(b, f.reshape(b, x, (batch, COUNT * features))))
    b.output("last", loop.final[0])
    for name, derivative in zip("wv", emit_gradient(b, loss, [w, v]), strict=True):
        b.output(f"d{name}", derivative)
    return b.build()


def count_of(graph: Graph) -> Dim:
    (scan,) = (node.op for node in graph.nodes if isinstance(node.op, Scan))
    return scan.count


def test_the_number_becomes_a_name() -> None:
    context = PassContext()
    graph = recurrence()
    named = name_steps(graph, context)
    assert str(count_of(named)) == "steps"
    assert [str(entry.value.type) for entry in named.inputs] == ["f32[batch,steps,3]", "i32[]"]
    assert [value.type for value in named.results] == [value.type for value in graph.results]
    assert name_steps(named, context) is named
    assert not context.remarks


@pytest.mark.parametrize(("limit", "units"), [(0, 5), (1, 5), (4, 5), (7, 5), (9, 5), (4, COUNT - 1), (4, COUNT + 1)])
def test_the_numbers_are_the_same_and_only_the_leading_steps_are_computed(limit: int, units: int) -> None:
    graph = recurrence(units)
    compiled = compile_graph(graph)
    assert to_text(compiled.graph).count("fused_steps") >= 2, "the projection, and the derivative of its matrix"
    random = np.random.default_rng(limit)
    for batch in (1, 3):
        x = random.standard_normal((batch, COUNT, 3)).astype("float32")
        weights = [random.standard_normal(shape).astype("float32") for shape in ((units, units), (3, units))]
        number = np.array(limit, np.int32)
        wide = [array.astype("float64") for array in (x, *weights)]
        expected, _ = interpret(differentiate(graph, PassContext()), [wide[0], number], wide[1:])
        for result, exact in zip(compiled.executable.run([x, number], weights), expected, strict=True):
            np.testing.assert_allclose(result, exact, rtol=1e-4, atol=1e-4)


def test_bounds_of_other_axes_keep_their_numbers() -> None:
    """Of x[batch, count, count + 3], the features around number count, and the steps but the first or the last."""
    b, batch = Builder("cut"), symbol("batch")
    x, limit = b.input("x", TensorType((batch, COUNT, COUNT + 3))), b.input("limit", TensorType((), "int32"))
    body = Builder("cell")
    state = TensorType((batch, 3))
    h, z = body.input("h", state), body.input("z", state)
    body.output("h", f.add(body, h, z))
    part = f.slice_(b, x, (0, 0, COUNT - 1), (batch, COUNT, COUNT + 2))
    loop = f.scan(b, body.build(), [f.full(b, state.shape, 0.0)], [f.transpose(b, part, (1, 0, 2))], limit=limit)
    b.output("last", loop.final[0])
    b.output("later", f.slice_(b, x, (0, 1, 0), (batch, COUNT, COUNT)))
    b.output("earlier", f.slice_(b, x, (0, 0, 1), (batch, COUNT - 1, COUNT + 1)))
    graph, context = b.build(), PassContext()
    named = name_steps(graph, context)
    assert not context.remarks
    assert [str(value.type) for value in named.results] == ["f32[batch,3]", *["f32[batch,steps-1,7]"] * 2]
    array = np.random.default_rng(1).standard_normal((2, COUNT, COUNT + 3)).astype("float32")
    last, later, earlier = compile_graph(graph).executable.run([array, np.array(4, np.int32)], ())
    np.testing.assert_allclose(last, array[:, :4, COUNT - 1 : COUNT + 2].astype("float64").sum(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(later, array[:, 1:, :COUNT])
    np.testing.assert_array_equal(earlier, array[:, : COUNT - 1, 1 : COUNT + 1])


def with_a_mean() -> Graph:
    """x[4, count, 3] -> the sum over limited steps, and the mean over all, whose factor only `count` steps are right
    for."""
    body = Builder("cell")
    h, entry = body.input("h", TensorType((4, 3))), body.input("x", TensorType((4, 3)))
    body.output("h", f.add(body, h, entry))
    b = Builder("mean")
    x, limit = b.input("x", TensorType((4, COUNT, 3))), b.input("limit", TensorType((), "int32"))
    loop = f.scan(b, body.build(), [f.full(b, (4, 3), 0.0)], [f.transpose(b, x, (1, 0, 2))], limit=limit)
    b.output("sum", loop.final[0])
    b.output("mean", f.multiply(b, f.reduce_sum(b, x, (1,)), 1 / COUNT))
    return b.build()


def test_arrays_of_another_length_are_refused_after_the_cache_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, limit = with_a_mean(), np.array(3, np.int32)
    x = np.random.default_rng(0).standard_normal((4, COUNT + 2, 3)).astype("float32")
    monkeypatch.setenv("GRAPHCORE_CACHE", str(tmp_path))
    for is_stored in (False, True):
        compiled = compile_graph(graph)
        assert ("_optimized" in compiled.__dict__) is not is_stored, "the passes run the first time only"
        assert dict(compiled.program.fixed) == {"steps": COUNT}
        _, mean = compiled.executable.run([x[:, :COUNT], limit], ())
        np.testing.assert_allclose(mean, x[:, :COUNT].astype("float64").mean(1), rtol=1e-5, atol=1e-6)
        for steps in (COUNT + 2, COUNT - 1, 0):
            message = f"declared float32[4, {COUNT}, 3]: expected shape (4, {COUNT}, 3), got (4, {steps}, 3)"
            with pytest.raises(ValueError, match=re.escape(message)):
                compiled.executable.run([x[:, :steps], limit], ())
    found = Stages(graph, lambda: compiled, lambda: compiled.graph)
    assert program_sizes(compiled.program) == found.memory.typical == {"steps": COUNT}
    with pytest.raises(ValueError, match=f"'steps' can only be {COUNT}. Received: steps=3"):
        program_sizes(compiled.program, {"steps": 3})


@pytest.mark.parametrize(
    ("graph", "remarks"),
    [
        (recurrence(limited=False), 0),
        (recurrence(count=symbol("t")), 0),
        (recurrence(units=COUNT), 1),
        (recurrence(features=COUNT), 1),
        (recurrence(flat=True), 1),
    ],
    ids=["not limited", "a name already", "units too", "features too", "a row of all steps"],
)
def test_what_stays(graph: Graph, remarks: int) -> None:
    context = PassContext()
    assert name_steps(graph, context) is graph
    assert len(context.remarks) == remarks
    assert all("7 is not their number alone" in str(remark) for remark in context.remarks)
    assert name_steps(recurrence(), PassContext(target=CUDA_TARGET)).inputs[0].value.type.shape[1] == COUNT


def test_a_name_that_is_taken_is_not_given_again() -> None:
    b = Builder("step")
    body = Builder("count")
    h = body.input("h", TensorType((symbol("steps"),)))
    x = body.input("x", TensorType((symbol("steps"),)))
    body.output("h", f.add(body, h, x))
    x = b.input("x", TensorType((COUNT, symbol("steps"))))
    limit = b.input("limit", TensorType((), "int32"))
    b.output("y", f.scan(b, body.build(), [f.full(b, (symbol("steps"),), 0.0)], [x], limit=limit).final[0])
    graph = b.build()
    assert str(count_of(name_steps(graph, PassContext()))) == "steps_"
    (result,) = compile_graph(graph).executable.run([np.ones((COUNT, 2), np.float32), np.array(3, np.int32)], ())
    assert result.tolist() == [3, 3]
