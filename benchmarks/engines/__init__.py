"""What runs the workloads: graphcore and its peers. Each engine lives in a worker process of its own.

`ENGINES` is what the coordinating process needs to know; the module of an engine is imported only in its worker.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from pathlib import Path

from benchmarks.engines.engine import Engine


@dataclasses.dataclass(frozen=True)
class EngineInfo:
    """How to start an engine.

    Attributes:
        module: the module under `benchmarks.engines` that defines `make(threads, variant)`.
        variant: passed to it.
        kinds: the kinds of task that it can do.
        variables: environment of its worker.
        cache_variable: names the folder in which it keeps compiled code; empty if it keeps none.
        peer: whether graphcore is compared with it.
        starts: whether its first training step is timed.
    """

    module: str
    variant: str = ""
    kinds: tuple[str, ...] = ("train", "infer")
    variables: Mapping[str, str] = dataclasses.field(default_factory=dict)
    cache_variable: str = ""
    peer: bool = True
    starts: bool = True

    def environment(self, cache: Path) -> dict[str, str]:
        """Variables for a worker that keeps compiled code under `cache`."""
        own = {self.cache_variable: str(cache)} if self.cache_variable else {}
        return {**self.variables, **own}

    def make(self, threads: int) -> Engine:
        """The engine; imports its framework."""
        module = importlib.import_module(f"benchmarks.engines.{self.module}")
        engine = module.make(threads, self.variant)
        assert isinstance(engine, Engine)
        return engine


_QUIET_TENSORFLOW = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
_JAX = {
    "KERAS_BACKEND": "jax",
    "JAX_PLATFORMS": "cpu",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
_EVERY_KIND = ("train", "infer", "kernel", "generate", "attention")
_MODELS = ("train", "infer", "generate")

ENGINES: dict[str, EngineInfo] = {
    "graphcore": EngineInfo(
        "graphcore_engine", "train_on_batch", _EVERY_KIND, cache_variable="GRAPHCORE_CACHE", peer=False
    ),
    "graphcore-fit": EngineInfo(
        "graphcore_engine", "fit", ("train",), cache_variable="GRAPHCORE_CACHE", peer=False, starts=False
    ),
    "keras-jax": EngineInfo("keras_jax", "", _EVERY_KIND, _JAX, "JAX_COMPILATION_CACHE_DIR"),
    "keras-tensorflow": EngineInfo("keras_tensorflow", "", _MODELS, _QUIET_TENSORFLOW),
    "keras-tensorflow-xla": EngineInfo("keras_tensorflow", "xla", _MODELS, _QUIET_TENSORFLOW),
    "jax-cache": EngineInfo("jax_generation", "", ("generate",), _JAX, "JAX_COMPILATION_CACHE_DIR", starts=False),
    "torch": EngineInfo("torch_engine", "eager", _EVERY_KIND),
    "torch-compile": EngineInfo("torch_engine", "compile", _MODELS, cache_variable="TORCHINDUCTOR_CACHE_DIR"),
    "onnxruntime": EngineInfo("onnxruntime_engine", "", ("infer", "kernel"), starts=False),
}
