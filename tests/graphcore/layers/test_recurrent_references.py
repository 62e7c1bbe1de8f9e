"""Recurrent layers against Keras's numbers: outputs, states, gradients, batch after batch, training steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference_arrays import load

from compiler.driver import compile_graph
from compiler.interpret import interpret
from compiler.passes.context import PassContext
from compiler.passes.differentiate import differentiate, emit_gradient
from graphcore import models, ops, optimizers, tree
from graphcore.saving import deserialize_keras_object
from graphcore.tracing import Trace

REFERENCES = load("recurrent")
CASES = [name for name in REFERENCES.cases if not name.startswith(("training", "stateful"))]
STATEFUL = [name for name in REFERENCES.cases if name.startswith("stateful")]
TRAINING = [name for name in REFERENCES.cases if name.startswith("training")]
TOLERANCE = {"rtol": 1e-5, "atol": 2e-6}


def prepared(case: dict[str, Any], shape: tuple[int, ...]) -> Any:
    """The layer that Keras's configuration describes, with the stored weights."""
    layer = deserialize_keras_object(case["layer"])
    layer.build(shape)
    assert [weight.name for weight in layer.weights] == [entry["name"] for entry in case["weights"]]
    layer.set_weights([REFERENCES[entry["key"]] for entry in case["weights"]])
    return layer


def options(case: dict[str, Any]) -> dict[str, Any]:
    found = dict(case["call"])
    if case["mask"] is not None:
        found["mask"] = REFERENCES[case["mask"]]
    if case["initial"]:
        found["initial_state"] = [REFERENCES[key] for key in case["initial"]]
    return found


@pytest.mark.parametrize("name", CASES)
def test_outputs(name: str) -> None:
    case = REFERENCES.cases[name]
    x = REFERENCES[case["input"]]
    layer = prepared(case, x.shape)
    found = tree.flatten(layer(x, **options(case)))
    expected = [REFERENCES[key] for key in case["outputs"]]
    for value, reference in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, reference, **TOLERANCE)
    if not case["initial"]:
        shapes = layer.compute_output_shape(x.shape)
        flat = [shapes] if isinstance(shapes[0], (int, type(None))) else list(map(tuple, _shapes(shapes)))
        assert flat == [value.shape for value in expected]


def _shapes(structure: Any) -> list[Any]:
    """The shapes in a structure of them."""
    if all(isinstance(entry, (int, type(None))) for entry in structure):
        return [structure]
    return [shape for entry in structure for shape in _shapes(entry)]


def traced(name: str) -> tuple[Any, list[Any], list[Any], list[np.ndarray]]:
    """Outputs and gradients of sum(outputs * cotangents) as a graph, with what it runs on and should give."""
    case = REFERENCES.cases[name]
    x = REFERENCES[case["input"]]
    layer = prepared(case, x.shape)
    given = options(case)
    states = given.get("initial_state", [])
    mask = given.get("mask")
    trace = Trace(name)
    with trace:
        batch = x.shape[0] if case["initial"] else None
        tensor = trace.input("x", (batch, None, *x.shape[2:]), "float32")
        initial = [trace.input(f"s{i}", state.shape, "float32") for i, state in enumerate(states)]
        call: dict[str, Any] = {"initial_state": initial} if initial else {}
        if mask is not None:
            call["mask"] = trace.input("mask", (batch, None), "bool")
        outputs = tree.flatten(layer(tensor, **call))
        loss = 0.0
        for i, output in enumerate(outputs):
            loss = loss + ops.sum(output * trace.input(f"c{i}", output.dims, "float32"))
        wanted = [trace.initial(weight) for weight in layer.trainable_weights] + [tensor, *initial]
        gradients = emit_gradient(trace.builder, trace.unwrap(loss), [trace.unwrap(value) for value in wanted])
        results = [*outputs, *map(trace.wrap, gradients)]
    graph, variables = trace.finish({f"y{i}": value for i, value in enumerate(results)})
    feeds = [x, *states, *([] if mask is None else [mask]), *(REFERENCES[key] for key in case["cotangents"])]
    expected = [REFERENCES[key] for key in (*case["outputs"], *case["gradients"])]
    return graph, feeds, [variable.storage for variable in variables], expected


@pytest.mark.parametrize("name", CASES)
def test_gradients(name: str) -> None:
    graph, feeds, state, expected = traced(name)
    found, _ = interpret(differentiate(graph, PassContext()), feeds, state)
    for value, reference in zip(found, expected, strict=True):
        scale = max(1.0, float(np.abs(reference).max(initial=0)))
        np.testing.assert_allclose(value, reference, rtol=1e-5, atol=2e-6 * scale)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_compiled(name: str) -> None:
    graph, feeds, state, expected = traced(name)
    found = compile_graph(graph).executable.run(feeds, state)
    for value, reference in zip(found, expected, strict=True):
        scale = max(1.0, float(np.abs(reference).max(initial=0)))
        np.testing.assert_allclose(value, reference, rtol=2e-5, atol=4e-6 * scale)


@pytest.mark.parametrize("name", STATEFUL)
def test_batch_after_batch(name: str) -> None:
    case = REFERENCES.cases[name]
    batches = [REFERENCES[key] for key in case["batches"]]
    layer = prepared(case, batches[0].shape)
    mask = None if case["mask"] is None else REFERENCES[case["mask"]]
    for number, (batch, keys) in enumerate(zip(batches, case["results"], strict=True)):
        if number == 2 and case["resets"]:
            layer.reset_state()
        for value, key in zip(tree.flatten(layer(batch, mask=mask)), keys, strict=True):
            np.testing.assert_allclose(value, REFERENCES[key], **TOLERANCE)


@pytest.mark.parametrize("name", TRAINING)
def test_training_steps(name: str) -> None:
    """Embedding, masks through every layer, loss and metrics of valid steps only."""
    case = REFERENCES.cases[name]
    model = deserialize_keras_object(case["model"])
    assert isinstance(model, models.Sequential)
    x, y = REFERENCES[case["x"]], REFERENCES[case["y"]]
    model.build_for(x[0])
    assert [tuple(weight.shape) for weight in model.weights] == [REFERENCES[key].shape for key in case["initial"]]
    model.set_weights([REFERENCES[key] for key in case["initial"]])
    model.compile(optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    logs = [model.train_on_batch(x[step % 2], y[step % 2]) for step in range(8)]
    found, expected = np.array(logs), REFERENCES[case["logs"]]
    np.testing.assert_allclose(found[:, 0], expected[:, 0], rtol=1e-5, atol=1e-6)
    if name == "training_classifier":  # on JAX the mask of the predictions is lost before it reaches metrics
        np.testing.assert_allclose(found[:, 1], expected[:, 1], rtol=1e-6)
    for weight, key in zip(model.get_weights(), case["final"], strict=True):
        np.testing.assert_allclose(weight, REFERENCES[key], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.predict_on_batch(x[0]), REFERENCES[case["prediction"]], rtol=1e-4, atol=1e-5)
