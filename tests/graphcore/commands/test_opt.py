"""`graphcore opt`: passes over a graph in a file, what it prints, what it checks, and how a failure is run again."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from compiler.pipeline import PIPELINE
from compiler.text import parse
from graphcore import cli
from graphcore.commands.passes import available_passes

GRAPH = """
graph step {
  input %x: f32[batch,8]
  input %target: f32[batch,3]
  variable %kernel "dense/kernel": f32[8,3]
  %logits = matmul(%x, %kernel) @"dense" #"train.py:3"
  %p = softmax(%logits) {axis=1} @"dense"
  %d = %p - %target @"loss"
  %square = %d * %d @"loss"
  %loss = reduce_sum(%square) {axes=(0, 1)} @"loss"
  %g = gradient(%loss, %kernel)
  %rate: f32[8,3] = 0.125
  %step = %g * %rate @"sgd"
  %new = %kernel - %step @"sgd"
  return "loss"=%loss
  update "dense/kernel"=%new
}
"""

# A pass of the name of one that comes late: exponentials lose 1, also in kernels.
WRONG = """
from compiler.ir import Graph
from compiler.ops.registry import OPS
from compiler.rewrite import rewrite

def limit_kernels(graph, context):
    return rewrite(graph, _rule)

def _rule(b, node, inputs):
    body = node.op.fields.get("body")
    if isinstance(body, Graph):
        changed = rewrite(body, _rule)
        return None if changed is body else b.emit_all(type(node.op)(**(node.op.fields | {"body": changed})), *inputs)
    return (b.emit(OPS["expm1"](), *inputs),) if node.op.name == "exp" else None
"""

# It fails on what canonicalize leaves behind, and on nothing else.
FAILING = """
def picky(graph, context):
    if len(graph.nodes) == 1:
        raise RuntimeError("one node is too few")
    return graph
"""

SUM = """
graph sum {
  input %x: f32[n]
  %zero: f32[n] = 0.0
  %a = %x + %zero
  %y = exp(%a)
  return "y"=%y
}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with graphs and scripts."""
    files = {"step.gcir": GRAPH, "sum.gcir": SUM, "wrong.py": WRONG, "failing.py": FAILING}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def opt(*words: str) -> int:
    return cli.main(["opt", *words])


def test_the_passes_named_run_in_their_order(folder, capsys):
    assert opt("sum.gcir", "--passes", "canonicalize,eliminate_dead_code") == 0
    assert [node.op.name for node in parse(capsys.readouterr().out).nodes] == ["exp"]
    assert opt("sum.gcir", "--passes", "eliminate_dead_code") == 0
    assert [node.op.name for node in parse(capsys.readouterr().out).nodes] == ["full", "add", "exp"]


def test_without_names_all_passes_run(folder, capsys):
    assert opt("step.gcir", "--verify") == 0
    assert {node.op.name for node in parse(capsys.readouterr().out).nodes} <= {"fused", "reshape"}


def test_both_forms_are_the_same_graph(folder, capsys):
    opt("step.gcir")
    pretty = capsys.readouterr().out
    opt("step.gcir", "--generic")
    generic = capsys.readouterr().out
    assert "%dense_kernel" in pretty
    assert "%dense_kernel" not in generic
    assert parse(pretty) == parse(generic)
    assert '#"train.py:3"' in pretty
    opt("step.gcir", "--no-sources")
    assert "train.py" not in capsys.readouterr().out


def test_the_result_goes_to_a_file(folder, capsys):
    assert opt("sum.gcir", "--passes", "canonicalize", "-o", "out.gcir") == 0
    assert capsys.readouterr().out == ""
    assert len(parse((folder / "out.gcir").read_text()).nodes) == 2


def test_the_graph_may_come_from_stdin(folder, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(SUM))
    assert opt("-", "--passes", "canonicalize") == 0
    assert parse(capsys.readouterr().out).name == "sum"


PASSES = ("--passes", "infer_shapes,canonicalize,eliminate_dead_code")


def headings(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("// ----")]


def test_graphs_are_printed_after_all_changed_or_chosen_passes(folder, capsys):
    opt("sum.gcir", *PASSES, "--print-after-all")
    assert headings(capsys.readouterr().out) == [
        "// ---- infer_shapes: unchanged ----",
        "// ---- canonicalize: changed ----",
        "// ---- eliminate_dead_code: changed ----",
    ]
    opt("sum.gcir", *PASSES, "--print-changed")
    shown = capsys.readouterr().out
    assert [line.split()[2] for line in headings(shown)] == ["canonicalize:", "eliminate_dead_code:"]
    assert shown.count("graph sum {") == 3
    opt("sum.gcir", *PASSES, "--print-after", "canonicalize")
    assert headings(capsys.readouterr().out) == ["// ---- canonicalize: changed ----"]


def test_a_diff_shows_what_a_pass_did(folder, capsys):
    opt("sum.gcir", *PASSES, "--print-diff", "-o", "out.gcir")
    assert capsys.readouterr().out == (
        "// ---- canonicalize: changed ----\n"
        '- %2: f32[n] = add("x", %1)\n'
        "~ %3: f32[n] = exp(%2)\n"
        '    operand 0: %2 = add("x", %1) -> "x"\n'
        "// ---- eliminate_dead_code: changed ----\n"
        '- %1: f32[n] = full() {shape=(n,), value=0.0, dtype="float32"}\n'
    )


def test_tables_are_comments_so_that_the_output_is_a_graph(folder, capsys):
    opt("step.gcir", "--timing", "--statistics", "--remarks", "--memory")
    shown = capsys.readouterr().out
    parse(shown)
    comments = [line for line in shown.splitlines() if line.startswith("//")]
    assert sum(line.startswith("// fuse  ") for line in comments) == 1
    assert any("// eliminate_dead_code: " in line and "nodes (-" in line for line in comments)
    assert any(line.startswith("// memory: ") and " bound " in line for line in comments)


def test_the_right_passes_keep_the_results(folder, capsys):
    assert opt("step.gcir", "--bisect", "--size", "batch=5") == 0
    shown = capsys.readouterr().out
    assert "the results stay the interpreter's after all passes" in shown
    assert "the results of the compiled program are the interpreter's" in shown


def test_a_planted_wrong_rewrite_is_found(folder, capsys):
    assert opt("step.gcir", "--bisect", "--load", "wrong.py") == 1
    captured = capsys.readouterr()
    first, second, *_ = captured.out.splitlines()
    assert first == "the first pass after which the results leave the interpreter's: limit_kernels"
    assert second.startswith(("output 'loss' is ", "update of 'dense/kernel' is "))
    assert "expm1" in captured.out, "what the pass did is shown"
    assert opt("repro.gcir", "--bisect", "--load", "wrong.py") == 1
    assert "interpreter's: limit_kernels" in capsys.readouterr().out, "what it left is wrong again"
    assert opt("repro.gcir", "--bisect") == 0, "and right with the compiler's own pass"


def test_gradients_that_no_pass_expanded_are_not_compared(folder, capsys):
    assert opt("step.gcir", "--bisect", "--passes", "canonicalize") == 1
    assert "nothing was compared" in capsys.readouterr().out


def test_a_failing_pass_leaves_a_file_that_fails_again(folder, capsys):
    words = ("--load", "failing.py", "--passes", "canonicalize,eliminate_dead_code,picky,fuse", "--repro", "left.gcir")
    assert opt("sum.gcir", *words) == 1
    shown = capsys.readouterr().err
    assert "RuntimeError in pass 'picky' (after canonicalize, eliminate_dead_code): one node is too few" in shown
    assert "graphcore opt left.gcir --load failing.py" in shown
    text = (folder / "left.gcir").read_text()
    assert "// passes: picky,fuse\n" in text
    assert opt("left.gcir", "--load", "failing.py") == 1
    assert "RuntimeError in pass 'picky' (after none): one node is too few" in capsys.readouterr().err
    assert opt("left.gcir") == 2
    assert "no pass is named picky" in capsys.readouterr().err, "a file brings no code of its own"


def test_a_pass_that_renames_what_the_graph_gives_is_refused_by_strict_checks(folder, capsys):
    (folder / "rename.py").write_text(
        "import dataclasses\n"
        "def rename(graph, context):\n"
        "    return dataclasses.replace(graph, outputs=tuple((name + '2', value) for name, value in graph.outputs))\n"
        "def copy(graph, context):\n"
        "    return dataclasses.replace(graph)\n"
    )
    assert opt("sum.gcir", "--load", "rename.py", "--passes", "rename") == 0
    assert opt("sum.gcir", "--load", "rename.py", "--passes", "rename", "--verify") == 1
    assert "'rename' changed the outputs from y to y2" in capsys.readouterr().err
    assert opt("sum.gcir", "--load", "rename.py", "--passes", "copy", "--verify") == 1
    assert "'copy' changed nothing but returned another graph" in capsys.readouterr().err


def test_constants_by_hash_get_stand_ins_and_say_so(folder, capsys):
    digest = "ab" * 32
    node = f"%c = constant() {{array=array float32 [90] sha256 {digest}}}"
    (folder / "large.gcir").write_text(f'graph large {{\n  {node}\n  return "c"=%c\n}}\n')
    assert opt("large.gcir", "--passes", "canonicalize") == 0
    assert "random numbers stand in for 1 constant given by hash only" in capsys.readouterr().err


def test_what_cannot_be_done_says_why(folder, capsys):
    (folder / "empty.py").write_text("number = 3\n")
    for words, message in (
        (("sum.gcir", "--passes", "fusse"), "no pass is named fusse. Passes: infer_shapes"),
        (("sum.gcir", "--load", "empty.py"), "empty.py defines no pass"),
        (("sum.gcir", "--load", "none.py"), "there is no script 'none.py'"),
        (("none.gcir",), "none.gcir"),
        ((), "expected a graph"),
        (("sum.gcir", "--size", "n=3"), "--size and --seed belong to --bisect"),
        (("sum.gcir", "--seed", "0"), "--size and --seed belong to --bisect"),
        (("sum.gcir", "--bisect", "--size", "m=3"), "no symbol 'm'; its symbols are: n"),
        (("wrong.py",), "line 2: expected 'graph NAME {'"),
    ):
        assert opt(*words) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        opt("sum.gcir", "--size", "n")


def test_passes_are_listed_in_order(folder, capsys):
    assert opt("--list-passes", "--load", "failing.py", "--load", "wrong.py") == 0
    names = capsys.readouterr().out.split()
    assert names == [*(pass_.__name__ for pass_ in PIPELINE), "picky"]
    replaced = available_passes(["wrong.py"])
    assert [a is b for a, b in zip(replaced, PIPELINE, strict=True)].count(False) == 1
