"""Winograd's transforms of tiles as native functions: channels or filters are the lanes, a tile is straight-line code.

Borders need neither copies nor code of their own: a row of a tile that lies outside the image has the address of
zeros where it is read, and of memory that nobody reads where it is written; a column outside is left out.

Channels that do not fill the last vector are computed twice, by the last two vectors, which overlap; so there must be
at least as many as lanes. Formulas and points: `compiler.winograd`. With symmetric points a transform of six values
takes 12 multiply-adds, two dimensions 144 for each vector of channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from compiler.codegen.contraction_ir import INT64, NativeFunction, constant
from compiler.winograd import INNER, KERNEL, OUTER, TILE, WINDOW, kernel_transform

__all__ = ["emit_fold_points", "emit_gradient_transform", "emit_image_transform", "emit_result_transform"]

Vectors = list[Any]
Transform = Callable[["_Vectors", Vectors], Vectors]

# A tile of an image: the address of its first pixel, bytes to the next row and pixel, the rows and columns of the
# tile that lie in the image, and as many pixels as a row of the tile has to stand for a row outside.
_TILE_OF_IMAGE = ("image", "row_bytes", "pixel_bytes", "y_begin", "y_end", "x_begin", "x_end", "outside")
# The same tile at all points: the address at the first, bytes to the next point.
_TILE_OF_POINTS = ("points", "point_bytes", "channels")

# Rows of points that are computed together: a point and its negative share their sums, and the values of two rows fit
# the registers where those of a whole tile would wait on the stack.
_POINT_GROUPS = ((1, 2), (3, 4), (0, 5))


def emit_image_transform(module: Any, dtype: str, lanes: int) -> None:
    """`image_transform(...)`: B^T d B of a 6x6 tile of an image; `outside` holds zeros."""
    _emit_from_image(module, dtype, lanes, "image_transform", WINDOW, _image)


def emit_gradient_transform(module: Any, dtype: str, lanes: int) -> None:
    """`gradient_transform(...)`: A dY A^T of a 4x4 tile of the gradient of a result."""
    _emit_from_image(module, dtype, lanes, "gradient_transform", TILE, _gradient)


def emit_result_transform(module: Any, dtype: str, lanes: int) -> None:
    """`result_transform(...)`: the 4x4 tile A^T m A of an image; rows outside are written to `outside`."""
    native = _function(module, dtype, lanes, "result_transform")
    rows, columns = _row_addresses(native, TILE), _columns_within(native, TILE)
    with _channels(native) as offset:
        vectors = _Vectors(native)
        address = _opaque(native, native.add(native.arguments["points"], offset))
        halves = []
        for row in range(WINDOW):
            points = [_point(native, address, row * WINDOW + column) for column in range(WINDOW)]
            halves.append(_result(vectors, [native.load(point, native.vector) for point in points]))
        for column, values in enumerate(zip(*halves, strict=True)):
            pixels = _result(vectors, list(values))
            shift = native.add(offset, native.multiply(native.arguments["pixel_bytes"], column))
            with native.builder.if_then(columns[column]):
                for row, pixel in zip(rows, pixels, strict=True):
                    native.store(pixel, native.add(row, shift))
    native.finish()


def emit_fold_points(module: Any, dtype: str, lanes: int) -> None:
    """`fold_points(points, point_bytes, taps, tap_bytes, count)`: G^T u G of `count` elements, whole vectors of them.

    Reads 36 rows, `point_bytes` apart; writes 9, `tap_bytes` apart.
    """
    native = NativeFunction(
        module, "fold_points", ("points", "point_bytes", "taps", "tap_bytes", "count"), dtype, lanes
    )
    native.function.attributes.alignstack = 64
    with native.loop(0, native.arguments["count"], lanes) as index:
        vectors = _Vectors(native)
        offset = native.multiply(index, native.size)
        address = _opaque(native, native.add(native.arguments["points"], offset))
        halves = []
        for row in range(WINDOW):
            points = [_point(native, address, row * WINDOW + column) for column in range(WINDOW)]
            halves.append(_kernel(vectors, [native.load(point, native.vector) for point in points]))
        for column, values in enumerate(zip(*halves, strict=True)):
            for row, value in enumerate(_kernel(vectors, list(values))):
                shift = native.multiply(native.arguments["tap_bytes"], row * KERNEL + column)
                native.store(value, native.add(native.arguments["taps"], offset, shift))
    native.finish()


def _emit_from_image(module: Any, dtype: str, lanes: int, name: str, extent: int, transform: Transform) -> None:
    native = _function(module, dtype, lanes, name)
    rows, columns = _row_addresses(native, extent), _columns_within(native, extent)
    with _channels(native) as offset:
        vectors = _Vectors(native)
        address = _opaque(native, native.add(native.arguments["points"], offset))
        for group in _POINT_GROUPS:
            halves = []
            for column in range(extent):
                shift = native.add(offset, native.multiply(native.arguments["pixel_bytes"], column))
                entry = native.builder.block
                with native.builder.if_then(columns[column]):
                    half = transform(vectors, [native.load(native.add(row, shift), native.vector) for row in rows])
                    read = native.builder.block
                halves.append([_either(native, half[row], read, native.zero_vector(), entry) for row in group])
            for row, values in zip(group, zip(*halves, strict=True), strict=True):
                for column, value in enumerate(transform(vectors, list(values))):
                    native.store(value, _point(native, address, row * WINDOW + column))
    native.finish()


def _function(module: Any, dtype: str, lanes: int, name: str) -> NativeFunction:
    native = NativeFunction(module, name, (*_TILE_OF_IMAGE, *_TILE_OF_POINTS), dtype, lanes)
    # A tile does not fit the registers. Without this, what waits on the stack lies across cache lines.
    native.function.attributes.alignstack = 64
    return native


def _within(native: NativeFunction, position: int, axis: str) -> Any:
    begin, end = native.arguments[f"{axis}_begin"], native.arguments[f"{axis}_end"]
    low = native.builder.icmp_signed("<=", begin, constant(position))
    return native.builder.and_(low, native.builder.icmp_signed(">", end, constant(position)))


def _columns_within(native: NativeFunction, extent: int) -> list[Any]:
    return [_within(native, column, "x") for column in range(extent)]


def _row_addresses(native: NativeFunction, extent: int) -> list[Any]:
    """The address of each row of a tile, or that of a row outside."""
    found = []
    for row in range(extent):
        address = native.add(native.arguments["image"], native.multiply(native.arguments["row_bytes"], row))
        found.append(native.builder.select(_within(native, row, "y"), address, native.arguments["outside"]))
    return found


def _either(native: NativeFunction, left: Any, left_block: Any, right: Any, right_block: Any) -> Any:
    phi = native.builder.phi(left.type)
    phi.add_incoming(left, left_block)
    phi.add_incoming(right, right_block)
    return phi


def _opaque(native: NativeFunction, address: Any) -> Any:
    """The same address, of which LLVM knows nothing: sums with it are then not kept on the stack, 36 of them."""
    return native.builder.asm(ir.FunctionType(INT64, [INT64]), "", "=r,0", [address], side_effect=False)


def _point(native: NativeFunction, address: Any, index: int) -> Any:
    return native.add(address, native.multiply(native.arguments["point_bytes"], index))


@contextmanager
def _channels(native: NativeFunction) -> Iterator[Any]:
    """Emit the block of the `with` for each vector of channels; yields its byte offset. The last two may overlap."""
    builder, channels = native.builder, native.arguments["channels"]
    last = builder.sub(channels, constant(native.lanes))
    with native.loop(0, native.add(channels, native.lanes - 1), native.lanes) as index:
        first = builder.select(builder.icmp_signed("<", index, last), index, last)
        yield native.multiply(first, native.size)


class _Vectors:
    """Arithmetic on vectors."""

    def __init__(self, native: NativeFunction) -> None:
        self.native = native
        self.builder = native.builder
        name = f"llvm.fma.v{native.lanes}f{native.size * 8}"
        self.fma = native.vector_intrinsic(name, native.vector, [native.vector] * 3)

    def multiply_add(self, factor: float, x: Any, addend: Any) -> Any:
        """factor * x + addend."""
        return self.builder.call(self.fma, [self.splat(factor), x, addend])

    def splat(self, value: float) -> Any:
        """A constant in each lane."""
        return ir.Constant(self.native.vector, [value] * self.native.lanes)


def _image(v: _Vectors, x: Vectors) -> Vectors:
    """B^T x for six values."""
    inner, outer = INNER * INNER, OUTER * OUTER
    first = v.multiply_add(inner * outer, x[0], v.multiply_add(-(inner + outer), x[2], x[4]))
    last = v.multiply_add(inner * outer, x[1], v.multiply_add(-(inner + outer), x[3], x[5]))
    pairs = []
    for point, other in ((INNER, outer), (OUTER, inner)):
        even, odd = v.multiply_add(-other, x[2], x[4]), v.multiply_add(-other, x[1], x[3])
        pairs += [v.multiply_add(point, odd, even), v.multiply_add(-point, odd, even)]
    return [first, *pairs, last]


def _result(v: _Vectors, x: Vectors) -> Vectors:
    """A^T x for six values."""
    add, subtract, multiply = v.builder.fadd, v.builder.fsub, v.builder.fmul
    inner_sum, inner_difference = add(x[1], x[2]), subtract(x[1], x[2])
    outer_sum, outer_difference = add(x[3], x[4]), subtract(x[3], x[4])
    return [
        add(x[0], add(inner_sum, outer_sum)),
        v.multiply_add(OUTER, outer_difference, multiply(v.splat(INNER), inner_difference)),
        v.multiply_add(OUTER**2, outer_sum, multiply(v.splat(INNER**2), inner_sum)),
        v.multiply_add(OUTER**3, outer_difference, v.multiply_add(INNER**3, inner_difference, x[5])),
    ]


def _gradient(v: _Vectors, x: Vectors) -> Vectors:
    """A x for four values."""
    pairs = []
    for point in (INNER, OUTER):
        even, odd = v.multiply_add(point**2, x[2], x[0]), v.multiply_add(point**2, x[3], x[1])
        pairs += [v.multiply_add(point, odd, even), v.multiply_add(-point, odd, even)]
    return [x[0], *pairs, x[3]]


def _kernel(v: _Vectors, x: Vectors) -> Vectors:
    """G^T x for six values."""
    transform = kernel_transform()
    add, subtract, multiply = v.builder.fadd, v.builder.fsub, v.builder.fmul
    sums, differences = (add(x[1], x[2]), add(x[3], x[4])), (subtract(x[1], x[2]), subtract(x[3], x[4]))

    def combined(tap: int, pair: tuple[Any, Any]) -> Any:
        inner, outer = (float(transform[row, tap]) for row in (1, 3))
        return v.multiply_add(inner, pair[0], multiply(v.splat(outer), pair[1]))

    first = v.multiply_add(float(transform[0, 0]), x[0], combined(0, sums))
    return [first, combined(1, differences), add(x[5], combined(2, sums))]
