"""The forward pass of attention: a driver around the micro-kernel that never holds more than a block of scores.

    for each block of keys, each panel of queries:  S = K Q^T;  S = exp(S - greatest);  O = O factor + V^T S

The running softmax is that of Milakov and Gimelshein (Online normalizer calculation for softmax, 2018), in the order of
Dao (FlashAttention-2, 2023): a work item is a number of panels of queries of one head, and passes once over the keys.

Everything is held transposed, queries along the lanes: the first product broadcasts elements of the keys, the second
elements of the values. Rows of a head lie apart by a power of two, mostly, and so in few sets of the first level (a
distance of 2048 bytes takes 40 % of the micro-kernel's speed): a block of keys and values is copied for the panels of
an item.

What it was to reach: 60 % of the micro-kernel's speed, and no memory beside the result that grows with the length.
Reached on one thread of a busy Zen 3, the micro-kernel at 96 GFLOP/s (PyTorch 2's `scaled_dot_product_attention` on the
same machine in brackets): [batch 32, length 128, 4 heads, depth 32] 55 GFLOP/s, 4.9 ms (6.6 to 8.2), causal 42, 3.2 ms
(6.7 to 6.9); [4, 1024, 8, 64] 71, 120 ms (151 to 172), causal 65, 66 ms (116 to 124). Short sums of 32 steps, the
exponentials and the transposition of queries and results are what the first one lacks.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping, Sequence

from compiler.codegen.attention_dropout_native import KEEP_COUNT, KEEP_SLACK
from compiler.codegen.contraction_driver import Driver
from compiler.codegen.contraction_ir import element_bytes
from compiler.codegen.generated_types import KernelGenerator
from compiler.codegen.microkernel_tile import Tile
from compiler.ir import Op
from compiler.ops.random import dropout_threshold
from compiler.types import TensorType
from runtime.dimensions import Dim, align_up, ceil_div

__all__ = ["ROW_SLACK", "AttentionGenerator", "common_extents", "extra_extents", "keep_step"]

# Panels of queries in a work item: so many share the passes over keys and values.
ITEM_PANELS = 8
# Keys of a block, at most: a panel's scores are to stay in the first level, 8 KiB of them.
BLOCK_KEYS = 132
# Rows of a copy that is read column by column lie an odd number of cache lines apart, and so in all sets of the first
# level: rows of 64 numbers, 256 bytes apart, lie in a quarter of them. At most so many bytes are left between two. In
# turn, one thread, minima, [32, 128, 4, 32] and causal [4, 1024, 4, 64]: forward 5.07 -> 4.36 ms and 4 % less, backward
# 9.92 -> 9.79 and 69.0 -> 68.2.
ROW_SLACK = 128
# A distance that no two positions have.
FAR = 1 << 30


class AttentionGenerator(KernelGenerator):
    """query, key, value, perhaps a key mask and a state; the result, and what the gradient needs, if that is read."""

    def extents(self, op: Op, inputs: Sequence[TensorType], places: Mapping[int, int]) -> tuple[Dim, ...]:
        """The common ones, the scale, where the key mask and the results stand; 0 for nowhere."""
        key_mask, *dropout = extra_extents(op, 3)
        return (*common_extents(op, inputs), key_mask, places.get(0, 0), places.get(1, 0), *dropout)

    def work(self, op: Op, inputs: Sequence[TensorType], tile: Tile) -> Dim:
        """Groups of panels of all heads."""
        batch, queries, heads, _ = inputs[0].shape
        return batch * heads * ceil_div(queries, ITEM_PANELS * tile.columns)

    def scratch(self, op: Op, inputs: Sequence[TensorType], tile: Tile) -> Dim:
        """Bytes of tables, packed queries, sums and a panel of scores."""
        depth, values = inputs[0].shape[3], inputs[2].shape[3]
        block, panel = _block_keys(tile), tile.columns * element_bytes(tile.dtype)
        tables = align_up(values * 8) + align_up(block * 8) + align_up(ITEM_PANELS * 16)
        copies = (depth + values) * (block * element_bytes(tile.dtype)) + block * ROW_SLACK
        kept = tile.columns * keep_step(block) + block * panel if op.fields["dropout"] else 0
        return align_up(tables + (depth + values + 2) * (ITEM_PANELS * panel) + block * panel + copies + kept)

    def driver(self, tile: Tile) -> Driver:
        """The one for all rules and sizes."""
        return _driver(tile)


def common_extents(op: Op, inputs: Sequence[TensorType]) -> tuple[Dim, ...]:
    """batch, queries, keys, heads, heads of keys, depths of keys and values, keys seen ahead, behind, bits of scale."""
    batch, queries, heads, depth = inputs[0].shape
    _, keys, key_heads, values = inputs[2].shape
    fields = op.fields
    reach = FAR if fields["window"] is None else min(FAR, fields["window"] - 1)
    ahead = 0 if fields["causal"] else reach
    return (batch, queries, keys, heads, key_heads, depth, values, ahead, reach, _float_bits(fields["scale"]))


def extra_extents(op: Op, first: int) -> tuple[int, int, int, int]:
    """Where the key mask and the state stand, 0 for nowhere, the least word that is kept and the bits of the factor.

    `first`: the first input behind the tensors that are always there.
    """
    extras, rate = op.fields["extras"], op.fields["dropout"]
    key_mask, state = (first + extras.index(name) if name in extras else 0 for name in ("key_mask", "state"))
    return key_mask, state, dropout_threshold(rate), _float_bits(1.0 / (1.0 - rate))


def keep_step(count: int) -> int:
    """Bytes from one row of `keep_rows` to the next, for `count` numbers."""
    assert count <= KEEP_COUNT
    return (count + KEEP_SLACK) * 4


def _float_bits(value: float) -> int:
    """The bits of a number rounded to float32, as an integer."""
    return int(struct.unpack("<i", struct.pack("<f", value))[0])


def _block_keys(tile: Tile) -> int:
    """Most keys of a block: whole tiles."""
    return BLOCK_KEYS // tile.rows * tile.rows


@functools.cache
def _driver(tile: Tile) -> Driver:
    block = _block_keys(tile)
    constants = {"ITEM_PANELS": ITEM_PANELS, "BLOCK_KEYS": block, "KEEP_STEP": keep_step(block)}
    return Driver(COMMON_HEAD + _SOURCE, tuple(constants.items()), columns_extent=0)


# Extents by their names, and bytes from one position to the next.
COMMON_HEAD = """\
def contract(pointers, extents, scratch, begin, end, item):
    batch = extents[0]
    queries = extents[1]
    keys = extents[2]
    heads = extents[3]
    key_heads = extents[4]
    depth = extents[5]
    values = extents[6]
    ahead = extents[7]
    behind = extents[8]
    scale = extents[9]
    query_step = heads * depth * ELEMENT
    key_step = key_heads * depth * ELEMENT
    value_step = key_heads * values * ELEMENT
    result_step = heads * values * ELEMENT
    shared = heads // key_heads
    value_row = ((values * ELEMENT + 63) // 64 // 2 * 2 + 1) * 64
    query_row = ((depth * ELEMENT + 63) // 64 // 2 * 2 + 1) * 64
"""

_SOURCE = """\
    value_table = scratch
    key_table = value_table + (values * 8 + 63) // 64 * 64
    flags = key_table + (BLOCK_KEYS * 8 + 63) // 64 * 64
    packed = flags + (ITEM_PANELS * 16 + 63) // 64 * 64
    sums = packed + ITEM_PANELS * depth * PANEL_STEP
    states = sums + ITEM_PANELS * values * PANEL_STEP
    scores = states + ITEM_PANELS * 2 * PANEL_STEP
    key_rows = scores + BLOCK_KEYS * PANEL_STEP
    value_rows = key_rows + BLOCK_KEYS * depth * ELEMENT
    factors = value_rows + BLOCK_KEYS * value_row
    kept = factors + BLOCK_KEYS * PANEL_STEP
    if item == begin:
        fill_steps(value_table, values, ELEMENT)
        fill_steps(key_table, BLOCK_KEYS, depth * ELEMENT)
    groups = (queries + ITEM_PANELS * TILE_COLUMNS - 1) // (ITEM_PANELS * TILE_COLUMNS)
    row = item // groups
    first = (item - row * groups) * ITEM_PANELS * TILE_COLUMNS
    image = row // heads
    head = row - image * heads
    key_head = head // shared
    end_query = min(queries, first + ITEM_PANELS * TILE_COLUMNS)
    panels = (end_query - first + TILE_COLUMNS - 1) // TILE_COLUMNS
    query = pointers[0] + (image * queries + first) * query_step + head * depth * ELEMENT
    key = pointers[1] + image * keys * key_step + key_head * depth * ELEMENT
    value = pointers[2] + image * keys * value_step + key_head * values * ELEMENT
    result = pointers[extents[11]] + (image * queries + first) * result_step + head * values * ELEMENT
    key_mask = 0
    if extents[10]:
        key_mask = pointers[extents[10]] + image * keys
    for panel in range(panels):
        lanes = min(TILE_COLUMNS, queries - first - panel * TILE_COLUMNS)
        place = packed + panel * depth * PANEL_STEP
        if lanes < TILE_COLUMNS:
            fill_zero(place, depth * TILE_COLUMNS)
        transpose_rows(place, PANEL_STEP, query + panel * TILE_COLUMNS * query_step, query_step, lanes, depth)
        scale_rows(place, depth, scale)
    blocks = max(1, (keys + BLOCK_KEYS - 1) // BLOCK_KEYS)
    step = ((keys + blocks - 1) // blocks + TILE_ROWS - 1) // TILE_ROWS * TILE_ROWS
    for panel in range(panels):
        flags[panel * 2] = 1
        flags[panel * 2 + 1] = 1
    whole = 0
    left_out = 0
    turns = 1
    while turns:
        for block in range(blocks):
            block_begin = block * step
            block_end = min(keys, block_begin + step)
            seen = 1
            if whole == 0:
                seen = block_begin < end_query + ahead and block_end > first - behind
                if seen and key_mask:
                    seen = any_byte(key_mask + block_begin, block_end - block_begin)
                if seen == 0:
                    left_out = 1
            if seen:
                copy_rows(key_rows, depth * ELEMENT, key + block_begin * key_step, key_step, block_end - block_begin,
                          depth)
                copy_rows(value_rows, value_row, value + block_begin * value_step, value_step, block_end - block_begin,
                          values)
            for panel in range(panels * seen):
                query_begin = first + panel * TILE_COLUMNS
                query_end = min(queries, query_begin + TILE_COLUMNS)
                key_begin = block_begin
                key_end = block_end
                if whole == 0:
                    key_begin = max(block_begin, query_begin - behind)
                    key_end = min(block_end, query_end + ahead)
                if key_begin > block_begin or key_end < block_end:
                    left_out = 1
                if flags[panel * 2] and key_begin < key_end:
                    place = packed + panel * depth * PANEL_STEP
                    rows = key_end - key_begin
                    base = key_rows + (key_begin - block_begin) * depth * ELEMENT
                    micro_rows(rows, base, key_table, depth, place, PANEL_STEP, scores, PANEL_STEP, 0, scores,
                               PANEL_STEP)
                    near = min(rows, max(0, query_end - behind - key_begin))
                    far = max(near, min(rows, query_begin + ahead + 1 - key_begin))
                    if key_mask:
                        near = rows
                    if near:
                        mask_address = 0
                        if key_mask:
                            mask_address = key_mask + key_begin
                        mask_keys(scores, near, query_begin - key_begin, ahead, behind, mask_address)
                    far = max(near, far)
                    if far < rows:
                        mask_keys(scores + far * PANEL_STEP, rows - far, query_begin - key_begin - far, ahead, behind,
                                  0)
                    total = sums + panel * values * PANEL_STEP
                    softmax_block(scores, rows, states + panel * 2 * PANEL_STEP, flags[panel * 2 + 1], total, values)
                    if extents[13]:
                        lanes = query_end - query_begin
                        keep_rows(kept, KEEP_STEP, (row * queries + query_begin) * keys + key_begin, keys, lanes, rows,
                                  pointers[extents[13]], extents[14], extents[15])
                        transpose_rows(factors, PANEL_STEP, kept, KEEP_STEP, lanes, rows)
                        multiply_rows(scores, factors, rows, PANEL_STEP)
                    base = value_rows + (key_begin - block_begin) * value_row
                    micro_columns(values, base, value_table, value_row, rows, scores, PANEL_STEP, total, PANEL_STEP,
                                  1 - flags[panel * 2 + 1], total, PANEL_STEP)
                    flags[panel * 2 + 1] = 0
        turns = 0
        if left_out and whole == 0:
            for panel in range(panels):
                lanes = min(TILE_COLUMNS, queries - first - panel * TILE_COLUMNS)
                again = flags[panel * 2 + 1]
                if again == 0:
                    again = masked_lanes(states + panel * 2 * PANEL_STEP, lanes)
                flags[panel * 2] = again
                if again:
                    flags[panel * 2 + 1] = 1
                    turns = 1
            whole = 1
    if keys == 0:
        # The sum over no keys.
        fill_zero(sums, panels * values * TILE_COLUMNS)
        fill_zero(states, panels * 2 * TILE_COLUMNS)
    for panel in range(panels):
        lanes = min(TILE_COLUMNS, queries - first - panel * TILE_COLUMNS)
        total = sums + panel * values * PANEL_STEP
        state = states + panel * 2 * PANEL_STEP
        if keys > 0:
            divide_by_sums(total, values, state)
        if extents[11]:
            transpose_rows(result + panel * TILE_COLUMNS * result_step, result_step, total, PANEL_STEP, values, lanes)
        if extents[12]:
            place = pointers[extents[12]] + (row * queries + first + panel * TILE_COLUMNS) * ELEMENT
            copy_rows(place, batch * heads * queries * ELEMENT, state, PANEL_STEP, 2, lanes)
    return item + 1
"""
