"""The inner loops of depthwise convolutions: channels are the lanes, so that no sum ever crosses a vector.

Two loops do all the work on a run of pixels of one row. `gather_taps` computes result pixels, forward and input
gradient alike: a block of pixels by vectors of channels stays in registers while the taps pass by, each a load of the
kernel that serves the whole block. `sum_taps` computes the kernel's gradient: the gradient of a block of pixels stays
in registers while the taps pass by, each a load and a store of a sum that serves the whole block.

Per multiply-add both load little more than one vector, and that comes from the first-level cache: they run at the
rate of the load units (two vectors a cycle on current cores), which is that of the multiply-add units. All channels
of a block of pixels are done before the next block. The other order walks over memory in steps of a pixel, mostly a
power of two, and evicts from the cache's few sets with that address what it needs again (16 x 16 x 128: 2.5 times
slower).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from compiler.codegen.contraction_ir import INT64, NativeFunction, constant
from compiler.codegen.microkernel_tile import Tile

__all__ = ["DEPTHWISE_PARTS", "VectorLoops", "Vectors"]

# Of `gather_taps` and `sum_taps`.
TAP_PARAMETERS = (
    "pixels", "source", "source_step", "y_table", "y_taps", "x_table", "x_taps", "weights", "target", "target_step",
    "channels",
)  # fmt: skip
# Most pixels in a block: `gather_taps` needs two sums for each, `sum_taps` adds them in one chain.
MOST_PIXELS = 8

Vectors = list[Any]


class VectorLoops:
    """A native function with nested loops that carry vectors."""

    def __init__(self, module: Any, name: str, parameters: Sequence[str], dtype: str, lanes: int) -> None:
        self.native = NativeFunction(module, name, parameters, dtype, lanes)
        self.builder = self.native.builder

    def argument(self, name: str) -> Any:
        """The function's argument of that name."""
        return self.native.arguments[name]

    def carry(self, count: Any, held: Vectors, body: Callable[[Any, Vectors], Vectors]) -> Vectors:
        """`held = body(i, held)` for i below `count`, which may be zero."""
        return self.carry_from(constant(0), count, 1, held, body)[1]

    def carry_from(
        self, first: Any, last: Any, step: int, held: Vectors, body: Callable[[Any, Vectors], Vectors]
    ) -> tuple[Any, Vectors]:
        """The same while `i + step` is within `last`; also the i it stopped at."""
        builder, function = self.builder, self.native.function
        head, inside, done = (function.append_basic_block(name) for name in ("taps", "tap", "taps_done"))
        before = builder.block
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(INT64)
        phis = [builder.phi(value.type) for value in held]
        following = self.native.add(index, step)
        builder.cbranch(builder.icmp_signed("<=", following, last), inside, done)
        builder.position_at_end(inside)
        after = body(index, list(phis))
        for phi, start, end in zip([index, *phis], [first, *held], [following, *after], strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(end, builder.block)
        builder.branch(head)
        builder.position_at_end(done)
        return index, list(phis)

    def load(self, address: Any, mask: Any | None) -> Any:
        """A vector; with a mask only the lanes it allows are read, the others are zero."""
        native = self.native
        return native.load(address, native.vector) if mask is None else native.masked_load(address, mask)

    def multiply_add(self, left: Any, right: Any, total: Any) -> Any:
        """`left * right + total`, rounded once."""
        native = self.native
        name = f"llvm.fma.v{native.lanes}f{native.size * 8}"
        return self.builder.call(
            native.vector_intrinsic(name, native.vector, [native.vector] * 3), [left, right, total]
        )

    def round_up(self, value: Any) -> Any:
        """To a multiple of the lanes."""
        lanes = self.native.lanes
        return self.builder.and_(self.native.add(value, lanes - 1), constant(-lanes))

    def each_block(self, total: Any, most: int, body: Callable[[Any, int], None]) -> None:
        """`body(first pixel, pixels)` for blocks of at most `most` of `total` pixels, of nearly one size."""
        native, builder, function = self.native, self.builder, self.native.function
        head, inside, joined, done = (function.append_basic_block(name) for name in ("head", "block", "next", "done"))
        before = builder.block
        builder.branch(head)
        builder.position_at_end(head)
        first = builder.phi(INT64)
        left = builder.sub(total, first)
        builder.cbranch(builder.icmp_signed(">", left, constant(0)), inside, done)
        builder.position_at_end(inside)
        half = builder.lshr(native.add(left, 1), constant(1))
        many = builder.icmp_signed(">=", left, constant(2 * most))
        size = builder.select(many, constant(most), half)
        size = builder.select(builder.icmp_signed("<=", left, constant(most)), left, size)
        switch = builder.switch(size, joined)
        for pixels in range(1, most + 1):
            case = function.append_basic_block(f"pixels{pixels}")
            switch.add_case(constant(pixels), case)
            builder.position_at_end(case)
            body(first, pixels)
            builder.branch(joined)
        builder.position_at_end(joined)
        for value, block in ((constant(0), before), (native.add(first, size), joined)):
            first.add_incoming(value, block)
        builder.branch(head)
        builder.position_at_end(done)

    def moved(self, source: Any, weights: Any, table: str, index: Any) -> tuple[Any, Any]:
        """Both addresses moved by the byte offsets in an entry of a table of taps."""
        entry = self.native.add(self.argument(table), self.native.multiply(index, 16))
        source_offset = self.native.load(entry, INT64)
        weight_offset = self.native.load(self.native.add(entry, 8), INT64)
        return self.native.add(source, source_offset), self.native.add(weights, weight_offset)

    def each_tap(
        self, source: Any, weights: Any, held: Vectors, body: Callable[[Any, Any, Vectors], Vectors]
    ) -> Vectors:
        """`held = body(source address, weight address, held)` for all pairs of a vertical and a horizontal tap."""

        def row(index: Any, held: Vectors) -> Vectors:
            row_places = self.moved(source, weights, "y_table", index)

            def tap(index: Any, held: Vectors) -> Vectors:
                return body(*self.moved(*row_places, "x_table", index), held)

            return self.carry(self.argument("x_taps"), held, tap)

        return self.carry(self.argument("y_taps"), held, row)


@dataclasses.dataclass(frozen=True, slots=True)
class _Block:
    """Pixels and vectors of channels that are computed together."""

    pixels: int
    vectors: int
    mask: Any | None


class _GatherTaps(VectorLoops):
    """`gather_taps(...)`: target[p, c] = sum over taps of source[p, tap, c] * weights[tap, c].

    `pixels` result pixels, `target_step` bytes apart, read sources `source_step` bytes apart. The taps are the pairs
    of an entry of `y_table` and one of `x_table`, each entry two int64: byte offsets in the source and in the weights;
    the order of the sum is theirs. Whole vectors are written: `target` rows are padded to a multiple of the lanes.
    Weights are padded likewise; of the source nothing beyond `channels` is read.
    """

    def __init__(self, module: Any, tile: Tile) -> None:
        super().__init__(module, "gather_taps", TAP_PARAMETERS, tile.dtype, tile.lanes)
        # The tile says how many accumulators a target has room for.
        self.most_pixels = min(tile.rows * tile.vectors // 2, MOST_PIXELS)

    def emit(self) -> None:
        """All pixels block by block, the channels in pairs of vectors."""
        self.each_block(self.argument("pixels"), self.most_pixels, self._channels)
        self.native.finish()

    def _channels(self, first: Any, pixels: int) -> None:
        native, channels = self.native, self.argument("channels")
        with native.loop(0, channels, 2 * native.lanes) as channel:
            self._block(first, channel, _Block(pixels, 2, None))
        rest = native.remainder_begin(channels, 2 * native.lanes)
        with native.loop(rest, self.round_up(channels), native.lanes) as channel:
            self._block(first, channel, _Block(pixels, 1, self.native.lanes_below(self.builder.sub(channels, channel))))

    def _block(self, first: Any, channel: Any, block: _Block) -> None:
        native = self.native
        offset = native.multiply(channel, native.size)
        source = native.add(self.argument("source"), native.multiply(first, self.argument("source_step")), offset)
        weights = native.add(self.argument("weights"), offset)
        zeros = [native.zero_vector()] * (block.pixels * block.vectors)
        if block.vectors > 1:
            self._prefetch(source, weights, block)
        sums = self.each_tap(source, weights, zeros, lambda x, w, held: self._tap(x, w, block, held))
        step = self.argument("target_step")
        target = native.add(self.argument("target"), native.multiply(first, step), offset)
        for place, value in enumerate(sums):
            pixel, vector = divmod(place, block.vectors)
            native.store(value, native.add(target, native.multiply(step, pixel), vector * native.lanes * native.size))

    def _prefetch(self, source: Any, weights: Any, block: _Block) -> None:
        """Ask for what the next channels need of the pixels that this block is the first to read."""
        native = self.native
        last = native.add(self.argument("x_table"), native.multiply(native.add(self.argument("x_taps"), -1), 16))
        source = native.add(source, native.load(last, INT64), block.vectors * native.lanes * native.size)
        with native.loop(0, self.argument("y_taps")) as index:
            row, _ = self.moved(source, weights, "y_table", index)
            for pixel in range(block.pixels):
                native.prefetch(native.add(row, native.multiply(self.argument("source_step"), pixel)))

    def _tap(self, source: Any, weights: Any, block: _Block, held: Vectors) -> Vectors:
        native = self.native
        width = native.lanes * native.size
        step = self.argument("source_step")
        kernel = [self.load(native.add(weights, vector * width), None) for vector in range(block.vectors)]
        result = []
        for place, total in enumerate(held):
            pixel, vector = divmod(place, block.vectors)
            address = native.add(source, native.multiply(step, pixel), vector * width)
            result.append(self.multiply_add(self.load(address, block.mask), kernel[vector], total))
        return result


class _SumTaps(VectorLoops):
    """`sum_taps(...)`: weights[tap, c] += sum over pixels of source[p, tap, c] * target[p, c].

    The parameters are those of `gather_taps`, but the weights are sums and the target is the result's gradient, of
    which nothing beyond `channels` is read. The order of a sum depends on `pixels` alone.
    """

    def __init__(self, module: Any, tile: Tile) -> None:
        super().__init__(module, "sum_taps", TAP_PARAMETERS, tile.dtype, tile.lanes)

    def emit(self) -> None:
        """All pixels block by block."""
        self.each_block(self.argument("pixels"), MOST_PIXELS, self._block)
        self.native.finish()

    def _block(self, first: Any, pixels: int) -> None:
        """All channels of a block of pixels."""
        native, channels = self.native, self.argument("channels")
        with native.loop(0, channels, native.lanes) as channel:
            self._vector(first, channel, pixels, None)
        rest = native.remainder_begin(channels, native.lanes)
        with native.loop(rest, self.round_up(channels), native.lanes) as channel:
            self._vector(first, channel, pixels, self.native.lanes_below(self.builder.sub(channels, channel)))

    def _vector(self, first: Any, channel: Any, pixels: int, mask: Any | None) -> None:
        native = self.native
        offset = native.multiply(channel, native.size)
        step, source_step = self.argument("target_step"), self.argument("source_step")
        source = native.add(self.argument("source"), native.multiply(first, source_step), offset)
        target = native.add(self.argument("target"), native.multiply(first, step), offset)
        weights = native.add(self.argument("weights"), offset)
        shares = [self.load(native.add(target, native.multiply(step, pixel)), mask) for pixel in range(pixels)]

        def tap(x: Any, place: Any, held: Vectors) -> Vectors:
            total = native.load(place, native.vector)
            for pixel, share in enumerate(shares):
                element = self.load(native.add(x, native.multiply(source_step, pixel)), mask)
                total = self.multiply_add(element, share, total)
            native.store(total, place)
            return held

        self.each_tap(source, weights, [], tap)


def _emit_copy_strided(module: Any, tile: Tile) -> None:
    """`copy_strided(destination, destination_step, source, source_step, count)`: elements, steps in bytes."""
    parameters = ("destination", "destination_step", "source", "source_step", "count")
    native = NativeFunction(module, "copy_strided", parameters, tile.dtype)
    destination, destination_step, source, source_step, count = native.arguments.values()
    with native.loop(0, count) as index:
        value = native.load(native.add(source, native.multiply(index, source_step)), native.scalar)
        native.store(value, native.add(destination, native.multiply(index, destination_step)))
    native.finish()


def _emit_add_rows(module: Any, tile: Tile) -> None:
    """`add_rows(destination, source, count)`: add `count` elements, whole vectors of them, and clear the source."""
    native = NativeFunction(module, "add_rows", ("destination", "source", "count"), tile.dtype, tile.lanes)
    destination, source, count = native.arguments.values()
    with native.loop(0, count, tile.lanes) as index:
        offset = native.multiply(index, native.size)
        place, other = native.add(destination, offset), native.add(source, offset)
        total = native.builder.fadd(native.load(place, native.vector), native.load(other, native.vector))
        native.store(total, place)
        native.store(native.zero_vector(), other)
    native.finish()


def _emit_sum_adjacent(module: Any, tile: Tile) -> None:
    """`sum_adjacent(place, size, count)`: `count` sums of `size` neighbours each, in place, from the first on."""
    loops = VectorLoops(module, "sum_adjacent", ("place", "size", "count"), tile.dtype, 1)
    native = loops.native
    place, size, count = native.arguments.values()
    with native.loop(0, count) as index:
        first = native.add(place, native.multiply(native.multiply(index, size), native.size))

        def add(other: Any, held: Vectors, first: Any = first) -> Vectors:
            value = native.load(native.add(first, native.multiply(other, native.size)), native.scalar)
            return [loops.builder.fadd(held[0], value)]

        start = native.load(first, native.scalar)
        (total,) = loops.carry_from(constant(1), size, 1, [start], add)[1]
        native.store(total, native.add(place, native.multiply(index, native.size)))
    native.finish()


# The native functions, each with its number of arguments and what adds it to a module.
DEPTHWISE_PARTS: Mapping[str, tuple[int, Callable[[Any, Tile], None]]] = {
    "gather_taps": (len(TAP_PARAMETERS), lambda module, tile: _GatherTaps(module, tile).emit()),
    "sum_taps": (len(TAP_PARAMETERS), lambda module, tile: _SumTaps(module, tile).emit()),
    "copy_strided": (5, _emit_copy_strided),
    "add_rows": (3, _emit_add_rows),
    "sum_adjacent": (3, _emit_sum_adjacent),
}
