"""`graphcore.config.set_winograd`: what is compiled after it obeys it, and results agree."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from graphcore import config, layers, models, utils


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = config.winograd()
    yield
    config.set_winograd(before)


def trained(allowed: bool) -> tuple[str, list[np.ndarray]]:
    """Names of the step's kernels, and the weights after three steps."""
    config.set_winograd(allowed)
    utils.clear_session()
    utils.set_random_seed(5)
    model = models.Sequential(
        [
            layers.Input((14, 14, 16)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(24, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ]
    )
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 14, 14, 16)).astype("float32"), rng.normal(size=(6, 3)).astype("float32")
    for _ in range(3):
        model.train_on_batch(x, y)
    program = model.lower("train").compiled.program
    return " ".join(instruction.label for instruction in program.instructions), model.get_weights()


def test_it_is_on_at_first_and_can_be_switched() -> None:
    assert config.winograd()
    allowed, weights = trained(True)
    assert "winograd_convolution" in allowed
    assert "winograd_kernel_gradient" in allowed
    forbidden, others = trained(False)
    assert "winograd" not in forbidden
    for weight, other in zip(weights, others, strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-4, atol=1e-6)
