"""The progress bar's text, character by character, against what Keras prints."""

from __future__ import annotations

import io
import math
import sys

import pytest

from graphcore.training import progress_bar
from graphcore.training.progress_bar import Progbar, format_remaining, format_step_time

LINE = "━"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr(progress_bar, "clock", fake)
    return fake


class Printed:
    """Everything printed so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    def __str__(self) -> str:
        self._text += self._capsys.readouterr().out
        return self._text


@pytest.fixture
def pipe(capsys: pytest.CaptureFixture[str]) -> Printed:
    """Standard output that is no terminal."""
    return Printed(capsys)


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Printed:
    """Standard output that understands carriage returns."""
    monkeypatch.setattr(progress_bar, "can_redraw", lambda: True)
    return Printed(capsys)


def bar(target: int | None, **kwargs: object) -> Progbar:
    return Progbar(target, stateless_metrics=(), **kwargs)  # type: ignore[arg-type]


def test_a_pipe_gets_one_line_an_epoch_without_control_characters(clock: Clock, pipe: Printed) -> None:
    progress = bar(2)
    clock.now += 1
    progress.update(1, [("accuracy", 0.1562), ("loss", 2.6141)])
    clock.now += 2
    progress.update(2, [("accuracy", 0.1964), ("loss", 2.3797)], finalize=False)
    progress.update(2, [("accuracy", 0.1964), ("loss", 2.3797), ("val_loss", 1.1217)], finalize=True)
    assert str(pipe) == (f"2/2 {LINE * 20} 3s 2s/step - accuracy: 0.1964 - loss: 2.3797 - val_loss: 1.1217\n")


def test_a_terminal_is_redrawn_in_place(clock: Clock, terminal: Printed) -> None:
    progress = bar(2)
    clock.now += 1
    progress.update(1, [("loss", 2.6141)])
    halves = f"\x1b[32m{LINE * 10}\x1b[0m\x1b[37m{LINE * 10}\x1b[0m"
    first = f"\x1b[1m1/2\x1b[0m {halves} \x1b[1m1s\x1b[0m 1s/step - loss: 2.6141"
    assert str(terminal) == "\r" + first
    clock.now += 2
    progress.update(2, [("loss", 2.3797)], finalize=True)
    width = len(f"1/2 {LINE * 20} 1s 1s/step - loss: 2.6141")
    last = f"\x1b[1m2/2\x1b[0m \x1b[32m{LINE * 20}\x1b[0m\x1b[37m\x1b[0m \x1b[1m3s\x1b[0m 2s/step - loss: 2.3797"
    assert str(terminal) == "\r" + first + "\b" * width + "\r" + last + "\n"


def test_a_shorter_line_covers_the_longer_one_before(clock: Clock, terminal: Printed) -> None:
    progress = bar(None)
    progress.update(1, [("loss", 1.0)])
    clock.now += 1
    progress._values.clear()
    progress.update(2)
    assert str(terminal).endswith(" 1s/step" + " " * len(" - loss: 1.0000"))


def test_redraws_wait_for_the_interval(clock: Clock, terminal: Printed) -> None:
    progress = bar(10)
    progress.update(1)
    length = len(str(terminal))
    clock.now += 0.04
    assert not progress.is_due()
    progress.update(2)
    assert len(str(terminal)) == length
    clock.now += 0.06
    assert progress.is_due()
    progress.update(3)
    assert len(str(terminal)) > length


def test_the_first_step_does_not_count_in_the_time_of_a_step(clock: Clock, pipe: Printed) -> None:
    progress = bar(3)
    clock.now += 10
    progress.update(1)
    clock.now += 2
    progress.update(3, finalize=True)
    assert str(pipe) == f"3/3 {LINE * 20} 12s 1s/step\n"


def test_steps_of_one_native_call_share_its_time(clock: Clock, pipe: Printed) -> None:
    at_once = Progbar(20, verbose=2)
    clock.now += 4
    at_once.update(20, finalize=False)  # all steps in one call: there are no others to measure
    at_once.update(20, finalize=True)
    in_two = Progbar(20, verbose=2)
    clock.now += 10
    in_two.update(16)
    clock.now += 2
    in_two.update(20, finalize=True)
    assert str(pipe).splitlines() == ["20/20 - 4s - 200ms/step", "20/20 - 12s - 500ms/step"]


def test_unknown_length(clock: Clock, terminal: Printed) -> None:
    progress = bar(None)
    progress.update(7, [("loss", 0.5)])
    assert str(terminal) == "\r      7/Unknown \x1b[1m0s\x1b[0m 0s/step - loss: 0.5000"


def test_verbose_two_prints_one_line(clock: Clock, pipe: Printed) -> None:
    progress = bar(3, verbose=2)
    clock.now += 0.5
    progress.update(1, [("accuracy", 0.1), ("loss", 1.0)])
    clock.now += 0.356
    progress.update(3, [("accuracy", 0.3286), ("loss", 1.1244)])
    assert str(pipe) == "3/3 - 1s - 178ms/step - accuracy: 0.3286 - loss: 1.1244\n"


def test_verbose_zero_prints_nothing(clock: Clock, pipe: Printed) -> None:
    bar(1, verbose=0).update(1, [("loss", 1.0)])
    assert str(pipe) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5000"),
        (0.001, "1.0000e-03"),
        (-0.5, "-0.5000"),
        (0.0, "0.0000e+00"),
        (math.nan, "nan"),
        (math.inf, "inf"),
    ],
)
def test_format_of_values(clock: Clock, pipe: Printed, value: float, text: str) -> None:
    bar(1).update(1, [("loss", value)])
    assert str(pipe).endswith(f" - loss: {text}\n")


def test_values_are_averaged_over_steps_unless_stateful(clock: Clock, pipe: Printed) -> None:
    progress = Progbar(None, stateful_metrics=["last"])
    progress.update(1, [("mean", 1.0), ("last", 1.0)])
    progress.update(4, [("mean", 5.0), ("last", 5.0)])
    assert progress._metrics_text() == " - mean: 4.0000 - last: 5.0000"


def test_vector_values_are_shown_by_their_mean(clock: Clock, pipe: Printed) -> None:
    bar(1).update(1, [("f1", [0.25, 0.75])])
    assert str(pipe).endswith(" - f1: 0.5000\n")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2.4, "2s/step"),
        (1.0, "1s/step"),
        (0.0, "0s/step"),
        (0.178, "178ms/step"),
        (0.001, "1ms/step"),
        (2.5e-5, "25us/step"),
    ],
)
def test_time_of_a_step(seconds: float, text: str) -> None:
    assert format_step_time(seconds, "step") == text


@pytest.mark.parametrize(("seconds", "text"), [(5.9, "5s"), (60, "60s"), (65, "1:05"), (7205, "2:00:05")])
def test_time_left(seconds: float, text: str) -> None:
    assert format_remaining(seconds) == text


def test_plain_characters_where_the_encoding_lacks_the_line(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", output)
    progress = bar(2)
    progress.update(1, finalize=True)
    output.seek(0)
    assert output.read() == "1/2 ==========---------- 0s 0s/step\n"


def test_both_lists_of_names_are_refused() -> None:
    with pytest.raises(ValueError, match="not both"):
        Progbar(1, stateful_metrics=["a"], stateless_metrics=["b"])
