"""What the modules of the report's tabs gather, without a page."""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from compiler.driver import compile_graph
from compiler.inspect.kernel_times import program_times
from compiler.inspect.report_page import charts
from compiler.inspect.report_page.code import code_lines, linked_assembly, linked_llvm
from compiler.inspect.report_page.diff import Naming, Row, side_by_side, visible
from compiler.inspect.report_page.fusion import fusion_tab
from compiler.inspect.report_page.kernels import kernels_tab
from compiler.inspect.report_page.layers import MOST_CHILDREN, block_tree, model_tab
from compiler.inspect.report_page.memory import memory_tab
from compiler.inspect.report_page.passes import passes_tab
from compiler.inspect.report_page.subject import LayerRow, Subject, measured
from compiler.inspect.report_page.timeline import profile_tab
from compiler.instruments.made_up import program_sizes
from compiler.ir import Graph
from compiler.roof import Roof
from compiler.text import parse
from runtime import get_num_threads, set_num_threads
from runtime.profile import WARM_RUNS, Profile

TEXT = """
graph step {
  input %0 "x": f32[batch,4]
  variable %1 "dense/kernel": f32[4,3]
  %2: f32[batch,3] = matmul(%0, %1) {transpose_a=False, transpose_b=False} @"block/dense"
  %3: f32[batch,3] = tanh(%2) @"block/act"
  %4: f32[batch,3] = add(%3, %2) @"sum"
  %5: f32[] = reduce_sum(%4) {axes=(0, 1)} @"loss"
  %6: f32[4,3] = gradient(%5, %1)
  %7: f32[4,3] = subtract(%1, %6)
  return "y"=%4
  update "dense/kernel"=%7
}
"""


@pytest.fixture(scope="module")
def subject() -> Subject:
    compiled = compile_graph(parse(TEXT))
    sizes = program_sizes(compiled.program, {"batch": 8})
    return Subject("step", "graph", compiled, sizes, (), measured(compiled, sizes))


def test_the_rows_of_a_graph_are_the_layers_it_names(subject: Subject) -> None:
    tab = model_tab(subject)
    rows = {row["name"]: row for row in tab["rows"]}
    assert list(rows) == ["block/dense", "block/act", "sum", "loss"]
    assert rows["sum"]["inputs"] == [1, 0]
    assert rows["block/dense"]["shape"] == "f32[batch,3]"
    assert rows["block/dense"]["parameters"] == 12
    # Forward and the gradient of the weights; the input's gradient is not asked for.
    assert rows["block/dense"]["flops"] == 2 * (2 * 8 * 4 * 3)
    assert tab["total"]["flops"] == rows["block/dense"]["flops"]
    assert tab["tree"][0] == {"name": "block", "kind": "model", "children": [0, 1]}
    assert tab["tree"][1:] == [2, 3]


def test_saved_activations_are_ports(subject: Subject) -> None:
    rows = {row["name"]: row for row in model_tab(subject)["rows"]}
    # The gradient of tanh needs its result.
    assert rows["block/act"]["ports"] == [("f32[batch,3]", 8 * 3 * 4)]
    assert rows["sum"]["ports"] == []


def test_shares_of_layers_and_the_rest_add_up(subject: Subject) -> None:
    tab = model_tab(subject)
    assert sum(row["share"] for row in tab["rows"]) + tab["other"]["share"] == pytest.approx(1)
    profile = profile_tab(subject)
    assert profile is not None
    for totals in (profile["layers"], profile["ops"]):
        assert sum(row["share"] for row in totals) == pytest.approx(1)
        assert sum(row["seconds"] for row in totals) == pytest.approx(sum(subject.seconds))


def test_the_timeline_holds_every_call_inside_the_run(subject: Subject) -> None:
    tab = profile_tab(subject)
    assert tab is not None
    assert subject.profile is not None
    bars = [bar for lane in tab["lanes"] for bar in lane["bars"]]
    assert len(bars) == tab["calls"] == tab["drawn"] > 0
    for bar in bars:
        assert bar["x"] >= 0
        assert bar["x"] + bar["width"] <= tab["width"] * (1 + 1e-9)
    for lane in tab["lanes"]:
        ends = [(bar["x"], bar["x"] + bar["width"]) for bar in lane["bars"]]
        for (_, before), (after, _) in itertools.pairwise(ends):
            assert before <= after * (1 + 1e-9) + 1e-9
        for wait in lane["waits"]:
            assert all(end <= wait["x"] + 1e-6 or begin >= wait["x"] + wait["width"] - 1e-6 for begin, end in ends)


def test_passes_tell_what_they_changed(subject: Subject) -> None:
    tab = passes_tab(subject)
    by_name = {entry["name"]: entry for entry in tab["passes"]}
    differentiate = by_name["differentiate"]
    assert differentiate["changed"]
    assert ("gradient", -1) in differentiate["ops"]
    assert differentiate["after"] == len(subject.after("differentiate").nodes)
    assert any(row.kind == "removed" and "gradient" in row.left for row in differentiate["rows"])
    assert not by_name["plan_memory"]["changed"]
    assert by_name["plan_memory"]["rows"] == []
    assert tab["changed"] == sum(run.after is not run.before for run in subject.passes)
    assert by_name["fuse"]["purpose"] == "Group primitives into kernels."


def test_every_instruction_is_a_group_and_every_remark_has_its_place(subject: Subject) -> None:
    tab = fusion_tab(subject)
    assert [group["label"] for group in tab["groups"]] == [
        instruction.label for instruction in subject.compiled.program.instructions
    ]
    remarks = [remark for remark in subject.compiled.remarks if remark.pass_name == "fuse"]
    assert tab["edges"] == len(remarks)
    shown = {(entry["reason"], edge) for entry in tab["refused"] for edge, _ in entry["edges"]}
    assert shown == {(remark.text, remark.subject) for remark in remarks}


def test_rectangles_of_memory_never_meet_and_the_curve_ends_at_the_bound() -> None:
    text = """
    graph chain {
      input %0 "x": f32[64,64]
      %1: f32[64,64] = matmul(%0, %0) {transpose_a=False, transpose_b=False} @"a"
      %2: f32[64,64] = matmul(%1, %0) {transpose_a=False, transpose_b=False} @"b"
      %3: f32[64,64] = matmul(%2, %1) {transpose_a=False, transpose_b=False} @"c"
      return "y"=%3
    }
    """
    compiled = compile_graph(parse(text))
    tab = memory_tab(Subject("chain", "graph", compiled, {}))
    blocks = tab["blocks"]
    assert tab["bytes"] >= tab["bound"] == 2 * 64 * 64 * 4
    assert {block["layer"] for block in blocks} == {"a", "b"}
    for i, one in enumerate(blocks):
        for other in blocks[i + 1 :]:
            in_time = one["first"] <= other["last"] and other["first"] <= one["last"]
            in_space = (
                one["offset"] < other["offset"] + other["bytes"] and other["offset"] < one["offset"] + one["bytes"]
            )
            assert not (in_time and in_space)


def _rows(count: int, inputs: dict[int, tuple[int, ...]], names: str = "layer") -> tuple[LayerRow, ...]:
    return tuple(LayerRow((f"{names}_{i}",), inputs=inputs.get(i, (i - 1,) if i else ())) for i in range(count))


def _leaves(tree: list[object]) -> list[int]:
    return [
        leaf
        for item in tree
        for leaf in ([item] if isinstance(item, int) else _leaves(item["children"]))  # type: ignore[index]
    ]


def _widest(tree: list[object]) -> int:
    inner = [_widest(item["children"]) for item in tree if not isinstance(item, int)]  # type: ignore[index]
    return max([len(tree), *inner])


@pytest.mark.parametrize("count", [1, MOST_CHILDREN, MOST_CHILDREN + 1, 1000, 5000])
def test_no_block_of_a_long_chain_is_too_wide_and_every_layer_is_in_one(count: int) -> None:
    tree = block_tree(_rows(count, {}))
    assert _leaves(tree) == list(range(count))
    assert _widest(tree) <= MOST_CHILDREN


def _blocks(tree: list[object]) -> list[list[object]]:
    children = [item["children"] for item in tree if not isinstance(item, int)]  # type: ignore[index]
    return [*children, *(block for inner in children for block in _blocks(inner))]


def test_branches_become_blocks() -> None:
    # Twenty times: a layer, two on the way and the sum of both ways.
    inputs: dict[int, tuple[int, ...]] = {}
    for block in range(20):
        inputs[4 * block + 4] = (4 * block + 1, 4 * block + 3)
    tree = block_tree(_rows(81, inputs))
    assert _leaves(tree) == list(range(81))
    assert [4 * 3 + 2, 4 * 3 + 3, 4 * 3 + 4] in _blocks(tree)


def test_a_value_keeps_its_name_from_pass_to_pass() -> None:
    before = parse(_chain("exp", "tanh", "sqrt"))
    after = parse(_chain("exp", "negative", "tanh", "sqrt"))
    naming = Naming(before)
    old = naming.lines
    pairs = naming.follow(after)
    rows = side_by_side(old, naming.lines, pairs)
    assert [row.kind for row in rows if "exp" in row.left] == ["same"]
    assert sum(row.kind == "added" for row in rows) == 1
    assert sum(row.kind == "removed" for row in rows) == 0


def _chain(*ops: str) -> str:
    lines = [f"%{i + 1}: f32[4] = {op}(%{i})" for i, op in enumerate(ops)]
    return "\n".join(['graph g {\n input %0 "x": f32[4]', *lines, f' return "y"=%{len(ops)}\n}}'])


def test_long_diffs_say_what_they_leave_out() -> None:
    rows = [Row("same", "a", "a")] * 9 + [Row("added", "", "b")] * 5 + [Row("same", "a", "a")] * 9
    shown = list(visible(rows, 100))
    assert [row.kind for row in shown] == ["gap", "same", "same", *["added"] * 5, "same", "same", "gap"]
    assert shown[0].left == "7 unchanged lines"
    assert shown[-1].left == "7 unchanged lines"
    assert list(visible(rows, 4))[-1] == Row("gap", "3 more changed lines are not shown", "")


def test_highlighted_code_is_the_escaped_text() -> None:
    text = "for i in range(3):\n    x = '<b>' & y  # done\n"
    lines = code_lines(text, "python")
    assert len(lines) == text.count("\n") + 1
    joined = "\n".join(lines)
    for name in "ckmsfvlo":
        joined = joined.replace(f"<i class={name}>", "")
    assert html.unescape(joined.replace("</i>", "")) == text
    assert "<i class=k>for</i>" in lines[0]
    assert "<b>" not in lines[1]


def test_lines_are_linked_by_debug_locations() -> None:
    llvm = "define void @f() {\n  %a = add i64 1, 2, !dbg !7\n  ret void\n}\n!7 = !DILocation(line: 2, column: 1)"
    assert linked_llvm(llvm) == ("define void @f() {\n  %a = add i64 1, 2\n  ret void\n}", [0, 2, 0, 0])
    assembly = "f:\n.Lfunc_begin0:\n\t.loc\t1 3 0\n\taddq\t%rax, %rbx\n.L1:\n\tretq\n.Lfunc_end0:\n\tnop"
    assert linked_assembly(assembly) == ("f:\n\taddq\t%rax, %rbx\n.L1:\n\tretq\n\tnop", [0, 3, 0, 3, 0])


def test_the_lines_of_a_kernel_s_instructions_are_those_that_compute(subject: Subject) -> None:
    for kernel in subject.stages.kernels.kernels:
        assembly, links = linked_assembly(kernel.assembly)
        llvm, _ = linked_llvm(kernel.llvm)
        assert "!dbg" not in llvm
        assert "DILocation" not in llvm
        assert ".loc\t" not in assembly
        lines = kernel.source.split("\n")
        assert max(links) <= len(lines)
        stores = [number for number, line in enumerate(lines, 1) if "] = " in line and "p" in line.split("[")[0]]
        assert set(stores) & set(links) or not stores


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (312, "312"), (4100, "4.10 k"), (25_636_712, "25.6 M"), (1.5e12, "1.50 T")]
)
def test_numbers_for_people(number: float, text: str) -> None:
    assert charts.count_text(number) == text


def test_sizes_times_and_ticks_for_people() -> None:
    assert charts.bytes_text(1536) == "1.50 KiB"
    assert charts.seconds_text(0.0031) == "3.10 ms"
    assert charts.seconds_text(2.2e-7) == "220 ns"
    assert charts.ticks(47) == [0, 10, 20, 30, 40]
    assert charts.log_ticks(0.05, 20) == [0.1, 1, 10]


@pytest.fixture
def known_roof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compiler.roof.roof", roof_of)


def roof_of(threads: int) -> Roof:
    return Roof(threads, threads * 1e11, 1e10, 1e10)


@pytest.fixture
def any_threads() -> Iterator[None]:
    before = get_num_threads()
    yield
    set_num_threads(before)


@pytest.mark.usefixtures("known_roof", "any_threads")
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize(
    ("rows", "teams"), [(1, (2, 2, 2)), (512, (1, 1, 1, 2, 2)), (512, (1, 2, 2))], ids=["idle worker", "alone", "pool"]
)
def test_every_tab_says_what_a_profile_says(dtype: str, rows: int, teams: tuple[int, ...]) -> None:
    compiled = compile_graph(parse(f"""graph dense {{
      input %0 "x": {dtype}[batch,64]
      variable %1 "w": {dtype}[64,48]
      %2: {dtype}[batch,48] = matmul(%0, %1) @"dense"
      return "y"=%2
    }}"""))
    numbers = np.random.default_rng(0)
    kind = {"f32": "float32", "f64": "float64"}[dtype]
    x, w = numbers.normal(size=(rows, 64)).astype(kind), numbers.normal(size=(64, 48)).astype(kind)
    profile = Profile()
    for number in (None, *teams):
        set_num_threads(number or 1)
        compiled.executable.run([x], (w,), profile if number else None)
    times = program_times(profile, roof_of)
    assert tuple(profile.team_sizes()) == teams
    subject = Subject("dense", "graph", compiled, {"batch": rows}, (), profile)
    kernels, timeline = kernels_tab(subject), profile_tab(subject)
    assert timeline is not None
    assert kernels["roof"]["threads"] == timeline["threads"] == len(timeline["lanes"]) == times.threads
    points = {point["index"]: point["of_roof"] for point in kernels["roof"]["points"]}
    instructions = {row["position"]: row for row in timeline["instructions"]}
    (kernel,) = (kernel for kernel in times.kernels if kernel.flops)
    (row,) = (row for row in kernels["rows"] if kernel.position in row["calls"])
    assert row["calls"] == [kernel.position]
    assert row["seconds"] == pytest.approx(kernel.median * 1e-9)
    assert (row["flops"], row["bytes"]) == (kernel.flops, kernel.bytes)
    assert instructions[kernel.position]["seconds"] == pytest.approx(row["seconds"])
    assert instructions[kernel.position]["flops_rate"] == pytest.approx(row["flops_rate"])
    assert row["flops_rate"] == pytest.approx(kernel.gflops * 1e9)
    assert points[row["index"]] == pytest.approx(kernel.roof)


def test_what_is_measured_is_finite_and_has_chosen_its_threads() -> None:
    compiled = compile_graph(parse("""graph normalised {
      input %x "x": f32[batch,4]
      variable %variance "variance": f32[4]
      %y: f32[4] = rsqrt(%variance)
      return "x"=%x
      return "y"=%y
    }"""))
    results = []
    run = compiled.executable.run

    def noted(*arrays: Any) -> Any:
        results.append(run(*arrays)[1])
        return results[-1]

    compiled.executable.run = noted  # type: ignore[method-assign]
    profile = measured(compiled, {"batch": 3})
    assert len(results) == WARM_RUNS + profile.runs
    assert all(np.isfinite(result).all() for result in results)


def test_a_graph_without_layers_or_arena_has_its_tabs() -> None:
    graph: Graph = parse('graph g {\n input %0 "x": f32[4]\n %1: f32[4] = exp(%0)\n return "y"=%1\n}')
    compiled = compile_graph(graph)
    subject = Subject("g", "graph", compiled, {}, (), measured(compiled, {}))
    assert model_tab(subject)["rows"] == []
    assert memory_tab(subject)["blocks"] == []
    tab = profile_tab(subject)
    assert tab is not None
    assert [row["name"] for row in tab["layers"]] == ["no layer"]
