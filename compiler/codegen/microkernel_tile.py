"""The code of one register tile: its sums, with as few instructions beside the multiply-adds as possible.

Why they count: where another thread of the machine runs on the same core, this one seems to be given three
instructions a cycle, and a tile of 6 x 16, whose 12 multiply-adds take 6 cycles, may then have 18 a step. Kernels by
their instructions a step, in turn, one Zen 3 core, depth 128, operands in the first level; multiply-adds a nanosecond,
medians of the slower and the quicker half of 300 rounds (at best all reach 50):

    23.25, nothing but no-operations more than 20.75    38.1  41.3
    23.25, an offset read at each step, four a turn     39.7  43.3
    21.25, all elements of a row consecutive            41.8  43.6
    20.75, the same without asking for memory           44.2  45.1
    20.6,  and with, eight steps a turn                 44.1  45.8

So a turn has eight steps, and elements are found with what x86 and ARM add up in a load: see `Reach`. One training
step of a causal transformer of length 1024 on two threads, old and new in turn: 439 -> 416 ms, minima 391 -> 385.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

from compiler.codegen.contraction_ir import CACHE_LINE, INT64, NativeFunction, constant
from compiler.target import Target

__all__ = ["FULL_UNROLL", "HALF_UNROLL", "RUN", "Reach", "Tile", "TileCode", "choose_tile", "reach_parameters"]

# A multiply-add takes 4 cycles and two start in each: eight independent ones keep both units busy.
_CHAINS_IN_FLIGHT = 8
# Steps a turn of the tile with all its rows, which does nearly all of the work, and of the turn that follows where as
# many are left; tiles with fewer rows stay small.
FULL_UNROLL, HALF_UNROLL = 8, 4
# Steps of a run: see `Reach`.
RUN = 4

# How a tile finds its rows' elements, at base + row offset + what goes with the step:
# - table: the step's entry in `offsets`, a table of int64;
# - runs: so too, but RUN steps from each multiple of RUN on are elements one behind the other, which is one entry read;
# - rows: all of a row's elements lie one behind the other;
# - columns: the elements of a step do, `step_bytes` behind those of the step before: a matrix read by its columns;
# - strided: a row's elements lie `step_bytes` apart.
Reach = Literal["table", "runs", "rows", "columns", "strided"]
_PARAMETERS: dict[Reach, tuple[str, ...]] = {
    "table": ("offsets",),
    "runs": ("offsets",),
    "rows": (),
    "columns": ("step_bytes",),
    "strided": ("step_bytes",),
}


def reach_parameters(reach: Reach) -> tuple[str, ...]:
    """What a function takes so that its tiles find their elements."""
    return _PARAMETERS[reach]


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

    @property
    def least_columns(self) -> int:
        """From so many columns on a result is for the tile; with fewer, vectors run along the sum."""
        return min(self.lanes, self.columns // 2)


def choose_tile(dtype: str, target: Target) -> Tile:
    """The register tile for a target.

    With 16 registers, 6 x 2 vectors: 12 accumulators, 2 panel vectors, 1 broadcast; its 6 row addresses fit the
    general registers as well. With 32 narrow ones, 8 x 3.

    Where vectors are as long as a cache line, 8 x 1: each element is used once, so that a multiply-add reads it where
    it lies (12 and some 4 other instructions a step in all, in a tile of 12 rows), a panel of 16 float32 divides the
    usual channel counts, 8 row addresses fit the general registers, and rows that lie a page apart fit the 8 lines of
    a set of the first level. 14 x 2, which fills the register file, is half as fast: LLVM moves broadcasts up and
    spills them, and its 14 rows do not fit a set. On one Zen 4 core, GFLOP/s of 118, with 14 x 2, 12 x 1, 10 x 1 and
    8 x 1: 1024 x 1024 x 1024 49, 73, 102 and 101, a convolution of 16 x 16 x 64 to 64 49, 106, 111 and 112. Training
    steps of nine models on two, in turn, geometric mean of medians beside 8 x 1: 12 x 1 1.006, 6 x 2 1.033, and 6 x 2
    vectors of half the length 1.18; predictions 1.042, 1.087 and 1.099.
    """
    lanes = target.lanes(dtype)
    if target.vector_registers < 32:
        return Tile(dtype, lanes, rows=6, vectors=2)
    if target.vector_bytes >= CACHE_LINE:
        return Tile(dtype, lanes, rows=8, vectors=1)
    return Tile(dtype, lanes, rows=8, vectors=3)


Accumulators = list[list[Any]]  # [row][vector]
Positions = list[Any]
State = tuple[Positions, list[Accumulators]]


class TileCode:
    """Emits the code of a tile with one number of rows where a function's builder stands.

    Of the function's arguments it reads those of `emit_microkernel`. Without `panel_stride` the rows of the panel lie
    one behind the other, without `accumulate` a tile begins at zero.

    `unroll`: steps a turn of the loop, a power of two; more where there are few accumulators. `steps_ahead`: how many
    steps before it is read the panel is asked for, 0 for not at all. `panel_vectors`: vectors of a panel where the tile
    reads several, which lie `panel_bytes` apart, another argument; 0 for a single one. `turn`: emits what goes with
    each turn of the unrolled loop.
    """

    def __init__(
        self,
        native: NativeFunction,
        tile: Tile,
        *,
        reach: Reach,
        unroll: int,
        steps_ahead: int = 0,
        panel_vectors: int = 0,
        turn: Callable[[], None] | None = None,
    ) -> None:
        self.native = native
        self.reach = reach
        self.steps_ahead = steps_ahead
        self.turn = turn
        self.builder = native.builder
        self.tile = tile
        self.panel_vectors = panel_vectors or tile.vectors
        row_bytes = self.panel_vectors * tile.lanes * native.size
        self.panel_stride = native.arguments.get("panel_stride", constant(row_bytes))
        table, base = native.arguments["row_table"], native.arguments["base"]
        own = range(1 if reach == "columns" else tile.rows)
        self.row_addresses = [native.add(base, native.load(native.add(table, 8 * row), INT64)) for row in own]
        # Where a loop is, and how far each step takes it: an entry of the table or a step, the panel's row and, with
        # `step_bytes`, elements or their offset. An entry and a step would be one register too many.
        by_table = "offsets" in native.arguments
        self.begin = [native.arguments.get("offsets", constant(0)), native.arguments["panel"]]
        self.steps = [constant(8 if by_table else 1), self.panel_stride]
        if reach in ("columns", "strided"):
            self.begin += self.row_addresses if reach == "columns" else [constant(0)]
            self.steps.append(native.arguments["step_bytes"])
        # Powers of two, so that the part of the depth that the unrolled loop covers is a mask.
        accumulators = tile.rows * tile.vectors
        self.chains = 1
        while accumulators * self.chains < _CHAINS_IN_FLIGHT:
            self.chains *= 2
        self.unroll = max(unroll, self.chains)
        self.fma = native.vector_intrinsic(
            f"llvm.fma.v{tile.lanes}f{native.size * 8}", native.vector, [native.vector] * 3
        )

    def sums(self) -> Accumulators:
        """Load or clear, unrolled loop, sum of the chains, what is left of the steps."""
        native, builder = self.native, self.builder
        depth = native.arguments["depth"]
        start = self._initial()
        spare = [[[native.zero_vector()] * self.tile.vectors for _ in start] for _ in range(self.chains - 1)]
        limit = native.remainder_begin(depth, self.unroll)
        positions, chains = self._loop(self.begin, [start, *spare], limit, self.unroll)
        total = chains[0]
        for chain in chains[1:]:
            total = [
                [builder.fadd(left, right) for left, right in zip(*pair, strict=True)]
                for pair in zip(total, chain, strict=True)
            ]
        if self.unroll > HALF_UNROLL:
            limit = native.remainder_begin(depth, HALF_UNROLL)
            positions, (total,) = self._loop(positions, [total], limit, HALF_UNROLL)
        _, (total,) = self._loop(positions, [total], depth, 1)
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

    def _loop(self, positions: Positions, chains: list[Accumulators], limit: Any, unroll: int) -> State:
        """Steps from these positions until step `limit`, `unroll` a turn, dealt to the chains in order."""
        native, builder = self.native, self.builder
        limit = native.add(self.begin[0], native.multiply(limit, self.steps[0]))
        entry = builder.block
        body = native.function.append_basic_block("steps")
        done = native.function.append_basic_block("steps_done")
        builder.cbranch(builder.icmp_signed("<", positions[0], limit), body, done)
        builder.position_at_end(body)
        here = [builder.phi(INT64) for _ in positions]
        phis = [[[builder.phi(native.vector) for _ in row] for row in chain] for chain in chains]
        sums: list[Accumulators] = [[list(row) for row in chain] for chain in phis]
        elements: list[Any] = []
        for turn in range(unroll):
            elements = self._elements(here, turn, elements)
            sums[turn % len(sums)] = self._step(elements, self._along(here, 1, turn), sums[turn % len(sums)])
        if self.turn and unroll == self.unroll:
            self.turn()
        moves = zip(here, self.steps, strict=True)
        following = [native.add(place, native.multiply(step, unroll)) for place, step in moves]
        builder.cbranch(builder.icmp_signed("<", following[0], limit), body, done)
        before = [*positions, *_flat(chains)]
        carried = list(zip([*here, *_flat(phis)], before, [*following, *_flat(sums)], strict=True))
        for phi, first, last in carried:
            phi.add_incoming(first, entry)
            phi.add_incoming(last, body)
        builder.position_at_end(done)
        merged = [self._phi([(first, entry), (last, body)]) for _, first, last in carried]
        rest = iter(merged[len(here) :])
        return merged[: len(here)], [[[next(rest) for _ in row] for row in chain] for chain in chains]

    def _along(self, here: Positions, which: int, turn: int) -> Any:
        """A position `turn` steps further."""
        native = self.native
        # So that no more multiples of its step than 2 and 3 are needed at a time.
        far = native.add(here[which], native.multiply(self.steps[which], turn // RUN * RUN))
        return native.add(far, native.multiply(self.steps[which], turn % RUN))

    def _elements(self, here: Positions, turn: int, before: Sequence[Any]) -> list[Any]:
        """The addresses of the rows' elements `turn` steps behind these positions; `before`: a step earlier."""
        native = self.native
        if self.reach == "columns":
            place = self._along(here, 2, turn)
            return [native.add(place, row * native.size) for row in range(self.tile.rows)]
        if self.reach == "strided":
            return [native.add(row, self._along(here, 2, turn)) for row in self.row_addresses]
        if self.reach == "rows":
            offset = native.multiply(here[0], native.size)
            return [native.add(native.add(row, offset), turn * native.size) for row in self.row_addresses]
        if self.reach == "runs" and turn % RUN:
            return [native.add(element, native.size) for element in before]
        offset = native.load(native.add(here[0], turn * 8), INT64)
        return [native.add(row, offset) for row in self.row_addresses]

    def _step(self, elements: Sequence[Any], panel: Any, accumulators: Accumulators) -> Accumulators:
        """One multiply-add of every accumulator."""
        native = self.native
        columns = [native.load(self._of_panels(panel, vector), native.vector) for vector in range(self.tile.vectors)]
        if self.steps_ahead:
            ahead = native.add(panel, native.multiply(self.panel_stride, self.steps_ahead))
            for vector in range(0, self.tile.vectors, max(1, CACHE_LINE // (self.tile.lanes * native.size))):
                native.prefetch(self._of_panels(ahead, vector))
        result = []
        for address, row in zip(elements, accumulators, strict=True):
            element = native.broadcast(native.load(address, native.scalar))
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
