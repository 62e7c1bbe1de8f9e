"""A failing pass leaves a file with its graph and the rest of the pipeline, which `graphcore opt` runs again.

The file begins with comments that say what to run and with which options; the graph follows. Arrays of up to
`WHOLE_ELEMENTS` elements stand in it, larger ones by their hash only: random numbers stand in for those when it is read
(`compiler.instruments.files`). Weights are a graph's variables, so they are never in it.
"""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from compiler.instruments.instrument import Failure, Instrument
from compiler.text import to_text
from runtime.dimensions import Dim, parse_dim

__all__ = ["WHOLE_ELEMENTS", "Header", "Reproducer", "read_header"]

WHOLE_ELEMENTS = 4096
_SETTING = re.compile(r"// (passes|binding|fixed|winograd): (.*)\Z")


@dataclasses.dataclass(frozen=True, slots=True)
class Header:
    """What the comments at the head of a file ask for; None or empty where they ask for nothing."""

    passes: tuple[str, ...] | None = None
    bindings: dict[str, Dim] = dataclasses.field(default_factory=dict)
    fixed: dict[str, int] = dataclasses.field(default_factory=dict)
    winograd: bool = True


class Reproducer(Instrument):
    """Writes `path` when a pass fails, and adds a note with the path to the error; None is a new temporary folder.

    `loaded` are the scripts that passes came from, named in the file for whoever runs it.
    """

    def __init__(self, path: Path | None, loaded: tuple[str, ...] = ()) -> None:
        self.path = path
        self.loaded = loaded

    def failed(self, failure: Failure) -> None:
        """Write the file; a folder that is missing is made. Where that cannot be done, the note says why."""
        scripts = "".join(f" --load {script}" for script in self.loaded)
        try:
            path = self.path or Path(tempfile.mkdtemp(prefix="graphcore-")) / "repro.gcir"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_text_of(failure, f"graphcore opt {path.name}{scripts}"), encoding="utf-8")
        except OSError as error:
            failure.error.add_note(f"no reproducer could be written: {error}")
            return
        failure.error.add_note(f"its graph and the passes that were left are in {path}: graphcore opt {path}{scripts}")


def _text_of(failure: Failure, command: str) -> str:
    context = failure.context
    message = " ".join(str(failure.error).split())
    lines = [
        f"// Run again: {command}",
        f"// The pass '{failure.name}' failed: {type(failure.error).__name__}: {message}",
        f"// passes: {','.join(failure.rest)}",
        *(f"// binding: {name}={dim}" for name, dim in sorted(context.bindings.items())),
        *(f"// fixed: {name}={value}" for name, value in sorted(context.fixed.items())),
        *([] if context.winograd else ["// winograd: no"]),
    ]
    return "\n".join(lines) + "\n" + to_text(failure.graph, inline=WHOLE_ELEMENTS)


def read_header(text: str) -> Header:
    """The settings in the comments before the graph."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in text.splitlines():
        if line.strip() and not line.startswith("//"):
            break
        if match := _SETTING.match(line.strip()):
            found[match[1]].append(match[2])
    return Header(
        passes=tuple(name.strip() for name in found["passes"][-1].split(",")) if found["passes"] else None,
        bindings={name: parse_dim(dim) for name, dim in _pairs(found["binding"])},
        fixed={name: int(value) for name, value in _pairs(found["fixed"])},
        winograd=found["winograd"][-1:] != ["no"],
    )


def _pairs(entries: Sequence[str]) -> list[tuple[str, str]]:
    """`["n=max(a, b)"]` as `[("n", "max(a, b)")]`."""
    parts = (entry.partition("=") for entry in entries)
    return [(name.strip(), value.strip()) for name, _, value in parts]
