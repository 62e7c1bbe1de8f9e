"""Stacks of layers, built at once or when first called; models with a `call` of their own."""

from __future__ import annotations

import numpy as np
import pytest

from graphcore import layers, ops
from graphcore.layers import Input, InputLayer, Layer
from graphcore.models import Model, Sequential


class Linear(Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.calls = 0

    def build(self, input_shape):
        self.kernel = self.add_weight((input_shape[-1], self.units), name="kernel")

    def call(self, inputs):
        self.calls += 1
        return ops.matmul(inputs, self.kernel)


@pytest.mark.parametrize(
    "first",
    [
        lambda: [Input((3,)), Linear(4)],
        lambda: [InputLayer(shape=(3,)), Linear(4)],
        lambda: [Linear(4, input_shape=(3,))],
        lambda: [Linear(4, input_dim=3)],
        lambda: [Linear(4, batch_input_shape=(None, 3))],
        lambda: [Model(x := Input((3,)), Linear(4)(x))],
    ],
)
def test_a_known_input_shape_builds_at_once(first):
    model = Sequential([*first(), Linear(2)])
    assert model.built
    assert (model.input_shape, model.output_shape) == ((None, 3), (None, 2))
    assert len(model.layers) == 2
    assert len(model.weights) == 2
    x = np.ones((5, 3), np.float32)
    np.testing.assert_allclose(model(x), x @ model.weights[0].numpy() @ model.weights[1].numpy(), rtol=1e-5)


def test_without_one_it_is_built_by_the_first_call_or_by_build():
    model = Sequential([Linear(4), Linear(2)])
    assert not model.built
    assert model.weights == []
    with pytest.raises(AttributeError, match="not described by tensors"):
        _ = model.inputs
    assert model(np.ones((5, 3))).shape == (5, 2)
    assert model.built
    assert len(model.weights) == 2
    assert model(np.ones((7, 3))).shape == (7, 2)
    other = Sequential([Linear(4)])
    other.build((None, 3))
    assert other.output_shape == (None, 4)
    assert other.inputs[0].shape == (None, 3)
    with pytest.raises(ValueError, match="has no layers"):
        Sequential().build((None, 3))


def test_weights_and_nodes_carry_the_models_name_once():
    model = Sequential([Input((3,)), Linear(4, name="one")], name="stack")
    assert model.weights[0].path == "stack/one/kernel"


def test_layers_are_added_and_removed():
    model = Sequential(name="growing")
    model.add(Input((3,)))
    model.add(Linear(4))
    assert model.output_shape == (None, 4)
    model.add(Linear(2))
    assert model.output_shape == (None, 2)
    popped = model.pop()
    assert popped.units == 2
    assert model.output_shape == (None, 4)
    assert model(np.ones((1, 3))).shape == (1, 4)
    model.add(Linear(5))
    assert model(np.ones((1, 3))).shape == (1, 5)
    with pytest.raises(ValueError, match="There are no layers"):
        Sequential().pop()


def test_adding_n_layers_traces_each_once():
    layers = [Linear(2) for _ in range(20)]
    model = Sequential([Input((2,))])
    for layer in layers:
        model.add(layer)
    assert {layer.calls for layer in layers} == {1}


def test_what_cannot_be_added_is_refused_and_nothing_changes():
    model = Sequential([Input((3,)), Linear(4, name="one")])
    with pytest.raises(ValueError, match=r"unique names\. Name 'one'"):
        model.add(Linear(2, name="one"))
    with pytest.raises(ValueError, match="Only instances of"):
        model.add(lambda x: x)
    with pytest.raises(ValueError, match="stands first"):
        model.add(Input((4,)))

    class Wrong(Layer):
        def call(self, inputs):
            return ops.reshape(inputs, (-1, 3, 3))

    with pytest.raises(ValueError, match="reshape"):
        model.add(Wrong())

    class Two(Layer):
        def call(self, inputs):
            return inputs, inputs

    with pytest.raises(ValueError, match="must return one tensor"):
        model.add(Two())
    assert len(model.layers) == 1
    assert model(np.ones((2, 3))).shape == (2, 4)


def test_a_wrong_input_names_model_and_shapes():
    model = Sequential([Input((3,)), Linear(4)], name="stack")
    with pytest.raises(ValueError, match=r"'stack'.*expected shape=\(None, 3\), found shape=\(2, 5\)"):
        model(np.ones((2, 5)))


def test_stacks_in_stacks():
    inner = Sequential([Linear(4), Linear(3)])
    model = Sequential([Input((2,)), inner, Linear(1)])
    assert model.layers[0] is inner
    assert len(model.weights) == 3
    x = Input((2,))
    functional = Model(x, model(x))
    np.testing.assert_array_equal(functional(np.ones((3, 2))), model(np.ones((3, 2))))


class Branches(Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.left, self.right = Linear(3, name="left"), Linear(3, name="right")

    def call(self, inputs, training=None):
        y = self.left(inputs) + self.right(inputs)
        return y * 2.0 if training else y


def test_a_model_with_its_own_call():
    model = Branches(name="branches")
    x = np.ones((2, 4), np.float32)
    result = model(x)
    assert [weight.path for weight in model.weights] == ["branches/left/kernel", "branches/right/kernel"]
    np.testing.assert_allclose(model(x, training=True), 2 * result, rtol=1e-6)
    assert [layer.name for layer in model.layers] == ["left", "right"]
    assert model(Input((4,))).shape == (None, 3)
    built = Branches()
    built.build((None, 4))
    assert len(built.weights) == 2
    assert built.built


def test_a_model_without_a_call_says_what_to_do():
    class Empty(Model):
        pass

    with pytest.raises(NotImplementedError, match=r"define `call\(self, inputs\)`"):
        Empty()(np.ones((1, 2)))


def test_paths_name_a_model_once_whenever_it_is_built():
    """As Keras 3.15 does."""
    with_input = Sequential([Input((3,)), layers.Dense(2, name="d")], name="outer")
    by_build = Sequential([layers.Dense(2, name="d")], name="outer")
    by_build.build((None, 3))
    by_call = Sequential([layers.Dense(2, name="d")], name="outer")
    by_call(np.ones((1, 3), "float32"))
    for model in (with_input, by_build, by_call):
        assert [weight.path for weight in model.weights] == ["outer/d/kernel", "outer/d/bias"]
    nested = Sequential([Sequential([layers.Dense(2, name="d")], name="inner")], name="outer")
    nested.build((None, 3))
    assert nested.weights[0].path == "outer/inner/d/kernel"
    each = layers.TimeDistributed(Sequential([layers.Dense(2, name="d")], name="inner"), name="each")
    each.build((None, 4, 3))
    assert each.weights[0].path == "each/inner/d/kernel"
