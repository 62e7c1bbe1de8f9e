"""That the process `make test` starts for the CUDA simulator does simulate."""

from __future__ import annotations

import os

import numpy as np
import pytest

# The simulator finds the module under this name in the kernel's globals, so it is imported here, not below.
from numba import cuda


@pytest.mark.cudasim
def test_the_simulator_runs_a_kernel() -> None:
    @cuda.jit
    def double(values: np.ndarray) -> None:
        index = cuda.grid(1)
        if index < values.size:
            values[index] *= 2

    assert os.environ["NUMBA_ENABLE_CUDASIM"] == "1"
    values = np.arange(5.0)
    double[2, 4](values)
    np.testing.assert_array_equal(values, [0, 2, 4, 6, 8])
