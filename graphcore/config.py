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
)
from runtime.threads import get_num_threads, set_num_threads

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
]


def backend() -> str:
    """The name of what runs the models: 'graphcore'."""
    return "graphcore"
