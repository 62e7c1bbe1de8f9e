"""What an engine must do for its worker."""

from __future__ import annotations

import abc
import sys
from collections.abc import Callable

from benchmarks.workloads import Task

Step = Callable[[], object]


class Engine(abc.ABC):
    """One framework in one process, on a fixed number of threads.

    Attributes:
        modules: whose versions are reported.
        steps_in_a_call: how many steps of the task one call of the function makes that was prepared last. A step of a
            generator is a token.
    """

    modules: tuple[str, ...] = ()
    steps_in_a_call = 1

    @abc.abstractmethod
    def prepare(self, task: Task) -> Step:
        """A function that does one step of the task and has all its results in memory when it returns.

        Inputs are resident: they are made here, once, in the framework's own form. What the engine held for an
        earlier task may be dropped.

        Raises:
            ValueError: if the engine cannot do the task.
        """

    def flops(self, task: Task) -> int:
        """Floating-point operations of one step, by definition. Only graphcore counts."""
        raise ValueError(f"{type(self).__name__} does not count operations. Ask the engine 'graphcore'.")

    def versions(self) -> dict[str, str]:
        """Versions of the framework's parts."""
        return {name: str(getattr(sys.modules[name], "__version__", "")) for name in self.modules}
