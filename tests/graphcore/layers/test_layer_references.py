"""Every layer against Keras's numbers: outputs, gradients, updated weights."""

import numpy as np
import pytest
from reference_arrays import load

from compiler.driver import compile_graph
from compiler.interpret import interpret
from compiler.passes.context import PassContext
from compiler.passes.differentiate import differentiate, emit_gradient
from graphcore import activations, layers, ops
from graphcore.tracing import Trace

REFERENCES = load("layers")
# Keras 3.15 computes sparsemax wrongly (its results do not sum to 1); test_activations.py has the definition.
LEFT_OUT = {"activation_sparsemax"}
CASES = sorted(
    name
    for name, case in REFERENCES.cases.items()
    if name not in LEFT_OUT and (case["class"] == "function" or hasattr(layers, case["class"]))
)
# Sums of many float32 terms; everything else is judged at 1e-5.
TOLERANCE = {"rtol": 1e-5, "atol": 2e-6}


def build(case):
    if case["class"] == "function":
        options = {key: value for key, value in case["kwargs"].items() if key != "name"}
        return layers.Lambda(getattr(activations, case["kwargs"]["name"]), arguments=options)
    layer = getattr(layers, case["class"])(**case["kwargs"])
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    return again


def prepared(case):
    """The layer with the stored weights, and its inputs."""
    layer = build(case)
    inputs = [REFERENCES[key] for key in case["inputs"]]
    layer.build_for(inputs if len(inputs) > 1 else inputs[0])
    expected = [(entry["name"], entry["trainable"]) for entry in case["weights"]]
    assert [(weight.name, weight.trainable) for weight in layer.weights] == expected
    layer.set_weights([REFERENCES[entry["key"]] for entry in case["weights"]])
    return layer, inputs


def check_weights(layer, keys):
    for weight, key in zip(layer.weights, keys, strict=True):
        np.testing.assert_allclose(weight.numpy(), REFERENCES[key], **TOLERANCE)


@pytest.mark.parametrize("name", CASES)
def test_output(name):
    case = REFERENCES.cases[name]
    layer, inputs = prepared(case)
    given = inputs if len(inputs) > 1 else inputs[0]
    result = layer(given, **case["call"])
    expected = REFERENCES[case["output"]]
    np.testing.assert_allclose(result, expected, **TOLERANCE)
    assert result.dtype == expected.dtype
    shapes = [(None, *x.shape[1:]) for x in inputs]
    assert layer.compute_output_shape(shapes if len(shapes) > 1 else shapes[0])[1:] == expected.shape[1:]
    if "weights_after" in case:
        check_weights(layer, case["weights_after"])
    if "second" in case:
        second = case["second"]
        result = layer(REFERENCES[second["inputs"][0]], **case["call"])
        np.testing.assert_allclose(result, REFERENCES[second["output"]], **TOLERANCE)
        check_weights(layer, second["weights_after"])


def traced(name):
    """The output and all gradients of sum(output * cotangent) as a graph, with what it runs on and should give."""
    case = REFERENCES.cases[name]
    layer, inputs = prepared(case)
    trace = Trace(name)
    with trace:
        # The batch is a symbol, as in a compiled model.
        tensors = [trace.input(f"x{i}", (None, *x.shape[1:]), x.dtype) for i, x in enumerate(inputs)]
        output = layer(tensors if len(tensors) > 1 else tensors[0], **case["call"])
        loss = ops.sum(output * trace.input("cotangent", output.shape, "float32"))
        wanted = [x for x, key in zip(tensors, case["input_gradients"], strict=True) if key is not None]
        wanted += [trace.initial(weight) for weight in layer.trainable_weights]
        gradients = emit_gradient(trace.builder, trace.unwrap(loss), [trace.unwrap(x) for x in wanted])
        outputs = {"output": output} | {f"gradient{i}": trace.wrap(value) for i, value in enumerate(gradients)}
    graph, variables = trace.finish(outputs)
    keys = [case["output"], *(key for key in case["input_gradients"] if key is not None), *case["weight_gradients"]]
    feeds = [*inputs, REFERENCES[case["cotangent"]]]
    return graph, feeds, [variable.storage for variable in variables], [REFERENCES[key] for key in keys]


@pytest.mark.parametrize("name", CASES)
def test_gradients(name):
    graph, feeds, state, expected = traced(name)
    found, _ = interpret(differentiate(graph, PassContext()), feeds, state)
    for value, reference in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_allclose(value, reference, **TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_compiled(name):
    graph, feeds, state, expected = traced(name)
    found = compile_graph(graph).executable.run(feeds, state)
    for value, reference in zip(found, expected, strict=True):
        scale = max(1.0, float(np.abs(reference).max(initial=0)))
        np.testing.assert_allclose(value, reference, rtol=2e-5, atol=4e-6 * scale)
