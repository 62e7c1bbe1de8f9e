from __future__ import annotations

import numpy as np
import pytest

import graphcore
from benchmarks.engines import ENGINES
from benchmarks.keras_models import build, compile_for_training
from benchmarks.measures import task_of
from benchmarks.workloads import KERNELS, MASKED, WORKLOADS, Task, workload_of
from compiler.ir import Fusion
from graphcore.training.data.arrays import Batch


@pytest.mark.parametrize("name", WORKLOADS)
def test_data_fit_the_models(name: str) -> None:
    workload, model = WORKLOADS[name], build(graphcore, name)
    assert model.input_shape == (None, *workload.input_shape)
    targets = workload.targets(2)
    if workload.target == "token":
        assert model.output_shape[1:] == (*targets.shape[1:], workload.classes)
        assert targets.max() < workload.classes
    else:
        assert model.output_shape[1:] == targets.shape[1:]
    assert workload.inputs(3).shape == (3, *workload.input_shape)
    assert workload.inputs(3).dtype == (np.int32 if workload.vocabulary else np.float32)
    if workload.target == "class":
        np.testing.assert_array_equal(workload.targets(5).argmax(-1), workload.labels(5))


@pytest.mark.parametrize("name", [*WORKLOADS, next(iter(MASKED))])
def test_every_training_step_goes_through_all_passes(name: str) -> None:
    workload, model = workload_of(name), build(graphcore, name)
    compile_for_training(graphcore, model)
    batch = Batch(workload.inputs(2), workload.targets(2))
    optimized = model.training_session.program(model, "train", batch).optimize()
    assert len(optimized.updates) > 2 * len(model.trainable_variables)
    assert {node.op.fusion for node in optimized.nodes} <= {Fusion.FUSED, Fusion.ALIAS, Fusion.OPAQUE, Fusion.LOOP}


def test_parameters_of_the_models() -> None:
    # ResNet-20 of He et al. has 0.27 M; the projections in the shortcuts add some. The others by hand.
    counts = {name: build(graphcore, name).count_params() for name in ("mlp", "resnet20", "cnn", "lstm", "causal")}
    assert counts["mlp"] == 784 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10
    assert counts["cnn"] == (27 + 1) * 32 + (9 * 32 + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 64 + (
        2304 + 1
    ) * 512 + 513 * 10  # fmt: skip
    assert counts["lstm"] == 20000 * 128 + (128 + 128 + 1) * 4 * 128 + 128 + 1
    block = 4 * (256 * 256 + 256) + (256 * 1024 + 1024) + (1024 * 256 + 256) + 2 * 2 * 256
    assert counts["causal"] == 256 * 256 + 2 * block + 2 * 256 + 257 * 256
    assert 0.27e6 < counts["resnet20"] < 0.28e6


def test_operations_of_kernels() -> None:
    assert KERNELS["matmul-1024"].flops == 2 * 1024**3
    assert KERNELS["conv3x3-8x8x64"].flops == 2 * 64 * 8 * 8 * 64 * 9 * 64


def test_tasks_of_measures() -> None:
    assert task_of("train", "mlp") == Task("train", "mlp", 128)
    assert task_of("train-large", "cnn") == Task("train", "cnn", 256)
    assert task_of("inference", "mlp") == Task("infer", "mlp", 64)
    assert task_of("latency", "cnn") == Task("infer", "cnn", 1)


def test_engines_keep_their_compiled_code_where_they_are_told(tmp_path) -> None:  # type: ignore[no-untyped-def]
    assert ENGINES["graphcore"].environment(tmp_path) == {"GRAPHCORE_CACHE": str(tmp_path)}
    assert ENGINES["torch"].environment(tmp_path) == {}
    assert ENGINES["keras-jax"].environment(tmp_path)["KERAS_BACKEND"] == "jax"
