"""The order of layers and weights where masks are made: their making counts. The orders are those of Keras 3.15."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

from graphcore import Input, Model, Sequential, ops
from graphcore import layers as L


def model(way: str) -> Any:
    x, y, h = (Input((size,), dtype=dtype, name=name) for size, dtype, name in INPUTS)
    a = L.Embedding(5, 3, mask_zero=True, name="a")(x)
    b = L.Embedding(5, 3, mask_zero=True, name="b")(y)
    added, joined = L.Add(name="add")([b, a]), L.Concatenate(name="join")([a, a])
    match way:
        case "read":
            return Model([x, y], [added, L.LSTM(3, name="lstm")(joined)])
        case "both read":
            return Model([x, y], [L.LSTM(3, name="first")(added), L.LSTM(3, name="lstm")(joined)])
        case "beside a state":
            return Model([x, y, h], [added, L.LSTM(3, name="lstm")(joined, initial_state=[h, h])])
        case "unread":
            return Model([x, y], [added, L.Dense(3, name="dense")(joined)])
        case "behind a model":
            inner = Sequential([L.Dense(3)], name="inner")
            return Model([x, y], [added, L.LSTM(3, name="lstm")(inner(joined))])
    return Model([x, y], [added, L.GRU(3, name="gru")(L.Masking(name="masking")(a))])


INPUTS = [(4, "int32", "x"), (4, "int32", "y"), (3, "float32", "h")]
ORDERS = {
    "read": "x a y b join add lstm",
    "both read": "x a y b add join first lstm",
    "beside a state": "x y a b join h add lstm",
    "unread": "x y a b join add dense",
    "behind a model": "x a y join b inner add lstm",
    "made by Masking": "x a y b masking add gru",
}


@pytest.mark.parametrize("way", ORDERS)
def test_order_of_layers(way: str) -> None:
    assert [layer.name for layer in model(way).layers] == ORDERS[way].split()


def test_order_of_weights() -> None:
    """Two tables of one shape: a file of Keras's must not fill them the wrong way round."""
    made = model("both read")
    assert [weight.path for weight in made.weights][:2] == ["a/embeddings", "b/embeddings"]
    rebuilt = Model.from_config(made.get_config())
    assert [layer.name for layer in rebuilt.layers] == [layer.name for layer in made.layers]
    data = [np.array([[1, 2, 0, 3]], np.int32), np.array([[0, 4, 0, 1]], np.int32)]
    rebuilt.set_weights(made.get_weights())
    for ours, theirs in zip(rebuilt.predict(data, verbose=0), made.predict(data, verbose=0), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_model_may_begin_behind_the_making_of_a_mask() -> None:
    embedded = L.Embedding(5, 3, mask_zero=True)(Input((4,), dtype="int32"))
    tail = Model(embedded, L.LSTM(2)(L.Concatenate()([embedded, embedded])))
    assert [type(layer).__name__ for layer in tail.layers] == ["Concatenate", "LSTM"]
    assert tail.predict(np.ones((2, 4, 3), np.float32), verbose=0).shape == (2, 2)


def test_making_masks_takes_names_and_leaves_no_layers() -> None:
    x = Input((4,), dtype="int32")
    first = ops.not_equal(x, 1).history[0].name
    embedded = L.Embedding(5, 3, mask_zero=True)(x)
    last = ops.not_equal(x, 1).history[0].name
    number = int(first.removeprefix("not_equal").lstrip("_") or 0)
    assert last == f"not_equal_{number + 2}"
    assert len(Model(x, L.LSTM(2)(embedded)).graph.operations) == 3


def test_a_dropped_model_with_masks_is_freed_at_once() -> None:
    gc.disable()
    try:
        made = model("read")
        gone = weakref.ref(made.graph.nodes[-1])
        del made
        assert gone() is None
    finally:
        gc.enable()
