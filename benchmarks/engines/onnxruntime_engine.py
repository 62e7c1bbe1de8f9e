"""ONNX Runtime, inference only. Models are PyTorch's, exported by a process of its own; kernels are built here."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.engines.engine import Engine, Step
from benchmarks.workloads import KernelWorkload, Task

_OPSET = 17
_EXPORT_SECONDS = 300


class OnnxRuntimeEngine(Engine):
    """The CPU provider with all its graph optimizations."""

    modules = ("onnxruntime", "onnx")

    def __init__(self, threads: int) -> None:
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.log_severity_level = 3
        self._options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL

    def prepare(self, task: Task) -> Step:
        """One run of a session. Images are (n, c, h, w), the layout that ONNX has; it packs them as it likes."""
        if task.kind == "train":
            raise ValueError("ONNX Runtime is measured in inference only.")
        if task.kind == "kernel":
            return self._kernel(task.kernel)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            command = [sys.executable, "-m", "benchmarks.engines.export_onnx", task.name, str(task.batch), str(path)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=_EXPORT_SECONDS, check=False)
            if done.returncode:
                raise ValueError(f"torch.onnx.export failed: {done.stderr.strip()[-400:]}")
            session = self._session(path.read_bytes())
        x = task.workload.inputs(task.batch)
        if x.ndim == 4:
            x = x.transpose(0, 3, 1, 2).copy()
        feed = {session.get_inputs()[0].name: x}
        return lambda: session.run(None, feed)

    def _session(self, model: bytes) -> onnxruntime.InferenceSession:
        return onnxruntime.InferenceSession(model, self._options, providers=["CPUExecutionProvider"])

    def _kernel(self, kernel: KernelWorkload) -> Step:
        """A model of one node; a convolution's weights are an initializer, which the session packs once."""
        left, right = kernel.operands()
        initializers = []
        if kernel.is_matmul:
            node = helper.make_node("MatMul", ["left", "right"], ["result"])
            shape = (left.shape[0], right.shape[1])
        else:
            left, right = left.transpose(0, 3, 1, 2).copy(), right.transpose(3, 2, 0, 1).copy()
            node = helper.make_node("Conv", ["left", "right"], ["result"], pads=[1, 1, 1, 1])
            shape = (left.shape[0], right.shape[0], *left.shape[2:])
            initializers = [numpy_helper.from_array(right, "right")]
        feed = {"left": left} if initializers else {"left": left, "right": right}
        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, a.shape) for name, a in feed.items()]
        result = helper.make_tensor_value_info("result", TensorProto.FLOAT, shape)
        graph = helper.make_graph([node], kernel.name, inputs, [result], initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=10)
        onnx.checker.check_model(model)
        session = self._session(model.SerializeToString())
        return lambda: session.run(None, feed)


def make(threads: int, variant: str) -> OnnxRuntimeEngine:
    """The engine; it has no variants."""
    return OnnxRuntimeEngine(threads)
