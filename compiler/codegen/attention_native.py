"""The inner loops of attention beside its matrix products: masks, exponentials and sums of a block of scores.

A block of scores is held transposed: a row is a key, a lane a query. So the greatest score and the sum of a query's
exponentials never cross a vector.

Exponentials are powers of two of `score * log2(e) - m`, m being the greatest score's product rounded: where that is
rounded, all weights of a query change by one factor, which the sum of them takes out again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from compiler.codegen.contraction_ir import INT32, INT64, NativeFunction, constant
from compiler.codegen.depthwise_native import VectorLoops, Vectors
from compiler.codegen.microkernel_tile import Tile
from compiler.codegen.scalar_math_emitter import Emitter
from compiler.ops.attention import MASKED

__all__ = ["ATTENTION_PARTS", "LOG2_E", "PanelLoops", "load_byte", "visible_or_masked"]

LOG2_E = 1.4426950408889634
# 2**f for |f| <= 1/2, minimax fit of the relative error (3e-9), from the highest power down.
_POWER = (
    0.00015326461289077997,
    0.0013390806270763278,
    0.009618505835533142,
    0.05550359934568405,
    0.24022647738456726,
    0.6931471824645996,
    1.0,
)
_LEAST_POWER = -127.0  # 2 to this power is taken for 0
_BYTE = ir.IntType(8)


class PanelLoops(VectorLoops):
    """A native function over rows of a panel: `tile.vectors` vectors of float32 each."""

    def __init__(self, module: Any, tile: Tile, name: str, parameters: tuple[str, ...]) -> None:
        super().__init__(module, name, parameters, tile.dtype, tile.lanes)
        self.tile = tile
        self.e = Emitter(self.builder, tile.dtype, tile.lanes)
        self.row_bytes = tile.columns * self.native.size

    def row(self, address: Any, index: Any) -> Any:
        """The address of a row of a panel."""
        return self.native.add(address, self.native.multiply(index, self.row_bytes))

    def places(self, address: Any) -> list[Any]:
        """The addresses of a row's vectors."""
        width = self.tile.lanes * self.native.size
        return [self.native.add(address, vector * width) for vector in range(self.tile.vectors)]

    def load_row(self, address: Any) -> Vectors:
        """A row's vectors."""
        return [self.native.load(place, self.native.vector) for place in self.places(address)]

    def store_row(self, values: Vectors, address: Any) -> None:
        """Store a row's vectors."""
        for value, place in zip(values, self.places(address), strict=True):
            self.native.store(value, place)

    def splat(self, value: float) -> Any:
        """A number in all lanes."""
        return self.e.constant(value)

    def splat_integer(self, value: Any) -> Any:
        """The low 32 bits of an int64 in all lanes."""
        return self.native.broadcast(self.builder.trunc(value, INT32))

    def spread(self, address: Any) -> Any:
        """The element at an address in all lanes."""
        return self.native.broadcast(self.native.load(address, self.native.scalar))

    def power_of_two(self, exponent: Any) -> Any:
        """2**exponent for numbers up to some 100; 0 below -127, NaN for NaN."""
        e = self.e
        clamped = e.at_least(exponent, _LEAST_POWER)
        # The sum's low bits are the nearest integer and the bias: shifted left, they are a power of two.
        magic = e.constant(e.format.rounding_magic + e.format.bias)
        shifted = e.add(clamped, magic)
        fraction = e.subtract(clamped, e.subtract(shifted, magic))
        scale = e.as_float(self.builder.shl(e.as_integer(shifted), e.integer(e.format.mantissa_bits)))
        return e.multiply(e.horner(fraction, _POWER), scale)

    def larger(self, left: Any, right: Any) -> Any:
        """The greater one of two; the right one where the left one is NaN."""
        return self.e.select(self.e.compare(">", left, right), left, right)


class _SoftmaxBlock(PanelLoops):
    """`softmax_block(scores, keys, state, first, output, values)`: take a block of scores into the running softmax.

    `scores`: [keys][queries], each replaced by exp(score - greatest). `state`: the greatest score of each query so far,
    then the sum of its exponentials; with `first` there is none yet. `output`: [values][queries], what was summed so
    far, which is brought to the new greatest scores.
    """

    def __init__(self, module: Any, tile: Tile) -> None:
        super().__init__(module, tile, "softmax_block", ("scores", "keys", "state", "first", "output", "values"))

    def emit(self) -> None:
        """The greatest scores, the factors, the exponentials, what was summed before."""
        e, native, builder = self.e, self.native, self.builder
        scores, keys, state, first, output, values = native.arguments.values()
        is_first = builder.icmp_signed("!=", first, constant(0))
        sums_at = native.add(state, self.row_bytes)
        before = [builder.select(is_first, self.splat(MASKED), held) for held in self.load_row(state)]
        greatest = self._greatest(scores, keys, before)
        self.store_row(greatest, state)
        shifts = [e.multiply(value, self.splat(-LOG2_E)) for value in greatest]
        factors = [self.power_of_two(e.fma(v, self.splat(LOG2_E), s)) for v, s in zip(before, shifts, strict=True)]
        sums = [
            builder.select(is_first, native.zero_vector(), e.multiply(held, factor))
            for held, factor in zip(self.load_row(sums_at), factors, strict=True)
        ]
        self.store_row(self._exponentials(scores, keys, shifts, sums), sums_at)
        with builder.if_then(builder.not_(is_first)), native.loop(0, values) as index:
            place = self.row(output, index)
            pairs = zip(self.load_row(place), factors, strict=True)
            self.store_row([e.multiply(held, factor) for held, factor in pairs], place)
        native.finish()

    def _greatest(self, scores: Any, keys: Any, held: Vectors) -> Vectors:
        def two(index: Any, held: Vectors) -> Vectors:
            rows = [self.load_row(self.row(scores, self.native.add(index, i))) for i in range(2)]
            return [self.larger(self.larger(a, b), h) for a, b, h in zip(*rows, held, strict=True)]

        def one(index: Any, held: Vectors) -> Vectors:
            return [self.larger(a, h) for a, h in zip(self.load_row(self.row(scores, index)), held, strict=True)]

        index, held = self.carry_from(constant(0), keys, 2, held, two)
        return self.carry_from(index, keys, 1, held, one)[1]

    def _exponentials(self, scores: Any, keys: Any, shifts: Vectors, sums: Vectors) -> Vectors:
        e = self.e

        def body(index: Any, sums: Vectors) -> Vectors:
            place = self.row(scores, index)
            terms = [
                self.power_of_two(e.fma(score, self.splat(LOG2_E), shift))
                for score, shift in zip(self.load_row(place), shifts, strict=True)
            ]
            self.store_row(terms, place)
            return [e.add(total, term) for total, term in zip(sums, terms, strict=True)]

        return self.carry(keys, sums, body)


def _emit_mask_keys(module: Any, tile: Tile) -> None:
    """`mask_keys(scores, keys, distance, ahead, behind, key_mask)`: scores of invisible keys become `MASKED`.

    `distance`: of the first query from the first key. A query sees keys up to `ahead` after it and `behind` before it,
    if the key's byte at `key_mask`, which is 0 for none, is not 0.
    """
    loops = PanelLoops(module, tile, "mask_keys", ("scores", "keys", "distance", "ahead", "behind", "key_mask"))
    native, builder = loops.native, loops.builder
    scores, keys, distance, ahead, behind, key_mask = native.arguments.values()
    least, most = loops.splat_integer(builder.neg(ahead)), loops.splat_integer(behind)
    no_mask = builder.icmp_signed("==", key_mask, constant(0))
    with native.loop(0, keys) as index:
        place = loops.row(scores, index)
        byte = load_byte(native, builder.select(no_mask, place, native.add(key_mask, index)))
        seen = builder.or_(no_mask, builder.icmp_signed("!=", byte, ir.Constant(_BYTE, 0)))
        nearest = loops.splat_integer(builder.sub(distance, index))
        result = []
        for vector, value in enumerate(loops.load_row(place)):
            lanes = ir.Constant(nearest.type, [vector * tile.lanes + lane for lane in range(tile.lanes)])
            result.append(visible_or_masked(loops, builder.add(nearest, lanes), least, most, seen, value))
        loops.store_row(result, place)
    native.finish()


def visible_or_masked(loops: PanelLoops, distances: Any, least: Any, most: Any, seen: Any, value: Any) -> Any:
    """`value` in the lanes that are `seen` and whose distances lie between two numbers, else `MASKED`."""
    builder = loops.builder
    within = builder.and_(builder.icmp_signed(">=", distances, least), builder.icmp_signed("<=", distances, most))
    masked = loops.splat(MASKED)
    return builder.select(within, builder.select(seen, value, masked), masked)


def load_byte(native: NativeFunction, address: Any) -> Any:
    """The byte at an address."""
    value = native.builder.load(native.pointer(address, _BYTE))
    value.align = 1
    return value


def _emit_masked_lanes(module: Any, tile: Tile) -> None:
    """`masked_lanes(state, queries)`: how many of the first queries have seen no key."""
    loops = PanelLoops(module, tile, "masked_lanes", ("state", "queries"))
    native, builder = loops.native, loops.builder
    state, queries = native.arguments.values()
    masked = ir.Constant(native.scalar, MASKED)
    found = builder.alloca(INT64)
    builder.store(constant(0), found)
    with native.loop(0, queries) as index:
        held = native.load(native.add(state, native.multiply(index, native.size)), native.scalar)
        is_masked = builder.zext(builder.fcmp_ordered("==", held, masked), INT64)
        builder.store(builder.add(builder.load(found), is_masked), found)
    native.finish(builder.load(found))


def _emit_any_byte(module: Any, tile: Tile) -> None:
    """`any_byte(address, count)`: whether one of so many bytes is not 0."""
    native = NativeFunction(module, "any_byte", ("address", "count"), tile.dtype, tile.lanes)
    address, count = native.arguments.values()
    builder = native.builder
    found = builder.alloca(_BYTE)
    builder.store(ir.Constant(_BYTE, 0), found)
    with native.loop(0, count) as index:
        builder.store(builder.or_(builder.load(found), load_byte(native, native.add(address, index))), found)
    native.finish(builder.zext(builder.icmp_signed("!=", builder.load(found), ir.Constant(_BYTE, 0)), INT64))


def _emit_scale_rows(module: Any, tile: Tile) -> None:
    """`scale_rows(rows, count, factor)`: multiply `count` rows of a panel by the float32 with the bits `factor`."""
    loops = PanelLoops(module, tile, "scale_rows", ("rows", "count", "factor"))
    native, builder = loops.native, loops.builder
    rows, count, factor = native.arguments.values()
    number = native.broadcast(builder.bitcast(builder.trunc(factor, INT32), native.scalar))
    with native.loop(0, count) as index:
        place = loops.row(rows, index)
        loops.store_row([loops.e.multiply(value, number) for value in loops.load_row(place)], place)
    native.finish()


def _emit_divide_by_sums(module: Any, tile: Tile) -> None:
    """`divide_by_sums(output, values, state)`: divide each lane by its sum, whose place takes the reciprocal."""
    loops = PanelLoops(module, tile, "divide_by_sums", ("output", "values", "state"))
    native, e = loops.native, loops.e
    output, values, state = native.arguments.values()
    sums_at = native.add(state, loops.row_bytes)
    inverse = [e.divide(loops.splat(1.0), total) for total in loops.load_row(sums_at)]
    loops.store_row(inverse, sums_at)
    with native.loop(0, values) as index:
        place = loops.row(output, index)
        pairs = zip(loops.load_row(place), inverse, strict=True)
        loops.store_row([e.multiply(value, factor) for value, factor in pairs], place)
    native.finish()


# The native functions, each with its number of arguments and what adds it to a module.
ATTENTION_PARTS: dict[str, tuple[int, Callable[[Any, Tile], None]]] = {
    "softmax_block": (6, lambda module, tile: _SoftmaxBlock(module, tile).emit()),
    "mask_keys": (6, _emit_mask_keys),
    "masked_lanes": (2, _emit_masked_lanes),
    "any_byte": (2, _emit_any_byte),
    "scale_rows": (3, _emit_scale_rows),
    "divide_by_sums": (3, _emit_divide_by_sums),
}
