"""Every metric against Keras's numbers, after each update."""

import numpy as np
import pytest
from reference_arrays import load

from compiler.interpret import interpret
from graphcore import metrics
from graphcore.metrics.resolution import resolve_metric
from graphcore.tracing import Trace

REFERENCES = load("metrics")


def build(case):
    if "given" not in case:
        return getattr(metrics, case["class"])(**case["kwargs"])
    first = case["updates"][0]
    shapes = [REFERENCES[first[key]].shape for key in ("y_true", "y_pred")]
    metric = resolve_metric(case["given"], *shapes)
    assert metric.name == case["given"]
    return metric


@pytest.mark.parametrize("name", sorted(REFERENCES.cases))
def test_results(name):
    case = REFERENCES.cases[name]
    metric = build(case)
    assert type(metric).__name__ == case["class"]
    for update, expected in zip(case["updates"], case["results"], strict=True):
        weight = None if update["sample_weight"] is None else REFERENCES[update["sample_weight"]]
        metric.update_state(REFERENCES[update["y_true"]], REFERENCES[update["y_pred"]], weight)
        np.testing.assert_allclose(metric.result(), expected, rtol=1e-5, atol=1e-6)
    metric.reset_state()
    assert all(not variable.numpy().any() for variable in metric.variables)


@pytest.mark.parametrize("name", sorted(REFERENCES.cases))
def test_configuration_makes_an_equal_metric(name):
    metric = build(REFERENCES.cases[name])
    again = metrics.deserialize(metrics.serialize(metric))
    assert type(again) is type(metric)
    assert again.get_config() == metric.get_config()


@pytest.mark.parametrize("name", sorted(REFERENCES.cases))
def test_traced_with_a_symbolic_batch(name):
    """One program that updates and reports, run on every batch: what a compiled evaluation does."""
    case = REFERENCES.cases[name]
    metric = build(case)
    batches = []
    for update in case["updates"]:
        keys = [update["y_true"], update["y_pred"], update["sample_weight"]]
        batches.append([REFERENCES[key] for key in keys if key is not None])
    trace = Trace(name)
    with trace:
        shapes = [(None, *x.shape[1:]) for x in batches[0]]
        tensors = [
            trace.input(f"x{i}", shape, x.dtype) for i, (shape, x) in enumerate(zip(shapes, batches[0], strict=True))
        ]
        metric.update_state(*tensors)
        result = metric.result()
    graph, variables = trace.finish({"result": result})
    for feeds, expected in zip(batches, case["results"], strict=True):
        (found,), updates = interpret(graph, feeds, [variable.array for variable in variables])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        for variable in variables:
            variable.assign(updates.get(trace.name_of(variable), variable.array))
