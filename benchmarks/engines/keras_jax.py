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
from benchmarks.generation import Generation
from benchmarks.keras_models import accuracy_of, build, build_generator, loss_of
from benchmarks.workloads import ATTENTION_WARM_UP, AttentionWorkload, KernelWorkload, Task


class KerasJaxEngine(Engine):
    """JAX takes its threads from the cores that the process may use."""

    modules = ("keras", "jax", "jaxlib")

    def prepare(self, task: Task) -> Step:
        """A training step, a jitted forward pass, or one jitted XLA operation."""
        self.steps_in_a_call = 1
        if task.kind == "kernel":
            return _kernel(task.kernel)
        if task.kind == "attention":
            return _attention(task.attention)
        keras.utils.clear_session(free_memory=False)
        if task.kind == "generate":
            self.steps_in_a_call = task.generation.length - task.generation.last
            return _generation(task.generation)
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
        (loss, (rest, predictions)), gradients = jax.value_and_grad(loss_and_rest, has_aux=True)(trainable, rest, x, y)
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


def _generation(generation: Generation) -> Step:
    """Tokens in one jitted loop. Keras has no cache: each takes the model over the whole window."""
    model = build_generator(keras, generation, generation.length)
    trainable, rest = _values(model.trainable_variables), _values(model.non_trainable_variables)

    def go_on(trainable: Any, rest: Any, tokens: Any, begin: Any) -> Any:
        def body(place: Any, tokens: Any) -> Any:
            logits, _ = model.stateless_call(trainable, rest, tokens, training=False)
            return tokens.at[:, place].set(logits[:, place - 1].argmax(-1).astype("int32"))

        return jax.lax.fori_loop(begin, generation.length, body, tokens)

    compiled = jax.jit(go_on)
    prompt = jnp.zeros((1, generation.length), "int32").at[:, : generation.prompt].set(generation.prompt_tokens())
    whole = compiled(trainable, rest, prompt, generation.prompt)
    generation.check(np.asarray(whole))
    return lambda: np.asarray(compiled(trainable, rest, whole, generation.last))


def _attention(attention: AttentionWorkload) -> Step:
    """XLA compiles for one length; the warm-up is of another."""

    def loss(query: Any, key: Any, value: Any, cotangent: Any) -> Any:
        result = keras.ops.dot_product_attention(query, key, value, is_causal=True)
        return (result * cotangent).sum(), result

    compiled = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))
    jax.block_until_ready(compiled(*attention.operands(ATTENTION_WARM_UP)))
    operands = [jax.device_put(operand) for operand in attention.operands(attention.length)]
    whole = compiled.lower(*operands).compile()
    return lambda: jax.block_until_ready(whole(*operands))


def _kernel(kernel: KernelWorkload) -> Step:
    left, right = map(jax.device_put, kernel.operands())
    if kernel.is_matmul:
        compiled = jax.jit(jnp.matmul)
    else:
        layout = ("NHWC", "HWIO", "NHWC")
        compiled = jax.jit(lambda x, w: jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=layout))
    return lambda: compiled(left, right).block_until_ready()


def make(threads: int, variant: str) -> KerasJaxEngine:
    """The engine; it has no variants."""
    return KerasJaxEngine()
