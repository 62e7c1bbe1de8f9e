"""Every optimizer and schedule against Keras's numbers: five steps each."""

import numpy as np
import pytest
from reference_arrays import load

from compiler.interpret import interpret
from graphcore import optimizers
from graphcore.tracing import Trace
from graphcore.variable import Variable

REFERENCES = load("optimizers")
STEPS = sorted(name for name, case in REFERENCES.cases.items() if "variables" in case)
SCHEDULES = sorted(name for name, case in REFERENCES.cases.items() if "rates" in case)


def build(case):
    optimizer = getattr(optimizers, case["class"])(**case["kwargs"])
    if case["exclude"]:
        optimizer.exclude_from_weight_decay(var_names=case["exclude"])
    pairs = zip(case["variables"], case["names"], strict=True)
    variables = [Variable(REFERENCES[key], name=name) for key, name in pairs]
    optimizer.build(variables)
    return optimizer, variables


@pytest.mark.parametrize("name", STEPS)
def test_steps(name):
    case = REFERENCES.cases[name]
    optimizer, variables = build(case)
    gradients = [REFERENCES[key] for key in case["gradients"]]
    for step in range(len(gradients[0])):
        optimizer.apply([gradient[step] for gradient in gradients], variables)
        for variable, key in zip(variables, case["values"], strict=True):
            np.testing.assert_allclose(variable.numpy(), REFERENCES[key][step], rtol=1e-5, atol=1e-6)
    assert int(optimizer.variables[0].numpy()) == len(gradients[0])
    if "finalized" in case:
        optimizer.finalize_variable_values(variables)
        for variable, key in zip(variables, case["finalized"], strict=True):
            np.testing.assert_allclose(variable.numpy(), REFERENCES[key], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", STEPS)
def test_configuration_makes_an_equal_optimizer(name):
    case = REFERENCES.cases[name]
    optimizer = getattr(optimizers, case["class"])(**case["kwargs"])
    config = optimizers.serialize(optimizer)
    again = optimizers.deserialize(config)
    assert type(again) is type(optimizer)
    assert again.get_config() == optimizer.get_config()
    assert config["module"] == "keras.optimizers"
    assert config["class_name"] == case["class"]


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule(name):
    case = REFERENCES.cases[name]
    schedule = getattr(optimizers.schedules, case["class"])(**case["kwargs"])
    again = optimizers.schedules.deserialize(optimizers.schedules.serialize(schedule))
    for step, rate in zip(case["steps"], case["rates"], strict=True):
        np.testing.assert_allclose(schedule(step), rate, rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(again(step), rate, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", STEPS)
def test_traced_step(name):
    """One program for a step, run for every step: what a compiled training does."""
    case = REFERENCES.cases[name]
    optimizer, weights = build(case)
    gradients = [REFERENCES[key] for key in case["gradients"]]
    trace = Trace(name)
    with trace:
        tensors = [trace.input(f"g{i}", gradient.shape[1:]) for i, gradient in enumerate(gradients)]
        optimizer.apply(tensors, weights)
    graph, variables = trace.finish({})
    for step in range(len(gradients[0])):
        _, updates = interpret(graph, [g[step] for g in gradients], [variable.array for variable in variables])
        for variable in variables:
            variable.assign(updates.get(trace.name_of(variable), variable.array))
        for weight, key in zip(weights, case["values"], strict=True):
            np.testing.assert_allclose(weight.numpy(), REFERENCES[key][step], rtol=1e-5, atol=1e-6)
