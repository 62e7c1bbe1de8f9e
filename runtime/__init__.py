"""Runs compiled programs: loader, cache, arena, native instruction loop.

A `Program` is plain data; `Executable(program).run(inputs, variables)` runs it. Nothing here needs the
compiler.
"""

from runtime.arena import aligned_empty
from runtime.cache import CacheWarning, ObjectCache, default_cache
from runtime.executor import Executable, KernelError
from runtime.loader import LoadError, host_target
from runtime.profile import InstructionTime, Profile
from runtime.program import Buffer, Instruction, Kernel, Program, ProgramError
from runtime.threads import get_num_threads, set_num_threads

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
    "host_target",
    "set_num_threads",
]
