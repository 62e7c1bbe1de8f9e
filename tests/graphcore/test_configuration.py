"""Process-wide settings and dtype policies."""

from __future__ import annotations

import numpy as np
import pytest

from graphcore import config, dtype_policies
from graphcore.dtype_policies import DTypePolicy, standardize_dtype
from graphcore.layers import Layer


@pytest.fixture(autouse=True)
def restored():
    yield
    config.set_floatx("float32")
    config.set_epsilon(1e-7)
    config.set_image_data_format("channels_last")
    config.set_dtype_policy(None)


def test_settings_are_kept_and_checked():
    assert (config.floatx(), config.epsilon(), config.image_data_format()) == ("float32", 1e-7, "channels_last")
    config.set_floatx("float64")
    config.set_epsilon(1e-5)
    config.set_image_data_format("channels_first")
    assert (config.floatx(), config.epsilon(), config.image_data_format()) == ("float64", 1e-5, "channels_first")
    with pytest.raises(ValueError, match="floatx"):
        config.set_floatx("int32")
    with pytest.raises(ValueError, match="data_format"):
        config.set_image_data_format("last")


@pytest.mark.parametrize(
    ("given", "name"),
    [("float16", "float16"), (np.int64, "int64"), (np.dtype("uint8"), "uint8"), (None, "float32"), (int, "int32"),
     (bool, "bool"), ("int", "int32"), (float, "float32"), (np.bool_, "bool")],
)  # fmt: skip
def test_element_types_by_any_name(given, name):
    assert standardize_dtype(given) == name


def test_unknown_element_types_list_the_known():
    with pytest.raises(ValueError, match=r"'complex64'. Expected one of float16, float32"):
        standardize_dtype("complex64")


def test_policies():
    mixed = DTypePolicy("mixed_float16")
    assert (mixed.compute_dtype, mixed.variable_dtype) == ("float16", "float32")
    assert dtype_policies.get({"class_name": "DTypePolicy", "config": {"name": "float64"}}).name == "float64"
    config.set_dtype_policy("mixed_float16")
    assert config.dtype_policy() == mixed
    assert Layer().compute_dtype == "float16"
    with pytest.raises(ValueError, match="mixed_bfloat16"):
        DTypePolicy("mixed_bfloat16")


class Affine(Layer):
    def build(self, input_shape):
        self.weight = self.add_weight((input_shape[-1],), "ones")

    def call(self, inputs):
        assert inputs.dtype == self.compute_dtype
        return inputs * self.weight


def test_a_mixed_layer_keeps_wide_weights_and_computes_narrow():
    layer = Affine(dtype="mixed_float16")
    result = layer(np.full((2, 3), 0.1, np.float32))
    assert layer.weight.dtype == "float32"
    assert result.dtype == np.float16


def test_a_float64_layer_computes_in_float64():
    layer = Affine(dtype="float64")
    x = np.full((2, 3), 0.1)
    result = layer(x)
    assert result.dtype == np.float64
    np.testing.assert_array_equal(result, x)
