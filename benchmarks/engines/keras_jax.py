"""Keras on JAX (XLA): the jitted stateless step of Keras's guide "Writing a training loop from scratch in JAX".

That loop is the leanest that Keras documents: `fit` adds to it. Data and state stay on the device.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from benchmarks.engines.engine import Engine, Step
from benchmarks.keras_models import accuracy_of, build, loss_of
from benchmarks.workloads import KernelWorkload, Task


class KerasJaxEngine(Engine):
    """JAX takes its threads from the cores that the process may use."""

    modules = ("keras", "jax", "jaxlib")

    def prepare(self, task: Task) -> Step:
        """A training step, a jitted forward pass, or one jitted XLA operation."""
        if task.kind == "kernel":
            return _kernel(task.kernel)
        keras.utils.clear_session(free_memory=False)
        model = build(keras, task.name)
        x = jax.device_put(task.workload.inputs(task.batch))
        return _training(model, x, task) if task.kind == "train" else _inference(model, x)


def _values(variables: list[Any]) -> list[Any]:
    return [variable.value for variable in variables]


def _training(model: Any, x: Any, task: Task) -> Step:
    y = jax.device_put(task.workload.targets(task.batch))
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    loss_function = loss_of(keras, task.name)
    accuracy = accuracy_of(keras, task.name)

    def loss_and_rest(trainable: Any, rest: Any, x: Any, y: Any) -> Any:
        predictions, rest = model.stateless_call(trainable, rest, x, training=True)
        return loss_function(y, predictions), (rest, predictions)

    def one_step(state: Any, x: Any, y: Any) -> Any:
        trainable, rest, slots, totals = state
        (loss, (rest, predictions)), gradients = jax.value_and_grad(loss_and_rest, has_aux=True)(
            trainable, rest, x, y
        )
        trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
        if accuracy is not None:
            totals = accuracy.stateless_update_state(totals, y, predictions)
        return loss, (trainable, rest, slots, totals)

    compiled = jax.jit(one_step, donate_argnums=0)
    totals = [] if accuracy is None else _values(accuracy.variables)
    variables = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    # Copies, since the arrays are donated and the model keeps its own.
    state = [jax.tree.map(jnp.copy, (*map(_values, variables), totals))]

    def step() -> Any:
        loss, state[0] = compiled(state[0], x, y)
        return jax.block_until_ready((loss, state[0]))

    return step


def _inference(model: Any, x: Any) -> Step:
    trainable, rest = _values(model.trainable_variables), _values(model.non_trainable_variables)
    forward = jax.jit(lambda trainable, rest, x: model.stateless_call(trainable, rest, x, training=False)[0])
    return lambda: np.asarray(forward(trainable, rest, x))


def _kernel(kernel: KernelWorkload) -> Step:
    left, right = map(jax.device_put, kernel.operands())
    if kernel.is_matmul:
        compiled = jax.jit(jnp.matmul)
    else:
        layout = ("NHWC", "HWIO", "NHWC")
        compiled = jax.jit(
            lambda x, w: jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=layout)
        )
    return lambda: compiled(left, right).block_until_ready()


def make(threads: int, variant: str) -> KerasJaxEngine:
    """The engine; it has no variants."""
    return KerasJaxEngine()
