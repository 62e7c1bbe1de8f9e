"""`differentiate`: the op `gradient` becomes the backward sweep; judged by central differences in float64."""

from __future__ import annotations

import textwrap

import numpy as np
import pytest

from compiler.interpret import interpret
from compiler.ir import Graph
from compiler.passes.context import PassContext
from compiler.passes.differentiate import differentiate
from compiler.text import parse

STEP = 1e-6


def losses_around(graph: Graph, arrays: list[np.ndarray], number: int) -> np.ndarray:
    """Slopes of the output `loss` by every element of one input, from its values on both sides."""
    slopes = np.zeros(arrays[number].size)
    for place in range(slopes.size):
        sides = []
        for step in (STEP, -STEP):
            moved = [array.copy() for array in arrays]
            moved[number].reshape(-1)[place] += step
            count = len(graph.inputs)
            outputs, _ = interpret(graph, moved[:count], moved[count:])
            sides.append(float(outputs[0]))
        slopes[place] = (sides[0] - sides[1]) / (2 * STEP)
    return slopes.reshape(arrays[number].shape)


# Each graph returns a loss first, then its gradients by the inputs in order.
COMPOSITES = {
    "dense, relu, dense, softmax cross-entropy": """
        graph g {
          input %x "x": f64[n,3]
          input %w "w": f64[3,4]
          input %b "b": f64[4]
          input %v "v": f64[4,2]
          %a: f64[n,4] = matmul(%x, %w)
          %bb: f64[n,4] = broadcast(%b) {shape=(n,4), axes=(1,)}
          %c: f64[n,4] = add(%a, %bb)
          %d: f64[n,4] = relu(%c)
          %e: f64[n,2] = matmul(%d, %v)
          %s: f64[n,2] = log_softmax(%e) {axis=1}
          %t: f64[n,2] = multiply(%s, %s)
          %l: f64[] = reduce_sum(%t) {axes=(0,1)}
          %gx: f64[n,3], %gw: f64[3,4], %gb: f64[4], %gv: f64[4,2] = gradient(%l, %x, %w, %b, %v)
          return "loss"=%l
          return "gx"=%gx
          return "gw"=%gw
          return "gb"=%gb
          return "gv"=%gv
        }
        """,
    "one value used three times": """
        graph g {
          input %x "x": f64[3]
          %a: f64[3] = multiply(%x, %x)
          %b: f64[3] = multiply(%a, %x)
          %c: f64[3] = add(%b, %a)
          %l: f64[] = reduce_sum(%c) {axes=(0,)}
          %g: f64[3] = gradient(%l, %x)
          return "loss"=%l
          return "gx"=%g
        }
        """,
    "batch normalization, transposed, in a product with itself": """
        graph g {
          input %x "x": f64[n,3]
          input %g "g": f64[3]
          input %b "b": f64[3]
          %y: f64[n,3], %m: f64[3], %v: f64[3] = batch_normalization(%x, %g, %b) {axis=1}
          %t: f64[3,n] = transpose(%y) {permutation=(1,0)}
          %p: f64[3,3] = matmul(%t, %y)
          %e: f64[3,3] = tanh(%p)
          %l: f64[] = reduce_sum(%e) {axes=(0,1)}
          %gx: f64[n,3], %gg: f64[3], %gb: f64[3] = gradient(%l, %x, %g, %b)
          return "loss"=%l
          return "gx"=%gx
          return "gg"=%gg
          return "gb"=%gb
        }
        """,
    "convolution and pooling": """
        graph g {
          input %x "x": f64[2,5,5,2]
          input %k "k": f64[3,3,2,3]
          %c: f64[2,5,5,3] = convolution(%x, %k) {strides=(1,1), padding=((1,1),(1,1)), dilation=(1,1), groups=1}
          %s: f64[2,5,5,3] = sigmoid(%c)
          %r: f64[2,3] = reduce_max(%s) {axes=(1,2)}
          %l: f64[] = reduce_sum(%r) {axes=(0,1)}
          %gx: f64[2,5,5,2], %gk: f64[3,3,2,3] = gradient(%l, %x, %k)
          return "loss"=%l
          return "gx"=%gx
          return "gk"=%gk
        }
        """,
}


@pytest.mark.parametrize("case", COMPOSITES)
def test_gradients_are_slopes(case, arrays_for):
    traced = parse(textwrap.dedent(COMPOSITES[case]))
    graph = differentiate(traced, PassContext())
    assert all(node.op.name != "gradient" for node in graph.nodes)
    arrays = arrays_for(graph)
    (_, *gradients), _ = interpret(graph, arrays)
    assert len(gradients) == len(arrays)
    for number, gradient in enumerate(gradients):
        expected = losses_around(graph, arrays, number)
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-7 * max(1.0, np.abs(expected).max()))


def test_the_backward_sweep_carries_layers_and_sources(check):
    check(
        differentiate,
        """
        graph g {
          input %x "x": f32[n,3] // data
          variable %w "w": f32[3,2]
          %a: f32[n,2] = matmul(%x, %w) @"dense" #"train.py:4"
          %r: f32[n,2] = relu(%a) @"relu" #"train.py:5"
          %l: f32[] = reduce_sum(%r) {axes=(0,1)} @"loss"
          %g: f32[3,2] = gradient(%l, %w)
          return "g"=%g
        }
        """,
        golden="differentiate_dense_relu",
        numbers=False,
    )


def test_what_the_loss_does_not_depend_on_has_zero_gradient(check):
    check(
        differentiate,
        """
        graph g {
          input %x "x": f32[3]
          input %y "y": f32[n]
          %l: f32[] = reduce_sum(%x) {axes=(0,)}
          %g: f32[n] = gradient(%l, %y)
          return "g"=%g
        }
        """,
        golden="differentiate_independent",
        numbers=False,
    )


def test_no_gradient_passes_stop_gradient():
    graph = parse(
        textwrap.dedent(
            """
            graph g {
              input %x "x": f64[]
              %s: f64[] = stop_gradient(%x)
              %y: f64[] = multiply(%s, %x)
              %g: f64[] = gradient(%y, %x)
              return "g"=%g
            }
            """
        )
    )
    (gradient,), _ = interpret(differentiate(graph, PassContext()), [np.asarray(3.0)])
    assert gradient == 3.0  # of 2 * 3, the part through x itself


def test_a_gradient_of_a_gradient():
    # loss = sum(g) with g = d sum(x**3) / dx = 3 x**2, so the second gradient is 6 x.
    graph = parse(
        textwrap.dedent(
            """
            graph g {
              input %x "x": f64[4]
              %a: f64[4] = multiply(%x, %x)
              %b: f64[4] = multiply(%a, %x)
              %l: f64[] = reduce_sum(%b) {axes=(0,)}
              %g: f64[4] = gradient(%l, %x)
              %m: f64[] = reduce_sum(%g) {axes=(0,)}
              %h: f64[4] = gradient(%m, %x)
              return "h"=%h
            }
            """
        )
    )
    x = np.array([-1.0, 0.5, 2.0, 3.0])
    (second,), _ = interpret(differentiate(graph, PassContext()), [x])
    np.testing.assert_allclose(second, 6 * x)


def test_a_gradient_by_an_inner_value_and_by_the_loss_itself():
    graph = parse(
        textwrap.dedent(
            """
            graph g {
              input %x "x": f64[3]
              %a: f64[3] = multiply(%x, %x)
              %l: f64[] = reduce_sum(%a) {axes=(0,)}
              %ga: f64[3], %gx: f64[3], %gl: f64[] = gradient(%l, %a, %x, %l)
              return "ga"=%ga
              return "gx"=%gx
              return "gl"=%gl
            }
            """
        )
    )
    x = np.array([1.0, -2.0, 3.0])
    (by_inner, by_input, by_loss), _ = interpret(differentiate(graph, PassContext()), [x])
    np.testing.assert_array_equal(by_inner, np.ones(3))
    np.testing.assert_array_equal(by_input, 2 * x)
    assert by_loss == 1.0


def test_a_graph_without_gradients_comes_back_itself():
    graph = parse('graph g {\n input %x "x": f32[4]\n %y: f32[4] = exp(%x)\n return "y"=%y\n}')
    assert differentiate(graph, PassContext()) is graph


@pytest.mark.parametrize(
    ("loss", "wanted", "message"),
    [("%v", "%v", "float scalar"), ("%i", "%v", "float scalar"), ("%s", "%i", "float values"), ("%s", "", "at least")],
)
def test_impossible_requests_are_refused(loss, wanted, message):
    arguments = ", ".join(part for part in (loss, wanted) if part)
    text = f"""graph g {{
      input %v "v": f32[3]
      input %s "s": f32[]
      input %i "i": i32[]
      %g: f32[3] = gradient({arguments})
      return "g"=%g
    }}"""
    with pytest.raises(ValueError, match=f"line 5.*{message}"):
        parse(text)
