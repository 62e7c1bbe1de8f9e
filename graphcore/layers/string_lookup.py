"""Numbers for strings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphcore.layers.index_lookup import Array, IndexLookup
from graphcore.layers.string_hash import farm_hash, sip_hash


class StringLookup(IndexLookup):
    """Gives each string of a vocabulary a number, or each number its string.

    It works on Python and NumPy strings, before the data reach a model, and gives NumPy arrays.

    Args:
        max_tokens: most numbers there are, those for masked and unknown tokens included.
        num_oov_indices: how many numbers unknown tokens share; 0 makes them an error.
        mask_token: a token that has the number 0, and counts for nothing in other output modes.
        oov_token: what stands for unknown tokens in the vocabulary and where `invert` meets an unknown number.
        vocabulary: the tokens, or the path of a file with one in a line; without it call `adapt`.
        idf_weights: a weight for each token, for output mode 'tf_idf'.
        invert: from numbers to strings.
        output_mode: 'int' for numbers; 'one_hot', 'multi_hot', 'count' and 'tf_idf' for vectors.
        pad_to_max_tokens: vectors have length `max_tokens` even if the vocabulary is smaller.
        sparse: not supported.
        encoding: of bytes among the inputs.
        salt: one or two integers that change which of several numbers an unknown token gets.
        name, kwargs: see `Layer`.

    Output: int64; float32 for 'tf_idf'; an array of str with `invert`.

    Raises:
        ValueError: arguments that do not fit each other.
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: str | None = None,
        oov_token: str = "[UNK]",
        vocabulary: Any = None,
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        pad_to_max_tokens: bool = False,
        sparse: bool = False,
        encoding: str = "utf-8",
        name: str | None = None,
        salt: Any = None,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("vocabulary_dtype", None)
        kwargs.pop("oov_method", None)
        self.encoding = encoding
        self.salt = [salt, salt] if isinstance(salt, int) else None if salt is None else list(salt)
        if self.salt is not None and len(self.salt) != 2:
            raise ValueError(f"The `salt` argument can only be one integer or two. Received: salt={salt}.")
        super().__init__(
            max_tokens, num_oov_indices, mask_token, oov_token, vocabulary, idf_weights, invert, output_mode, sparse,
            pad_to_max_tokens, name=name, **kwargs,
        )  # fmt: skip

    def as_tokens(self, data: Any) -> Array:
        """An array of str."""
        array = np.asarray(data, dtype=object)
        if all(type(token) is str for token in array.reshape(-1)):
            return array
        tokens = [t.decode(self.encoding) if isinstance(t, bytes) else str(t) for t in array.reshape(-1)]
        return np.array(tokens, object).reshape(array.shape)

    def unknown_numbers(self, tokens: Sequence[Any]) -> list[int]:
        """By a hash of the bytes, as TensorFlow has it."""
        words = [token.encode(self.encoding) for token in tokens]
        if self.salt is not None:
            return [sip_hash(word, self.salt[0], self.salt[1]) % self.num_oov_indices for word in words]
        return [farm_hash(word) % self.num_oov_indices for word in words]

    def read_token(self, line: str) -> Any:
        """The line."""
        return line

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "encoding": self.encoding, "salt": self.salt}
