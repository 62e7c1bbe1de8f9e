"""Fixtures and switches that every test may use."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Every clone and every run draws the same cases; `make fuzz` draws new ones. Here, before any test is imported:
# a test's own settings take what they do not name from the profile of that moment.
settings.register_profile("fixed", derandomize=True)
settings.register_profile("fresh", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

GOLDENS = Path(__file__).resolve().parent / "goldens"
CUDASIM_VARIABLE = "NUMBA_ENABLE_CUDASIM"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="rewrite tests/goldens/*.txt with what the tests produce, instead of comparing",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip simulator tests unless the simulator is on: Numba reads the variable once, at import."""
    if os.environ.get(CUDASIM_VARIABLE) == "1":
        return
    skip = pytest.mark.skip(
        reason=f"needs a process of its own: {CUDASIM_VARIABLE}=1 pytest -m cudasim (make test does it)"
    )
    for item in items:
        if item.get_closest_marker("cudasim"):
            item.add_marker(skip)


@pytest.fixture
def threads_restored() -> Iterator[None]:
    """The test may call set_num_threads."""
    from runtime.threads import get_num_threads, set_num_threads  # here: it loads LLVM, which few tests need

    before = get_num_threads()
    yield
    set_num_threads(before)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)` compares with tests/goldens/<name>.txt, or rewrites it on --update-golden."""

    def check(name: str, text: str) -> None:
        path = GOLDENS / f"{name}.txt"
        produced = text.rstrip("\n") + "\n"
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(produced, encoding="utf-8")
            return
        if not path.exists():
            pytest.fail(f"golden file {path} is missing; run pytest --update-golden, read it, and commit it")
        stored = path.read_text(encoding="utf-8")
        if produced == stored:
            return
        difference = difflib.unified_diff(
            stored.splitlines(), produced.splitlines(), f"stored {path.name}", "produced", lineterm=""
        )
        pytest.fail("\n".join(difference) + "\nIf this is right: pytest --update-golden", pytrace=False)

    return check


@pytest.fixture
def data_folder() -> Path:
    """The folder $GRAPHCORE_DATA names; the test is skipped where it is not set."""
    value = os.environ.get("GRAPHCORE_DATA")
    if not value:
        pytest.skip("needs real data: set GRAPHCORE_DATA to a folder that holds it")
    folder = Path(value)
    if not folder.is_dir():
        pytest.fail(f"GRAPHCORE_DATA={value} is not a folder; unset it or set it to one")
    return folder
