"""`recompute`: cheap values are computed anew where they are read."""

from __future__ import annotations

from compiler.ops.fused import Fused
from compiler.passes.context import PassContext
from compiler.passes.fuse import fuse
from compiler.passes.recompute import recompute
from compiler.pipeline import run_pipeline
from compiler.text import parse

STATISTICS = """
graph g {
  input %x "x": f32[n,64,16]
  input %g "g": f32[n,64,16]
  %s: f32[16] = reduce_sum(%x) {axes=(0,1)}
  %ss: f32[n,64,16] = broadcast(%s) {shape=(n,64,16), axes=(2,)}
  %c: f32[n,64,16] = subtract(%x, %ss)
  %e: f32[n,64,16] = exp(%c)
  %t: f32[16] = reduce_sum(%e) {axes=(0,1)}
  %tt: f32[n,64,16] = broadcast(%t) {shape=(n,64,16), axes=(2,)}
  %p: f32[n,64,16] = multiply(%c, %g)
  %y: f32[n,64,16] = multiply(%p, %tt)
  return "y"=%y
}
"""


def test_each_reader_gets_a_copy(check, operations):
    context = PassContext()
    result = check(recompute, STATISTICS, context=context)
    assert operations(result).count("subtract") == 2
    assert operations(parse(STATISTICS)).count("subtract") == 1
    (remark,) = context.remarks
    assert remark.subject == "subtract"


def test_a_reader_that_reads_twice_gets_one_copy(check, operations):
    text = STATISTICS.replace("exp(%c)", "multiply(%c, %c)")
    assert operations(check(recompute, text)).count("subtract") == 2


def test_no_kernel_stores_what_the_next_can_compute():
    def stored(graph):
        kernels = [node for node in graph.nodes if isinstance(node.op, Fused)]
        return [value for node in kernels for value in node.outputs if value.type.rank == 3]

    traced = parse(STATISTICS)
    assert len(stored(fuse(traced, PassContext()))) == 2
    assert len(stored(run_pipeline(traced))) == 1


def unchanged(text: str) -> bool:
    graph = parse(text)
    return recompute(graph, PassContext()) is graph


def test_what_is_costly_small_or_a_result_stays():
    assert unchanged(STATISTICS.replace("subtract(%x, %ss)", "power(%x, %ss)"))
    assert unchanged(STATISTICS.replace("[n,64,16]", "[2,64,16]").replace("(n,64,16)", "(2,64,16)"))
    assert unchanged(STATISTICS.replace('return "y"=%y', 'return "y"=%y\n  return "c"=%c'))


def test_what_depends_on_two_large_values_stays():
    assert unchanged(STATISTICS.replace("%c: f32[n,64,16] = subtract(%x, %ss)", "%c: f32[n,64,16] = subtract(%x, %g)"))


def test_what_no_other_reader_keeps_in_memory_stays():
    # %c would not be stored, but %h would: nothing is won.
    text = STATISTICS.replace("reduce_sum(%x)", "reduce_sum(%g)").replace(
        "%c: f32[n,64,16] = subtract(%x, %ss)", "%h: f32[n,64,16] = exp(%x)\n  %c: f32[n,64,16] = subtract(%h, %ss)"
    )
    assert unchanged(text)
