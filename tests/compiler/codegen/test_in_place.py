"""Results that take the memory of an operand: compiled numbers stay those of the interpreter."""

from __future__ import annotations

import numpy as np

from compiler.driver import compile_graph
from compiler.interpret import interpret
from compiler.text import parse

ACCUMULATE = """
graph accumulate {
  input %0 "g": f32[n]
  variable %1 "a": f32[n]
  variable %2 "w": f32[n]
  variable %3 "now": bool[]
  %4: bool[n] = broadcast(%3) {shape=(n,), axes=()}
  %5: f32[n] = add(%0, %1)
  %6: f32[n] = full() {shape=(n,), value=0.0, dtype="float32"}
  %7: f32[n] = subtract(%2, %5)
  %8: f32[n] = select(%4, %7, %2)
  %9: f32[n] = select(%4, %6, %5)
  update "w"=%8
  update "a"=%9
}
"""

ROW = """
graph row {
  input %0 "x": f32[n,5]
  variable %1 "s": f32[n]
  %2: f32[n] = reduce_sum(%0) {axes=(1,)}
  %3: f32[n] = add(%1, %2)
  %4: f32[n] = multiply(%1, %1)
  %5: f32[n,5] = broadcast(%4) {shape=(n, 5), axes=(0,)}
  %6: f32[n,5] = subtract(%0, %5)
  return "y"=%6
  update "s"=%3
}
"""


def test_a_cleared_accumulator_is_read_before_it_is_cleared() -> None:
    # Gradient accumulation: once `now` holds, the whole variable is overwritten by a constant, which LLVM would
    # move before the loop if it believed that the variable and the operand were different memory.
    graph = parse(ACCUMULATE)
    executable = compile_graph(graph).executable
    generator = np.random.default_rng(0)
    state = [generator.normal(size=3000).astype("float32") for _ in range(2)] + [np.zeros((), "bool")]
    for now in (False, True, False, True):
        state[2][...] = now
        g = generator.normal(size=3000).astype("float32")
        _, expected = interpret(graph, [g], [array.copy() for array in state])
        executable.run([g], state)
        np.testing.assert_allclose(state[0], expected["a"], rtol=1e-6)
        np.testing.assert_allclose(state[1], expected["w"], rtol=1e-6, atol=1e-6)


def test_a_row_reads_all_of_its_operands_before_it_stores() -> None:
    graph = parse(ROW)
    compiled = compile_graph(graph)
    generator = np.random.default_rng(1)
    x, s = generator.normal(size=(37, 5)).astype("float32"), generator.normal(size=37).astype("float32")
    (expected,), updates = interpret(graph, [x], [s.copy()])
    (result,) = compiled.executable.run([x], [s])
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(s, updates["s"], rtol=1e-5, atol=1e-6)
