"""The coordinator's side of a worker: starting it, asking it, and stopping it while others run."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.engines import ENGINES
from benchmarks.workloads import Task

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_SECONDS = 600.0  # the longest that an answer may take; compiling a model is the longest work
_END_SECONDS = 5.0
_LOG_LINES = 5


class WorkerError(RuntimeError):
    """A worker answered with an error."""


class WorkerEndedError(WorkerError):
    """A worker gave no answer in time, or is no more."""


class WorkerProcess:
    """One running worker.

    Args:
        engine: a name in `ENGINES`.
        threads: it may use so many cores.
        cache: folder for the code it compiles.
        log: file that receives what its framework prints.
        python: the interpreter that has the framework.

    Attributes:
        started: `time.perf_counter()` just before the process was started.
    """

    def __init__(self, engine: str, threads: int, cache: Path, log: Path, python: str = sys.executable) -> None:
        self.engine = engine
        self._log = log
        environment = os.environ | {"PYTHONPATH": str(ROOT)} | ENGINES[engine].environment(cache)
        # An installed package has its bytecode compiled; without this, every process would compile it again.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        command = [python, "-m", "benchmarks.worker", engine, "--threads", str(threads)]
        with log.open("ab") as errors:
            self.started = time.perf_counter()
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT, env=environment
            )
        assert self._process.stdout is not None
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)

    def ask(
        self, do: str, task: Task | None = None, patience: float = PATIENCE_SECONDS, **extra: Any
    ) -> dict[str, Any]:
        """Send a command and wait for its answer.

        Raises:
            WorkerError: naming the engine and the reason; `WorkerEndedError` if the worker cannot be asked again.
        """
        command = {"do": do, **extra}
        if task is not None:
            command["task"] = {"kind": task.kind, "name": task.name, "batch": task.batch}
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(json.dumps(command).encode() + b"\n")
            stdin.flush()
        except OSError as error:
            raise self._ended(do) from error
        # A worker writes one line an answer, so a readable pipe holds a whole answer or the end of the worker.
        if not self._selector.select(patience):
            self.close()
            raise WorkerEndedError(f"{self.engine}: no answer to '{do}' in {patience:.0f} s")
        line = stdout.readline()
        if not line:
            raise self._ended(do)
        reply: dict[str, Any] = json.loads(line)
        if not reply["ok"]:
            raise WorkerError(f"{self.engine}: {reply['error']}")
        return reply

    def pause(self) -> None:
        """Stop the process: nothing of it runs until `resume`, whatever its idle threads would do."""
        if self._process.poll() is None and hasattr(signal, "SIGSTOP"):
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the process run again."""
        if self._process.poll() is None and hasattr(signal, "SIGCONT"):
            self._process.send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """The process runs inside the block only."""
        self.resume()
        try:
            yield
        finally:
            self.pause()

    def close(self) -> None:
        """End the process."""
        self.resume()
        self._selector.close()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ended(self, do: str) -> WorkerEndedError:
        code = self._process.wait()
        lines = self._log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        return WorkerEndedError(f"{self.engine}: ended with code {code} at '{do}'; {' / '.join(lines)} ({self._log})")
