"""Select Keras's JAX backend on the CPU before Keras is imported. Used by the make_*.py scripts only.

Needs `pip install "keras==3.15.*" jax jaxlib h5py numpy` in an environment of its own; graphcore itself
and its tests need none of these.
"""

from __future__ import annotations

import os
import sys

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"
# Results then do not depend on how many cores the machine has.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import jax
import keras
import numpy as np
from keras.src.backend.common import dtypes


def use_float64() -> None:
    """Make Keras compute in float64 throughout.

    With JAX, Keras's type promotion turns float64 into float32 inside many operations (tanh, sqrt, mean,
    var...), whatever floatx is. The table that does so is changed here; the result is checked.
    """
    jax.config.update("jax_enable_x64", True)
    keras.config.set_floatx("float64")
    dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"
    for function in (keras.ops.tanh, keras.ops.sqrt, keras.ops.mean, keras.ops.var):
        found = function(np.full((2, 2), 1 / 3)).dtype
        if found != "float64":
            raise RuntimeError(f"keras.ops.{function.__name__} returns {found} for float64")


def versions() -> dict[str, str]:
    """Versions that produced the arrays, kept in each index."""
    return {
        "keras": keras.__version__,
        "jax": jax.__version__,
        "numpy": np.__version__,
        "python": ".".join(map(str, sys.version_info[:2])),
        "backend": keras.backend.backend(),
    }
