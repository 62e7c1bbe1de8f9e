"""x * x * x as an op: its text, its derivative, and its kernel. `python docs/examples/cube.py`"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compiler import functions as f
from compiler.codegen.cpu import print_loop_kernel
from compiler.driver import compile_graph
from compiler.ir import Array, Builder, Value
from compiler.loops import Expr
from compiler.lower import lower_group
from compiler.ops.families import Cotangents, Elementwise, received
from compiler.ops.fused import Fused
from compiler.ops.registry import op
from compiler.passes.context import PassContext
from compiler.passes.differentiate import differentiate
from compiler.text import parse, to_text


@op
class Cube(Elementwise):
    """x * x * x."""

    def scalar(self, *x: Expr) -> Expr:
        """What every target computes."""
        return x[0] * x[0] * x[0]

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The judge: plain NumPy, not made from `scalar`."""
        return (np.power(inputs[0], 3),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """3 x x times the cotangent."""
        (x,) = inputs
        return (f.multiply(b, received(cotangents), f.multiply(b, f.multiply(b, x, x), 3.0)),)


# -- what it gets for that ----------------------------------------------------------------------------------

GRAPH = """
graph example {
  input %x "x": f32[batch,3]
  %y: f32[batch,3] = cube(%x)
  %z: f32[batch,3] = add(%y, %x)
  %l: f32[] = reduce_sum(%z) {axes=(0, 1)}
  %d: f32[batch,3] = gradient(%l, %x)
  return "z"=%z
  return "slope"=%d
}
"""


def main() -> None:
    """The derivative as nodes, the one kernel of all, and numbers."""
    graph = parse(GRAPH)
    print(to_text(differentiate(graph, PassContext())))
    compiled = compile_graph(graph)
    (kernel,) = (node.op for node in compiled.graph.nodes if isinstance(node.op, Fused))
    print(print_loop_kernel(lower_group(kernel.body)).source)
    z, slope = compiled.executable.run([np.array([[1, 2, -3]], np.float32)], ())
    print("z", z.tolist(), "slope", slope.tolist())


if __name__ == "__main__":
    main()
