"""`fuse`: primitives become kernels, and every edge that stays in memory has a reason."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import pytest

from compiler.ir import Graph
from compiler.lower import plan_of
from compiler.ops.fused import Fused
from compiler.passes.context import PassContext
from compiler.passes.fuse import fuse
from compiler.pipeline import run_pipeline
from compiler.text import parse


def reasons(text: str) -> dict[str, str]:
    """What `fuse` says about each edge it leaves in memory."""
    context = PassContext()
    fuse(parse(textwrap.dedent(text)), context)
    return {remark.subject: remark.text for remark in context.remarks if remark.pass_name == "fuse"}


@pytest.fixture
def kernels(operations: Callable[[Graph], list[str]]) -> Callable[[Graph], list[list[str]]]:
    """`kernels(graph)`: for each kernel the names of its ops."""
    return lambda graph: [operations(node.op.body) for node in graph.nodes if isinstance(node.op, Fused)]


def test_a_bias_and_an_activation_join_the_matrix_product(check):
    check(
        fuse,
        """
        graph g {
          input %x "x": f32[batch,784]
          variable %w "dense/kernel": f32[784,10]
          variable %b "dense/bias": f32[10]
          %a: f32[batch,10] = matmul(%x, %w) @"dense"
          %c: f32[batch,10] = broadcast(%b) {shape=(batch,10), axes=(1,)} @"dense"
          %d: f32[batch,10] = add(%a, %c) @"dense"
          %y: f32[batch,10] = relu(%d) @"dense"
          return "y"=%y
        }
        """,
        golden="fuse_dense_relu",
    )


def test_softmax_is_one_kernel(check):
    check(
        fuse,
        """
        graph g {
          input %x "x": f32[n,10]
          %m: f32[n] = reduce_max(%x) {axes=(1,)}
          %mm: f32[n,10] = broadcast(%m) {shape=(n,10), axes=(0,)}
          %s: f32[n,10] = subtract(%x, %mm)
          %e: f32[n,10] = exp(%s)
          %t: f32[n] = reduce_sum(%e) {axes=(1,)}
          %tt: f32[n,10] = broadcast(%t) {shape=(n,10), axes=(0,)}
          %y: f32[n,10] = divide(%e, %tt)
          return "y"=%y
        }
        """,
        golden="fuse_softmax",
    )


def test_siblings_share_one_pass_over_memory(check, kernels):
    result = check(
        fuse,
        """
        graph g {
          input %x "x": f32[n,10]
          input %w "w": f32[10,10]
          %p: f32[n,10] = matmul(%x, %w)
          %q: f32[10,n] = transpose(%p) {permutation=(1,0)}
          %a: f32[10,n] = exp(%q)
          %b: f32[10,n] = tanh(%q)
          return "a"=%a
          return "b"=%b
        }
        """,
    )
    assert kernels(result) == [["matmul"], ["transpose", "exp", "tanh"]]


def test_factors_are_the_first_operands_and_read_apart_from_the_tail(check):
    # exp(%r) precedes the product, and the tail reads the factor %w once more.
    result = check(
        fuse,
        """
        graph g {
          input %r "r": f32[8,8]
          input %w "w": f32[8,8]
          %e: f32[8,8] = exp(%r)
          %p: f32[8,8] = matmul(%w, %w) {transpose_b=True}
          %s: f32[8,8] = add(%p, %e)
          %y: f32[8,8] = add(%s, %w)
          return "y"=%y
        }
        """,
        golden="fuse_factors_first",
    )
    (kernel,) = result.nodes
    assert [value is result.inputs[1].value for value in kernel.inputs] == [True, True, False, True]


def test_a_broadcast_is_repeated_in_each_kernel_that_reads_it(check, kernels):
    result = check(
        fuse,
        """
        graph g {
          input %x "x": f32[n,6]
          input %b "b": f32[6]
          input %w "w": f32[6,6]
          %bb: f32[n,6] = broadcast(%b) {shape=(n,6), axes=(1,)}
          %a: f32[n,6] = add(%x, %bb)
          %p: f32[n,6] = matmul(%a, %w)
          %y: f32[n,6] = multiply(%p, %bb)
          return "y"=%y
        }
        """,
    )
    assert kernels(result) == [["broadcast", "add"], ["matmul", "broadcast", "multiply"]]


def test_the_mask_of_a_relu_is_recomputed_not_stored(check, kernels):
    # The gradient needs where the pre-activation is positive; that is in memory already.
    result = check(
        fuse,
        """
        graph g {
          input %x "x": f32[n,6]
          input %g "g": f32[n,5]
          input %w "w": f32[5,6]
          %zero: f32[n,6] = full() {shape=(n,6), value=0.0}
          %r: f32[n,6] = relu(%x)
          %m: bool[n,6] = greater(%x, %zero)
          %p: f32[n,6] = matmul(%g, %w)
          %q: f32[n,6] = select(%m, %p, %zero)
          return "r"=%r
          return "q"=%q
        }
        """,
    )
    types = [value.type.dtype for node in result.nodes for value in node.outputs]
    assert "bool" not in types
    assert any("matmul" in kernel and "greater" in kernel for kernel in kernels(result))


NORMALIZED = """
    graph g {
      input %x "x": f32[n,256]
      input %w "w": f32[256,256]
      %p: f32[n,256] = matmul(%x, %w)
      %s: f32[n] = reduce_sum(%p) {axes=(1,)}
      %m: f32[n,256] = broadcast(%s) {shape=(n,256), axes=(0,)}
      %c: f32[n,256] = subtract(%p, %m)
      %q: f32[n,256] = multiply(%c, %c)
      %v: f32[n] = reduce_sum(%q) {axes=(1,)}
      %r: f32[n] = rsqrt(%v)
      %b: f32[n,256] = broadcast(%r) {shape=(n,256), axes=(0,)}
      %h: f32[n,256] = multiply(%c, %b)
      %y: f32[n,256] = tanh(%h)
      %o: f32[n,256] = matmul(%y, %w)
      %d: f32[n,256] = multiply(%h, %o)
      %t: f32[256] = reduce_sum(%d) {axes=(0,)}
      return "t"=%t
    }
    """


def test_normalised_values_are_made_again_of_what_is_in_memory(check, kernels):
    """The gradient reads the product, and per row two numbers; neither distances nor quotients are kept."""
    result = check(fuse, NORMALIZED)
    assert kernels(result) == [
        ["matmul"],
        ["reduce_sum", "broadcast", "subtract", "multiply", "reduce_sum", "rsqrt", "broadcast", "multiply", "tanh"],
        ["matmul"],
        ["broadcast", "subtract", "broadcast", "multiply", "multiply", "reduce_sum"],
    ]
    assert [value.type.rank for value in result.nodes[1].outputs] == [1, 1, 2]
    context = PassContext()
    fuse(parse(textwrap.dedent(NORMALIZED)), context)
    assert [remark.subject for remark in context.remarks if remark.pass_name == "recompute"] == ["multiply"]


def test_normalised_values_that_a_product_reads_are_kept(check, kernels):
    without_tanh = NORMALIZED.replace("%y: f32[n,256] = tanh(%h)", "").replace("matmul(%y, %w)", "matmul(%h, %w)")
    result = check(fuse, without_tanh)
    assert kernels(result)[-1] == ["multiply", "reduce_sum"]


def test_what_few_bytes_hold_is_kept(check, kernels):
    result = check(fuse, NORMALIZED.replace("256", "8"))
    assert kernels(result)[-1] == ["multiply", "reduce_sum"]


def test_a_path_outside_keeps_two_ends_apart():
    # add(b, c) cannot join exp: the matrix product in between reads one and feeds the other.
    found = reasons(
        """
        graph g {
          input %x "x": f32[8,8]
          %a: f32[8,8] = exp(%x)
          %t: f32[8,8] = transpose(%a) {permutation=(1,0)}
          %p: f32[8,8] = matmul(%t, %t)
          %r: f32[8,8] = reverse(%p) {axes=(0,)}
          %y: f32[8,8] = add(%r, %a)
          return "y"=%y
        }
        """
    )
    assert "in between" in found["exp -> add"]


# Two ops that must not share a kernel, and words of the reason.
REFUSALS = {
    "matmul -> matmul": (
        "%a: f32[8,8] = matmul(%x, %x)\n%y: f32[8,8] = matmul(%a, %x)",
        "one contraction",
    ),
    "exp -> matmul": ("%a: f32[8,8] = exp(%x)\n%y: f32[8,8] = matmul(%a, %x)", "must be in memory"),
    "exp -> transpose": (
        "%a: f32[8,8] = exp(%x)\n%y: f32[8,8] = transpose(%a) {permutation=(1,0)}",
        "other elements",
    ),
    "reduce_sum -> multiply": (
        "%a: f32[8] = reduce_sum(%x) {axes=(0,)}\n%b: f32[8,8] = broadcast(%a) {shape=(8,8), axes=(1,)}\n"
        "%y: f32[8,8] = multiply(%x, %b)",
        "few columns",
    ),
    "reduce_sum -> reduce_sum": (
        "%a: f32[8] = reduce_sum(%x) {axes=(0,)}\n%y: f32[] = reduce_sum(%a) {axes=(0,)}",
        "same axes",
    ),
    "constant -> add": (
        f"%a: f32[8,8] = constant() {{array=array float32 [8,8] hex {'0000803f' * 64}}}\n%y: f32[8,8] = add(%x, %a)",
        "is memory",
    ),
}


@pytest.mark.parametrize("edge", REFUSALS)
def test_every_refusal_says_why(edge):
    body, words = REFUSALS[edge]
    last = body.splitlines()[-1].split(" = ")[0].strip()
    found = reasons(f'graph g {{\ninput %x "x": f32[8,8]\n{body}\nreturn "y"={last.split(":")[0]}\n}}')
    assert words in found[edge]


def test_no_kernel_grows_without_bound():
    lines = [f"%{i + 1}: f32[n] = tanh(%{i})" for i in range(200)]
    graph = parse('graph g {\ninput %0 "x": f32[n]\n' + "\n".join(lines) + '\nreturn "y"=%200\n}')
    context = PassContext()
    result = fuse(graph, context)
    sizes = [len(node.op.body.nodes) for node in result.nodes if isinstance(node.op, Fused)]
    assert sum(sizes) == 200
    assert max(sizes) <= 96
    assert any("more than 96 nodes" in remark.text for remark in context.remarks)


def test_a_broadcast_in_memory_is_no_obstacle_between_its_source_and_a_sum(check):
    # The product reads the broadcast in memory; the second sum, in the kernel of the first, repeats it.
    text = """
        graph g {
          input %x "x": f32[n,4]
          variable %w "w": f32[4,3]
          %r: f32[n] = reduce_sum(%x) {axes=(1,)}
          %b: f32[n,4] = broadcast(%r) {shape=(n, 4), axes=(0,)}
          %s: f32[n] = reduce_sum(%b) {axes=(1,)}
          %p: f32[n,3] = matmul(%b, %w) {transpose_a=False, transpose_b=False}
          %c: f32[n,3] = broadcast(%s) {shape=(n, 3), axes=(0,)}
          %y: f32[n,3] = add(%p, %c)
          return "y"=%y
        }
        """
    result = check(fuse, text)
    bodies = [[inner.op.name for inner in node.op.body.nodes] for node in result.nodes]
    assert bodies == [["reduce_sum", "broadcast", "reduce_sum"], ["broadcast"], ["matmul"], ["broadcast", "add"]]


def test_layers_of_a_kernel_are_named():
    graph = parse(
        'graph g {\ninput %x "x": f32[n]\n%a: f32[n] = exp(%x) @"one"\n%y: f32[n] = tanh(%a) @"two"\nreturn "y"=%y\n}'
    )
    (kernel,) = fuse(graph, PassContext()).nodes
    assert kernel.layer == "one+two"


@pytest.mark.parametrize("activation", ["gelu(%a) {approximate=False}", "gelu(%a) {approximate=True}", "silu(%a)"])
def test_of_a_smooth_activation_only_its_derivative_is_kept(activation):
    text = f"""
        graph g {{
          input %x "x": f32[batch,784]
          input %g "g": f32[batch,16]
          input %w "dense/kernel": f32[784,512]
          input %v "last/kernel": f32[512,16]
          %a: f32[batch,512] = matmul(%x, %w) {{transpose_a=False, transpose_b=False}}
          %y: f32[batch,512] = {activation}
          %z: f32[batch,16] = matmul(%y, %v) {{transpose_a=False, transpose_b=False}}
          %p: f32[batch,16] = multiply(%z, %g)
          %l: f32[] = reduce_sum(%p) {{axes=(0, 1)}}
          %dw: f32[784,512], %dv: f32[512,16] = gradient(%l, %w, %v)
          return "dw"=%dw
          return "dv"=%dv
        }}
        """
    graph = run_pipeline(parse(textwrap.dedent(text)))
    stored = [[value.type.shape[1] for value in node.outputs] for node in graph.nodes if isinstance(node.op, Fused)]
    # The result and its derivative; the cotangent; the two gradients.
    assert sorted(stored) == [[16], [512], [512], [512, 512]]


def test_the_tail_of_a_product_makes_nothing_again_that_it_cannot_read(kernels):
    """A masked state beside the recurrent product: the mask varies over the rows, which no tail reads."""
    graph = fuse(
        parse("""
        graph g {
          input %g: f32[batch,512]
          input %w: f32[512,128]
          input %seen: bool[batch,1]
          input %d: f32[batch,128]
          %m: bool[batch,128] = broadcast(%seen) {shape=(batch,128), axes=(0,1)}
          %z: f32[batch,128] = full() {shape=(batch,128), value=0.0, dtype="float32"}
          %old: f32[batch,128] = select(%m, %z, %d)
          %p: f32[batch,128] = matmul(%g, %w)
          %y: f32[batch,128] = add(%old, %p)
          %u: f32[batch,128] = exp(%old)
          return "y"=%y
          return "u"=%u
        }
        """),
        PassContext(),
    )
    assert kernels(graph) == [["broadcast", "full", "select", "exp"], ["matmul", "add"]]
    assert all(plan_of(node.op.body) for node in graph.nodes if isinstance(node.op, Fused))
