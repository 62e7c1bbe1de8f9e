"""What kernels in Numba's CUDA simulator see as `cuda`, and the function that a simulated launch calls.

Two things differ from Numba's own. Shared arrays: the simulator looks whether another thread has made an array and
if not makes it, in two steps between which threads may change, and once in a while a block has two arrays in the
place of one. And warnings: each thread of the simulator is a Python thread with NumPy's default error state, so a
kernel that divides by zero would warn where a GPU just gives infinity.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np

ENTRY = """
def entry(*arguments):
    with quiet(all="ignore"):
        kernel(*arguments)
"""


class SimulatedCuda:
    """The names of `cuda` inside a running kernel."""

    def __init__(self) -> None:
        simulator: Any = importlib.import_module("numba.cuda.simulator.kernel")
        self._context = simulator._get_kernel_context
        self.shared = SimulatedShared(self._context)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context(), name)


class SimulatedShared:
    """Shared memory: one array for each line of the kernel that asks for one."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def array(self, shape: int | tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        """The block's array, first filled with what shows if it is read before it is written."""
        arrays = vars(self._context()).setdefault("shared_arrays", {})
        unwritten = np.full(shape, np.nan if np.issubdtype(dtype, np.floating) else np.iinfo(dtype).max, dtype)
        # `setdefault` of a dictionary is one step: all threads get the array of the first.
        return arrays.setdefault(sys._getframe(1).f_lineno, unwritten)  # type: ignore[no-any-return]


def simulated_entry(scope: dict[str, Any]) -> Any:
    """The quiet function around the `kernel` of a scope."""
    scope["quiet"] = np.errstate
    exec(ENTRY, scope)
    return scope["entry"]
