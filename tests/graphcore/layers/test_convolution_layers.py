"""Convolution and pooling: wrong arguments say what is wrong, shapes follow Keras's rules."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphcore
from graphcore import layers


@given(
    extent=st.integers(1, 12),
    size=st.integers(1, 4),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 3),
    padding=st.sampled_from(["valid", "same"]),
)
def test_extents(extent, size, stride, dilation, padding):
    dilation = 1 if stride > 1 else dilation
    reach = (size - 1) * dilation + 1
    layer = layers.Conv2D(2, size, stride, padding, dilation_rate=dilation)
    if padding == "valid" and extent < reach:
        with pytest.raises(ValueError, match="zero or negative"):
            layer.compute_output_shape((None, extent, 12, 3))
        return
    expected = -(-extent // stride) if padding == "same" else (extent - reach) // stride + 1
    assert layer.compute_output_shape((None, extent, 12, 3))[1] == expected
    pool = layers.MaxPooling2D(size, stride, padding)
    if padding == "same" or extent >= size:
        pooled = -(-extent // stride) if padding == "same" else (extent - size) // stride + 1
        assert pool.compute_output_shape((None, extent, 12, 3))[1] == pooled


@given(
    extent=st.integers(1, 8),
    size=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.sampled_from(["valid", "same"]),
)
def test_transposed_extents(extent, size, stride, padding):
    layer = layers.Conv2DTranspose(2, size, stride, padding)
    expected = extent * stride if padding == "same" else (extent - 1) * stride + max(size, stride)
    assert layer.compute_output_shape((None, extent, 5, 3))[1] == expected
    assert layer(np.ones((1, extent, 5, 3), np.float32)).shape[1] == expected


def test_unknown_extents_stay_unknown():
    layer = layers.Conv2D(4, 3, padding="same")
    assert layer.compute_output_shape((None, None, None, 3)) == (None, None, None, 4)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize(
    "make",
    [
        lambda rank: (layers.Conv1D, layers.Conv2D)[rank - 1](8, 3, strides=2, padding="same"),
        lambda rank: (layers.Conv1D, layers.Conv2D)[rank - 1](8, 2, strides=3, padding="same", groups=2),
        lambda rank: (layers.DepthwiseConv1D, layers.DepthwiseConv2D)[rank - 1](5, strides=2, padding="same"),
        lambda rank: (layers.SeparableConv1D, layers.SeparableConv2D)[rank - 1](8, 3, strides=2, padding="same"),
    ],
    ids=["plain", "groups", "depthwise", "separable"],
)
def test_one_program_strides_over_images_of_any_extents(rank, make):
    """What "same" adds depends on the extents, which the program is told when it runs."""
    inputs = graphcore.Input((None,) * rank + (4,))
    model = graphcore.Model(inputs, make(rank)(layers.Dense(4)(inputs)))
    interpreted = graphcore.models.clone_model(model)
    interpreted.set_weights(model.get_weights())
    model.compile(optimizer="sgd", loss="mse")
    interpreted.compile(optimizer="sgd", loss="mse", jit=False)
    rng = np.random.default_rng(0)
    for extent in (5, 6, 7, 9):
        x = rng.normal(size=(2, *(extent, extent + 1)[:rank], 4)).astype(np.float32)
        expected = interpreted.predict(x, verbose=0)
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-5)
        model.train_on_batch(x, expected + 1)
        interpreted.train_on_batch(x, expected + 1)
    for trained, reference in zip(model.get_weights(), interpreted.get_weights(), strict=True):
        np.testing.assert_allclose(trained, reference, rtol=1e-5, atol=1e-5)


def test_transposed_convolution_is_the_adjoint():
    rng = np.random.default_rng(0)
    forward = layers.Conv2D(3, 3, 2, use_bias=False)
    x = rng.normal(size=(1, 7, 7, 2)).astype(np.float32)
    y = forward(x)
    backward = layers.Conv2DTranspose(2, 3, 2, use_bias=False)
    backward.build(y.shape)
    backward.set_weights(forward.get_weights())
    dy = rng.normal(size=y.shape).astype(np.float32)
    assert (y * dy).sum() == pytest.approx((x * backward(dy)).sum(), rel=1e-4)


def test_causal_convolution_sees_no_later_step():
    layer = layers.Conv1D(2, 3, padding="causal", dilation_rate=2)
    x = np.random.default_rng(0).normal(size=(1, 8, 3)).astype(np.float32)
    before = layer(x)
    x[:, 5:] += 1.0
    after = layer(x)
    np.testing.assert_array_equal(before[:, :5], after[:, :5])
    assert (before[:, 5:] != after[:, 5:]).any()


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: layers.Conv2D(0, 3), "`filters` to be a positive integer"),
        (lambda: layers.Conv2D(4, 0), "kernel_size"),
        (lambda: layers.Conv2D(4, (3, 3, 3)), "kernel_size"),
        (lambda: layers.Conv2D(4, 3, padding="full"), "'valid', 'same'"),
        (lambda: layers.Conv2D(4, 3, padding="causal"), "'valid', 'same'"),
        (lambda: layers.Conv2D(4, 3, strides=2, dilation_rate=2), "set one of them to 1"),
        (lambda: layers.Conv2D(4, 3, groups=3), "divisible by the number of groups"),
        (lambda: layers.Conv2D(4, 3, groups=2).build((None, 8, 8, 3)), "divisible by the number of groups"),
        (lambda: layers.Conv2D(4, 3).build((None, 8, 8, None)), "number of channels"),
        (lambda: layers.Conv2D(4, 3, data_format="nchw"), "data_format"),
        (lambda: layers.Conv2DTranspose(4, 3, 2, output_padding=2), "output_padding"),
        (lambda: layers.DepthwiseConv2D(3, depth_multiplier=0), "depth_multiplier"),
        (lambda: layers.MaxPooling2D(0), "pool_size"),
        (lambda: layers.AveragePooling2D(2, padding="full"), "padding"),
        (lambda: layers.Conv2D(4, 3)(np.ones((8, 8, 3), np.float32)), "ndim=4"),
    ],
)
def test_wrong_arguments(action, message):
    with pytest.raises(ValueError, match=message):
        action()


def test_other_channels_than_built_for():
    layer = layers.Conv2D(4, 3)
    layer(np.ones((1, 5, 5, 3), np.float32))
    with pytest.raises(ValueError, match="axis -1 of input shape to have value 3"):
        layer(np.ones((1, 5, 5, 2), np.float32))


@pytest.mark.parametrize(
    ("alias", "name"),
    [("Convolution2D", "Conv2D"), ("MaxPool2D", "MaxPooling2D"), ("GlobalAvgPool1D", "GlobalAveragePooling1D")],
)
def test_other_names(alias, name):
    assert getattr(layers, alias) is getattr(layers, name)


@pytest.mark.parametrize("name", ["MaxPooling3D", "AveragePooling3D"])
def test_volumes(name):
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 4, 3)).astype(np.float32)
    blocks = x.reshape(2, 2, 2, 2, 2, 2, 2, 3)
    reduce = np.max if name == "MaxPooling3D" else np.mean
    np.testing.assert_allclose(getattr(layers, name)(2)(x), reduce(blocks, axis=(2, 4, 6)), rtol=1e-5, atol=1e-6)


def test_convolution_of_volumes():
    rng = np.random.default_rng(0)
    layer = layers.Conv3D(2, 2)
    x = rng.normal(size=(1, 3, 3, 3, 2)).astype(np.float32)
    result = layer(x)
    kernel, bias = layer.get_weights()
    patch = x[0, 1:3, 0:2, 1:3]
    np.testing.assert_allclose(result[0, 1, 0, 1], np.tensordot(patch, kernel, 4) + bias, rtol=1e-5, atol=1e-6)


def test_sequences_match_images_of_one_row():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 6, 3)).astype(np.float32)
    pairs = [
        (layers.DepthwiseConv1D(3, 2, "same", 2), layers.DepthwiseConv2D((1, 3), (1, 2), "same", 2)),
        (layers.SeparableConv1D(4, 3), layers.SeparableConv2D(4, (1, 3))),
        (layers.Conv1DTranspose(4, 3, 2), layers.Conv2DTranspose(4, (1, 3), (1, 2))),
    ]
    for flat, image in pairs:
        result = flat(x)
        image.build((None, 1, 6, 3))
        image.set_weights([w if w.ndim == 1 else w.reshape((1, *w.shape)) for w in flat.get_weights()])
        np.testing.assert_allclose(result, image(x[:, None])[:, 0], rtol=1e-5, atol=1e-6)


def test_layers_of_volumes_act_on_three_axes():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 2)).astype(np.float32)
    np.testing.assert_allclose(layers.GlobalAveragePooling3D()(x), x.mean((1, 2, 3)), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(layers.GlobalMaxPooling3D(keepdims=True)(x), x.max((1, 2, 3), keepdims=True))
    padded = layers.ZeroPadding3D(((1, 0), (0, 2), (1, 1)))(x)
    np.testing.assert_array_equal(padded, np.pad(x, ((0, 0), (1, 0), (0, 2), (1, 1), (0, 0))))
    np.testing.assert_array_equal(layers.Cropping3D(((1, 0), (0, 2), (1, 1)))(padded), x)
    repeated = x.repeat(2, 1).repeat(3, 2)
    np.testing.assert_array_equal(layers.UpSampling3D((2, 3, 1))(x), repeated)
    result = layers.SpatialDropout3D(0.5, seed=0)(np.ones((9, 2, 2, 2, 8), np.float32), training=True)
    np.testing.assert_array_equal(result, np.broadcast_to(result[:, :1, :1, :1], result.shape))
    assert layers.Conv3DTranspose(3, 2, 2)(x).shape == (2, 6, 8, 10, 3)


def test_configurations_of_layers():
    config = layers.serialize(layers.Conv2D(4, 3, activation="relu", name="c"))
    assert config["module"] == "keras.layers"
    assert config["class_name"] == "Conv2D"
    again = layers.deserialize(config)
    assert isinstance(again, layers.Conv2D)
    assert layers.serialize(again) == config
    with pytest.raises(ValueError, match="Did you mean 'Conv2D'"):
        layers.deserialize({"class_name": "Convo2D", "config": {}})
