"""Imports go down only: graphcore -> compiler -> runtime; each package keeps to the libraries of its storey."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from compiler.codegen.objects import EMITTED_BY

ROOT = Path(__file__).resolve().parent.parent
STOREYS = ("graphcore", "compiler", "runtime")

# What a package must not import: those above it, and libraries that belong to another storey.
FORBIDDEN = {
    "graphcore": {"numba", "llvmlite"},
    "compiler": {"graphcore", "h5py"},
    "runtime": {"graphcore", "compiler", "numba", "networkx", "h5py", "rich", "jinja2", "pygments"},
}

# Numba takes half a second to import, and only the code generators need it.
NUMBA_FOLDER = ROOT / "compiler" / "codegen"

# What shows graphs to people, as tables and pages, has the libraries for that; no pass and no kernel does.
SHOWING_FOLDER = ROOT / "compiler" / "inspect"


def python_files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported_modules(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import in a file, wherever it stands, `import_module("x")` included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        match node:
            case ast.Import():
                for alias in node.names:
                    yield node.lineno, alias.name
            case ast.ImportFrom(module=str(module), level=0):
                yield node.lineno, module
            case ast.ImportFrom(level=level) if level > 0:
                yield node.lineno, absolute_name(path, level, node.module)
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield node.lineno, name


def absolute_name(path: Path, level: int, module: str | None) -> str:
    package = path.relative_to(ROOT).parts[:-1]
    base = package[: len(package) - level + 1]
    return ".".join((*base, module) if module else base)


def violations(path: Path, forbidden: set[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for line, name in imported_modules(path)
        if name.split(".")[0] in forbidden
    ]


@pytest.mark.parametrize("package", STOREYS)
def test_imports_go_down_only(package: str) -> None:
    files = python_files(package)
    assert files
    assert [line for path in files for line in violations(path, FORBIDDEN[package])] == []


def test_only_code_generators_import_numba() -> None:
    elsewhere = [path for path in python_files("compiler") if NUMBA_FOLDER not in path.parents]
    assert [line for path in elsewhere for line in violations(path, {"numba"})] == []


def test_only_what_shows_graphs_imports_libraries_for_that() -> None:
    elsewhere = [path for path in python_files("compiler") if SHOWING_FOLDER not in path.parents]
    assert [line for path in elsewhere for line in violations(path, {"rich", "jinja2", "pygments"})] == []


def test_no_package_imports_the_tests_the_benchmarks_or_the_examples() -> None:
    files = [path for package in STOREYS for path in python_files(package)]
    assert [line for path in files for line in violations(path, {"tests", "benchmarks", "examples", "pytest"})] == []


def test_the_check_sees_every_kind_of_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    path = tmp_path / "runtime" / "inner" / "sample.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "import numba.core, numpy\n"
        "from compiler.ir import Graph\n"
        "from . import near\n"
        "from ..other import thing\n"
        "def late():\n"
        "    import graphcore\n"
        "    importlib.import_module('networkx')\n"
        "    __import__('h5py')\n"
    )
    assert sorted(imported_modules(path)) == [
        (1, "numba.core"),
        (1, "numpy"),
        (2, "compiler.ir"),
        (3, "runtime.inner"),
        (4, "runtime.other"),
        (6, "graphcore"),
        (7, "networkx"),
        (8, "h5py"),
    ]
    assert len(violations(path, FORBIDDEN["runtime"])) == 5


def module_file(name: str) -> Path | None:
    """The file of a module of ours; None for anything else, such as a function that is imported from one."""
    place = ROOT.joinpath(*name.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.exists()), None)


def imported_files(path: Path) -> set[Path]:
    """Files of the compiler that a file imports, and the packages they are in; not those that only type checkers
    read."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    unread = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in unread:
            continue
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module if node.level == 0 else absolute_name(path, node.level, node.module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
    whole = {".".join(name.split(".")[:count]) for name in names for count in range(1, name.count(".") + 2)}
    return {file for name in whole if name.split(".")[0] == "compiler" and (file := module_file(name)) is not None}


def test_the_key_of_object_code_follows_what_the_code_generators_import() -> None:
    pending = [ROOT / "compiler" / "codegen" / name for name in ("kernels.py", "objects.py")]
    found: set[Path] = set()
    while pending:
        path = pending.pop()
        if path not in found:
            found.add(path)
            pending.extend(imported_files(path))
    places = {place: ROOT / place for place in EMITTED_BY}
    missing = [path for path in found if not any(path == it or it in path.parents for it in places.values())]
    assert missing == [], "these decide what is emitted: add them to EMITTED_BY"
    unneeded = [name for name, it in places.items() if not any(path == it or it in path.parents for path in found)]
    assert unneeded == [], "no code generator imports these: take them out of EMITTED_BY"
    printers = {path for path in python_files("compiler/codegen") if not path.name.startswith("cuda")}
    assert printers <= found, "all code generators of the CPU are reached"
