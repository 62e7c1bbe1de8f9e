"""What the layer references do not cover: sparsemax, relu's arguments together, names."""

import itertools

import numpy as np
import pytest

from graphcore import activations


def projection(scores):
    """The nearest point of the probability simplex, by trying every support."""
    best = None
    for size in range(1, len(scores) + 1):
        for support in itertools.combinations(range(len(scores)), size):
            point = np.zeros(len(scores))
            chosen = list(support)
            point[chosen] = scores[chosen] - (scores[chosen].sum() - 1) / size
            if (point >= 0).all() and (best is None or ((point - scores) ** 2).sum() < ((best - scores) ** 2).sum()):
                best = point
    return best


def test_sparsemax_is_the_projection_onto_the_simplex():
    scores = np.random.default_rng(0).normal(size=(6, 5))
    scores[0] = 0.3  # ties
    result = activations.sparsemax(scores)
    np.testing.assert_allclose(result, [projection(row) for row in scores], atol=1e-12)
    np.testing.assert_allclose(activations.sparsemax(scores.T, axis=0), result.T, atol=1e-12)


@pytest.mark.parametrize("slope", [0.0, 0.2])
@pytest.mark.parametrize("largest", [None, 6, 0.5])
@pytest.mark.parametrize("threshold", [0.0, 0.3])
def test_relu(slope, largest, threshold):
    x = np.linspace(-2, 8, 41).astype(np.float32)
    expected = np.where(x > threshold, x, slope * (x - threshold))
    if largest is not None:
        expected = np.minimum(expected, largest)
    np.testing.assert_allclose(activations.relu(x, slope, largest, threshold), expected, rtol=1e-6)


def test_names():
    assert activations.get(None) is activations.linear
    assert activations.get("swish") is activations.silu
    assert activations.get(np.tanh) is np.tanh
    assert activations.serialize(activations.relu) == "relu"
