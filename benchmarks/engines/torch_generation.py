"""Generation in PyTorch: the usual GPT with keys and values kept in tensors that are made once.

Eager, a step reads the part of them that is filled. Compiled, shapes must not change from step to step, so that a step
reads them whole under a mask, with its place in a tensor; the prompt, another shape, runs eagerly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.engines.engine import Step
from benchmarks.generation import EPSILON, Array, Generation

Cache = tuple[torch.Tensor, torch.Tensor]


class _Block(nn.Module):
    """Attention over the cache and a fed-forward part, each normalised before it and added."""

    def __init__(self, generation: Generation) -> None:
        super().__init__()
        width = generation.width
        self.heads = generation.heads
        self.projection, self.result = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.normalise_first, self.normalise_second = (nn.LayerNorm(width, eps=EPSILON) for _ in range(2))
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor, cache: Cache, place: Any, mask: torch.Tensor | None) -> torch.Tensor:
        parts = self.projection(self.normalise_first(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # (batch, heads, steps, depth) each
        keys, values = cache
        if mask is None:
            end = place + x.shape[1]
            keys[:, :, place:end], values[:, :, place:end] = key, value
            keys, values = keys[:, :, :end], values[:, :, :end]
        else:
            keys, values = keys.index_copy_(2, place, key), values.index_copy_(2, place, value)
        causal = mask is None and x.shape[1] > 1  # one step sees all that came before it
        attended = F.scaled_dot_product_attention(query, keys, values, mask, is_causal=causal)
        x = x + self.result(attended.transpose(1, 2).flatten(2))
        return x + self.feed(self.normalise_second(x))


class _Gpt(nn.Module):
    """From tokens (1, steps), the first of them at `place`, to the next token (1, 1)."""

    def __init__(self, generation: Generation) -> None:
        super().__init__()
        width = generation.width
        self.tokens, self.places = (nn.Embedding(n, width) for n in (generation.vocabulary, generation.length))
        self.blocks = nn.ModuleList(_Block(generation) for _ in range(generation.blocks))
        self.normalise = nn.LayerNorm(width, eps=EPSILON)
        self.logits = nn.Linear(width, generation.vocabulary)
        shape = (1, generation.heads, generation.length, generation.depth)
        self.caches: list[Cache] = [(torch.zeros(shape), torch.zeros(shape)) for _ in self.blocks]
        self.mask = torch.ones(generation.length, generation.length, dtype=torch.bool).tril()

    def forward(self, tokens: torch.Tensor, place: int) -> torch.Tensor:
        return self._next(tokens, self.places.weight[place : place + tokens.shape[1]], place, None)

    def masked(self, tokens: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        """One step with its place in a tensor (1,): the form to compile."""
        return self._next(tokens, self.places(place), place, self.mask[place])

    def _next(self, tokens: torch.Tensor, places: torch.Tensor, place: Any, mask: torch.Tensor | None) -> torch.Tensor:
        x = self.tokens(tokens) + places
        for block, cache in zip(self.blocks, self.caches, strict=True):
            x = block(x, cache, place, mask)
        return self.logits(self.normalise(x[:, -1:])).argmax(-1)


def _load(model: _Gpt, arrays: list[Array]) -> None:
    """Weights in Keras's order; its dense kernels are (inputs, outputs)."""
    entries = iter([torch.from_numpy(array) for array in arrays])

    def dense(layer: nn.Linear, count: int = 1) -> None:
        pairs = [(next(entries).reshape(layer.in_features, -1), next(entries).flatten()) for _ in range(count)]
        layer.weight.copy_(torch.cat([kernel for kernel, _ in pairs], 1).T)
        layer.bias.copy_(torch.cat([bias for _, bias in pairs]))

    def norm(layer: nn.LayerNorm) -> None:
        layer.weight.copy_(next(entries))
        layer.bias.copy_(next(entries))

    model.tokens.weight.copy_(next(entries))
    model.places.weight.copy_(next(entries))
    for block in model.blocks:
        norm(block.normalise_first)
        dense(block.projection, 3)
        dense(block.result)
        norm(block.normalise_second)
        dense(block.feed[0])
        dense(block.feed[2])
    norm(model.normalise)
    dense(model.logits)


def prepare(generation: Generation, compiled: bool) -> Step:
    """A function that makes all the tokens, checked once."""
    with torch.no_grad():
        model = _Gpt(generation).eval()
        _load(model, generation.weights())
    prompt = torch.from_numpy(generation.prompt_tokens()).long()
    places = torch.arange(generation.length)[:, None]
    masked = torch.compile(model.masked, dynamic=False) if compiled else None

    def step() -> Array:
        found = [prompt]
        with torch.inference_mode():
            token = model(prompt, 0)
            found.append(token)
            for place in range(generation.prompt, generation.length - 1):
                token = masked(token, places[place]) if masked else model(token, place)
                found.append(token)
            return np.asarray(torch.cat(found, 1))

    generation.check(step())
    return step
