"""Numbers for integers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphcore.layers.index_lookup import Array, IndexLookup
from graphcore.layers.string_hash import farm_hash, sip_hash


class IntegerLookup(IndexLookup):
    """Gives each integer of a vocabulary a number, or each number its integer; arguments as for `StringLookup`.

    Args:
        mask_token: an integer that has the number 0.
        oov_token: what stands for unknown integers.
        vocabulary_dtype: 'int64' or 'int32'.
        oov_method: which of several numbers an unknown integer gets: its remainder ('floormod'), or one by a hash of
            its digits ('farmhash').
        salt: one or two integers that change the hash.

    Raises:
        ValueError: arguments that do not fit each other.
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: int | None = None,
        oov_token: int = -1,
        vocabulary: Any = None,
        vocabulary_dtype: str = "int64",
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        sparse: bool = False,
        pad_to_max_tokens: bool = False,
        oov_method: str = "floormod",
        salt: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if vocabulary_dtype not in ("int32", "int64"):
            raise ValueError(f"`vocabulary_dtype` must be 'int64' or 'int32'. Received: {vocabulary_dtype!r}")
        if oov_method not in ("floormod", "farmhash"):
            raise ValueError(f"`oov_method` must be 'floormod' or 'farmhash'. Received: oov_method={oov_method!r}")
        self.vocabulary_dtype = vocabulary_dtype
        self.oov_method = oov_method
        self.salt = [salt, salt] if isinstance(salt, int) else None if salt is None else list(salt)
        if self.salt is not None and (oov_method != "farmhash" or len(self.salt) != 2):
            raise ValueError(
                "`salt` is one integer or two, and can only be used when `oov_method='farmhash'`. "
                f"Received: salt={salt} and oov_method={oov_method!r}"
            )
        super().__init__(
            max_tokens, num_oov_indices, mask_token, oov_token, vocabulary, idf_weights, invert, output_mode, sparse,
            pad_to_max_tokens, name=name, **kwargs,
        )  # fmt: skip

    def as_tokens(self, data: Any) -> Array:
        """An array of integers."""
        array = np.asarray(data)
        if array.size and array.dtype.kind not in "iub" and any(not float(x).is_integer() for x in array.reshape(-1)):
            raise ValueError(f"IntegerLookup '{self.name}' takes integers. Received: {data!r}")
        return array.astype(self.vocabulary_dtype)

    def unknown_numbers(self, tokens: Sequence[Any]) -> list[int]:
        """Remainders, or hashes of the digits."""
        if self.oov_method == "floormod":
            return [int(token) % self.num_oov_indices for token in tokens]
        words = [str(int(token)).encode() for token in tokens]
        if self.salt is not None:
            return [sip_hash(word, self.salt[0], self.salt[1]) % self.num_oov_indices for word in words]
        return [farm_hash(word) % self.num_oov_indices for word in words]

    def read_token(self, line: str) -> Any:
        """The integer in the line."""
        return int(line)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        own = {"vocabulary_dtype": self.vocabulary_dtype, "oov_method": self.oov_method, "salt": self.salt}
        return {**super().get_config(), **own}
