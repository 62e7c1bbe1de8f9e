"""graphcore as a user of Keras meets it: `train_on_batch` or `fit`, and `predict_on_batch`, from NumPy arrays."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import graphcore as keras
from benchmarks.engines.engine import Engine, Step
from benchmarks.generation import Generation
from benchmarks.keras_models import build, build_generator, compile_for_training
from benchmarks.workloads import ATTENTION_WARM_UP, Array, AttentionWorkload, KernelWorkload, Task

if TYPE_CHECKING:
    from compiler.ir import Graph

_FIT_SECONDS = 0.3  # what one call of fit should take: an epoch has a cost of its own
_FIT_STEPS = (4, 128)  # the fewest and most batches of such a call


class GraphcoreEngine(Engine):
    """`through`: "train_on_batch" or "fit", the method that trains."""

    def __init__(self, threads: int, through: str) -> None:
        keras.config.set_num_threads(threads)
        self.through = through
        self._models: dict[str, Any] = {}

    def prepare(self, task: Task) -> Step:
        """Kernels and attention run as compiled graphs of one op; models through their own methods."""
        self.steps_in_a_call = 1
        if task.kind == "kernel":
            return _kernel(task.kernel)
        if task.kind == "attention":
            return _attention(task.attention)
        if task.kind == "generate":
            self.steps_in_a_call = task.generation.new
            return _generation(task.generation)
        model = self._model(task)
        if task.kind == "infer":
            x = task.workload.inputs(task.batch)
            return lambda: model.predict_on_batch(x)
        x, y = _arrays(task, task.batch)
        if self.through == "train_on_batch":
            return lambda: model.train_on_batch(x, y)
        model.train_on_batch(x, y)
        begin = time.perf_counter()
        model.train_on_batch(x, y)
        fewest, most = _FIT_STEPS
        self.steps_in_a_call = min(most, max(fewest, int(_FIT_SECONDS / (time.perf_counter() - begin))))
        x, y = _arrays(task, task.batch * self.steps_in_a_call)
        return lambda: model.fit(x, y, batch_size=task.batch, shuffle=False, verbose=0)

    def flops(self, task: Task) -> int:
        """Counted on the step's graph as traced and differentiated, at the task's batch."""
        if task.kind == "kernel":
            return task.kernel.flops
        model = self._model(task)
        if task.kind == "infer":
            model.predict_on_batch(task.workload.inputs(task.batch))
            return _flops(model.lower("predict").traced.graph, task.batch)
        model.train_on_batch(*_arrays(task, task.batch))
        return _flops(model.lower("train").traced.graph, task.batch)

    def versions(self) -> dict[str, str]:
        """graphcore's, and those of the libraries that its speed rests on."""
        import llvmlite
        import numpy

        return {"graphcore": keras.__version__, "llvmlite": llvmlite.__version__, "numpy": numpy.__version__}

    def _model(self, task: Task) -> Any:
        """The task's model, compiled; one is kept, since it serves every batch size."""
        if task.name not in self._models:
            self._models.clear()
            model = self._models[task.name] = build(keras, task.name)
            compile_for_training(keras, model)
        return self._models[task.name]


def _arrays(task: Task, count: int) -> tuple[Array, Array]:
    return task.workload.inputs(count), task.workload.targets(count)


def _flops(traced: Graph, batch: int) -> int:
    """By definition: after the passes that say what is computed, before those that say how."""
    from compiler.inspect import contraction_flops
    from compiler.passes.decompose import decompose
    from compiler.passes.differentiate import differentiate
    from compiler.passes.eliminate_common_subexpressions import eliminate_common_subexpressions
    from compiler.passes.eliminate_dead_code import eliminate_dead_code
    from compiler.passes.infer_shapes import infer_shapes
    from compiler.pipeline import run_pipeline
    from runtime.dimensions import evaluate, symbols_of

    passes = (infer_shapes, differentiate, decompose, eliminate_common_subexpressions, eliminate_dead_code)
    count = contraction_flops(run_pipeline(traced, passes=passes))
    return evaluate(count, dict.fromkeys(symbols_of(count), batch))


def _kernel(kernel: KernelWorkload) -> Step:
    """A graph of one op; the convolution's kernel is a variable, as a layer's is."""
    from compiler import functions
    from compiler.driver import compile_graph
    from compiler.functions.core import make
    from compiler.ir import Builder
    from compiler.types import TensorType

    builder = Builder(kernel.name)
    left = builder.input("left", TensorType(kernel.left))
    if kernel.is_matmul:
        result = functions.matmul(builder, left, builder.input("right", TensorType(kernel.right)))
    else:
        same = make("convolution", strides=(1, 1), padding=((1, 1), (1, 1)), dilation=(1, 1), groups=1)
        result = builder.emit(same, left, builder.variable("kernel", TensorType(kernel.right)))
    builder.output("result", result)
    executable = compile_graph(builder.build()).executable
    operands = kernel.operands()
    inputs, variables = (operands, ()) if kernel.is_matmul else (operands[:1], operands[1:])
    return lambda: executable.run(inputs, variables)


def _attention(attention: AttentionWorkload) -> Step:
    """Attention and the gradients of its query, key and value, at any length: a few steps are run first."""
    from compiler import functions
    from compiler.driver import compile_graph
    from compiler.ir import Builder
    from compiler.passes.differentiate import emit_gradient
    from compiler.types import TensorType
    from runtime.dimensions import symbol

    builder = Builder(attention.name)
    type_ = TensorType((1, symbol("length"), attention.heads, attention.depth))
    query, key, value, cotangent = (builder.input(name, type_) for name in ("query", "key", "value", "cotangent"))
    result = functions.dot_product_attention(builder, query, key, value, causal=True)
    loss = functions.reduce_sum(builder, functions.multiply(builder, result, cotangent))
    builder.output("result", result)
    for index, gradient in enumerate(emit_gradient(builder, loss, [query, key, value])):
        builder.output(f"gradient_{index}", gradient)
    executable = compile_graph(builder.build()).executable
    executable.run(attention.operands(ATTENTION_WARM_UP), ())
    operands = attention.operands(attention.length)
    return lambda: executable.run(operands, ())


def _generation(generation: Generation) -> Step:
    """All the tokens in one call of `generate`, checked once."""
    from graphcore.generation import generate

    model, prompt = build_generator(keras, generation, None), generation.prompt_tokens()

    def step() -> Array:
        return generate(model, prompt, generation.length)

    generation.check(step())
    return step


def make(threads: int, variant: str) -> GraphcoreEngine:
    """The engine that trains through the method `variant`."""
    return GraphcoreEngine(threads, variant)
