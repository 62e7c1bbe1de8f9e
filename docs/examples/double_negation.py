"""-(-x) is x: a pass, and what it does to a graph. `python docs/examples/double_negation.py`"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compiler.interpret import interpret
from compiler.ir import Builder, Graph, Node, Value
from compiler.ops.math import Negative
from compiler.passes.context import PassContext
from compiler.pipeline import PIPELINE, run_pipeline
from compiler.rewrite import rewrite
from compiler.text import parse, to_text


def drop_double_negation(graph: Graph, context: PassContext) -> Graph:
    """Replace the negative of a negative by what the inner one was given."""

    def rule(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        if not isinstance(node.op, Negative):
            return None
        inner = inputs[0].node
        if inner is None or not isinstance(inner.op, Negative):
            return None
        context.remark("drop_double_negation", node.layer or "graph", "two signs that cancel")
        return inner.inputs

    return rewrite(graph, rule)


# -- what it does -------------------------------------------------------------------------------------------

GRAPH = """
graph example {
  input %x "x": f32[batch,3]
  %a: f32[batch,3] = negative(%x)
  %b: f32[batch,3] = exp(%a)
  %c: f32[batch,3] = negative(%a) @"head"
  %y: f32[batch,3] = multiply(%b, %c)
  return "y"=%y
}
"""


def main() -> None:
    """The graph before and after, what the pass remarked, and that no number changed."""
    graph, context = parse(GRAPH), PassContext()
    after = drop_double_negation(graph, context)
    print(to_text(after))
    print(*context.remarks, sep="\n")
    assert drop_double_negation(after, context) is after, "a second run finds nothing"
    x = np.array([[1.0, -2.0, 0.5]], np.float32)
    (before,), _ = interpret(graph, [x], [])
    (now,), _ = interpret(after, [x], [])
    print("the same numbers:", before.tolist() == now.tolist())
    whole = run_pipeline(graph, passes=(PIPELINE[0], drop_double_negation, *PIPELINE[1:]))
    print("kernels behind the whole pipeline:", len(whole.nodes))


if __name__ == "__main__":
    main()
