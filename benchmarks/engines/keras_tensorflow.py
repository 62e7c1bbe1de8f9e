"""Keras on TensorFlow: the `tf.function` step of Keras's guide "Writing a training loop from scratch in TensorFlow".

That loop is the leanest that Keras documents: `fit` adds to it. With the variant "xla" XLA compiles the step.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.engines.engine import Engine, Step
from benchmarks.generation import Generation
from benchmarks.keras_models import accuracy_of, build, build_generator, loss_of
from benchmarks.workloads import Task


class KerasTensorflowEngine(Engine):
    """TensorFlow on so many threads inside an operation, one operation at a time or more."""

    modules = ("keras", "tensorflow")

    def __init__(self, threads: int, xla: bool) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        self.xla = xla

    def prepare(self, task: Task) -> Step:
        """A training step or a forward pass, both as `tf.function`."""
        if task.kind not in ("train", "infer", "generate"):
            raise ValueError("XLA's kernels and attention are measured through JAX.")
        keras.utils.clear_session(free_memory=False)
        self.steps_in_a_call = 1
        if task.kind == "generate":
            self.steps_in_a_call = task.generation.length - task.generation.last
            return self._generation(task.generation)
        model = build(keras, task.name)
        x = tf.constant(task.workload.inputs(task.batch))
        if task.kind == "train":
            return self._training(model, x, task)
        forward = tf.function(lambda x: model(x, training=False), jit_compile=self.xla)
        return lambda: forward(x).numpy()

    def _generation(self, generation: Generation) -> Step:
        """Tokens in one graph. Keras has no cache: each takes the model over the whole window."""
        model = build_generator(keras, generation, generation.length)

        @tf.function(jit_compile=self.xla)
        def go_on(tokens: Any, begin: Any) -> Any:
            for place in tf.range(begin, generation.length):
                logits = model(tokens, training=False)
                token = tf.argmax(logits[:, place - 1], -1, tf.int32)
                tokens = tf.tensor_scatter_nd_update(tokens, [[0, place]], token)
            return tokens

        prompt = np.zeros((1, generation.length), np.int32)
        prompt[:, : generation.prompt] = generation.prompt_tokens()
        whole = go_on(tf.constant(prompt), tf.constant(generation.prompt))
        generation.check(np.asarray(whole.numpy()))
        last = tf.constant(generation.last)
        return lambda: go_on(whole, last).numpy()

    def _training(self, model: Any, x: Any, task: Task) -> Step:
        y = tf.constant(task.workload.targets(task.batch))
        optimizer = keras.optimizers.Adam()
        optimizer.build(model.trainable_variables)
        loss_function = loss_of(keras, task.name)
        accuracy = accuracy_of(keras, task.name)

        @tf.function(jit_compile=self.xla)
        def one_step(x: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                predictions = model(x, training=True)
                loss = loss_function(y, predictions)
            optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
            if accuracy is not None:
                accuracy.update_state(y, predictions)
            return loss

        return lambda: one_step(x, y).numpy()


def make(threads: int, variant: str) -> KerasTensorflowEngine:
    """The engine; `variant` is "xla" or empty."""
    return KerasTensorflowEngine(threads, variant == "xla")
