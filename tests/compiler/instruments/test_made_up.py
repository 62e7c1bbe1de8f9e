"""Sizes and arrays that are made up: what they are for a graph, and that a program has settled on them."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.driver import compile_graph
from compiler.inspect import stages
from compiler.instruments.made_up import (
    checked_sizes,
    made_up_array,
    made_up_arrays,
    open_symbols,
    program_sizes,
    warmed_up,
)
from compiler.passes.schedule import TYPICAL_EXTENT
from compiler.text import parse
from runtime.profile import WARM_RUNS, Profile

NORMALISED = """
graph normalised {
  input %x "x": f32[batch,4]
  variable %mean "mean": f32[4]
  variable %variance "variance": f32[4]
  %deviation: f32[4] = sqrt(%variance)
  %wide: f32[batch,4] = broadcast(%deviation) {shape=(batch, 4), axes=(1,)}
  %y: f32[batch,4] = divide(%x, %wide)
  return "y"=%y
  return "mean"=%mean
}
"""
LOOKUPS = """
graph lookups {
  input %words "words": i32[batch,8]
  input %labels "labels": i64[batch]
  input %small "small": i8[batch]
  input %pixels "pixels": u8[batch,50]
  input %flags "flags": i32[batch]
  variable %table "table": f32[5000,3]
  variable %narrow "narrow": f32[70,3]
  %turned: i32[8,batch] = transpose(%words) {permutation=(1, 0)}
  %wide: i64[8,batch] = cast(%turned) {dtype="int64"}
  %a: f32[8,batch,3] = take(%table, %wide) {axis=0}
  %b: f32[batch,10] = one_hot(%labels) {depth=10, axis=1, dtype="float32"}
  %c: f32[batch,3] = take(%table, %small) {axis=0}
  %d: f32[batch,3] = take(%narrow, %flags) {axis=0}
  %e: f32[batch,3] = take(%table, %flags) {axis=0}
  return "a"=%a
  return "b"=%b
  return "c"=%c
  return "d"=%d
  return "e"=%e
  return "f"=%pixels
}
"""


@pytest.mark.parametrize("dtype", ["float16", "float32", "bool", "uint8", "int64"])
def test_single_arrays(dtype: str) -> None:
    array = made_up_array((40, 50), dtype, np.random.default_rng(0), None if dtype == "uint8" else 9)
    assert array.dtype == dtype
    low, high = {"f": (0.09, 1.0), "b": (0, 1), "u": (0, 255), "i": (0, 8)}[array.dtype.kind]
    assert low <= array.min() < array.max() <= high
    assert set(made_up_array((90,), "int32", np.random.default_rng(0)).tolist()) == {0, 1}


@pytest.mark.parametrize("signed", [False, True])
def test_nothing_that_is_divided_by_is_zero_and_no_variance_is_negative(signed: bool) -> None:
    graph = parse(NORMALISED)
    x, mean, variance = made_up_arrays(graph, {"batch": 200}, np.random.default_rng(0), signed=signed)
    assert (x.min() < 0) == signed
    assert mean.min() > 0
    assert variance.min() > 0
    y, _ = compile_graph(graph).executable.run([x], (mean, variance))
    assert np.isfinite(y).all()


def test_indices_are_spread_over_the_table_that_they_are_looked_up_in() -> None:
    arrays = made_up_arrays(parse(LOOKUPS), {"batch": 500}, np.random.default_rng(0))
    words, labels, small, pixels, flags = (array.astype("int64") for array in arrays[:5])
    assert 4900 < words.max() < 5000
    assert len(np.unique(words)) > 2000
    assert set(labels.tolist()) == set(range(10))
    assert (small.min(), 100 < small.max() <= 127) == (0, True)
    assert pixels.max() == 255
    assert flags.max() == 69, "the shorter of two tables"
    assert min(array.min() for array in (words, labels, flags)) == 0


def test_indices_inside_a_loop_are_found() -> None:
    graph = parse("""graph steps {
      input %words "words": i32[8,batch]
      input %first "first": f32[batch,2]
      variable %table "table": f32[300,2]
      %all: f32[9,batch,2] = scan(%first, %words, %table) {ATTRIBUTES} {
        graph body {
          input %state0: f32[batch,2]
          input %entry0: i32[batch]
          input %table0: f32[300,2]
          %row: f32[batch,2] = take(%table0, %entry0) {axis=0}
          %sum: f32[batch,2] = add(%state0, %row)
          return "state0"=%sum
        }
      }
      return "all"=%all
    }""".replace("ATTRIBUTES", "states=1, sequences=1, count=8, kept=(True,), reverse=False, limited=False"))
    words = made_up_arrays(graph, {"batch": 90}, np.random.default_rng(0))[0]
    assert words.max() > 280


def test_sizes_are_those_given_or_typical_and_unknown_ones_are_refused() -> None:
    found = stages(parse(NORMALISED))
    assert open_symbols(parse(NORMALISED)) == {"batch"}
    assert program_sizes(found.compiled.program) == {"batch": TYPICAL_EXTENT} == found.memory.typical
    assert program_sizes(found.compiled.program, {"batch": 7}) == {"batch": 7}
    for refuse in (lambda sizes: program_sizes(found.compiled.program, sizes), found.memory.at):
        with pytest.raises(ValueError, match="no symbol 'rows'; its symbols are: batch"):
            refuse({"rows": 3})
    assert checked_sizes(("n", "m"), {"n": 3}, 4, {"n": 3}) == {"n": 3, "m": 4}
    with pytest.raises(ValueError, match=r"'n' can only be 3. Received: n=5"):
        checked_sizes(("n",), {"n": 5}, 4, {"n": 3})


def test_a_program_has_chosen_its_threads_and_variables_are_copied() -> None:
    compiled = compile_graph(parse(NORMALISED))
    given = [np.full(4, 2, np.float32), np.full(4, 9, np.float32)]
    profile = Profile()
    runs = []
    run = compiled.executable.run
    compiled.executable.run = lambda *arrays: runs.append(arrays) or run(*arrays)  # type: ignore[method-assign]
    inputs, variables = warmed_up(compiled, {"batch": 5}, np.random.default_rng(0), given)
    assert len(runs) == WARM_RUNS
    assert inputs[0].shape == (5, 4)
    assert all(one is not other and (one == other).all() for one, other in zip(variables, given, strict=True))
    run(inputs, variables, profile)
    assert profile.runs == 1
