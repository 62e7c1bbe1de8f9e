"""How long blocks of an arena must and had better keep their contents."""

from __future__ import annotations

from runtime import Buffer, Instruction, Kernel, Program
from runtime.placement import Life

KERNEL = Kernel("none", "0" * 64, "none", b"")


def program(*calls: tuple[tuple[int, ...], tuple[int, ...]], blocks: int) -> Program:
    """Instructions given by the buffers that they read and write: buffer 0 is the input, i the arena's block i - 1."""
    buffers = [Buffer("x", "float32", (8,), "input")]
    buffers += [Buffer(f"v{i}", "float32", (8,), "arena", i) for i in range(blocks)]
    instructions = [Instruction(0, (*reads, *writes), reads=len(reads)) for reads, writes in calls]
    return Program("lives", (), tuple(buffers), (0,), (), (), tuple(instructions), (KERNEL,))


def test_a_block_had_better_outlast_what_runs_beside_its_last_reader() -> None:
    lives = program(((0,), (1,)), ((1,), (2,)), ((0,), (3,)), ((2, 3), (4,)), blocks=4).lives
    assert lives == (Life(0, 1, False, 2), Life(1, 3, False, 3), Life(2, 3, False, 3), Life(3, 3, False, 3))


def test_memory_of_its_own_lets_independent_instructions_run_beside_each_other() -> None:
    chain = program(((0,), (1,)), ((1,), (2,)), ((0,), (3,)), ((2, 3), (4,)), ((4,), (5, 6, 7)), blocks=7)
    offsets = chain.placement([32] * 8).offsets
    assert offsets[2] != offsets[0], "instruction 2 would have to wait until 1 has read block 0"


def test_one_after_the_other_nothing_is_kept_for_longer() -> None:
    lives = program(((0,), (1,)), ((1,), (2,)), ((2,), (3,)), blocks=3).lives
    assert [life.until for life in lives] == [life.last for life in lives]
