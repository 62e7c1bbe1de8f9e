"""Passes over graphs in files: the first line says what `graphcore opt` runs, `CHECK` lines say what must come out.

`// RUN: --passes fuse` and the file itself are the command line. The lines are FileCheck's, from LLVM, as the package
`filecheck` reads them: CHECK, CHECK-NEXT, CHECK-NOT, CHECK-COUNT-n, and `[[NAME:regex]]` for what must come again.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from filecheck.matcher import Matcher
from filecheck.options import Options

from compiler.instruments.made_up import made_up_arrays, open_symbols
from compiler.instruments.results import Results
from compiler.pipeline import run_pipeline
from compiler.text import parse
from graphcore import cli
from graphcore.commands.passes import available_passes

FOLDER = Path(__file__).parent
FILES = sorted(FOLDER.glob("*.gcir"))
RUN = "// RUN: "
ONLY_TEXT = ("hand_written",)  # is about reading and printing


def words_of(path: Path) -> list[str]:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith(RUN), f"{path.name} must begin with '{RUN}' and options of graphcore opt"
    return shlex.split(first.removeprefix(RUN))


def matches(checks: str, text: str, folder: Path) -> bool:
    """Whether a text is as the check lines say; what is wrong goes to stderr."""
    check_path, text_path = folder / "checks", folder / "text"
    check_path.write_text(checks, encoding="utf-8")
    text_path.write_text(text, encoding="utf-8")
    return Matcher.from_opts(Options(match_filename=str(check_path), input_file=str(text_path))).run() == 0


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_gives_what_its_lines_say(path, tmp_path, capsys):
    code = cli.main(["opt", str(path), "--repro", str(tmp_path / "repro.gcir"), *words_of(path)])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    assert matches(path.read_text(encoding="utf-8"), captured.out, tmp_path), capsys.readouterr()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_its_passes_keep_the_numbers(path):
    graph = parse(path.read_text(encoding="utf-8"))
    words = words_of(path)
    passes = available_passes()
    if "--passes" in words:
        table = {pass_.__name__: pass_ for pass_ in passes}
        passes = tuple(table[name] for name in words[words.index("--passes") + 1].split(","))
    sizes = dict.fromkeys(open_symbols(graph), 4)
    results = Results(made_up_arrays(graph, sizes, np.random.default_rng(0), signed=True))
    run_pipeline(graph, passes=passes, instruments=(results,))
    assert (results.judged >= 1) != (path.stem in ONLY_TEXT), "what no pass changes, CHECK lines say nothing about"


def test_a_line_that_does_not_hold_fails(tmp_path, capsys):
    output = "graph g {\n  %1: f32[3] = exp(%0)\n}\n"
    assert matches("// CHECK: [[A:%[0-9]+]]: f32[3] = exp", output, tmp_path)
    assert not matches("// CHECK: log(", output, tmp_path)
    assert not matches("// CHECK-NOT: exp(", output, tmp_path)
    assert "log(" in "".join(capsys.readouterr())


def test_there_are_a_dozen():
    assert len(FILES) >= 12
