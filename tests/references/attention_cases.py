"""The cases of attention.json: attention layers, with every kind of mask, and EinsumDense."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

# Rows of a batch; no query is left without a key by the first of each pair, some are by the second.
MASKS = {
    "queries": ["1110", "1111"],
    "keys": ["11010", "10111"],
    "more_keys": ["11011", "11110"],
    "no_keys": ["11010", "00000"],
    "square": ["1101", "1011"],
}
QUERY, VALUE, KEY = (2, 4, 6), (2, 5, 3), (2, 5, 7)
SELF = (2, 4, 6)


@dataclass(frozen=True)
class Row:
    """A layer and how it is called: `inputs` are the shapes of query, value and maybe key."""

    name: str
    layer: str
    kwargs: dict[str, Any]
    inputs: tuple[tuple[int, ...], ...] = (QUERY, VALUE)
    call: dict[str, Any] = field(default_factory=dict)
    masks: dict[str, str] = field(default_factory=dict)  # argument -> name in MASKS
    attention_mask: tuple[int, ...] | None = None  # shape of a random one
    as_list: bool = False


def rows() -> Iterator[Row]:
    """Every case."""
    yield from multi_head_rows()
    yield from multi_head_mask_rows()
    yield from several_axes_rows()
    yield from group_rows()
    yield from single_head_rows("attention", "Attention", {})
    yield from single_head_rows("attention_scale", "Attention", {"use_scale": True})
    yield from single_head_rows("attention_concat", "Attention", {"score_mode": "concat"})
    yield from single_head_rows("attention_concat_scale", "Attention", {"score_mode": "concat", "use_scale": True})
    yield from single_head_rows("additive_attention", "AdditiveAttention", {})
    yield from single_head_rows("additive_attention_plain", "AdditiveAttention", {"use_scale": False})
    yield from einsum_rows()


def multi_head_rows() -> Iterator[Row]:
    """Arguments of the constructor."""
    name, base = "MultiHeadAttention", {"num_heads": 2, "key_dim": 3}
    for case, kwargs in (
        ("", {}),
        ("_no_bias", {"use_bias": False}),
        ("_output_shape", {"output_shape": 4}),
        ("_output_shape_two", {"output_shape": [2, 3]}),
        ("_gate", {"use_gate": True}),
        ("_window", {"sliding_window": 2}),
        ("_dropout_off", {"dropout": 0.4}),
        ("_one_head", {"num_heads": 1, "key_dim": 6}),
    ):
        yield Row(f"multi_head{case}", name, {**base, **kwargs})
    yield Row("multi_head_key", name, base, (QUERY, VALUE, KEY))
    yield Row("multi_head_self", name, base, (SELF, SELF), {"use_causal_mask": True})
    scores = {"return_attention_scores": True}
    yield Row("multi_head_scores", name, base, (QUERY, VALUE, KEY), scores)
    # With scores only: without them Keras on JAX takes values to be as long as keys.
    kwargs = {**base, "value_dim": 5, "use_gate": True}
    yield Row("multi_head_value_dim_scores", name, kwargs, (QUERY, VALUE, KEY), scores)
    yield Row("multi_head_scores_causal", name, base, (SELF, SELF), {**scores, "use_causal_mask": True})
    kwargs = {**base, "dropout": 0.3}
    yield Row("multi_head_dropout_off_causal", name, kwargs, (SELF, SELF), {"use_causal_mask": True})
    kwargs = {**base, "dropout": 0.3, "sliding_window": 2}
    yield Row("multi_head_dropout_off_window", name, kwargs, ((2, 7, 6), VALUE), {"use_causal_mask": True})


def multi_head_mask_rows() -> Iterator[Row]:
    """Every mask alone and with others, with and without scores."""
    kwargs = {"num_heads": 2, "key_dim": 3}
    causal = {"use_causal_mask": True}
    combinations: dict[str, tuple[dict[str, Any], dict[str, str], tuple[int, ...] | None]] = {
        "query": ({}, {"query_mask": "queries"}, None),
        "value": ({}, {"value_mask": "keys"}, None),
        "key": ({}, {"key_mask": "keys"}, None),
        "value_key": ({}, {"value_mask": "keys", "key_mask": "more_keys"}, None),
        "nothing_seen": ({}, {"value_mask": "no_keys"}, None),
        "causal": (causal, {}, None),
        "causal_value": (causal, {"value_mask": "keys"}, None),
        "pairs": ({}, {}, (2, 4, 5)),
        "pairs_one_row": ({}, {}, (1, 4, 5)),
        "pairs_heads": ({}, {}, (2, 2, 4, 5)),
        "all": (causal, {"query_mask": "queries", "value_mask": "keys", "key_mask": "more_keys"}, (2, 4, 5)),
    }
    for name, (call, masks, pairs) in combinations.items():
        row = Row(f"multi_head_mask_{name}", "MultiHeadAttention", kwargs, (QUERY, VALUE, KEY), call, masks, pairs)
        yield row
        scores = {**call, "return_attention_scores": True}
        yield Row(f"{row.name}_scores", row.layer, kwargs, row.inputs, scores, masks, pairs)


def several_axes_rows() -> Iterator[Row]:
    """Attention over one, both or the other axis of images, and over all of them."""
    image, memory = (2, 3, 4, 5), (2, 3, 2, 5)
    name, base = "MultiHeadAttention", {"num_heads": 2, "key_dim": 3}
    scores = {"return_attention_scores": True}
    for axes in ([2], [-2], 2):
        label = str(axes).strip("[]").replace("-", "minus_")
        kwargs = {**base, "attention_axes": axes}
        yield Row(f"multi_head_axes_{type(axes).__name__}_{label}", name, kwargs, (image, memory), scores)
    yield Row("multi_head_axes_1", name, {**base, "attention_axes": [1]}, (image, (2, 5, 4, 5)))
    yield Row("multi_head_axes_1_2", name, {**base, "attention_axes": [1, 2]}, (image, (2, 2, 6, 5)), scores)
    yield Row("multi_head_axes_2_1", name, {**base, "attention_axes": [2, 1]}, (image, image))
    yield Row("multi_head_axes_all", name, base, (image, memory))
    kwargs = {**base, "attention_axes": [1, 3], "value_dim": 2}
    yield Row("multi_head_axes_1_3", name, kwargs, ((2, 3, 2, 4, 5), (2, 2, 2, 3, 4)))


def group_rows() -> Iterator[Row]:
    """Heads that share keys and values."""
    name = "GroupQueryAttention"
    for queries, keys in ((4, 2), (4, 1), (3, 3)):
        kwargs = {"head_dim": 3, "num_query_heads": queries, "num_key_value_heads": keys}
        label = f"group_{queries}_{keys}"
        yield Row(label, name, kwargs)
        yield Row(f"{label}_scores", name, kwargs, (QUERY, VALUE, KEY), {"return_attention_scores": True})
        call = {"use_causal_mask": True}
        yield Row(f"{label}_causal", name, kwargs, (SELF, SELF), call)
        masks = {"value_mask": "keys", "key_mask": "more_keys"}
        yield Row(f"{label}_masks", name, kwargs, (QUERY, VALUE, KEY), call, masks, (2, 4, 5))
    kwargs = {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2}
    yield Row("group_window", name, {**kwargs, "sliding_window": 2}, (SELF, SELF), {"use_causal_mask": True})
    yield Row("group_gate", name, {**kwargs, "use_gate": True, "use_bias": False})
    yield Row("group_dropout_off", name, {**kwargs, "dropout": 0.2}, masks={"value_mask": "keys"})


def single_head_rows(label: str, name: str, kwargs: dict[str, Any]) -> Iterator[Row]:
    """`Attention` and `AdditiveAttention`."""
    inputs = ((2, 4, 6), (2, 5, 3), (2, 5, 6))
    same = ((2, 4, 6), (2, 4, 6))
    scores = {"return_attention_scores": True}
    causal = {"use_causal_mask": True}
    masks = {"query_mask": "queries", "value_mask": "keys"}

    def row(suffix: str, *rest: Any) -> Row:
        return Row(f"{label}{suffix}", name, kwargs, *rest, as_list=True)

    yield row("", inputs)
    yield row("_same", same)
    yield row("_scores", inputs, scores)
    yield row("_causal", same, causal)
    yield row("_causal_scores", same, {**causal, **scores})
    yield row("_masks", inputs, {}, masks)
    yield row("_masks_scores", inputs, scores, masks)
    yield row("_query_mask", inputs, {}, {"query_mask": "queries"})
    yield row("_masks_causal", same, causal, {"value_mask": "square"})


def einsum_rows() -> Iterator[Row]:
    """Plain products, and equations that are none."""
    for label, equation, output, bias, shape in (
        ("dense", "ab,bc->ac", 3, "c", (4, 5)),
        ("sequence", "abc,cd->abd", [None, 3], "d", (2, 4, 5)),
        ("ellipsis", "...x,xy->...y", 3, "y", (2, 3, 4, 5)),
        ("to_heads", "abc,cde->abde", [None, 2, 3], "de", (2, 4, 5)),
        ("from_heads", "abcd,cde->abe", [None, 6], "e", (2, 4, 2, 3)),
        ("no_bias", "abc,cd->abd", [None, 3], None, (2, 4, 5)),
        ("bias_first", "abc,cd->abd", [4, 3], "b", (2, 4, 5)),
        ("bias_of_heads", "abc,cde->abde", [None, 2, 3], "d", (2, 4, 5)),
        ("over_positions", "abc,bd->adc", [3, 5], "d", (2, 4, 5)),
        ("ellipsis_behind", "ab...,bc->ac...", 3, "c", (2, 4, 5, 3)),
        ("batched", "abc,bcd->abd", [4, 3], "bd", (2, 4, 5)),
        ("output_first", "abc,dc->abd", [None, 3], "d", (2, 4, 5)),
        ("summed_first", "abc,cd->adb", [3, 4], "d", (2, 4, 5)),
    ):
        kwargs = {"equation": equation, "output_shape": output, "bias_axes": bias}
        yield Row(f"einsum_{label}", "EinsumDense", kwargs, (shape,))
    kwargs = {"equation": "abc,cde->abde", "output_shape": [None, 2, 3], "bias_axes": "de", "activation": "softmax"}
    yield Row("einsum_activation", "EinsumDense", kwargs, ((2, 4, 5),))
