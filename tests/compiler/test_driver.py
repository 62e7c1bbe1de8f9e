"""The driver: from a graph to a program that the runtime runs, with and without the cache."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from compiler import version
from compiler.assembly import assemble, label_of
from compiler.codegen.objects import kernel_key
from compiler.driver import compile_graph, program_key
from compiler.interpret import interpret
from compiler.ops.fused import Fused
from compiler.passes.context import PassContext
from compiler.pipeline import run_pipeline
from compiler.target import host_target
from compiler.text import parse
from runtime.executor import Executable
from runtime.program import Program

STEP = """
graph step {
  input %x "x": f32[batch,20]
  variable %w "dense/kernel": f32[20,8]
  variable %count "count": i64[]
  %a: f32[batch,8] = matmul(%x, %w) @"dense" #"train.py:3"
  %y: f32[batch,8] = tanh(%a) @"dense" #"train.py:3"
  %s: f32[] = reduce_sum(%y) {axes=(0,1)} @"loss"
  %g: f32[20,8] = gradient(%s, %w)
  %rate: f32[20,8] = full() {shape=(20,8), value=0.125}
  %d: f32[20,8] = multiply(%g, %rate)
  %nw: f32[20,8] = subtract(%w, %d) @"sgd"
  %one: i64[] = full() {shape=(), value=1, dtype="int64"}
  %nc: i64[] = add(%count, %one)
  return "y"=%y
  return "loss"=%s
  update "dense/kernel"=%nw
  update "count"=%nc
}
"""


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """An empty cache folder for one test."""
    monkeypatch.setenv("GRAPHCORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_one_program_for_every_batch_size(check_compiled):
    compiled = check_compiled(STEP, batch=1)
    for batch in (2, 7, 32, 33, 100):
        check_compiled(STEP, compiled=compiled, batch=batch, seed=batch)


def test_steps_follow_each_other_through_the_variables():
    graph = parse(STEP)
    rng = np.random.default_rng(0)
    w, count = rng.normal(size=(20, 8)).astype("float32"), np.zeros((), "int64")
    expected = w.astype("float64")
    judge = run_pipeline(graph)
    executable = compile_graph(graph).executable
    for _ in range(5):
        x = rng.normal(size=(6, 20)).astype("float32")
        executable.run([x], [w, count])
        _, updates = interpret(judge, [x.astype("float64")], [expected, np.int64(0)])
        expected = updates["dense/kernel"]
    np.testing.assert_allclose(w, expected, rtol=2e-4, atol=2e-5)
    assert count == 5


def test_the_program_is_plain_data():
    compiled = compile_graph(parse(STEP))
    program = Program.from_bytes(compiled.program.to_bytes())
    assert program.symbols == ("batch",)
    assert [program.buffers[i].name for i in program.inputs] == ["x"]
    assert [program.buffers[i].name for i in program.variables] == ["dense/kernel", "count"]
    assert [program.buffers[i].name for i in program.outputs] == ["y", "loss"]
    x, w = np.ones((3, 20), "float32"), np.ones((20, 8), "float32")
    results = []
    for executable in (compiled.executable, Executable(program)):
        results.append(executable.run([x], [w.copy(), np.zeros((), "int64")]))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_the_passes_did_can_be_looked_at():
    compiled = compile_graph(parse(STEP))
    assert all(isinstance(node.op, Fused) for node in compiled.graph.nodes)
    reasons = {remark.subject: remark.text for remark in compiled.remarks}
    assert "'reduce_sum'" in reasons["tanh (dense) -> reduce_sum (loss)"]
    assert compiled.memory.typical.ratio >= 1.0
    assert repr(compiled).startswith("Compiled(<Program 'step'")


def test_labels_name_the_layer_and_the_telling_ops():
    labels = [label_of(node) for node in compile_graph(parse(STEP)).graph.nodes]
    assert "dense: matmul+tanh+multiply+subtract" in labels
    assert "loss: reduce_sum" in labels


def test_a_graph_compiled_before_runs_no_pass(own_cache, monkeypatch):
    first = compile_graph(parse(STEP))
    with monkeypatch.context() as patch:
        patch.setattr("compiler.pipeline.run_pipeline", None)
        second = compile_graph(parse(STEP))
    assert second.program.to_bytes() == first.program.to_bytes()
    assert second.graph == first.graph, "what the passes did is recomputed when asked for"


def test_a_damaged_cache_entry_is_a_miss(own_cache):
    compile_graph(parse(STEP))
    for entry in own_cache.rglob("*"):
        if entry.is_file():
            entry.write_bytes(entry.read_bytes()[:-3] + b"???")
    x, w = np.ones((3, 20), "float32"), np.ones((20, 8), "float32")
    (y, _) = compile_graph(parse(STEP)).executable.run([x], [w, np.zeros((), "int64")])
    np.testing.assert_allclose(y, np.tanh(np.full((3, 8), 20.0)))


def test_a_warm_start_imports_neither_numba_nor_llvm(own_cache, tmp_path):
    script = textwrap.dedent(
        f"""
        import sys
        import numpy as np
        from compiler.driver import compile_graph
        from compiler.text import parse
        compiled = compile_graph(parse({STEP!r}))
        y, _ = compiled.executable.run(
            [np.ones((3, 20), "float32")], [np.ones((20, 8), "float32"), np.zeros((), "int64")]
        )
        print("numba" in sys.modules, "llvmlite.binding" in sys.modules, float(y[0, 0]))
        """
    )
    outputs = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(2)
    ]
    assert outputs == [["True", "True", "1.0"], ["False", "False", "1.0"]]


def test_the_cache_key_follows_the_graph_but_not_the_users_lines():
    graph = parse(STEP)
    key = program_key(graph, host_target())
    assert program_key(parse(STEP), host_target()) == key
    assert program_key(parse(STEP.replace("train.py:3", "train.py:99")), host_target()) == key
    assert program_key(parse(STEP.replace("0.125", "0.25")), host_target()) != key
    assert (
        program_key(parse(STEP.replace("f32[batch,20]", "f32[rows,20]").replace("batch", "rows")), host_target()) != key
    )


@pytest.mark.parametrize(
    ("changed", "is_kept"),
    [
        ("codegen/microkernel.py", False),
        ("ops/random.py", False),
        ("winograd.py", False),
        ("passes/fuse.py", True),
        ("inspect/report_page/charts.py", True),
    ],
)
def test_object_code_is_found_by_the_compiler_that_made_it_only(tmp_path, monkeypatch, changed, is_kept):
    # Native parts hold constants of ops and of Winograd's transforms, which the text of a kernel does not show.
    shutil.copytree(version.ROOT / "compiler", tmp_path / "compiler", ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "compiler" / changed
    assert path.exists()
    monkeypatch.setattr(version, "ROOT", tmp_path)
    keys = []
    for text in ("ROUNDS = 10", "ROUNDS = 7  # fewer"):
        path.write_text(text, encoding="utf-8")
        version.source_version.cache_clear()
        keys.append(kernel_key("def kernel(): pass", host_target()))
    version.source_version.cache_clear()
    assert (keys[0] == keys[1]) is is_kept


def test_kernels_with_one_source_are_compiled_once():
    # Layers of other sizes share the code: sizes of 16 and more are passed at run time.
    graph = parse(
        """graph g {
          input %x "x": f32[n,100]
          input %y "y": f32[n,200]
          %a: f32[n,100] = softmax(%x) {axis=1}
          %b: f32[n,200] = softmax(%y) {axis=1}
          return "a"=%a
          return "b"=%b
        }"""
    )
    program = compile_graph(graph).program
    assert len(program.instructions) == 2
    assert len(program.kernels) == 1


def test_a_graph_without_a_memory_plan_is_refused():
    with pytest.raises(ValueError, match="plan_memory"):
        assemble(parse(STEP), PassContext())


def test_a_graph_that_computes_nothing():
    graph = parse('graph g {\ninput %x "x": f32[n]\nreturn "y"=%x\nreturn "z"=%x\n}')
    x = np.arange(5, dtype="float32")
    y, z = compile_graph(graph).executable.run([x], [])
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(z, x)
    assert not np.shares_memory(y, x)
    assert not np.shares_memory(y, z)


def test_a_graph_without_inputs():
    graph = parse('graph g {\n%y: f32[3] = iota() {shape=(3,), axis=0, dtype="float32"}\nreturn "y"=%y\n}')
    (y,) = compile_graph(graph).executable.run([], [])
    np.testing.assert_array_equal(y, [0, 1, 2])


def test_a_graph_can_be_compiled_for_one_size(arrays_for):
    graph = parse(STEP)
    general, fixed = compile_graph(graph), compile_graph(graph, bindings={"batch": 8})
    assert general.program.symbols == ("batch",)
    assert fixed.program.symbols == ()
    assert program_key(graph, host_target()) != program_key(graph, host_target(), {"batch": 8})
    arrays = arrays_for(graph, batch=8)
    count = len(graph.inputs)
    states = [[array.copy() for array in arrays[count:]] for _ in range(2)]
    results = [c.executable.run(arrays[:count], state) for c, state in zip((general, fixed), states, strict=True)]
    for left, right in zip([*results[0], *states[0]], [*results[1], *states[1]], strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)
