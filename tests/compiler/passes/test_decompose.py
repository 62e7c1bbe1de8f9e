"""`decompose`: tensor ops become the primitives they are made of."""

from __future__ import annotations

from compiler.ir import Fusion
from compiler.passes.context import PassContext
from compiler.passes.decompose import decompose
from compiler.text import parse


def test_softmax_becomes_primitives(check):
    check(
        decompose,
        """
        graph g {
          input %x "x": f32[n,10]
          %y: f32[n,10] = softmax(%x) {axis=1} @"dense_1" #"train.py:7"
          return "y"=%y
        }
        """,
        golden="decompose_softmax",
    )


def test_composites_inside_composites_are_decomposed_too(check):
    result = check(
        decompose,
        """
        graph g {
          input %x "x": f32[n,10]
          input %gamma "gamma": f32[10]
          input %beta "beta": f32[10]
          %y: f32[n,10], %mean: f32[10], %variance: f32[10] = batch_normalization(%x, %gamma, %beta) {axis=1}
          %z: f32[n,10] = gelu(%y) {approximate=False}
          return "z"=%z
          return "mean"=%mean
          return "variance"=%variance
        }
        """,
    )
    assert all(node.op.fusion is not Fusion.COMPOSITE for node in result.nodes)


def test_layer_and_source_stay_on_every_primitive():
    graph = parse('graph g {\n input %x "x": f32[4]\n %y: f32[4] = softplus(%x) @"act" #"m.py:3"\n return "y"=%y\n}')
    result = decompose(graph, PassContext())
    assert len(result.nodes) > 1
    assert {(node.layer, node.source) for node in result.nodes} == {("act", "m.py:3")}


def test_primitives_are_left_alone():
    graph = parse('graph g {\n input %x "x": f32[4]\n %y: f32[4] = exp(%x)\n return "y"=%y\n}')
    assert decompose(graph, PassContext()) is graph
