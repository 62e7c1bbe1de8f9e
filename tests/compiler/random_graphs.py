"""Random graphs of primitives, for the tests that no example would think of."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from compiler import functions as f
from compiler.ir import Builder, Graph, Value
from compiler.ops.shape import Broadcast
from compiler.ops.statistics import Softmax
from compiler.passes.differentiate import emit_gradient
from compiler.types import TensorType
from runtime.dimensions import Dim, symbol

BATCH = symbol("n")
EXTENTS: tuple[Dim, ...] = (BATCH, 1, 3, 4, 17)
UNARY = (f.tanh, f.relu, f.sigmoid, f.negative, f.absolute)
BINARY = (f.add, f.subtract, f.multiply, f.maximum)
REDUCTIONS = (f.reduce_sum, f.reduce_max, f.reduce_min)

Step = Callable[[st.DrawFn, Builder, list[Value]], Value | None]


def _pick(draw: st.DrawFn, values: list[Value]) -> Value:
    return draw(st.sampled_from(values))


def unary(draw: st.DrawFn, b: Builder, values: list[Value]) -> Value | None:
    return draw(st.sampled_from(UNARY))(b, _pick(draw, values))


def binary(draw: st.DrawFn, b: Builder, values: list[Value]) -> Value | None:
    """Two values of one shape, so that edges skip and join."""
    left = _pick(draw, values)
    peers = [value for value in values if value.type == left.type]
    return draw(st.sampled_from(BINARY))(b, left, _pick(draw, peers))


def masked(draw: st.DrawFn, b: Builder, values: list[Value]) -> Value | None:
    left = _pick(draw, values)
    peers = [value for value in values if value.type == left.type]
    return f.where(b, f.greater(b, left, 0.25), _pick(draw, peers), 0.0)


def broadcast(draw: st.DrawFn, b: Builder, values: list[Value]) -> Value | None:
    """A value repeated to the shape of another, along chosen axes."""
    target, source = _pick(draw, values), _pick(draw, values)
    if source.type.rank > target.type.rank:
        return None
    axes = sorted(draw(st.permutations(range(target.type.rank)))[: source.type.rank])
    extents = [target.type.shape[axis] for axis in axes]
    if any(inner not in (1, outer) for inner, outer in zip(source.type.shape, extents, strict=True)):
        return None
    return b.emit(Broadcast(target.type.shape, tuple(axes)), source)


def reduction(draw: st.DrawFn, b: Builder, values: list[Value]) -> Value | None:
    x = _pick(draw, values)
    axes = [axis for axis in range(x.type.rank) if draw(st.booleans())]
    return draw(st.sampled_from(REDUCTIONS))(b, x, axes) if axes else None


def transpose(draw: st.DrawFn, b: Builder, values: list[Value]) -> Value | None:
    x = _pick(draw, values)
    return f.transpose(b, x, tuple(draw(st.permutations(range(x.type.rank)))))


def reshape(draw: st.DrawFn, b: Builder, values: list[Value]) -> Value | None:
    """Two neighbouring axes merged, or an axis of 1 put in."""
    x = _pick(draw, values)
    shape = list(x.type.shape)
    if len(shape) > 1 and draw(st.booleans()):
        at = draw(st.integers(0, len(shape) - 2))
        shape[at : at + 2] = [shape[at] * shape[at + 1]]
    else:
        shape.insert(draw(st.integers(0, len(shape))), 1)
    return f.reshape(b, x, tuple(shape)) if len(shape) <= 4 else None


def reverse(draw: st.DrawFn, b: Builder, values: list[Value]) -> Value | None:
    x = _pick(draw, values)
    return f.reverse(b, x, draw(st.integers(0, x.type.rank - 1))) if x.type.rank else None


def matmul(draw: st.DrawFn, b: Builder, values: list[Value]) -> Value | None:
    """Factors that fit, transposed or not; the batch symbol must not be squared away."""
    left = _pick(draw, values)
    transpose_a, transpose_b = draw(st.booleans()), draw(st.booleans())
    if left.type.rank != 2:
        return None
    inner = left.type.shape[0 if transpose_a else 1]
    fits = [v for v in values if v.type.rank == 2 and v.type.shape[1 if transpose_b else 0] == inner]
    if not fits:
        return None
    return f.matmul(b, left, _pick(draw, fits), transpose_a=transpose_a, transpose_b=transpose_b)


def selection(draw: st.DrawFn, b: Builder, values: list[Value]) -> Value | None:
    """Other elements than the own ones: a border added, a part taken, two values joined."""
    x = _pick(draw, values)
    if not x.type.rank:
        return None
    axis = draw(st.integers(0, x.type.rank - 1))
    match draw(st.sampled_from(["pad", "slice", "concatenate"])):
        case "pad":
            low = tuple(int(i == axis) for i in range(x.type.rank))
            return f.pad(b, x, low, tuple(2 * extent for extent in low), 0.5)
        case "slice" if isinstance(x.type.shape[axis], int) and x.type.shape[axis] > 1:
            return f.slice_axis(b, x, axis, 1, None)
    return f.concatenate(b, [x, x], axis)


def composite(draw: st.DrawFn, b: Builder, values: list[Value]) -> Value | None:
    x = _pick(draw, values)
    return b.emit(Softmax(draw(st.integers(0, x.type.rank - 1))), x) if x.type.rank else None


STEPS: tuple[Step, ...] = (
    unary, binary, binary, masked, broadcast, reduction, transpose, reshape, reverse, matmul, selection, composite,
)  # fmt: skip


@st.composite
def graphs(draw: st.DrawFn, most_nodes: int = 14, gradients: bool = False) -> Graph:
    """Float32 graphs over a batch symbol with several inputs, variables, outputs and updates.

    With `gradients` some ask for the gradients of a loss by all inputs and variables.
    """
    b = Builder("random")
    shapes = st.lists(st.sampled_from(EXTENTS), max_size=3).map(tuple)
    values = [b.input(f"x{i}", TensorType(draw(shapes))) for i in range(draw(st.integers(1, 3)))]
    values.append(b.input("anchor", TensorType((BATCH, 4))))  # gives the symbol its number
    for i in range(draw(st.integers(0, 3))):
        values.append(b.variable(f"v{i}", TensorType(draw(shapes))))
    for i in range(draw(st.integers(1, most_nodes))):
        with b.scope(layer=f"layer{i}"):
            made = draw(st.sampled_from(STEPS))(draw, b, values)
        if made is not None and made.type.rank <= 4 and made.type.dtype == "float32":
            values.append(made)
    if gradients and draw(st.booleans()):
        wanted = [entry.value for entry in b.inputs + b.variables]
        with b.scope(layer="loss"):
            loss = f.reduce_sum(b, _pick(draw, values))
        values.extend(emit_gradient(b, loss, wanted))
    for i in range(draw(st.integers(1, 3))):
        b.output(f"y{i}", _pick(draw, values))
    for entry in b.variables:
        fitting = [value for value in values if value.type == entry.value.type]
        if draw(st.booleans()):
            b.update(entry.name, _pick(draw, fitting))
    return b.build()
