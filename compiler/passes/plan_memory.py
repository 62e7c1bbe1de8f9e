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

from compiler.ir import Graph, Value
from compiler.passes.context import PassContext
from compiler.passes.schedule import TYPICAL_EXTENT
from compiler.preparation import kept_values
from compiler.storage import in_place_pairs, is_kernel, last_uses, root_of
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
    slots, blocks = _slots_and_blocks(graph, direct)
    context.memory = MemoryPlan(
        tuple(slots), tuple(block.size for block in blocks), tuple(block.life for block in blocks), direct
    )
    return graph


def _slots_and_blocks(graph: Graph, direct: dict[Value, str]) -> tuple[list[Slot], list[_Block]]:
    kept = kept_values(graph)
    last, kernels = _last_kernels(graph)
    block_of: dict[Value, _Block] = {}
    blocks: list[_Block] = []
    slots: list[Slot] = []
    for position, node in enumerate(filter(is_kernel, graph.nodes)):
        pairs = in_place_pairs(node)
        claimed: set[Value] = set()
        for value in node.outputs:
            if value in direct:
                continue
            size, is_kept = value.type.size_in_bytes, value in kept
            life = Life(0, kernels, True) if is_kept else Life(position, last.get(value, position))
            donor = None if is_kept else _donor(node.inputs, value, pairs, block_of, last, position, claimed)
            if donor is None:
                block = _Block(len(blocks), size, life)
                blocks.append(block)
            else:
                claimed.add(donor)
                block = block_of[donor]
                block.life = Life(block.life.first, life.last)
            block_of[value] = block
            slots.append(Slot(value, block.number, size, life.first, life.last, donor))
    return slots, blocks


def _last_kernels(graph: Graph) -> tuple[dict[Value, int], int]:
    """The last kernel that reads each value, counted from 0, and the number of kernels; results live past the last.

    What runs once keeps its memory for good, so it is nobody's to take.
    """
    number_of = [0]
    for node in graph.nodes:
        number_of.append(number_of[-1] + is_kernel(node))
    last = {value: number_of[position] for value, position in last_uses(graph).items()}
    return last | dict.fromkeys(kept_values(graph), number_of[-1]), number_of[-1]


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
