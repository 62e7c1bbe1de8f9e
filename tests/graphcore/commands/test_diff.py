"""`graphcore diff`: exit codes, and what it prints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler.ir import Builder
from compiler.ops.sources import ArrayAttribute, Constant
from compiler.text import to_text
from graphcore import cli

BEFORE = 'graph g {\n  input %x: f32[n]\n  %y = exp(%x)\n  return "y"=%y\n}\n'


@pytest.mark.parametrize(
    ("after", "code", "shown"),
    [
        (BEFORE.replace("%y", "%other"), 0, "no difference: 1 nodes\n"),
        (BEFORE.replace("exp", "log"), 1, "- %1: f32[n] = exp(\"x\")\n+ %1: f32[n] = log(\"x\")\n~ return \"y\"\n"
         "    %1 = exp(\"x\") -> %1 = log(\"x\")\n"),
    ],
    ids=["renamed", "another op"],
)  # fmt: skip
def test_the_exit_code_and_the_text(tmp_path: Path, capsys, after, code, shown):
    before_path, after_path = tmp_path / "before.gcir", tmp_path / "after.gcir"
    before_path.write_text(BEFORE)
    after_path.write_text(after)
    assert cli.main(["diff", str(before_path), str(after_path)]) == code
    assert capsys.readouterr().out == shown
    assert cli.main(["diff", str(before_path), str(after_path), "--quiet"]) == code
    assert capsys.readouterr().out == ""


def test_what_cannot_be_read_is_neither_same_nor_different(tmp_path: Path, capsys):
    (tmp_path / "a.gcir").write_text("grap")
    assert cli.main(["diff", str(tmp_path / "a.gcir"), str(tmp_path / "b.gcir")]) == 2


def test_a_large_constant_is_the_same_by_its_hash(tmp_path: Path, capsys):
    def write(name: str, first: float, inline: int) -> str:
        array = np.full(100, 2.5, "float32")
        array[0] = first
        b = Builder("g")
        b.output("c", b.emit(Constant(ArrayAttribute(array))))
        (tmp_path / name).write_text(to_text(b.build(), inline=inline))
        return str(tmp_path / name)

    by_hash, whole, other = write("hash", 1.0, 64), write("whole", 1.0, 1000), write("other", 2.0, 64)
    assert cli.main(["diff", by_hash, by_hash]) == 0
    assert cli.main(["diff", by_hash, whole]) == 0
    assert cli.main(["diff", by_hash, other]) == 1
    assert "sha256" in capsys.readouterr().out
