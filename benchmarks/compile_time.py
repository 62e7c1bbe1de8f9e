"""Processor time to compile kernels: through Numba's front end, and translated straight to LLVM.

usage: python -m benchmarks.compile_time [--rounds 5] [name ...]
       python -m benchmarks.compile_time --model cnn

Each row is a graph; its time is that of all its kernels together, from printed text to object code. Medians over
rounds that take turns; the thread's own processor time, for on a machine shared with others wall-clock time measures
the others. `wrapper` is what Numba spends around the translated code: an empty kernel.

With `--model`, one row for each kernel of the model's training step, the slowest first: to translate its text (in the
first contraction with a tile, the tile's native parts too), LLVM's passes and code generation, and what came of it.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping

from numba import njit

import compiler.ops  # noqa: F401  (fills the registry)
import graphcore as keras
from benchmarks.keras_models import build, compile_for_training
from benchmarks.workloads import WORKLOADS
from compiler import functions as F
from compiler.assembly import label_of
from compiler.codegen.kernels import cpu_kernel
from compiler.codegen.objects import OPTIONS, SIGNATURE, KernelQueue, compile_kernel, kernel_scope
from compiler.functions.core import make
from compiler.ir import Builder, Value
from compiler.ops.fused import Fused
from compiler.passes.context import PassContext
from compiler.pipeline import run_pipeline
from compiler.storage import is_kernel
from compiler.target import host_target
from compiler.types import TensorType
from runtime.dimensions import Dim, symbol

EMPTY = "def kernel(pointers, extents, scratch, begin, end):\n    n0 = extents[0]\n"
BATCH = symbol("batch")
Printed = tuple[str, Mapping[str, object]]


def tensor(b: Builder, name: str, *shape: Dim) -> Value:
    return b.input(name, TensorType(shape, "float32"))


def scale(b: Builder) -> list[Value]:
    return [F.multiply(b, tensor(b, "x", BATCH, 64), 2.0)]


def gelu(b: Builder) -> list[Value]:
    return [F.gelu(b, tensor(b, "x", BATCH, 256))]


def softmax(b: Builder) -> list[Value]:
    return [F.softmax(b, tensor(b, "x", BATCH, 100))]


def column_sum(b: Builder) -> list[Value]:
    return [F.reduce_sum(b, tensor(b, "x", BATCH, 96), 0)]


def layer_normalization(b: Builder) -> list[Value]:
    x = tensor(b, "x", BATCH, 128)
    centred = F.subtract(b, x, F.mean(b, x, -1, keepdims=True))
    return [F.divide(b, centred, F.sqrt(b, F.add(b, F.variance(b, x, -1, keepdims=True), 1e-3)))]


def adam(b: Builder) -> list[Value]:
    weight, gradient, mean, square = (tensor(b, name, 2500) for name in ("weight", "gradient", "mean", "square"))
    mean = F.add(b, mean, F.multiply(b, F.subtract(b, gradient, mean), 0.1))
    square = F.add(b, square, F.multiply(b, F.subtract(b, F.square(b, gradient), square), 0.001))
    step = F.divide(b, F.multiply(b, mean, 0.01), F.add(b, F.sqrt(b, square), 1e-7))
    return [F.subtract(b, weight, step), mean, square]


def random_normal(b: Builder) -> list[Value]:
    counter = b.input("counter", TensorType((2,), "uint32"))
    return [b.emit(make("random_normal", shape=(1500,), dtype="float32"), counter)]


def dense(b: Builder) -> list[Value]:
    product = F.matmul(b, tensor(b, "x", BATCH, 50), tensor(b, "w", 50, 29))
    return [F.relu(b, F.add(b, product, tensor(b, "bias", 29)))]


def convolution(b: Builder) -> list[Value]:
    op = make("convolution", strides=(1, 1), padding=((1, 1), (1, 1)), dilation=(1, 1), groups=1)
    image = b.emit(op, tensor(b, "x", BATCH, 28, 28, 8), tensor(b, "w", 3, 3, 8, 16))
    return [F.relu(b, F.add(b, image, tensor(b, "bias", 16)))]


CASES: tuple[Callable[[Builder], list[Value]], ...] = (
    scale, gelu, softmax, column_sum, layer_normalization, adam, random_normal, dense, convolution,
)  # fmt: skip


def printed(build: Callable[[Builder], list[Value]]) -> list[Printed]:
    b = Builder(build.__name__)
    for index, value in enumerate(build(b)):
        b.output(f"y{index}", value)
    graph = run_pipeline(b.build(), PassContext(host_target()))
    kernels = [cpu_kernel(node.op.body, host_target()) for node in graph.nodes if isinstance(node.op, Fused)]
    return [(kernel.source, kernel.namespace) for kernel in kernels]


def through_the_front_end(source: str, namespace: Mapping[str, object]) -> None:
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.FunctionDef)
    scope = kernel_scope(definition, namespace)
    exec(compile(source, "<kernel>", "exec"), scope)
    njit(SIGNATURE, **OPTIONS)(scope["kernel"])


@dataclasses.dataclass(frozen=True, slots=True)
class Cost:
    """What one kernel took, in milliseconds of processor time, and its size."""

    name: str
    calls: int
    translating: float
    optimising: float
    lines: int
    code_bytes: int


def kernel_costs(model: str) -> list[Cost]:
    """The kernels of a model's training step, in the order of the program."""
    keras_model, workload = build(keras, model), WORKLOADS[model]
    compile_for_training(keras, keras_model)
    keras_model.train_on_batch(workload.inputs(workload.batch), workload.targets(workload.batch))
    found: dict[str, list[tuple[str, Printed]]] = {}
    for node in keras_model.lower("train").compiled.graph.nodes:
        if is_kernel(node) and isinstance(node.op, Fused):
            kernel = cpu_kernel(node.op.body, host_target())
            found.setdefault(kernel.source, []).append((label_of(node), (kernel.source, kernel.namespace)))
    return [_cost(uses[0][0], len(uses), *uses[0][1]) for uses in found.values()]


def _cost(name: str, calls: int, source: str, namespace: Mapping[str, object]) -> Cost:
    thread, process = time.thread_time(), time.process_time()
    with KernelQueue() as queue:
        result = queue.start(source, namespace)
        translating = time.thread_time() - thread
        code = result().object_code
    total = time.process_time() - process
    return Cost(name, calls, 1e3 * translating, 1e3 * (total - translating), source.count("\n"), len(code))


def print_costs(costs: list[Cost]) -> None:
    """A table, the slowest first, and the sum."""
    print(f"{'kernel':62}{'uses':>5}{'translate, ms':>15}{'LLVM, ms':>10}{'lines':>7}{'bytes':>8}")
    for c in sorted(costs, key=lambda cost: -(cost.translating + cost.optimising)):
        print(f"{c.name[:61]:62}{c.calls:5}{c.translating:15.1f}{c.optimising:10.1f}{c.lines:7}{c.code_bytes:8}")
    translating, optimising = sum(c.translating for c in costs), sum(c.optimising for c in costs)
    lines, code_bytes = sum(c.lines for c in costs), sum(c.code_bytes for c in costs)
    print(f"{f'{len(costs)} kernels':67}{translating:15.1f}{optimising:10.1f}{lines:7}{code_bytes:8}")


def milliseconds(compile_one: Callable[[str, Mapping[str, object]], object], kernels: list[Printed]) -> float:
    start = time.process_time()
    for source, namespace in kernels:
        compile_one(source, namespace)
    return 1e3 * (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", choices=WORKLOADS, help="a row for each kernel of this model's training step")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(case.__name__ for case in CASES)}")
    arguments = parser.parse_args()
    if arguments.model:
        print_costs(kernel_costs(arguments.model))
        return
    chosen = [case for case in CASES if not arguments.names or case.__name__ in arguments.names]
    rows: dict[str, list[Printed]] = {"wrapper": [(EMPTY, {})]}
    rows |= {case.__name__: printed(case) for case in chosen}
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in rows}
    for round_ in range(arguments.rounds + 1):
        for name, kernels in rows.items():
            pair = milliseconds(through_the_front_end, kernels), milliseconds(compile_kernel, kernels)
            if round_:  # the first one loads Numba and compiles the native parts of contractions
                for held, value in zip(times[name], pair, strict=True):
                    held.append(value)
    print(f"{'graph':24}{'kernels':>8}{'front end, ms':>16}{'translated, ms':>16}")
    for name, (before, after) in times.items():
        figures = f"{statistics.median(before):16.1f}{statistics.median(after):16.1f}"
        print(f"{name:24}{len(rows[name]):8}{figures}")


if __name__ == "__main__":
    main()
