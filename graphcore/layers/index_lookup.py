"""The base of layers that give tokens numbers: `StringLookup`, `IntegerLookup` and, through it, `TextVectorization`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphcore import config
from graphcore.layers.layer import Layer
from graphcore.layers.vocabulary import DROPPED, TokenCounts, encode, sorted_tokens, special_tokens
from graphcore.operation import any_symbolic
from graphcore.tracing import current_trace

Array = np.ndarray[Any, np.dtype[Any]]

MODES = ("int", "one_hot", "multi_hot", "count", "tf_idf")
OLD_MODES = {"binary": "multi_hot", "tf-idf": "tf_idf"}
VOCABULARY_FILE = "vocabulary.txt"
EXACT_FILE = "vocabulary.json"  # beside it where a token has line breaks or the last one is empty


class HostLayer(Layer):
    """A layer that works on Python's and NumPy's values, before they reach a model; it is no part of a program."""

    def __call__(self, inputs: Any) -> Any:
        """What `call` computes, as NumPy arrays."""
        if any_symbolic((inputs,)) or current_trace() is not None:
            raise ValueError(
                f"{type(self).__name__} '{self.name}' works on text and tokens, outside of compiled models. Fix: call "
                f"it on the data, `x = layer(texts)`, and give the model the numbers: "
                "keras.Input(shape, dtype='int64')."
            )
        self.built = True
        return self.call(inputs)


def checked_mode(mode: str, name: str) -> str:
    """An output mode by its present name."""
    mode = OLD_MODES.get(mode, mode)
    if mode not in MODES:
        raise ValueError(f"{name}: `output_mode` must be one of {', '.join(MODES)}. Received: output_mode={mode!r}")
    return mode


class IndexLookup(HostLayer):
    """Gives each token of a vocabulary a number; see `StringLookup` for the arguments."""

    def __init__(
        self,
        max_tokens: int | None,
        num_oov_indices: int,
        mask_token: Any,
        oov_token: Any,
        vocabulary: Any,
        idf_weights: Any,
        invert: bool,
        output_mode: str,
        sparse: bool,
        pad_to_max_tokens: bool,
        **kwargs: Any,
    ) -> None:
        for known in ("dtype", "vocabulary_size", "has_input_vocabulary"):
            kwargs.pop(known, None)
        super().__init__(**kwargs)
        name = type(self).__name__
        self.output_mode = checked_mode(output_mode, name)
        if pad_to_max_tokens and max_tokens is None:
            raise ValueError(f"If pad_to_max_tokens is True, must set `max_tokens`. Received: max_tokens={max_tokens}")
        if num_oov_indices < 0:
            raise ValueError(
                f"`num_oov_indices` must be greater than or equal to 0. Received: num_oov_indices={num_oov_indices}"
            )
        if invert and self.output_mode != "int":
            raise ValueError(f"`output_mode` must be 'int' when `invert` is true. Received: output_mode={output_mode}")
        if sparse:
            raise ValueError(f"{name}: `sparse=True` can only be used with the TensorFlow backend of Keras.")
        if idf_weights is not None and self.output_mode != "tf_idf":
            raise ValueError(
                f"`idf_weights` should only be set if `output_mode` is 'tf_idf'. Received: output_mode={output_mode}"
            )
        if self.output_mode == "tf_idf" and vocabulary is not None and idf_weights is None:
            raise ValueError("When specifying `vocabulary` in TF-IDF output mode, `idf_weights` must also be provided.")
        self.max_tokens = max_tokens
        self.num_oov_indices = num_oov_indices
        self.mask_token = mask_token
        self.oov_token = oov_token
        self.invert = invert
        self.sparse = sparse
        self.pad_to_max_tokens = pad_to_max_tokens
        self.input_vocabulary = vocabulary if not isinstance(vocabulary, (str, Path)) else None
        self.input_idf_weights = idf_weights
        self._is_fixed = vocabulary is not None  # not by `set_vocabulary`: `adapt` may follow it, as in Keras
        if max_tokens is not None and max_tokens <= max(1, len(self._specials)):
            raise ValueError(
                "If set, `max_tokens` must be greater than 1 and than the number of tokens for masks and unknown "
                f"tokens, {len(self._specials)}. Received: max_tokens={max_tokens}"
            )
        self._tokens: list[Any] = []
        self._numbers: dict[Any, int] = {}
        self.idf_weights: Array | None = None
        self.reset_state()
        if vocabulary is not None:
            self.set_vocabulary(vocabulary, idf_weights)

    # -- what subclasses define ----------------------------------------------------------------------------

    def as_tokens(self, data: Any) -> Array:
        """An array of objects that are tokens."""
        raise NotImplementedError

    def unknown_numbers(self, tokens: Sequence[Any]) -> list[int]:
        """Which of several numbers stands for each token that is not in the vocabulary, counted from 0."""
        raise NotImplementedError

    def read_token(self, line: str) -> Any:
        """The token in a line of a vocabulary file."""
        raise NotImplementedError

    # -- the vocabulary --------------------------------------------------------------------------------------

    @property
    def _specials(self) -> list[Any]:
        mask = self.mask_token if self.output_mode == "int" else None
        return special_tokens(mask, self.oov_token, self.num_oov_indices)

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """The tokens by number; those for masks and unknown tokens come first."""
        return [*(self._specials if include_special_tokens else []), *self._tokens]

    def vocabulary_size(self) -> int:
        """How many numbers there are, those for masks and unknown tokens included."""
        return len(self._specials) + len(self._tokens)

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Set the tokens.

        Args:
            vocabulary: tokens, with or without the special ones in front, or the path of a file with one in a line.
            idf_weights: a weight for each token, for output mode 'tf_idf' only.

        Raises:
            ValueError: no tokens, tokens that occur twice or stand for a mask, more than `max_tokens`, or weights
                that are missing or do not fit.
        """
        if (self.output_mode == "tf_idf") != (idf_weights is not None):
            raise ValueError("`idf_weights` must be set if output_mode is 'tf_idf', and only then.")
        if isinstance(vocabulary, (str, Path)):
            vocabulary = self._read_file(Path(vocabulary))
        given = self.as_tokens(vocabulary).tolist()
        if not given:
            raise ValueError(f"Cannot set an empty vocabulary. Received: vocabulary={vocabulary}")
        front = len(self._specials)
        has_specials = given[:front] == self._specials
        tokens = given[front:] if has_specials else given
        self._check_tokens(tokens, front)
        self._set_tokens(tokens)
        if idf_weights is None:
            return
        weights = np.asarray(idf_weights, config.floatx())
        if weights.shape != (len(given),):
            raise ValueError(
                f"`idf_weights` must be the same length as vocabulary. Received: weights of shape {weights.shape} for "
                f"{len(given)} tokens"
            )
        self._set_weights(weights[front:] if has_specials else weights, weights[:front] if has_specials else None)

    def _read_file(self, path: Path) -> list[Any]:
        if not path.exists():
            raise ValueError(f"Vocabulary file {path} does not exist.")
        return self._read_lines(path.read_text(encoding="utf-8"))

    def _read_lines(self, text: str) -> list[Any]:
        lines = text.split("\n")
        while lines and lines[-1] == "":
            lines.pop()
        return [self.read_token(line) for line in lines]

    def _check_tokens(self, tokens: list[Any], front: int) -> None:
        twice = sorted({str(token) for token in tokens if tokens.count(token) > 1}) if len(set(tokens)) < len(
            tokens
        ) else []
        if twice:
            raise ValueError(f"The passed vocabulary has at least one repeated term. The repeated terms are: {twice}")
        reserved = [self.mask_token] if self.mask_token is not None else []
        reserved += [self.oov_token] if self.invert and self.oov_token is not None else []
        for token in reserved:
            if token in tokens:
                raise ValueError(
                    f"Found reserved token {token!r} at unexpected location in `vocabulary`. Remove all mask and OOV "
                    f"tokens, or include them only at the start, in precisely this order: {self._specials}."
                )
        if self.max_tokens is not None and front + len(tokens) > self.max_tokens:
            raise ValueError(
                f"Attempted to set a vocabulary larger than the maximum vocab size. Received vocabulary size is "
                f"{front + len(tokens)}; `max_tokens` is {self.max_tokens}."
            )

    def _set_tokens(self, tokens: list[Any]) -> None:
        front = len(self._specials)
        self._tokens = tokens
        self._numbers = {token: front + i for i, token in enumerate(tokens)}

    def _set_weights(self, weights: Array, front: Array | None = None) -> None:
        """Weights of the tokens; those of special tokens are the mean of the others unless they are given."""
        if front is None:
            front = np.full(len(self._specials), weights.mean() if weights.size else 0)
        whole = np.concatenate([front, weights]).astype(config.floatx())
        rest = (self.max_tokens or 0) - len(whole) if self.pad_to_max_tokens else 0
        self.idf_weights = np.pad(whole, (0, rest))

    # -- learning --------------------------------------------------------------------------------------------

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Learn the vocabulary: the most frequent tokens of the data.

        Args:
            data: an array or a list of tokens (each entry of the first axis is a document), or an iterable of batches.
            steps: how many batches of an iterable are read.

        Raises:
            ValueError: the layer was made with a vocabulary.
        """
        self.reset_state()
        for batch in batches_of(data, steps):
            self.update_state(batch)
        self.finalize_state()

    def update_state(self, data: Any) -> None:
        """Count the tokens of one batch: [documents, tokens], or one document of tokens."""
        tokens = self.as_tokens(data)
        self.count_documents(tokens.reshape(1 if tokens.ndim < 2 else tokens.shape[0], -1).tolist())

    def count_documents(self, documents: Iterable[Sequence[Any]]) -> None:
        """Count the tokens of some documents."""
        if self._is_fixed:
            raise ValueError(
                f"Cannot adapt layer '{self.name}' after setting a static vocabulary via `vocabulary` argument. Fix: "
                "leave the argument out."
            )
        self._counts.add(documents)

    def finalize_state(self) -> None:
        """Make the vocabulary of what was counted."""
        if self._is_fixed or not self._counts.tokens:
            return
        front = len(self._specials)
        most = None if self.max_tokens is None else self.max_tokens - front
        self._set_tokens(sorted_tokens(self._counts, (self.mask_token, self.oov_token), most))
        if self.output_mode == "tf_idf":
            self._set_weights(self._counts.inverse_document_frequency(self._tokens))
        self.reset_state()

    def reset_state(self) -> None:
        """Forget what was counted."""
        self._counts = TokenCounts()

    # -- numbers ---------------------------------------------------------------------------------------------

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        if self.invert:
            return self._invert(np.asarray(inputs))
        tokens = self.as_tokens(inputs)
        numbers = np.array(self.numbers_of(tokens.reshape(-1).tolist()), np.int64).reshape(tokens.shape)
        return numbers if self.output_mode == "int" else self.features(numbers)

    def numbers_of(self, tokens: Sequence[Any]) -> list[int]:
        """The number of each token.

        Raises:
            ValueError: a token that is not in the vocabulary, without a number for such tokens.
        """
        found = [self._numbers.get(token, DROPPED) for token in tokens]
        masked = self.mask_token
        missing = [i for i, number in enumerate(found) if number == DROPPED and tokens[i] != masked]
        first = len(self._specials) - self.num_oov_indices
        if masked is not None and self.output_mode == "int":
            found = [0 if token == masked else number for token, number in zip(tokens, found, strict=True)]
        if not missing:
            return found
        if self.num_oov_indices == 0:
            unknown = sorted({str(tokens[i]) for i in missing})
            raise ValueError(
                f"When `num_oov_indices=0` all inputs should be in vocabulary, found OOV values {unknown[:10]}, "
                "consider setting `num_oov_indices=1`."
            )
        buckets = self.unknown_numbers([tokens[i] for i in missing]) if self.num_oov_indices > 1 else [0] * len(missing)
        for i, bucket in zip(missing, buckets, strict=True):
            found[i] = first + bucket
        return found

    def features(self, numbers: Array) -> Array:
        """Vectors of the numbers of tokens, by the output mode.

        Raises:
            RuntimeError: there is no vocabulary yet.
        """
        depth = self.max_tokens if self.pad_to_max_tokens else self.vocabulary_size()
        if not self._tokens and not self.pad_to_max_tokens:
            raise RuntimeError(
                f"When using `output_mode={self.output_mode}` and `pad_to_max_tokens=False`, you must set the layer's "
                "vocabulary before calling it. Either pass a `vocabulary` argument to the layer, or call `adapt`."
            )
        assert depth is not None
        if self.output_mode != "tf_idf":
            return encode(numbers, self.output_mode, depth)
        if self.idf_weights is None:
            raise ValueError("When `output_mode` is 'tf_idf', `idf_weights` must be provided.")
        weighted: Array = encode(numbers, "count", depth).astype(config.floatx()) * self.idf_weights
        return weighted

    def _invert(self, numbers: Array) -> Array:
        vocabulary = dict(enumerate(self.get_vocabulary()))
        found = [vocabulary.get(int(number), self.oov_token) for number in numbers.reshape(-1)]
        return self.as_tokens(found).reshape(numbers.shape)

    # -- saving ----------------------------------------------------------------------------------------------

    def save_own_variables(self, store: Any) -> None:
        """The weights of 'tf_idf'; the vocabulary is a file of its own."""
        if self.idf_weights is not None:
            store["idf_weights"] = self.idf_weights

    def load_own_variables(self, store: Any) -> None:
        """Read what `save_own_variables` wrote."""
        if "idf_weights" in store:
            self.idf_weights = np.asarray(store["idf_weights"])

    def assets(self) -> dict[str, str]:
        """Files that belong to the layer, by name: the vocabulary, unless it is an argument."""
        if self.input_vocabulary is not None or not self._tokens:
            return {}
        tokens = self.get_vocabulary()
        found = {VOCABULARY_FILE: "\n".join(map(str, tokens))}
        if self._read_lines(found[VOCABULARY_FILE]) != tokens:
            found[EXACT_FILE] = json.dumps(tokens)
        return found

    def load_asset_texts(self, texts: dict[str, str]) -> None:
        """Set the vocabulary from what `assets` gave."""
        if self.input_vocabulary is not None or VOCABULARY_FILE not in texts:
            return
        lines = texts[VOCABULARY_FILE]
        given = json.loads(texts[EXACT_FILE]) if EXACT_FILE in texts else self._read_lines(lines)
        front = len(self._specials)
        self._set_tokens(given[front:] if given[:front] == self._specials else given)

    def save_assets(self, dir_path: Any) -> None:
        """Write the vocabulary into a folder."""
        for name, text in self.assets().items():
            (Path(dir_path) / name).write_bytes(text.encode())

    def load_assets(self, dir_path: Any) -> None:
        """Read the vocabulary from a folder."""
        paths = [Path(dir_path) / name for name in (VOCABULARY_FILE, EXACT_FILE)]
        self.load_asset_texts({path.name: path.read_bytes().decode() for path in paths if path.exists()})

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "max_tokens": self.max_tokens,
            "num_oov_indices": self.num_oov_indices,
            "mask_token": self.mask_token,
            "oov_token": self.oov_token,
            "vocabulary": plain_list(self.input_vocabulary),
            "idf_weights": plain_list(self.input_idf_weights),
            "invert": self.invert,
            "output_mode": self.output_mode,
            "sparse": self.sparse,
            "pad_to_max_tokens": self.pad_to_max_tokens,
        }


def plain_list(values: Any) -> Any:
    """Arrays and sequences as lists; None stays None."""
    return None if values is None else np.asarray(values).tolist()


def batches_of(data: Any, steps: int | None) -> Iterable[Any]:
    """The batches of an iterable, or an array or a list as one batch whose entries are documents."""
    if hasattr(data, "__iter__") and not isinstance(data, (list, tuple, np.ndarray, str)):
        for number, batch in enumerate(data):
            if steps is not None and number >= steps:
                return
            yield batch
        return
    array = np.asarray(data, dtype=object if _holds_text(data) else None)
    yield array[:, None] if array.ndim == 1 else array


def _holds_text(data: Any) -> bool:
    entries = () if isinstance(data, np.ndarray) else np.ravel(np.asarray(data, object))
    return isinstance(next(iter(entries), 0), (str, bytes))
