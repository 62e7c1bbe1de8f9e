"""Attention layers against Keras's numbers: outputs, attention weights, gradients, training steps."""

import numpy as np
import pytest
from reference_arrays import load

import graphcore
from compiler.driver import compile_graph
from compiler.interpret import interpret
from compiler.passes.context import PassContext
from compiler.passes.differentiate import differentiate, emit_gradient
from graphcore import layers, ops
from graphcore.tracing import Trace
from runtime.dimensions import symbol

REFERENCES = load("attention")
CASES = [name for name, case in REFERENCES.cases.items() if "call" in case]
FUNCTIONS = [name for name, case in REFERENCES.cases.items() if "tensors" in case]
TRAINING = [name for name, case in REFERENCES.cases.items() if "model" in case]
TOLERANCE = {"rtol": 1e-5, "atol": 2e-6}


def prepared(case):
    """The layer with the stored weights, made again from its configuration, and its inputs."""
    layer = getattr(layers, case["class"])(**case["kwargs"])
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    inputs = [REFERENCES[key] for key in case["inputs"]]
    shapes = [(None, *x.shape[1:]) for x in inputs]
    again.build(shapes) if case["as_list"] else again.build(*shapes)
    assert [weight.path.split("/", 1)[-1] for weight in again.weights] == [entry["name"] for entry in case["weights"]]
    again.set_weights([REFERENCES[entry["key"]] for entry in case["weights"]])
    return again, inputs


def called(layer, case, inputs, masks, **call):
    """All outputs of one call."""
    call = {**case["call"], **call}
    if case["as_list"]:
        options = {"mask": [masks.get("query_mask"), masks.get("value_mask")]} if masks else {}
        outputs = layer(inputs, **options, **call)
    else:
        outputs = layer(inputs[0], **dict(zip(("value", "key"), inputs[1:], strict=False)), **masks, **call)
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def masks_of(case):
    return {name: REFERENCES[key] for name, key in case["masks"].items()}


@pytest.mark.parametrize("name", CASES)
def test_output(name):
    case = REFERENCES.cases[name]
    layer, inputs = prepared(case)
    found = called(layer, case, inputs, masks_of(case))
    for value, key in zip(found, case["outputs"], strict=True):
        np.testing.assert_allclose(value, REFERENCES[key], **TOLERANCE)
    if case["call"].get("return_attention_scores"):
        alone = called(layer, case, inputs, masks_of(case), return_attention_scores=False)
        seen = REFERENCES[case["outputs"][1]].any(-1)
        if seen.all():  # else Keras's answers with and without scores differ
            np.testing.assert_allclose(alone[0], found[0], **TOLERANCE)


def traced(name):
    """The outputs and all gradients of sum(output * cotangent) as a graph, with what it runs on and should give."""
    case = REFERENCES.cases[name]
    layer, inputs = prepared(case)
    trace = Trace(name)
    with trace:
        # Batch and positions are symbols, as in a compiled model.
        dynamic = 1 if case["class"] == "EinsumDense" or len(inputs[0].shape) > 3 else 2
        named = ["batch", "queries", "keys", "keys"]
        shapes = [
            (None, *x.shape[1:]) if dynamic == 1 else (None, symbol(named[i + 1]), *x.shape[2:])
            for i, x in enumerate(inputs)
        ]
        tensors = [trace.input(f"x{i}", shape, "float32") for i, shape in enumerate(shapes)]
        dims = {"query_mask": tensors[0].dims[:2], "value_mask": tensors[-1].dims[:2], "key_mask": tensors[-1].dims[:2]}
        pairs = (tensors[0].dims[0], 2, tensors[0].dims[1], tensors[-1].dims[1])
        masks = {}
        for key, mask in masks_of(case).items():
            whole = dims.get(key, pairs if mask.ndim == 4 else (pairs[0], *pairs[2:]))
            shape = [1 if own == 1 else extent for own, extent in zip(mask.shape, whole, strict=True)]
            masks[key] = trace.input(key, shape, "bool")
        outputs = called(layer, case, tensors, masks)
        cotangents = [trace.input(f"g{i}", output.dims, "float32") for i, output in enumerate(outputs)]
        loss = sum(ops.sum(output * g) for output, g in zip(outputs, cotangents, strict=True))
        wanted = [*(trace.initial(weight) for weight in layer.trainable_weights), *tensors]
        gradients = emit_gradient(trace.builder, trace.unwrap(loss), [trace.unwrap(x) for x in wanted])
        results = {f"output{i}": output for i, output in enumerate(outputs)}
        results |= {f"gradient{i}": trace.wrap(value) for i, value in enumerate(gradients)}
    graph, variables = trace.finish(results)
    feeds = [*inputs, *masks_of(case).values(), *(REFERENCES[key] for key in case["cotangents"])]
    expected = [REFERENCES[key] for key in (*case["outputs"], *case["gradients"])]
    return graph, feeds, [variable.storage for variable in variables], expected


@pytest.mark.parametrize("name", CASES)
def test_gradients(name):
    graph, feeds, state, expected = traced(name)
    found, _ = interpret(differentiate(graph, PassContext()), feeds, state)
    for value, reference in zip(found, expected, strict=True):
        scale = max(1.0, float(np.abs(reference).max(initial=0)))
        np.testing.assert_allclose(value, reference, rtol=1e-5, atol=2e-6 * scale)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_compiled(name):
    graph, feeds, state, expected = traced(name)
    found = compile_graph(graph).executable.run(feeds, state)
    for value, reference in zip(found, expected, strict=True):
        scale = max(1.0, float(np.abs(reference).max(initial=0)))
        np.testing.assert_allclose(value, reference, rtol=2e-5, atol=4e-6 * scale)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name):
    case = REFERENCES.cases[name]
    arrays = {key: REFERENCES[stored] for key, stored in case["tensors"].items()}
    found = ops.dot_product_attention(**arrays, **case["kwargs"])
    np.testing.assert_allclose(found, REFERENCES[case["output"]], **TOLERANCE)
    trace = Trace(name)
    with trace:
        tensors = {key: trace.input(key, (None, *x.shape[1:]) if len(x) > 1 else x.shape, x.dtype.name)
                   for key, x in arrays.items()}  # fmt: skip
        output = ops.dot_product_attention(**tensors, **case["kwargs"])
        loss = trace.unwrap(ops.sum(output * trace.input("g", output.shape)))
        wanted = [trace.unwrap(tensors[key]) for key in case["gradients"]]
        gradients = emit_gradient(trace.builder, loss, wanted)
        outputs = {f"gradient{i}": trace.wrap(value) for i, value in enumerate(gradients)}
    graph, _ = trace.finish(outputs)
    found, _ = interpret(differentiate(graph, PassContext()), [*arrays.values(), REFERENCES[case["cotangent"]]], [])
    for value, key in zip(found, case["gradients"].values(), strict=True):
        np.testing.assert_allclose(value, REFERENCES[key], **TOLERANCE)


@pytest.mark.parametrize("name", TRAINING)
def test_training(name, tmp_path):
    """Keras's own configuration of the model, eight steps of Adam, and the trained model saved and loaded."""
    case = REFERENCES.cases[name]
    model = graphcore.saving.deserialize_keras_object(case["model"])
    assert [weight.path for weight in model.weights] == case["paths"]
    model.set_weights([REFERENCES[key] for key in case["initial"]])
    optimizer = graphcore.optimizers.Adam(0.02, epsilon=1e-4)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = [REFERENCES[key] for key in case["x"]], REFERENCES[case["y"]]
    logs = [model.train_on_batch([part[step % 2] for part in x], y[step % 2]) for step in range(8)]
    np.testing.assert_allclose(logs, REFERENCES[case["logs"]], rtol=1e-5)
    for weight, key in zip(model.weights, case["final"], strict=True):
        np.testing.assert_allclose(weight.numpy(), REFERENCES[key], rtol=1e-5, atol=2e-6, err_msg=weight.path)
    feed = [part[0] for part in x]
    prediction = model.predict_on_batch(feed)
    np.testing.assert_allclose(prediction, REFERENCES[case["prediction"]], rtol=1e-5)
    path = tmp_path / "model.keras"
    model.save(path)
    again = graphcore.saving.load_model(path)
    np.testing.assert_array_equal(again.predict_on_batch(feed), prediction)
