"""Attention with dropout: no tensor of all scores, and the numbers of the path that has one."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import graphcore as keras
from compiler.text import to_text
from graphcore import layers


@pytest.mark.parametrize(("queries", "keys"), [(5, 5), (7, 4), (3, 6)])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [None, 2])
@pytest.mark.parametrize("masks", [(), ("value_mask",), ("query_mask",), ("query_mask", "value_mask")])
def test_dropout_by_rules_is_that_of_the_scores(
    queries: int, keys: int, causal: bool, window: int | None, masks: tuple[str, ...]
) -> None:
    """The same pattern, and zeros for queries that see nothing, as where the scores are computed."""
    random = np.random.default_rng(queries)
    layer = layers.MultiHeadAttention(2, 3, dropout=0.4, seed=3, sliding_window=window)
    x = random.standard_normal((3, queries, 6)).astype("float32")
    y = random.standard_normal((3, keys, 6)).astype("float32")
    lengths = {"value_mask": keys, "query_mask": queries}
    given = {name: random.random((3, lengths[name])) > 0.6 for name in masks}
    layer(x, y)
    state = layer._dropout_layer.seed_generator.state
    for training in (False, True):
        before = state.numpy().copy()
        by_rules = layer(x, y, training=training, use_causal_mask=causal, **given)
        after = state.numpy().copy()
        state.assign(before)
        by_scores, _ = layer(
            x, y, training=training, use_causal_mask=causal, return_attention_scores=True, **given
        )
        np.testing.assert_array_equal(state.numpy(), after)
        np.testing.assert_allclose(np.asarray(by_rules), np.asarray(by_scores), rtol=1e-5, atol=1e-5)


def test_a_training_step_with_dropout_and_padding_keeps_no_scores() -> None:
    def trained(jit: bool) -> tuple[keras.Model, list[np.ndarray[Any, Any]]]:
        keras.utils.set_random_seed(5)
        tokens = keras.Input((None,), dtype="int32")
        x = layers.Embedding(11, 8, mask_zero=True)(tokens)
        x = layers.MultiHeadAttention(2, 4, dropout=0.3)(x, x, use_causal_mask=True)
        model = keras.Model(tokens, layers.Dense(3)(x))
        model.compile("sgd", "mse", jit=jit)
        random = np.random.default_rng(0)
        for length in (6, 9):
            rows = random.integers(1, 11, (4, length))
            rows[1, 3:] = 0
            model.train_on_batch(rows.astype("int32"), random.standard_normal((4, length, 3)).astype("float32"))
        return model, model.get_weights()

    model, compiled = trained(True)
    for array, other in zip(compiled, trained(False)[1], strict=True):
        np.testing.assert_allclose(array, other, rtol=1e-4, atol=1e-5)
    text = to_text(model.lower("train").compiled.graph)
    assert {"attention_kernel", "attention_gradient_kernel"} <= set(re.findall(r"attention\w*kernel", text))
    (length,) = {entry.value.type.shape[1] for entry in model.lower("train").compiled.traced.inputs[:1]}
    assert str(length) in text
    assert not re.search(rf"\[[^\]]*{re.escape(str(length))},{re.escape(str(length))}[^\]]*\]", text)
