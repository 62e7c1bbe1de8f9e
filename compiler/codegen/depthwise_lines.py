"""One line of a depthwise convolution, scaled, shifted and held within bounds, for the products that read it next.

`gather_line` differs from `gather_taps` (`compiler.codegen.depthwise_native`) in what surrounds the same sums: one call
does all runs of a line; three horizontal taps, those of nearly all pixels, are written out; and a sum is finished in
its registers rather than by a pass of its own.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from compiler.codegen.contraction_ir import INT64, constant
from compiler.codegen.depthwise_native import VectorLoops, Vectors
from compiler.codegen.microkernel import FINISH_ROWS, Tile, finished

__all__ = ["LINE_PARAMETERS", "emit_gather_line"]

LINE_PARAMETERS = (
    "x_begin", "x_end", "runs", "run_table", "tap_table", "source", "source_step", "y_table", "y_taps", "weights",
    "finish", "target", "target_step", "channels",
)  # fmt: skip
# The number of horizontal taps that is written out.
USUAL_TAPS = 3
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
    """What is computed together: pixels from `first` on, by vectors of channels, with so many horizontal taps."""

    first: Any
    pixels: int
    vectors: int
    taps: Any | int
    tap_table: Any
    mask: Any | None = None


class _GatherLine(VectorLoops):
    """Emits the function."""

    def __init__(self, module: Any, tile: Tile) -> None:
        super().__init__(module, "gather_line", LINE_PARAMETERS, tile.dtype, tile.lanes)
        self.most_pixels = tile.rows * tile.vectors // 2

    def emit(self) -> None:
        """All runs of the line."""
        native = self.native
        with native.loop(0, self.argument("runs")) as run:
            entry = native.add(self.argument("run_table"), native.multiply(run, RUN_BYTES))
            first, pixels, _, tap, taps = (native.load(native.add(entry, 8 * place), INT64) for place in range(5))
            begin = self._extremum(">", first, self.argument("x_begin"))
            end = self._extremum("<", native.add(first, pixels), self.argument("x_end"))
            table = native.add(self.argument("tap_table"), native.multiply(tap, 16))
            self.each_block(
                self.builder.sub(end, begin), self.most_pixels, self._channels_of(begin, taps, table)
            )
        native.finish()

    def _extremum(self, sign: str, left: Any, right: Any) -> Any:
        return self.builder.select(self.builder.icmp_signed(sign, left, right), left, right)

    def _channels_of(self, begin: Any, taps: Any, table: Any) -> Any:
        def body(first: Any, pixels: int) -> None:
            place = self.native.add(begin, first)
            vectors = 4 if pixels == 1 else 2
            usual = self.builder.icmp_signed("==", taps, constant(USUAL_TAPS))
            with self.builder.if_else(usual) as (written_out, looped):
                with written_out:
                    self._channels(_Block(place, pixels, vectors, USUAL_TAPS, table))
                with looped:
                    self._channels(_Block(place, pixels, vectors, taps, table))
            with self.builder.if_then(self._is_left(vectors)):
                self._rest(_Block(place, pixels, 1, taps, table), vectors)

        return body

    def _is_left(self, vectors: int) -> Any:
        channels = self.argument("channels")
        whole = self.native.remainder_begin(channels, vectors * self.native.lanes)
        return self.builder.icmp_signed("<", whole, channels)

    def _channels(self, block: _Block) -> None:
        native, channels = self.native, self.argument("channels")
        with native.loop(0, channels, block.vectors * native.lanes) as channel:
            self._block(channel, block)

    def _rest(self, block: _Block, vectors: int) -> None:
        """The channels that are no whole number of blocks: vector by vector, the last one masked."""
        native, channels = self.native, self.argument("channels")
        rest = native.remainder_begin(channels, vectors * native.lanes)
        with native.loop(rest, self.round_up(channels), native.lanes) as channel:
            mask = self.mask_of(self.builder.sub(channels, channel))
            self._block(channel, dataclasses.replace(block, mask=mask))

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

        if not isinstance(block.taps, int):
            return self.carry(block.taps, held, tap)
        for index in range(block.taps):
            held = tap(constant(index), held)
        return held

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
