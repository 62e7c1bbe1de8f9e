"""Importing graphcore: what it brings along, how long it takes, and what stands in its way."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import graphcore

HEAVY = ("numba", "networkx", "h5py", "rich", "llvmlite")


def python(code, cwd=None, check=True):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, check=check, env=environment
    )


def test_the_import_is_light():
    code = f"import sys, json, graphcore; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    loaded = json.loads(python(code).stdout)
    assert not set(loaded) & {"numba", "networkx", "h5py", "rich"}


def test_the_import_takes_a_fraction_of_a_second():
    """0.3 s on a quiet machine; measured as work beside NumPy's own, which is no part of it."""
    code = "import time, numpy; start = time.process_time(); import graphcore; print(time.process_time() - start)"
    python(code)  # fills the bytecode cache
    assert min(float(python(code).stdout) for _ in range(3)) < 0.9


@pytest.mark.parametrize("name", ["compiler", "runtime"])
@pytest.mark.parametrize("kind", ["module", "package"])
def test_a_users_file_in_the_place_of_a_package_is_named(name, kind, tmp_path):
    if kind == "module":
        path = tmp_path / f"{name}.py"
    else:
        (tmp_path / name).mkdir()
        path = tmp_path / name / "__init__.py"
    path.write_text("mine = True\n")
    result = python("import graphcore", cwd=tmp_path, check=False)
    assert result.returncode != 0
    assert f"ImportError: graphcore needs its own package '{name}'" in result.stderr
    assert str(path) in result.stderr
    assert "Fix: rename" in result.stderr


def test_public_names():
    for name in (
        "Model", "Sequential", "Functional", "Input", "Layer", "InputSpec", "Variable", "KerasTensor", "Operation",
        "Loss", "Metric", "Optimizer", "Initializer", "Regularizer", "DTypePolicy", "activations", "callbacks",
        "config", "constraints", "datasets", "initializers", "layers", "losses", "metrics", "models", "ops",
        "optimizers", "random", "regularizers", "saving", "tree", "utils", "__version__",
    ):  # fmt: skip
        assert hasattr(graphcore, name), name
