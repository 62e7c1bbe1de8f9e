"""Runs `graphcore opt` on docs/step.graph with the options given and shows what it prints, whatever its exit code."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

from graphcore import cli

DOCS = Path(__file__).resolve().parents[1]

if __name__ == "__main__":
    words = [str(DOCS / word) if word.endswith(".py") else word for word in sys.argv[1:]]
    graph = DOCS / "step.graph"
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        code = cli.main(["opt", str(graph), *words])
        left = Path("repro.gcir")
        comments = [line for line in left.read_text().splitlines() if line.startswith("//")] if left.exists() else []
    print(f"exit code {code}")
    for line in comments:
        print(f"repro.gcir: {line.replace(str(DOCS), 'docs')}")
