"""Where the blocks of an arena lie: never two at one byte while both are alive, and near the lower bound."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import Buffer, Instruction, Kernel, Program
from runtime.dimensions import symbol
from runtime.placement import Life, Placement, place

N, M = symbol("n"), symbol("m")
KERNEL = Kernel("none", "0" * 64, "none", b"")


@st.composite
def blocks(draw: st.DrawFn) -> tuple[list[int], list[Life]]:
    count = draw(st.integers(0, 24))
    sizes = draw(st.lists(st.integers(0, 5000), min_size=count, max_size=count))
    lives = []
    for _ in range(count):
        first, last = sorted(draw(st.tuples(st.integers(0, 20), st.integers(0, 20))))
        until = draw(st.sampled_from((-1, last, last + 1, last + 4)))
        lives.append(Life(first, last, draw(st.sampled_from((False,) * 5 + (True,))), until))
    return sizes, lives


def alive_at_once(one: Life, other: Life) -> bool:
    return one.kept or other.kept or any(other.first <= t <= other.last for t in range(one.first, one.last + 1))


def bound_of(sizes: list[int], lives: list[Life]) -> int:
    """Counted instruction by instruction."""
    times = range(22)
    return max(
        sum(size for size, life in zip(sizes, lives, strict=True) if life.kept or life.first <= t <= life.last)
        for t in times
    )


@given(blocks())
def test_blocks_that_are_alive_at_once_lie_apart(given_blocks: tuple[list[int], list[Life]]) -> None:
    sizes, lives = given_blocks
    found = place(sizes, lives)
    ends = [offset + size for offset, size in zip(found.offsets, sizes, strict=True)]
    assert all(offset % 64 == 0 for offset in found.offsets)
    assert all(end <= found.size for end in ends)
    assert found.size % 64 == 0
    assert found.bound == bound_of(sizes, lives) <= found.size
    for one, other in itertools.combinations(range(len(sizes)), 2):
        if alive_at_once(lives[one], lives[other]) and sizes[one] and sizes[other]:
            assert ends[one] <= found.offsets[other] or ends[other] <= found.offsets[one]


@given(blocks(), st.randoms(use_true_random=False))
def test_kept_blocks_lie_where_they_lie_whatever_the_others_need(
    given_blocks: tuple[list[int], list[Life]], choice: random.Random
) -> None:
    sizes, lives = given_blocks
    others = [size if life.kept else choice.randrange(9000) for size, life in zip(sizes, lives, strict=True)]
    places = [place(some, lives).offsets for some in (sizes, others)]
    kept = [[offset for offset, life in zip(found, lives, strict=True) if life.kept] for found in places]
    assert kept[0] == kept[1]


@given(blocks())
def test_what_had_better_keep_its_memory_costs_none(given_blocks: tuple[list[int], list[Life]]) -> None:
    sizes, lives = given_blocks
    found, plain = place(sizes, lives), place(sizes, [life._replace(until=-1) for life in lives])
    assert found.size <= plain.size
    assert found.bound == plain.bound


def test_memory_is_kept_as_long_as_is_wished_where_there_is_room() -> None:
    wish, next_one, large = Life(0, 1, until=2), Life(2, 3), Life(5, 5)
    assert place([64, 64, 128], [wish, next_one, large]).offsets == (0, 64, 0)
    assert place([64, 64, 64], [wish, next_one, large]).offsets == (0, 0, 0)
    assert place([64, 64, 128], [wish._replace(until=1), next_one, large]).offsets == (0, 0, 0)


def test_nothing_needs_nothing() -> None:
    assert place([], []) == Placement((), 0, 0)
    assert place([], []).ratio == 1.0
    assert place([0, 0], [Life(0, 1), Life(0, 0, True)]).size == 0


def test_one_after_the_other_share_a_place() -> None:
    found = place([100, 6400, 60], [Life(0, 1), Life(2, 3), Life(4, 9)])
    assert found == Placement((0, 0, 0), 6400, 6400)


@pytest.mark.parametrize(
    ("sizes", "lives"),
    [
        ([64, 128, 64, 64], [(4, 5), (5, 5), (3, 4), (0, 1)]),  # by size
        ([64, 256, 128, 192], [(3, 5), (4, 4), (1, 3), (1, 2)]),  # by size and length of life
        ([256, 256, 64, 64], [(0, 3), (5, 5), (4, 5), (1, 4)]),  # by length of life
    ],
)
def test_each_order_is_the_only_one_to_reach_the_bound_somewhere(
    sizes: list[int], lives: list[tuple[int, int]]
) -> None:
    assert place(sizes, [Life(*life) for life in lives]).ratio == 1.0


@pytest.mark.parametrize("seed", range(8))
def test_a_step_forward_and_backward_is_near_its_bound(seed: int) -> None:
    """Lives as training has them: what the forward sweep makes is read again in the reverse order."""
    choice = random.Random(seed)
    layers = 80
    lives = [Life(layer, 2 * layers - layer) for layer in range(layers)]
    lives += [Life(position, position + choice.randrange(1, 4)) for position in range(2 * layers)]
    sizes = [choice.choice((64, 256, 40_000, 160_000)) * choice.randrange(1, 5) for _ in lives]
    assert place(sizes, lives).ratio <= 1.05


class Memory:
    """The bytes of an arena, each with the number of the write that it is from."""

    def __init__(self) -> None:
        self.writers = np.zeros(0, np.int64)
        self.writes = 0

    def run(self, program: Program, values: dict[str, int], first: int, contents: dict[int, int]) -> None:
        """Run from an instruction on; `contents` says which write each block must hold, before and after."""
        sizes = [program.buffer_bytes(index, values) for index in range(len(program.buffers))]
        found = program.placement(sizes)
        if found.size > self.writers.size:
            self.writers = np.concatenate([self.writers, np.zeros(found.size - self.writers.size, np.int64)])
        for call in program.instructions[first:]:
            for position, operand in enumerate(call.operands):
                block = program.buffers[operand].place
                held = self.writers[found.offsets[block] : found.offsets[block] + sizes[operand]]
                if position < call.reads:
                    assert (held == contents[block]).all(), "an instruction reads what another one has overwritten"
                else:
                    self.writes += 1
                    held[:] = contents[block] = self.writes


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Programs that read only what they have written in the same run, or prepared."""
    blocks = draw(st.integers(1, 10))
    prepared = draw(st.integers(0, 3))
    shapes = draw(st.lists(st.sampled_from([(N,), (M, 3), (40,), (500,), (N, 7)]), min_size=blocks, max_size=blocks))
    made: list[int] = []
    kept: frozenset[int] = frozenset()
    calls: list[Instruction] = []
    for position in range(prepared + draw(st.integers(1, 14))):
        if position == prepared:
            kept = frozenset(made)
        read = draw(st.lists(st.sampled_from(made), max_size=3, unique=True)) if made else []
        fixed = [block for block in range(blocks) if len(shapes[block]) == 1 and shapes[block][0] in (40, 500)]
        free = [block for block in (fixed if position < prepared else range(blocks)) if block not in {*read, *kept}]
        written = draw(st.lists(st.sampled_from(free), max_size=2, unique=True)) if free else []
        made += [block for block in written if block not in made]
        calls.append(Instruction(0, tuple(2 + block for block in (*read, *written)), reads=len(read)))
    buffers = (
        Buffer("n", "int8", (N,), "input"),
        Buffer("m", "int8", (M,), "input"),
        *(Buffer(f"b{block}", "float32", shape, "arena", block) for block, shape in enumerate(shapes)),
    )
    return Program("random", ("m", "n"), buffers, (0, 1), (), (), tuple(calls), (KERNEL,), prepared=prepared)


@given(programs(), st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=4))
def test_instructions_find_what_was_written_for_them(program: Program, sizes: list[tuple[int, int]]) -> None:
    memory, contents = Memory(), dict[int, int]()
    for run, (n, m) in enumerate(sizes):
        # Prepared instructions run once; what they keep outlasts runs with other sizes.
        memory.run(program, {"n": n, "m": m}, program.prepared if run else 0, contents)
