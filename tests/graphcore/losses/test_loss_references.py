"""Every loss against Keras's numbers: values and gradients."""

import numpy as np
import pytest
from reference_arrays import load

from compiler.interpret import interpret
from compiler.passes.context import PassContext
from compiler.passes.differentiate import differentiate, emit_gradient
from graphcore import losses, ops
from graphcore.tracing import Trace

REFERENCES = load("losses")
# The references are float64. In float32 the upper clip 1 - 1e-7 is 1 - 1.19e-7, so that the largest loss of
# a binary label is -log(1.19e-7) = 15.94 instead of 16.12; Keras in float32 has the same.
TOLERANCE = {"binary_saturated": {"rtol": 1e-2}}


def tolerance(name):
    return {"rtol": 1e-5, "atol": 1e-6, **TOLERANCE.get(name, {})}


@pytest.mark.parametrize("name", sorted(REFERENCES.cases))
def test_value(name):
    case = REFERENCES.cases[name]
    loss = getattr(losses, case["class"])(**case["kwargs"])
    weight = None if case["sample_weight"] is None else REFERENCES[case["sample_weight"]]
    value = loss(REFERENCES[case["y_true"]], REFERENCES[case["y_pred"]], weight)
    np.testing.assert_allclose(value, REFERENCES[case["value"]], **tolerance(name))
    assert np.asarray(value).dtype == np.float32


@pytest.mark.parametrize("name", sorted(REFERENCES.cases))
def test_configuration_makes_an_equal_loss(name):
    case = REFERENCES.cases[name]
    loss = getattr(losses, case["class"])(**case["kwargs"])
    again = losses.deserialize(losses.serialize(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()


@pytest.mark.parametrize("name", sorted(REFERENCES.cases))
def test_gradient(name):
    case = REFERENCES.cases[name]
    loss = getattr(losses, case["class"])(**case["kwargs"])
    keys = [case["y_true"], case["y_pred"], case["sample_weight"]]
    feeds = [REFERENCES[key] for key in keys if key is not None]
    trace = Trace(name)
    with trace:
        # The batch is a symbol, as in a compiled model.
        tensors = [trace.input(f"x{i}", (None, *x.shape[1:]), x.dtype) for i, x in enumerate(feeds)]
        total = ops.sum(loss(*tensors))
        (gradient,) = emit_gradient(trace.builder, trace.unwrap(total), [trace.unwrap(tensors[1])])
    graph, _ = trace.finish({"gradient": trace.wrap(gradient)})
    (found,), _ = interpret(differentiate(graph, PassContext()), feeds, [])
    np.testing.assert_allclose(found, REFERENCES[case["gradient"]], **tolerance(name))
