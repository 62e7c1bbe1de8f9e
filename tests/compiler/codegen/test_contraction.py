"""Contractions against float64 oracles: every kind, odd sizes, every transpose, stride, dilation and group."""

from __future__ import annotations

import numpy as np
import pytest
from contraction_oracle import (
    CONVOLUTIONS,
    check_convolution,
    check_matmul,
    convolution_operands,
    convolution_oracle,
    matmul_oracle,
    panels,
    run,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiler.codegen.contraction import (
    ContractionSpec,
    ConvolutionGeometry,
    Epilogue,
    MatmulGeometry,
    contraction_extents,
    contraction_work,
    extent_count,
    image_units,
)
from compiler.codegen.contraction_assembly import make_pointer
from compiler.codegen.microkernel_tile import choose_tile
from compiler.target import Target, host_target
from runtime.dimensions import symbol


@st.composite
def matmul_geometries(draw: st.DrawFn) -> MatmulGeometry:
    size = st.integers(1, 20) | st.sampled_from([33, 64, 97])
    rows, columns = draw(size), draw(size | st.sampled_from([400, 784]))
    depth = draw(size | st.sampled_from([256, 257, 600]))
    batch = draw(st.integers(1, 3))
    return MatmulGeometry(rows, depth, columns, batch, draw(st.booleans()), draw(st.booleans()))


@st.composite
def convolution_geometries(draw: st.DrawFn) -> ConvolutionGeometry:
    small, groups = st.integers(1, 3), draw(st.sampled_from([1, 1, 2, 3]))
    taps = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    channels, filters = draw(st.integers(1, 9)), draw(st.integers(1, 20))
    padding = st.integers(0, 3)
    geometry = ConvolutionGeometry(
        (draw(small), draw(st.integers(1, 22)), draw(st.integers(1, 22)), channels * groups),
        (*taps, channels, filters * groups),
        strides=draw(st.tuples(small, small)),
        padding=draw(st.just(((0, 0), (0, 0))) | st.tuples(*[st.tuples(padding, padding)] * 2)),
        dilation=draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        groups=groups,
    )
    assume(min(geometry.output_shape) > 0)
    return geometry


PACKED = ContractionSpec("matmul", "float32", packed=True)


@given(st.integers(1, 70), st.integers(0, 70) | st.integers(1000, 1100), st.integers(1, 200), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_packed_matmul_is_the_product(rows: int, depth: int, columns: int, seed: int) -> None:
    check_matmul(MatmulGeometry(rows, depth, columns, b_batched=False), PACKED, seed)


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@given(geometry=matmul_geometries(), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_matmul_is_the_product(transpose_a: bool, transpose_b: bool, geometry: MatmulGeometry, seed: int) -> None:
    check_matmul(geometry, ContractionSpec("matmul", "float32", transpose_a, transpose_b), seed)


@pytest.mark.parametrize("kind", CONVOLUTIONS)
@given(geometry=convolution_geometries())
@settings(max_examples=60, deadline=None)
def test_convolutions_on_odd_shapes(kind: str, geometry: ConvolutionGeometry) -> None:
    check_convolution(kind, geometry)


@pytest.mark.parametrize("kind", CONVOLUTIONS)
@pytest.mark.parametrize(
    "geometry",
    [
        ConvolutionGeometry((3, 32, 32, 16), (3, 3, 16, 32), padding=((1, 1), (1, 1))),
        ConvolutionGeometry((3, 8, 8, 64), (3, 3, 64, 64), padding=((1, 1), (1, 1))),
        ConvolutionGeometry((5, 28, 28, 1), (3, 3, 1, 32)),
        ConvolutionGeometry((2, 32, 32, 16), (1, 1, 16, 32), strides=(2, 2)),
        ConvolutionGeometry((2, 33, 31, 3), (7, 7, 3, 24), strides=(2, 2), padding=((2, 3), (3, 3))),
        ConvolutionGeometry((40, 4, 4, 8), (3, 3, 8, 16), padding=((1, 1), (1, 1))),
        ConvolutionGeometry((1, 1, 90, 6), (1, 5, 6, 10), padding=((0, 0), (4, 0)), dilation=(1, 2)),
    ],
    ids=str,
)
def test_convolutions_on_layer_shapes(kind: str, geometry: ConvolutionGeometry) -> None:
    check_convolution(kind, geometry)


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolutions_in_float64(kind: str) -> None:
    check_convolution(kind, ConvolutionGeometry((3, 9, 11, 5), (3, 2, 5, 13), (1, 2), ((1, 0), (1, 1))), "float64")


@pytest.mark.parametrize("transposes", [(False, False), (True, True)])
def test_matmul_in_float64(transposes: tuple[bool, bool]) -> None:
    check_matmul(MatmulGeometry(29, 531, 37), ContractionSpec("matmul", "float64", *transposes))


@pytest.mark.parametrize(
    ("transpose_a", "geometry"),
    [
        (True, MatmulGeometry(1024, 37, 19, 2)),  # rows of a are a page long: packed
        (True, MatmulGeometry(2048, 520, 5)),
        (True, MatmulGeometry(1000, 531, 19, 2)),  # read in place, the sum cut
        (True, MatmulGeometry(50, 531, 300)),  # too many columns: packed
        (True, MatmulGeometry(271, 1301, 70, 2)),  # both packed block by block, rows as items
        (True, MatmulGeometry(301, 514, 307)),
        (False, MatmulGeometry(70, 1024, 21, 2)),  # the longest sum that is not cut
        (False, MatmulGeometry(70, 1025, 21, 2)),
        (False, MatmulGeometry(32, 1300, 40)),  # panels read in b
        (False, MatmulGeometry(2, 1300, 150)),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_matmul_reads_and_packs_a_and_cuts_long_sums(transpose_a: bool, geometry: MatmulGeometry, dtype: str) -> None:
    check_matmul(geometry, ContractionSpec("matmul", dtype, transpose_a))


TARGETS = [(16, 16), (16, 32), (32, 16), (64, 32)]


# Rows, depth, columns, work items on a host with tiles of 6 x 16.
FEW_ROWS = [(1, 400, 512, 8), (2, 1100, 130, 4), (1, 14000, 10, 1), (15, 500, 300, 24), (16, 500, 300, 12)]
FEW_ROWS += [(32, 1400, 100, 6), (1, 40000, 192, 8), (1, 784, 128, 4)]
FEW_ROWS += [(64, 784, 128, 22), (65, 784, 128, 11), (9, 100, 150, 4), (8, 100, 150, 2), (64, 784, 64, 11)]


@pytest.mark.parametrize(("vector_bytes", "registers"), [(16, 16), (32, 16), (64, 32)])
@pytest.mark.parametrize(("rows", "depth", "columns", "items"), FEW_ROWS)
@pytest.mark.parametrize("packed", [False, True])
def test_products_of_few_rows_are_cut_into_parts_of_their_columns(
    rows: int, depth: int, columns: int, items: int, packed: bool, vector_bytes: int, registers: int
) -> None:
    host = host_target()
    target = Target("cpu", host.cpu, host.features, vector_bytes, registers)
    spec = ContractionSpec("matmul", "float32", packed=packed)
    geometry = MatmulGeometry(rows, depth, columns)
    work = contraction_work(spec, contraction_extents(spec, geometry), target)
    assert (vector_bytes, registers) != (32, 16) or work == items
    rng = np.random.default_rng(rows + columns)
    a, b = (rng.integers(-4, 5, shape).astype("float32") for shape in ((1, rows, depth), (1, depth, columns)))
    cuts = [(item + 0.5) / work for item in range(1, work)]
    given_b = panels(b[0], choose_tile("float32", target).columns) if packed else b
    result = run(spec, geometry, (a, given_b), (1, rows, columns), cuts=cuts, target=target)
    np.testing.assert_array_equal(result, np.matmul(a.astype("float64"), b.astype("float64")))


@pytest.mark.parametrize(("vector_bytes", "registers"), [(16, 16), (32, 16), (64, 32)])
@pytest.mark.parametrize(
    ("geometry", "items"),
    [
        (MatmulGeometry(128, 2560, 512), 16),  # the weights of a recurrent layer; on a host with tiles of 6 x 16
        (MatmulGeometry(65, 513, 65, 2), 6),
        (MatmulGeometry(264, 40, 300), 10),
        (MatmulGeometry(64, 700, 300), 11),  # tiles of rows: few enough to read b where it lies
        (MatmulGeometry(265, 700, 300), 45),
        (MatmulGeometry(128, 700, 127), 22),
    ],
    ids=str,
)
def test_gradients_of_weights_with_few_rows_have_items_of_columns(
    geometry: MatmulGeometry, items: int, vector_bytes: int, registers: int
) -> None:
    host = host_target()
    target = Target("cpu", host.cpu, host.features, vector_bytes, registers)
    spec = ContractionSpec("matmul", "float32", transpose_a=True)
    work = contraction_work(spec, contraction_extents(spec, geometry), target)
    assert (vector_bytes, registers) != (32, 16) or work == items
    batch, rows, depth, columns = (int(n) for n in (geometry.batch, geometry.rows, geometry.depth, geometry.columns))  # type: ignore[arg-type]
    rng = np.random.default_rng(rows + columns)
    a, b = (rng.integers(-4, 5, shape).astype("float32") for shape in ((batch, depth, rows), (batch, depth, columns)))
    expected = np.matmul(a.astype("float64").swapaxes(1, 2), b.astype("float64"))
    for cuts in ([], [(item + 0.5) / work for item in range(1, work)]):
        result = run(spec, geometry, (a, b), (batch, rows, columns), cuts=cuts, target=target)
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(("vector_bytes", "registers"), TARGETS)
@pytest.mark.parametrize("form", [(False, False), (False, True), (True, False), (False, False, False, True)])
def test_every_tile_shape(vector_bytes: int, registers: int, form: tuple[bool, ...]) -> None:
    host = host_target()
    target = Target("cpu", host.cpu, host.features, vector_bytes, registers)
    spec = ContractionSpec("matmul", "float32", *form)
    for rows in (1, 2, 3, 5, 8, 14, 29, 71):
        check_matmul(MatmulGeometry(rows, 83, 301), spec, target=target)


@pytest.mark.parametrize(("vector_bytes", "registers"), TARGETS)
@pytest.mark.parametrize("geometry", [MatmulGeometry(271, 603, 70), MatmulGeometry(290, 517, 150, 2)], ids=str)
def test_long_sums_of_every_tile_shape_are_the_same_however_items_are_cut(
    geometry: MatmulGeometry, vector_bytes: int, registers: int
) -> None:
    host = host_target()
    target = Target("cpu", host.cpu, host.features, vector_bytes, registers)
    spec = ContractionSpec("matmul", "float32", transpose_a=True)
    work = contraction_work(spec, contraction_extents(spec, geometry), target)
    batch, rows, depth, columns = (int(n) for n in (geometry.batch, geometry.rows, geometry.depth, geometry.columns))  # type: ignore[arg-type]
    rng = np.random.default_rng(columns)
    a, b = (rng.standard_normal(shape).astype("float32") for shape in ((batch, depth, rows), (batch, depth, columns)))
    expected = matmul_oracle(a, b, spec)
    whole = run(spec, geometry, (a, b), (batch, rows, columns), target=target)
    np.testing.assert_allclose(whole, expected, rtol=1e-4, atol=1e-4)
    for cuts in ([0.5], [0.1, 0.35, 0.6], [(item + 0.5) / work for item in range(1, work, 3)]):
        np.testing.assert_array_equal(run(spec, geometry, (a, b), whole.shape, cuts=cuts, target=target), whole)


@pytest.mark.parametrize("vector_bytes", [16, 64])
def test_convolutions_at_other_widths(vector_bytes: int) -> None:
    host = host_target()
    target = Target("cpu", host.cpu, host.features, vector_bytes, 32)
    geometry = ConvolutionGeometry((2, 9, 10, 5), (3, 3, 5, 20), (2, 1), ((1, 1), (0, 2)))
    check_convolution("convolution_kernel_gradient", geometry, target=target)


def test_symbolic_extents_run_any_size() -> None:
    batch, size = symbol("batch"), symbol("size")
    random = np.random.default_rng(3)
    spec = ContractionSpec("convolution", "float32")
    for images, height in ((1, 5), (4, 19)):
        geometry = ConvolutionGeometry((batch, size, size, 3), (3, 3, 3, 7), padding=((1, 1), (1, 1)))
        bound = ConvolutionGeometry((images, height, height, 3), (3, 3, 3, 7), padding=((1, 1), (1, 1)))
        x, kernel = convolution_operands("convolution", bound, "float32", 0)
        sizes = {"batch": images, "size": height}
        result = run(spec, geometry, (x, kernel), bound.output_shape, sizes=sizes)
        np.testing.assert_allclose(result, convolution_oracle("convolution", bound, x, kernel), rtol=1e-4, atol=1e-4)
    gradient = ContractionSpec("matmul", "float32", transpose_a=True)
    for images in (1, 7, 300):
        a = random.standard_normal((1, images, 30)).astype(np.float32)
        b = random.standard_normal((1, images, 10)).astype(np.float32)
        result = run(gradient, MatmulGeometry(30, batch, 10), (a, b), (1, 30, 10), sizes={"batch": images})
        np.testing.assert_allclose(result, matmul_oracle(a, b, gradient), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("rows", "columns"), [(3, 5), (1, 70), (1, 300), (2, 300)])
def test_an_empty_sum_is_zero(rows: int, columns: int) -> None:
    spec = ContractionSpec("matmul", "float32")
    operands = np.zeros((rows, 0)), np.zeros((0, columns))
    result = run(spec, MatmulGeometry(rows, 0, columns), operands, (rows, columns))
    np.testing.assert_array_equal(result, np.zeros((rows, columns)))


def test_an_epilogue_reads_operands_and_extents() -> None:
    pointer = make_pointer("float32")
    count = extent_count(ContractionSpec("matmul", "float32"))
    epilogue = Epilogue(
        body=lambda value, row, column: (
            f"v0 = {value} + p2[{column}] + p3[({row} // e0) * output_columns + {column}]",
            f"p4[{row} * output_columns + {column}] = max(v0, zero)",
        ),
        prelude=(
            "p2 = pointer(pointers[2])",
            "p3 = pointer(pointers[3])",
            "p4 = pointer(pointers[4])",
            f"e0 = extents[{count}]",
        ),
        namespace={"pointer": pointer, "zero": np.float32(0)},
    )
    random = np.random.default_rng(1)
    a, b, bias, shared = (
        random.standard_normal(shape).astype(np.float32) for shape in ((24, 9), (9, 21), (21,), (8, 21))
    )
    spec = ContractionSpec("matmul", "float32")
    result = run(spec, MatmulGeometry(24, 9, 21), (a, b, bias, shared), (24, 21), epilogue=epilogue, more_extents=[3])
    oracle = np.maximum(a.astype(np.float64) @ b + bias + np.repeat(shared, 3, axis=0), 0)
    np.testing.assert_allclose(result, oracle, rtol=1e-4, atol=1e-5)


def test_a_specification_refuses_what_no_kernel_computes() -> None:
    with pytest.raises(ValueError, match="float32 or float64, got 'float16'"):
        ContractionSpec("matmul", "float16")
    with pytest.raises(ValueError, match="no form of convolution that is transpose_a"):
        extent_count(ContractionSpec("convolution", "float32", transpose_a=True))
    with pytest.raises(ValueError, match="no form of depthwise that is packed"):
        extent_count(ContractionSpec("depthwise", "float32", packed=True))
    with pytest.raises(ValueError, match="kind of a contraction is one of matmul, convolution"):
        extent_count(ContractionSpec("correlation", "float32"))
    with pytest.raises(ValueError, match="takes a ConvolutionGeometry"):
        contraction_extents(ContractionSpec("convolution", "float32"), MatmulGeometry(1, 1, 1))
    product, extents = ContractionSpec("matmul", "float32"), (128, 64, 32, 0, 0, 96, 1)
    with pytest.raises(ValueError, match="22 work items of a matmul do not make up images"):
        image_units(product, extents, 22)
    with pytest.raises(ValueError, match="at least 1"):
        ConvolutionGeometry((1, 4, 4, 1), (1, 1, 1, 1), strides=(0, 1))


@pytest.mark.parametrize("empty", [0, 1, 2])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
@pytest.mark.parametrize("depthwise", [False, True])
def test_convolutions_of_nothing(kind: str, empty: int, depthwise: bool) -> None:
    """No images, rows or columns: nothing is touched, and sums over nothing are 0."""
    groups = 4 if depthwise else 1
    shape = tuple(0 if axis == empty else size for axis, size in enumerate((3, 5, 6, 4)))
    geometry = ConvolutionGeometry(shape, (3, 3, 4 // groups, 8), padding=((1, 1), (1, 1)), groups=groups)  # type: ignore[arg-type]
    first, second = convolution_operands(kind, geometry, "float32", 0)
    results = {"convolution": geometry.output_shape, "convolution_input_gradient": shape}
    name = kind.replace("convolution", "depthwise") if depthwise else kind
    result = run(
        ContractionSpec(name, "float32"),
        geometry,
        (first, second),
        results.get(kind, geometry.kernel_shape),
    )
    np.testing.assert_array_equal(result, np.zeros_like(result))


@pytest.mark.parametrize(
    ("channels", "filters", "groups"), [(8, 0, 1), (32, 0, 1), (0, 8, 1), (0, 32, 1), (0, 0, 1), (4, 0, 4), (0, 6, 2)]
)
@pytest.mark.parametrize("chunks", [1, 3])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolutions_without_channels(kind: str, chunks: int, channels: int, filters: int, groups: int) -> None:
    """Sums over no channels are 0; a result without channels has no elements, and no number is divided by theirs."""
    kernel = (3, 3, channels // groups, filters)
    for height in (5, 40):
        image = (3, height, 6, channels)
        geometry = ConvolutionGeometry(image, kernel, padding=((1, 1), (1, 1)), groups=groups, chunks=chunks)
        operands = convolution_operands(kind, geometry, "float32", 0)
        results = {"convolution": geometry.output_shape, "convolution_input_gradient": image}
        shape = results.get(kind, (3 * chunks, *kernel[1:]))
        result = run(ContractionSpec(kind, "float32"), geometry, operands, shape, cuts=(0.5,))
        np.testing.assert_array_equal(result, np.zeros(shape))
