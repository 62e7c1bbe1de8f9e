"""Give every computed value a block of the arena.

A result takes the memory of an operand that dies with it where the kernel reads that operand only at the index it
writes; aliases cost nothing; outputs and updates are written where they belong. Values that took each other's memory
so are one block. Where in the arena a block lies is decided by `runtime.placement` for each value of the symbols:
blocks whose lives do not meet share memory, and which of them are larger depends on the batch size. Nothing but the
offsets depends on it, so one program serves every batch size, and no result depends on the offsets.

What kernels that run once make for others (see `compiler.preparation`) lies at the beginning of the arena, at the same
place for every batch size, and is never overwritten.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from compiler.ir import Graph, Node, Value
from compiler.ops.scan import Scan
from compiler.passes.context import PassContext
from compiler.passes.schedule import TYPICAL_EXTENT
from compiler.preparation import kept_values
from compiler.storage import in_place_pairs, is_kernel, is_state, last_uses, root_of
from runtime.dimensions import Dim, evaluate, symbols_of
from runtime.placement import Life, Placement, place


@dataclasses.dataclass(frozen=True, slots=True)
class Slot:
    """One value's place: `size` bytes of a block while the kernels `first .. last` run, counted from 0."""

    value: Value
    block: int
    size: Dim
    first: int
    last: int
    reuses: Value | None = None  # the operand whose memory the value took


@dataclasses.dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Blocks of all computed values that are neither outputs nor updates."""

    slots: tuple[Slot, ...]
    sizes: tuple[Dim, ...]  # of the blocks, in bytes
    lives: tuple[Life, ...]
    direct: dict[Value, str]  # values written straight to an output or a variable

    def at(self, values: Mapping[str, int]) -> Placement:
        """Where the blocks lie when the symbols have these values: what a program that is run so uses."""
        return place([evaluate(size, values) for size in self.sizes], self.lives)

    @property
    def typical(self) -> Placement:
        """Where the blocks lie with every symbol at its typical extent."""
        symbols = frozenset[str]().union(*(symbols_of(size) for size in self.sizes))
        return self.at(dict.fromkeys(symbols, TYPICAL_EXTENT))

    @property
    def prepared_bytes(self) -> int:
        """What is made once and kept, at the beginning of the arena; no symbol changes it."""
        kept = [size for size, life in zip(self.sizes, self.lives, strict=True) if life.kept]
        return sum(evaluate(size, {}) for size in kept)


@dataclasses.dataclass(slots=True)
class _Block:
    """Values of one size that share one place because each takes over the memory of the one before."""

    number: int
    size: Dim
    life: Life


def plan_memory(graph: Graph, context: PassContext) -> Graph:
    """Plan the arena; the plan goes to `context.memory`, the graph stays."""
    direct = {root_of(v): f"output {name}" for name, v in graph.outputs}
    direct |= {root_of(v): f"variable {name}" for name, v in graph.updates}
    planner = _Planner(direct)
    planner.plan(graph, kept_values(graph))
    blocks = planner.blocks
    context.memory = MemoryPlan(
        tuple(planner.slots), tuple(block.size for block in blocks), tuple(block.life for block in blocks), direct
    )
    return graph


class _Planner:
    """Gives the values of a graph, and of the bodies of its loops, their blocks."""

    def __init__(self, direct: dict[Value, str]) -> None:
        self.direct = direct
        self.blocks: list[_Block] = []
        self.slots: list[Slot] = []

    def plan(self, graph: Graph, kept: frozenset[Value] = frozenset(), first: int = 0) -> None:
        """Add the values of a graph whose kernels are counted from `first` on."""
        last, end = _last_kernels(graph, kept, first)
        block_of: dict[Value, _Block] = {}
        position = first
        for node in filter(is_kernel, graph.nodes):
            pairs = in_place_pairs(node)
            claimed: set[Value] = set()
            after = position + _width(node)
            for value in node.outputs:
                if value in self.direct:
                    continue
                is_kept = value in kept
                life = Life(first, end, True) if is_kept else Life(position, max(last.get(value, position), after - 1))
                donor = None if is_kept else _donor(node.inputs, value, pairs, block_of, last, position, claimed)
                if donor is None:
                    block = _Block(len(self.blocks), _size(node, value), life)
                    self.blocks.append(block)
                else:
                    claimed.add(donor)
                    block = block_of[donor]
                    block.life = Life(block.life.first, life.last)
                block_of[value] = block
                self.slots.append(Slot(value, block.number, block.size, life.first, life.last, donor))
            if isinstance(node.op, Scan):
                self._plan_body(node.op, position)
            position = after

    def _plan_body(self, scan: Scan, position: int) -> None:
        # What a body gives is written to rows and stacks, which live outside of it.
        outside = {root_of(value): "a window" for value in scan.body.results}
        self.direct |= outside
        begin = position + scan.states + (_fillings(scan) if scan.reverse else 0)
        self.plan(scan.body, first=begin)
        for value in outside:
            del self.direct[value]


def _size(node: Node, value: Value) -> Dim:
    """Bytes of a value's block: a state that is not kept has two rows."""
    is_carried = isinstance(node.op, Scan) and is_state(value) and not node.op.kept[value.index]
    return value.type.size_in_bytes * (2 if is_carried else 1)


def _fillings(scan: Scan) -> int:
    """Kernels that fill the rows and stacks of steps beyond the limit."""
    return len(scan.body.outputs) if scan.limited else 0


def _width(node: Node) -> int:
    """How many kernels a node is: a loop's initial states are copied, and its body counts once."""
    if not isinstance(node.op, Scan):
        return 1
    return node.op.states + _fillings(node.op) + sum(map(is_kernel, node.op.body.nodes))


def _last_kernels(graph: Graph, kept: frozenset[Value], first: int) -> tuple[dict[Value, int], int]:
    """The last kernel that reads each value, and the number after the last; results live past it.

    What runs once keeps its memory for good, so it is nobody's to take.
    """
    ends = []
    number = first
    for node in graph.nodes:
        number += _width(node) if is_kernel(node) else 0
        ends.append(number - 1)
    ends.append(number)
    last = {value: ends[position] for value, position in last_uses(graph).items()}
    return last | dict.fromkeys(kept, number), number


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
