"""Nested structures."""

from __future__ import annotations

from collections import OrderedDict, namedtuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphcore import tree

Point = namedtuple("Point", "x y")

STRUCTURES = st.recursive(
    st.integers() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(STRUCTURES)
def test_packing_undoes_flattening(structure):
    leaves = tree.flatten(structure)
    assert tree.pack_sequence_as(structure, leaves) == structure
    assert tree.map_structure(lambda leaf: leaf, structure) == structure
    assert [leaf for _, leaf in tree.flatten_with_path(structure)] == leaves


@given(STRUCTURES)
def test_mapping_keeps_the_structure(structure):
    mapped = tree.map_structure(lambda leaf: (leaf,), structure)
    tree.assert_same_structure(
        tree.map_structure(lambda leaf: 0, structure), tree.map_structure(lambda leaf: 1, structure)
    )
    assert tree.flatten(mapped) == tree.flatten(structure)


def test_dicts_are_walked_by_sorted_keys_and_ordered_ones_in_their_order():
    assert tree.flatten({"b": 1, "a": 2}) == [2, 1]
    assert tree.flatten(OrderedDict(b=1, a=2)) == [1, 2]
    assert list(tree.map_structure(str, {"b": 1, "a": 2})) == ["b", "a"]
    assert tree.map_structure(str, Point(1, 2)) == Point("1", "2")


def test_paths_shapes_and_errors():
    assert tree.flatten_with_path({"a": [5, (6,)]}) == [(("a", 0), 5), (("a", 1, 0), 6)]
    assert tree.map_shape_structure(len, {"x": (None, 3), "y": [(2,), (1, 1, 1)]}) == {"x": 2, "y": [1, 3]}
    assert tree.lists_to_tuples([1, [2, {"a": [3]}]]) == (1, (2, {"a": (3,)}))
    with pytest.raises(ValueError, match="differ"):
        tree.map_structure(max, [1, 2], [1])
    with pytest.raises(ValueError, match="differ"):
        tree.assert_same_structure({"a": 1}, {"b": 1})
    with pytest.raises(ValueError, match="2 leaves"):
        tree.pack_sequence_as([0, 0], [1])
