"""What is measured of sequences: generators against their reference, masked steps, attention's memory; never timed."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphcore
from benchmarks.attention_memory import SCORES, TITLE, share_table
from benchmarks.engines import ENGINES
from benchmarks.engines.engine import Engine, Step
from benchmarks.engines.graphcore_engine import _attention, _generation
from benchmarks.generation import GENERATIONS, Generation, Reference, expected_tokens
from benchmarks.keras_models import build, build_generator
from benchmarks.masked_steps import TITLE as MASKED_TITLE
from benchmarks.masked_steps import Line, line_table, lines_of
from benchmarks.measures import further_figures, further_tables
from benchmarks.report import figure
from benchmarks.results import Cell, Row
from benchmarks.worker import Worker, peak_resident_bytes, restart_peak, serve
from benchmarks.workloads import ATTENTIONS, MASKED, PADDED_STEPS, AttentionWorkload, Task

TINY = Generation("tiny", 16, blocks=2, heads=2, vocabulary=11, prompt=3, new=9)
CAN_RESTART_PEAKS = Path("/proc/self/clear_refs").exists()


def test_graphcore_gives_the_tokens_of_the_reference() -> None:
    assert _generation(TINY)().shape == (1, 12)  # the step's tokens are compared when it is made


def test_the_reference_is_the_model_over_the_whole_window() -> None:
    model = build_generator(graphcore, TINY, None)
    tokens = expected_tokens(TINY)
    assert tokens.shape == (1, TINY.length)
    np.testing.assert_array_equal(tokens[:, : TINY.prompt], TINY.prompt_tokens())
    logits = model.predict_on_batch(tokens[:, :-1])
    np.testing.assert_array_equal(logits[:, TINY.prompt - 1 :].argmax(-1), tokens[:, TINY.prompt :])


def test_other_tokens_are_refused() -> None:
    wrong = expected_tokens(TINY).copy()
    wrong[0, 7] = (wrong[0, 7] + 1) % TINY.vocabulary
    with pytest.raises(ValueError, match=r"tiny: token 7 is \d+, not \d+"):
        TINY.check(wrong)
    with pytest.raises(ValueError, match=r"expected tokens \(1, 12\)"):
        TINY.check(wrong[:, :-1])


def test_float32_cannot_change_a_token() -> None:
    assert all(generation.length > 256 for generation in GENERATIONS.values())
    reference = Reference(GENERATIONS["gpt-128"])
    tokens = reference.tokens()
    assert reference.least_margin > 1e-4  # logits of about 1: a thousand roundings apart
    assert len(np.unique(tokens)) > 100


def test_pytorch_gives_the_tokens_of_the_reference() -> None:
    pytest.importorskip("torch")
    from benchmarks.engines.torch_generation import prepare

    prepare(TINY, compiled=False)


def test_jax_gives_the_tokens_of_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jax")
    from benchmarks.engines.jax_generation import make

    monkeypatch.setitem(GENERATIONS, TINY.name, TINY)
    make(1, "").prepare(Task("generate", TINY.name, 1))


def test_who_generates() -> None:
    able = [name for name, info in ENGINES.items() if "generate" in info.kinds]
    peers = ["keras-jax", "keras-tensorflow", "keras-tensorflow-xla", "jax-cache", "torch", "torch-compile"]
    assert able == ["graphcore", *peers]


def test_tokens_a_second() -> None:
    assert [figure(seconds, "token") for seconds in (59e-6, 1e-3, 0.123)] == ["16,900/s", "1,000/s", "8.13/s"]
    assert figure(math.nan, "token") == "–"


@pytest.mark.parametrize("name", MASKED)
def test_padding_is_masked(name: str) -> None:
    workload = MASKED[name]
    words = workload.inputs(3) != 0
    assert words.shape == (3, PADDED_STEPS)
    np.testing.assert_array_equal(words, np.arange(PADDED_STEPS) < np.full((3, 1), workload.unmasked))


def test_padding_changes_nothing_but_the_time() -> None:
    padded, plain = build(graphcore, "lstm-25-of-200"), build(graphcore, "lstm")
    vectors, *others = padded.get_weights()
    plain.set_weights([np.resize(vectors, plain.weights[0].shape), *others])  # more words, the first ones the same
    words = MASKED["lstm-100-of-200"].inputs(2)
    words[:, 80:] = 0
    expected = plain.predict_on_batch(words[:, :80])
    np.testing.assert_allclose(padded.predict_on_batch(words), expected, rtol=1e-6)


def masked_rows(*seconds: float) -> list[Row]:
    return [
        Row(MASKED_TITLE, name, 32, "s", {"graphcore": Cell.of([value]), "torch": Cell(error="no")})
        for name, value in zip(MASKED, seconds, strict=True)
    ]


def test_a_straight_line_has_no_deviation() -> None:
    (line,) = lines_of(masked_rows(*(0.002 + 0.0004 * steps for steps in range(0, 201, 25))))
    assert dataclasses.astuple(line) == pytest.approx(("graphcore", 0.002, 0.0004, 0.0), abs=1e-12)


def test_the_deviation_is_the_largest_of_the_time_with_none_masked() -> None:
    times = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    times[4] += 0.9  # the line rises by a tenth, and misses this point by 0.8
    (line,) = lines_of(masked_rows(*times))
    assert line.deviation == pytest.approx(0.8 / 9.1)
    assert "| graphcore | 1.10 s | 40.0 ms | 8.8% |" in line_table(masked_rows(*times))


def test_too_few_times_make_no_line() -> None:
    assert lines_of(masked_rows(*[1.0] * 9)[:2]) == []
    assert line_table([]) == ""


def test_memory_is_shown_as_a_share_of_the_scores() -> None:
    (attention,) = ATTENTIONS.values()
    assert attention.score_bytes == 4 * attention.heads * 8192**2
    cells = {"graphcore": Cell.of([attention.score_bytes / 32]), "torch": Cell(error="no")}
    row = Row(TITLE, attention.name, 1, "B", {**cells, SCORES: Cell.of([float(attention.score_bytes)])})
    assert share_table([row]).splitlines()[-1] == f"| {attention.name} | 1/32.0 | – |"
    assert further_tables([row]) == [share_table([row])]
    assert further_figures(masked_rows(*[1.0] * 9)) == {
        "masked_lines": [pytest.approx(dataclasses.asdict(Line("graphcore", 1.0, 0.0, 0.0)), abs=1e-12)]
    }


def test_attention_is_attention() -> None:
    attention = AttentionWorkload("small", 70, 2, 8)
    query, key, value, cotangent = (array.astype(np.float64) for array in attention.operands(70))
    result, _, _, value_gradient = _attention(attention)()  # type: ignore[misc]
    scores = np.einsum("bqhd,bkhd->bhqk", query, key) / np.sqrt(8)
    scores = np.exp(np.where(np.tri(70, dtype=bool), scores, -np.inf))
    shares = scores / scores.sum(-1, keepdims=True)
    np.testing.assert_allclose(result, np.einsum("bhqk,bkhd->bqhd", shares, value), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(value_gradient, np.einsum("bhqk,bqhd->bkhd", shares, cotangent), rtol=1e-4, atol=1e-5)


class Eater(Engine):
    """Needs so many bytes in its step, half of them only for a moment."""

    def prepare(self, task: Task) -> Step:
        def step() -> object:
            kept, passing = (np.ones(2**25, np.uint8) for _ in range(2))
            return kept[passing[0] :]

        return step


@pytest.mark.skipif(not CAN_RESTART_PEAKS, reason="only Linux lets a peak begin anew")
def test_growth_is_what_a_step_needs_at_most() -> None:
    replies = io.StringIO()
    command = {"do": "growth", "task": {"kind": "attention", "name": "none", "batch": 1}}
    serve(Worker(Eater), io.StringIO(json.dumps(command) + "\n"), replies)
    reply: dict[str, Any] = json.loads(replies.getvalue())
    assert reply["ok"], reply
    # Linux counts pages in batches for each processor.
    assert 2**26 - 2**21 <= reply["grown_bytes"] < 2**26 + 2**23


@pytest.mark.skipif(not CAN_RESTART_PEAKS, reason="only Linux lets a peak begin anew")
def test_a_peak_begins_anew() -> None:
    held = np.ones(2**26, np.uint8)
    high = peak_resident_bytes()
    del held
    assert restart_peak() < high
