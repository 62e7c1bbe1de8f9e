"""Give every computed value a place in one arena.

Values whose lifetimes do not meet share memory; a result takes the memory of an operand that dies with it where
the kernel reads that operand only at the index it writes; aliases cost nothing; outputs and updates are
written where they belong. Sizes are expressions in the batch symbol, and so are the offsets: values are
sorted into classes by what their size is a multiple of (1, batch, batch*height, ...), each class is packed in
units of that (Pisarchyk and Lee 2020, greedy by size), and the classes stand one behind the other. One plan
therefore serves every batch size.

What kernels that run once make for others (see `compiler.preparation`) lies at the beginning of the arena, at the same
place for every batch size, and is never overwritten.
"""

from __future__ import annotations

import dataclasses

from compiler.ir import Graph, Value
from compiler.passes.context import PassContext
from compiler.passes.schedule import TYPICAL_EXTENT, typical_bytes
from compiler.preparation import kept_values
from compiler.storage import in_place_pairs, is_kernel, last_uses, root_of
from runtime.dimensions import Dim, SymbolicInt, align_up, evaluate, symbols_of

ALIGNMENT = 64
_KEPT = "kept"


@dataclasses.dataclass(frozen=True, slots=True)
class Slot:
    """One value's place: bytes `offset .. offset + size` of the arena while nodes `first .. last` run."""

    value: Value
    offset: Dim
    size: Dim
    first: int
    last: int
    reuses: Value | None = None  # the operand whose memory the value took


@dataclasses.dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Places of all computed values that are neither outputs nor updates."""

    slots: tuple[Slot, ...]
    arena_bytes: Dim
    direct: dict[Value, str]  # values written straight to an output or a variable
    live_peak: int  # largest sum alive at once, at typical extents: the lower bound of any plan
    prepared_bytes: int = 0  # what is made once and kept, at the beginning of the arena

    @property
    def typical_bytes(self) -> int:
        """Arena size with every symbol at its typical extent."""
        return evaluate(self.arena_bytes, dict.fromkeys(symbols_of(self.arena_bytes), TYPICAL_EXTENT))

    @property
    def ratio(self) -> float:
        """Arena size over its lower bound; 1.0 is perfect."""
        return self.typical_bytes / self.live_peak if self.live_peak else 1.0


@dataclasses.dataclass(slots=True)
class _Block:
    """Values that share one place because each takes over the memory of the one before."""

    unit: SymbolicInt | int
    count: int
    spans: list[tuple[int, int]]
    values: list[Value]
    offset: int = 0


def plan_memory(graph: Graph, context: PassContext) -> Graph:
    """Plan the arena; the plan goes to `context.memory`, the graph stays."""
    direct = {root_of(v): f"output {name}" for name, v in graph.outputs}
    direct |= {root_of(v): f"variable {name}" for name, v in graph.updates}
    kept = kept_values(graph)
    blocks, taken_from = _blocks(graph, direct, kept)
    classes: dict[SymbolicInt | int | str, list[_Block]] = {_KEPT: []}
    for block in blocks:
        classes.setdefault(_KEPT if block.values[0] in kept else block.unit, []).append(block)
    slots: list[Slot] = []
    start: Dim = 0
    prepared_bytes = sum(block.count for block in classes[_KEPT])
    for members in classes.values():
        total, unit = _pack(members), members[0].unit if members else 1
        for block in members:
            for value, (first, last) in zip(block.values, block.spans, strict=True):
                place = start + block.offset * unit
                slots.append(Slot(value, place, value.type.size_in_bytes, first, last, taken_from.get(value)))
        start = start + total * unit
    bound = _live_peak(blocks, len(graph.nodes))
    ordered = tuple(sorted(slots, key=lambda slot: slot.first))
    context.memory = MemoryPlan(ordered, start, direct, bound, prepared_bytes)
    return graph


def _live_peak(blocks: list[_Block], length: int) -> int:
    """The largest sum of bytes alive while one node runs, at typical extents; padding not counted."""
    change = [0] * (length + 2)
    for block in blocks:
        size = max(typical_bytes(value) for value in block.values)
        change[block.spans[0][0]] += size
        change[max(last for _, last in block.spans) + 1] -= size
    alive, peak = 0, 0
    for step in change:
        alive += step
        peak = max(peak, alive)
    return peak


def _blocks(graph: Graph, direct: dict[Value, str], kept: frozenset[Value]) -> tuple[list[_Block], dict[Value, Value]]:
    last = last_uses(graph) | dict.fromkeys(kept, len(graph.nodes))
    block_of: dict[Value, _Block] = {}
    blocks: list[_Block] = []
    taken_from: dict[Value, Value] = {}
    for position, node in enumerate(graph.nodes):
        if not is_kernel(node):
            continue
        pairs = in_place_pairs(node)
        claimed: set[Value] = set()
        for value in node.outputs:
            if value in direct:
                continue
            span = (0 if value in kept else position, max(last.get(value, position), position))
            donor = None if value in kept else _donor(node.inputs, value, pairs, block_of, last, position, claimed)
            if donor is not None:
                claimed.add(donor)
                block = block_of[donor]
                block.spans[block.values.index(donor)] = (block.spans[block.values.index(donor)][0], position)
                block.values.append(value)
                block.spans.append(span)
                taken_from[value] = donor
            else:
                unit, count = _unit_and_count(value.type.size_in_bytes)
                block = _Block(unit, count, [span], [value])
                blocks.append(block)
            block_of[value] = block
    return blocks, taken_from


def _donor(
    inputs: tuple[Value, ...],
    value: Value,
    pairs: list[tuple[int, int]],
    block_of: dict[Value, _Block],
    last: dict[Value, int],
    position: int,
    claimed: set[Value],
) -> Value | None:
    """An operand in the arena that dies here and that the result may overwrite."""
    for i, j in pairs:
        donor = root_of(inputs[i])
        if j != value.index or donor not in block_of or donor in claimed or last[donor] != position:
            continue
        # Another operand may be an alias of the same memory, read at other indices.
        others = [k for k, v in enumerate(inputs) if root_of(v) is donor]
        if all((k, j) in pairs for k in others) and donor.type.size_in_bytes == value.type.size_in_bytes:
            return donor
    return None


def _unit_and_count(size: Dim) -> tuple[SymbolicInt | int, int]:
    """A size as count * unit with the count a multiple of the alignment.

    Where that would waste more than an eighth, as 4 bytes a batch element would, the padded size itself is the unit.
    """
    if isinstance(size, int):
        return 1, int(align_up(size, ALIGNMENT))
    if len(size.terms) == 1:
        count = size.terms[0][1]
        unit = size // count
        rounded = int(align_up(count, ALIGNMENT))
        if isinstance(unit, SymbolicInt) and 8 * rounded <= 9 * count:
            return unit, rounded
    padded = align_up(size, ALIGNMENT)
    return (padded, 1) if isinstance(padded, SymbolicInt) else (1, padded)


def _pack(blocks: list[_Block]) -> int:
    """Offsets by size, largest first, each at the lowest place that is free throughout its life."""
    placed: list[_Block] = []
    total = 0
    for block in sorted(blocks, key=lambda block: (-block.count, block.spans[0])):
        busy = sorted((other.offset, other.offset + other.count) for other in placed if _meet(block.spans, other.spans))
        offset = 0
        for start, stop in busy:
            if offset + block.count <= start:
                break
            offset = max(offset, stop)
        block.offset = offset
        placed.append(block)
        total = max(total, offset + block.count)
    return total


def _meet(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> bool:
    first, last = left[0][0], max(stop for _, stop in left)
    return first <= max(stop for _, stop in right) and right[0][0] <= last
