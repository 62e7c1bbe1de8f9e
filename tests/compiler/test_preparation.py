"""Kernels that run once: which they are, where their results live, and that the numbers stay right."""

from __future__ import annotations

import textwrap

import numpy as np

from compiler.driver import compile_graph
from compiler.passes.context import PassContext
from compiler.passes.pack_kernels import pack_kernels
from compiler.pipeline import PIPELINE, run_pipeline
from compiler.preparation import kept_values, prepared_nodes
from compiler.storage import is_kernel
from compiler.text import parse
from runtime import contents

LOW_RANK = """
    graph low_rank {
      input %x "x": f32[n,64]
      variable %a "a": f32[64,8]
      variable %b "b": f32[8,64]
      variable %s "s": f32[64]
      %w: f32[64,64] = matmul(%a, %b) {transpose_a=False, transpose_b=False}
      %y: f32[n,64] = matmul(%x, %w) {transpose_a=False, transpose_b=False}
      %z: f32[n,64] = matmul(%y, %w) {transpose_a=False, transpose_b=True}
      return "z"=%z
    }
    """
UPDATED = LOW_RANK.replace('return "z"=%z', 'return "z"=%z\n      %c: f32[64,8] = add(%a, %a)\n      update "a"=%c')


def optimized(text: str):
    """Without panels, which are prepared of every matrix that stays as it is."""
    context = PassContext()
    passes = [pass_ for pass_ in PIPELINE if pass_ is not pack_kernels]
    graph = run_pipeline(parse(textwrap.dedent(text)), context, passes=passes)
    assert context.memory is not None
    return graph, context.memory


def test_what_depends_on_variables_alone_comes_first_and_is_kept():
    graph, memory = optimized(LOW_RANK)
    prepared = [node for node in graph.nodes if node in prepared_nodes(graph)]
    assert len(prepared) == 1
    assert graph.nodes[0] is prepared[0]
    (slot,) = [slot for slot in memory.slots if slot.value in kept_values(graph)]
    assert memory.lives[slot.block][:3] == (0, len(graph.nodes), True)
    assert {memory.at({"n": size}).offsets[slot.block] for size in (1, 7, 1000)} == {0}
    assert memory.prepared_bytes == 64 * 64 * 4


def test_what_depends_on_an_updated_variable_is_not_prepared():
    graph, memory = optimized(UPDATED)
    assert prepared_nodes(graph) == frozenset()
    assert memory.prepared_bytes == 0


def test_what_is_returned_is_not_prepared():
    graph, _ = optimized(LOW_RANK.replace('return "z"=%z', 'return "z"=%z\n      return "w"=%w'))
    assert not any(map(is_kernel, prepared_nodes(graph)))


def test_sizes_with_symbols_are_not_prepared():
    graph, _ = optimized("""
        graph wide {
          input %x "x": f32[n,64]
          variable %a "a": f32[n,64]
          variable %b "b": f32[64,64]
          %w: f32[n,64] = matmul(%a, %b) {transpose_a=False, transpose_b=False}
          %y: f32[n,n] = matmul(%x, %w) {transpose_a=False, transpose_b=True}
          return "y"=%y
        }
        """)
    assert prepared_nodes(graph) == frozenset()


def test_a_size_that_no_shape_shows_is_not_prepared():
    # 1/n is a kernel of its own, because two others read it.
    text = """
        graph mean {
          input %x "x": f32[n,8]
          variable %v "v": f32[8]
          %size: f32[] = dimension() {extent=n, dtype="float32"}
          %one: f32[] = full() {shape=(), value=1.0, dtype="float32"}
          %rate: f32[] = divide(%one, %size)
          %rates: f32[8] = broadcast(%rate) {shape=(8,), axes=()}
          %scaled: f32[8] = multiply(%v, %rates)
          %sum: f32[8] = reduce_sum(%x) {axes=(0,)}
          %mean: f32[8] = multiply(%sum, %rates)
          return "scaled"=%scaled
          return "mean"=%mean
          return "rate"=%rate
        }
        """
    for kept in (text, text.replace('return "rate"=%rate', "")):
        graph, memory = optimized(kept)
        assert not any(map(is_kernel, prepared_nodes(graph)))
        assert memory.prepared_bytes == 0
        compiled = compile_graph(parse(textwrap.dedent(kept)))
        v = np.arange(8, dtype=np.float32)
        for size in (4, 5, 4, 9):
            x = np.ones((size, 8), np.float32)
            scaled, mean, *_ = compiled.executable.run([x], (v,), tracked=True)
            np.testing.assert_allclose(scaled, v / size, rtol=1e-6)
            np.testing.assert_allclose(mean, np.ones(8), rtol=1e-6)


def test_numbers_through_changes_and_sizes():
    compiled = compile_graph(parse(textwrap.dedent(LOW_RANK)))
    assert compiled.program.prepared == 5, "panels of b, the product, its panels, its transpose, the panels of that"
    assert compiled.memory.prepared_bytes == 2 * 64 * 64 * 4, "both panels stay; what they are made of does not"
    random = np.random.default_rng(0)
    a, b, s = (random.standard_normal(shape).astype(np.float32) for shape in ((64, 8), (8, 64), (64,)))
    for step, size in enumerate((3, 3, 40, 3, 1, 200, 40, 3)):
        if step in (2, 5):
            a *= np.float32(-0.5)
            contents.changed((a,))
        x = random.standard_normal((size, 64)).astype(np.float32)
        (z,) = compiled.executable.run([x], (a, b, s), tracked=True)
        w = a.astype(np.float64) @ b
        np.testing.assert_allclose(z, x @ w @ w.T, rtol=1e-4, atol=1e-3)
