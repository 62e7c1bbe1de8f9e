"""Where the time goes: `with graphcore.profile() as p:` around any training or prediction.

Aim: less than 2 % on top of a training step, and 95 % of its wall time accounted for by name. Reached on the CNN of
the benchmarks (`python -m benchmarks.profiler`, two Zen 3 cores, medians of 40 to 60 rounds of 4 steps in turn): 0.5 to
0.8 % on one thread, -1.7 to 0.3 % on two; at least 96.2 % of the time of every round accounted for. On an MLP whose
step takes 0.85 ms it is 7 %: each call goes the long way, and its notes are copied.
"""

from __future__ import annotations

import html
import json
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from compiler.inspect.kernel_times import KernelTime, LayerTime, ProgramTimes, layer_times, program_times
from compiler.inspect.trace_events import trace_events
from compiler.roof import Roof, roof
from graphcore.training.checks import check_batch, positive_integer
from graphcore.training.data.arrays import Batch
from graphcore.training.lowering import checked_kind
from runtime.profile import WARM_RUNS
from runtime.recorder import Recorder

if TYPE_CHECKING:
    from rich.console import Group

    from graphcore.training.trainer import Trainer

__all__ = ["Recording", "profile", "profile_step"]

_ROWS = 20


def profile() -> Recording:
    """Note every call of a kernel that this thread's compiled programs make inside a `with` statement.

    What is interpreted (`jit=False`, or a model called on arrays) has no kernels and is not noted. Several kilobytes
    are kept for each step of a large model.

    Example:
        with graphcore.profile() as p:
            model.fit(x, y)
        p.show()
        p.save_trace("trace.json")  # for ui.perfetto.dev or chrome://tracing

    Raises:
        ValueError: on entering, if this thread is being profiled already.
    """
    return Recording()


def profile_step(model: Trainer, kind: str, batch: Batch, runs: int) -> Recording:
    """What `Model.profile` returns, and raises."""
    checked_kind(kind)
    positive_integer(runs, "runs")
    if kind == "predict":
        batch = batch._replace(y=None, sample_weight=None)
    program = model.training_session.program(model, kind, batch)
    check_batch(model, batch)
    if not program.jit:
        raise ValueError("Only compiled steps have kernels to profile. Compile the model with jit=True.")
    with program.variables_kept():
        for _ in range(WARM_RUNS):
            program(batch)
        with profile() as recording:
            for _ in range(runs):
                program(batch)
    return recording


class Recording:
    """What ran inside a `with` statement. Figures can be read once it is left.

    Times are in nanoseconds unless they say otherwise. Those of kernels are of all threads, divided by their number,
    so that kernels, waiting and gaps add up to the time of the programs.
    """

    def __init__(self) -> None:
        self._recorder = Recorder()
        self._programs: tuple[ProgramTimes, ...] | None = None

    def __enter__(self) -> Recording:
        self._recorder.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._recorder.__exit__(kind, error, traceback)

    @property
    def wall(self) -> float:
        """Nanoseconds between entering and leaving."""
        return self._recorder.nanoseconds

    @property
    def programs(self) -> tuple[ProgramTimes, ...]:
        """The programs that ran, each at each of its batch sizes.

        The machine's roof is looked up in the cache folder, and measured, in a few seconds, where it is not there.

        Raises:
            RuntimeError: inside the `with` statement.
        """
        if not self._recorder.end:
            raise RuntimeError("the profile is not finished: read its figures after the `with` statement")
        if self._programs is None:
            self._programs = tuple(program_times(each, roof) for each in self._recorder.profiles)
        return self._programs

    @property
    def roofs(self) -> tuple[Roof, ...]:
        """The machine's roofs for the numbers of threads that programs ran on."""
        return tuple(roof(threads) for threads in sorted({each.threads for each in self.programs}))

    @property
    def kernels(self) -> tuple[KernelTime, ...]:
        """Those of all programs, the longest first."""
        found = (kernel for each in self.programs for kernel in each.kernels)
        return tuple(sorted(found, key=lambda kernel: -kernel.total))

    @property
    def layers(self) -> tuple[LayerTime, ...]:
        """Times by layer, the longest first; kernels that several layers share are a group of their own."""
        return layer_times(self.kernels)

    @property
    def shares(self) -> dict[str, float]:
        """Parts of the wall time: "kernels", "waiting" for other threads, "between calls" (no thread in a kernel), and
        "outside programs" (Python, data, callbacks). They add up to 1."""
        wall = self.wall or 1.0
        parts = {
            "kernels": sum(kernel.total for kernel in self.kernels),
            "waiting": sum(each.waiting for each in self.programs),
            "between calls": sum(each.between for each in self.programs),
        }
        parts["outside programs"] = wall - sum(each.total for each in self.programs)
        return {name: time / wall for name, time in parts.items()}

    def to_dict(self) -> dict[str, Any]:
        """Everything but the single calls, as plain data that `json` writes."""
        return {
            "wall": self.wall,
            "shares": self.shares,
            "roofs": [each._asdict() for each in self.roofs],
            "programs": [
                each._asdict() | {"kernels": [_kernel_dict(kernel) for kernel in each.kernels]}
                for each in self.programs
            ],
            "layers": [layer._asdict() for layer in self.layers],
        }

    def to_trace(self) -> dict[str, Any]:
        """Every call as a trace for Chrome's and Perfetto's viewers: step > instruction > call, on each thread."""
        return trace_events(self._recorder.profiles, self._recorder.begin)

    def save_trace(self, path: str | Path) -> None:
        """Write `to_trace()` as JSON."""
        Path(path).write_text(json.dumps(self.to_trace(), separators=(",", ":")), encoding="utf-8")

    def table(self, most: int = _ROWS) -> Group:
        """For `rich.print`: the programs, the `most` costly kernels, and the layers."""
        from graphcore.profile_tables import tables  # here, since rich takes a tenth of a second to import

        return tables(self, most)

    def show(self, most: int = _ROWS) -> None:
        """Print `table(most)`."""
        from graphcore.profile_tables import console

        console().print(self.table(most))

    def __rich__(self) -> Group:
        return self.table()

    def __str__(self) -> str:
        from graphcore.profile_tables import text_of

        return text_of(self.table())

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def __repr__(self) -> str:
        if not self._recorder.end:
            return "<profile: not finished>"
        runs = sum(profile.runs for profile in self._recorder.profiles)
        programs = len(self._recorder.profiles)
        return f"<profile of {self.wall / 1e6:.1f} ms: {runs} runs of {programs} programs>"


def _kernel_dict(kernel: KernelTime) -> dict[str, Any]:
    return kernel._asdict() | {"gflops": kernel.gflops, "gbytes": kernel.gbytes}
