"""What the CUDA printer prints: the shape of kernels, not their numbers."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

import pytest
from op_samples import in_float32

import compiler.ops  # noqa: F401  (fills the registry)
from compiler import functions as f
from compiler.codegen.cuda import CudaKernel, CudaPrinter, LaunchLimits, cuda_kernel
from compiler.codegen.cuda_compile import CudaCompileError, kernel_function, ptx_of
from compiler.codegen.cuda_math import SIMULATED
from compiler.ir import Builder, Graph, Value
from compiler.loops import LoopKernel
from compiler.lower import lower_group
from compiler.ops.fused import Fused
from compiler.ops.registry import OPS
from compiler.passes.context import PassContext
from compiler.pipeline import run_pipeline
from compiler.target import CUDA_TARGET
from compiler.types import TensorType, is_float
from runtime.dimensions import evaluate, symbol

Golden = Callable[[str, str], None]
BATCH = symbol("batch")
LIMITS = LaunchLimits()


def bodies_of(graph: Graph) -> list[Graph]:
    optimized = run_pipeline(graph, PassContext(CUDA_TARGET))
    return [node.op.body for node in optimized.nodes if isinstance(node.op, Fused)]


def kernel_of(make: Callable[..., Value], *types: TensorType) -> CudaKernel:
    """The only kernel of a function of tensors."""
    b = Builder("example")
    b.output("y", make(b, *(b.input(f"x{i}", type_) for i, type_ in enumerate(types))))
    (body,) = bodies_of(b.build())
    return cuda_kernel(body, LIMITS)


def sample_kernels() -> Iterator[tuple[str, CudaKernel]]:
    """The kernels of every sample of every op."""
    for name, cls in OPS.items():
        for op, arrays in cls.samples():
            if any(array.size == 0 for array in arrays):
                continue
            b = Builder(name)
            dtypes = ["float32" if array.dtype == "float64" else array.dtype.name for array in arrays]
            inputs = [
                b.input(f"x{i}", TensorType(array.shape, dtype))
                for i, (array, dtype) in enumerate(zip(arrays, dtypes, strict=True))
            ]
            for i, value in enumerate(b.emit_all(in_float32(op), *inputs)):
                b.output(f"y{i}", value)
            for body in bodies_of(b.build()):
                yield name, cuda_kernel(body, LIMITS)


def test_an_elementwise_kernel_has_a_thread_for_each_element(golden: Golden) -> None:
    kernel = kernel_of(lambda b, x, y: f.relu(b, f.add(b, x, y)), TensorType((BATCH, 7, 20)), TensorType((20,)))
    golden("cuda_elementwise", kernel.source)
    assert evaluate(kernel.work, {"batch": 3}) == 3 * 7 * 20
    assert (kernel.block, kernel.items_per_block) == ((128,), 128)


def test_a_short_reduction_has_a_thread_for_each_row(golden: Golden) -> None:
    kernel = kernel_of(lambda b, x: f.softmax(b, x), TensorType((BATCH, 10)))
    golden("cuda_softmax", kernel.source)
    assert kernel.work == BATCH
    assert kernel.items_per_block == 128


def test_a_long_reduction_has_a_block_for_each_result(golden: Golden) -> None:
    kernel = kernel_of(lambda b, x: f.reduce_sum(b, x, (0,)), TensorType((BATCH, 20)))
    golden("cuda_column_sum", kernel.source)
    assert kernel.work == 20
    assert kernel.items_per_block == 1


def test_a_matrix_product_runs_in_tiles_with_its_tail(golden: Golden) -> None:
    def dense(b: Builder, x: Value, w: Value, bias: Value) -> Value:
        return f.relu(b, f.add(b, f.matmul(b, x, w), bias))

    kernel = kernel_of(dense, TensorType((BATCH, 30)), TensorType((30, 20)), TensorType((20,)))
    golden("cuda_dense", kernel.source)
    assert kernel.block == (16, 16)
    assert evaluate(kernel.work, {"batch": 33}) == 3 * 2
    assert kernel.extents[:3] == (BATCH, 30, 20)


def test_a_convolution_is_a_loop_for_each_element_of_its_result(golden: Golden) -> None:
    kernel = kernel_of(
        lambda b, x, w: f.relu(b, f.convolution(b, x, w, padding="same")),
        TensorType((BATCH, 8, 8, 2)),
        TensorType((3, 3, 2, 4)),
    )
    golden("cuda_convolution", kernel.source)
    assert evaluate(kernel.work, {"batch": 2}) == 2 * 8 * 8 * 4


def test_layers_of_other_sizes_share_the_source_of_a_product() -> None:
    kernels = [
        kernel_of(lambda b, x, w: f.matmul(b, x, w), TensorType((BATCH, n)), TensorType((n, m)))
        for n, m in ((30, 20), (64, 40))
    ]
    assert kernels[0].source == kernels[1].source
    assert kernels[0].extents != kernels[1].extents


def test_every_float_literal_carries_its_dtype() -> None:
    """A bare 0.5 would turn float32 arithmetic into float64."""
    floats = 0
    for name, kernel in sample_kernels():
        tree = ast.parse(kernel.source)
        typed = {
            id(inner)
            for call in ast.walk(tree)
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and is_float(call.func.id)
            for inner in ast.walk(call)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, float):
                floats += 1
                assert id(node) in typed, (name, kernel.source)
    assert floats > 100


def test_every_function_of_every_sample_exists_on_the_target() -> None:
    for _, kernel in sample_kernels():
        assert callable(kernel_function(kernel))


def test_an_unknown_scalar_function_is_named() -> None:
    kernel = CudaKernel("def kernel(p0, work):\n    p0[0] = gamma_float32(p0[0])\n", (), (), 1, (1,), 1)
    with pytest.raises(CudaCompileError, match="no scalar function 'gamma_float32'"):
        kernel_function(kernel)


def test_a_kernel_with_the_scratch_rows_of_the_cpu_is_refused() -> None:
    b = Builder("sums")
    b.output("y", f.reduce_sum(b, b.input("x", TensorType((BATCH, 20))), (0,)))
    (body,) = bodies_of(b.build())
    kernel = lower_group(body)
    assert isinstance(kernel, LoopKernel)
    with pytest.raises(TypeError, match="lower_for_cuda"):
        CudaPrinter(kernel.operands, kernel.extents).block(kernel.body)


@pytest.mark.parametrize("wrong", [{"threads": 96}, {"threads": 0}, {"blocks": 0}, {"tile": 33}])
def test_impossible_grids_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="Received"):
        LaunchLimits(**wrong)


# ------------------------------------------------------------------------------------------------ PTX


@pytest.fixture(scope="module")
def compiles() -> None:
    """Skip where Numba finds no CUDA toolkit to compile with; neither driver nor GPU is needed."""
    if SIMULATED:
        pytest.skip("the simulator has no compiler")
    try:
        ptx_of(kernel_of(lambda b, x: f.exp(b, x), TensorType((4,))))
    except CudaCompileError as error:
        pytest.skip(f"Numba cannot compile for CUDA here (it needs NVVM and libdevice): {error.__cause__}")


PTX_CASES: dict[str, tuple[Callable[..., Value], list[TensorType]]] = {
    "arithmetic": (
        lambda b, x, y: f.relu(b, f.add(b, f.multiply(b, x, 0.1), y)),
        [TensorType((BATCH, 20)), TensorType((20,))],
    ),
    "functions": (
        lambda b, x: f.sigmoid(b, f.tanh(b, f.log(b, f.power(b, f.exp(b, x), 1.5)))),
        [TensorType((BATCH,))],
    ),
    "remainder": (lambda b, x, y: f.remainder(b, x, y), [TensorType((BATCH,))] * 2),
    "row": (lambda b, x: f.softmax(b, x), [TensorType((BATCH, 10))]),
    "column": (lambda b, x: f.mean(b, x, (0,)), [TensorType((BATCH, 20))]),
    "matmul": (
        lambda b, x, y: f.relu(b, f.matmul(b, x, y)),
        [TensorType((BATCH, 30)), TensorType((30, 20))],
    ),
    "convolution": (
        lambda b, x, y: f.convolution(b, x, y, padding="same"),
        [TensorType((BATCH, 8, 8, 2)), TensorType((3, 3, 2, 4))],
    ),
    "pooling": (lambda b, x: f.max_pool(b, x, 2), [TensorType((BATCH, 8, 8, 2))]),
    "random": (lambda b, state: f.random_bits(b, state, (40,)), [TensorType((2,), "uint32")]),
    "half": (lambda b, x: f.multiply(b, x, 0.5), [TensorType((BATCH,), "float16")]),
}


@pytest.mark.parametrize("name", PTX_CASES)
@pytest.mark.usefixtures("compiles")
def test_float32_kernels_compile_to_ptx_without_float64(name: str) -> None:
    make, types = PTX_CASES[name]
    ptx = ptx_of(kernel_of(make, *types))
    assert ".visible .entry" in ptx
    assert ".f64" not in ptx
    assert ".extern .func" not in ptx
    assert (".shared" in ptx) == (name in ("matmul", "column"))


@pytest.mark.slow
@pytest.mark.usefixtures("compiles")
def test_the_kernels_of_a_training_step_compile_to_ptx_without_float64(make_train_graph: Callable[[], Graph]) -> None:
    for body in bodies_of(make_train_graph()):
        ptx = ptx_of(cuda_kernel(body, LIMITS))
        assert ".f64" not in ptx
        assert ".extern .func" not in ptx
