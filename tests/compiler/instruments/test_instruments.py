"""Instruments: asked before a pass, told after it, composable; the records, the log, the bundle, the reproducer."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from compiler import functions as f
from compiler.driver import compile_graph
from compiler.instruments import Instrument, Records
from compiler.instruments.dump import Dump, next_folder
from compiler.instruments.files import graph_of_text
from compiler.instruments.reproducer import Reproducer, read_header
from compiler.ir import Builder, Graph
from compiler.ops.sources import ArrayAttribute, Constant
from compiler.passes.canonicalize import canonicalize
from compiler.passes.context import PassContext
from compiler.passes.eliminate_dead_code import eliminate_dead_code
from compiler.pipeline import PIPELINE, run_pipeline
from compiler.text import parse
from compiler.types import TensorType
from compiler.verify import VerifyError
from graphcore import cli
from runtime.dimensions import dim_max, symbol
from runtime.logs import is_logged, log

GRAPH = """graph g {
  input %x "x": f32[n,3]
  %zero: f32[n,3] = full() {shape=(n,3), value=0.0}
  %a: f32[n,3] = add(%x, %zero)
  %b: f32[n,3] = tanh(%a)
  %unused: f32[n,3] = exp(%b)
  return "y"=%b
}"""


def give_up(graph: Graph, context: PassContext) -> Graph:
    raise RuntimeError("out of\nideas")


def lose_a_node(graph: Graph, context: PassContext) -> Graph:
    return dataclasses.replace(graph, nodes=graph.nodes[1:])


class Notes(Instrument):
    """Notes every call, in a list that may be shared."""

    def __init__(self, mark: str = "", seen: list[tuple[object, ...]] | None = None, skip: str = "") -> None:
        self.mark, self.skip = mark, skip
        self.seen = [] if seen is None else seen

    def should_run(self, name, graph, context):
        return name != self.skip

    def before(self, name, graph, context):
        self.seen.append((self.mark, "before", name, len(graph.nodes)))

    def after(self, name, before, after, context, seconds):
        assert seconds > 0
        self.seen.append((self.mark, "after", name, len(after.nodes)))

    def failed(self, failure):
        self.seen.append((self.mark, "failed", failure.name, failure.rest))


def test_instruments_see_each_pass_in_the_order_given():
    seen: list[tuple[object, ...]] = []
    instruments = (Notes("a", seen), Notes("b", seen))
    run_pipeline(parse(GRAPH), passes=(canonicalize, eliminate_dead_code), instruments=instruments)
    assert seen == [
        ("a", "before", "canonicalize", 4),
        ("b", "before", "canonicalize", 4),
        ("a", "after", "canonicalize", 3),
        ("b", "after", "canonicalize", 3),
        ("a", "before", "eliminate_dead_code", 3),
        ("b", "before", "eliminate_dead_code", 3),
        ("a", "after", "eliminate_dead_code", 1),
        ("b", "after", "eliminate_dead_code", 1),
    ]


def test_one_instrument_keeps_a_pass_from_running_and_the_others_see_nothing_of_it():
    other = Notes()
    passes = (canonicalize, eliminate_dead_code)
    graph = run_pipeline(parse(GRAPH), passes=passes, instruments=(Notes(skip="canonicalize"), other))
    assert [node.op.name for node in graph.nodes] == ["full", "add", "tanh"]
    assert {entry[2] for entry in other.seen} == {"eliminate_dead_code"}


@pytest.mark.parametrize(("bad", "kind"), [(give_up, RuntimeError), (lose_a_node, VerifyError)])
def test_a_failure_is_told_with_the_passes_that_were_left(bad, kind):
    notes = Notes()
    with pytest.raises(kind):
        run_pipeline(parse(GRAPH), passes=(bad, eliminate_dead_code), instruments=(notes,))
    assert notes.seen[-1] == ("", "failed", bad.__name__, (bad.__name__, "eliminate_dead_code"))


def test_an_instrument_that_raises_fails_the_pass_that_it_looked_at():
    class Judge(Instrument):
        def after(self, name, before, after, context, seconds):
            if len(after.nodes) < 3:
                raise ValueError("too few")

    with pytest.raises(ValueError, match="too few") as caught:
        run_pipeline(parse(GRAPH), passes=(canonicalize, eliminate_dead_code), instruments=(Judge(),))
    assert caught.value.__notes__[0].startswith("in pass 'eliminate_dead_code' (after canonicalize)")


def test_records_say_what_a_pass_did():
    records = Records()
    context = PassContext()
    run_pipeline(parse(GRAPH), context, instruments=(records,))
    assert [record.name for record in records.records] == [pass_.__name__ for pass_ in PIPELINE]
    canonicalized = next(record for record in records.records if record.name == "canonicalize")
    assert (canonicalized.nodes_before, canonicalized.nodes_after) == (4, 3)
    assert canonicalized.removed == {"add": 1}
    assert "4 -> 3 nodes (-1 add)" in canonicalized.summary
    fused = next(record for record in records.records if record.name == "fuse")
    assert fused.added == {"fused": 1}
    assert fused.removed == {}, "what is in a kernel's body counts"
    assert sum(record.remarks for record in records.records) == len(context.remarks)
    assert "unchanged" in next(record for record in records.records if record.name == "plan_memory").summary
    assert records.table.splitlines()[0].split() == ["pass", "ms", "nodes"]


def test_a_failing_pass_leaves_a_file_that_fails_again(tmp_path):
    path = tmp_path / "new" / "repro.gcir"
    context = PassContext(bindings={"n": 4}, fixed={"steps": 7, "steps_": 9}, winograd=False)
    passes = (canonicalize, give_up, eliminate_dead_code)
    with pytest.raises(RuntimeError) as caught:
        run_pipeline(parse(GRAPH), context, passes=passes, instruments=(Reproducer(path),))
    assert str(path) in caught.value.__notes__[-1]
    text = path.read_text()
    assert "// The pass 'give_up' failed: RuntimeError: out of ideas\n" in text
    header = read_header(text)
    assert header.passes == ("give_up", "eliminate_dead_code")
    assert header.bindings == {"n": 4}
    assert header.fixed == {"steps": 7, "steps_": 9}
    assert not header.winograd
    graph, missing = graph_of_text(path.read_text())
    assert missing == ()
    assert [node.op.name for node in graph.nodes] == ["full", "tanh", "exp"], "as the failing pass got it"
    with pytest.raises(RuntimeError, match="out of"):
        run_pipeline(graph, PassContext(), passes=(give_up,))


@pytest.mark.parametrize("dim", [4, symbol("a") * 2, dim_max(symbol("a"), symbol("b"))])
def test_every_size_comes_back_from_the_file(tmp_path, dim):
    path = tmp_path / "repro.gcir"
    context = PassContext(bindings={"n": dim, "m": 3}, fixed={"a": 6, "b": 2})
    with pytest.raises(RuntimeError):
        run_pipeline(parse(GRAPH), context, passes=(give_up,), instruments=(Reproducer(path),))
    header = read_header(path.read_text())
    assert header.bindings == {"n": dim, "m": 3}
    assert header.fixed == {"a": 6, "b": 2}


def test_where_nothing_can_be_written_the_pass_s_own_error_stays(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeError, match="out of\nideas") as caught:
        run_pipeline(parse(GRAPH), passes=(give_up,), instruments=(Reproducer(tmp_path / "file" / "repro.gcir"),))
    assert caught.value.__notes__[-1].startswith("no reproducer could be written: ")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(RuntimeError, match="out of\nideas") as caught:
        run_pipeline(parse(GRAPH), passes=(give_up,), instruments=(Reproducer(None),))
    assert caught.value.__notes__[-1].startswith("no reproducer could be written: ")
    context = PassContext()
    (tmp_path / "bundle").mkdir()
    bundle = Dump(tmp_path / "bundle", parse(GRAPH), context)
    bundle.folder = tmp_path / "nowhere"
    with pytest.raises(RuntimeError, match="out of\nideas") as caught:
        run_pipeline(parse(GRAPH), context, passes=(give_up,), instruments=(bundle,))
    assert "is not complete" in caught.value.__notes__[-1]


def test_random_numbers_stand_in_for_large_constants(tmp_path):
    b = Builder("large")
    for i, dtype in enumerate(["float32", "int32", "bool"]):
        b.output(f"y{i}", b.emit(Constant(ArrayAttribute(np.ones((100, 50), dtype)))))
    path = tmp_path / "repro.gcir"
    with pytest.raises(RuntimeError):
        run_pipeline(b.build(), passes=(give_up,), instruments=(Reproducer(path),))
    assert path.stat().st_size < 2000
    graph, missing = graph_of_text(path.read_text())
    assert len(missing) == 3
    arrays = [node.op.array.array for node in graph.nodes]
    assert [(array.dtype.name, array.shape) for array in arrays] == [
        (dtype, (100, 50)) for dtype in ("float32", "int32", "bool")
    ]
    assert arrays[0].std() > 0.5
    assert set(arrays[1].flat) == {0, 1}
    assert graph_of_text(path.read_text())[0] == graph, "the same numbers every time"


def weighted() -> Graph:
    b = Builder("my model")
    x = b.input("x", TensorType((symbol("n"), 3)))
    table = b.emit(Constant(ArrayAttribute(np.full((3, 40), 12345.678, "float32"))))
    weights = b.variable("dense/kernel", table.type)
    with b.scope(layer="dense", source="secret.py:3"):
        b.output("y", f.matmul(b, x, f.add(b, weights, table)))
    return b.build()


def test_the_bundle_is_numbered_and_holds_no_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHCORE_DUMP", str(tmp_path / "bundle"))
    for _ in range(2):  # the second is in the cache, and is dumped all the same
        compile_graph(weighted())
    first, second = sorted((tmp_path / "bundle").iterdir())
    assert (first.name, second.name) == ("0001_my_model", "0002_my_model")
    names = sorted(path.name for path in first.iterdir())
    assert {"README.txt", "environment.json", "memory.txt", "passes.json", "passes.txt", "kernels"} <= set(names)
    graphs = [name for name in names if name.endswith(".gcir")]
    assert graphs[0] == "00_traced.gcir"
    assert any(name.endswith("_fuse.gcir") for name in graphs)
    rows = json.loads((first / "passes.json").read_text())
    assert [row["name"] for row in rows] == [pass_.__name__ for pass_ in PIPELINE]
    changed = [f"{number:02}_{row['name']}.gcir" for number, row in enumerate(rows, 1) if row["changed"]]
    assert graphs[1:] == changed
    assert "def kernel(" in next((first / "kernels").iterdir()).read_text()
    shown = b"".join(path.read_bytes() for path in first.rglob("*") if path.is_file())
    assert np.float32(12345.678).tobytes().hex().encode() not in shown
    assert np.float32(12345.678).tobytes() not in shown
    assert "sha256" in (first / "00_traced.gcir").read_text()
    assert sum(path.stat().st_size for path in first.rglob("*") if path.is_file()) < 200_000


def test_a_failing_pass_puts_its_file_into_the_bundle(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHCORE_DUMP", str(tmp_path))

    def broken(pass_, graph, context):
        if pass_.__name__ == "fuse":
            raise RuntimeError("planted")
        return graph

    monkeypatch.setattr("compiler.pipeline._with_bodies", broken)
    with pytest.raises(RuntimeError, match="planted"):
        compile_graph(parse(GRAPH))
    (folder,) = tmp_path.iterdir()
    header = read_header((folder / "repro.gcir").read_text())
    assert header.passes == ("fuse", "limit_kernels", "schedule", "plan_memory")
    assert "planted" in (folder / "failure.txt").read_text()
    named = (folder / "README.txt").read_text()
    for path in folder.iterdir():
        assert path.name in named or re.fullmatch(r"README\.txt|\d\d_\w+\.gcir", path.name), path.name


def test_folders_of_many_processes_do_not_meet(tmp_path):
    made = [next_folder(tmp_path, name).name for name in ("a", "a", "../b c", "...")]
    assert made == ["0001_a", "0002_a", "0003_b_c", "0004_graph"]


def test_the_log_goes_to_stderr_and_only_on_the_topics_named(tmp_path):
    (tmp_path / "g.gcir").write_text(GRAPH)
    script = (
        "import sys; from compiler.driver import compile_graph; from compiler.text import parse\n"
        "for _ in range(2): compile_graph(parse(open(sys.argv[1]).read()))"
    )

    def lines(topics):
        environment = {"GRAPHCORE_LOGS": topics, "GRAPHCORE_CACHE": str(tmp_path / "cache")}
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "g.gcir")],
            capture_output=True, text=True, check=True, env={**os.environ, **environment},
        )  # fmt: skip
        assert done.stdout == ""
        return done.stderr.splitlines()

    logged = lines("passes,memory,kernels,cache")
    assert lines("") == []
    assert {line.split()[0] for line in logged} == {"[passes", "[memory", "[kernels", "[cache"}
    assert sum("plan_memory:" in line for line in logged) == 2, "a program in the cache is compiled again to be seen"
    assert any("missing" in line for line in logged)
    assert any("compiled to" in line for line in logged)
    assert any("from the cache" in line for line in logged)
    assert all("found" in line for line in lines("cache"))


def test_an_unknown_topic_is_refused(monkeypatch):
    monkeypatch.setenv("GRAPHCORE_LOGS", "passes,fushion")
    with pytest.raises(ValueError, match=r"GRAPHCORE_LOGS names fushion. Expected some of passes, fusion"):
        is_logged("cache")


def test_a_line_on_a_topic_that_is_off_is_not_written(monkeypatch, capsys):
    monkeypatch.delenv("GRAPHCORE_LOGS", raising=False)
    log("passes", "nothing")
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("GRAPHCORE_LOGS", "all")
    log("passes", "one\ntwo")
    assert [line.split("] ")[1] for line in capsys.readouterr().err.splitlines()] == ["one", "two"]


def test_edges_that_were_not_fused_are_logged_with_the_reason(monkeypatch, capsys):
    monkeypatch.setenv("GRAPHCORE_LOGS", "fusion")
    compile_graph(parse("""graph two {
      input %x: f32[n,64]
      variable %a: f32[64,64]
      %y = matmul(%x, %a)
      %z = matmul(%y, %a)
      return "z"=%z
    }"""))
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert all(line.startswith("[fusion") and "] two: fuse: " in line for line in lines)


def test_bisect_evaluates_sizes_that_are_bound_to_others(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    text = 'graph g {\n  input %x: f32[n]\n  input %z: f32[a]\n  %y = exp(%x)\n  return "y"=%y\n  return "z"=%z\n}\n'
    (tmp_path / "g.gcir").write_text("// binding: n=max(a, 3)\n" + text)
    assert cli.main(["opt", "g.gcir", "--bisect", "--size", "a=6"]) == 0
    assert "the results of the compiled program are the interpreter's" in capsys.readouterr().out
    assert cli.main(["opt", "g.gcir", "--bisect", "--size", "n=6"]) == 2
    assert "no symbol 'n'; its symbols are: a" in capsys.readouterr().err
