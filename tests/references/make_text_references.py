"""What Keras's layers for text give: vocabularies that they learn, numbers and features.

Made with Keras 3.15.1 on JAX 0.10.2 with TensorFlow 2.21 for the strings (CPU). Run `python make_text_references.py`
in an environment as keras_setup.py describes, with `pip install tensorflow` beside it. The structure of text.json is
in README.md.
"""

from __future__ import annotations

from typing import Any

import keras_setup
import numpy as np
from reference_arrays import CaseWriter

TEXTS = [
    "The cat sat on the mat.",
    "  A dog -- the DOG! -- barked\tat the cat's\nmat ",
    "Élan vital, ÉLAN! naïve café",
    "",
    "don't stop; stop_now (or: never?) 42 times",
    "mat mat mat",
]
LATER = ["the cat barked at 7 unknown élan words", "?!", "never never a mat dog"]
TOKENS = [["a", "b", "c"], ["b", "b", "z"], ["", "c", "q"]]
WORDS = ["b", "zebra", "unknown", "c", "", "another word that is much longer than sixteen bytes", "ä"]


def texts(writer: CaseWriter, name: str, inputs: Any = LATER, adapt: Any = TEXTS, **kwargs: Any) -> None:
    import keras

    layer = keras.layers.TextVectorization(**kwargs)
    if adapt is not None:
        layer.adapt(adapt)
    add(writer, name, layer, "TextVectorization", kwargs, adapt, inputs)


def lookup(writer: CaseWriter, name: str, inputs: Any, adapt: Any = None, kind: str = "String", **kwargs: Any) -> None:
    import keras

    layer = getattr(keras.layers, f"{kind}Lookup")(**kwargs)
    if adapt is not None:
        layer.adapt(np.array(adapt))
    add(writer, name, layer, f"{kind}Lookup", kwargs, adapt, inputs)


def add(
    writer: CaseWriter, name: str, layer: Any, kind: str, kwargs: dict[str, Any], adapt: Any, inputs: Any
) -> None:
    output = np.asarray(layer(np.array(inputs)))
    vocabulary = [v if isinstance(v, str) else int(v) for v in layer.get_vocabulary()]
    entry = {"class": kind, "kwargs": kwargs, "adapt": adapt, "inputs": inputs, "vocabulary": vocabulary}
    writer.add(name, dtype=output.dtype.name, output=writer.store(output.astype("float64")), **entry)


def main() -> None:
    writer = CaseWriter("text")
    texts(writer, "plain")
    texts(writer, "column", inputs=[[text] for text in LATER])
    for mode in ("multi_hot", "count", "tf_idf"):
        texts(writer, mode, output_mode=mode)
        texts(writer, f"{mode}_padded", output_mode=mode, max_tokens=40, pad_to_max_tokens=True)
    texts(writer, "few", max_tokens=6)
    texts(writer, "cut", output_sequence_length=4)
    texts(writer, "longer", output_sequence_length=12)
    for standardize in ("lower", "strip_punctuation", None):
        texts(writer, f"standardize_{standardize}", standardize=standardize)
    texts(writer, "characters", split="character", max_tokens=20)
    texts(writer, "not_split", split=None)
    texts(writer, "not_split_cut", split=None, output_sequence_length=2, inputs=TOKENS, adapt=TOKENS)
    texts(writer, "bigrams", ngrams=2)
    texts(writer, "only_trigrams", ngrams=(3,), output_mode="count")
    texts(writer, "given", adapt=None, vocabulary=["cat", "the", "mat"])
    texts(writer, "given_special", adapt=None, vocabulary=["", "[UNK]", "cat", "the"])
    weights = [0.25, 0.5, 2.0]
    texts(writer, "given_weights", adapt=None, vocabulary=["cat", "the", "mat"], idf_weights=weights,
          output_mode="tf_idf")  # fmt: skip
    lookup(writer, "strings", TOKENS, adapt=TOKENS)
    lookup(writer, "strings_masked", TOKENS, adapt=TOKENS, mask_token="")
    for mode in ("one_hot", "multi_hot", "count", "tf_idf"):
        lookup(writer, f"strings_{mode}", TOKENS, adapt=TOKENS, output_mode=mode, mask_token="")
    lookup(writer, "strings_one_hot_column", [["a"], ["z"]], vocabulary=["a", "b"], output_mode="one_hot")
    lookup(writer, "strings_vector", WORDS, vocabulary=["b", "c"])
    lookup(writer, "strings_hashed", WORDS, vocabulary=["b", "c"], num_oov_indices=7)
    lookup(writer, "strings_salted", WORDS, vocabulary=["b", "c"], num_oov_indices=7, salt=[3, 9], mask_token="")
    lookup(writer, "strings_no_unknown", [["b", "a"]], vocabulary=["a", "b"], num_oov_indices=0)
    numbers = [[12, 1138, 42], [42, 1000, 36]]
    later = [[12, 5, 42], [-3, 1000, 7]]
    lookup(writer, "integers", later, adapt=numbers, kind="Integer")
    lookup(writer, "integers_masked", later, adapt=numbers, kind="Integer", mask_token=7, max_tokens=4)
    lookup(writer, "integers_remainders", later, vocabulary=[12, 42], kind="Integer", num_oov_indices=3)
    lookup(writer, "integers_hashed", later, vocabulary=[12, 42], kind="Integer", num_oov_indices=5,
           oov_method="farmhash")  # fmt: skip
    lookup(writer, "integers_counted", later, vocabulary=[12, 42], kind="Integer", output_mode="count")
    lookup(writer, "integers_inverse", [[0, 1], [2, 9]], vocabulary=[12, 42], kind="Integer", invert=True)
    writer.write(keras_setup.versions())


if __name__ == "__main__":
    main()
