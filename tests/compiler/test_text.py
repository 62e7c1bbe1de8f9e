"""The text form: what is printed reads back to an equal graph, bit for bit; what cannot be read says where."""

from __future__ import annotations

import math
import struct
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import graphs
from random_loops import loops

from compiler.ir import Builder, Graph, Op
from compiler.ops.fused import Fused
from compiler.ops.registry import OPS
from compiler.ops.sources import ArrayAttribute, Constant, Full
from compiler.passes.context import PassContext
from compiler.passes.fuse import fuse
from compiler.pipeline import run_pipeline
from compiler.text import ParseError, large_constants, parse, to_text
from compiler.types import SHORT_NAMES, TensorType
from runtime.dimensions import dim_max, symbol

N, H = symbol("n"), symbol("h")


def round_trip(graph: Graph) -> Graph:
    text = to_text(graph)
    again = parse(text, large_constants(graph))
    assert again == graph
    assert to_text(again) == text
    pretty = to_text(graph, pretty=True)
    assert parse(pretty, large_constants(graph)) == graph
    assert to_text(parse(pretty, large_constants(graph)), pretty=True) == pretty
    whole = to_text(graph, inline=10**9, pretty=True)
    assert parse(whole) == graph
    return again


def one_node(op: Op, *types: TensorType) -> Graph:
    b = Builder("one")
    inputs = [b.input(f"x{i}", type_) for i, type_ in enumerate(types)]
    for i, value in enumerate(b.emit_all(op, *inputs)):
        b.output(f"y{i}", value)
    return b.build()


@settings(max_examples=100, deadline=None)
@given(graph=graphs())
def test_random_graphs_round_trip_also_with_fused_bodies(graph):
    round_trip(graph)
    round_trip(fuse(graph, PassContext()))


@pytest.mark.parametrize("name", sorted(OPS))
def test_every_op_round_trips(name):
    for op, arrays in OPS[name].samples():
        graph = one_node(op, *(TensorType(np.shape(a), np.asarray(a).dtype.name) for a in arrays))
        assert round_trip(graph).nodes[0].op == op


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


@given(value=st.floats() | st.sampled_from([0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 1e16, 1e-5]))
def test_floats_keep_their_bits(value):
    (node,) = round_trip(one_node(Full((3,), value, "float64"))).nodes
    assert bits(node.op.value) == bits(value) or math.isnan(value)
    assert math.isnan(node.op.value) == math.isnan(value)


def test_negative_zero_and_zero_are_different_graphs():
    assert one_node(Full((3,), 0.0)) != one_node(Full((3,), -0.0))


@pytest.mark.parametrize(
    "extent",
    [N, 2 * N + 1, (H + 1) // 2, N * H, dim_max(N, 3), dim_max((H - 3) // 2 + 1, N, 7) * 4, (N * H + 3) // 16],
    ids=str,
)
def test_symbolic_sizes_in_types_and_attributes(extent):
    round_trip(one_node(Full((extent, 3), 1.0)))
    round_trip(one_node(OPS["broadcast"]((extent, extent), (1,)), TensorType((extent,))))


@pytest.mark.parametrize("dtype", SHORT_NAMES)
@pytest.mark.parametrize("shape", [(), (3,), (0, 2), (64,), (65,), (5, 17)])
def test_constants_of_every_dtype(dtype, shape):
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    graph = one_node(Constant(ArrayAttribute(array)))
    again = round_trip(graph).nodes[0].op.array.array
    assert again.dtype == array.dtype
    np.testing.assert_array_equal(again, array)


def test_large_constants_go_by_their_hash_and_must_be_given():
    graph = one_node(Constant(ArrayAttribute(np.arange(100.0))))
    text = to_text(graph)
    assert len(text) < 300
    assert parse(text, large_constants(graph)) == graph
    with pytest.raises(ParseError, match="line 2: the array with this hash was not given"):
        parse(text)


def test_large_constants_inside_fused_bodies_are_found():
    inner = one_node(Constant(ArrayAttribute(np.arange(100.0))))
    assert len(large_constants(one_node(Fused(inner)))) == 1
    round_trip(one_node(Fused(inner)))


@st.composite
def arrays_of_any_bits(draw):
    """Arrays of every dtype: subnormal and negative zero, infinities, NaNs with their payload."""
    dtype = draw(st.sampled_from(sorted(SHORT_NAMES)))
    shape = draw(st.lists(st.integers(0, 5), max_size=3).map(tuple))
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    data = draw(st.binary(min_size=size, max_size=size))
    array = np.frombuffer(data, "uint8" if dtype == "bool" else dtype).reshape(shape)
    return array % 2 == 1 if dtype == "bool" else array


@given(arrays=st.lists(arrays_of_any_bits(), min_size=1, max_size=4), value=st.floats(width=32))
def test_graphs_of_constants_keep_every_bit_in_both_forms(arrays, value):
    b = Builder("constants")
    for i, array in enumerate(arrays):
        b.output(f"y{i}", b.emit(Constant(ArrayAttribute(array))))
    b.output("full", b.emit(Full((N, 2), value)))
    b.output("n", b.input("n", TensorType((N,))))
    graph = b.build()
    for text in (to_text(graph, inline=10**9), to_text(graph, pretty=True, inline=10**9)):
        for node, array in zip(parse(text).nodes, arrays, strict=False):
            assert node.op.array.array.tobytes() == array.tobytes()
    round_trip(graph)


@settings(max_examples=25, deadline=None)
@given(graph=loops())
def test_random_loops_round_trip_before_and_after_all_passes(graph):
    round_trip(graph)
    round_trip(run_pipeline(graph))


@settings(max_examples=60, deadline=None)
@given(graph=graphs(gradients=True))
def test_random_graphs_after_all_passes_round_trip(graph):
    round_trip(run_pipeline(graph))


names = st.text(max_size=12)


@given(graph_name=names, input_name=names, layer=names, source=names, output=names)
def test_names_may_hold_any_characters(graph_name, input_name, layer, source, output):
    b = Builder(graph_name)
    x = b.input(input_name, TensorType((3,)))
    with b.scope(layer=layer, source=source):
        y = b.emit(OPS["exp"](), x)
    b.output(output, y)
    round_trip(b.build())


@pytest.mark.parametrize("name", ["my model", 'a "b" c', "back\\", "a // b", "{", "%0 = f(x)", "\u2028", "a,b=c", ""])
def test_names_that_look_like_syntax(name):
    b = Builder(name)
    x = b.variable(name, TensorType((3,)))
    with b.scope(layer=name, source=name):
        y = b.emit(OPS["exp"](), x)
    b.output(name, y)
    b.update(name, y)
    round_trip(b.build())


def test_comments_blank_lines_and_own_names():
    graph = parse(
        textwrap.dedent(
            """
            // a graph
            graph g {

              input %image "x": f32[2*h//2,3] // a size with a division
              %y: f32[h,3] = exp(%image) @"a // b"
              return "y"=%y
            }
            """
        )
    )
    assert graph.nodes[0].layer == "a // b"
    assert str(graph.inputs[0].value.type) == "f32[h,3]"


PRETTY = """\
graph g {
  input %x: f32[n,3]
  variable %dense_kernel "dense/kernel": f32[n,3]
  variable %p2_0 "0": f32[]
  variable %dense_kernel_3 "dense.kernel": f32[n,3]
  %4: f32[n,3] = 0.5
  %5: f32[n,3] = %x * %4 @"a = f(x)" #"train.py:3"
  %6: bool[n,3] = %5 < %dense_kernel @"dense"
  %7: f32[3] = reduce_sum(%5) {axes=(0,)}
  return "y"=%6
  return "z"=%7
}
"""


def test_the_pretty_form_names_values_and_leaves_out_what_goes_without_saying():
    graph = parse(PRETTY)
    assert to_text(graph, pretty=True) == PRETTY
    assert parse(to_text(graph)) == graph
    assert [node.op.name for node in graph.nodes] == ["full", "multiply", "less", "reduce_sum"]
    assert graph.nodes[1].layer == "a = f(x)"


def test_types_of_results_and_attributes_with_a_default_need_not_be_written():
    graph = parse("""graph g {
      input %x: f32[n,3]
      variable %w: f32[3,5]
      %y = matmul(%x, %w)
      return "y"=%y
    }""")
    assert str(graph.results[0].type) == "f32[n,5]"
    assert not graph.nodes[0].op.transpose_a


def test_sources_may_be_left_out():
    b = Builder("g")
    with b.scope(layer="dense", source="train.py:12"):
        b.output("y", b.emit(OPS["exp"](), b.input("x", TensorType((3,)))))
    assert '@"dense" #"train.py:12"' in to_text(b.build())
    assert "train.py" not in to_text(b.build(), sources=False)


GOOD = ["graph g {", '  input %0 "x": f32[n,3]', "  %1: f32[n,3] = exp(%0)", '  return "y"=%1', "}"]

# A changed line, its number, and what the error says.
ERRORS = {
    "no graph": (1, "grap g {", "line 1: expected 'graph NAME {'"),
    "bad type": (2, '  input %0 "x": f33[n,3]', r"line 2: Expected a type such as"),
    "bad size": (2, '  input %0 "x": f32[n,,3]', "line 2: cannot read the size"),
    "not a statement": (3, "  %1 exp(%0)", "line 3: expected an input, a variable, a node, a return or an update"),
    "unknown op": (3, "  %1: f32[n,3] = expp(%0)", "line 3: unknown op 'expp'"),
    "unknown attribute": (3, "  %1: f32[n,3] = exp(%0) {base=2}", "line 3: .*base"),
    "missing attribute": (3, "  %1: f32[n,3] = reduce_sum(%0)", "line 3: .*axes"),
    "open bracket": (3, "  %1: f32[n] = reduce_sum(%0) {axes=(1,)", "line 3: a bracket is not closed"),
    "wrong count of inputs": (3, "  %1: f32[n,3] = exp(%0, %0)", "line 3: .*exp"),
    "wrong type": (3, "  %1: f32[n,4] = exp(%0)", r"line 3: %1 is declared f32\[n,4\], the rule gives f32\[n,3\]"),
    "wrong count of results": (3, "  %1: f32[n,3], %2: f32[n,3] = exp(%0)", "line 3: 'exp' has 1 results, not 2"),
    "defined twice": (3, "  %0: f32[n,3] = exp(%0)", "line 3: %0 is defined twice"),
    "undefined": (3, "  %1: f32[n,3] = exp(%7)", "line 3: %7 is not defined"),
    "undefined result": (4, '  return "y"=%7', "line 4: %7 is not defined"),
    "no such variable": (4, '  update "v"=%1', "line 4: Cannot update 'v'"),
    "trailing text": (3, "  %1: f32[n,3] = exp(%0) please", 'line 3: expected @"layer"'),
    "no end": (5, "", "expected '}' at the end of the graph. Received: the end of the text"),
    "more text": (5, "}\ngraph h {\n}", "line 6: expected the end of the text"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_the_line(case):
    number, line, message = ERRORS[case]
    lines = list(GOOD)
    lines[number - 1] = line
    with pytest.raises(ParseError, match=message):
        parse("\n".join(lines))


def test_errors_inside_a_body_name_their_own_line():
    text = """graph g {
      input %0 "x": f32[3]
      %1: f32[3] = fused(%0) {
        graph body {
          input %0 "x0": f32[3]
          %1: f32[3] = nothing(%0)
          return "y0"=%1
        }
      }
      return "y"=%1
    }"""
    with pytest.raises(ParseError, match="line 6: unknown op 'nothing'"):
        parse(text)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_text_gives_a_parse_error_or_a_graph(data):
    text = to_text(one_node(OPS["reduce_sum"]((1,)), TensorType((N, 3))))
    at = data.draw(st.integers(0, len(text) - 1))
    length = data.draw(st.integers(0, 5))
    put = data.draw(st.text(alphabet='%"{}()[],:=#@ \n\\x0n-./', max_size=4))
    damaged = text[:at] + put + text[at + length :]
    try:
        graph = parse(damaged)
    except ParseError:
        return
    assert parse(to_text(graph)) == graph
