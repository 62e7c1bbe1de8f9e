"""Models described by their tensors."""

from __future__ import annotations

import gc
import time
import weakref

import numpy as np
import pytest

from compiler.interpret import interpret
from graphcore import ops
from graphcore.layers import Input, Layer
from graphcore.models import Functional, Model, Sequential
from graphcore.tensor import KerasTensor
from graphcore.tracing import Trace

RNG = np.random.default_rng(1)


class Linear(Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.kernel = self.add_weight((input_shape[-1], self.units), name="kernel")

    def call(self, inputs):
        return ops.matmul(inputs, self.kernel)


class Join(Layer):
    def call(self, inputs):
        return ops.concatenate(inputs, axis=-1)


def arrays(*shapes):
    return [RNG.normal(size=shape).astype(np.float32) for shape in shapes]


def test_a_chain_computes_what_its_layers_do():
    x = Input((3,))
    first, second = Linear(4), Linear(2)
    model = Model(x, ops.relu(second(first(x))), name="chain")
    assert isinstance(model, Functional)
    assert model.name == "chain"
    (data,) = arrays((5, 3))
    expected = np.maximum(data @ first.kernel.numpy() @ second.kernel.numpy(), 0)
    np.testing.assert_allclose(model(data), expected, rtol=1e-4, atol=1e-5)
    assert (model.input_shape, model.output_shape) == ((None, 3), (None, 2))
    assert [layer.name for layer in model.layers] == [x.history[0].name, first.name, second.name]
    assert model.get_layer(first.name) is model.get_layer(index=1) is first
    assert len(model.weights) == 2


def test_one_graph_serves_every_batch_size():
    x = Input((3,))
    model = Model(x, Linear(2)(x))
    with Trace("t") as trace:
        y = model(trace.input("x", (None, 3)))
    graph, variables = trace.finish({"y": y})
    for batch in (1, 7, 32):
        (data,) = arrays((batch, 3))
        (got,), _ = interpret(graph, [data], [v.array for v in variables])
        np.testing.assert_allclose(got, data @ variables[0].numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [list, tuple, dict, "nested"])
def test_structures_of_inputs_and_outputs(kind):
    a, b = Input((3,), name="a"), Input((2,), name="b")
    total = Linear(4)(a) + Linear(4)(b)
    make = {
        list: lambda p, q: [p, q],
        tuple: lambda p, q: (p, q),
        dict: lambda p, q: {"b": q, "a": p},
        "nested": lambda p, q: {"one": p, "rest": [q]},
    }[kind]
    model = Model(make(a, b), make(total, ops.exp(total)))
    x, y = arrays((5, 3), (5, 2))
    result = model(make(x, y))
    wanted = make(None, None)
    assert type(result) is type(wanted)
    first, second = (
        (result["one"], result["rest"][0])
        if kind == "nested"
        else ((result["a"], result["b"]) if kind is dict else result)
    )
    np.testing.assert_allclose(np.exp(first), second, rtol=1e-4, atol=1e-5)
    if kind != "nested":
        assert model.input_names == ["a", "b"]
        by_name = model({"a": x, "b": y})
        np.testing.assert_array_equal(by_name["a"] if kind is dict else by_name[0], first)
    assert [tensor.shape for tensor in model.inputs] == [(None, 3), (None, 2)]


def test_shared_layers_have_one_set_of_weights():
    a, b = Input((3,)), Input((3,))
    shared = Linear(2)
    model = Model([a, b], Join()([shared(a), shared(b)]))
    assert len(model.weights) == 1
    x, y = arrays((4, 3), (4, 3))
    k = shared.kernel.numpy()
    np.testing.assert_allclose(model([x, y]), np.concatenate([x @ k, y @ k], -1), rtol=1e-4, atol=1e-5)
    assert [node.index for node in shared.nodes] == [0, 1]


def test_residual_connections_and_operators():
    x = Input((4,))
    h = Linear(4)(x)
    for _ in range(3):
        h = h + ops.tanh(Linear(4)(h)) * 0.5
    model = Model(x, 1.0 - h)
    (data,) = arrays((2, 4))
    expected = data @ model.weights[0].numpy()
    for weight in model.weights[1:]:
        expected = expected + np.tanh(expected @ weight.numpy()) * 0.5
    np.testing.assert_allclose(model(data), 1 - expected, rtol=1e-4, atol=1e-5)


def test_models_in_models():
    inner_x = Input((3,), name="inner_x")
    inner = Model(inner_x, ops.repeat(Linear(2)(inner_x), ops.shape(inner_x)[1] - 1, axis=1), name="inner")
    x = Input((5, 3))
    outer = Model(x, inner(x[:, 0]) + inner(x[:, 1]))
    assert len(outer.weights) == 1
    (data,) = arrays((4, 5, 3))
    k = inner.weights[0].numpy()
    expected = np.repeat((data[:, 0] + data[:, 1]) @ k, 2, axis=1)
    np.testing.assert_allclose(outer(data), expected, rtol=1e-5, atol=1e-6)
    with Trace("t") as trace:
        outer(trace.input("x", (None, 5, 3)))
    layers = {node.layer for node in trace.builder.nodes}
    assert any(path.startswith("inner/linear") for path in layers)


def test_sizes_written_into_a_model_follow_each_call():
    """A reshape by a symbolic size means the size of the call, also where the model is called on other sizes."""
    x = Input((None, 2))
    batch, length = ops.shape(x)[:2]
    flat = Model(x, ops.reshape(x, (batch * length, 2)))
    for shape in [(3, 4, 2), (1, 7, 2)]:
        (data,) = arrays(shape)
        np.testing.assert_array_equal(flat(data), data.reshape(-1, 2))
    y = Input((None, 2))
    doubled = Model(y, flat(ops.concatenate([y, y], axis=1)))
    (data,) = arrays((2, 3, 2))
    np.testing.assert_array_equal(doubled(data), np.concatenate([data, data], 1).reshape(-1, 2))


def test_inputs_of_different_unknown_lengths():
    a, b = Input((None, 2), name="a"), Input((None, 2), name="b")
    model = Model([a, b], ops.sum(a, axis=1) + ops.sum(b, axis=1))
    x, y = arrays((3, 4, 2), (3, 6, 2))
    np.testing.assert_allclose(model([x, y]), x.sum(1) + y.sum(1), rtol=1e-5, atol=1e-5)
    sized = Model([a, b], ops.reshape(b, (-1, ops.shape(b)[1] * 2)) + 0.0 * ops.sum(a))
    assert sized([y, y]).shape == (3, 12)
    with pytest.raises(ValueError, match="inputs have different sizes there"):
        sized([x, y])


def test_a_part_of_a_model_is_a_model():
    x = Input((3,))
    middle = Linear(4, name="middle")(x)
    model = Model(x, Linear(2)(middle))
    features = Model(model.inputs, model.get_layer("middle").output)
    (data,) = arrays((2, 3))
    np.testing.assert_allclose(features(data), data @ model.weights[0].numpy(), rtol=1e-4, atol=1e-5)
    head = Model(middle, model.output)
    assert len(head.weights) == 1
    np.testing.assert_allclose(head(features(data)), model(data), rtol=1e-4, atol=1e-5)


def test_inputs_are_cast_and_their_rank_mended_by_one_axis():
    x = Input((1,), dtype="int32")
    seen = []

    class Look(Layer):
        def call(self, inputs):
            seen.append((inputs.dtype, inputs.ndim))
            return inputs

    model = Model(x, Look()(x))
    seen.clear()
    assert model(np.array([1.9, 2.0])).tolist() == [[1], [2]]
    assert seen == [("int32", 2)]
    flat = Input((4,))
    plain = Model(flat, Look()(flat))
    assert plain(np.ones((2, 4, 1))).shape == (2, 4)
    with pytest.raises(ValueError, match=r"expected shape=\(None, 4\), found shape=\(2, 5\)"):
        plain(np.ones((2, 5)))


def test_layer_order_is_keras_order_by_distance_from_the_output():
    a, b = Input((2,), name="a"), Input((2,), name="b")
    deep = Linear(2, name="deep_2")(Linear(2, name="deep_1")(a))
    short = Linear(2, name="short")(b)
    model = Model([a, b], Join(name="join")([deep, short]))
    assert [layer.name for layer in model.layers] == ["a", "deep_1", "b", "deep_2", "short", "join"]


class Scaled(Model):
    """A subclass with a `call` of its own kind of training, described by its tensors."""

    def marker(self):
        return "mine"


def test_a_subclass_may_be_described_by_its_tensors():
    x = Input((3,))
    model = Scaled(x, Linear(2)(x), name="scaled")
    assert model.marker() == "mine"
    assert model(np.ones((2, 3))).shape == (2, 2)
    again = Scaled(inputs=x, outputs=model.output)
    assert len(again.weights) == 1


def test_a_thousand_layers_do_not_recurse():
    x = y = Input((2,))
    for _ in range(1000):
        y = y + 1.0
    model = Model(x, y)
    assert model(np.zeros((1, 2))).tolist() == [[1000.0, 1000.0]]
    chain = Sequential([Input((2,)), *(Linear(2) for _ in range(1000))])
    assert len(chain.weights) == 1000
    del model, chain, x, y  # a long chain of references must not overflow the stack either


def test_describing_fifty_layers_is_quick():
    def build():
        x = y = Input((16,))
        for _ in range(50):
            y = ops.relu(Linear(16)(y))
        return Model(x, y)

    build()
    seconds = []
    for _ in range(3):
        start = time.process_time()
        build()
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.5


def test_dropped_models_are_freed_at_once():
    gc.collect()
    gc.disable()
    try:
        gone = []
        for _ in range(100):
            x = Input((3,))
            model = Model(x, Linear(2)(x) + 1.0)
            model(np.ones((1, 3)))
            gone.append((weakref.ref(model), weakref.ref(model.weights[0])))
            del model, x
        assert all(reference() is None for pair in gone for reference in pair)
    finally:
        gc.enable()


def test_an_output_that_needs_another_input_is_reported():
    a, b = Input((3,), name="given"), Input((3,), name="forgotten")
    with pytest.raises(ValueError, match=r"disconnected: an output depends on the input 'forgotten'.*Fix: add"):
        Model(a, Linear(2)(a + b))


def test_a_tensor_from_nowhere_is_reported():
    x = Input((3,))
    with pytest.raises(ValueError, match="was made by no layer"):
        Model(x, KerasTensor((None, 3)))
    with pytest.raises(TypeError, match="must be symbolic tensors"):
        Model(x, np.ones(3))
    with pytest.raises(TypeError, match="must be symbolic tensors"):
        Model([x, 3], x + 1)


def test_a_cycle_is_reported():
    x = Input((3,))
    y = Linear(3, name="turning")(x)
    z = ops.exp(y)
    y.node.inputs = (z,)  # what no public function can make
    with pytest.raises(ValueError, match="contains a cycle"):
        Model(x, z)


def test_doubtful_descriptions_are_refused():
    x = Input((3,))
    with pytest.raises(ValueError, match="used 2 times"):
        Model(x, Linear(2, name="same")(Linear(3, name="same")(x)))
    with pytest.raises(ValueError, match="must be distinct"):
        Model([x, x], x + 1)
    with pytest.raises(ValueError, match="both `inputs` and `outputs`"):
        Model(inputs=x)
    model = Model([x, Input((2,))], x + 1)
    with pytest.raises(ValueError, match=r"expected 2 input\(s\). Received 1"):
        model(np.ones((2, 3)))
    with pytest.raises(ValueError, match="Missing data for input"):
        model({"unknown": np.ones((2, 3))})
    with pytest.raises(ValueError, match=r"No such layer: nothing\. Existing layers are"):
        model.get_layer("nothing")
    with pytest.raises(ValueError, match="Provide either"):
        model.get_layer()
    with pytest.raises(ValueError, match="index 9"):
        model.get_layer(index=9)


def test_unused_inputs_are_kept():
    x, unused = Input((3,), name="x"), Input((1,), name="unused")
    model = Model([x, unused], x * 2.0)
    assert {layer.name for layer in model.layers} == {"x", "unused"}
    assert model([np.ones((1, 3)), np.zeros((1, 1))]).tolist() == [[2, 2, 2]]


def test_input_arguments_are_checked():
    with pytest.raises(ValueError, match=r"Fix: shape=\(784,\)"):
        Input(784)
    with pytest.raises(ValueError, match="must pass a `shape`"):
        Input()
    with pytest.raises(ValueError, match="cannot pass both"):
        Input((3,), batch_shape=(2, 3))
    assert Input(batch_shape=(2, 3)).shape == (2, 3)
    assert Input((3,), batch_size=5, dtype="uint8").shape == (5, 3)
    with pytest.raises(ValueError, match="sparse"):
        Input((3,), sparse=True)


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: (x,)], ids=["list", "tuple"])
def test_an_output_alone_in_a_list_is_returned_alone(wrap):
    """As Keras 3.15 does, in calls and predictions; where a model is described the list stays."""
    x = Input((3,))
    layer = Linear(2)
    model = Model(wrap(x), wrap(layer(x)))
    (data,) = arrays((5, 3))
    expected = data @ layer.kernel.numpy()
    for found in (model(data), model.predict(data, verbose=0), model.predict_on_batch(data), model(wrap(data))):
        assert isinstance(found, np.ndarray)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    described = model(Input((3,)))
    assert type(described) is type(model.output) is type(wrap(x))
    assert (model.input_shape, model.output_shape) == ((None, 3), (None, 2))
    outer = Model(x, model(x)[0] * 2)
    np.testing.assert_allclose(outer(data), 2 * expected, rtol=1e-4, atol=1e-5)


def test_shapes_of_several_inputs_and_outputs_are_a_flat_list():
    """In the order of `inputs` and `outputs`, as in Keras 3.15."""
    a, b = Input((3,), name="a"), Input((4,), name="b")
    for inputs, outputs in (({"b": b, "a": a}, {"q": b, "p": a}), ([a, [b]], [[a], b])):
        model = Model(inputs, outputs)
        assert (model.input_shape, model.output_shape) == ([(None, 3), (None, 4)], [(None, 3), (None, 4)])
    assert Model({"a": a}, {"p": a * 2}).output_shape == (None, 3)
