"""The micro-kernel of narrow results: few columns, so that vectors run along the sum.

A result with few columns would leave most of a register tile empty: of 6 x 16, three
columns use a fifth. Here a vector holds consecutive steps of the sum for one row and one column instead; eight rows
advance together and share the vectors of the column's factors, and a tree of shuffles adds up the lanes of all eight
at the end. Eight loads of rows and one of factors feed eight multiply-adds: two loads a cycle allow 89 % of the peak.
"""

from __future__ import annotations

from typing import Any

from compiler.codegen.contraction_ir import INT64, NativeFunction, constant
from compiler.codegen.microkernel_tile import Tile

__all__ = ["dot_rows", "emit_dot_add", "emit_dot_microkernel"]

# Rows that advance together; more would not find registers for their addresses.
_MOST_ROWS = 8
_PARAMETERS = ("base", "row_table", "offsets", "vectors", "tail", "factors", "results", "places")


def dot_rows(tile: Tile) -> int:
    """Rows that one call computes."""
    return min(tile.lanes, _MOST_ROWS)


def emit_dot_microkernel(module: Any, tile: Tile, name: str) -> None:
    """Add `name(base, row_table, offsets, vectors, tail, factors, results, places)`.

    For each of `dot_rows` rows, writes the sum over all steps of the row's element times the factor, at `results` plus
    the row's entry in `places`, a table of int64 byte offsets. `row_table`, `offsets`: addresses of such tables too,
    one entry a row and one a vector of steps;
    a row's vector lies at base + row offset + step offset. `vectors` of them are whole, then `tail` elements, fewer
    than a vector's lanes, follow at the next offset. `factors`: address of as many elements.

    The order of the sum depends on `vectors` and `tail` alone.
    """
    native = NativeFunction(module, name, _PARAMETERS, tile.dtype, tile.lanes)
    table, base = native.arguments["row_table"], native.arguments["base"]
    rows = [native.add(base, native.load(native.add(table, 8 * row), INT64)) for row in range(dot_rows(tile))]
    zeros = [native.zero_vector() for _ in rows]
    sums = _whole_vectors(native, rows, zeros)
    sums = _last_elements(native, rows, sums)
    totals = _lane_sums(native, sums)
    for row in range(dot_rows(tile)):
        place = native.load(native.add(native.arguments["places"], 8 * row), INT64)
        total = native.builder.extract_element(totals, constant(row))
        native.store(total, native.add(native.arguments["results"], place))
    native.finish()


def _whole_vectors(native: NativeFunction, rows: list[Any], sums: list[Any]) -> list[Any]:
    builder = native.builder
    vectors = native.arguments["vectors"]
    entry = builder.block
    body = native.function.append_basic_block("vectors")
    done = native.function.append_basic_block("vectors_done")
    builder.cbranch(builder.icmp_signed(">", vectors, constant(0)), body, done)
    builder.position_at_end(body)
    step = builder.phi(INT64)
    held = [builder.phi(native.vector) for _ in sums]
    next_sums = _step(native, rows, held, step, lambda address: native.load(address, native.vector))
    next_step = native.add(step, 1)
    builder.cbranch(builder.icmp_signed("<", next_step, vectors), body, done)
    for phi, first, following in zip([step, *held], [constant(0), *sums], [next_step, *next_sums], strict=True):
        phi.add_incoming(first, entry)
        phi.add_incoming(following, body)
    builder.position_at_end(done)
    return [_joined(native, (first, entry), (last, body)) for first, last in zip(sums, next_sums, strict=True)]


def _last_elements(native: NativeFunction, rows: list[Any], sums: list[Any]) -> list[Any]:
    builder = native.builder
    tail = native.arguments["tail"]
    entry = builder.block
    body = native.function.append_basic_block("tail")
    done = native.function.append_basic_block("tail_done")
    builder.cbranch(builder.icmp_signed(">", tail, constant(0)), body, done)
    builder.position_at_end(body)
    mask = native.lanes_below(tail)
    longer = _step(native, rows, sums, native.arguments["vectors"], lambda at: native.masked_load(at, mask))
    builder.branch(done)
    builder.position_at_end(done)
    return [_joined(native, (before, entry), (after, body)) for before, after in zip(sums, longer, strict=True)]


def _step(native: NativeFunction, rows: list[Any], sums: list[Any], step: Any, load: Any) -> list[Any]:
    """One vector of steps of every row."""
    offset = native.load(native.add(native.arguments["offsets"], native.multiply(step, 8)), INT64)
    width = native.lanes * native.size
    factor = load(native.add(native.arguments["factors"], native.multiply(step, width)))
    name = f"llvm.fma.v{native.lanes}f{native.size * 8}"
    fma = native.vector_intrinsic(name, native.vector, [native.vector] * 3)
    return [
        native.builder.call(fma, [load(native.add(row, offset)), factor, held])
        for row, held in zip(rows, sums, strict=True)
    ]


def _joined(native: NativeFunction, *incoming: tuple[Any, Any]) -> Any:
    phi = native.builder.phi(native.vector)
    for value, block in incoming:
        phi.add_incoming(value, block)
    return phi


def _lane_sums(native: NativeFunction, vectors: list[Any]) -> Any:
    """A vector with the sum of the lanes of each of the `vectors`, a power of two of them.

    Each level halves the lanes that a row takes: the halves of a pair's rows are brought together and added.
    """
    group = native.lanes
    count = len(vectors)
    while group > 1:
        pairs = [vectors[i : i + 2] for i in range(0, len(vectors), 2)]
        vectors = [_halved(native, pair, group, count) for pair in pairs]
        group //= 2
    return vectors[0]


def _halved(native: NativeFunction, pair: list[Any], group: int, count: int) -> Any:
    width = pair[0].type.count
    half = group // 2
    low = [
        which * width + first + lane
        for which in range(len(pair))
        for first in range(0, width, group)
        for lane in range(half)
    ]
    left, right = pair[0], pair[-1]
    parts = [native.shuffle(left, right, [lane + shift for lane in low]) for shift in (0, half)]
    return native.builder.fadd(*parts)


def emit_dot_add(module: Any, tile: Tile, name: str) -> None:
    """Add `name(source, factors, count, result)`: add the products of two runs of elements to one element."""
    native = NativeFunction(module, name, ("source", "factors", "count", "result"), tile.dtype, tile.lanes)
    source, factors, count, result = native.arguments.values()
    with native.loop(0, count) as index:
        offset = native.multiply(index, native.size)
        product = native.builder.fmul(
            native.load(native.add(source, offset), native.scalar),
            native.load(native.add(factors, offset), native.scalar),
        )
        native.store(native.builder.fadd(native.load(result, native.scalar), product), result)
    native.finish()
