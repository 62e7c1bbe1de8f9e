"""Importing graphcore: what it brings along, how long it takes, and what stands in its way."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.parametrize("package", ["graphcore.layers", "graphcore.models", "graphcore.saving"])
def test_type_checkers_and_the_program_find_the_same_names(package):
    """The program reads the imports for type checkers as text; here Python's own parser does."""
    module = importlib.import_module(package)
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    guarded = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    (block,) = guarded
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    homes = {alias.asname: node.module for node in imports for alias in node.names}
    assert homes == module._HOMES
    assert list(module._HOMES) == sorted(module._HOMES)
    aliases = {ast.unparse(node.targets[0]): ast.unparse(node.value) for node in block.body if node not in imports}
    assert aliases == getattr(module, "_ALIASES", {})
    for name in module.__all__:
        assert getattr(module, name) is not None
        assert name in dir(module)
    with pytest.raises(AttributeError, match="no_such_name"):
        module.no_such_name  # noqa: B018


def test_a_layer_is_imported_when_it_is_asked_for():
    code = (
        "import sys, graphcore\n"
        "from graphcore import layers\n"
        "layers.Dense\n"
        "print('graphcore.layers.dense' in sys.modules, 'graphcore.layers.conv3d' in sys.modules)\n"
        "from graphcore.layers import *\n"
        "print(Conv3D.__name__, AvgPool2D.__name__)"
    )
    assert python(code).stdout.split() == ["True", "False", "Conv3D", "AveragePooling2D"]


def test_the_signature_of_an_operation_is_what_users_call():
    assert list(inspect.signature(graphcore.ops.add).parameters) == ["x1", "x2"]
    assert "def add(b: Builder" in inspect.getsource(graphcore.ops.add)
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'x3'"):
        graphcore.ops.add(1, 2, x3=2)


def test_the_cycle_collector_works_as_before_after_an_import():
    code = (
        "import gc, graphcore; graphcore.layers.Dense; print(gc.isenabled())\n"
        "gc.disable(); graphcore.losses.Loss; print(gc.isenabled())"
    )
    assert python(code).stdout.split() == ["True", "False"]
