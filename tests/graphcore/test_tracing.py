"""Traces: state, source lines, layer paths, what `training` reaches."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import compiler.interpret
import runtime
from compiler.interpret import interpret
from graphcore import ops, tracing
from graphcore.layers import BatchNormalization, Dense, Dropout, Input, Layer
from graphcore.models import Model, Sequential
from graphcore.tracing import Trace, current_trace, untraced
from graphcore.variable import Variable


class Scale(Layer):
    def build(self, input_shape):
        self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")

    def call(self, inputs):
        return inputs * self.factor  # the line that nodes of this layer carry


class Block(Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = Scale(name="inner")

    def call(self, inputs):
        return self.inner(inputs) + 1.0


def test_a_variable_is_read_as_it_was_last_assigned():
    counter = Variable(np.float32(1), name="counter")
    with Trace("t") as trace:
        before = counter.value * 1.0
        counter.assign_add(2.0)
        after = counter + 0.0
        counter.assign(counter * 10.0)
    graph, variables = trace.finish({"before": before, "after": after})
    assert len(variables) == 1
    assert variables[0] is counter
    assert [name for name, _ in graph.updates] == ["counter"]
    outputs, updates = interpret(graph, [], [counter.array])
    assert [float(value) for value in outputs] == [1.0, 3.0]
    assert float(updates["counter"]) == 30.0
    assert float(counter.array) == 1.0  # tracing changes nothing


def test_only_assigned_variables_are_updated_and_names_are_made_unique():
    first, second = Variable(np.zeros(2), name="w"), Variable(np.ones(2), name="w")
    with Trace("t") as trace:
        total = first + second
        second.assign(total)
    graph, variables = trace.finish({"y": total})
    assert [entry.name for entry in graph.variables] == ["w", "w_1"]
    assert [name for name, _ in graph.updates] == ["w_1"]
    assert variables[1] is second
    assert trace.is_assigned(second)
    assert not trace.is_assigned(first)
    assert trace.initial(first).value is graph.variables[0].value


def test_assigning_checks_the_shape_and_casts():
    variable = Variable(np.zeros(2, np.float32), name="w")
    with Trace("t") as trace:
        with pytest.raises(ValueError, match=r"'w' has shape \(2,\)"):
            variable.assign(np.zeros(3, np.float32))
        variable.assign(ops.cast(variable, "float16") + 1)
        trace.finish({})
    assert trace.builder.updates["w"].type.dtype == "float32"


def test_a_tensor_of_another_trace_is_refused():
    with Trace("first") as first:
        x = first.input("x", (2,))
    with Trace("second"), pytest.raises(ValueError, match="another program"):
        ops.exp(x)
    symbolic = Input((2,))
    with Trace("third") as third:
        y = third.input("y", (None, 2))
        with pytest.raises(ValueError, match="under construction"):
            ops.add(y, symbolic)


def test_untraced_code_computes_at_once():
    with Trace("t") as trace:
        with untraced():
            assert current_trace() is None
            assert isinstance(ops.add(np.ones(2), 1.0), np.ndarray)
        assert current_trace() is trace
        assert ops.ones(2).value is not None
    assert current_trace() is None


def test_nodes_carry_layer_paths_and_the_users_lines():
    block = Block(name="block")
    with Trace("t") as trace:
        y = block(trace.input("x", (None, 3)))
    graph, _ = trace.finish({"y": y})
    by_layer = {}
    for node in graph.nodes:
        by_layer.setdefault(node.layer, set()).add(node.source.rsplit(":", 1)[0].rsplit("/", 1)[-1])
    assert set(by_layer) == {"block", "block/inner"}
    assert set().union(*by_layer.values()) == {"test_tracing.py"}
    line = Scale.call.__code__.co_firstlineno + 1
    assert {node.source.rsplit(":", 1)[1] for node in graph.nodes if node.layer == "block/inner"} == {str(line)}


def test_a_functional_model_keeps_the_lines_where_it_was_described():
    x = Input((3,))
    total = ops.exp(x)  # marked
    line = test_a_functional_model_keeps_the_lines_where_it_was_described.__code__.co_firstlineno + 2
    model = Model(x, ops.tanh(total))
    with Trace("t") as trace:
        y = model(trace.input("x", (None, 3)))
    graph, _ = trace.finish({"y": y})
    sources = {node.op.name: node.source.rsplit(":", 1)[1] for node in graph.nodes}
    assert sources == {"exp": str(line), "tanh": str(line + 2)}
    assert all(node.layer.startswith(("exp", "tanh")) for node in graph.nodes)


def test_a_training_step_names_the_users_lines_alone():
    model = Sequential([Input((5,)), Dense(8), BatchNormalization(), Dropout(0.5), Dense(1)])  # the layers' line
    model.compile("adam", "mse", metrics=["mae"], jit=False)
    model.train_on_batch(np.ones((4, 5), np.float32), np.ones((4, 1), np.float32))
    graph = model.lower("train").step.graph
    first = test_a_training_step_names_the_users_lines_alone.__code__.co_firstlineno
    sources = {node.source.rsplit("/", 1)[-1] for node in graph.nodes}
    assert sources == {f"test_tracing.py:{first + 1}", f"test_tracing.py:{first + 3}"}


def test_without_a_line_of_the_users_none_is_named():
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(tracing.user_source).result() == ""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (contextlib.__file__, False),
        ("<frozen runpy>", False),
        ("<string>", True),
        ("<stdin>", True),
        ("/home/me/train.py", True),
        (os.path.join(os.path.dirname(os.__file__), "site-packages", "theirs", "layers.py"), True),
        (np.__file__, True),
        (pytest.__file__, True),
        (tracing.__file__, False),
        (compiler.interpret.__file__, False),
        (runtime.__file__, False),
        (__file__, True),
    ],
)
def test_whose_code_a_file_holds(path, expected):
    assert tracing._is_users(path) is expected


class Mode(Layer):
    def call(self, inputs, training=False):
        return inputs + (1.0 if training else 0.0)


class Outer(Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.mode = Mode()

    def call(self, inputs):
        return self.mode(inputs)


@pytest.mark.parametrize(
    ("context", "argument", "expected"),
    [(None, None, 0), (True, None, 1), (False, None, 0), (False, True, 1), (True, False, 0)],
)
def test_training_comes_from_the_argument_then_the_caller_then_the_default(context, argument, expected):
    layer = Mode()
    with Trace("t", training=context) as trace:
        y = layer(trace.input("x", (1,)), training=argument)
    graph, _ = trace.finish({"y": y})
    (got,), _ = interpret(graph, [np.zeros(1, np.float32)])
    assert got[0] == expected


def test_training_reaches_layers_inside_layers_that_do_not_take_it():
    layer = Outer()
    x = np.zeros((2, 1), np.float32)
    for training in (True, False):
        with Trace("t", training=training) as trace:
            y = layer(trace.input("x", (None, 1)))
        graph, _ = trace.finish({"y": y})
        (got,), _ = interpret(graph, [x])
        assert got[0, 0] == float(training)


def test_threads_have_traces_of_their_own():
    import threading

    seen = []
    with Trace("t"):
        thread = threading.Thread(target=lambda: seen.append(current_trace()))
        thread.start()
        thread.join()
    assert seen == [None]
