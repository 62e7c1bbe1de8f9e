"""The text generators that are measured: their form, their weights, and what they must say.

A small GPT (Radford et al. 2019): learned vectors for tokens and places, blocks of causal attention and a fed-forward
part, each normalised before it and added, a last normalisation, and logits. Every engine gets the same weights, and
must give the same tokens as `expected_tokens` does in float64, or its row fails.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

EPSILON = 1e-6
_SPREAD = np.float32(3.0)  # of the vectors of tokens and places: large enough for tokens to differ from place to place


@dataclasses.dataclass(frozen=True)
class Generation:
    """A model, a prompt, and how many tokens are to follow it; always the ones with the highest logits, batch 1.

    Attributes:
        name: the row's.
        width: of the vectors; the fed-forward part is four times as wide.
        blocks, heads, vocabulary: numbers of them.
        prompt: tokens that are given.
        new: tokens that are made.
    """

    name: str
    width: int
    blocks: int = 4
    heads: int = 4
    vocabulary: int = 256
    prompt: int = 16
    new: int = 256

    @property
    def length(self) -> int:
        """Tokens with the prompt."""
        return self.prompt + self.new

    @property
    def last(self) -> int:
        """Where the last tokens begin. A model over the whole window takes the same time for every token, so that it is
        enough to time these few.
        """
        return self.length - 16

    @property
    def depth(self) -> int:
        """Numbers in a head's query, key and value."""
        return self.width // self.heads

    def prompt_tokens(self) -> Array:
        """int32 (1, prompt); the same every time."""
        return np.random.default_rng(0).integers(0, self.vocabulary, (1, self.prompt), dtype=np.int32)

    def weights(self) -> list[Array]:
        """float32, in Keras's order: vectors of tokens and of places; for each block scale and offset, kernel
        and bias of query, key, value and result, scale and offset, and two dense layers; scale and offset, and the
        layer of the logits.
        """
        rng = np.random.default_rng(1)
        width, heads, depth = self.width, self.heads, self.depth

        def table(rows: int) -> Array:
            return np.asarray(_SPREAD * rng.standard_normal((rows, width), dtype=np.float32))

        def norm() -> list[Array]:
            return [1 + _noise(rng, width), _noise(rng, width)]

        def dense(*shape: int, inputs: int, bias: tuple[int, ...]) -> list[Array]:
            kernel = rng.standard_normal(shape, dtype=np.float32) * np.float32(1.5 / np.sqrt(inputs))
            return [np.asarray(kernel), _noise(rng, *bias)]

        found = [table(self.vocabulary), table(self.length)]
        for _ in range(self.blocks):
            found += norm()
            for _part in ("query", "key", "value"):
                found += dense(width, heads, depth, inputs=width, bias=(heads, depth))
            found += dense(heads, depth, width, inputs=width, bias=(width,))
            found += norm()
            found += dense(width, 4 * width, inputs=width, bias=(4 * width,))
            found += dense(4 * width, width, inputs=4 * width, bias=(width,))
        return [*found, *norm(), *dense(width, self.vocabulary, inputs=width, bias=(self.vocabulary,))]

    def check(self, tokens: Array) -> None:
        """Compare what an engine gave, (1, length), with what is right.

        Raises:
            ValueError: if they are not the same, saying where.
        """
        expected = expected_tokens(self)
        if tokens.shape != expected.shape:
            raise ValueError(f"{self.name}: expected tokens {expected.shape}, received {tokens.shape}")
        wrong = np.flatnonzero(tokens[0] != expected[0])
        if wrong.size:
            raise ValueError(f"{self.name}: token {wrong[0]} is {tokens[0, wrong[0]]}, not {expected[0, wrong[0]]}")


GENERATIONS = {one.name: one for one in (Generation("gpt-128", 128), Generation("gpt-256", 256))}


def _noise(rng: np.random.Generator, *shape: int) -> Array:
    return np.asarray(np.float32(0.1) * rng.standard_normal(shape, dtype=np.float32))


@functools.cache
def expected_tokens(generation: Generation) -> Array:
    """The prompt and what follows it, (1, length): computed in float64, a place at a time."""
    return Reference(generation).tokens()


class Reference:
    """The model in NumPy, float64, with lists of the keys and values so far.

    Attributes:
        least_margin: the least difference of the two highest logits of a token that was made.
    """

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        self.weights = [weight.astype(np.float64) for weight in generation.weights()]
        self.keys: list[list[Array]] = [[] for _ in range(generation.blocks)]
        self.values: list[list[Array]] = [[] for _ in range(generation.blocks)]
        self.least_margin = np.inf

    def tokens(self) -> Array:
        """int32 (1, length); to be asked once."""
        tokens = self.generation.prompt_tokens()[0].tolist()
        for place in range(self.generation.length - 1):
            logits = self.logits(tokens[place], place)
            if place + 1 == len(tokens):
                second, first = np.sort(logits)[-2:]
                self.least_margin = min(self.least_margin, first - second)
                tokens.append(int(logits.argmax()))
        return np.array([tokens], np.int32)

    def logits(self, token: int, place: int) -> Array:
        """Of the next token, (vocabulary,), after those at the places before."""
        entries = iter(self.weights)

        def take(count: int) -> list[Array]:
            return [next(entries) for _ in range(count)]

        tokens, places = take(2)
        x = tokens[token] + places[place]
        for block in range(self.generation.blocks):
            x = x + self._attention(_normalised(x, *take(2)), block, take(8))
            normal = _normalised(x, *take(2))
            first, first_bias, second, second_bias = take(4)
            x = x + _gelu(normal @ first + first_bias) @ second + second_bias
        x = _normalised(x, *take(2))
        kernel, bias = take(2)
        return np.asarray(x @ kernel + bias)

    def _attention(self, x: Array, block: int, weights: list[Array]) -> Array:
        query, key, value = (np.einsum("w,whd->hd", x, weights[i]) + weights[i + 1] for i in (0, 2, 4))
        self.keys[block].append(key)
        self.values[block].append(value)
        keys, values = np.stack(self.keys[block]), np.stack(self.values[block])
        scores = np.einsum("hd,lhd->hl", query, keys) / np.sqrt(self.generation.depth)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        attended = np.einsum("hl,lhd->hd", scores / scores.sum(-1, keepdims=True), values)
        return np.asarray(np.einsum("hd,hdw->w", attended, weights[6]) + weights[7])


def _normalised(x: Array, scale: Array, offset: Array) -> Array:
    return np.asarray((x - x.mean()) / np.sqrt(x.var() + EPSILON) * scale + offset)


_erf = np.vectorize(math.erf)


def _gelu(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + _erf(x / np.sqrt(2))))
