"""Initializers: distributions, fans, seeds, configurations."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphcore import initializers
from graphcore.random import SeedGenerator

SHAPE = (200, 300)


def test_fans_follow_the_kernel_layouts():
    assert initializers.compute_fans(()) == (1, 1)
    assert initializers.compute_fans((7,)) == (7, 7)
    assert initializers.compute_fans((5, 3)) == (5, 3)
    assert initializers.compute_fans((3, 3, 16, 32)) == (9 * 16, 9 * 32)
    assert initializers.compute_fans((2, 3, 4), input_axes=(0,), output_axes=(1, 2)) == (2, 12)


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("glorot_uniform", 2 / 500),
        ("glorot_normal", 2 / 500),
        ("he_uniform", 2 / 200),
        ("he_normal", 2 / 200),
        ("lecun_uniform", 1 / 200),
        ("lecun_normal", 1 / 200),
    ],
)
def test_variance_scaling(name, variance):
    values = initializers.get(name)(SHAPE)
    # 60000 samples: the standard error of the variance is below 0.6 %.
    assert np.var(values, dtype=np.float64) == pytest.approx(variance, rel=0.03)
    assert abs(values.mean()) < 5 * math.sqrt(variance / values.size)
    if name.endswith("uniform"):
        assert np.abs(values).max() <= math.sqrt(3 * variance) * (1 + 1e-6)
    else:
        # Cut at two standard deviations of the normal distribution before the cut.
        assert np.abs(values).max() <= 2 * math.sqrt(variance) / 0.87962566 * (1 + 1e-6)


def test_untruncated_normal_and_modes():
    values = initializers.VarianceScaling(3.0, "fan_out", "untruncated_normal", seed=1)(SHAPE)
    assert np.var(values, dtype=np.float64) == pytest.approx(3 / 300, rel=0.03)
    assert np.abs(values).max() > 3 * math.sqrt(3 / 300)


def test_plain_distributions():
    normal = initializers.RandomNormal(1.0, 0.5, seed=3)(SHAPE)
    assert normal.mean() == pytest.approx(1.0, abs=0.01)
    assert normal.std() == pytest.approx(0.5, rel=0.02)
    uniform = initializers.RandomUniform(2.0, 4.0, seed=3)(SHAPE)
    assert uniform.min() >= 2.0
    assert uniform.max() <= 4.0
    assert uniform.mean() == pytest.approx(3.0, abs=0.02)
    cut = initializers.TruncatedNormal(0.0, 1.0, seed=3)(SHAPE)
    assert np.abs(cut).max() <= 2.0
    assert cut.std() == pytest.approx(0.87962566, rel=0.02)


@given(st.lists(st.integers(1, 6), min_size=2, max_size=4), st.sampled_from([1.0, 2.0]))
def test_orthogonal(shape, gain):
    matrix = initializers.Orthogonal(gain, seed=5)(shape, "float64").reshape(-1, shape[-1])
    rows, columns = matrix.shape
    product = matrix.T @ matrix if rows >= columns else matrix @ matrix.T
    np.testing.assert_allclose(product, gain**2 * np.eye(min(rows, columns)), atol=1e-12)


def test_an_instance_repeats_itself_and_instances_differ():
    one, other = initializers.GlorotUniform(), initializers.GlorotUniform()
    np.testing.assert_array_equal(one((4, 4)), one((4, 4)))
    assert (one((4, 4)) != other((4, 4))).any()
    generator = initializers.RandomNormal(seed=SeedGenerator(1))
    assert (generator((4,)) != generator((4,))).any()
    again = initializers.RandomNormal(seed=SeedGenerator(1))
    np.testing.assert_array_equal(initializers.RandomNormal(seed=SeedGenerator(1))((4,)), again((4,)))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes(dtype):
    for name in ("glorot_uniform", "he_normal", "orthogonal", "zeros", "ones", "identity"):
        assert initializers.get(name)((4, 4), dtype).dtype == dtype
    with pytest.raises(ValueError, match="floating"):
        initializers.RandomNormal()((2,), "int32")


def test_constants():
    np.testing.assert_array_equal(initializers.Constant([1, 2])((3, 2)), [[1, 2]] * 3)
    np.testing.assert_array_equal(initializers.Identity(2.0)((2, 3)), [[2, 0, 0], [0, 2, 0]])
    with pytest.raises(ValueError, match="rank 2"):
        initializers.Identity()((2, 2, 2))
    with pytest.raises(ValueError, match="at least two axes"):
        initializers.Orthogonal()((3,))


@pytest.mark.parametrize("name", ["Constant", "GlorotUniform", "Orthogonal", "RandomUniform", "VarianceScaling"])
def test_configurations(name):
    initializer = initializers.get(name)
    config = initializers.serialize(initializer)
    assert config == {
        "module": "keras.initializers",
        "class_name": name,
        "config": initializer.get_config(),
        "registered_name": None,
    }
    assert initializers.get(config).get_config() == initializer.get_config()


def test_get_takes_what_keras_takes():
    assert initializers.get(None) is None
    assert isinstance(initializers.get("uniform"), initializers.RandomUniform)
    assert isinstance(initializers.get(initializers.Ones), initializers.Ones)
    values = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(initializers.get(values)((2, 3)), values)
    with pytest.raises(ValueError, match=r"shape of the given array, \(2, 3\)"):
        initializers.get(values)((3, 2))
    with pytest.raises(ValueError, match="Did you mean 'glorot_uniform'"):
        initializers.get("glorot_unifrom")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 0}, "`scale` to be positive"),
        ({"mode": "fan"}, "fan_in"),
        ({"distribution": "gauss"}, "truncated_normal"),
        ({"seed": "one"}, "SeedGenerator"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        initializers.VarianceScaling(**arguments)
