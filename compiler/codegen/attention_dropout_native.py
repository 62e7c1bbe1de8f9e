"""Dropout of attention's weights: the words of the counter-based generator are computed where they are needed.

The words are those that `compiler.ops.random.RandomBits` gives for a tensor [batch, heads, queries, keys], so that the
forward pass and its gradient drop the same weights, whatever blocks they work in, and as if all were in memory.
On one thread of a busy Zen 3, causal, with dropout and without: [batch 32, length 128, 4 heads, depth 32] 5.4 and 3.8
ms forward, 9.7 and 8.4 ms backward; [4, 1024, 8, 64] 109 and 74, 196 and 164 ms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from compiler.codegen.attention_native import PanelLoops
from compiler.codegen.contraction_ir import INT32, INT64, NativeFunction, constant
from compiler.codegen.microkernel_tile import Tile
from compiler.ops.random import LANES, MULTIPLIERS, ROUNDS, WEYL, WORD, WORDS

__all__ = ["ATTENTION_DROPOUT_PARTS", "KEEP_COUNT", "KEEP_SLACK"]

GROUP = LANES * WORDS
# Most elements of a row that one call makes, and elements past the end of a row that it may overwrite.
KEEP_COUNT = 5 * GROUP
KEEP_SLACK = LANES
_WORDS = ir.VectorType(INT32, LANES)
_WIDE = ir.VectorType(INT64, LANES)
_FLOATS = ir.VectorType(ir.FloatType(), LANES)

_PARAMETERS = ("target", "step", "position", "row_step", "rows", "count", "state", "threshold", "factor")


def _emit_keep_rows(module: Any, tile: Tile) -> None:
    """`keep_rows(target, step, position, row_step, rows, count, state, threshold, factor)`: what weights are scaled by.

    Row i of the target, `step` bytes from one to the next, takes `count` numbers for the positions from `position + i *
    row_step` on in the whole tensor: the float32 with the bits `factor`, or 0 where the position's word is below
    `threshold`.
    """
    native = NativeFunction(module, "keep_rows", _PARAMETERS, tile.dtype, LANES)
    builder = native.builder
    target, step, position, row_step, rows, count, state, threshold, factor = native.arguments.values()
    staging = builder.ptrtoint(builder.alloca(_FLOATS, size=(KEEP_COUNT // GROUP + 2) * WORDS), INT64)
    seed, stream = (native.load(native.add(state, 4 * i), INT32) for i in range(2))
    least = native.broadcast(builder.trunc(threshold, INT32))
    kept = native.broadcast(builder.bitcast(builder.trunc(factor, INT32), ir.FloatType()))
    with native.loop(0, rows) as row:
        begin = native.add(position, native.multiply(row, row_step))
        first = builder.sdiv(begin, constant(GROUP))
        groups = builder.sub(builder.sdiv(native.add(begin, count, GROUP - 1), constant(GROUP)), first)
        with native.loop(0, groups) as group:
            words = _philox(native, native.multiply(native.add(first, group), LANES), seed, stream)
            for i, word in enumerate(words):
                is_kept = builder.icmp_unsigned(">=", word, least)
                place = native.add(staging, native.multiply(group, GROUP * 4), i * LANES * 4)
                native.store(builder.select(is_kept, kept, ir.Constant(_FLOATS, [0.0] * LANES)), place)
        lead = native.multiply(builder.srem(begin, constant(GROUP)), 4)
        source = native.add(staging, lead)
        own = native.add(target, native.multiply(row, step))
        with native.loop(0, native.add(count, LANES - 1), LANES) as index:
            offset = native.multiply(index, 4)
            native.store(native.load(native.add(source, offset), _FLOATS), native.add(own, offset))
    native.finish()


def _philox(native: NativeFunction, block: Any, seed: Any, stream: Any) -> list[Any]:
    """The words of eight blocks from `block` on: Philox4x32-10, as in `compiler.ops.random`.

    Words wait in the low halves of 64 bits, where an instruction multiplies them; what is in the high halves is never
    read.
    """
    builder = native.builder
    low_half = ir.Constant(_WIDE, [WORD - 1] * LANES)
    half = ir.Constant(_WIDE, [32] * LANES)
    blocks = builder.add(native.broadcast(block), ir.Constant(_WIDE, list(range(LANES))))
    stream = native.broadcast(builder.zext(stream, INT64))
    word = [blocks, builder.lshr(blocks, half), stream, ir.Constant(_WIDE, [0] * LANES)]
    for number in range(ROUNDS):
        key = builder.add(seed, ir.Constant(INT32, number * WEYL[0] % WORD))
        first = native.broadcast(builder.zext(key, INT64))
        second = ir.Constant(_WIDE, [number * WEYL[1] % WORD] * LANES)
        products = [
            builder.mul(builder.and_(word[2 * i], low_half), ir.Constant(_WIDE, [MULTIPLIERS[i]] * LANES))
            for i in range(2)
        ]
        high = [builder.lshr(product, half) for product in products]
        word = [
            builder.xor(builder.xor(high[1], word[1]), first),
            products[1],
            builder.xor(builder.xor(high[0], word[3]), second),
            products[0],
        ]
    return [builder.trunc(value, _WORDS) for value in word]


def _emit_multiply_rows(module: Any, tile: Tile) -> None:
    """`multiply_rows(panel, factors, rows, step)`: rows of a panel times those of factors, `step` bytes apart."""
    loops = PanelLoops(module, tile, "multiply_rows", ("panel", "factors", "rows", "step"))
    native = loops.native
    panel, factors, rows, step = native.arguments.values()
    with native.loop(0, rows) as index:
        place = loops.row(panel, index)
        pairs = zip(
            loops.load_row(place), loops.load_row(native.add(factors, native.multiply(index, step))), strict=True
        )
        loops.store_row([loops.e.multiply(value, factor) for value, factor in pairs], place)
    native.finish()


# The native functions, each with its number of arguments and what adds it to a module.
ATTENTION_DROPOUT_PARTS: dict[str, tuple[int, Callable[[Any, Tile], None]]] = {
    "keep_rows": (len(_PARAMETERS), _emit_keep_rows),
    "multiply_rows": (4, _emit_multiply_rows),
}
