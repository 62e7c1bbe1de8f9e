"""One line of a depthwise convolution, scaled, shifted and held within bounds, for the products that read it next.

`gather_line` differs from `gather_taps` (`compiler.codegen.depthwise_native`) in what surrounds the same sums: one call
does all runs of a line; three horizontal taps side by side with stride 1 or 2, those of nearly all pixels, are written
out, so that neighbouring pixels share the loads of their sources (13 or 20 loads for 24 multiply-adds, where a load
each would take all of the load units); and a sum is finished in its registers rather than by a pass of its own.

Measured in the five layers of the benchmarks' depthwise net, batch 64, sources in the second-level cache: 2.6 ms, 3.5
with a load for each multiply-add, where multiply-adds alone would take 1.3.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from compiler.codegen.contraction_ir import INT64, constant
from compiler.codegen.depthwise_native import VectorLoops, Vectors
from compiler.codegen.microkernel_finish import FINISH_ROWS, finished
from compiler.codegen.microkernel_tile import Tile

__all__ = ["LINE_PARAMETERS", "emit_gather_line"]

LINE_PARAMETERS = (
    "x_begin", "x_end", "runs", "run_table", "tap_table", "source", "source_step", "y_table", "y_taps", "weights",
    "finish", "target", "target_step", "channels",
)  # fmt: skip
# What is written out: so many horizontal taps side by side, with one of these strides.
USUAL_TAPS = 3
USUAL_STRIDES = (1, 2)
# Pixels of a block: one vector of each and of the taps, or two of each, leave registers free on any target.
MOST_PIXELS, MOST_LOOPED = 8, 4
RUN_BYTES = 40  # of an entry of the table of runs


def emit_gather_line(module: Any, tile: Tile) -> None:
    """`gather_line(...)`: target[p, c] = min(max(sum * scale[c] + shift[c], low[c]), high[c]).

    The sum is that of source[p, tap, c] * weights[tap, c], for pixels `x_begin` to `x_end` of a line whose source
    begins at `source`; the first is written at `target`. A run (five int64: first pixel, pixels, its number in the
    source, first tap in `tap_table`, taps) has the same horizontal taps. `y_table` and `tap_table` hold byte offsets in
    the source and in the weights. The rows of `finish` are scale, shift, low and high, padded as those of the weights
    and of the target are: whole vectors are read and written. Of the source nothing beyond `channels` is read.
    """
    _GatherLine(module, tile).emit()


@dataclasses.dataclass(frozen=True, slots=True)
class _Block:
    """What is computed together: pixels from `first` on, by vectors of channels; its taps, and their table.

    `stride` where usual taps are written out, 0 where all go by the table.
    """

    first: Any
    pixels: int
    vectors: int
    taps: Any
    tap_table: Any
    stride: int = 0
    mask: Any | None = None


class _GatherLine(VectorLoops):
    """Emits the function."""

    def __init__(self, module: Any, tile: Tile) -> None:
        super().__init__(module, "gather_line", LINE_PARAMETERS, tile.dtype, tile.lanes)
        self.pixel = self.native.multiply(self.argument("channels"), self.native.size)

    def emit(self) -> None:
        """All runs of the line."""
        native = self.native
        with native.loop(0, self.argument("runs")) as run:
            entry = native.add(self.argument("run_table"), native.multiply(run, RUN_BYTES))
            first, pixels, _, tap, taps = (native.load(native.add(entry, 8 * place), INT64) for place in range(5))
            begin = self._extremum(">", first, self.argument("x_begin"))
            end = self._extremum("<", native.add(first, pixels), self.argument("x_end"))
            table = native.add(self.argument("tap_table"), native.multiply(tap, 16))
            self._run(begin, self.builder.sub(end, begin), taps, table)
        native.finish()

    def _extremum(self, sign: str, left: Any, right: Any) -> Any:
        return self.builder.select(self.builder.icmp_signed(sign, left, right), left, right)

    def _usual_stride(self, taps: Any, table: Any) -> Any:
        """The stride where the run has the usual taps side by side, 0 where it has not."""
        native, builder = self.native, self.builder
        first, second = native.load(table, INT64), native.load(native.add(table, 16), INT64)
        step = self.argument("source_step")
        beside = builder.icmp_signed("==", native.add(first, self.pixel), second)
        usual = builder.and_(builder.icmp_signed("==", taps, constant(USUAL_TAPS)), beside)
        stride = constant(0)
        for number in USUAL_STRIDES:
            fits = builder.icmp_signed("==", step, native.multiply(self.pixel, number))
            stride = builder.select(builder.and_(usual, fits), constant(number), stride)
        return stride

    def _run(self, begin: Any, pixels: Any, taps: Any, table: Any) -> None:
        """The channels that fill vectors with their taps written out, where they are usual; the others by the table."""
        builder, function, channels = self.builder, self.native.function, self.argument("channels")
        by_table = function.append_basic_block("by_table")
        switch = builder.switch(self._usual_stride(taps, table), by_table)
        first = [(constant(0), builder.block)]
        for stride in USUAL_STRIDES:
            block = function.append_basic_block(f"stride{stride}")
            switch.add_case(constant(stride), block)
            builder.position_at_end(block)
            self.each_block(pixels, MOST_PIXELS, self._written_out(_Block(begin, 1, 1, taps, table, stride)))
            first.append((self.native.remainder_begin(channels, self.native.lanes), builder.block))
            builder.branch(by_table)
        builder.position_at_end(by_table)
        channel = builder.phi(INT64)
        for value, source in first:
            channel.add_incoming(value, source)
        with builder.if_then(builder.icmp_signed("<", channel, channels)):
            self.each_block(pixels, MOST_LOOPED, self._by_table(_Block(begin, 1, 1, taps, table), channel))

    def _written_out(self, block: _Block) -> Callable[[Any, int], None]:
        def body(first: Any, pixels: int) -> None:
            place = self.native.add(block.first, first)
            with self.native.loop(0, self.argument("channels"), self.native.lanes) as channel:
                self._block(channel, dataclasses.replace(block, first=place, pixels=pixels))

        return body

    def _by_table(self, block: _Block, begin: Any) -> Callable[[Any, int], None]:
        """Channels from `begin` on, several vectors together; what is left vector by vector, the last one masked."""

        def body(first: Any, pixels: int) -> None:
            native, channels = self.native, self.argument("channels")
            vectors = 4 if pixels == 1 else 2
            together = dataclasses.replace(block, first=native.add(block.first, first), pixels=pixels, vectors=vectors)
            with native.loop(begin, channels, vectors * native.lanes) as channel:
                self._block(channel, together)
            left = self.builder.sub(channels, begin)
            rest = native.add(begin, native.remainder_begin(left, vectors * native.lanes))
            with native.loop(rest, self.round_up(channels), native.lanes) as channel:
                mask = self.native.lanes_below(self.builder.sub(channels, channel))
                self._block(channel, dataclasses.replace(together, vectors=1, mask=mask))

        return body

    def _block(self, channel: Any, block: _Block) -> None:
        native = self.native
        offset = native.multiply(channel, native.size)
        moved = native.multiply(block.first, self.argument("source_step"))
        source = native.add(self.argument("source"), moved, offset)
        weights = native.add(self.argument("weights"), offset)

        def row(index: Any, held: Vectors) -> Vectors:
            entry = native.add(self.argument("y_table"), native.multiply(index, 16))
            return self._row(self._moved(source, weights, entry), block, held)

        zeros = [native.zero_vector()] * (block.pixels * block.vectors)
        self._store(self.carry(self.argument("y_taps"), zeros, row), offset, block)

    def _moved(self, source: Any, weights: Any, entry: Any) -> tuple[Any, Any]:
        native = self.native
        return (
            native.add(source, native.load(entry, INT64)),
            native.add(weights, native.load(native.add(entry, 8), INT64)),
        )

    def _row(self, places: tuple[Any, Any], block: _Block, held: Vectors) -> Vectors:
        def tap(index: Any, held: Vectors) -> Vectors:
            entry = self.native.add(block.tap_table, self.native.multiply(index, 16))
            return self._tap(*self._moved(*places, entry), block, held)

        return self._usual_taps(*places, block, held) if block.stride else self.carry(block.taps, held, tap)

    def _usual_taps(self, source: Any, weights: Any, block: _Block, held: Vectors) -> Vectors:
        """Neighbouring pixels share sources: each is read once for all taps that meet it."""
        native = self.native
        source, _ = self._moved(source, weights, block.tap_table)
        kernel = []
        for tap in range(USUAL_TAPS):
            offset = native.load(native.add(block.tap_table, 16 * tap + 8), INT64)
            kernel.append(native.load(native.add(weights, offset), native.vector))
        result = list(held)
        for place in range((block.pixels - 1) * block.stride + USUAL_TAPS):
            element = native.load(native.add(source, native.multiply(self.pixel, place)), native.vector)
            for tap in range(USUAL_TAPS):
                pixel, between = divmod(place - tap, block.stride)
                if between == 0 and 0 <= pixel < block.pixels:
                    result[pixel] = self.multiply_add(element, kernel[tap], result[pixel])
        return result

    def _tap(self, source: Any, weights: Any, block: _Block, held: Vectors) -> Vectors:
        native = self.native
        width = native.lanes * native.size
        step = self.argument("source_step")
        kernel = [native.load(native.add(weights, vector * width), native.vector) for vector in range(block.vectors)]
        result = []
        for place, total in enumerate(held):
            pixel, vector = divmod(place, block.vectors)
            address = native.add(source, native.multiply(step, pixel), vector * width)
            result.append(self.multiply_add(self.load(address, block.mask), kernel[vector], total))
        return result

    def _store(self, sums: Vectors, offset: Any, block: _Block) -> None:
        """Finish the sums and write them."""
        native = self.native
        step = self.argument("target_step")
        moved = native.multiply(self.builder.sub(block.first, self.argument("x_begin")), step)
        target = native.add(self.argument("target"), moved, offset)
        row = native.multiply(self.round_up(self.argument("channels")), native.size)
        for vector in range(block.vectors):
            wide = vector * native.lanes * native.size
            finish = native.add(self.argument("finish"), offset, wide)
            rows = [native.add(finish, native.multiply(row, place)) for place in range(len(FINISH_ROWS))]
            for pixel, value in enumerate(finished(native, sums[vector :: block.vectors], rows)):
                native.store(value, native.add(target, native.multiply(step, pixel), wide))
