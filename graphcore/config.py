"""Process-wide settings under Keras's names."""

from __future__ import annotations

from graphcore.dtype_policies import dtype_policy, set_dtype_policy
from graphcore.settings import (
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
    set_winograd,
    winograd,
)

__all__ = [
    "backend",
    "dtype_policy",
    "epsilon",
    "floatx",
    "get_num_threads",
    "image_data_format",
    "set_dtype_policy",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "set_num_threads",
    "set_winograd",
    "winograd",
]


def backend() -> str:
    """The name of what runs the models: 'graphcore'."""
    return "graphcore"


def set_num_threads(count: int) -> None:
    """How many threads run programs from now on; results do not depend on it.

    Raises:
        ValueError: if `count` is below 1.
    """
    from runtime import threads  # here, so that describing a model does not load LLVM

    threads.set_num_threads(count)


def get_num_threads() -> int:
    """How many threads run programs: by default the cores this process may use."""
    from runtime import threads

    return threads.get_num_threads()
