"""The backward pass of attention: one pass over blocks of keys and queries of a head, scores computed anew.

    P = exp(Q K^T - greatest) / sum;  dV^T += dO^T P;  dS = P (dO V^T - rowsum(dO O));  dK^T += Q^T dS;  dQ += dS K

after Dao (FlashAttention-2, 2023). Lanes are keys: the sums over queries then run over the steps of the micro-kernel,
and queries and results' cotangents are broadcast element by element, from copies in which their rows lie one behind the
other. Keys and values are packed once for each block, and their gradients stay in the cache while all queries pass.

A work item is a head of keys with all its queries, so that the gradient of a query is a sum over blocks of keys in
their order: it is held in scratch, one row a query. The gradients of few heads thus keep few threads busy.

What it was to reach: 60 % of the micro-kernel's speed and memory that is linear in the length. Reached (see
`compiler.codegen.attention`; counted as five products): [32, 128, 4, 32] 60 GFLOP/s, 11.3 ms (PyTorch 15.7 to 19.6),
causal 46, 7.3 ms (16.2 to 18.6); [4, 1024, 8, 64] 80, 268 ms (385 to 443), causal 70, 154 ms (280 to 312).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from compiler.codegen.attention import COMMON_HEAD, ROW_SLACK, common_extents, extra_extents, keep_step
from compiler.codegen.attention_gradient_native import TERMS
from compiler.codegen.contraction_driver import Driver
from compiler.codegen.contraction_ir import element_bytes
from compiler.codegen.generated_types import KernelGenerator
from compiler.codegen.microkernel_tile import RUN, Tile
from compiler.ir import Op
from compiler.types import TensorType
from runtime.dimensions import Dim, align_up, ceil_div

__all__ = ["AttentionGradientGenerator"]

# Keys and queries of a block, at most: with a depth of 64 some 200 KiB are in use at a time.
BLOCK_KEYS = 64
BLOCK_QUERIES = 96


class AttentionGradientGenerator(KernelGenerator):
    """query, key, value, result, its cotangent, two numbers a query, perhaps a key mask and a state; cotangents."""

    def extents(self, op: Op, inputs: Sequence[TensorType], places: Mapping[int, int]) -> tuple[Dim, ...]:
        """The common ones, where the key mask and the results stand; 0 for nowhere."""
        key_mask, *dropout = extra_extents(op, 6)
        return (*common_extents(op, inputs), key_mask, *(places.get(i, 0) for i in range(3)), *dropout)

    def work(self, op: Op, inputs: Sequence[TensorType], tile: Tile) -> Dim:
        """Heads of keys."""
        return inputs[1].shape[0] * inputs[1].shape[2]

    def scratch(self, op: Op, inputs: Sequence[TensorType], tile: Tile) -> Dim:
        """Bytes of tables, packed keys and values, their gradients, two blocks of scores and the queries' gradients."""
        _, queries, heads, depth = inputs[0].shape
        _, _, key_heads, values = inputs[2].shape
        shared = heads // key_heads
        panels, block = _block(tile)
        size = element_bytes(tile.dtype)
        panel, keys = tile.columns * size, panels * tile.columns
        tables = align_up(depth * 8) + align_up(values * 8) + align_up(shared * 8)
        tables = tables + 4 * align_up(max(block, keys) * 8)
        depth_panels = ceil_div(depth, tile.columns)
        packed = (depth + values) * (2 * panels * panel) + depth_panels * (keys * panel)
        own = queries * shared * ((TERMS + depth + values) * size + 2 * ROW_SLACK + depth_panels * panel)
        kept = panel + (block * keep_step(keys) if op.fields["dropout"] else 0)
        return align_up(tables + packed + 2 * panels * block * panel + own + kept)

    def driver(self, tile: Tile) -> Driver:
        """The one for all rules and sizes."""
        return _driver(tile)


def _block(tile: Tile) -> tuple[int, int]:
    """Panels of keys, and queries, of a block."""
    return max(1, BLOCK_KEYS // tile.columns), BLOCK_QUERIES // tile.rows * tile.rows


@functools.cache
def _driver(tile: Tile) -> Driver:
    panels, queries = _block(tile)
    constants = {"BLOCK_PANELS": panels, "BLOCK_QUERIES": queries, "TERM_BYTES": TERMS * element_bytes(tile.dtype)}
    constants["KEEP_STEP"] = keep_step(panels * tile.columns)
    # The slopes of a query lie panel by panel.
    source = _SOURCE.format(over_keys="micro_table" if tile.columns % RUN else "micro_runs")
    return Driver(COMMON_HEAD + source, tuple(constants.items()), columns_extent=0)


_SOURCE = """\
    depth_panels = (depth + TILE_COLUMNS - 1) // TILE_COLUMNS
    block_keys = BLOCK_PANELS * TILE_COLUMNS
    table_bytes = (max(BLOCK_QUERIES, block_keys) * 8 + 63) // 64 * 64
    score_bytes = BLOCK_QUERIES * PANEL_STEP
    depth_table = scratch
    value_table = depth_table + (depth * 8 + 63) // 64 * 64
    query_table = value_table + (values * 8 + 63) // 64 * 64
    result_table = query_table + table_bytes
    row_table = result_table + table_bytes
    lane_table = row_table + table_bytes
    unseen = lane_table + table_bytes
    packed_keys = unseen + (shared * 8 + 63) // 64 * 64
    packed_values = packed_keys + BLOCK_PANELS * depth * PANEL_STEP
    key_rows = packed_values + BLOCK_PANELS * values * PANEL_STEP
    of_keys = key_rows + depth_panels * block_keys * PANEL_STEP
    of_values = of_keys + BLOCK_PANELS * depth * PANEL_STEP
    scores = of_values + BLOCK_PANELS * values * PANEL_STEP
    slopes = scores + BLOCK_PANELS * score_bytes
    of_queries = slopes + BLOCK_PANELS * score_bytes
    of_query_step = depth_panels * PANEL_STEP
    terms = of_queries + shared * queries * of_query_step
    query_rows = terms + shared * queries * TERM_BYTES
    g_rows = query_rows + shared * queries * query_row
    kept = g_rows + shared * queries * value_row + PANEL_STEP
    if item == begin:
        fill_steps(depth_table, depth, ELEMENT)
        fill_steps(value_table, values, ELEMENT)
        fill_steps(query_table, BLOCK_QUERIES, query_row)
        fill_steps(result_table, BLOCK_QUERIES, value_row)
        fill_steps(row_table, BLOCK_QUERIES, PANEL_STEP)
        for index in range(block_keys):
            lane_table[index] = index // TILE_COLUMNS * score_bytes + index % TILE_COLUMNS * ELEMENT
    image = item // key_heads
    key_head = item - image * key_heads
    first_head = key_head * shared
    query = pointers[0] + image * queries * query_step + first_head * depth * ELEMENT
    key = pointers[1] + image * keys * key_step + key_head * depth * ELEMENT
    value = pointers[2] + image * keys * value_step + key_head * values * ELEMENT
    result = pointers[3] + image * queries * result_step + first_head * values * ELEMENT
    g = pointers[4] + image * queries * result_step + first_head * values * ELEMENT
    greatest = pointers[5] + (image * heads + first_head) * queries * ELEMENT
    inverse = greatest + batch * heads * queries * ELEMENT
    key_mask = 0
    if extents[10]:
        key_mask = pointers[extents[10]] + image * keys
    query_out = pointers[extents[11]] + image * queries * query_step + first_head * depth * ELEMENT
    key_out = pointers[extents[12]] + image * keys * key_step + key_head * depth * ELEMENT
    value_out = pointers[extents[13]] + image * keys * value_step + key_head * values * ELEMENT
    fill_zero(of_queries, shared * queries * of_query_step // ELEMENT)
    for head in range(shared):
        copy_rows(query_rows + head * queries * query_row, query_row, query + head * depth * ELEMENT, query_step,
                  queries, depth)
    # Scaled as in the forward pass, so that most scores have the same bits; what lies between and behind is not used.
    scale_rows(query_rows, (shared * queries * query_row + PANEL_STEP - 1) // PANEL_STEP, scale)
    for head in range(shared):
        copy_rows(g_rows + head * queries * value_row, value_row, g + head * values * ELEMENT, result_step, queries,
                  values)
        unseen[head] = query_terms(terms + head * queries * TERM_BYTES, result + head * values * ELEMENT,
                                   g + head * values * ELEMENT, result_step, queries, values,
                                   greatest + head * queries * ELEMENT, inverse + head * queries * ELEMENT)
    for first in range(0, keys, block_keys):
        last = min(keys, first + block_keys)
        count = last - first
        panels = (count + TILE_COLUMNS - 1) // TILE_COLUMNS
        fill_zero(of_keys, panels * depth * TILE_COLUMNS)
        fill_zero(of_values, panels * values * TILE_COLUMNS)
        for panel in range(panels):
            lanes = min(TILE_COLUMNS, count - panel * TILE_COLUMNS)
            start = first + panel * TILE_COLUMNS
            if lanes < TILE_COLUMNS:
                fill_zero(packed_keys + panel * depth * PANEL_STEP, depth * TILE_COLUMNS)
                fill_zero(packed_values + panel * values * PANEL_STEP, values * TILE_COLUMNS)
            transpose_rows(packed_keys + panel * depth * PANEL_STEP, PANEL_STEP, key + start * key_step, key_step,
                           lanes, depth)
            transpose_rows(packed_values + panel * values * PANEL_STEP, PANEL_STEP, value + start * value_step,
                           value_step, lanes, values)
        pack_columns(key_rows, block_keys * PANEL_STEP, key + first * key_step, key_step, count, depth)
        scale_rows(key_rows, depth_panels * block_keys, scale)
        for head in range(shared):
            query_begin = 0
            query_end = queries
            skipping = unseen[head] == 0
            if skipping:
                query_begin = max(0, first - ahead)
                query_end = min(queries, last + behind)
            blocks = max(1, (query_end - query_begin + BLOCK_QUERIES - 1) // BLOCK_QUERIES)
            step = ((query_end - query_begin + blocks - 1) // blocks + TILE_ROWS - 1) // TILE_ROWS * TILE_ROWS
            for begin_row in range(query_begin, query_end, max(TILE_ROWS, step)):
                rows = min(step, query_end - begin_row)
                base = query_rows + (head * queries + begin_row) * query_row
                g_base = g_rows + (head * queries + begin_row) * value_row
                own_terms = terms + (head * queries + begin_row) * TERM_BYTES
                if extents[14]:
                    line = (image * heads + first_head + head) * queries + begin_row
                    keep_rows(kept, KEEP_STEP, line * keys + first, keys, rows, count, pointers[extents[14]],
                              extents[15], extents[16])
                for panel in range(panels):
                    lanes = min(TILE_COLUMNS, count - panel * TILE_COLUMNS)
                    start = first + panel * TILE_COLUMNS
                    skip = 0
                    if skipping:
                        skip = max(0, start - ahead - begin_row) // TILE_ROWS * TILE_ROWS
                    if skip < rows:
                        place = scores + panel * score_bytes
                        slope = slopes + panel * score_bytes
                        skipped = skip * PANEL_STEP
                        micro_rows(rows - skip, base, query_table + skip * 8, depth,
                                   packed_keys + panel * depth * PANEL_STEP, PANEL_STEP, place + skipped, PANEL_STEP, 0,
                                   place + skipped, PANEL_STEP)
                        micro_rows(rows - skip, g_base, result_table + skip * 8, values,
                                   packed_values + panel * values * PANEL_STEP, PANEL_STEP, slope + skipped, PANEL_STEP,
                                   0, slope + skipped, PANEL_STEP)
                        near = min(rows, max(skip, start + lanes - 1 - ahead - begin_row))
                        far = max(near, min(rows, start + behind + 1 - begin_row))
                        mask_address = 0
                        if key_mask:
                            mask_address = key_mask + start
                            near = rows
                            far = rows
                        if skip < near:
                            mask_queries(place + skip * PANEL_STEP, near - skip, begin_row + skip - start, ahead,
                                         behind, mask_address, lanes)
                        if far < rows:
                            mask_queries(place + far * PANEL_STEP, rows - far, begin_row + far - start, ahead,
                                         behind, 0, lanes)
                        own_kept = kept + skip * KEEP_STEP + panel * PANEL_STEP
                        if extents[14]:
                            multiply_rows(slope + skip * PANEL_STEP, own_kept, rows - skip, KEEP_STEP)
                        weights_block(place + skip * PANEL_STEP, slope + skip * PANEL_STEP, rows - skip,
                                      own_terms + skip * TERM_BYTES)
                        if extents[14]:
                            multiply_rows(place + skip * PANEL_STEP, own_kept, rows - skip, KEEP_STEP)
                        tile = of_values + panel * values * PANEL_STEP
                        micro_columns(values, g_base + skip * value_row, value_table, value_row, rows - skip,
                                      place + skipped, PANEL_STEP, tile, PANEL_STEP, 1, tile, PANEL_STEP)
                        tile = of_keys + panel * depth * PANEL_STEP
                        micro_columns(depth, base + skip * query_row, depth_table, query_row, rows - skip,
                                      slope + skipped, PANEL_STEP, tile, PANEL_STEP, 1, tile, PANEL_STEP)
                of_block = of_queries + (head * queries + begin_row) * of_query_step
                # Rows before this one see a part of the keys only, each tile another.
                uneven = 0
                if skipping:
                    uneven = max(0, last - ahead - begin_row + TILE_ROWS - 2) // TILE_ROWS * TILE_ROWS
                for panel in range(depth_panels):
                    index = 0
                    while index < rows:
                        steps = count
                        tile_rows = rows - index
                        if index < uneven:
                            tile_rows = min(TILE_ROWS, rows - index)
                            steps = min(count, begin_row + index + tile_rows + ahead - first)
                        if steps > 0:
                            tile = of_block + index * of_query_step + panel * PANEL_STEP
                            {over_keys}(tile_rows, slopes, row_table + index * 8, lane_table, steps,
                                       key_rows + panel * block_keys * PANEL_STEP, PANEL_STEP, tile, of_query_step, 1,
                                       tile, of_query_step)
                        index = index + tile_rows
        for panel in range(panels):
            lanes = min(TILE_COLUMNS, count - panel * TILE_COLUMNS)
            start = first + panel * TILE_COLUMNS
            if extents[12]:
                transpose_rows(key_out + start * key_step, key_step, of_keys + panel * depth * PANEL_STEP, PANEL_STEP,
                               depth, lanes)
            if extents[13]:
                transpose_rows(value_out + start * value_step, value_step, of_values + panel * values * PANEL_STEP,
                               PANEL_STEP, values, lanes)
    for head in range(shared * (extents[11] > 0)):
        copy_rows(query_out + head * depth * ELEMENT, query_step, of_queries + head * queries * of_query_step,
                  of_query_step, queries, depth)
    return item + 1
"""
