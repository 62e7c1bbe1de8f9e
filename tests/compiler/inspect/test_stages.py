"""The stages of small graphs: what they say must agree with the program that runs."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from llvmlite import binding as llvm
from rich.console import Console

import graphcore as keras
from compiler.inspect import Stages, stages
from compiler.inspect.operations import element_operations
from compiler.inspect.stages import STAGES
from compiler.ir import Graph
from compiler.text import parse
from compiler.traffic import least_bytes
from compiler.types import product
from runtime.dimensions import evaluate, parse_dim, symbol
from runtime.loader import target_machine

DOCS = Path(__file__).parents[3] / "docs"
DENSE = """
graph dense {
  input %0 "x": f32[n,5]
  variable %1 "w": f32[5,3]
  %2: f32[n,3] = matmul(%0, %1) {transpose_a=False, transpose_b=False} @"dense"
  %3: f32[n,3] = relu(%2) @"dense" #"train.py:3"
  return "y"=%3
}
"""
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def dense() -> Stages:
    return stages(parse(DENSE))


@pytest.fixture(scope="module")
def recurrence() -> Stages:
    return stages(parse((DOCS / "recurrence.graph").read_text(encoding="utf-8")))


@pytest.fixture(scope="module", params=["step", "recurrence"])
def found(request: pytest.FixtureRequest) -> Stages:
    return stages(parse((DOCS / f"{request.param}.graph").read_text(encoding="utf-8")))


def test_every_stage_is_plain_data_a_table_and_a_short_repr(found: Stages) -> None:
    for stage in (found, *found):
        data = stage.to_dict()
        assert json.loads(json.dumps(data)) == data
        assert len(repr(stage)) < 200
        console = Console(width=150, record=True, file=io.StringIO())
        console.print(stage)
        assert stage.sheet().rows[0][0] in console.export_text()
    assert [stage.name for stage in found] == list(STAGES) == list(found.to_dict())


def test_graphs_need_no_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def refuse(*arguments: Any, **options: Any) -> Any:
        asked.append("compiled")
        raise AssertionError("compiled")

    monkeypatch.setattr("compiler.driver.compile_graph", refuse)
    monkeypatch.setattr("compiler.driver.Program.from_bytes", refuse)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    for found in (stages(parse(DENSE)), model.lower("predict")):
        assert {node.op.name for node in found.traced.graph.nodes} >= {"matmul"}
        assert {node.op.name for node in found.optimized.graph.nodes} <= {"fused", "constant", "reshape"}
    assert not asked


def test_the_optimized_graph_is_the_one_that_is_compiled() -> None:
    first, second = stages(parse(DENSE)), stages(parse(DENSE))
    before = first.optimized.graph
    assert before == first.compiled.graph == second.compiled.graph == second.optimized.graph
    assert second.optimized.graph is second.compiled.graph


def test_calls_are_the_instructions_of_the_program(found: Stages) -> None:
    program = found.program.program
    calls = found.kernels.calls
    assert [call.position for call in calls] == list(range(len(program.instructions)))
    for call, instruction in zip(calls, program.instructions, strict=True):
        body = call.body
        types = [entry.value.type for entry in body.inputs] + [value.type for _, value in body.outputs]
        buffers = [program.buffers[operand] for operand in instruction.operands]
        assert len(types) == len(buffers)
        for type_, buffer in zip(types, buffers, strict=True):
            # A buffer may be seen in another shape, and in part: the first rows of a loop's states.
            sizes = {"batch": 3, "steps": 4}
            assert type_.dtype == buffer.dtype
            assert evaluate(type_.size, sizes) <= evaluate(product(buffer.shape), sizes)
    users = [kernel.index for kernel in found.kernels for _ in kernel.calls]
    assert sorted(users) == sorted(instruction.kernel for instruction in program.instructions)


def test_each_kernel_is_printed_and_compiled_as_in_the_program(found: Stages) -> None:
    for kernel in found.kernels.kernels:
        assert kernel.printed.source == kernel.source
        assert f"@{kernel.symbol}(" in kernel.llvm
        assert f"{kernel.symbol}:" in kernel.assembly


def code_sections(object_code: bytes) -> dict[str, bytes]:
    sections = llvm.ObjectFileRef.from_data(object_code).sections()
    return {section.name(): section.data() for section in sections if section.is_text() and section.size()}


def test_the_assembly_is_that_of_the_object_code(found: Stages) -> None:
    """Assembled again it gives the same bytes."""
    for kernel in found.kernels.kernels:
        lines = kernel.assembly.replace("\\", "\\5C").replace('"', "\\22").splitlines()
        module = "\n".join(f'module asm "{line}"' for line in lines)
        with (
            target_machine() as machine,
            llvm.create_context() as context,
            llvm.parse_assembly(module, context) as parsed,
        ):
            again = machine.emit_object(parsed)
        assert code_sections(again) == code_sections(kernel.object_code)


def test_instructions_name_their_lines() -> None:
    """The line of the source that takes the square root, found by what it does."""
    found = stages(graph('%1: f32[n] = sqrt(%0)\n%2: f32[n] = exp(%1)\nreturn "y"=%2', 'input %0 "x": f32[n]'))
    kernel = found.kernels[0]
    lines = kernel.source.splitlines()
    (square_root,) = (number for number, line in enumerate(lines, 1) if "sqrt" in line)
    line = 0
    at: dict[int, list[str]] = {}
    for text in kernel.assembly.splitlines():
        location = re.match(r"\t\.loc\t1 (\d+)", text)
        line = int(location[1]) if location else line
        at.setdefault(line, []).append(text)
    assert max(at) <= len(lines)
    assert any("sqrt" in text for text in at[square_root])
    assert not any("sqrt" in text for number in at if number != square_root for text in at[number])
    scopes = dict(re.findall(r"^!(\d+) = !DILocation\(line: (\d+)", kernel.llvm, re.MULTILINE))
    uses = re.findall(r"@llvm\.sqrt\.[^\n]*!dbg !(\d+)", kernel.llvm)
    assert {scopes[use] for use in uses} == {str(square_root)}


def test_choices_name_the_generator_the_tile_and_the_epilogue(dense: Stages) -> None:
    kernel = dense.kernels[0]
    assert kernel.kind == "contraction"
    assert kernel.epilogue == ("relu",)
    assert kernel.choices["generator"] == "matmul"
    tile = kernel.printed.tile
    assert tile is not None
    assert kernel.choices["tile"].startswith(f"{tile.rows} rows x {tile.columns} columns of float32")


def test_choices_of_loops_name_what_they_run_over(found: Stages) -> None:
    for kernel in found.kernels.kernels:
        assert kernel.choices["loops"] == kernel.kind
    rows = graph('%1: f32[n] = reduce_sum(%0) {axes=(1,)}\nreturn "y"=%1', 'input %0 "x": f32[n,6]')
    (kernel,) = stages(rows).kernels.kernels
    assert kernel.choices == {"loops": "row", "over": "[n, 6]", "reduced axes": "[1]"}


def test_what_a_kernel_adds_is_no_prologue() -> None:
    """The repeated bias stands before the product in the body, but belongs to what follows it."""
    found = stages(parse((DOCS / "step.graph").read_text(encoding="utf-8")))
    kernel = found.kernels[0]
    assert set(kernel.calls[0].ops) == {"matmul", "broadcast", "add"}
    assert kernel.prologue == ()
    assert kernel.epilogue == ("add",)


def test_costs_of_a_dense_layer(dense: Stages) -> None:
    (call,) = dense.kernels.calls
    n = symbol("n")
    assert call.flops == 2 * 5 * 3 * n
    assert call.element_operations == 3 * n
    assert call.least_bytes == (4 * (5 * n + 15), 4 * 3 * n)
    data = dense.kernels.to_dict()["kernels"][0]["calls"][0]
    assert parse_dim(data["flops"]) == call.flops
    assert data["layer"] == "dense"


def test_calls_of_a_loop_repeat_with_its_steps(recurrence: Stages) -> None:
    inside = [call for call in recurrence.kernels.calls if call.loop is not None]
    assert inside
    assert {str(call.repeats) for call in inside} == {"steps"}
    total = sum((call.flops * call.repeats for call in recurrence.kernels.calls), 0 * symbol("batch"))
    assert total == recurrence.optimized.graph.multiply_adds * 2


def graph(lines: str, inputs: str) -> Graph:
    return parse(f"graph g {{\n{inputs}\n{lines}\n}}")


@pytest.mark.parametrize(
    ("inputs", "lines", "operations", "read", "written"),
    [
        ('input %0 "x": f32[4,6]', '%1: f32[4] = reduce_sum(%0) {axes=(1,)}\nreturn "y"=%1', 24, 96, 16),
        (
            'input %0 "x": f32[2,4,4,3]',
            '%1: f32[2,2,2,3] = max_pool(%0) {size=(2, 2), strides=(2, 2), padding=((0, 0), (0, 0))}\nreturn "y"=%1',
            96, 384, 96,
        ),
        (
            'input %0 "table": f32[1000,8]\ninput %1 "rows": i32[5]',
            '%2: f32[5,8] = take(%0, %1) {axis=0, fill=False}\n%3: f32[5,8] = exp(%2)\nreturn "y"=%3',
            40, 4 * 40 + 4 * 5, 160,
        ),
        ('input %0 "x": f32[8]', '%1: i32[8] = cast(%0) {dtype="int32"}\nreturn "y"=%1', 0, 32, 32),
    ],
)  # fmt: skip
def test_counts_by_hand(inputs: str, lines: str, operations: int, read: int, written: int) -> None:
    body = graph(lines, inputs)
    assert element_operations(body) == operations
    assert least_bytes(body) == (read, written)


@pytest.mark.parametrize("batch", [1, 32, 1000])
def test_blocks_alive_together_do_not_overlap(found: Stages, batch: int) -> None:
    data = found.memory.to_dict({"batch": batch})
    blocks = data["blocks"]
    assert data["sizes"]["batch"] == batch
    for i, one in enumerate(blocks):
        assert one["offset"] + one["bytes"] <= data["bytes"]
        assert evaluate(parse_dim(str(one["size"])), data["sizes"]) == one["bytes"]
        for two in blocks[:i]:
            apart = one["last"] < two["first"] or two["last"] < one["first"]
            if not apart or one["kept"] or two["kept"]:
                below = one["offset"] + one["bytes"] <= two["offset"]
                assert below or two["offset"] + two["bytes"] <= one["offset"]


def test_sizes_are_those_of_the_program(dense: Stages) -> None:
    with pytest.raises(ValueError, match="no symbol 'batch'; its symbols are: n"):
        dense.memory.to_dict({"batch": 3})
    with pytest.raises(KeyError, match="no stage 'fused'"):
        dense["fused"]


class Reader(HTMLParser):
    """Collects tags, and the attributes that could fetch something or run."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_html_escapes_names_and_stays_small() -> None:
    lines = "\n".join(
        f'%{i + 1}: f32[n,5] = sin(%{i}) @"{HOSTILE}" #"{HOSTILE * 20}.py:{i}"' for i in range(2000)
    )
    found = stages(graph(f'{lines}\nreturn "y"=%2000', f'input %0 "{HOSTILE}": f32[n,5]'))
    page = found.traced._repr_html_()
    reader = Reader()
    reader.feed(page)
    assert reader.tags <= {"div", "table", "caption", "thead", "tbody", "tr", "th", "td"}
    assert reader.attributes == {"style"}
    assert "url(" not in page
    assert len(page.encode()) < 200_000
    assert "more rows" in page
    assert HOSTILE not in page


def test_html_of_every_stage_is_small(found: Stages) -> None:
    for stage in (found, *found):
        page = stage._repr_html_()
        assert "http" not in page
        assert len(page.encode()) < 200_000
