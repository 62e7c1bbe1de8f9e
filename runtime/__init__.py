"""Runs compiled programs: loader, cache, arena, native instruction loop.

A `Program` is plain data; `Executable(program).run(inputs, variables)` runs it. Nothing here needs the
compiler. The names below are imported when they are first asked for, so that a program that only describes
models does not load LLVM.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.arena import aligned_empty
    from runtime.cache import CacheWarning, ObjectCache, default_cache
    from runtime.executor import Executable, KernelError
    from runtime.loader import LoadError
    from runtime.profile import InstructionTime, Profile
    from runtime.program import Buffer, Instruction, Kernel, Program, ProgramError
    from runtime.threads import get_num_threads, set_num_threads

_HOMES = {
    "Buffer": "program",
    "CacheWarning": "cache",
    "Executable": "executor",
    "Instruction": "program",
    "InstructionTime": "profile",
    "Kernel": "program",
    "KernelError": "executor",
    "LoadError": "loader",
    "ObjectCache": "cache",
    "Profile": "profile",
    "Program": "program",
    "ProgramError": "program",
    "aligned_empty": "arena",
    "default_cache": "cache",
    "get_num_threads": "threads",
    "set_num_threads": "threads",
}

__all__ = [
    "Buffer",
    "CacheWarning",
    "Executable",
    "Instruction",
    "InstructionTime",
    "Kernel",
    "KernelError",
    "LoadError",
    "ObjectCache",
    "Profile",
    "Program",
    "ProgramError",
    "aligned_empty",
    "default_cache",
    "get_num_threads",
    "set_num_threads",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'runtime' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"runtime.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
