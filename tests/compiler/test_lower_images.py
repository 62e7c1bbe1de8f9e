"""Reductions over the pixels of a convolution's result, in the convolution's own kernel."""

from __future__ import annotations

import textwrap

import numpy as np
import pytest

from compiler.driver import compile_graph
from compiler.ir import Fusion
from compiler.ops.fused import Fused
from compiler.passes.context import PassContext
from compiler.passes.fuse import fuse
from compiler.pipeline import run_pipeline
from compiler.storage import in_place_pairs
from compiler.text import parse
from runtime import set_num_threads

SAME = "strides=(1,1), padding=((1,1),(1,1)), dilation=(1,1), groups=1"
GRAPHS = {
    "a sum of what is stored": """
        graph g {
          input %x "x": f32[n,h,w,3]
          input %k "k": f32[3,3,3,17]
          %p: f32[n,h,w,17] = convolution(%x, %k) {SAME}
          %s: f32[n,17] = reduce_sum(%p) {axes=(1,2)}
          return "p"=%p
          return "s"=%s
        }
        """,
    "statistics of each image, the second from the first": """
        graph g {
          input %x "x": f32[n,h,w,5]
          input %k "k": f32[3,3,5,8]
          input %b "b": f32[8]
          %p: f32[n,h,w,8] = convolution(%x, %k) {SAME}
          %bb: f32[n,h,w,8] = broadcast(%b) {shape=(n,h,w,8), axes=(3,)}
          %c: f32[n,h,w,8] = add(%p, %bb)
          %y: f32[n,h,w,8] = relu(%c)
          %s: f32[n,8] = reduce_max(%y) {axes=(1,2)}
          %ss: f32[n,h,w,8] = broadcast(%s) {shape=(n,h,w,8), axes=(0,3)}
          %d: f32[n,h,w,8] = subtract(%y, %ss)
          %e: f32[n,h,w,8] = exp(%d)
          %t: f32[n,8] = reduce_sum(%e) {axes=(1,2)}
          %u: f32[n,8] = multiply(%s, %t)
          return "y"=%y
          return "u"=%u
        }
        """,
    "an input gradient, its mask, and sums with another tensor": """
        graph g {
          input %g "g": f32[n,h,w,6]
          input %k "k": f32[3,3,9,6]
          input %x "x": f32[n,h,w,9]
          input %m "m": f32[9]
          %p: f32[n,h,w,9] = convolution_input_gradient(%g, %k) {input_spatial=(h,w), SAME}
          %z: f32[n,h,w,9] = full() {shape=(n,h,w,9), value=0.0}
          %o: bool[n,h,w,9] = greater(%x, %z)
          %y: f32[n,h,w,9] = select(%o, %p, %z)
          %s: f32[n,9] = reduce_sum(%y) {axes=(1,2)}
          %mm: f32[n,h,w,9] = broadcast(%m) {shape=(n,h,w,9), axes=(3,)}
          %c: f32[n,h,w,9] = subtract(%x, %mm)
          %q: f32[n,h,w,9] = multiply(%y, %c)
          %t: f32[n,9] = reduce_sum(%q) {axes=(1,2)}
          return "y"=%y
          return "s"=%s
          return "t"=%t
        }
        """,
    "so few channels that the tail runs along the flat result": """
        graph g {
          input %x "x": f32[n,h,w,32]
          input %k "k": f32[3,3,32,3]
          input %b "b": f32[3]
          %p: f32[n,h,w,3] = convolution(%x, %k) {SAME}
          %bb: f32[n,h,w,3] = broadcast(%b) {shape=(n,h,w,3), axes=(3,)}
          %y: f32[n,h,w,3] = add(%p, %bb)
          %s: f32[n,3] = reduce_sum(%y) {axes=(1,2)}
          return "y"=%y
          return "s"=%s
        }
        """,
    "one spatial axis": """
        graph g {
          input %x "x": f32[n,h,4]
          input %k "k": f32[3,4,33]
          %p: f32[n,h,33] = convolution(%x, %k) {strides=(1,), padding=((1,1),), dilation=(1,), groups=1}
          %s: f32[n,33] = reduce_sum(%p) {axes=(1,)}
          return "p"=%p
          return "s"=%s
        }
        """,
    "a convolution without a generator": """
        graph g {
          input %x "x": i32[n,h,w,2]
          input %k "k": i32[3,3,2,3]
          %p: i32[n,h,w,3] = convolution(%x, %k) {SAME}
          %s: i32[n,3] = reduce_sum(%p) {axes=(1,2)}
          %t: i32[n,3] = reduce_max(%p) {axes=(1,2)}
          %u: i32[n,3] = add(%s, %t)
          return "p"=%p
          return "u"=%u
        }
        """,
}
CASES = {name: textwrap.dedent(text).replace("SAME", SAME) for name, text in GRAPHS.items()}


@pytest.mark.parametrize("case", CASES)
def test_one_kernel_computes_all(case):
    graph = run_pipeline(parse(CASES[case]))
    assert len([node for node in graph.nodes if isinstance(node.op, Fused)]) == 1


@pytest.mark.parametrize("case", CASES)
def test_numbers_at_odd_sizes(case, check_compiled):
    compiled = check_compiled(CASES[case], n=1, h=3, w=3)
    rng = np.random.default_rng(5)
    for n, h, w in [(8, 1, 70), (3, 70, 1), (2, 33, 31), (1, 65, 2), *rng.integers(1, 21, (6, 3)).tolist()]:
        check_compiled(CASES[case], compiled=compiled, n=n, h=h, w=w, seed=n)


@pytest.mark.parametrize("size", [(24, 24), (28, 28), (8, 8), (13, 5), (4, 4)])
@pytest.mark.parametrize("symbolic", [False, True])
def test_items_of_several_lines_and_several_images(size, symbolic):
    # Winograd's work items are rows of tiles, counted through all images: some hold less than an image, some more.
    height, width = ("h", "w") if symbolic else size
    text = CASES["a sum of what is stored"].replace("n,h,w,", f"n,{height},{width},")
    text = text.replace(",3]", ",32]").replace("[3,3,3,", "[3,3,32,").replace("17]", "40]")
    graph = parse(text)
    compiled = compile_graph(graph)
    rng = np.random.default_rng(2)
    kernel = rng.normal(size=(3, 3, 32, 40)).astype("float32")
    for n in (1, 2, 7, 16):
        x = rng.normal(size=(n, *size, 32)).astype("float32")
        stored, sums = compiled.executable.run([x, kernel], [])
        exact = stored.sum((1, 2), dtype="float64")
        np.testing.assert_allclose(sums, exact, rtol=0, atol=2e-6 * np.abs(stored).sum((1, 2)).max())
    bodies = [node.op.body for node in compiled.graph.nodes if isinstance(node.op, Fused)]
    (reduced,) = [body for body in bodies if any(node.op.name == "reduce_sum" for node in body.nodes)]
    assert any(node.op.fusion is Fusion.CONTRACTION for node in reduced.nodes)


@pytest.mark.parametrize("size", [(28, 28), (15, 15), (7, 7), (1, 97), (2, 3)])
@pytest.mark.parametrize("op", ["forward", "backward"])
def test_depthwise_blocks_of_pixels_end_where_images_end(size, op, check_compiled):
    h, w = size
    name, extra = "convolution", ""
    if op == "backward":
        name, extra = "convolution_input_gradient", f"input_spatial=({h},{w}), "
    graph = parse(f"""
        graph g {{
          input %x "x": f32[n,{h},{w},40]
          input %k "k": f32[3,3,1,40]
          %p: f32[n,{h},{w},40] = {name}(%x, %k) {{{extra}{SAME.replace("groups=1", "groups=40")}}}
          %s: f32[n,40] = reduce_sum(%p) {{axes=(1,2)}}
          return "p"=%p
          return "s"=%s
        }}""")
    compiled = None
    for n in (1, 5, 9):
        compiled = check_compiled(graph, compiled=compiled, n=n)
    assert compiled is not None
    assert len([node for node in compiled.graph.nodes if isinstance(node.op, Fused)]) == 1


@pytest.fixture
def thread_counts(threads_restored: None) -> tuple[int, ...]:
    return 1, 2, 3, 4


@pytest.mark.parametrize("case", CASES)
def test_the_same_bits_at_any_thread_count(case, arrays_for, thread_counts):
    graph = parse(CASES[case])
    executable = compile_graph(graph).executable
    arrays = arrays_for(graph, n=13, h=24, w=24)
    found = set()
    for threads in thread_counts:
        set_num_threads(threads)
        found.add(tuple(result.tobytes() for result in executable.run(arrays, [])))
    assert len(found) == 1


def test_what_is_not_finite_reaches_the_sums_of_its_own_image_only():
    graph = parse(CASES["a sum of what is stored"])
    rng = np.random.default_rng(1)
    x = rng.normal(size=(9, 6, 5, 3)).astype("float32")
    x[2, 0, 0, 1], x[5, 3, 3, 0] = np.nan, np.inf
    _, sums = compile_graph(graph).executable.run([x, rng.normal(size=(3, 3, 3, 17)).astype("float32")], [])
    assert not np.isfinite(sums[[2, 5]]).any()
    assert np.isfinite(np.delete(sums, [2, 5], axis=0)).all()


def test_an_operand_that_the_sums_read_again_is_not_overwritten():
    graph = run_pipeline(parse(CASES["an input gradient, its mask, and sums with another tensor"]))
    (kernel,) = [node for node in graph.nodes if isinstance(node.op, Fused)]
    full = [i for i, value in enumerate(kernel.inputs) if value.type.shape == kernel.outputs[0].type.shape]
    assert full
    assert not [pair for pair in in_place_pairs(kernel) if pair[0] in full]


REFUSED = {
    "a few images of known number": ("f32[2,h,w,3]", "(1,2)", "so few images"),
    "images too large for the cache": ("f32[n,256,256,3]", "(1,2)", "too large"),
    "over the images too": ("f32[n,h,w,3]", "(0,1,2)", "pixels of each image"),
    "over rows only": ("f32[n,h,w,3]", "(1,)", "pixels of each image"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_say_why(case):
    type_, axes, words = REFUSED[case]
    kept = [part for i, part in enumerate(type_[4:-1].split(",")) if str(i) not in axes]
    context = PassContext()
    text = f"""
        graph g {{
          input %x "x": {type_}
          input %k "k": f32[1,1,3,3]
          %p: {type_} = convolution(%x, %k) {{strides=(1,1), padding=((0,0),(0,0)), dilation=(1,1), groups=1}}
          %s: f32[{",".join(kept)}] = reduce_sum(%p) {{axes={axes}}}
          return "p"=%p
          return "s"=%s
        }}
        """
    assert len(fuse(parse(textwrap.dedent(text)), context).nodes) == 2
    assert any(words in remark.text for remark in context.remarks)


def test_a_result_that_is_not_stored_is_reduced_by_a_kernel_of_its_own():
    text = CASES["a sum of what is stored"].replace('return "p"=%p\n', "")
    kernels = [node.op.body for node in run_pipeline(parse(text)).nodes if isinstance(node.op, Fused)]
    assert [any(node.op.fusion is Fusion.CONTRACTION for node in body.nodes) for body in kernels] == [True, False]


DEPTHWISE = """
    graph g {
      input %x "x": f32[n,h,w,40]
      input %k "k": f32[3,3,1,40]
      %p: f32[n,h,w,40] = convolution(%x, %k) {SAME}
      %s: f32[n,40] = reduce_sum(%p) {axes=(1,2)}
      return "p"=%p
      return "s"=%s
    }
    """.replace("SAME", SAME.replace("groups=1", "groups=40"))
WINOGRAD = textwrap.dedent(GRAPHS["a sum of what is stored"]).replace("3]", "32]", 1).replace("3,17]", "32,17]")
EMPTY = CASES | {"depthwise": textwrap.dedent(DEPTHWISE), "32 channels": WINOGRAD.replace("SAME", SAME)}


@pytest.mark.parametrize("case", EMPTY)
def test_images_without_pixels_have_the_sums_of_nothing(case, arrays_for):
    graph = parse(EMPTY[case])
    executable = compile_graph(graph).executable
    for n, h, w in ((300, 0, 5), (1, 0, 1), (0, 4, 4)):
        arrays = arrays_for(graph, n=n, h=h, w=w)
        with np.errstate(over="ignore"):
            stored, *sums = executable.run(arrays, [])
        assert stored.size == 0
        for found in sums:
            assert found.shape[0] == n
            starts = {"statistics": np.nan, "a convolution": np.iinfo("int32").min}
            expected = next((value for start, value in starts.items() if case.startswith(start)), 0)
            np.testing.assert_array_equal(found, np.full_like(found, expected))
