"""From a fused group to one kernel: the printed loops of typical groups, and the numbers of awkward ones."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compiler.codegen.cpu import CpuPrinter, print_loop_kernel
from compiler.driver import compile_graph
from compiler.ir import Graph
from compiler.loops import ContractionKernel, LoopKernel
from compiler.lower import lower_group, plan_of
from compiler.ops.fused import Fused
from compiler.pipeline import run_pipeline
from compiler.text import parse
from runtime import get_num_threads, set_num_threads


def bodies(text: str) -> list[Graph]:
    """Bodies of the kernels that a graph becomes."""
    graph = run_pipeline(parse(textwrap.dedent(text)))
    return [node.op.body for node in graph.nodes if isinstance(node.op, Fused)]


def source(body: Graph) -> str:
    """What the CPU printer makes of a group; for a contraction, of the tail on each finished element."""
    kernel = lower_group(body)
    if isinstance(kernel, LoopKernel):
        return f"# work items: {kernel.work}\n" + print_loop_kernel(kernel).source
    assert isinstance(kernel, ContractionKernel)
    printer = CpuPrinter(kernel.operands, kernel.extents)
    head = [f"# the tail of {kernel.op.name} at (row, column)", *printer.sizes(), *printer.block(kernel.head)]
    return "\n".join([*head, *printer.block(kernel.tail)])


# Groups whose loops a reader should have seen: the text of each is a golden file.
TYPICAL = {
    "flat_elementwise": """
        graph g {
          input %x "x": f32[n,7]
          input %y "y": f32[n,7]
          %a: f32[n,7] = multiply(%x, %y)
          %b: f32[n,7] = tanh(%a)
          return "b"=%b
        }
        """,
    "row_softmax": """
        graph g {
          input %x "x": f32[n,100]
          %y: f32[n,100] = softmax(%x) {axis=1}
          return "y"=%y
        }
        """,
    "column_sum": """
        graph g {
          input %x "x": f32[n,100]
          %a: f32[n,100] = multiply(%x, %x)
          %s: f32[100] = reduce_sum(%a) {axes=(0,)}
          %r: f32[100] = sqrt(%s)
          return "s"=%r
        }
        """,
    "epilogue_bias_relu": """
        graph g {
          input %x "x": f32[n,784]
          input %w "w": f32[784,64]
          variable %b "b": f32[64]
          %a: f32[n,64] = matmul(%x, %w)
          %bb: f32[n,64] = broadcast(%b) {shape=(n,64), axes=(1,)}
          %c: f32[n,64] = add(%a, %bb)
          %y: f32[n,64] = relu(%c)
          return "y"=%y
        }
        """,
    "adam_update": """
        graph g {
          input %g "g": f32[1000]
          input %rate "rate": f32[]
          variable %w "w": f32[1000]
          variable %m "m": f32[1000]
          variable %v "v": f32[1000]
          %c1: f32[1000] = full() {shape=(1000,), value=0.9}
          %c2: f32[1000] = full() {shape=(1000,), value=0.1}
          %c3: f32[1000] = full() {shape=(1000,), value=0.999}
          %c4: f32[1000] = full() {shape=(1000,), value=0.001}
          %c5: f32[1000] = full() {shape=(1000,), value=1e-07}
          %m1: f32[1000] = multiply(%m, %c1)
          %m2: f32[1000] = multiply(%g, %c2)
          %nm: f32[1000] = add(%m1, %m2)
          %g2: f32[1000] = multiply(%g, %g)
          %v1: f32[1000] = multiply(%v, %c3)
          %v2: f32[1000] = multiply(%g2, %c4)
          %nv: f32[1000] = add(%v1, %v2)
          %r: f32[1000] = sqrt(%nv)
          %d: f32[1000] = add(%r, %c5)
          %q: f32[1000] = divide(%nm, %d)
          %lr: f32[1000] = broadcast(%rate) {shape=(1000,), axes=()}
          %s: f32[1000] = multiply(%q, %lr)
          %nw: f32[1000] = subtract(%w, %s)
          update "w"=%nw
          update "m"=%nm
          update "v"=%nv
        }
        """,
    "rows_by_number": """
        graph g {
          input %rows "rows": i64[batch]
          input %x "x": u8[samples,28,28]
          %t: u8[batch,28,28] = take(%x, %rows) {axis=0}
          %f: f32[batch,28,28] = cast(%t) {dtype="float32"}
          return "f"=%f
        }
        """,
}


@pytest.mark.parametrize("case", TYPICAL)
def test_loops_of_a_typical_kernel(case, golden):
    (body,) = bodies(TYPICAL[case])
    golden(f"kernels/{case}", source(body))


# Schedules that are easily got wrong. `n` and `m` take many sizes.
AWKWARD = {
    "column reduction with an outer kept axis": """
        graph g {
          input %x "x": f32[n,m,5]
          %s: f32[n,5] = reduce_sum(%x) {axes=(1,)}
          %e: f32[n,5] = exp(%s)
          return "e"=%e
        }
        """,
    "column reduction over two axes apart": """
        graph g {
          input %x "x": f32[3,n,2,m,5]
          %s: f32[3,2,5] = reduce_max(%x) {axes=(1,3)}
          return "s"=%s
        }
        """,
    "two column reductions in one pass, and the elements": """
        graph g {
          input %x "x": f32[n,m]
          %a: f32[n,m] = tanh(%x)
          %s: f32[m] = reduce_sum(%a) {axes=(0,)}
          %q: f32[m] = reduce_min(%a) {axes=(0,)}
          %d: f32[m] = subtract(%s, %q)
          return "a"=%a
          return "d"=%d
        }
        """,
    "a column reduction that needs another's result": """
        graph g {
          input %x "x": f32[n,m]
          %s: f32[m] = reduce_max(%x) {axes=(0,)}
          %ss: f32[n,m] = broadcast(%s) {shape=(n,m), axes=(1,)}
          %d: f32[n,m] = subtract(%x, %ss)
          %e: f32[n,m] = exp(%d)
          %t: f32[m] = reduce_sum(%e) {axes=(0,)}
          %u: f32[m] = add(%s, %t)
          return "s"=%s
          return "u"=%u
        }
        """,
    "images brought to mean 0: three stages and the elements": """
        graph g {
          input %x "x": f32[n,5,m,3]
          %s: f32[n,3] = reduce_sum(%x) {axes=(1,2)}
          %ss: f32[n,5,m,3] = broadcast(%s) {shape=(n,5,m,3), axes=(0,3)}
          %d: f32[n,5,m,3] = subtract(%x, %ss)
          %p: f32[n,3] = reduce_max(%d) {axes=(1,2)}
          %pp: f32[n,5,m,3] = broadcast(%p) {shape=(n,5,m,3), axes=(0,3)}
          %e: f32[n,5,m,3] = subtract(%d, %pp)
          %y: f32[n,5,m,3] = tanh(%e)
          %t: f32[n,3] = reduce_sum(%y) {axes=(1,2)}
          return "p"=%p
          return "y"=%y
          return "t"=%t
        }
        """,
    "softmax along the axis before the last, of extent 1 too": """
        graph g {
          input %x "x": f32[n,m,1]
          %y: f32[n,m,1] = softmax(%x) {axis=1}
          return "y"=%y
        }
        """,
    "column reduction of what cannot be merged to one axis": """
        graph g {
          input %x "x": f32[n,m,3]
          %r: f32[n,m,3] = reverse(%x) {axes=(1,)}
          %s: f32[m,3] = reduce_sum(%r) {axes=(0,)}
          return "s"=%s
        }
        """,
    "row kernel with a result a row and a result an element": """
        graph g {
          input %x "x": f32[n,m]
          %s: f32[n] = reduce_sum(%x) {axes=(1,)}
          %t: f32[n] = sigmoid(%s)
          %tt: f32[n,m] = broadcast(%t) {shape=(n,m), axes=(0,)}
          %y: f32[n,m] = multiply(%x, %tt)
          return "t"=%t
          return "y"=%y
        }
        """,
    "the softmax of one vector, which is all one row": """
        graph g {
          input %x "x": f32[n,m]
          input %v "v": f32[29]
          %y: f32[29] = softmax(%v) {axis=0}
          %z: f32[n,m] = exp(%x)
          return "y"=%y
          return "z"=%z
        }
        """,
    "what is costly is computed once a row, over one axis and over two": """
        graph g {
          input %x "x": f32[n,29]
          input %z "z": f32[n,5,9]
          %y: f32[n,29] = softmax(%x) {axis=1}
          %e: f32[n,5,9] = exp(%z)
          %s: f32[n] = reduce_sum(%e) {axes=(1,2)}
          %ss: f32[n,5,9] = broadcast(%s) {shape=(n,5,9), axes=(0,)}
          %l: f32[n,5,9] = tanh(%ss)
          %d: f32[n,5,9] = divide(%e, %l)
          %q: f32[n,5,9] = multiply(%d, %e)
          %t: f32[n] = reduce_max(%q) {axes=(1,2)}
          return "y"=%y
          return "q"=%q
          return "t"=%t
        }
        """,
    "a reduction of a reduction's elements": """
        graph g {
          input %x "x": f32[n,m]
          %y: f32[n,m] = softmax(%x) {axis=1}
          %p: f32[n,m] = multiply(%y, %x)
          %s: f32[n] = reduce_sum(%p) {axes=(1,)}
          return "s"=%s
        }
        """,
    "everything to one number": """
        graph g {
          input %x "x": f32[n,m]
          %s: f32[] = reduce_sum(%x) {axes=(0,1)}
          %r: f32[] = absolute(%s)
          return "r"=%r
        }
        """,
    "integers and bools": """
        graph g {
          input %x "x": i32[n,m]
          input %b "b": bool[n,m]
          %s: i32[m] = reduce_max(%x) {axes=(0,)}
          %t: bool[n] = reduce_max(%b) {axes=(1,)}
          return "s"=%s
          return "t"=%t
        }
        """,
    "half precision, summed in float32": """
        graph g {
          input %x "x": f16[n,m]
          %s: f16[n] = reduce_sum(%x) {axes=(1,)}
          %t: f16[m] = reduce_sum(%x) {axes=(0,)}
          return "s"=%s
          return "t"=%t
        }
        """,
    "tail reads rows, columns, elements and one number": """
        graph g {
          input %x "x": f32[n,9]
          input %w "w": f32[9,m]
          input %r "r": f32[n,m]
          input %c "c": f32[m]
          input %o "o": f32[]
          %p: f32[n,m] = matmul(%x, %w)
          %cc: f32[n,m] = broadcast(%c) {shape=(n,m), axes=(1,)}
          %oo: f32[n,m] = broadcast(%o) {shape=(n,m), axes=()}
          %a: f32[n,m] = multiply(%p, %cc)
          %b: f32[n,m] = add(%a, %r)
          %y: f32[n,m] = maximum(%b, %oo)
          return "p"=%p
          return "y"=%y
        }
        """,
    "one value as both factors and in the tail": """
        graph g {
          input %x "x": f32[m,m]
          %p: f32[m,m] = matmul(%x, %x) {transpose_b=True}
          %y: f32[m,m] = add(%p, %x)
          return "y"=%y
        }
        """,
    "rows by number, scaled, with a bias for each of the last axis": """
        graph g {
          input %i "i": i64[m]
          input %x "x": f32[n,m,3,5]
          input %c "c": f32[5]
          %t: f32[m,m,3,5] = take(%x, %i) {axis=0}
          %cc: f32[m,m,3,5] = broadcast(%c) {shape=(m,m,3,5), axes=(3,)}
          %y: f32[m,m,3,5] = multiply(%t, %cc)
          return "y"=%y
        }
        """,
    "rows by number beside the array they are taken from": """
        graph g {
          input %i "i": i64[n]
          input %x "x": f32[n,m,3]
          %t: f32[n,m,3] = take(%x, %i) {axis=0}
          %y: f32[n,m,3] = subtract(%t, %x)
          return "y"=%y
        }
        """,
    "reductions of rows by number": """
        graph g {
          input %i "i": i64[n]
          input %x "x": f32[7,m,3]
          input %y "y": f32[9,m,3]
          %t: f32[n,m,3] = take(%x, %i) {axis=0}
          %u: f32[n,m,3] = take(%y, %i) {axis=0}
          %p: f32[n,m,3] = multiply(%t, %u)
          %s: f32[n] = reduce_sum(%p) {axes=(1,2)}
          %q: f32[m,3] = reduce_sum(%t) {axes=(0,)}
          return "s"=%s
          return "q"=%q
        }
        """,
    "broadcast along the middle": """
        graph g {
          input %x "x": f32[n,m]
          input %y "y": f32[n,3,m]
          %b: f32[n,3,m] = broadcast(%x) {shape=(n,3,m), axes=(0,2)}
          %z: f32[n,3,m] = subtract(%y, %b)
          return "z"=%z
        }
        """,
}
SIZES = st.integers(1, 70)


@pytest.mark.parametrize("case", AWKWARD)
def test_awkward_schedules_at_odd_sizes(case, check_compiled):
    compiled = check_compiled(AWKWARD[case], n=1, m=1)
    rng = np.random.default_rng(7)
    for n, m in [(1, 70), (70, 1), (64, 65), (63, 17), *rng.integers(1, 71, (12, 2)).tolist()]:
        check_compiled(AWKWARD[case], compiled=compiled, n=n, m=m, seed=n)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=st.lists(st.integers(1, 9), min_size=1, max_size=4), data=st.data())
def test_reductions_over_any_axes(shape, data, check_compiled):
    axes = tuple(axis for axis in range(len(shape)) if data.draw(st.booleans()))
    kept = ",".join(str(extent) for axis, extent in enumerate(shape) if axis not in axes)
    check_compiled(
        f"""
        graph g {{
          input %x "x": f32[{",".join(map(str, shape))}]
          %y: f32[{kept}] = reduce_sum(%x) {{axes=({"".join(f"{axis}," for axis in axes)})}}
          return "y"=%y
        }}
        """
    )


@pytest.fixture
def thread_counts() -> Iterator[tuple[int, ...]]:
    before = get_num_threads()
    yield (1, 2, 3, 4)
    set_num_threads(before)


@pytest.mark.parametrize("case", AWKWARD)
def test_the_same_bits_at_any_thread_count(case, arrays_for, thread_counts):
    graph = parse(textwrap.dedent(AWKWARD[case]))
    executable = compile_graph(graph).executable
    arrays = arrays_for(graph, n=67, m=301)
    found = set()
    for threads in thread_counts:
        set_num_threads(threads)
        found.add(tuple(result.tobytes() for result in executable.run(arrays, [])))
    assert len(found) == 1


def test_a_long_float32_sum_stays_accurate():
    graph = parse('graph g {\ninput %x "x": f32[n,3]\n%y: f32[3] = reduce_sum(%x) {axes=(0,)}\nreturn "y"=%y\n}')
    x = np.full((300_000, 3), 0.1, "float32")
    (y,) = compile_graph(graph).executable.run([x], [])
    np.testing.assert_allclose(y, x.sum(0, dtype="float64"), rtol=1e-4)  # one after another gives 3e-3


@pytest.mark.parametrize("mean", [0.0, 100.0, -3000.0])
@pytest.mark.parametrize("case", ["images", "rows"])
def test_the_variance_of_what_lies_far_from_zero(case, mean):
    shape, axes, type_ = {
        "images": ((37, 9, 31, 5), (0, 1, 2), "f32[n,9,31,5]"), "rows": ((9001, 5), (0,), "f32[n,5]"),
    }[case]  # fmt: skip
    graph = parse(f'graph g {{\ninput %x "x": {type_}\n%y: f32[5] = variance(%x) {{axes={axes}}}\nreturn "y"=%y\n}}')
    x = np.random.default_rng(3).normal(mean, np.linspace(0.5, 2.0, 5), shape).astype("float32")
    (y,) = compile_graph(graph).executable.run([x], [])
    exact = x.var(axes, dtype="float64")
    plain = ((x - x.mean(axes, dtype="float32")) ** 2).mean(axes, dtype="float32")
    assert np.max(np.abs(y - exact)) <= 2 * np.max(np.abs(plain - exact)) + np.finfo("float32").eps * exact.max()


def test_a_long_float16_sum_does_not_stall():
    # In float16, 2048 + 1 is 2048.
    graph = parse('graph g {\ninput %x "x": f16[n]\n%y: f16[] = reduce_sum(%x) {axes=(0,)}\nreturn "y"=%y\n}')
    (y,) = compile_graph(graph).executable.run([np.ones(5000, "float16")], [])
    assert y == 5000


def test_a_group_that_fuse_would_not_make_is_refused():
    body = parse(
        """graph body {
          input %x "x0": f32[8,8]
          %a: f32[8,8] = exp(%x)
          %b: f32[8,8] = transpose(%a) {permutation=(1,0)}
          return "y0"=%b
        }"""
    )
    with pytest.raises(ValueError, match="Cannot lower a fused group to one kernel: 'transpose' reads other elements"):
        plan_of(body)
