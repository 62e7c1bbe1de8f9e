"""Variables: storage, assignment, conversion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphcore import ops
from graphcore.tracing import Trace
from graphcore.variable import Variable, aligned_empty


@given(shape=st.lists(st.integers(0, 7), max_size=4), dtype=st.sampled_from(["float32", "float64", "uint8", "bool"]))
def test_storage_is_aligned(shape, dtype):
    array = aligned_empty(shape, dtype)
    assert array.shape == tuple(shape)
    assert array.dtype == dtype
    assert array.size == 0 or array.ctypes.data % 64 == 0
    assert array.flags.c_contiguous
    assert array.flags.writeable


def test_storage_never_moves_and_takes_copies():
    source = np.zeros(3, np.float32)
    variable = Variable(source, name="v")
    address = variable.array.ctypes.data
    source[:] = 9
    assert variable.numpy().tolist() == [0, 0, 0]
    variable.assign([1, 2, 3])
    variable.assign_add(np.ones(3))
    variable.assign_sub(0.5)
    assert variable.numpy().tolist() == [1.5, 2.5, 3.5]
    assert variable.array.ctypes.data == address
    copy = variable.numpy()
    copy[:] = 0
    assert variable.array[0] == 1.5
    assert variable.value is variable.array


def test_a_function_initialises_by_shape_and_type():
    calls = []

    def initializer(shape, dtype=None):
        calls.append((shape, dtype))
        return np.full(shape, 2)

    variable = Variable(initializer, shape=(2, 3), dtype="float16", name="v")
    assert calls == [((2, 3), "float16")]
    assert variable.dtype == "float16"
    assert (variable.ndim, variable.size, variable.shape) == (2, 6, (2, 3))
    with pytest.raises(ValueError, match="needs `shape`"):
        Variable(initializer)
    with pytest.raises(ValueError, match=r"must have shape \(2,\)"):
        Variable(np.zeros(3), shape=(2,))
    with pytest.raises(ValueError, match="fully known"):
        Variable(initializer, shape=(None, 2))


def test_element_types_of_initial_values():
    assert Variable(1.0).dtype == "float32"
    assert Variable(1).dtype == "int32"
    assert Variable(np.float64(1)).dtype == "float64"
    assert Variable(np.zeros(2), dtype="float32").dtype == "float32"


def test_wrong_assignments_name_the_variable():
    variable = Variable(np.zeros(2), name="weights")
    with pytest.raises(ValueError, match=r"'weights' has shape \(2,\).*shape \(3,\)"):
        variable.assign(np.zeros(3))
    with pytest.raises(ValueError, match="cannot contain '/'"):
        Variable(0.0, name="a/b")


def test_operators_compute_at_once_outside_of_a_trace():
    variable = Variable(np.array([1.0, 4.0], np.float32))
    assert (variable + 1).tolist() == [2, 5]
    assert (2 * variable).tolist() == [2, 8]
    assert (variable > 2).tolist() == [False, True]
    assert np.sqrt(variable).tolist() == [1, 2]
    assert ops.sum(variable) == 5
    assert float(Variable(2.5)) == 2.5
    assert np.asarray(variable).tolist() == [1, 4]
    assert variable[1] == 4


def test_numbers_are_not_frozen_into_a_program_by_accident():
    variable = Variable(np.ones(2, np.float32), name="w")
    with Trace("t") as trace:
        trace.input("x", (2,))
        assert variable.value.value is not None  # a tensor of the program
        with pytest.raises(TypeError, match="frozen into the program"):
            np.asarray(variable)
        with pytest.raises(TypeError, match="frozen into the program"):
            bool(Variable(0.0))
