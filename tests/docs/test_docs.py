"""The documents show what the commands in them print today, and their examples run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted((ROOT / "docs").glob("*.md"))
LINK = re.compile(r"\[[^\]]+\]\((?!https?:)([^)#]+)\)")
PATH = re.compile(r"`((?:compiler|runtime|graphcore|tests|docs)/[\w./]*\w)/?`")


def test_shown_output_is_up_to_date():
    done = subprocess.run(
        [sys.executable, "docs/regenerate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", [*DOCUMENTS, ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_files_that_a_document_names_exist(path):
    text = path.read_text(encoding="utf-8")
    for name in LINK.findall(text):
        assert (path.parent / name).exists(), name
    for name in PATH.findall(text):
        assert (ROOT / name).exists(), name


def test_the_python_example_of_the_representation_runs():
    text = (ROOT / "docs" / "ir.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)
    assert "graph" in names


def test_the_example_op_of_the_contributors_guide_works():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    script = f"""
from collections.abc import Sequence
import numpy as np
from compiler import functions as f
from compiler.driver import compile_graph
from compiler.ir import Array, Builder, Value
from compiler.loops import Expr
from compiler.ops.families import Cotangents, Elementwise, received
from compiler.ops.registry import op
from compiler.text import parse

{example}
graph = parse('''graph g {{
  input %x "x": f32[]
  %y: f32[] = cube(%x)
  %g: f32[] = gradient(%y, %x)
  return "y"=%y
  return "g"=%g
}}''')
print(*(float(array) for array in compile_graph(graph).executable.run([np.asarray(2.0, "float32")], [])))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["8.0", "12.0"], done.stderr


def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")}
    assert pages <= {page.stem for page in tmp_path.glob("*.html")}
    assert "two signs that cancel" in (tmp_path / "write_a_pass.html").read_text(encoding="utf-8")
