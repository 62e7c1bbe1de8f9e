"""The vector micro-kernel: the one inner loop of every matrix product and convolution on the CPU.

It computes a tile of `rows x (vectors * lanes)` outputs that stays in registers,

    tile[i, j] (+)= sum over k of  A[row_table[i] + offsets[k]] * panel[k, j]

where A's element is addressed by the *sum of two tables* of byte offsets, one per tile row and one per step of
the sum. That one form covers strided and transposed matrices (offsets k * stride), convolutions forward and
backward at any stride and dilation (a row is an output pixel, a step a kernel tap and a channel) and kernel
gradients (a row is a tap and a channel, a step an output pixel), with no copy of A in the order of the sum.
The offset is one more load a step, which the load ports have to spare: measured at 99 % of the same loop with a
constant stride.

Each step loads `vectors` vectors of the panel, broadcasts one element a row and makes `rows * vectors` fused
multiply-adds (the register tiling of Goto and van de Geijn, "Anatomy of High-Performance Matrix
Multiplication", 2008). Tiles with fewer rows have code of their own; those with too few accumulators to hide
the latency of a multiply-add split the sum over several interleaved chains. One call does all rows that meet a panel,
and asks for memory to come meanwhile (`emit_tiles`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

from compiler.codegen.contraction_assembly import compile_to_assembly, make_native_intrinsic
from compiler.codegen.contraction_ir import CACHE_LINE, INT64, NativeFunction, constant
from compiler.target import Target

__all__ = [
    "AHEAD_PARAMETERS",
    "FULL_UNROLL",
    "MICRO_PARAMETERS",
    "STEPS_AHEAD",
    "SUM_PARAMETERS",
    "Tile",
    "TileCode",
    "call_variant",
    "choose_tile",
    "emit_microkernel",
    "emit_tiles",
    "make_microkernel",
    "microkernel_name",
]

# A multiply-add takes 4 cycles and two start in each: eight independent ones keep both units busy.
_CHAINS_IN_FLIGHT = 8
# Steps between the multiply-adds of few rows and the lines that they ask for. They read part of each row of the panel,
# which the processor foresees only in part: 784 x 128 from the second level, one row, in us: 5.9 without (9.2 where
# another process takes half of the cache), 5.6 (7.0) with 4 to 8 steps, 5.6 (8.5) with 32. Winograd with one image of
# 8 x 8 x 64, four rows, its kernel from the third level: 25.5 without, 22.8 with 8 to 64. The whole tile reads a panel
# often enough.
STEPS_AHEAD = 8
# Steps a turn of the tile with all its rows, which does nearly all of the work (6 x 16, operands in the first level: 94
# GFLOP/s with two, 97 with four); tiles with fewer rows stay small.
FULL_UNROLL = 4

# What to ask for while tiles are computed: see `emit_tiles`.
AHEAD_PARAMETERS = ("read_ahead", "read_step", "write_ahead", "write_stride")
SUM_PARAMETERS = (
    "rows",
    "base",
    "row_table",
    "offsets",
    "depth",
    "panel",
    "panel_stride",
    "tile",
    "tile_stride",
    "accumulate",
)
MICRO_PARAMETERS = (*SUM_PARAMETERS, *AHEAD_PARAMETERS)


@dataclasses.dataclass(frozen=True, slots=True)
class Tile:
    """The register tile: `rows` by `vectors` vectors of `lanes` elements of `dtype`."""

    dtype: str
    lanes: int
    rows: int
    vectors: int

    @property
    def columns(self) -> int:
        """Elements in one row of the tile."""
        return self.lanes * self.vectors


def choose_tile(dtype: str, target: Target) -> Tile:
    """The register tile for a target: accumulators, panel vectors and a broadcast fill the register file.

    With 16 registers, 6 x 2 vectors: 12 accumulators, 2 panel vectors, 1 broadcast; its 6 row addresses fit the
    general registers as well. With 32 registers, 14 x 2 where vectors are wide (two vectors of 16 float32 divide
    the usual channel counts, three do not) and 8 x 3 where they are narrow.
    """
    lanes = target.lanes(dtype)
    if target.vector_registers < 32:
        return Tile(dtype, lanes, rows=6, vectors=2)
    if target.vector_bytes >= 64:
        return Tile(dtype, lanes, rows=14, vectors=2)
    return Tile(dtype, lanes, rows=8, vectors=3)


@functools.cache
def make_microkernel(tile: Tile) -> Any:
    """The micro-kernel as a Numba intrinsic, with the parameters of `emit_microkernel`."""
    name = microkernel_name(tile)
    return make_native_intrinsic(name, MICRO_PARAMETERS, lambda: _microkernel_assembly(tile))


@functools.cache
def _microkernel_assembly(tile: Tile) -> str:
    return compile_to_assembly(lambda module: emit_microkernel(module, tile), microkernel_name(tile))


def microkernel_name(tile: Tile) -> str:
    """The name of a tile's native function."""
    return f"micro_{tile.dtype}_{tile.lanes}x{tile.rows}x{tile.vectors}"


def emit_microkernel(module: Any, tile: Tile, name: str = "") -> None:
    """Add the native function that computes the tiles of a panel, under its `microkernel_name` or another name.

    `rows`: rows to compute, any number. `base`: address added to every row's.
    `row_table`, `offsets`: addresses of int64 byte offsets, `rows` and `depth` of them.
    `panel`: address of `depth` rows of the tile's columns, `panel_stride` bytes apart.
    `tile`: address of the result's first row, `tile_stride` bytes before the next. With `accumulate` not zero,
    the sum is added to what it holds. A depth of zero writes zeros. The others, and what it gives back: `emit_tiles`.

    The order of a row's sum depends on `rows`, its place among them and `depth` alone.
    """
    emit_tiles(module, tile, name or microkernel_name(tile), MICRO_PARAMETERS, TileCode.store_sums)


def emit_tiles(
    module: Any, tile: Tile, name: str, parameters: Sequence[str], store: Callable[[TileCode], None]
) -> None:
    """Add a function that computes any number of rows: whole tiles in a loop, then a function for what is left.

    `store`: emits the code that computes a tile and stores it. Beside what this reads of the arguments there are
    those of memory to ask for. Memory from `read_ahead` on is read, `read_step` bytes further in each turn of the inner
    loop of whole tiles; where that has come to is what the function gives back. With a whole tile as many rows of
    memory are written as it has, from `write_ahead` on, `write_stride` bytes apart, those of the next tile after them.

    What a tile costs beside its multiply-adds matters where the sum is short: 32 steps of a tile of 6 x 16 take 192
    cycles; a call for each tile and calls that ask for memory between them took 60 more, for the processor reads on too
    slowly to keep the multiply-add units busy meanwhile.
    """
    for rows in range(1, tile.rows):
        native = NativeFunction(module, f"{name}_rows{rows}", parameters, tile.dtype, tile.lanes)
        store(TileCode(native, dataclasses.replace(tile, rows=rows), full=False, steps_ahead=STEPS_AHEAD))
        native.finish(native.arguments["read_ahead"])
    native = NativeFunction(module, name, parameters, tile.dtype, tile.lanes)
    ahead = native.builder.alloca(INT64)
    native.builder.store(native.arguments["read_ahead"], ahead)
    given = dict(native.arguments)
    whole = native.builder.sdiv(given["rows"], constant(tile.rows))
    with native.loop(0, whole) as turn:
        native.arguments |= _moved(native, given, native.multiply(turn, tile.rows))
        _ask_to_write(native, tile)
        store(TileCode(native, tile, full=True, turn=lambda: _ask_to_read(native, ahead)))
    done = native.multiply(whole, tile.rows)
    native.arguments = given | _moved(native, given, done)
    native.arguments |= {"rows": native.builder.sub(given["rows"], done), "read_ahead": native.builder.load(ahead)}
    call_variant(native, {rows: f"{name}_rows{rows}" for rows in range(1, tile.rows)})


def _moved(native: NativeFunction, given: dict[str, Any], rows: Any) -> dict[str, Any]:
    """The arguments that are other ones so many rows further down."""
    return {
        "row_table": native.add(given["row_table"], native.multiply(rows, 8)),
        "tile": native.add(given["tile"], native.multiply(rows, given["tile_stride"])),
        "write_ahead": native.add(given["write_ahead"], native.multiply(rows, given["write_stride"])),
    }


def _ask_to_write(native: NativeFunction, tile: Tile) -> None:
    for row in range(tile.rows):
        line = native.add(native.arguments["write_ahead"], native.multiply(native.arguments["write_stride"], row))
        for offset in range(0, tile.columns * native.size, CACHE_LINE):
            native.prefetch(native.add(line, offset), write=True)


def _ask_to_read(native: NativeFunction, ahead: Any) -> None:
    address = native.builder.load(ahead)
    native.prefetch(address, level=2)
    native.builder.store(native.add(address, native.arguments["read_step"]), ahead)


def call_variant(native: NativeFunction, variants: dict[int, str]) -> None:
    """Return what the function for so many rows gives back, of the same arguments; nothing is done for other rows."""
    builder = native.builder
    arguments = list(native.arguments.values())
    nothing = native.function.append_basic_block("nothing")
    switch = builder.switch(native.arguments["rows"], nothing)
    for rows, variant in variants.items():
        block = native.function.append_basic_block(f"rows{rows}")
        switch.add_case(constant(rows), block)
        builder.position_at_end(block)
        builder.ret(builder.call(builder.module.globals[variant], arguments, tail="musttail"))
    builder.position_at_end(nothing)
    native.finish(native.arguments.get("read_ahead"))


Accumulators = list[list[Any]]  # [row][vector]


class TileCode:
    """Emits the code of a tile with one number of rows where a function's builder stands.

    Of the function's arguments it reads those of `emit_microkernel`. Without `offsets` and `panel_stride` the elements
    of a row and the rows of the panel lie one behind the other, without `accumulate` a tile begins at zero.

    `steps_ahead`: how many steps before it is read the panel is asked for, 0 for not at all. `panel_vectors`: vectors
    of a panel where the tile reads several, which lie `panel_bytes` apart, another argument; 0 for a single one.
    `turn`: emits what goes with each turn of the unrolled loop.
    """

    def __init__(
        self,
        native: NativeFunction,
        tile: Tile,
        *,
        full: bool,
        steps_ahead: int = 0,
        panel_vectors: int = 0,
        turn: Callable[[], None] | None = None,
    ) -> None:
        self.native = native
        self.steps_ahead = steps_ahead
        self.turn = turn
        self.builder = native.builder
        self.tile = tile
        self.panel_vectors = panel_vectors or tile.vectors
        row_bytes = self.panel_vectors * tile.lanes * native.size
        self.panel_stride = native.arguments.get("panel_stride", constant(row_bytes))
        # Powers of two, so that the part of the depth that the unrolled loop covers is a mask.
        accumulators = tile.rows * tile.vectors
        self.chains = 1
        while accumulators * self.chains < _CHAINS_IN_FLIGHT:
            self.chains *= 2
        self.unroll = max(FULL_UNROLL if full else 2, self.chains)
        self.fma = native.vector_intrinsic(
            f"llvm.fma.v{tile.lanes}f{native.size * 8}", native.vector, [native.vector] * 3
        )
        table, base = native.arguments["row_table"], native.arguments["base"]
        self.row_addresses = [
            native.add(base, native.load(native.add(table, 8 * row), INT64)) for row in range(tile.rows)
        ]

    def sums(self) -> Accumulators:
        """Load or clear, unrolled loop, remainder, sum of the chains."""
        native, builder = self.native, self.builder
        depth = native.arguments["depth"]
        start = self._initial()
        spare = [[[native.zero_vector()] * self.tile.vectors for _ in start] for _ in range(self.chains - 1)]
        limit = native.remainder_begin(depth, self.unroll)
        step, panel, chains = self._loop((constant(0), native.arguments["panel"], [start, *spare]), limit, self.unroll)
        total = chains[0]
        for chain in chains[1:]:
            total = [
                [builder.fadd(left, right) for left, right in zip(*pair, strict=True)]
                for pair in zip(total, chain, strict=True)
            ]
        _, _, (total,) = self._loop((step, panel, [total]), depth, 1)
        return total

    def store_sums(self) -> None:
        """All of the tile, as it is."""
        for row, values in enumerate(self.sums()):
            for vector, value in enumerate(values):
                self.native.store(value, self.place(row, vector))

    def place(self, row: int, vector: int) -> Any:
        """The address of a vector of the result."""
        native = self.native
        row_offset = native.multiply(native.arguments["tile_stride"], row)
        return native.add(native.arguments["tile"], row_offset, vector * self.tile.lanes * native.size)

    def _initial(self) -> Accumulators:
        """The tile's content where the sum is to be added to it, zeros otherwise."""
        native, builder = self.native, self.builder
        if "accumulate" not in native.arguments:
            return [[native.zero_vector()] * self.tile.vectors for _ in range(self.tile.rows)]
        loading = native.function.append_basic_block("load_tile")
        ready = native.function.append_basic_block("ready")
        entry = builder.block
        accumulate = builder.icmp_signed("!=", native.arguments["accumulate"], constant(0))
        builder.cbranch(accumulate, loading, ready)
        builder.position_at_end(loading)
        held = [
            [native.load(self.place(row, vector), native.vector) for vector in range(self.tile.vectors)]
            for row in range(self.tile.rows)
        ]
        builder.branch(ready)
        builder.position_at_end(ready)
        zero = native.zero_vector()
        return [[self._phi([(value, loading), (zero, entry)]) for value in row] for row in held]

    def _loop(
        self, state: tuple[Any, Any, list[Accumulators]], limit: Any, unroll: int
    ) -> tuple[Any, Any, list[Accumulators]]:
        """Steps from the state's until `limit`, `unroll` a turn, dealt to the chains in order."""
        native, builder = self.native, self.builder
        first_step, first_panel, first_chains = state
        entry = builder.block
        body = native.function.append_basic_block("steps")
        done = native.function.append_basic_block("steps_done")
        builder.cbranch(builder.icmp_signed("<", first_step, limit), body, done)
        builder.position_at_end(body)
        step, panel = builder.phi(INT64), builder.phi(INT64)
        phis = [[[builder.phi(native.vector) for _ in row] for row in chain] for chain in first_chains]
        chains: list[Accumulators] = [[list(row) for row in chain] for chain in phis]
        stride = self.panel_stride
        for turn in range(unroll):
            chain = turn % len(chains)
            chains[chain] = self._step(
                native.add(step, turn), native.add(panel, native.multiply(stride, turn)), chains[chain]
            )
        if self.turn and unroll > 1:
            self.turn()
        next_step = native.add(step, unroll)
        next_panel = native.add(panel, native.multiply(stride, unroll))
        builder.cbranch(builder.icmp_signed("<", next_step, limit), body, done)
        incoming = [(step, first_step, next_step), (panel, first_panel, next_panel)]
        incoming += list(zip(_flat(phis), _flat(first_chains), _flat(chains), strict=True))
        for phi, before, after in incoming:
            phi.add_incoming(before, entry)
            phi.add_incoming(after, body)
        builder.position_at_end(done)
        last_step = self._phi([(first_step, entry), (next_step, body)])
        last_panel = self._phi([(first_panel, entry), (next_panel, body)])
        merged = [
            [
                [self._phi([(b, entry), (a, body)]) for b, a in zip(*rows, strict=True)]
                for rows in zip(*pair, strict=True)
            ]
            for pair in zip(first_chains, chains, strict=True)
        ]
        return last_step, last_panel, merged

    def _step(self, step: Any, panel: Any, accumulators: Accumulators) -> Accumulators:
        """One multiply-add of every accumulator."""
        native = self.native
        if "offsets" in native.arguments:
            offset = native.load(native.add(native.arguments["offsets"], native.multiply(step, 8)), INT64)
        else:
            offset = native.multiply(step, native.size)
        columns = [native.load(self._of_panels(panel, vector), native.vector) for vector in range(self.tile.vectors)]
        if self.steps_ahead:
            ahead = native.add(panel, native.multiply(self.panel_stride, self.steps_ahead))
            for vector in range(0, self.tile.vectors, max(1, CACHE_LINE // (self.tile.lanes * native.size))):
                native.prefetch(self._of_panels(ahead, vector))
        result = []
        for address, row in zip(self.row_addresses, accumulators, strict=True):
            element = native.broadcast(native.load(native.add(address, offset), native.scalar))
            result.append(
                [
                    self.builder.call(self.fma, [element, column, held])
                    for column, held in zip(columns, row, strict=True)
                ]
            )
        return result

    def _of_panels(self, first: Any, vector: int) -> Any:
        """Where a vector of the tile's columns lies, in the row of panels that begins at `first`."""
        native = self.native
        panel, vector = divmod(vector, self.panel_vectors)
        if panel:
            first = native.add(first, native.multiply(native.arguments["panel_bytes"], panel))
        return native.add(first, vector * self.tile.lanes * native.size)

    def _phi(self, incoming: Sequence[tuple[Any, Any]]) -> Any:
        phi = self.builder.phi(incoming[0][0].type)
        for value, block in incoming:
            phi.add_incoming(value, block)
        return phi


def _flat(chains: list[Accumulators]) -> list[Any]:
    return [value for chain in chains for row in chain for value in row]
