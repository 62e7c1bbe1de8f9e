"""The inner loops of the gradient of attention: a row of a block of scores is a query, a lane a key.

What a query's scores have in common is known from the forward pass, so nothing crosses a vector here either; each
query has four numbers, `TERMS`, that its row is computed with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from compiler.codegen.attention_native import (
    LOG2_E,
    PanelLoops,
    load_byte,
    visible_or_masked,
)
from compiler.codegen.contraction_ir import INT32, INT64, constant
from compiler.codegen.contraction_packing import ROWS_AHEAD
from compiler.codegen.depthwise_native import Vectors
from compiler.codegen.microkernel_tile import Tile
from compiler.codegen.scalar_math_emitter import Emitter
from compiler.ops.attention import MASKED

__all__ = ["ATTENTION_GRADIENT_PARTS", "TERMS"]

TERMS = 4


def _emit_mask_queries(module: Any, tile: Tile) -> None:
    """`mask_queries(scores, queries, distance, ahead, behind, key_mask, keys)`: as `mask_keys`, with keys as lanes.

    `key_mask`: a byte for each of the first `keys` lanes, or 0 for none. `scores`: [queries][keys].
    """
    parameters = ("scores", "queries", "distance", "ahead", "behind", "key_mask", "keys")
    loops = PanelLoops(module, tile, "mask_queries", parameters)
    native, builder = loops.native, loops.builder
    scores, queries, distance, ahead, behind, key_mask, keys = native.arguments.values()
    kind = ir.VectorType(INT32, tile.lanes)
    table = builder.ptrtoint(builder.alloca(kind, size=tile.vectors), INT64)
    for lane in range(tile.columns):
        native.store(ir.Constant(INT32, 1), native.add(table, lane * 4))
    limit = builder.select(builder.icmp_signed("==", key_mask, constant(0)), constant(0), keys)
    with native.loop(0, limit) as lane:
        byte = builder.zext(load_byte(native, native.add(key_mask, lane)), INT32)
        native.store(byte, native.add(table, native.multiply(lane, 4)))
    seen = []
    for vector in range(tile.vectors):
        flags = native.load(native.add(table, vector * tile.lanes * 4), kind)
        seen.append(builder.icmp_signed("!=", flags, ir.Constant(kind, [0] * tile.lanes)))
    least, most = loops.splat_integer(builder.neg(ahead)), loops.splat_integer(behind)
    with native.loop(0, queries) as index:
        place = loops.row(scores, index)
        nearest = loops.splat_integer(native.add(distance, index))
        result = []
        for vector, value in enumerate(loops.load_row(place)):
            lanes = ir.Constant(kind, [vector * tile.lanes + lane for lane in range(tile.lanes)])
            result.append(visible_or_masked(loops, builder.sub(nearest, lanes), least, most, seen[vector], value))
        loops.store_row(result, place)
    native.finish()


def _row_product(loops: PanelLoops, left: Any, right: Any, count: Any, step: Any) -> Any:
    """The sum of the products of two rows; asks for the left one of a row further down, `step` bytes from each to the
    next."""
    native, builder = loops.native, loops.builder
    one = Emitter(builder, native.dtype)

    def part(e: Emitter, kind: Any) -> Callable[[Any, Vectors], Vectors]:
        def body(index: Any, held: Vectors) -> Vectors:
            offset = native.multiply(index, native.size)
            x, y = (native.load(native.add(row, offset), kind) for row in (left, right))
            native.prefetch(native.add(left, offset, native.multiply(step, ROWS_AHEAD)))
            return [e.fma(x, y, held[0])]

        return body

    zero = [native.zero_vector()]
    whole, (lanes,) = loops.carry_from(constant(0), count, native.lanes, zero, part(loops.e, native.vector))
    total = builder.extract_element(lanes, ir.Constant(INT32, 0))
    for lane in range(1, native.lanes):
        total = one.add(total, builder.extract_element(lanes, ir.Constant(INT32, lane)))
    return loops.carry_from(whole, count, 1, [total], part(one, native.scalar))[1][0]


def _emit_query_terms(module: Any, tile: Tile) -> None:
    """`query_terms(terms, result, g, step, queries, values, greatest, inverse)`: what `weights_block` needs of queries.

    For each: -log2(e) greatest, inverse; then inverse, or 0 where the query saw no key, and minus that times the
    product of the result and its cotangent `g`, whose rows of `values` lie `step` bytes apart. Returns how many queries
    saw no key.
    """
    parameters = ("terms", "result", "g", "step", "queries", "values", "greatest", "inverse")
    loops = PanelLoops(module, tile, "query_terms", parameters)
    native, builder = loops.native, loops.builder
    terms, result, g, step, queries, values, greatest, inverse = native.arguments.values()
    one = Emitter(builder, tile.dtype)
    unseen = builder.alloca(INT64)
    builder.store(constant(0), unseen)
    with native.loop(0, queries) as index:
        row = native.multiply(index, step)
        total = _row_product(loops, native.add(result, row), native.add(g, row), values, step)
        offset = native.multiply(index, native.size)
        score = native.load(native.add(greatest, offset), native.scalar)
        factor = native.load(native.add(inverse, offset), native.scalar)
        is_unseen = one.compare("==", score, one.constant(MASKED))
        builder.store(builder.add(builder.load(unseen), builder.zext(is_unseen, INT64)), unseen)
        share = one.select(is_unseen, one.constant(0.0), factor)
        numbers = (one.multiply(score, one.constant(-LOG2_E)), factor, share, one.negate(one.multiply(share, total)))
        place = native.add(terms, native.multiply(index, TERMS * native.size))
        for i, number in enumerate(numbers):
            native.store(number, native.add(place, i * native.size))
    native.finish(builder.load(unseen))


def _emit_weights_block(module: Any, tile: Tile) -> None:
    """`weights_block(scores, slopes, queries, terms)`: weights and the cotangents of scores, each in the other's place.

    `scores`: [queries][keys], which become weights. `slopes`: the cotangents of weights, which become those of scores.
    """
    loops = PanelLoops(module, tile, "weights_block", ("scores", "slopes", "queries", "terms"))
    native, e = loops.native, loops.e
    scores, slopes, queries, terms = native.arguments.values()
    with native.loop(0, queries) as index:
        own = native.add(terms, native.multiply(index, TERMS * native.size))
        shift, inverse, share, mean = (loops.spread(native.add(own, i * native.size)) for i in range(TERMS))
        places = loops.row(scores, index), loops.row(slopes, index)
        weights, of_scores = [], []
        for score, slope in zip(*map(loops.load_row, places), strict=True):
            power = loops.power_of_two(e.fma(score, loops.splat(LOG2_E), shift))
            weights.append(e.multiply(power, inverse))
            of_scores.append(e.multiply(power, e.fma(slope, share, mean)))
        loops.store_row(weights, places[0])
        loops.store_row(of_scores, places[1])
    native.finish()


# The native functions, each with its number of arguments and what adds it to a module.
ATTENTION_GRADIENT_PARTS: dict[str, tuple[int, Callable[[Any, Tile], None]]] = {
    "mask_queries": (7, _emit_mask_queries),
    "query_terms": (8, _emit_query_terms),
    "weights_block": (4, _emit_weights_block),
}
