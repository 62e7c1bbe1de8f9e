"""Random numbers: `keras.random`. Counter-based, so a seed gives the same numbers at any number of threads.

The state of a `SeedGenerator` is `[seed, counter]`; each draw uses the counter and moves it on. Element i of a
draw depends on seed, counter and i alone (Philox4x32-10, Salmon et al. 2011).
"""

from __future__ import annotations

import math
import random as python_random
from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler import functions as f
from compiler.ir import Builder, Value
from compiler.types import is_float
from graphcore import ops
from graphcore.dtype_policies import standardize_dtype
from graphcore.naming import auto_name
from graphcore.ops.dispatch import Tensor, operation
from graphcore.tensor import KerasTensor
from graphcore.tracing import as_value, current_trace
from graphcore.variable import Variable

__all__ = [
    "SeedGenerator",
    "categorical",
    "dropout",
    "normal",
    "randint",
    "shuffle",
    "truncated_normal",
    "uniform",
]


def make_default_seed() -> int:
    """A seed from Python's generator, so that `set_random_seed` fixes it."""
    return python_random.randint(1, int(1e9))


class SeedGenerator:
    """State for random functions: pass it as `seed` and every call gives other numbers.

    Args:
        seed: integer; by default drawn from Python's generator.
        name: by default 'seed_generator', numbered.

    Raises:
        ValueError: if the seed is no integer, or negative.
    """

    def __init__(self, seed: int | None = None, name: str | None = None, **_: Any) -> None:
        if seed is None:
            seed = make_default_seed()
        if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or seed < 0:
            raise ValueError(f"Argument `seed` must be a non-negative integer. Received: seed={seed!r}")
        self.name = name or auto_name("seed_generator")
        self._initial_seed = int(seed)
        self.state = Variable(
            np.array([int(seed) % 2**32, 0], np.uint32),
            trainable=False,
            autocast=False,
            name="seed_generator_state",
            path=f"{self.name}/seed_generator_state",
        )

    @property
    def variables(self) -> list[Variable]:
        """The state."""
        return [self.state]

    def next(self, ordered: bool = True) -> Any:
        """The state for one draw; the counter moves on."""
        trace = current_trace()
        if trace is None:
            state = self.state.numpy()
            self.state.assign(state + np.array([0, 1], np.uint32))
            return state
        before = trace.read(self.state)
        step = f.constant(trace.builder, np.array([0, 1], np.uint32))
        trace.assign(self.state, f.add(trace.builder, trace.unwrap(before), step))
        return before

    def get_config(self) -> dict[str, Any]:
        """Arguments that make a generator with the same first draw."""
        return {"seed": self._initial_seed}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SeedGenerator:
        """The generator that `get_config` described."""
        return cls(**config)

    def save_own_variables(self, store: Any) -> None:
        """Put the state into a mapping."""
        store["0"] = self.state.array

    def load_own_variables(self, store: Any) -> None:
        """Take the state out of a mapping."""
        self.state.assign(np.asarray(store["0"]))


class _Global:
    generator: SeedGenerator | None = None


def global_seed_generator() -> SeedGenerator:
    """The generator of random functions that are given no seed."""
    if _Global.generator is None:
        _Global.generator = SeedGenerator(name="global_seed_generator")
    return _Global.generator


def set_global_seed(seed: int | None) -> None:
    """Start the global generator anew; None draws its seed when it is next needed."""
    _Global.generator = None if seed is None else SeedGenerator(seed, name="global_seed_generator")


def draw_seed(seed: Any) -> Any:
    """A state `[seed, counter]` for one draw: of a generator, of the global one (None), or of an integer itself.

    Raises:
        ValueError: for anything else.
    """
    if seed is None:
        return global_seed_generator().next()
    if isinstance(seed, SeedGenerator):
        return seed.next()
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        return np.array([int(seed) % 2**32, 0], np.uint32)
    if isinstance(seed, (KerasTensor, np.ndarray)):
        return seed
    raise ValueError(
        f"Argument `seed` must be an integer, an instance of SeedGenerator, or None. Received: seed={seed!r}"
    )


def _state(seed: Any) -> Value:
    trace = current_trace()
    assert trace is not None
    return as_value(trace, draw_seed(seed))


def _float_dtype(dtype: Any, name: str) -> str:
    checked = standardize_dtype(dtype)
    if not is_float(checked):
        raise ValueError(f"`keras.random.{name}` requires a floating point `dtype`. Received: dtype={dtype}")
    return checked


def _unit(b: Builder, seed: Any, shape: Sequence[Any], dtype: str) -> Value:
    return f.random_uniform(b, _state(seed), shape, dtype=dtype)


@operation
def uniform(
    b: Builder, shape: Any, minval: Tensor = 0.0, maxval: Tensor = 1.0, dtype: Any = None, seed: Any = None
) -> Value:
    """Evenly distributed in [minval, maxval).

    Args:
        shape: extents; sizes may be symbolic.
        minval, maxval: bounds.
        dtype: float type; `floatx()` by default.
        seed: integer (the same numbers every time), `SeedGenerator`, or None for the global generator.
    """
    name = _float_dtype(dtype, "uniform")
    low, high = f.cast(b, f.as_value(b, minval), name), f.cast(b, f.as_value(b, maxval), name)
    return f.add(b, f.multiply(b, _unit(b, seed, shape, name), f.subtract(b, high, low)), low)


@operation
def normal(
    b: Builder, shape: Any, mean: Tensor = 0.0, stddev: Tensor = 1.0, dtype: Any = None, seed: Any = None
) -> Value:
    """Normally distributed; arguments as for `uniform`."""
    name = _float_dtype(dtype, "normal")
    centre, spread = f.cast(b, f.as_value(b, mean), name), f.cast(b, f.as_value(b, stddev), name)
    standard = f.random_normal(b, _state(seed), shape, dtype=name)
    return f.add(b, f.multiply(b, standard, spread), centre)


@operation
def truncated_normal(
    b: Builder, shape: Any, mean: Tensor = 0.0, stddev: Tensor = 1.0, dtype: Any = None, seed: Any = None
) -> Value:
    """Normally distributed, cut at two standard deviations; arguments as for `uniform`."""
    name = _float_dtype(dtype, "truncated_normal")
    centre, spread = f.cast(b, f.as_value(b, mean), name), f.cast(b, f.as_value(b, stddev), name)
    bound = math.erf(math.sqrt(2))  # the share of the distribution inside two standard deviations
    middle = f.multiply(b, f.subtract(b, _unit(b, seed, shape, name), 0.5), 2 * bound)
    standard = f.multiply(b, _inverse_erf(b, middle), math.sqrt(2))
    return f.add(b, f.multiply(b, f.minimum(b, f.maximum(b, standard, -2), 2), spread), centre)


# Giles 2010, "Approximating the erfinv function", single precision: coefficients from the highest power.
_CENTRE = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
           -0.00417768164, 0.246640727, 1.50140941)  # fmt: skip
_TAIL = (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613,
         0.00943887047, 1.00167406, 2.83297682)  # fmt: skip


def _inverse_erf(b: Builder, x: Value) -> Value:
    w = f.negative(b, f.log(b, f.multiply(b, f.subtract(b, 1, x), f.add(b, x, 1))))
    centre = _polynomial(b, f.subtract(b, w, 2.5), _CENTRE)
    tail = _polynomial(b, f.subtract(b, f.sqrt(b, w), 3.0), _TAIL)
    return f.multiply(b, f.where(b, f.less(b, w, 5.0), centre, tail), x)


def _polynomial(b: Builder, x: Value, coefficients: Sequence[float]) -> Value:
    result = f.full(b, x.type.shape, coefficients[0], x.type.dtype)
    for coefficient in coefficients[1:]:
        result = f.add(b, f.multiply(b, result, x), coefficient)
    return result


@operation
def randint(b: Builder, shape: Any, minval: int, maxval: int, dtype: Any = "int32", seed: Any = None) -> Value:
    """Evenly distributed integers from minval to below maxval."""
    name = standardize_dtype(dtype)
    if is_float(name) or int(maxval) <= int(minval) or int(maxval) - int(minval) >= 2**32:
        raise ValueError(
            "`keras.random.randint` requires an integer `dtype` and minval < maxval, less than 2**32 apart. Received: "
            f"dtype={dtype}, minval={minval}, maxval={maxval}"
        )
    bits = f.random_bits(b, _state(seed), tuple(shape))
    span = f.full(b, (), int(maxval) - int(minval), "uint32")
    offset = f.cast(b, f.remainder(b, bits, span), "int64")
    return f.cast(b, f.add(b, offset, int(minval)), name)


@operation
def categorical(b: Builder, logits: Tensor, num_samples: int, dtype: Any = "int32", seed: Any = None) -> Value:
    """Class numbers drawn with probabilities softmax(logits): [batch, num_samples] (the Gumbel-max rule)."""
    if logits.type.rank != 2:
        raise ValueError(f"`keras.random.categorical` takes logits of shape [batch, classes]. Received: {logits.type}")
    logits = logits if is_float(logits.type.dtype) else f.cast(b, logits, standardize_dtype(None))
    rows, classes = logits.type.shape
    unit = _unit(b, seed, (rows, num_samples, classes), logits.type.dtype)
    # Away from 0, where the logarithm is not finite.
    unit = f.maximum(b, unit, float(np.finfo(logits.type.dtype).tiny))
    noise = f.negative(b, f.log(b, f.negative(b, f.log(b, unit))))
    return f.cast(b, f.argmax(b, f.add(b, f.expand_dims(b, logits, 1), noise), -1), standardize_dtype(dtype))


@operation
def dropout(b: Builder, inputs: Tensor, rate: float, noise_shape: Any = None, seed: Any = None) -> Value:
    """A share of the elements set to 0 at random and the rest divided by 1 - rate (Srivastava et al. 2014).

    Args:
        inputs: the tensor.
        rate: share to drop, in [0, 1]; 1 gives zeros.
        noise_shape: extents of the pattern of dropped elements; where 1 it is repeated, None is the input's.
        seed: integer, `SeedGenerator`, or None for the global generator.

    Raises:
        ValueError: if the rate lies outside of [0, 1].
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"Argument `rate` must lie in [0, 1]. Received: rate={rate}")
    x = inputs if is_float(inputs.type.dtype) else f.cast(b, inputs, standardize_dtype(None))
    state = _state(seed)
    if rate == 0:
        return x
    if rate == 1:
        return f.zeros_like(b, x)
    if noise_shape is None:
        return f.dropout(b, x, state, float(rate))
    pairs = zip(noise_shape, x.type.shape, strict=True)
    shape = tuple(extent if wanted is None else wanted for wanted, extent in pairs)
    return f.dropout(b, x, state, float(rate), shape)


@operation
def _bits(b: Builder, shape: Any, seed: Any) -> Value:
    return f.random_bits(b, _state(seed), tuple(shape))


def shuffle(x: Any, axis: int = 0, seed: Any = None) -> Any:
    """The slices of an axis in random order. In a traced program it costs extent squared comparisons."""
    extent = ops.shape(x)[axis]
    keys = _bits((extent,), seed)
    if isinstance(keys, np.ndarray):
        return np.take(np.asarray(x), np.argsort(keys, kind="stable"), axis=axis)
    return ops.take(x, ops.argsort(keys), axis=axis)
