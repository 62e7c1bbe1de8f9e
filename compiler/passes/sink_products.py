"""Let a limited loop compute the products of what it stacks, step by step.

    %1 = scan(...) {limited=True} stacking y        %1 = scan(..., %w) {limited=True} {
    %2 = matmul(%1, %w)                        ->       ... y ...
                                                        matmul(y, w), stacked
                                                    }

Outside it would be computed of all steps, those beyond the limit included, which are zeros. A product for each step
takes as long as its share of the one for all, as soon as there are as many rows as a tile of the micro-kernel has. So
the gradient with respect to a recurrent layer's input costs what its unmasked steps cost.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from compiler.ir import Builder, Graph, Node, Value
from compiler.ops.contraction import Matmul
from compiler.ops.scan import Scan
from compiler.passes.context import PassContext
from compiler.rewrite import rewrite


def sink_products(graph: Graph, context: PassContext) -> Graph:
    """Move products into limited loops; see the module's text."""
    loops = [node for node in graph.nodes if isinstance(node.op, Scan) and node.op.limited]
    if not loops:
        return graph
    users = graph.users()
    products = {loop: _products(loop, users) for loop in loops}
    moved: dict[Node, Value] = {}

    def rule(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        if node in moved:
            return [moved[node]]
        if not isinstance(node.op, Scan) or not products.get(node):
            return None
        outputs = _with_products(b, node.op, inputs, products[node])
        count = len(node.outputs)
        moved.update(zip(products[node], outputs[count:], strict=True))
        return outputs[:count]

    return rewrite(graph, rule)


def _products(loop: Node, users: dict[Value, list[Node]]) -> list[Node]:
    """Products of a loop's stacks with a matrix that is there before it: a parameter of the graph."""
    scan = loop.op
    assert isinstance(scan, Scan)
    readers = dict.fromkeys(user for value in loop.outputs[scan.states :] for user in users[value])
    return [node for node in readers if _is_movable(node, loop, scan)]


def _is_movable(node: Node, loop: Node, scan: Scan) -> bool:
    if not isinstance(node.op, Matmul) or node.op.transpose_a or node.inputs[1].node is not None:
        return False
    x, matrix = node.inputs
    is_stack = x.node is loop and x.index >= scan.states
    return is_stack and x.type.rank == 3 and matrix.type.rank == 2


def _with_products(
    b: Builder, scan: Scan, inputs: tuple[Value, ...], products: Sequence[Node]
) -> Sequence[Value]:
    """The loop with the products among its stacks; parameters of a graph stay themselves when it is rewritten."""
    body = Builder(scan.body.name)
    body.inputs, body.nodes, body.outputs = list(scan.body.inputs), list(scan.body.nodes), list(scan.body.outputs)
    matrices: list[Value] = []
    for number, product in enumerate(products):
        x, matrix = product.inputs
        parameter = body.input(f"matrix{number}", matrix.type)
        matrices.append(matrix)
        with body.scope(layer=product.layer, source=product.source):
            entry = body.emit(product.op, scan.stacked[x.index - scan.states], parameter)
        body.output(f"product{number}", entry)
    own = inputs[: len(scan.body.inputs)]
    return b.emit_all(dataclasses.replace(scan, body=body.build()), *own, *matrices, *inputs[len(own) :])
