"""Layers for text and tokens against Keras's numbers, their errors, and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference_arrays import load

import graphcore as keras
from graphcore import layers
from graphcore.layers.string_hash import farm_hash, sip_hash

REFERENCES = load("text")
FIT = sorted(REFERENCES.cases)
TEXTS = ["The cat sat.", "the dog", "a cat"]


def made(name: str) -> Any:
    case = REFERENCES.cases[name]
    kwargs = {key: tuple(v) if key == "ngrams" and isinstance(v, list) else v for key, v in case["kwargs"].items()}
    layer = getattr(layers, case["class"])(**kwargs)
    if case["adapt"] is not None:
        layer.adapt(case["adapt"])
    return layer


@pytest.mark.parametrize("name", FIT)
def test_vocabulary_and_output(name: str) -> None:
    case = REFERENCES.cases[name]
    layer = made(name)
    assert layer.get_vocabulary() == case["vocabulary"]
    assert layer.vocabulary_size() == len(case["vocabulary"])
    for inputs in (case["inputs"], np.array(case["inputs"])):
        output = layer(inputs)
        np.testing.assert_allclose(output, REFERENCES[case["output"]], rtol=1e-6)
    assert output.dtype == (np.float32 if "tf_idf" in str(case["kwargs"]) else np.int64)


@pytest.mark.parametrize("name", FIT)
def test_a_saved_layer_gives_the_same(name: str, tmp_path: Path) -> None:
    case = REFERENCES.cases[name]

    @keras.saving.register_keras_serializable(package="tests")
    class Holder(keras.Model):
        def __init__(self, inner: Any = None, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.inner = keras.saving.deserialize_keras_object(inner) if isinstance(inner, dict) else inner
            self.dense = layers.Dense(1)

        def call(self, x: Any) -> Any:
            return self.dense(x)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "inner": keras.saving.serialize_keras_object(self.inner)}

    layer = made(name)
    model = Holder(layer)
    model(np.zeros((1, 2), "float32"))
    path = tmp_path / "model.keras"
    model.save(path)
    again = keras.saving.load_model(path).inner
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()
    np.testing.assert_array_equal(again(case["inputs"]), layer(case["inputs"]))
    layer.save_assets(tmp_path)
    fresh = type(layer).from_config(layer.get_config())
    fresh.load_assets(tmp_path)
    assert fresh.get_vocabulary() == layer.get_vocabulary()


def test_inverse() -> None:
    layer = layers.StringLookup(vocabulary=["a", "b"], invert=True)
    assert layer([[0, 1], [2, 9]]).tolist() == [["[UNK]", "a"], ["b", "[UNK]"]]
    masked = layers.StringLookup(vocabulary=["a", "b"], invert=True, mask_token="")
    assert masked([0, 1, 2, 3]).tolist() == ["", "[UNK]", "a", "b"]


def test_bytes_scalars_and_batches() -> None:
    layer = layers.TextVectorization()
    layer.adapt(iter([TEXTS[:2], [TEXTS[2].encode()]]))
    whole = layers.TextVectorization()
    whole.adapt(TEXTS)
    assert layer.get_vocabulary() == whole.get_vocabulary() == ["", "[UNK]", "the", "cat", "sat", "dog", "a"]
    assert layer(b"the Cat!").tolist() == [2, 3]
    assert layer("").shape == (0,)
    few = layers.TextVectorization()
    few.adapt(([text] for text in TEXTS), steps=1)
    assert few.get_vocabulary() == ["", "[UNK]", "the", "sat", "cat"]


def test_texts_that_are_not_split() -> None:
    """The last axis of the texts holds the tokens; shapes and numbers are those of Keras 3.15."""
    vocabulary = ["a", "b", "a b"]
    for mode, expected in (("multi_hot", [0, 0, 1, 0]), ("count", [0, 0, 1, 0])):
        layer = layers.TextVectorization(split=None, output_mode=mode, vocabulary=vocabulary)
        assert layer("b").tolist() == expected
    pairs = layers.TextVectorization(split=None, ngrams=2, vocabulary=vocabulary)
    assert pairs(["a", "b", "c"]).tolist() == [2, 3, 1, 4, 1]
    assert pairs([["a", "b"], ["b", "a"]]).tolist() == [[2, 3, 4], [3, 2, 1]]
    counts = layers.TextVectorization(split=None, ngrams=2, output_mode="count", vocabulary=vocabulary)
    assert counts(["a", "b", "c"]).tolist() == [2, 1, 1, 1]


def test_texts_without_tokens_have_features() -> None:
    layer = layers.TextVectorization(output_mode="multi_hot", vocabulary=["a"])
    assert layer([[""], [" "]]).tolist() == [[0, 0], [0, 0]]
    assert layer("").tolist() == [0, 0]


def test_a_single_token_is_a_row_of_one() -> None:
    """As in Keras 3.15, where a scalar is made a vector first."""
    assert layers.StringLookup(vocabulary=["a"], output_mode="one_hot")("a").tolist() == [[0, 1]]
    assert layers.IntegerLookup(vocabulary=[7], output_mode="one_hot")(7).tolist() == [[0, 1]]
    assert layers.StringLookup(vocabulary=["a"], output_mode="count")("a").tolist() == [0, 1]


def test_functions_standardize_and_split() -> None:
    @keras.saving.register_keras_serializable(package="tests")
    def reversed_texts(texts: Any) -> Any:
        return np.array([text[::-1] for text in texts])

    @keras.saving.register_keras_serializable(package="tests")
    def by_commas(texts: Any) -> Any:
        return [text.split(",") for text in texts]

    layer = layers.TextVectorization(standardize=reversed_texts, split=by_commas, vocabulary=["a", "cb"])
    assert layer(["bc,a", "a"]).tolist() == [[2, 3], [2, 0]]
    again = layers.TextVectorization.from_config(layer.get_config())
    assert again(["bc,a"]).tolist() == [[2, 3]]


def test_vocabulary_file(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("b\na\n", encoding="utf-8")
    layer = layers.StringLookup(vocabulary=str(path))
    assert layer.get_vocabulary() == ["[UNK]", "b", "a"]
    assert layers.IntegerLookup(vocabulary=np.array([5, 3])).get_vocabulary() == [-1, 5, 3]
    with pytest.raises(ValueError, match="does not exist"):
        layers.StringLookup(vocabulary=str(tmp_path / "none.txt"))


def test_hashes_are_those_of_their_authors() -> None:
    # The vector of the SipHash paper; lengths around FarmHash's borders are in the reference cases.
    assert sip_hash(bytes(range(15)), 0x0706050403020100, 0x0F0E0D0C0B0A0908) == 0xA129CA6149BE45E5
    assert farm_hash(b"") == 0x9AE16A3B2F90404F
    seen = {farm_hash(bytes([i % 251 for i in range(n)])) for n in range(300)}
    assert len(seen) == 300


ERRORS: list[tuple[type, dict[str, Any], str]] = [
    (layers.TextVectorization, {"standardize": "upper"}, "standardize"),
    (layers.TextVectorization, {"split": "comma"}, "split"),
    (layers.TextVectorization, {"ngrams": "two"}, "ngrams"),
    (layers.TextVectorization, {"output_mode": "one"}, "output_mode"),
    (layers.TextVectorization, {"output_mode": "count", "output_sequence_length": 3}, "output_sequence_length"),
    (layers.TextVectorization, {"ragged": True}, "ragged"),
    (layers.StringLookup, {"max_tokens": 1}, "max_tokens"),
    (layers.StringLookup, {"max_tokens": 1, "num_oov_indices": 0}, "max_tokens"),
    (layers.StringLookup, {"max_tokens": 2, "num_oov_indices": 3}, r"unknown tokens, 3\. Received: max_tokens=2"),
    (layers.IntegerLookup, {"max_tokens": 2, "mask_token": 0}, r"unknown tokens, 2\. Received: max_tokens=2"),
    (layers.TextVectorization, {"max_tokens": 2}, r"unknown tokens, 2\. Received: max_tokens=2"),
    (layers.StringLookup, {"pad_to_max_tokens": True}, "max_tokens"),
    (layers.StringLookup, {"num_oov_indices": -1}, "num_oov_indices"),
    (layers.StringLookup, {"invert": True, "output_mode": "count"}, "invert"),
    (layers.StringLookup, {"sparse": True}, "sparse"),
    (layers.StringLookup, {"vocabulary": ["a"], "output_mode": "tf_idf"}, "idf_weights"),
    (layers.StringLookup, {"vocabulary": ["a", "b"], "output_mode": "tf_idf", "idf_weights": [1.0]}, "same length"),
    (layers.StringLookup, {"vocabulary": []}, "empty"),
    (layers.StringLookup, {"vocabulary": ["a", "b", "a"]}, "repeated"),
    (layers.StringLookup, {"vocabulary": ["a", "m"], "mask_token": "m"}, "reserved"),
    (layers.StringLookup, {"vocabulary": ["a", "b"], "max_tokens": 2}, "larger"),
    (layers.StringLookup, {"salt": [1, 2, 3]}, "salt"),
    (layers.IntegerLookup, {"salt": 1}, "farmhash"),
    (layers.IntegerLookup, {"oov_method": "best"}, "oov_method"),
    (layers.IntegerLookup, {"vocabulary_dtype": "float32"}, "vocabulary_dtype"),
]


@pytest.mark.parametrize(("cls", "kwargs", "message"), ERRORS)
def test_arguments_that_do_not_fit(cls: type, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cls(**kwargs)


def test_as_few_numbers_as_there_may_be() -> None:
    layer = layers.StringLookup(max_tokens=4, num_oov_indices=3)
    layer.adapt(["a", "b", "b"])
    assert layer.get_vocabulary() == [*["[UNK]"] * 3, "b"]
    layer = layers.StringLookup(max_tokens=2, mask_token="", output_mode="count")  # no number for masks
    layer.adapt(["a", "b", "b"])
    assert layer.get_vocabulary() == ["[UNK]", "b"]


def test_adapt_after_set_vocabulary() -> None:
    """It takes the place of the tokens, as in Keras 3.15; only the argument `vocabulary` stays."""
    layer = layers.StringLookup()
    layer.set_vocabulary(["a", "b"])
    layer.adapt(["c", "d", "d"])
    assert layer.get_vocabulary() == ["[UNK]", "d", "c"]


def test_errors_of_calls() -> None:
    layer = layers.TextVectorization(vocabulary=["a"])
    with pytest.raises(ValueError, match="outside of compiled models"):
        layer(keras.Input((1,)))
    with pytest.raises(ValueError, match="static vocabulary"):
        layer.adapt(TEXTS)
    with pytest.raises(ValueError, match="last shape dimension must be 1"):
        layer([["a", "b"]])
    with pytest.raises(ValueError, match=r"found OOV values \['q'\]"):
        layers.StringLookup(vocabulary=["a"], num_oov_indices=0)(["a", "q"])
    with pytest.raises(RuntimeError, match="call `adapt`"):
        layers.StringLookup(output_mode="count")(["a"])
    with pytest.raises(ValueError, match="takes integers"):
        layers.IntegerLookup(vocabulary=[1])([0.5])
