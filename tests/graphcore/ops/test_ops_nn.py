"""Activations, normalisation and cross-entropies against formulas in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graphcore import ops

RNG = np.random.default_rng(5)
X = (RNG.normal(size=(4, 6)) * 3).astype(np.float32)
D = X.astype(np.float64)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.log1p(np.exp(x))


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(x))


NORMAL = np.vectorize(lambda v: 0.5 * (1 + math.erf(v / math.sqrt(2))))

ACTIVATIONS = {
    "relu": np.maximum(D, 0), "relu6": np.clip(D, 0, 6), "sigmoid": sigmoid(D), "log_sigmoid": np.log(sigmoid(D)),
    "softplus": softplus(D), "softsign": D / (1 + abs(D)), "silu": D * sigmoid(D), "swish": D * sigmoid(D),
    "leaky_relu": np.where(D > 0, D, 0.2 * D), "hard_sigmoid": np.clip(D / 6 + 0.5, 0, 1),
    "hard_silu": D * np.clip(D / 6 + 0.5, 0, 1), "hard_swish": D * np.clip(D / 6 + 0.5, 0, 1), "elu": elu(D),
    "selu": 1.0507009873554805 * elu(D, 1.6732632423543772), "celu": elu(D),
    "gelu": 0.5 * D * (1 + np.tanh(math.sqrt(2 / math.pi) * (D + 0.044715 * D**3))),
    "glu": D[:, :3] * sigmoid(D[:, 3:]), "hard_tanh": np.clip(D, -1, 1), "hard_shrink": np.where(abs(D) > 0.5, D, 0),
    "soft_shrink": np.sign(D) * np.maximum(abs(D) - 0.5, 0), "tanh_shrink": D - np.tanh(D),
    "squareplus": (D + np.sqrt(D**2 + 4)) / 2, "sparse_sigmoid": np.clip((D + 1) / 2, 0, 1),
    "sparse_plus": np.where(D <= -1, 0, np.where(D < 1, (D + 1) ** 2 / 4, D)),
    "softmax": np.exp(D) / np.exp(D).sum(-1, keepdims=True),
    "log_softmax": D - np.log(np.exp(D).sum(-1, keepdims=True)),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name, three_ways):
    three_ways(getattr(ops, name), (X,), ACTIVATIONS[name].astype(np.float32), batch=4, tolerance=3e-6)


def test_activation_arguments(three_ways):
    three_ways(
        lambda x: ops.gelu(x, approximate=False), (X,), (D * NORMAL(D)).astype(np.float32), batch=4, tolerance=2e-6
    )
    three_ways(lambda x: ops.leaky_relu(x, 0.3), (X,), np.where(D > 0, D, 0.3 * D).astype(np.float32), batch=4)
    three_ways(lambda x: ops.threshold(x, 1, 7), (X,), np.where(X > 1, X, np.float32(7)), batch=4)
    both = np.exp(D) / np.exp(D).sum()
    three_ways(lambda x: ops.softmax(x, axis=(0, 1)), (X,), both.astype(np.float32), tolerance=1e-5)
    three_ways(lambda x: ops.softmax(x, axis=None), (X,), both.astype(np.float32), tolerance=1e-5)


def test_activations_stay_finite_far_out():
    x = np.array([-1e4, -100.0, 100.0, 1e4], np.float32)
    for name in ("sigmoid", "log_sigmoid", "softplus", "silu", "elu", "selu", "softmax", "log_softmax", "gelu", "tanh"):
        assert np.isfinite(getattr(ops, name)(x)).all(), name


def test_moments_and_normalisation(three_ways):
    x = RNG.normal(size=(4, 3, 5)).astype(np.float32) + 100  # a large mean: one pass would lose the variance
    mean, variance = x.astype(np.float64).mean((0, 1)), x.astype(np.float64).var((0, 1))
    three_ways(
        lambda t: ops.moments(t, (0, 1)),
        (x,),
        (mean.astype(np.float32), variance.astype(np.float32)),
        batch=4,
        tolerance=1e-5,
    )
    gamma, beta = RNG.normal(size=(2, 5)).astype(np.float32)
    expected = gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta
    m32, v32 = mean.astype(np.float32), variance.astype(np.float32)
    three_ways(
        lambda t, m, v, g, b: ops.batch_normalization(t, m, v, -1, b, g),
        (x, m32, v32, gamma, beta),
        expected.astype(np.float32),
        batch=4,
        tolerance=1e-3,
    )
    first = ops.batch_normalization(np.moveaxis(x, -1, 1), m32, v32, 1, beta, gamma)
    np.testing.assert_allclose(np.moveaxis(first, 1, -1), expected, rtol=1e-3, atol=1e-3)
    plain = (x - mean) / np.sqrt(variance + 1e-3)
    three_ways(
        lambda t, m, v: ops.batch_normalization(t, m, v, -1),
        (x, m32, v32),
        plain.astype(np.float32),
        batch=4,
        tolerance=1e-3,
    )


def test_layer_and_rms_normalisation(three_ways):
    x = RNG.normal(size=(4, 3, 5)).astype(np.float32)
    d = x.astype(np.float64)
    gamma = RNG.normal(size=5).astype(np.float32)
    normal = (d - d.mean(-1, keepdims=True)) / np.sqrt(d.var(-1, keepdims=True) + 1e-3)
    three_ways(
        lambda t, g: ops.layer_normalization(t, g, epsilon=1e-3),
        (x, gamma),
        (gamma * normal).astype(np.float32),
        batch=4,
        tolerance=1e-5,
    )
    both = (d - d.mean((1, 2), keepdims=True)) / np.sqrt(d.var((1, 2), keepdims=True) + 1e-7)
    three_ways(
        lambda t: ops.layer_normalization(t, axis=(1, 2)), (x,), both.astype(np.float32), batch=4, tolerance=1e-5
    )
    rms = d / np.sqrt((d**2).mean(-1, keepdims=True) + 1e-6) * gamma
    three_ways(
        lambda t, g: ops.rms_normalization(t, g, epsilon=1e-6),
        (x, gamma),
        rms.astype(np.float32),
        batch=4,
        tolerance=1e-5,
    )
    unit = d / np.linalg.norm(d, axis=-1, keepdims=True)
    three_ways(ops.normalize, (x,), unit.astype(np.float32), batch=4, tolerance=1e-5)
    assert ops.normalize(np.zeros((2, 3), np.float32)).tolist() == [[0, 0, 0], [0, 0, 0]]


PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0], [2.0, 1.0, 1.0]], np.float32)  # the last: not normalised


def test_categorical_crossentropy_renormalises_then_clips(three_ways):
    target = np.array([[1, 0, 0], [0, 0, 1], [0.5, 0.5, 0]], np.float32)
    p = np.clip(PROBABILITIES / PROBABILITIES.sum(-1, keepdims=True), 1e-7, 1 - 1e-7).astype(np.float64)
    expected = -(target * np.log(p)).sum(-1)
    three_ways(
        ops.categorical_crossentropy, (target, PROBABILITIES), expected.astype(np.float32), batch=3, tolerance=1e-5
    )
    assert ops.categorical_crossentropy(target, PROBABILITIES)[1] == pytest.approx(-math.log(1e-7), rel=1e-5)
    logits = (RNG.normal(size=(3, 3)) * 50).astype(np.float32)
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    three_ways(
        lambda t, o: ops.categorical_crossentropy(t, o, from_logits=True),
        (target, logits),
        -(target * log_p).sum(-1).astype(np.float32),
        batch=3,
        tolerance=1e-5,
    )


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
@pytest.mark.parametrize("dtype", ["int32", "uint8", "float32"])
def test_sparse_crossentropy_is_that_of_one_hot_labels(shape, dtype, three_ways):
    labels = np.array([0, 2, 1], dtype).reshape(shape)
    one_hot = np.eye(3, dtype=np.float32)[labels.reshape(3).astype(int)]
    for from_logits in (False, True):
        expected = ops.categorical_crossentropy(one_hot, PROBABILITIES, from_logits=from_logits)
        three_ways(
            lambda t, o, flag=from_logits: ops.sparse_categorical_crossentropy(t, o, from_logits=flag),
            (labels, PROBABILITIES),
            expected,
            batch=3,
        )


def test_sparse_crossentropy_of_segmentation_maps(three_ways):
    logits = RNG.normal(size=(2, 4, 5, 3)).astype(np.float32)
    labels = RNG.integers(0, 3, (2, 4, 5)).astype(np.int32)
    log_p = logits - np.log(np.exp(logits.astype(np.float64)).sum(-1, keepdims=True))
    expected = -np.take_along_axis(log_p, labels[..., None], -1)[..., 0].astype(np.float32)
    three_ways(
        lambda t, o: ops.sparse_categorical_crossentropy(t, o, True),
        (labels, logits),
        expected,
        batch=2,
        tolerance=1e-5,
    )


def test_binary_crossentropy(three_ways):
    target = np.array([[1, 0, 0.3]], np.float32)
    output = np.array([[0.2, 0.0, 1.0]], np.float32)
    p = np.clip(output.astype(np.float64), 1e-7, 1 - 1e-7)
    expected = -(target * np.log(p) + (1 - target) * np.log(1 - p))
    # float32 cannot hold 1 - 1e-7 exactly, which shows in log(1 - p).
    three_ways(ops.binary_crossentropy, (target, output), expected.astype(np.float32), tolerance=2e-2)
    logits = np.array([[-200.0, 3.0, 200.0]], np.float32)
    exact = np.array([[200.0, math.log1p(math.exp(3)), 200 - 0.3 * 200]], np.float32)
    three_ways(lambda t, o: ops.binary_crossentropy(t, o, from_logits=True), (target, logits), exact)


def test_crossentropy_errors_show_both_shapes():
    with pytest.raises(ValueError, match=r"same shape.*target.shape=\(3, 2\), output.shape=\(3, 3\)"):
        ops.categorical_crossentropy(np.ones((3, 2)), PROBABILITIES)
    with pytest.raises(ValueError, match="up until the last dimension"):
        ops.sparse_categorical_crossentropy(np.ones((2, 2)), PROBABILITIES)
    with pytest.raises(ValueError, match="same shape"):
        ops.binary_crossentropy(np.ones((3, 2)), PROBABILITIES)
