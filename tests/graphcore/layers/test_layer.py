"""The base layer: building, state, masks, losses, errors."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from graphcore import layers, ops, random
from graphcore.layers import Input, InputSpec, Layer
from graphcore.tensor import KerasTensor
from graphcore.tracing import Trace
from graphcore.variable import Variable


class Linear(Layer):
    def __init__(self, units=4, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.input_spec = InputSpec(min_ndim=2, axes={-1: input_shape[-1]})
        self.kernel = self.add_weight((input_shape[-1], self.units), name="kernel")
        self.offset = self.add_weight((self.units,), "zeros", trainable=False, name="offset")

    def call(self, inputs):
        return ops.matmul(inputs, self.kernel) + self.offset


class Stack(Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.own = self.add_weight((2,), "zeros", name="own")
        self.blocks = [Linear(3, name="first")]
        self.named = {"last": Linear(2, name="last")}
        self.blocks.append(Linear(3, name="second"))  # after the list was assigned
        self.noise = random.SeedGenerator(3)
        self.extra = Variable(np.zeros(1, np.float32), name="extra")

    def call(self, inputs):
        for block in self.blocks:
            inputs = block(inputs)
        return self.named["last"](inputs)


def test_a_layer_is_built_by_its_first_call_and_keeps_its_weights():
    layer = Linear()
    assert not layer.built
    with pytest.raises(ValueError, match="the layer isn't built"):
        layer.count_params()
    x = np.ones((2, 3))
    first = layer(x)
    assert layer.built
    assert layer.count_params() == 16
    assert first.dtype == np.float32
    np.testing.assert_allclose(first, x @ layer.kernel.numpy(), rtol=1e-6)
    np.testing.assert_array_equal(layer(x), first)
    assert layer.get_build_config() == {"input_shape": (2, 3)}


def test_state_is_found_in_attributes_lists_and_dicts():
    layer = Stack(name="stack")
    layer(np.ones((2, 5)))
    names = [variable.path for variable in layer.weights]
    assert names == [
        "stack/own", "extra", "stack/first/kernel", "stack/first/offset", "stack/second/kernel", "stack/second/offset",
        "stack/last/kernel", "stack/last/offset",
    ]  # fmt: skip
    assert [variable.name for variable in layer.trainable_weights] == ["own", "extra", "kernel", "kernel", "kernel"]
    assert len(layer.non_trainable_weights) == 3
    assert any(variable is layer.noise.state for variable in layer.variables)
    assert not any(variable is layer.noise.state for variable in layer.weights)
    assert [inner.name for inner in layer.flatten_layers()] == ["stack", "first", "second", "last"]


def test_freezing_a_layer_freezes_what_is_in_it_and_thawing_restores():
    layer = Stack()
    layer(np.ones((2, 5)))
    layer.blocks[0].trainable = False
    assert len(layer.trainable_weights) == 4
    layer.trainable = False
    assert layer.trainable_weights == []
    assert len(layer.non_trainable_weights) == 8
    layer.trainable = True
    assert len(layer.trainable_weights) == 5  # offsets were never trainable
    frozen = Linear(trainable=False)
    frozen(np.ones((1, 2)))
    assert frozen.trainable_variables == []


def test_weights_are_replaced_together_or_not_at_all():
    layer = Linear()
    layer(np.ones((2, 3)))
    before = layer.get_weights()
    with pytest.raises(ValueError, match="length 1, but the layer was expecting 2"):
        layer.set_weights(before[:1])
    with pytest.raises(ValueError, match=r"shape \(4,\).*\(5,\)"):
        layer.set_weights([np.zeros((3, 4)), np.zeros(5)])
    np.testing.assert_array_equal(layer.get_weights()[0], before[0])
    layer.set_weights([np.ones((3, 4)), np.zeros(4)])
    assert layer(np.ones((1, 3))).tolist() == [[3.0] * 4]


def test_shapes_without_numbers():
    layer = Linear(7)
    assert layer.compute_output_shape((None, 3)) == (None, 7)
    assert layer.built
    spec = layer.compute_output_spec(KerasTensor((5, 3)))
    assert (spec.shape, spec.dtype, spec.node) == ((5, 7), "float32", None)
    assert layer.nodes == []
    y = layer(Input((3,)))
    assert layer.input_shape == (None, 3)
    assert layer.output_shape == (None, 7)
    assert layer.output is y


class TwoInputs(Layer):
    def build(self, query_shape, value_shape):
        self.shapes = (query_shape, value_shape)

    def call(self, query, value, scale=1.0):
        return query + value * scale


class ListInput(Layer):
    def build(self, input_shape):
        self.shapes = input_shape

    def call(self, inputs):
        return inputs[0] + inputs[1]


def test_build_gets_shapes_by_name_or_the_structure_of_the_first_argument():
    two = TwoInputs()
    assert two(np.ones((2, 3)), np.ones((2, 1)), scale=2.0).tolist() == [[3, 3, 3]] * 2
    assert two.shapes == ((2, 3), (2, 1))
    several = ListInput()
    several([Input((3,)), Input((1,))])
    assert several.shapes == [(None, 3), (None, 1)]


class Noise(Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.counter = self.add_weight((), "zeros", trainable=False, name="counter")

    def call(self, inputs, training=None):
        self.counter.assign_add(1.0)
        return inputs * (2.0 if training else 1.0)


def test_a_call_on_arrays_carries_out_assignments_and_describing_does_not():
    layer = Noise()
    layer(Input((2,)))
    assert layer.counter.numpy() == 0
    x = np.ones((1, 2), np.float32)
    assert layer(x, training=True).tolist() == [[2, 2]]
    layer(x)
    assert layer.counter.numpy() == 2


class Masking(Layer):
    supports_masking = True

    def call(self, inputs):
        return inputs

    def compute_mask(self, inputs, previous_mask=None):
        return ops.any(ops.not_equal(inputs, 0.0), axis=-1)


class MaskReader(Layer):
    supports_masking = True

    def call(self, inputs, mask=None):
        return ops.sum(ops.where(ops.expand_dims(mask, -1), inputs, 0.0), axis=1) if mask is not None else inputs


def test_masks_flow_from_layer_to_layer():
    from graphcore.models import Model

    x = Input((4, 2))
    masked = Masking()(x)
    assert (masked.keras_mask.shape, masked.keras_mask.dtype) == ((None, 4), "bool")
    model = Model(x, MaskReader()(masked))
    data = np.array([[[1, 1], [0, 0], [2, 0], [0, 0]]], np.float32)
    assert model(data).tolist() == [[3, 1]]


def test_a_layer_that_drops_a_mask_says_so():
    class Dropping(Layer):
        def call(self, inputs):
            return inputs + 0.0

    masked = Masking()(Input((4, 2)))
    with pytest.warns(UserWarning, match="does not support masking"):
        result = Dropping()(masked)
    assert result.keras_mask is None


class Penalty(Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.weight = self.add_weight((2,), "ones", regularizer=lambda w: 0.5 * ops.sum(ops.square(w)), name="w")

    def call(self, inputs):
        self.add_loss(ops.mean(inputs))
        return inputs


def test_losses_of_calls_activities_and_weights():
    layer = Penalty(activity_regularizer=lambda y: ops.sum(y))
    x = np.full((4, 2), 3.0, np.float32)
    layer(x)
    assert [float(value) for value in layer.losses] == [3.0, 6.0, 1.0]  # the activity is divided by the batch size
    layer(x * 2)
    assert [float(value) for value in layer.losses] == [6.0, 12.0, 1.0]
    with Trace("t") as trace:
        layer(trace.input("x", (None, 2)))
        losses = layer.losses
    assert len(losses) == 3
    assert all(isinstance(loss, KerasTensor) and loss.shape == () for loss in losses)
    with pytest.raises(ValueError, match=r"only be called from inside `call\(\)`"):
        layer.add_loss(1.0)


def test_errors_name_the_layer_the_expected_and_the_received():
    layer = Linear(name="head")
    layer(Input((3,)))
    with pytest.raises(ValueError, match=r"layer 'head'.*axis -1 of input shape to have value 3.*\(None, 5\)"):
        layer(Input((5,)))
    with pytest.raises(ValueError, match=r"'head' is incompatible: expected min_ndim=2, found ndim=1"):
        layer(np.ones(3))
    with pytest.raises(ValueError, match="should be passed as a keyword argument: 'abc'"):
        layer(np.ones((2, 3)), "abc")
    with pytest.raises(TypeError, match="Layer 'head' was called with arguments that do not fit"):
        layer(np.ones((2, 3)), extra=1)
    with pytest.raises(ValueError, match=r"Unrecognized keyword arguments passed to Linear: \{'unit': 3\}"):
        Linear(unit=3)
    with pytest.raises(ValueError, match="without '/'"):
        Linear(name="a/b")


def test_errors_inside_call_carry_the_layer():
    class Wrong(Layer):
        def call(self, inputs):
            return ops.matmul(inputs, np.ones((7, 2), np.float32))

    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the note is what is tested)
        Wrong(name="wrong")(Input((3,)))
    assert any("layer 'wrong'" in note and "test_layer.py" in note for note in caught.value.__notes__)


def test_a_forgotten_super_call_is_explained():
    class Forgetful(Layer):
        def __init__(self):
            self.units = 3

    with pytest.raises(RuntimeError, match=r"forgot to call `super\(\).__init__\(\)`"):
        Forgetful()(np.ones((1, 2)))


def test_call_and_names():
    with pytest.raises(NotImplementedError, match="does not have a `call"):
        Layer()(np.ones((1, 2)))
    first, second = Linear(), Linear()
    assert first.name != second.name
    assert first.name.startswith("linear")


def test_configuration_is_captured_for_plain_arguments():
    layer = Linear(9, name="nine", dtype="float16")
    copy = Linear.from_config(layer.get_config())
    assert (copy.units, copy.name, copy.dtype) == (9, "nine", "float16")

    class Odd(Layer):
        def __init__(self, function, **kwargs):
            super().__init__(**kwargs)

    with pytest.raises(NotImplementedError, match="override `get_config`"):
        Odd(print).get_config()


def test_a_dropped_layer_is_freed_at_once():
    gc.disable()
    try:
        layer = Stack()
        y = layer(Input((5,)))
        gone = weakref.ref(layer)
        del layer, y
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("name", ["dropout", "units", "kernel_initializer"])
def test_what_belongs_to_the_cell_is_set_there(name):
    layer = layers.LSTM(4, dropout=0.5)
    with pytest.raises(AttributeError, match=rf"layer\.cell\.{name}"):
        setattr(layer, name, 0.25)
    setattr(layer.cell, name, 0.25)
    assert getattr(layer, name) == 0.25
