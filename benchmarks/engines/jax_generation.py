"""Generation in JAX, with the weights of the Keras model: all tokens in one jitted loop, keys and values in a cache.

The best that XLA does with this model: no call a token from Python, the three projections of attention one product,
caches written in place by `dynamic_update_slice`. Shapes are fixed, so that a step reads the caches whole, masked.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.engines.engine import Engine, Step
from benchmarks.generation import EPSILON, Array, Generation
from benchmarks.workloads import Task


class JaxEngine(Engine):
    """Generation only."""

    modules = ("jax", "jaxlib")

    def prepare(self, task: Task) -> Step:
        """A function that makes all the tokens, checked once."""
        generation = task.generation
        self.steps_in_a_call = generation.new
        prompt = jnp.asarray(generation.prompt_tokens())
        weights = jax.tree.map(jax.device_put, _weights(generation))
        compiled = jax.jit(lambda weights, prompt: _generate(generation, weights, prompt[0]))

        def step() -> Array:
            return np.asarray(compiled(weights, prompt))[None]

        generation.check(step())
        return step


def _weights(generation: Generation) -> dict[str, Any]:
    entries = iter(generation.weights())

    def dense(count: int = 1) -> tuple[Array, Array]:
        pairs = [(next(entries), next(entries)) for _ in range(count)]
        kernels, biases = zip(*pairs, strict=True)
        inputs = generation.width if kernels[0].shape[0] != 4 * generation.width else 4 * generation.width
        joined = np.concatenate([kernel.reshape(inputs, -1) for kernel in kernels], 1)
        return joined, np.concatenate([bias.ravel() for bias in biases])

    def norm() -> tuple[Array, Array]:
        return next(entries), next(entries)

    tokens, places = next(entries), next(entries)
    blocks = [
        {"first": norm(), "project": dense(3), "result": dense(), "second": norm(), "feed": (dense(), dense())}
        for _ in range(generation.blocks)
    ]
    return {"tokens": tokens, "places": places, "blocks": blocks, "last": norm(), "logits": dense()}


def _dense(x: Any, weights: Any) -> Any:
    return x @ weights[0] + weights[1]


def _normalised(x: Any, weights: Any) -> Any:
    mean = x.mean(-1, keepdims=True)
    scaled = (x - mean) * lax.rsqrt(x.var(-1, keepdims=True) + EPSILON)
    return scaled * weights[0] + weights[1]


def _next(generation: Generation, weights: Any, caches: Any, tokens: Any, place: Any) -> tuple[Any, Any]:
    """The token that follows `tokens` (steps,), the first of which is at `place`, and the caches."""
    steps, heads = tokens.shape[0], generation.heads
    x = weights["tokens"][tokens] + lax.dynamic_slice_in_dim(weights["places"], place, steps)
    seen = jnp.arange(generation.length) <= place + jnp.arange(steps)[:, None]
    updated = []
    for block, (keys, values) in zip(weights["blocks"], caches, strict=True):
        parts = _dense(_normalised(x, block["first"]), block["project"])
        query, key, value = parts.reshape(steps, 3, heads, -1).transpose(1, 2, 0, 3)  # (heads, steps, depth) each
        keys = lax.dynamic_update_slice_in_dim(keys, key, place, 1)
        values = lax.dynamic_update_slice_in_dim(values, value, place, 1)
        updated.append((keys, values))
        scores = jnp.einsum("hsd,hld->hsl", query, keys) / np.sqrt(generation.depth).astype(np.float32)
        shares = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf))
        attended = jnp.einsum("hsl,hld->shd", shares, values).reshape(steps, -1)
        x = x + _dense(attended, block["result"])
        first, second = block["feed"]
        x = x + _dense(jax.nn.gelu(_dense(_normalised(x, block["second"]), first), approximate=False), second)
    logits = _dense(_normalised(x[-1], weights["last"]), weights["logits"])
    return jnp.argmax(logits).astype(jnp.int32), updated


def _generate(generation: Generation, weights: Any, prompt: Any) -> Any:
    """The prompt and what follows it, (length,)."""
    cache = jnp.zeros((generation.heads, generation.length, generation.depth))
    caches = [(cache, cache) for _ in range(generation.blocks)]
    token, caches = _next(generation, weights, caches, prompt, 0)
    tokens = jnp.zeros(generation.length, jnp.int32).at[: generation.prompt].set(prompt)
    tokens = tokens.at[generation.prompt].set(token)

    def body(place: Any, state: Any) -> Any:
        tokens, caches = state
        token, caches = _next(generation, weights, caches, lax.dynamic_slice_in_dim(tokens, place, 1), place)
        return tokens.at[place + 1].set(token), caches

    return lax.fori_loop(generation.prompt, generation.length - 1, body, (tokens, caches))[0]


def make(threads: int, variant: str) -> JaxEngine:
    """The engine; it has no variants."""
    return JaxEngine()
