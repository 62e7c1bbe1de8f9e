"""to_categorical, pad_sequences, normalize, names."""

from __future__ import annotations

import numpy as np
import pytest

from graphcore import utils
from graphcore.layers import Layer
from graphcore.naming import auto_name, current_path, get_uid, name_scope, reset_names


def test_to_categorical():
    np.testing.assert_array_equal(utils.to_categorical([0, 2, 1]), np.eye(3)[[0, 2, 1]])
    assert utils.to_categorical([0, 1], 4).shape == (2, 4)
    assert utils.to_categorical(np.zeros((5, 1), int), 3).shape == (5, 3)
    assert utils.to_categorical(np.zeros((5, 2), int), 3).shape == (5, 2, 3)
    with pytest.raises(ValueError, match=r"0\.\.1"):
        utils.to_categorical([0, 2], 2)


def test_pad_sequences_pads_and_cuts_in_front_by_default():
    rows = [[1, 2, 3], [4], []]
    assert utils.pad_sequences(rows).tolist() == [[1, 2, 3], [0, 0, 4], [0, 0, 0]]
    assert utils.pad_sequences(rows, maxlen=2).tolist() == [[2, 3], [0, 4], [0, 0]]
    assert utils.pad_sequences(rows, maxlen=2, truncating="post", padding="post", value=9).tolist() == [
        [1, 2], [4, 9], [9, 9]
    ]  # fmt: skip
    vectors = utils.pad_sequences([np.ones((2, 3)), np.ones((1, 3))], dtype="float32")
    assert vectors.shape == (2, 2, 3)
    assert vectors[1, 0].tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="padding='middle'"):
        utils.pad_sequences(rows, padding="middle")
    with pytest.raises(ValueError, match="non-iterable: 3"):
        utils.pad_sequences([3])
    with pytest.raises(ValueError, match="one shape"):
        utils.pad_sequences([np.ones((2, 3)), np.ones((1, 2))])


def test_normalize():
    x = np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(utils.normalize(x), [[0.6, 0.8], [0, 0]])
    np.testing.assert_allclose(utils.normalize(x, axis=0, order=1)[:, 0], [1, 0])


def test_names_are_numbered_from_the_second_on():
    reset_names()
    assert [auto_name("Conv2D"), auto_name("Conv2D"), auto_name("Conv2DTranspose"), auto_name("ConvLSTM1D")] == [
        "conv2d", "conv2d_1", "conv2d_transpose", "conv_lstm1d"
    ]  # fmt: skip
    utils.clear_session()
    assert Layer().name == "layer"
    assert (get_uid("a"), get_uid("a"), get_uid("b")) == (1, 2, 1)


def test_paths_follow_the_open_scopes():
    assert current_path("x") == "x"
    with name_scope("outer"), name_scope("inner"):
        assert current_path("x") == "outer/inner/x"
        assert current_path() == "outer/inner"
