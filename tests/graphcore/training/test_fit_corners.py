"""What few trainings meet, in the way Keras meets it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphcore import ops
from graphcore.callbacks import LambdaCallback
from graphcore.layers import Dense, Embedding, Input
from graphcore.losses import Dice
from graphcore.models import Model, Sequential

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(6, 2)
Y = (np.arange(6) % 2).astype(np.float32)[:, None]
WEIGHTS = np.arange(6, dtype=np.float32)


def squares(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred))


def test_predictions_of_several_outputs_reach_the_hooks_of_batches() -> None:
    seen: list[list[tuple[int, ...]]] = []
    hook = LambdaCallback(
        on_predict_batch_end=lambda batch, logs: seen.append([part.shape for part in logs["outputs"]])
    )
    inputs = Input((2,))
    model = Model(inputs, [Dense(3)(inputs), Dense(1)(inputs)])
    model.predict(X, batch_size=4, callbacks=[hook], verbose=0)
    assert seen == [[(4, 3), (4, 1)], [(2, 3), (2, 1)]]


@pytest.mark.parametrize("loss", [squares, Dice()])
@pytest.mark.parametrize("jit", [True, False])
def test_a_loss_of_the_whole_batch_takes_the_mean_of_the_weights(loss: Any, jit: bool) -> None:
    model = Sequential([Input((2,)), Dense(1, activation="sigmoid")])
    model.compile("sgd", loss, jit=jit)
    plain = model.test_on_batch(X, Y)
    assert model.test_on_batch(X, Y, sample_weight=WEIGHTS) == pytest.approx(plain * WEIGHTS.mean(), rel=1e-6)
    assert model.train_on_batch(X, Y, class_weight={0: 1.0, 1: 3.0}) == pytest.approx(2 * plain, rel=1e-6)


def test_a_loss_of_the_whole_batch_does_not_see_the_mask() -> None:
    model = Sequential([Input((3,)), Embedding(4, 2, mask_zero=True), Dense(1)])
    model.compile("sgd", squares)
    rows = np.array([[1, 0, 0], [2, 3, 0]])
    targets = np.ones((2, 3, 1), np.float32)
    expected = np.mean((targets - model.predict(rows, verbose=0)) ** 2)
    assert model.test_on_batch(rows, targets) == pytest.approx(expected, rel=1e-6)
