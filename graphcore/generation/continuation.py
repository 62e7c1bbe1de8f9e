"""From a model of whole sequences to a program that goes on where it stopped.

A causal model computes each position from itself and earlier ones, and only attention looks at others. So its graph,
given the next few tokens alone, computes them as before, if

- attention reads keys and values of earlier positions out of a cache, in which it writes those of the new ones: values
  in variables [batch · heads · capacity, depth], whose rows are written in place, and keys turned, in variables
  [batch · heads · depth · capacity, 1], since then their product with one query needs no transposition;
- what depends on the place in the sequence (a range of numbers, the first rows of a table) starts at `position`.

Everything else must treat positions alike, which `PositionAxes` follows node by node, in the graph itself: layers of
any class, a user's own ones too, may be in the model. The same program takes a whole prompt and then token after token,
and the capacity is a symbol as well: one compilation serves every length. Attention reads `capacity` keys, which the
caller lets grow with the position, and those that come later are invisible by a rule.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from compiler import functions as f
from compiler.ir import Array, Builder, Graph, Node, Value
from compiler.ops.attention import MASKED, DotProductAttention
from compiler.ops.families import Composite
from compiler.ops.slicing import Slice
from compiler.ops.sources import Iota
from compiler.ops.table_rows import PutRows
from compiler.passes.context import PassContext
from compiler.passes.eliminate_dead_code import eliminate_dead_code
from compiler.rewrite import rewrite
from compiler.types import TensorType
from graphcore.generation.positions import LENGTH, PositionAxes, has_length, has_positions_on, length_axes
from runtime.dimensions import symbol

CAPACITY = symbol("capacity")


@dataclasses.dataclass(frozen=True)
class CacheSpec:
    """A cache of keys or values: `heads` times `depth` numbers a position; if `turned`, positions are the last axis."""

    name: str
    heads: int
    depth: int
    dtype: str
    turned: bool

    def shape(self, batch: int, capacity: int) -> tuple[int, int]:
        """Of the variable."""
        rows = batch * self.heads * capacity
        return (rows * self.depth, 1) if self.turned else (rows, self.depth)

    def positions(self, cache: Array, batch: int, used: int) -> Array:
        """A view of what the `used` first positions hold."""
        if self.turned:
            return cache.reshape(batch * self.heads * self.depth, -1)[:, :used]
        return cache.reshape(batch * self.heads, -1, self.depth)[:, :used]


class Continuation:
    """The graph of a model, emitted for tokens that follow those in the caches.

    Args:
        b: where to emit.
        graph: the model's, from tokens [batch, length] to results of each position.

    Attributes:
        position: int32 scalar, how many positions the caches hold: a variable, which gets its new value.
        caches: the variables of keys and values, in the order in which they were declared.
        most_positions: how many there can be: rows of the smallest table that is sliced by the length, or None.

    Raises:
        ValueError: naming the layer that does not treat positions alike, or attention that is not causal.
    """

    def __init__(self, b: Builder, graph: Graph) -> None:
        graph = eliminate_dead_code(_primitive(graph), PassContext())
        if graph.updates:
            raise ValueError(f"generate: the model changes its variable '{graph.updates[0][0]}' when it is called.")
        self._b = b
        b.inputs, b.variables = list(graph.inputs), list(graph.variables)
        self._slots = b.input("slots", TensorType((CAPACITY,), "int32"))
        self.position = b.variable("position", TensorType((), "int32"))
        self.caches: list[CacheSpec] = []
        self.most_positions: int | None = None
        self._axes = PositionAxes()
        self._new: dict[Value, Value] = {entry.value: entry.value for entry in graph.parameters}
        for node in graph.nodes:
            b.layer, b.source = node.layer, node.source
            inputs = tuple([self._new[value] for value in node.inputs])
            self._new.update(zip(node.outputs, self._emit(node, inputs), strict=True))
        b.layer = b.source = ""
        b.update("position", f.add(b, self.position, f.dimension(b, LENGTH, "int32")))
        (_, result), *others = graph.outputs
        if others or not has_positions_on(1, result.type) or result.type.rank != 3:
            raise ValueError(
                "generate: the model must have one output [batch, length, tokens], scores of the next token at each "
                f"position. Received: {[str(value.type) for _, value in graph.outputs]}"
            )
        last = f.subtract(b, f.dimension(b, LENGTH, "int32"), 1)
        self.scores = f.cast(b, f.take(b, self._new[result], last, 1), "float32")

    # -- nodes -------------------------------------------------------------------------------------------

    def _emit(self, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value]:
        op = node.op
        if isinstance(op, DotProductAttention):
            return (self._attention(node, op, inputs),)
        if isinstance(op, Iota) and has_length(op.shape[op.axis]):
            return (self._range(node, op),)
        if isinstance(op, Slice) and any(map(has_length, op.stop)) and not length_axes(inputs[0].type):
            return (self._first_rows(node, op, inputs[0]),)
        if not self._axes.follow(node):
            raise ValueError(_refused(node, f"its op '{op.name}' looks at other positions, or at their number"))
        return self._b.emit_all(op, *inputs)

    def _range(self, node: Node, op: Iota) -> Value:
        if op.shape[op.axis] != LENGTH:
            raise ValueError(_refused(node, f"it counts to {op.shape[op.axis]}"))
        return f.add(self._b, self._b.emit(op), f.cast(self._b, self.position, op.dtype))

    def _first_rows(self, node: Node, op: Slice, table: Value) -> Value:
        """`table[:length]`, from `position` on."""
        axes = [axis for axis, stop in enumerate(op.stop) if has_length(stop)]
        axis = axes[0]
        rows = table.type.shape[axis]
        is_first = len(axes) == 1 and op.stop[axis] == LENGTH and op.start[axis] == 0 and op.step[axis] == 1
        if not is_first or not isinstance(rows, int):
            raise ValueError(_refused(node, "it slices by the length of the sequence, but not a table's first rows"))
        self.most_positions = rows if self.most_positions is None else min(rows, self.most_positions)
        b = self._b
        stop = (*op.stop[:axis], rows, *op.stop[axis + 1 :])
        part = b.emit(Slice(op.start, stop, op.step), table)
        return f.take(b, part, self._positions(), axis)

    def _positions(self) -> Value:
        """Those of the new tokens, int32 [length]."""
        return f.add(self._b, f.iota(self._b, (LENGTH,), 0, "int32"), self.position)

    def _attention(self, node: Node, op: DotProductAttention, inputs: tuple[Value, ...]) -> Value:
        if not op.causal or op.extras:
            what = "is not causal" if not op.causal else f"has masks or a bias ({', '.join(op.extras)})"
            raise ValueError(_refused(node, f"attention {what}; use_causal_mask=True and no other masks are needed"))
        if not all(has_positions_on(1, value.type) for value in inputs):
            raise ValueError(_refused(node, "attention is over something else than positions"))
        b, (query, key, value) = self._b, inputs
        batch, _, heads, depth = query.type.shape
        shared, width = key.type.shape[2], value.type.shape[3]
        keys, values = self._cached(key, "keys", turned=True), self._cached(value, "values", turned=False)
        grouped = (batch, shared, -1, depth)
        scaled = f.transpose(b, f.multiply(b, query, op.scale), (0, 2, 1, 3))
        scores = f.matmul(b, f.reshape(b, scaled, grouped), keys)
        shape = (batch, heads, LENGTH, CAPACITY)
        # Key positions minus query positions.
        ahead = f.subtract(b, f.expand_dims(b, self._slots, 0), f.expand_dims(b, self._positions(), 1))
        seen = f.less_equal(b, ahead, 0)
        if op.window is not None:
            seen = f.logical_and(b, seen, f.greater(b, ahead, -op.window))
        masked = f.where(b, f.broadcast_in(b, seen, shape, (2, 3)), f.reshape(b, scores, shape), MASKED)
        weights = f.reshape(b, f.softmax(b, masked, -1), (batch, shared, -1, CAPACITY))
        results = f.reshape(b, f.matmul(b, weights, values), (batch, heads, LENGTH, width))
        return f.transpose(b, results, (0, 2, 1, 3))

    def _cached(self, x: Value, what: str, *, turned: bool) -> Value:
        """All keys or values, with those of the new positions [batch, length, ..]: [batch, heads, capacity, depth], or
        [batch, heads, depth, capacity] if `turned`.
        """
        b = self._b
        batch, _, heads, depth = x.type.shape
        assert isinstance(heads, int)  # attention has checked it
        if not isinstance(depth, int):
            raise ValueError(f"generate: expected keys and values of known length. Received: {x.type}")
        spec = CacheSpec(f"cache_{len(self.caches)}_{what}", heads, depth, x.type.dtype, turned)
        self.caches.append(spec)
        # Each of `lines` is written at the new positions: one a head, or one a number of a head.
        lines, width = (heads * depth, 1) if turned else (heads, depth)
        cache = b.variable(spec.name, TensorType((batch * lines * CAPACITY, width), spec.dtype))
        shape = (batch, lines, LENGTH)
        line = f.add(b, f.multiply(b, f.iota(b, shape, 0, "int32"), lines), f.iota(b, shape, 1, "int32"))
        first = f.multiply(b, line, f.dimension(b, CAPACITY, "int32"))
        rows = f.add(b, first, f.broadcast_in(b, self._positions(), shape, (2,)))
        new = f.reshape(b, f.transpose(b, x, (0, 2, 3, 1) if turned else (0, 2, 1, 3)), (-1, width))
        cache = b.emit(PutRows(), cache, new, f.reshape(b, rows, (-1,)))
        b.update(spec.name, cache)
        return f.reshape(b, cache, (batch, heads, depth, CAPACITY) if turned else (batch, heads, CAPACITY, depth))


def _primitive(graph: Graph) -> Graph:
    """The graph with composites taken apart, attention excepted."""

    def rule(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        if not isinstance(node.op, Composite) or isinstance(node.op, DotProductAttention):
            return None
        return node.op.decompose(b, *inputs)

    while True:
        simpler = rewrite(graph, rule)
        if simpler is graph:
            return graph
        graph = simpler


def _refused(node: Node, why: str) -> str:
    place = f"layer '{node.layer}'" if node.layer else "the model"
    line = f" ({node.source})" if node.source else ""
    return (
        f"generate: {place}{line} cannot go on from a cache: {why}. Supported are layers that treat positions alike "
        "(Dense, EinsumDense, Embedding, normalisation over features, activations, merging, Dropout), ranges and "
        "tables of positions, and causal MultiHeadAttention, GroupQueryAttention and Attention."
    )
