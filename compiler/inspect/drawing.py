"""A drawing of rectangles, texts and arrows, as SVG text or as PNG pixels, with no program but Python.

Lengths are points, 72 to an inch. PNG needs the package `pillow`, whose own font it writes with.
"""

from __future__ import annotations

import html
import io
import math
import unicodedata
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from runtime.records import record

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Arrow", "Drawing", "Rectangle", "Text", "text_width", "to_png", "to_svg"]

MOST_PIXELS = 120_000_000  # from which on a picture is made smaller than asked for
_SMOOTH_PIXELS = 30_000_000  # up to which lines are drawn at twice the size and averaged
_ARROW_LENGTH, _ARROW_WIDTH = 7.0, 5.0
_MARGIN = 8.0
_BASELINE = 0.35  # of the size, from the middle of a line to where letters stand

# Widths of the letters of Helvetica in thousandths of the size, from the space on.
_WIDTHS = (
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278,
    556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556,
    1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778,
    667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556,
    333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556,
    556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
)  # fmt: skip
_BOLD = 1.08


@record
class Rectangle:
    """A rectangle with its corner of least coordinates at (x, y)."""

    x: float
    y: float
    width: float
    height: float
    fill: str = "#ffffff"
    line: str = "#444444"


@record
class Text:
    """A line of text whose middle is at (x, y)."""

    x: float
    y: float
    text: str
    size: float = 10.0
    bold: bool = False
    color: str = "#111111"


@record
class Arrow:
    """Straight lines through `points`, with a head at the last one."""

    points: tuple[tuple[float, float], ...]
    color: str = "#555555"


Shape = Rectangle | Text | Arrow


@record
class Drawing:
    """Shapes, drawn in this order, on white of this size."""

    width: float
    height: float
    shapes: tuple[Shape, ...]
    title: str = ""


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """About how wide a text is in a face like Helvetica, never much too little."""
    units = 0
    for letter in text:
        place = ord(letter) - 32
        if 0 <= place < len(_WIDTHS):
            units += _WIDTHS[place]
        elif not unicodedata.combining(letter):
            units += 1000 if unicodedata.east_asian_width(letter) in "WF" else 700
    return units * size / 1000 * (_BOLD if bold else 1.0)


# ------------------------------------------------------------------------------------------------------- SVG


def to_svg(drawing: Drawing) -> str:
    """The drawing as a document of its own: no scripts, no addresses but the name of the format."""
    width, height = drawing.width + 2 * _MARGIN, drawing.height + 2 * _MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_number(width)}pt" '
        f'height="{_number(height)}pt" viewBox="{-_MARGIN:g} {-_MARGIN:g} {_number(width)} {_number(height)}" '
        f'role="img" font-family="Helvetica, Arial, sans-serif">',
        f"<title>{_escaped(drawing.title)}</title>",
        f'<rect x="{-_MARGIN:g}" y="{-_MARGIN:g}" width="{_number(width)}" height="{_number(height)}" fill="#ffffff"/>',
        *(_svg_shape(shape) for shape in drawing.shapes),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _svg_shape(shape: Shape) -> str:
    if isinstance(shape, Rectangle):
        return (
            f'<rect x="{_number(shape.x)}" y="{_number(shape.y)}" width="{_number(shape.width)}" '
            f'height="{_number(shape.height)}" fill="{shape.fill}" stroke="{shape.line}"/>'
        )
    if isinstance(shape, Text):
        weight = ' font-weight="bold"' if shape.bold else ""
        baseline = shape.y + _BASELINE * shape.size
        return (
            f'<text x="{_number(shape.x)}" y="{_number(baseline)}" font-size="{_number(shape.size)}"{weight} '
            f'text-anchor="middle" fill="{shape.color}">{_escaped(shape.text)}</text>'
        )
    line, head = _arrow_parts(shape)
    points = " ".join(f"{_number(x)},{_number(y)}" for x, y in line)
    tip = " ".join(f"{_number(x)},{_number(y)}" for x, y in head)
    return (
        f'<polyline points="{points}" fill="none" stroke="{shape.color}"/>'
        f'<polygon points="{tip}" fill="{shape.color}"/>'
    )


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _escaped(text: str) -> str:
    """Escaped; XML has no way to write most control characters, so they become the sign for one that is unknown."""
    return html.escape("".join(c if c in "\t\n" or ord(c) >= 32 else "�" for c in text))


def _arrow_parts(arrow: Arrow) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """The line up to the head, and the three corners of the head."""
    (x0, y0), (x1, y1) = arrow.points[-2:]
    distance = math.hypot(x1 - x0, y1 - y0)
    along = ((x1 - x0) / distance, (y1 - y0) / distance) if distance else (0.0, 1.0)
    foot = (x1 - along[0] * _ARROW_LENGTH, y1 - along[1] * _ARROW_LENGTH)
    side = (-along[1] * _ARROW_WIDTH / 2, along[0] * _ARROW_WIDTH / 2)
    head = [(x1, y1), (foot[0] + side[0], foot[1] + side[1]), (foot[0] - side[0], foot[1] - side[1])]
    return [*arrow.points[:-1], foot], head


# ------------------------------------------------------------------------------------------------------- PNG


def to_png(drawing: Drawing, *, dpi: float = 200.0) -> bytes:
    """The drawing as PNG with so many pixels an inch; very large ones get fewer, with a warning.

    Raises:
        ImportError: if `pillow` is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("Writing PNG needs the package pillow: pip install pillow. SVG needs nothing.") from error
    width, height = drawing.width + 2 * _MARGIN, drawing.height + 2 * _MARGIN
    scale = dpi / 72
    pixels = width * height * scale**2
    if pixels > MOST_PIXELS:
        scale *= math.sqrt(MOST_PIXELS / pixels)
        warnings.warn(
            f"The picture would have {pixels / 1e6:.0f} million pixels at {dpi:g} dpi; it is written at "
            f"{scale * 72:.0f} dpi. SVG has no such limit.",
            stacklevel=2,
        )
    size = max(1, math.ceil(width * scale)), max(1, math.ceil(height * scale))
    finer = 2 if pixels <= _SMOOTH_PIXELS else 1
    image = Image.new("RGB", (size[0] * finer, size[1] * finer), "#ffffff")
    _Pixels(image, scale * finer).draw(drawing.shapes)
    if finer > 1:
        image = image.resize(size, Image.Resampling.BOX)
    stream = io.BytesIO()
    image.save(stream, "PNG", dpi=(scale * 72, scale * 72), optimize=size[0] * size[1] < 4_000_000)
    return stream.getvalue()


class _Pixels:
    """Draws shapes on an image, `scale` pixels to a point."""

    def __init__(self, image: Image, scale: float) -> None:
        from PIL import ImageDraw

        self.canvas = ImageDraw.Draw(image)
        self.scale = scale
        self.line = max(1, round(scale))
        self.fonts: dict[float, Any] = {}

    def draw(self, shapes: Sequence[Shape]) -> None:
        for shape in shapes:
            if isinstance(shape, Rectangle):
                self._rectangle(shape)
            elif isinstance(shape, Text):
                self._text(shape)
            else:
                line, head = _arrow_parts(shape)
                self.canvas.line(self._pixels(line), fill=shape.color, width=self.line, joint="curve")
                self.canvas.polygon(self._pixels(head), fill=shape.color)

    def _rectangle(self, shape: Rectangle) -> None:
        corners = self._pixels([(shape.x, shape.y), (shape.x + shape.width, shape.y + shape.height)])
        self.canvas.rectangle(corners, fill=shape.fill, outline=shape.line, width=self.line)

    def _text(self, shape: Text) -> None:
        (place,) = self._pixels([(shape.x, shape.y + _BASELINE * shape.size)])
        # The font has one weight; a thin outline makes it bold.
        stroke = max(1, round(self.scale * shape.size / 40)) if shape.bold else 0
        self.canvas.text(
            place, shape.text, font=self._font(shape.size), fill=shape.color, anchor="ms",
            stroke_width=stroke, stroke_fill=shape.color,
        )  # fmt: skip

    def _font(self, size: float) -> Any:
        from PIL import ImageFont

        if size not in self.fonts:
            self.fonts[size] = ImageFont.load_default(size * self.scale)
        return self.fonts[size]

    def _pixels(self, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        return [((x + _MARGIN) * self.scale, (y + _MARGIN) * self.scale) for x, y in points]
