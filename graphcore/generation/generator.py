"""Generation: a prompt, then token after token, in native calls of many tokens each."""

from __future__ import annotations

import threading
import weakref
from typing import Any

import numpy as np

from compiler import functions as f
from compiler.driver import Compiled, compile_graph
from compiler.ir import Builder
from graphcore import settings
from graphcore.generation.continuation import Continuation
from graphcore.generation.positions import LENGTH
from graphcore.generation.sampling import Sampler
from graphcore.random import make_default_seed
from graphcore.tensor import KerasTensor
from graphcore.tracing import Trace
from runtime import contents

Array = np.ndarray[Any, np.dtype[Any]]

# The caches grow by so many positions, or by a part of what they hold: attention reads hardly more keys than there are.
_BLOCK = 64
_GROWTH = 8
# Between two looks for the token that ends a sequence.
_STEPS = 16


class Generator:
    """A model's program for tokens that follow others. Calls from several threads are done one after another.

    Args:
        model: from tokens [batch, length] (any integer type) to scores [batch, length, tokens] of the next one. It must
            be causal; see `graphcore.generation.continuation` for what may be in it.
        sampler, k, from_logits: see `Sampler`.

    Raises:
        ValueError: if the model is of another form, naming the layer that keeps it from going on from a cache.
    """

    def __init__(self, model: Any, sampler: str = "greedy", k: int = 10, from_logits: bool = True) -> None:
        self._sampler = Sampler(sampler, k, from_logits)
        trace = Trace("generate", training=False)
        with trace:
            scores = model(trace.input("tokens", (None, LENGTH), "int32"))
        if not isinstance(scores, KerasTensor):
            raise ValueError(f"generate: expected a model with one output. Received: {scores!r}")
        graph, variables = trace.finish({"scores": scores})
        b = Builder("generate")
        continuation = Continuation(b, graph)
        tokens = self._sampler.choose(b, continuation.scores)
        b.output("next", f.expand_dims(b, tokens, 1))
        self.graph = b.build()
        self._caches = continuation.caches
        self._most_positions = continuation.most_positions
        self._lock = threading.Lock()  # held while the caches and the state belong to one call
        self._state = {
            "position": np.zeros((), np.int32),
            "generator": np.zeros(2, np.uint32),
        }
        known = {entry.name: variable.storage for entry, variable in zip(graph.variables, variables, strict=True)}
        self._fixed: list[Array | None] = [
            known.get(entry.name, self._state.get(entry.name)) for entry in self.graph.variables
        ]
        self._compiled: Compiled | None = None
        self._slots = np.zeros(0, np.int32)
        self._arrays: tuple[Array, ...] = ()

    @property
    def compiled(self) -> Compiled:
        """The compiled program."""
        if self._compiled is None:
            self._compiled = compile_graph(self.graph, winograd=settings.winograd())
        return self._compiled

    def __call__(
        self,
        prompt: Any,
        max_length: int,
        *,
        temperature: float = 1.0,
        end_token: int | None = None,
        seed: int | None = None,
    ) -> Array:
        """The prompt and what follows it; see `generate`."""
        tokens = np.asarray(prompt)
        if tokens.ndim not in (1, 2) or tokens.dtype.kind not in "iu" or not tokens.size:
            raise ValueError(
                "generate: expected `prompt` to hold the numbers of tokens, [length] or [batch, length], at least one. "
                f"Received: an array of shape {tokens.shape} and dtype {tokens.dtype}"
            )
        rows = np.atleast_2d(tokens).astype(np.int32)
        if max_length <= rows.shape[1]:
            raise ValueError(
                f"generate: expected `max_length` to be more than the prompt's {rows.shape[1]} tokens. "
                f"Received: max_length={max_length}"
            )
        if self._most_positions is not None and max_length - 1 > self._most_positions:
            raise ValueError(
                f"generate: the model has a table of {self._most_positions} positions, so `max_length` is at most "
                f"{self._most_positions + 1} (the last token is not read). Received: max_length={max_length}"
            )
        if not temperature > 0:
            raise ValueError(f"generate: expected a positive `temperature`. Received: temperature={temperature}")
        with self._lock:
            found = self._generate(rows, max_length, np.asarray(temperature, np.float32), end_token, seed)
        return found if tokens.ndim == 2 else found[0]

    def _generate(
        self, prompt: Array, max_length: int, temperature: Array, end_token: int | None, seed: int | None
    ) -> Array:
        batch, length = prompt.shape
        self._state["position"][...] = 0
        self._state["generator"][...] = (make_default_seed() if seed is None else seed) % 2**32, 0
        self._slots = np.zeros(0, np.int32)
        self._grow(batch, 0, length + 1)
        # Row s of step s is its input, and row s + 1 takes its output, the input of the next step.
        tokens = np.zeros((max_length, batch, 1), np.int32)
        tokens[:length, :, 0] = prompt.T
        extra = (temperature,) if self._sampler.draws else ()
        run = self.compiled.executable
        run.run((prompt, self._slots, *extra), self._arrays, out=(tokens[length],), tracked=True)
        position = length
        while position < max_length - 1 and not _all_ended(tokens[length : position + 1], end_token):
            if position == len(self._slots):
                self._grow(batch, position, position + 1)
            steps = min(len(self._slots), max_length - 1) - position
            if end_token is not None:
                steps = min(steps, _STEPS)
            given, made = tokens[position : position + steps], tokens[position + 1 : position + steps + 1]
            run.run_steps(
                steps,
                (given.reshape(-1, 1), self._slots, *extra),
                self._arrays,
                (True, False, *(False for _ in extra)),
                out=(made.reshape(-1, 1),),
                split_out=(True,),
                tracked=True,
            )
            position += steps
        return _until_end(tokens[: position + 1, :, 0].T, length, end_token)

    def _grow(self, batch: int, used: int, needed: int) -> None:
        """Caches for at least `needed` positions, with what the `used` first ones hold."""
        capacity = -(-max(needed, used + max(_BLOCK, used // _GROWTH)) // _BLOCK) * _BLOCK
        caches: dict[str, Array] = {}
        old = {entry.name: array for entry, array in zip(self.graph.variables, self._arrays, strict=False)}
        for spec in self._caches:
            cache = caches[spec.name] = np.zeros(spec.shape(batch, capacity), spec.dtype)
            if used:
                spec.positions(cache, batch, used)[...] = spec.positions(old[spec.name], batch, used)
        self._slots = np.arange(capacity, dtype=np.int32)
        pairs = zip(self.graph.variables, self._fixed, strict=True)
        self._arrays = tuple(caches[entry.name] if array is None else array for entry, array in pairs)
        contents.changed(caches.values())


def _all_ended(made: Array, end_token: int | None) -> bool:
    """Whether every sequence has its end among the tokens [steps, batch, 1]."""
    return end_token is not None and bool((made == end_token).any(0).all())


def _until_end(tokens: Array, length: int, end_token: int | None) -> Array:
    """Tokens [batch, steps] with the end token alone behind the first one after the prompt, and no column of it more
    than the longest sequence needs."""
    tokens = np.ascontiguousarray(tokens)
    if end_token is None:
        return tokens
    ended = np.cumsum(tokens[:, length:] == end_token, axis=1) > 0
    tokens[:, length:][ended] = end_token
    return tokens[:, : length + int((~ended).sum(1).max()) + 1]


_GENERATORS: weakref.WeakKeyDictionary[Any, dict[tuple[str, int, bool], Generator]] = weakref.WeakKeyDictionary()
_MAKING = threading.Lock()


def generate(
    model: Any,
    prompt: Any,
    max_length: int,
    sampler: str = "greedy",
    *,
    temperature: float = 1.0,
    k: int = 10,
    end_token: int | None = None,
    seed: int | None = None,
    from_logits: bool = True,
) -> Array:
    """Go on with a sequence of tokens, as a causal model predicts.

    Args:
        model: from tokens [batch, length] to scores [batch, length, tokens] of the next one: built of layers that treat
            positions alike, and of causal attention. Its program is compiled once, for every batch and length.
        prompt: integers [length] or [batch, length].
        max_length: number of tokens with the prompt.
        sampler: "greedy", "random" or "top_k"; see `graphcore.generation.sampling.Sampler`.
        temperature: scores are divided by it before tokens are drawn.
        k: among how many tokens "top_k" draws.
        end_token: the token that ends a sequence; by default none does.
        seed: of the drawing; by default another one at each call. The same seed draws the same tokens.
        from_logits: whether the model's scores are logits; otherwise probabilities.

    It may be called from several threads; calls for one model and sampler wait for each other.

    Returns:
        int32 [batch, max_length], or [max_length] for a prompt without a batch. With `end_token` at most so many, and
        the end token behind sequences that ended early.

    Raises:
        ValueError: arguments out of range, `max_length` beyond a table of positions; a model that cannot go on from a
            cache, naming the layer.
    """
    key = (sampler, k if sampler == "top_k" else 0, from_logits)
    with _MAKING:
        made = _GENERATORS.setdefault(model, {})
        if key not in made:
            made[key] = Generator(model, sampler, k, from_logits)
        generator = made[key]
    return generator(prompt, max_length, temperature=temperature, end_token=end_token, seed=seed)
