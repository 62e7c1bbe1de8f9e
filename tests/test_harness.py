"""The switches of tests/conftest.py, tried in a scratch project."""

from __future__ import annotations

from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parent / "conftest.py"

pytest_plugins = ["pytester"]


@pytest.fixture
def scratch(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    # Importing installed plugins anew takes two seconds a run.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))
    pytester.makepyprojecttoml('[tool.pytest.ini_options]\nmarkers = ["cudasim: simulator"]\n')
    return pytester


def test_golden_files_are_compared_and_rewritten(scratch: pytest.Pytester) -> None:
    scratch.makepyfile("def test_text(golden):\n    golden('folder/text', 'first\\nsecond')\n")
    stored = scratch.path / "goldens" / "folder" / "text.txt"
    result = scratch.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*text.txt is missing; run pytest --update-golden*"])
    scratch.runpytest_inprocess("--update-golden").assert_outcomes(passed=1)
    assert stored.read_text(encoding="utf-8") == "first\nsecond\n"
    scratch.runpytest_inprocess().assert_outcomes(passed=1)
    stored.write_text("first\nother\n", encoding="utf-8")
    result = scratch.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["-other", "+second"])


@pytest.mark.parametrize(("value", "outcome"), [(None, "skipped"), ("1", "passed")])
def test_simulator_tests_need_the_variable(
    scratch: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, value: str | None, outcome: str
) -> None:
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    if value is not None:
        monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", value)
    scratch.makepyfile("import pytest\n@pytest.mark.cudasim\ndef test_kernel():\n    pass\n")
    scratch.runpytest_inprocess().assert_outcomes(**{outcome: 1})


@pytest.mark.parametrize(("value", "outcome"), [(None, "skipped"), (".", "passed"), ("absent", "errors")])
def test_data_folder(
    scratch: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, value: str | None, outcome: str
) -> None:
    monkeypatch.delenv("GRAPHCORE_DATA", raising=False)
    if value is not None:
        monkeypatch.setenv("GRAPHCORE_DATA", value)
    scratch.makepyfile("def test_files(data_folder):\n    assert data_folder.is_dir()\n")
    scratch.runpytest_inprocess().assert_outcomes(**{outcome: 1})
