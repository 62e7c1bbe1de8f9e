"""Random numbers as pure functions of a state: the same bits on every target and for every split of the work.

The state is uint32[2], a seed and a counter that the caller advances. The generator is Philox4x32-10 (Salmon et
al., Parallel Random Numbers: As Easy as 1, 2, 3, 2011). A block of it has four words. Element i of a draw, in row-major
order, is word i // 8 % 4 of block b = i // 32 * 8 + i % 8, whose counter is (b mod 2**32, b div 2**32, state[1], 0)
under the key (state[0], 0): eight blocks side by side, one a vector lane, give 32 elements in four vectors, so that a
kernel that runs over such groups computes each block once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from compiler import functions as f
from compiler.ir import Array, Builder, Fusion, Op, Value
from compiler.loops import INDEX, Element, Expr, Literal, Lowering, call, cast, literal, select
from compiler.ops.checks import concrete, require_dtype, require_inputs
from compiler.ops.families import Cotangents, Derived
from compiler.ops.registry import op
from compiler.types import TensorType
from runtime.dimensions import Dim

STATE = TensorType((2,), "uint32")
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
WORDS = 4  # of a block
LANES = 8  # blocks that lie side by side
WORD = 2**32


@op
class RandomBits(Op):
    """state -> independent uniform 32-bit words."""

    shape: tuple[Dim, ...]

    fusion = Fusion.INDEXED

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """uint32 of the given shape."""
        require_state(self.name, inputs)
        return (TensorType(self.shape, "uint32"),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """All blocks at once, in 64-bit arithmetic."""
        shape = concrete(self.shape)
        count = math.prod(shape)
        groups = -(-count // (WORDS * LANES))
        block = np.arange(groups * LANES, dtype="uint64")
        seed, stream = (np.full(block.shape, word, "uint64") for word in inputs[0])
        zero = np.zeros_like(block)
        words = philox((block % WORD, block // WORD, stream, zero), (seed, zero))
        ordered = np.stack(words).reshape(WORDS, groups, LANES).swapaxes(0, 1)
        return (ordered.reshape(-1)[:count].astype("uint32").reshape(shape),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """None: integers."""
        return (None,)

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """The element's block, ten rounds, one of its four words."""
        known = k.column_of(self.shape, index)
        block, place = _column(k, self.shape, index) if known is None else (known[0], literal(known[1], INDEX))
        zero = literal(0, "uint32")
        word = [k.let(cast(block % WORD, "uint32")), k.let(cast(block // WORD, "uint32"))]
        word += [inputs[0]([literal(1, INDEX)]), zero]
        key = [inputs[0]([literal(0, INDEX)]), zero]
        for _ in range(ROUNDS):
            products = [(word[2 * i], literal(MULTIPLIERS[i], "uint32")) for i in range(2)]
            high = [k.let(call("multiply_high", *pair)) for pair in products]
            low = [k.let(left * right) for left, right in products]
            word = [k.let(high[1] ^ word[1] ^ key[0]), low[1], k.let(high[0] ^ word[3] ^ key[1]), low[0]]
            key = [k.let(part + literal(weyl, "uint32")) for part, weyl in zip(key, WEYL, strict=True)]
        if isinstance(place, Literal):
            return word[int(place.value)]
        first = select(place.equals(0), word[0], word[1])
        return select(place < 2, first, select(place.equals(2), word[2], word[3]))

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Full and cut blocks, scalars, extreme states."""
        yield cls((16,)), (np.array([0, 0], "uint32"),)
        yield cls((3, 7)), (np.array([12345, 678], "uint32"),)
        yield cls(()), (np.array([1, 2], "uint32"),)
        yield cls((2, 3, 5)), (np.array([WORD - 1, WORD - 1], "uint32"),)


def _column(k: Lowering, shape: Sequence[Dim], index: Sequence[Expr]) -> tuple[Expr, Expr]:
    """The block and the word of an element."""
    position: Expr = literal(0, INDEX)
    for extent, part in zip(shape, index, strict=True):
        position = position * k.extent(extent) + part
    position = k.let(position)
    block = position // (WORDS * LANES) * LANES + position % LANES
    return k.let(block), k.let(position // LANES % WORDS)


@op
class RandomUniform(Derived):
    """state -> numbers evenly spread over [low, high).

    They are multiples of 2**-24 (float64: 2**-53, float16: 2**-11) of the range. Rounding never gives `high`.
    """

    shape: tuple[Dim, ...]
    dtype: str = "float32"
    low: float = 0.0
    high: float = 1.0

    def decompose(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """Scaled bits."""
        require_state(self.name, [value.type for value in inputs])
        require_dtype(self.name, TensorType((), self.dtype), "float", "result")
        if not self.low <= self.high:
            raise ValueError(f"{self.name}: low must not be above high. Received: low={self.low}, high={self.high}")
        (unit,) = _units(b, inputs[0], self.shape, self.dtype, 1)
        if (self.low, self.high) == (0.0, 1.0):
            return (unit,)
        result = f.add(b, f.multiply(b, unit, self.high - self.low), self.low)
        return (f.minimum(b, result, _below(self.low, self.high, self.dtype)),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """From the reference of the bits."""
        (unit,) = _units_reference(inputs[0], concrete(self.shape), self.dtype, 1)
        number = np.dtype(self.dtype).type
        result = unit * number(self.high - self.low) + number(self.low)
        return (np.minimum(result, number(_below(self.low, self.high, self.dtype))).astype(self.dtype),)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Each float dtype; other ranges."""
        state = np.array([7, 1], "uint32")
        yield cls((33,)), (state,)
        yield cls((3, 5), "float64"), (state,)
        yield cls((9,), "float16"), (state,)
        yield cls((4, 3), "float32", -2.0, 3.5), (state,)
        yield cls((7,), "float32", 1.0, 1.0), (state,)


@op
class RandomNormal(Derived):
    """state -> numbers of the normal distribution, from two uniform streams.

    Box and Muller, A Note on the Generation of Random Normal Deviates, 1958. The largest float32 is about 5.8
    standard deviations from the mean.
    """

    shape: tuple[Dim, ...]
    dtype: str = "float32"
    mean: float = 0.0
    stddev: float = 1.0

    def decompose(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """stddev sqrt(-2 log(1 - u)) cos(2 pi v) + mean."""
        require_state(self.name, [value.type for value in inputs])
        require_dtype(self.name, TensorType((), self.dtype), "float", "result")
        wide = "float32" if self.dtype == "float16" else self.dtype
        u, v = _units(b, inputs[0], self.shape, wide, 2)
        radius = f.sqrt(b, f.multiply(b, f.log(b, f.subtract(b, 1.0, u)), -2.0))
        unit = f.multiply(b, radius, f.cos(b, f.multiply(b, v, 2.0 * math.pi)))
        return (f.cast(b, f.add(b, f.multiply(b, unit, self.stddev), self.mean), self.dtype),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """From the reference of the bits, in float64."""
        wide = "float32" if self.dtype == "float16" else self.dtype
        u, v = (x.astype("float64") for x in _units_reference(inputs[0], concrete(self.shape), wide, 2))
        unit = np.sqrt(-2 * np.log1p(-u)) * np.cos(2 * np.pi * v)
        return (np.asarray(self.mean + self.stddev * unit, self.dtype),)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Each float dtype; another mean and deviation."""
        state = np.array([3, 9], "uint32")
        yield cls((35,)), (state,)
        yield cls((3, 5), "float64"), (state,)
        yield cls((9,), "float16"), (state,)
        yield cls((4, 3), "float32", 2.0, 0.1), (state,)


@op
class Dropout(Derived):
    """(x, state) -> x / (1 - rate) with probability 1 - rate, else 0; a rate of 1 gives zeros.

    `mask_shape` (None: that of x) may have extents of 1, along which elements are kept or dropped together.
    Srivastava et al., Dropout, 2014, with the scaling done in training.
    """

    rate: float
    mask_shape: tuple[Dim, ...] | None = None

    def decompose(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """A comparison of random words with the rate."""
        types = [value.type for value in inputs]
        require_inputs(self.name, types, 2)
        require_dtype(self.name, types[0], "float", "x")
        require_state(self.name, types[1:])
        if not 0 <= self.rate <= 1:
            raise ValueError(f"{self.name}: rate must lie in 0..1. Received: rate={self.rate}")
        x, state = inputs
        if self.rate == 1:
            return (f.zeros_like(b, x),)
        bits = f.random_bits(b, state, self._mask_shape(x.type.shape))
        kept = f.broadcast_to(b, f.greater_equal(b, bits, dropout_threshold(self.rate)), x.type.shape)
        return (f.where(b, kept, f.multiply(b, x, 1.0 / (1.0 - self.rate)), 0.0),)

    def _mask_shape(self, shape: tuple[Dim, ...]) -> tuple[Dim, ...]:
        return shape if self.mask_shape is None else self.mask_shape

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """From the reference of the bits."""
        x, state = inputs
        if self.rate == 1:
            return (np.zeros_like(x),)
        (bits,) = RandomBits(self._mask_shape(x.shape)).reference(state)
        return (np.where(bits >= dropout_threshold(self.rate), x / x.dtype.type(1 - self.rate), x.dtype.type(0)),)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Rates from 0 to 1; whole channels."""
        rng, state = np.random.default_rng(90), np.array([5, 6], "uint32")
        yield cls(0.5), (rng.normal(size=(3, 7)), state)
        yield cls(0.0), (rng.normal(size=5), state)
        yield cls(1.0), (rng.normal(size=5), state)
        yield cls(0.3, (2, 1, 4)), (rng.normal(size=(2, 3, 4)), state)


def require_state(op_name: str, types: Sequence[TensorType]) -> None:
    """Raise TypeError unless the only input is a generator's state."""
    require_inputs(op_name, types, 1)
    if types[0] != STATE:
        raise TypeError(f"{op_name}: the state must be {STATE}, a seed and a counter. Received: {types[0]}")


def philox(counter: Sequence[Array], key: Sequence[Array]) -> tuple[Array, Array, Array, Array]:
    """Philox4x32-10 on arrays of uint64 that hold 32-bit words, for `reference`."""
    a, b, c, d = counter
    first, second = key
    for _ in range(ROUNDS):
        left, right = a * np.uint64(MULTIPLIERS[0]), c * np.uint64(MULTIPLIERS[1])
        a, b, c, d = right // WORD ^ b ^ first, right % WORD, left // WORD ^ d ^ second, left % WORD
        first, second = (first + np.uint64(WEYL[0])) % WORD, (second + np.uint64(WEYL[1])) % WORD
    return a, b, c, d


def _words(dtype: str) -> int:
    return 2 if dtype == "float64" else 1


def _units(b: Builder, state: Value, shape: tuple[Dim, ...], dtype: str, streams: int) -> list[Value]:
    """Independent uniform tensors over [0, 1), as fine as the dtype's significand."""
    per = _words(dtype)
    bits = f.random_bits(b, state, (streams * per, *shape))
    rows = [f.reshape(b, f.slice_axis(b, bits, 0, i, i + 1), shape) for i in range(streams * per)]
    if dtype != "float64":
        step = 8 if dtype == "float32" else 21
        return [f.multiply(b, f.cast(b, f.floor_divide(b, row, 2**step), dtype), 2.0 ** (step - 32)) for row in rows]
    pairs = zip(rows[::2], rows[1::2], strict=True)
    units = []
    for high, low in pairs:
        upper = f.multiply(b, f.cast(b, f.floor_divide(b, high, 2**5), dtype), 2.0**-27)
        lower = f.multiply(b, f.cast(b, f.floor_divide(b, low, 2**6), dtype), 2.0**-53)
        units.append(f.add(b, upper, lower))
    return units


def _units_reference(state: Array, shape: tuple[int, ...], dtype: str, streams: int) -> list[Array]:
    per = _words(dtype)
    (bits,) = RandomBits((streams * per, *shape)).reference(state)
    if dtype != "float64":
        step = 8 if dtype == "float32" else 21
        return [((row >> step) * 2.0 ** (step - 32)).astype(dtype) for row in bits]
    wide = bits.astype("uint64")
    return [((high >> 5) * 2.0**26 + (low >> 6)) * 2.0**-53 for high, low in zip(wide[::2], wide[1::2], strict=True)]


def _below(low: float, high: float, dtype: str) -> float:
    """The greatest number of the dtype below `high`, but not below `low`."""
    number = np.dtype(dtype).type
    return float(max(number(low), np.nextafter(number(high), number(low))))


def dropout_threshold(rate: float) -> int:
    """Words below this are dropped."""
    return min(round(rate * WORD), WORD - 1)
