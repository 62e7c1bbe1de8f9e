"""Batch renormalisation: numbers that Keras 3.15 computed in three steps, and its way back to plain normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphcore import initializers, layers
from graphcore.models import Sequential
from graphcore.optimizers import SGD

X = np.array([[1, 0], [2, 2], [3, -2], [6, 0]], np.float32)
# Losses, kernel, then the layer's weights without gamma and beta, and predictions.
FREE: dict[str, Any] = {
    "losses": [9.3125, 1.570327, 1.040861],
    "kernel": [[0.993811, 0.499051], [-0.996132, 1.995255]],
    "state": [
        [0.80951, 0.405962],
        [1.924055, 2.129252],
        [1.422693, 1.493068],
        [2.611184, 1.310377],
        [2.362946, 2.591116],
    ],
    "predictions": [[0.045068, 0.151134], [0.06909, 0.575112], [-0.050685, -0.131459], [-0.074484, 0.386777]],
}
CLIPPED: dict[str, Any] = {
    "losses": [2.708848, 2.489511, 1.795687],
    "kernel": [[0.994742, 0.499309], [-0.996713, 1.996546]],
    "state": [
        [0.81125, 0.406272],
        [1.927631, 2.131376],
        [1.423949, 1.493779],
        [2.617492, 1.311517],
        [2.367497, 2.593741],
    ],
    "predictions": [[0.318561, 0.266191], [-0.382786, 3.273597], [3.115649, -1.738439], [3.811462, 1.937486]],
}


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, FREE), ({"renorm_clipping": {"rmin": 0.8, "rmax": 1.5, "dmax": 0.3}, "scale": False}, CLIPPED)],
)
def test_three_steps(options: dict[str, Any], expected: dict[str, Any], jit: bool) -> None:
    kernel = initializers.Constant(np.array([[1.0, 0.5], [-1.0, 2.0]], np.float32))
    layer = layers.BatchNormalization(momentum=0.9, epsilon=0.1, renorm=True, renorm_momentum=0.5, **options)
    model = Sequential([layers.Input((2,)), layers.Dense(2, kernel_initializer=kernel), layer])
    model.compile(SGD(0.1), "mse", jit=jit)
    found = [model.train_on_batch(X, np.ones_like(X)) for _ in range(3)]
    close = {"rtol": 1e-5, "atol": 2e-6}
    np.testing.assert_allclose(found, expected["losses"], **close)
    np.testing.assert_allclose(model.get_weights()[0], expected["kernel"], **close)
    names = ["moving_mean", "moving_variance", "moving_stddev", "renorm_mean", "renorm_stddev"]
    assert [variable.name for variable in layer.non_trainable_variables] == names
    for variable, value in zip(layer.non_trainable_variables, expected["state"], strict=True):
        np.testing.assert_allclose(variable.numpy(), value, **close)
    np.testing.assert_allclose(model.predict(X, verbose=0), expected["predictions"], rtol=1e-5, atol=1e-5)


def test_a_mask_leaves_steps_out() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
    mask = np.arange(4) < np.array([[4], [1], [2]])
    layer = layers.BatchNormalization(renorm=True, momentum=0.0)
    layer(x, training=True, mask=mask)
    np.testing.assert_allclose(layer.moving_mean.numpy(), x[mask].mean(0), rtol=1e-4)
    np.testing.assert_allclose(layer.moving_variance.numpy(), x[mask].var(0), rtol=1e-4)


def test_the_configuration_makes_an_equal_layer() -> None:
    layer = layers.BatchNormalization(renorm=True, renorm_clipping={"rmax": 3.0}, renorm_momentum=0.8)
    again = layers.BatchNormalization.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.renorm, again.renorm_clipping, again.renorm_momentum) == (True, {"rmax": 3.0}, 0.8)
