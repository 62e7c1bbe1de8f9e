"""Importing graphcore: what it brings along, how long it takes, and what stands in its way."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import graphcore
from graphcore.on_demand import declared, on_demand

PACKAGES = ["graphcore", *(f"graphcore.{name}" for name in ("layers", "models", "saving", "utils"))]
HEAVY = ("numba", "networkx", "h5py", "rich", "llvmlite")


def python(code, cwd=None, check=True):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, check=check, env=environment
    )


@pytest.fixture
def package_of(tmp_path, monkeypatch):
    """Import a package of this text, which has a module `part`; `{package}` is its name."""

    def make(text):
        package = f"package_{tmp_path.name}"
        (tmp_path / package).mkdir()
        body = textwrap.dedent(text).replace("{package}", package)
        start = "from typing import TYPE_CHECKING\n\n"
        (tmp_path / package / "__init__.py").write_text(start + body)
        (tmp_path / package / "part.py").write_text("")
        monkeypatch.syspath_prepend(tmp_path)
        made.append(package)
        return importlib.import_module(package)

    made: list[str] = []
    yield make
    for package in made:
        sys.modules.pop(package, None)
        sys.modules.pop(f"{package}.part", None)


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


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_and_the_program_find_the_same_names(package):
    """The program reads the imports for type checkers as text; here Python's own parser does."""
    module = importlib.import_module(package)
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    guarded = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    (block,) = guarded
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    homes = {alias.asname: node.module for node in imports for alias in node.names}
    aliases = {ast.unparse(node.targets[0]): ast.unparse(node.value) for node in block.body if node not in imports}
    found = declared(package)
    assert found == (homes, aliases)
    assert list(found.homes) == sorted(found.homes)
    assert homes
    for name in {*homes, *aliases, *getattr(module, "__all__", ())}:
        assert getattr(module, name) is not None
        assert name in dir(module)
    for name, other in aliases.items():
        assert getattr(module, name) is getattr(module, other)
    with pytest.raises(AttributeError, match="no_such_name"):
        module.no_such_name  # noqa: B018


def test_members_are_written_in_every_reasonable_way(package_of):
    module = package_of("""
        if TYPE_CHECKING:  # the public names
            from json import dumps as dumps  # noqa: F401
            from json import loads

            # a comment
            from json.decoder import (
                JSONDecodeError as JSONDecodeError,  # one, two
                JSONDecoder,
            )
            from string import ascii_letters, digits as digits
            from {package} import part as part

            numerals = digits  # the older name
        """)
    found = declared(module.__name__)
    assert found.homes == {
        "JSONDecodeError": "json.decoder",
        "JSONDecoder": "json.decoder",
        "ascii_letters": "string",
        "digits": "string",
        "dumps": "json",
        "loads": "json",
        "part": module.__name__,
    }
    assert found.aliases == {"numerals": "digits"}
    member = on_demand(module.__name__, found)
    assert member("JSONDecoder") is json.JSONDecoder
    assert member("numerals") == member("digits") == "0123456789"
    assert member("part").__name__ == f"{module.__name__}.part"
    with pytest.raises(AttributeError, match="has no attribute 'absent'"):
        member("absent")


@pytest.mark.parametrize(
    "line",
    [
        "from json import dumps as write",
        "import json",
        "from json import *",
        "from .part import member as member",
        "text = 'text'",
        "older = newer",
        "if True: text = str",
        "from json import dumps as dumps; from json import loads as loads",
    ],
)
def test_what_would_not_be_found_is_named(package_of, line):
    module = package_of("if TYPE_CHECKING:\n    from json import load as load\n    " + line)
    with pytest.raises(ImportError, match=re.escape(f"would not be found when it runs: {line.strip()}. Fix: write")):
        declared(module.__name__)


def test_a_package_without_its_text_says_what_to_do(package_of, monkeypatch):
    module = package_of("")
    monkeypatch.setattr(module.__spec__.loader, "get_source", lambda name: None)
    with pytest.raises(ImportError, match="Fix: install graphcore with its sources"):
        declared(module.__name__)


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
