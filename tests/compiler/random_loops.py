"""Random graphs of recurrences that read one another, limited and not, for the tests that no example would think of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import strategies as st

from compiler import functions as f
from compiler.ir import Builder, Graph, Value
from compiler.passes.differentiate import emit_gradient
from compiler.types import TensorType
from runtime.dimensions import symbol

STEPS, BATCH, UNITS = symbol("t"), symbol("n"), 3
ENTRY, SEQUENCE, MATRIX = (TensorType(s) for s in ((BATCH, UNITS), (STEPS, BATCH, UNITS), (UNITS, UNITS)))

Make = Callable[[Builder, Value, Value], Value]
IN_STEPS: dict[str, Make] = {
    "tanh": lambda b, x, y: f.tanh(b, x),
    "sigmoid": lambda b, x, y: f.sigmoid(b, x),
    "add": f.add,
    "subtract": f.subtract,
    "multiply": lambda b, x, y: f.multiply(b, x, f.tanh(b, y)),
}
OVER_STEPS: dict[str, Make] = IN_STEPS | {
    "mean": lambda b, x, y: f.divide(b, x, f.dimension(b, STEPS, "float32")),
    "rows": lambda b, x, y: f.add(b, x, f.spread(b, f.reduce_sum(b, y, (2,)), SEQUENCE.shape, (2,))),
    "reverse": lambda b, x, y: f.reverse(b, x, (0,)),
}


def _read_constant(draw: st.DrawFn, b: Builder, constant: Value, entries: list[Value]) -> Value:
    """What a step makes of a constant: all steps of a sequence, a product with a matrix, or the entry that it is."""
    entry = draw(st.sampled_from(entries))
    if constant.type == SEQUENCE:
        return f.tanh(b, f.reduce_sum(b, f.multiply(b, constant, entry), (0,)))
    return f.matmul(b, entry, constant) if constant.type == MATRIX else constant


def _body(draw: st.DrawFn, states: int, sequences: int, constants: Sequence[Value]) -> Graph:
    b = Builder("body")
    old = [b.input(f"h{i}", ENTRY) for i in range(states)]
    entries = old + [b.input(f"x{i}", ENTRY) for i in range(sequences)]
    given = [b.input(f"c{i}", value.type) for i, value in enumerate(constants)]
    known = entries + [_read_constant(draw, b, value, entries) for value in given]
    for _ in range(draw(st.integers(1, 4))):
        make = IN_STEPS[draw(st.sampled_from(sorted(IN_STEPS)))]
        known.append(make(b, draw(st.sampled_from(known)), draw(st.sampled_from(known))))
    new = []
    for number, state in enumerate(old):
        new.append(f.tanh(b, f.add(b, state, draw(st.sampled_from(known)))))
        b.output(f"h{number}", new[-1])
    for number in range(draw(st.integers(0, 2))):
        b.output(f"y{number}", draw(st.sampled_from(known[states:] + new)))
    return b.build()


@st.composite
def loops(draw: st.DrawFn) -> Graph:
    """Up to three loops; inputs are two sequences, a limit, and another as int32[1]."""
    b = Builder("loops")
    sequences = [b.input(f"x{i}", SEQUENCE) for i in range(2)]
    limit, other = b.input("limit", TensorType((), "int32")), b.input("other", TensorType((1,), "int32"))
    limits = (limit, limit, f.reshape(b, f.add(b, other, 1), ()), None)
    matrices = [b.variable(f"w{i}", MATRIX) for i in range(2)]
    entries = [f.full(b, ENTRY.shape, number, "float32") for number in (0.0, 0.3)]
    wanted = [*sequences, *matrices]
    first, fixed = len(sequences), len(entries)
    for _ in range(draw(st.integers(1, 3))):
        for _ in range(draw(st.integers(0, 3))):
            x, y, w = (draw(st.sampled_from(values)) for values in (sequences, sequences, matrices))
            name = draw(st.sampled_from(["matmul", *sorted(OVER_STEPS)]))
            sequences.append(f.matmul(b, x, w) if name == "matmul" else OVER_STEPS[name](b, x, y))
        initial, read = (
            draw(st.lists(st.sampled_from(values), min_size=1, max_size=2)) for values in (entries, sequences)
        )
        constants = draw(st.lists(st.sampled_from([*matrices, *entries, *sequences]), max_size=2))
        body = _body(draw, len(initial), len(read), constants)
        bound, reverse = draw(st.sampled_from(limits)), draw(st.booleans())
        found = f.scan(b, body, initial, read, constants, limit=bound, reverse=reverse)
        sequences += [*found.after, *found.stacks]
        entries += found.final
    results = draw(st.lists(st.sampled_from([*sequences[first:], *entries[fixed:]]), min_size=1, max_size=2))
    loss = f.full(b, (), 0.0, "float32")
    for number, value in enumerate(results):
        b.output(f"y{number}", value)
        loss = f.add(b, loss, f.reduce_sum(b, f.multiply(b, value, f.tanh(b, value))))
    chosen = draw(st.lists(st.sampled_from(wanted), max_size=3, unique=True))
    for number, value in enumerate(emit_gradient(b, loss, chosen)):
        b.output(f"g{number}", value)
    return b.build()
