"""Texts as numbers of their tokens."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphcore.identifiers import find_function, serialize_function
from graphcore.layers.index_lookup import Array, HostLayer, batches_of, checked_mode, plain_list
from graphcore.layers.string_lookup import StringLookup

STANDARDS = ("lower_and_strip_punctuation", "lower", "strip_punctuation")
SPLITS = ("whitespace", "character")
# TensorFlow's, which know ASCII only: other letters keep their case, other spaces do not separate.
LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
SPACES = re.compile(r"[ \t\n\v\f\r]+")


class TextVectorization(HostLayer):
    """Standardises texts, splits them into tokens, joins neighbours to n-grams and gives each a number.

    It works on Python and NumPy strings, before the data reach a model, and gives NumPy arrays.

    Args:
        max_tokens: most numbers there are, those for padding and unknown tokens included.
        standardize: 'lower_and_strip_punctuation', 'lower', 'strip_punctuation' (of ASCII), None, or a function of an
            array of str that returns one.
        split: 'whitespace', 'character', None, or a function of an array of str, [batch], that returns a list of
            tokens for each.
        ngrams: longest n-gram, or a tuple of their lengths; None for single tokens.
        output_mode: 'int' for the number of each token; 'multi_hot', 'count' or 'tf_idf' for one vector a text.
        output_sequence_length: of 'int': texts are cut and padded with 0 to it; None: to the longest of the batch.
        pad_to_max_tokens: vectors have length `max_tokens` even if the vocabulary is smaller.
        vocabulary: the tokens, or the path of a file with one in a line; without it call `adapt`.
        idf_weights: a weight for each token, for output mode 'tf_idf'.
        sparse, ragged: not supported, as on Keras's other backends than TensorFlow.
        encoding: of bytes among the inputs.
        name, kwargs: see `Layer`.

    Input: str, of shape () or (batch,) or (batch, 1); without `split` any shape. Output: int64, float32 for 'tf_idf'.

    Raises:
        ValueError: arguments that are unknown or do not fit each other.
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: str | Callable[[Any], Any] | None = "lower_and_strip_punctuation",
        split: str | Callable[[Any], Any] | None = "whitespace",
        ngrams: int | tuple[int, ...] | None = None,
        output_mode: str = "int",
        output_sequence_length: int | None = None,
        pad_to_max_tokens: bool = False,
        vocabulary: Any = None,
        idf_weights: Any = None,
        sparse: bool = False,
        ragged: bool = False,
        encoding: str = "utf-8",
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        for known in ("dtype", "vocabulary_size", "has_input_vocabulary"):
            kwargs.pop(known, None)
        super().__init__(name=name, **kwargs)
        _check_choice("standardize", standardize, STANDARDS)
        _check_choice("split", split, SPLITS)
        widths = (ngrams,) if isinstance(ngrams, int) else () if ngrams is None else ngrams
        if not isinstance(widths, tuple) or not all(isinstance(n, int) and n > 0 for n in widths):
            raise ValueError(f"`ngrams` must be None, an integer, or a tuple of integers. Received: ngrams={ngrams}")
        mode = checked_mode(output_mode, "TextVectorization")
        if output_sequence_length is not None and (mode != "int" or not isinstance(output_sequence_length, int)):
            raise ValueError(
                "`output_sequence_length` must be None or, with `output_mode` 'int', an integer. Received: "
                f"output_sequence_length={output_sequence_length} with output_mode={output_mode!r}"
            )
        if ragged:
            raise ValueError("TextVectorization: `ragged=True` can only be used with the TensorFlow backend of Keras.")
        self._standardize, self._split, self._ngrams = standardize, split, ngrams
        self._widths = tuple(range(1, ngrams + 1)) if isinstance(ngrams, int) else widths
        self._output_sequence_length = output_sequence_length
        self._lookup_layer = StringLookup(
            max_tokens=max_tokens, vocabulary=vocabulary, idf_weights=idf_weights, pad_to_max_tokens=pad_to_max_tokens,
            mask_token="", output_mode=mode, sparse=sparse, encoding=encoding,
        )  # fmt: skip

    # -- the vocabulary --------------------------------------------------------------------------------------

    def adapt(self, data: Any, batch_size: int | None = None, steps: int | None = None) -> None:
        """Learn the vocabulary: the most frequent tokens of the texts.

        Args:
            data: a list or an array of texts, or an iterable of batches of texts.
            batch_size: kept for Keras's sake.
            steps: how many batches of an iterable are read.

        Raises:
            ValueError: the layer was made with a vocabulary.
        """
        self.reset_state()
        for batch in batches_of(data, steps):
            self.update_state(batch)
        self.finalize_state()

    def update_state(self, data: Any) -> None:
        """Count the tokens of a batch of texts."""
        tokens = self._tokens_of(self._lookup_layer.as_tokens(data))
        self._lookup_layer.count_documents(tokens if isinstance(tokens, list) else tokens.reshape(len(tokens), -1))

    def finalize_state(self) -> None:
        """Make the vocabulary of what was counted."""
        self._lookup_layer.finalize_state()

    def reset_state(self) -> None:
        """Forget what was counted."""
        self._lookup_layer.reset_state()

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[str]:
        """The tokens by number; those for padding and unknown tokens come first."""
        return self._lookup_layer.get_vocabulary(include_special_tokens)

    def vocabulary_size(self) -> int:
        """How many numbers there are, those for padding and unknown tokens included."""
        return self._lookup_layer.vocabulary_size()

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Set the tokens; see `StringLookup.set_vocabulary`."""
        self._lookup_layer.set_vocabulary(vocabulary, idf_weights)

    # -- numbers ---------------------------------------------------------------------------------------------

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        texts = self._lookup_layer.as_tokens(inputs)
        tokens = self._tokens_of(texts if texts.ndim or self._is_whole else texts.reshape(1))
        if not isinstance(tokens, list):
            return self._cut(self._lookup_layer.call(tokens))
        result = self._numbered(tokens)
        # The last axis has extent 1, or without a split it holds the tokens.
        rows = texts.shape[:-1] if self._split is None or texts.ndim > 1 else texts.shape
        return result.reshape(*rows, result.shape[-1])

    def _numbered(self, rows: list[list[str]]) -> Array:
        """The numbers of lists of tokens, or their features."""
        lookup = self._lookup_layer
        counts = [len(row) for row in rows]
        flat = lookup.numbers_of([token for row in rows for token in row])
        length = max(counts, default=0)
        is_int = lookup.output_mode == "int"
        if is_int and self._output_sequence_length is not None:
            length = self._output_sequence_length
        numbers = np.full((len(rows), length), 0 if is_int else -1, np.int64)
        start = 0
        for row, count in zip(numbers, counts, strict=True):
            kept = flat[start : start + min(count, length)]
            row[: len(kept)] = kept
            start += count
        return numbers if is_int else lookup.features(numbers)

    def _cut(self, numbers: Array) -> Array:
        length = self._output_sequence_length
        if length is None or not numbers.ndim or self._lookup_layer.output_mode != "int":
            return numbers
        numbers = numbers[..., :length]
        after = [(0, 0)] * (numbers.ndim - 1) + [(0, length - numbers.shape[-1])]
        return np.pad(numbers, after)

    @property
    def _is_whole(self) -> bool:
        """Whether each text is a token as it is."""
        return self._split is None and not self._widths

    def _tokens_of(self, texts: Array) -> list[list[str]] | Array:
        """Lists of tokens; an array where nothing is split."""
        texts = self._standardized(texts)
        if self._is_whole:
            return texts
        if self._split is None:
            rows = texts.reshape(-1, texts.shape[-1]).tolist()
            return [_joined(row, self._widths) for row in rows]
        if texts.ndim > 1 and texts.shape[-1] != 1:
            raise ValueError(
                "When using `TextVectorization` to tokenize strings, the input rank must be 1 or the last shape "
                f"dimension must be 1. Received: inputs.shape={texts.shape} with rank={texts.ndim}"
            )
        flat = texts.reshape(-1)
        if callable(self._split):
            rows = [[str(token) for token in row] for row in self._split(flat.astype(str))]
        elif self._split == "character":
            rows = [list(text) for text in flat]
        else:
            rows = [[token for token in SPACES.split(text) if token] for text in flat]
        return [_joined(row, self._widths) for row in rows] if self._widths else rows

    def _standardized(self, texts: Array) -> Array:
        if callable(self._standardize):
            return self._lookup_layer.as_tokens(self._standardize(texts.astype(str)))
        if self._standardize is None:
            return texts
        table: dict[int, Any] = {}
        if "lower" in self._standardize:
            table |= LOWER
        if "strip" in self._standardize:
            table |= WITHOUT_PUNCTUATION
        changed = [text.translate(table) for text in texts.reshape(-1)]
        return np.array(changed, object).reshape(texts.shape)

    # -- saving ----------------------------------------------------------------------------------------------

    def save_own_variables(self, store: Any) -> None:
        """The weights of 'tf_idf'; the vocabulary is a file of its own."""
        self._lookup_layer.save_own_variables(store)

    def load_own_variables(self, store: Any) -> None:
        """Read what `save_own_variables` wrote."""
        self._lookup_layer.load_own_variables(store)

    def assets(self) -> dict[str, str]:
        """Files that belong to the layer, by name: the vocabulary, unless it is an argument."""
        return self._lookup_layer.assets()

    def load_asset_texts(self, texts: dict[str, str]) -> None:
        """Set the vocabulary from what `assets` gave."""
        self._lookup_layer.load_asset_texts(texts)

    def save_assets(self, dir_path: Any) -> None:
        """Write the vocabulary into a folder."""
        self._lookup_layer.save_assets(dir_path)

    def load_assets(self, dir_path: Any) -> None:
        """Read the vocabulary from a folder."""
        self._lookup_layer.load_assets(dir_path)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        lookup = self._lookup_layer
        return {
            **super().get_config(),
            "max_tokens": lookup.max_tokens,
            "standardize": serialize_function(self._standardize) if callable(self._standardize) else self._standardize,
            "split": serialize_function(self._split) if callable(self._split) else self._split,
            "ngrams": self._ngrams,
            "output_mode": lookup.output_mode,
            "output_sequence_length": self._output_sequence_length,
            "pad_to_max_tokens": lookup.pad_to_max_tokens,
            "sparse": lookup.sparse,
            "ragged": False,
            "vocabulary": plain_list(lookup.input_vocabulary),
            "idf_weights": plain_list(lookup.input_idf_weights),
            "encoding": lookup.encoding,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TextVectorization:
        """A layer with the constructor arguments `config`."""
        known = {
            name: find_function(config[name]) if isinstance(config.get(name), dict) else config.get(name)
            for name in ("standardize", "split")
        }
        ngrams = config.get("ngrams")
        return cls(**{**config, **known, "ngrams": tuple(ngrams) if isinstance(ngrams, list) else ngrams})


def _check_choice(name: str, value: Any, known: Sequence[str]) -> None:
    if value is not None and not callable(value) and value not in known:
        raise ValueError(
            f"TextVectorization: `{name}` must be None, one of {', '.join(known)}, or a function. "
            f"Received: {name}={value!r}"
        )


def _joined(tokens: list[str], widths: Sequence[int]) -> list[str]:
    """N-grams of each width in turn, their tokens joined by a space."""
    return [" ".join(tokens[i : i + n]) for n in widths for i in range(len(tokens) - n + 1)]
