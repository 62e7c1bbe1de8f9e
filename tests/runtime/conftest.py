"""Kernels made by hand, and programs of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from runtime import Buffer, Instruction, Program, get_num_threads, set_num_threads
from runtime.dimensions import symbol


@pytest.fixture(scope="session")
def native() -> ModuleType:
    """The module native_kernels.py beside this file; tests are no package, so it is loaded by its path."""
    path = Path(__file__).with_name("native_kernels.py")
    specification = importlib.util.spec_from_file_location("runtime_native_kernels", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Programs run on two threads during the test, whatever the machine has."""
    before = get_num_threads()
    set_num_threads(2)
    yield
    set_num_threads(before)


@pytest.fixture
def chain(native: ModuleType) -> Callable[..., Program]:
    """`chain(steps)`: y = x; then y = a*y + step for each step, through two blocks of the arena; then row sums."""

    def make(steps: int = 3, columns: int = 4) -> Program:
        batch = symbol("batch")
        buffers = [
            Buffer("a", "float32", (1,), "variable"),
            Buffer("x", "float32", (batch, columns), "input"),
            Buffer("even", "float32", (batch, columns), "arena", 0),
            Buffer("odd", "float32", (batch, columns), "arena", 1),
            Buffer("y", "float32", (batch, columns), "output"),
            Buffer("sums", "float32", (batch,), "output"),
        ]
        instructions = []
        source = 1
        for step in range(steps):
            target = 4 if step == steps - 1 else 2 + step % 2
            instructions.append(Instruction(0, (0, source, target), (step,), batch * columns, 0, f"step {step}"))
            source = target
        instructions.append(Instruction(1, (4, 5), (columns,), batch, 64, "row sums"))
        return Program(
            name="chain",
            symbols=("batch",),
            buffers=tuple(buffers),
            inputs=(1,),
            variables=(0,),
            outputs=(4, 5),
            instructions=tuple(instructions),
            kernels=(native.kernel(native.AXPB, "axpb"), native.kernel(native.ROW_SUM, "row_sum")),
        )

    return make
