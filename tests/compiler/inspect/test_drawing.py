"""Layouts and drawings: nothing overlaps, arrows go along, files are well formed."""

from __future__ import annotations

import io
import itertools
import math
from xml.etree import ElementTree

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from compiler.inspect import drawing as pictures
from compiler.inspect.drawing import Arrow, Drawing, Rectangle, Text, text_width, to_png, to_svg
from compiler.inspect.layout import BOX_GAP, LAYER_GAP, _apart, _crossings, _inversions, layered_layout


@st.composite
def digraphs(draw: st.DrawFn) -> networkx.DiGraph:
    count = draw(st.integers(1, 14))
    pairs = list(itertools.combinations(range(count), 2))
    chosen = draw(st.lists(st.sampled_from(pairs), max_size=25)) if pairs else []
    graph = networkx.DiGraph()
    graph.add_nodes_from(range(count))
    graph.add_edges_from(chosen)
    return graph


@settings(max_examples=60, deadline=None)
@given(digraphs())
def test_boxes_are_apart_and_edges_go_along(graph: networkx.DiGraph) -> None:
    sizes = {vertex: (10.0 + 7 * (vertex % 5), 5.0 + 3 * (vertex % 3)) for vertex in graph}
    layout = layered_layout(graph, sizes)
    boxes = list(layout.boxes.values())
    for one, two in itertools.combinations(boxes, 2):
        is_beside = one.across + one.width + BOX_GAP <= two.across + 1e-6
        is_beside |= two.across + two.width + BOX_GAP <= one.across + 1e-6
        apart = LAYER_GAP - 1e-6
        is_beyond = one.along + one.length + apart <= two.along or two.along + two.length + apart <= one.along
        assert is_beside or is_beyond
    for box in boxes:
        assert box.across >= -1e-6
        assert box.across + box.width <= layout.width + 1e-6
        assert box.along >= -1e-6
        assert box.along + box.length <= layout.length + 1e-6
    assert set(layout.edges) == set(graph.edges())
    for (start, end), points in layout.edges.items():
        alongs = [along for _, along in points]
        assert alongs == sorted(alongs)
        assert alongs[0] == pytest.approx(layout.boxes[start].along + layout.boxes[start].length)
        assert alongs[-1] == pytest.approx(layout.boxes[end].along)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=1, max_size=6), st.data())
def test_places_are_the_nearest_that_are_apart(wanted: list[float], data: st.DataObject) -> None:
    """No feasible step in any direction comes nearer: the condition for the least of a convex function."""
    count = len(wanted)
    widths = data.draw(st.lists(st.floats(1, 30), min_size=count, max_size=count))
    found = np.array(_apart(wanted, widths))
    gaps = np.array([(a + b) / 2 + BOX_GAP for a, b in itertools.pairwise(widths)])
    assert (np.diff(found) >= gaps - 1e-6).all()
    cost = float(((found - wanted) ** 2).sum())
    rng = np.random.default_rng(0)
    for step in rng.normal(size=(200, count)) * rng.choice([0.01, 1.0], (200, 1)):
        other = found + step
        if (np.diff(other) >= gaps).all():
            assert ((other - wanted) ** 2).sum() >= cost - 1e-6


@given(st.lists(st.integers(0, 9), max_size=30))
def test_inversions_are_counted(values: list[int]) -> None:
    assert _inversions(values, 10) == sum(a > b for a, b in itertools.combinations(values, 2))


def test_edges_pass_no_box() -> None:
    """A short box beside a tall one: its edge goes straight on until the layer ends."""
    graph = networkx.DiGraph([("tall", "end"), ("short", "end")])
    layout = layered_layout(graph, {"tall": (40.0, 100.0), "short": (40.0, 10.0), "end": (40.0, 10.0)})
    tall = layout.boxes["tall"]
    for (x0, y0), (x1, y1) in itertools.pairwise(layout.edges["short", "end"]):
        for part in np.linspace(0, 1, 50):
            x, y = x0 + (x1 - x0) * part, y0 + (y1 - y0) * part
            is_inside = tall.across < x < tall.across + tall.width and tall.along < y < tall.along + tall.length
            assert not is_inside


def test_crossings_that_can_be_avoided_are() -> None:
    graph = networkx.DiGraph([("a", 2), ("b", 1), ("c", 0), (0, "x"), (1, "y"), (2, "z")])
    layout = layered_layout(graph, dict.fromkeys(graph, (10.0, 5.0)))
    layers: dict[float, list[object]] = {}
    for vertex, box in sorted(layout.boxes.items(), key=lambda entry: entry[1].across):
        layers.setdefault(box.along, []).append(vertex)
    above = {end: [start] for start, end in graph.edges()}
    assert _crossings([layers[key] for key in sorted(layers)], above) == 0


def test_a_chain_is_straight_and_a_cycle_refused() -> None:
    chain = networkx.path_graph(40, create_using=networkx.DiGraph)
    layout = layered_layout(chain, {vertex: (10.0 + vertex % 7, 5.0) for vertex in chain})
    centres = {round(box.across + box.width / 2, 6) for box in layout.boxes.values()}
    assert len(centres) == 1
    with pytest.raises(ValueError, match="without cycles"):
        layered_layout(networkx.DiGraph([(0, 1), (1, 0)]), {0: (1, 1), 1: (1, 1)})
    assert layered_layout(networkx.DiGraph(), {}).length == 0


@pytest.mark.parametrize("projected", [False, True])
def test_blocks_with_a_way_around_do_not_drift(projected: bool) -> None:
    """Residual blocks one below the other: what joins them lies on one line, and so does every way around."""
    graph = networkx.DiGraph()
    for block in range(8):
        networkx.add_path(graph, [("join", block), ("a", block), ("b", block), ("join", block + 1)])
        around = [("join", block), ("around", block), ("join", block + 1)]
        networkx.add_path(graph, around if projected else [around[0], around[2]])
    layout = layered_layout(graph, {vertex: (80.0 if vertex[0] == "a" else 60.0, 10.0) for vertex in graph})
    joins = [box.across + box.width / 2 for (kind, _), box in layout.boxes.items() if kind == "join"]
    assert max(joins) - min(joins) < 12.0
    for points in layout.edges.values():
        bends = [across for across, _ in points[1:-1]]
        assert not bends or max(bends) - min(bends) < 12.0


PICTURE = Drawing(
    100.0, 60.0,
    (
        Rectangle(0, 0, 100, 20, fill="#102030"),
        Text(50, 10, 'a < b & "c" \x00', bold=True),
        Arrow(((50.0, 20.0), (50.0, 60.0)), color="#ff0000"),
    ),
    title="</title><script>alert(1)</script>",
)  # fmt: skip


def test_svg_is_xml_and_holds_texts_as_they_are() -> None:
    root = ElementTree.fromstring(to_svg(PICTURE))
    names = {element.tag.removeprefix("{http://www.w3.org/2000/svg}") for element in root.iter()}
    assert names == {"svg", "title", "rect", "text", "polyline", "polygon"}
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert texts == ['a < b & "c" �']


@pytest.mark.parametrize("dpi", [36, 72, 200])
def test_png_has_the_size_and_the_colours(dpi: int) -> None:
    image = Image.open(io.BytesIO(to_png(PICTURE, dpi=dpi)))
    scale = dpi / 72
    assert image.size == (math.ceil(116 * scale), math.ceil(76 * scale))
    assert image.getpixel((round(12 * scale), round(12 * scale))) == (16, 32, 48)
    assert image.getpixel((round(12 * scale), round(60 * scale))) == (255, 255, 255)
    # The tip of the arrow is at (50, 60).
    red, green, _ = image.getpixel((round(58 * scale), round(64 * scale)))
    assert red > 200
    assert green < 100


def test_a_huge_picture_is_made_smaller_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_PIXELS", 10_000)
    with pytest.warns(UserWarning, match="SVG has no such limit"):
        data = to_png(PICTURE, dpi=200)
    width, height = Image.open(io.BytesIO(data)).size
    assert width * height <= 10_300


def test_texts_fit_into_their_widths() -> None:
    from PIL import ImageFont

    font = ImageFont.load_default(100)
    for text in ("conv2d_3 (Conv2D)", "Output shape: [(None, 16, 16, 16), (None, 5)]", "WWWiii@@@"):
        assert font.getlength(text) <= text_width(text, 100) * 1.12
