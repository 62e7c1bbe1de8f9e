"""docs/watch_passes.md: the instrument in it works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from compiler.pipeline import run_pipeline
from compiler.text import parse

ROOT = Path(__file__).resolve().parents[2]


def test_the_example_of_an_instrument_runs(capsys):
    page = (ROOT / "docs" / "watch_passes.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    graph = parse((ROOT / "docs" / "step.graph").read_text(encoding="utf-8"))
    names: dict[str, object] = {"graph": graph}
    exec(example, names)
    shown = capsys.readouterr().out
    assert "fuse" in shown
    assert "sink_products" not in shown

    class Many:
        nodes = range(1001)

    class Large(names["StopAtThousand"]):  # type: ignore[misc]
        def after(self, name, before, after, context, seconds):
            super().after(name, before, Many, context, seconds)

    with pytest.raises(ValueError, match="infer_shapes made 1001 nodes of 14"):
        run_pipeline(graph, instruments=(Large(),))
