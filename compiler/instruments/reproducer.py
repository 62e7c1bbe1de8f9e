"""A failing pass leaves a file with its graph and the rest of the pipeline, which `graphcore opt` runs again.

The file begins with comments that say what to run and with which options; the graph follows. Arrays of up to
`WHOLE_ELEMENTS` elements stand in it, larger ones by their hash only: random numbers stand in for those when it is read
(`compiler.instruments.files`). Weights are a graph's variables, so they are never in it.
"""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from compiler.instruments.instrument import Failure, Instrument
from compiler.text import to_text
from runtime.dimensions import Dim, parse_dim

__all__ = ["WHOLE_ELEMENTS", "Header", "Reproducer", "read_header"]

WHOLE_ELEMENTS = 4096
_SETTING = re.compile(r"// (passes|bindings|fixed|winograd): (.*)\Z")


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
        """Write the file; a folder that is missing is made."""
        path = self.path or Path(tempfile.mkdtemp(prefix="graphcore-")) / "repro.gcir"
        path.parent.mkdir(parents=True, exist_ok=True)
        scripts = "".join(f" --load {script}" for script in self.loaded)
        bindings, fixed = _listed(failure.context.bindings), _listed(failure.context.fixed)
        message = " ".join(str(failure.error).split())
        lines = [
            f"// Run again: graphcore opt {path.name}{scripts}",
            f"// The pass '{failure.name}' failed: {type(failure.error).__name__}: {message}",
            f"// passes: {','.join(failure.rest)}",
            *([f"// bindings: {bindings}"] if bindings else []),
            *([f"// fixed: {fixed}"] if fixed else []),
            *([] if failure.context.winograd else ["// winograd: no"]),
        ]
        text = "\n".join(lines) + "\n" + to_text(failure.graph, inline=WHOLE_ELEMENTS)
        path.write_text(text, encoding="utf-8")
        failure.error.add_note(f"its graph and the passes that were left are in {path}: graphcore opt {path}{scripts}")


def read_header(text: str) -> Header:
    """The settings in the comments before the graph."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("//"):
            break
        if match := _SETTING.match(line.strip()):
            found[match[1]] = match[2]
    return Header(
        passes=tuple(name.strip() for name in found["passes"].split(",")) if "passes" in found else None,
        bindings={name: parse_dim(dim) for name, dim in _pairs(found.get("bindings", ""))},
        fixed={name: int(value) for name, value in _pairs(found.get("fixed", ""))},
        winograd=found.get("winograd", "yes") != "no",
    )


def _listed(values: Mapping[str, Dim]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(values.items()))


def _pairs(text: str) -> list[tuple[str, str]]:
    """What `_listed` was given."""
    parts = (part.partition("=") for part in text.split(",") if "=" in part)
    return [(name.strip(), value.strip()) for name, _, value in parts]
