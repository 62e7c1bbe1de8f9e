"""How the next token is chosen among scores, inside a program."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compiler import functions as f
from compiler.ir import Builder, Value
from compiler.types import TensorType

SAMPLERS = ("greedy", "random", "top_k")


@dataclass(frozen=True)
class Sampler:
    """A rule that chooses tokens.

    Attributes:
        name: "greedy": the token with the highest score, the first of equals. "random": with probability
            softmax(scores / temperature). "top_k": as "random" among the tokens with the `k` highest scores; tokens
            whose scores are equal to one of them count too.
        k: see "top_k".
        from_logits: whether the model gives logits; otherwise probabilities, whose logarithm is taken.

    Raises:
        ValueError: an unknown name, or a `k` that is no positive integer.
    """

    name: str
    k: int
    from_logits: bool

    def __post_init__(self) -> None:
        """Check the attributes."""
        if self.name not in SAMPLERS:
            raise ValueError(f"generate: expected `sampler` to be one of {SAMPLERS}. Received: sampler={self.name!r}")
        if self.name == "top_k" and (not isinstance(self.k, int) or self.k < 1):
            raise ValueError(f"generate: expected `k` to be a positive integer. Received: k={self.k!r}")

    @property
    def draws(self) -> bool:
        """Whether it takes a temperature and random numbers."""
        return self.name != "greedy"

    def choose(self, b: Builder, scores: Value) -> Value:
        """Tokens int32 [batch] for scores [batch, tokens]; declares the temperature and the generator's state."""
        if not self.draws:
            return f.cast(b, f.argmax(b, scores, -1), "int32")
        temperature = b.input("temperature", TensorType((), "float32"))
        state = b.variable("generator", TensorType((2,), "uint32"))
        b.update("generator", f.add(b, state, f.constant(b, np.array([0, 1], np.uint32))))
        logits = scores if self.from_logits else f.log(b, scores)
        if self.name == "top_k":
            least = f.spread(b, self._least(b, logits), logits.type.shape, (1,))
            logits = f.where(b, f.less(b, logits, least), -np.inf, logits)
        unit = f.random_uniform(b, state, logits.type.shape)
        # Gumbel noise; away from 0, where the logarithm is not finite.
        unit = f.maximum(b, unit, float(np.finfo(np.float32).tiny))
        noise = f.negative(b, f.log(b, f.negative(b, f.log(b, unit))))
        scaled = f.divide(b, logits, f.broadcast_in(b, temperature, logits.type.shape, ()))
        return f.cast(b, f.argmax(b, f.add(b, scaled, noise), -1), "int32")

    def _least(self, b: Builder, logits: Value) -> Value:
        """The k-th highest of different scores, [batch]: k times the highest below the last one."""
        batch = logits.type.shape[:1]
        count = logits.type.shape[1]
        body = Builder("below")
        bound = body.input("bound", TensorType(batch, "float32"))
        among = body.input("scores", logits.type)
        is_below = f.less(body, among, f.spread(body, bound, among.type.shape, (1,)))
        body.output("next", f.reduce_max(body, f.where(body, is_below, among, -np.inf), (1,)))
        times = min(self.k, count) if isinstance(count, int) else self.k
        start = f.full(b, batch, np.inf, "float32")
        return f.scan(b, body.build(), (start,), (), (logits,), count=times).final[0]
