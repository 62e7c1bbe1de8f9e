"""CTC against Keras's numbers, compiled and interpreted, and its limits."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from reference_arrays import load

import graphcore as keras
from compiler.driver import compile_graph
from compiler.interpret import interpret
from compiler.passes.context import PassContext
from compiler.passes.differentiate import differentiate, emit_gradient
from graphcore import layers, losses, ops
from graphcore.tracing import Trace

REFERENCES = load("ctc")
LOSSES = sorted(name for name, case in REFERENCES.cases.items() if case["kind"] == "loss")
DECODINGS = sorted(name for name, case in REFERENCES.cases.items() if case["kind"] == "decode")
NAMES = ("target", "output", "target_length", "output_length")


def traced(case: dict[str, Any]) -> tuple[Any, list[np.ndarray]]:
    """A graph of the loss and its gradient; batch and time are symbols."""
    feeds = [REFERENCES[case[name]] for name in NAMES]
    trace = Trace("ctc")
    with trace:
        shapes = [(None, x.shape[1]) if i == 0 else (None,) * min(x.ndim, 2) + x.shape[2:] for i, x in enumerate(feeds)]
        tensors = [trace.input(n, s, x.dtype) for n, s, x in zip(NAMES, shapes, feeds, strict=True)]
        value = ops.ctc_loss(*tensors, mask_index=case["mask_index"])
        total = trace.unwrap(ops.sum(value))
        (gradient,) = emit_gradient(trace.builder, total, [trace.unwrap(tensors[1])])
    return trace.finish({"value": value, "gradient": trace.wrap(gradient)})[0], feeds


@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_gradient(name: str) -> None:
    case = REFERENCES.cases[name]
    graph, feeds = traced(case)
    wanted = {key: REFERENCES[case[key]] for key in ("value", "gradient")}
    wide = [x.astype("float64") if x.dtype == "float32" else x for x in feeds]
    interpreted, _ = interpret(differentiate(graph, PassContext()), wide, [])
    compiled = compile_graph(graph).executable.run([np.ascontiguousarray(x) for x in feeds], [])
    for (key, _), exact, got in zip(graph.outputs, interpreted, compiled, strict=True):
        if name == "impossible" and key == "gradient":  # scores near -1e5 are 0.008 apart in float32
            np.testing.assert_allclose(got, wanted[key], atol=0.02, err_msg=key)
            continue
        np.testing.assert_allclose(exact, wanted[key], rtol=1e-6, atol=1e-7, err_msg=key)
        np.testing.assert_allclose(got, wanted[key], rtol=2e-5, atol=2e-5, err_msg=key)


def test_loss_is_the_probability_of_all_alignments() -> None:
    rng = np.random.default_rng(4)
    logits = rng.normal(size=(1, 5, 3))
    p = np.exp(logits[0]) / np.exp(logits[0]).sum(-1, keepdims=True)
    for target in ([1], [1, 2], [2, 2], [1, 1, 2]):
        total = 0.0
        for path in itertools.product(range(3), repeat=5):
            merged = [label for label, _ in itertools.groupby(path) if label != 0]
            if merged == target:
                total += float(np.prod(p[np.arange(5), path]))
        value = ops.ctc_loss(np.array([target]), logits.astype("float32"), np.array([len(target)]), np.array([5]))
        np.testing.assert_allclose(value, [-np.log(total)], rtol=1e-5)


def test_class() -> None:
    case = REFERENCES.cases["class"]
    loss = losses.CTC()
    y_true, y_pred = REFERENCES[case["target"]], REFERENCES[case["output"]]
    np.testing.assert_allclose(loss(y_true, y_pred), REFERENCES[case["value"]], rtol=1e-5)
    again = losses.deserialize(losses.serialize(loss))
    assert type(again) is losses.CTC
    assert again.get_config() == {"name": "ctc", "reduction": "sum_over_batch_size"} == loss.get_config()
    assert losses.get("ctc") is losses.ctc
    with pytest.raises(ValueError, match="max_length"):
        losses.ctc(y_true[0], y_pred)
    with pytest.raises(ValueError, match="num_classes"):
        losses.ctc(y_true, y_pred[0])


def test_a_model_learns_with_it() -> None:
    keras.utils.set_random_seed(2)
    rng = np.random.default_rng(0)
    y = rng.integers(1, 5, (16, 3)).astype("int32")
    x = np.repeat(np.eye(5, dtype="float32")[y], 4, axis=1) + 0.1 * rng.normal(size=(16, 12, 5)).astype("float32")
    model = keras.Sequential([keras.Input((None, 5)), layers.Conv1D(16, 3, padding="same"), layers.Dense(5)])
    model.compile("adam", losses.CTC())
    model.optimizer.learning_rate = 0.05
    first = model.train_on_batch(x, y)
    for _ in range(40):
        last = model.train_on_batch(x, y)
    assert last < 0.2 * first
    labels, _ = ops.ctc_decode(model.predict(x, verbose=0), np.full(16, 12))
    runs = [[label for label, _ in itertools.groupby(row)] for row in y]
    decoded = [[label for label in row if label >= 0] for row in labels[0]]
    right = sum(found in (list(row), run) for found, row, run in zip(decoded, y, runs, strict=True))
    assert right >= 14


@pytest.mark.parametrize("name", DECODINGS)
def test_decode(name: str) -> None:
    case = REFERENCES.cases[name]
    labels, scores = ops.ctc_decode(
        REFERENCES[case["inputs"]], REFERENCES[case["sequence_lengths"]], **case["kwargs"]
    )
    wanted, wanted_scores = REFERENCES[case["labels"]], REFERENCES[case["scores"]]
    assert labels.dtype == np.int32
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, wanted_scores, rtol=1e-5, atol=1e-5)
    finite = np.isfinite(wanted_scores).T
    np.testing.assert_array_equal(labels[finite], wanted[finite])


def test_greedy_in_a_model() -> None:
    case = REFERENCES.cases["greedy"]
    x, lengths = REFERENCES[case["inputs"]], REFERENCES[case["sequence_lengths"]]
    logits, steps = keras.Input((None, x.shape[-1])), keras.Input((), dtype="int32")
    labels, scores = ops.ctc_decode(logits, steps)
    assert (labels.shape, scores.shape) == ((1, None, None), (None, 1))
    found, _ = keras.Model([logits, steps], [labels, scores])([x, lengths])
    np.testing.assert_array_equal(found, REFERENCES[case["labels"]])


def test_beam_search_finds_the_best_of_all_labels() -> None:
    rng = np.random.default_rng(8)
    logits = rng.normal(size=(1, 4, 3)).astype("float32")
    p = np.exp(logits[0]) / np.exp(logits[0]).sum(-1, keepdims=True)
    totals: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(3), repeat=4):
        labels = tuple(label for label, _ in itertools.groupby(path) if label != 0)
        totals[labels] = totals.get(labels, 0.0) + float(np.prod(p[np.arange(4), path]))
    best = sorted(totals, key=lambda labels: -totals[labels])
    found, scores = ops.ctc_decode(logits, [4], strategy="beam_search", beam_width=100, top_paths=len(best) + 1)
    for rank, labels in enumerate(best):
        assert tuple(found[rank, 0][found[rank, 0] >= 0]) == labels
        np.testing.assert_allclose(scores[0, rank], np.log(totals[labels]), rtol=1e-5)
    assert scores[0, -1] == -np.inf


def test_errors() -> None:
    x = np.zeros((1, 4, 3), "float32")
    with pytest.raises(ValueError, match="Invalid strategy"):
        ops.ctc_decode(x, [4], strategy="best")
    with pytest.raises(ValueError, match="beam_width=0"):
        ops.ctc_decode(x, [4], strategy="beam_search", beam_width=0)
    with pytest.raises(ValueError, match="runs on arrays"):
        ops.ctc_decode(keras.Input((4, 3)), [4], strategy="beam_search")
    with pytest.raises(ValueError, match="must be of shape"):
        ops.ctc_loss(np.zeros(3, "int32"), x, [1], [4])
