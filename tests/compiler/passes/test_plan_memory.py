"""`plan_memory`: a place in the arena for every computed value; one plan for every batch size."""

from __future__ import annotations

import itertools
import textwrap

import pytest
from hypothesis import HealthCheck, given, settings
from random_graphs import graphs

from compiler.driver import compile_graph
from compiler.ir import Fusion, Graph, Value
from compiler.passes.context import PassContext
from compiler.passes.plan_memory import MemoryPlan, plan_memory
from compiler.pipeline import run_pipeline
from compiler.storage import in_place_pairs
from compiler.text import parse
from runtime.dimensions import align_up, evaluate, symbols_of

TRAINING = """
graph step {
  input %x "x": f32[batch,20]
  input %t "t": f32[batch,3]
  variable %w "w": f32[20,16]
  variable %b "b": f32[16]
  variable %v "v": f32[16,3]
  %a: f32[batch,16] = matmul(%x, %w)
  %bb: f32[batch,16] = broadcast(%b) {shape=(batch,16), axes=(1,)}
  %c: f32[batch,16] = add(%a, %bb)
  %d: f32[batch,16] = tanh(%c)
  %e: f32[batch,3] = matmul(%d, %v)
  %s: f32[batch,3] = log_softmax(%e) {axis=1}
  %p: f32[batch,3] = multiply(%s, %t)
  %l: f32[] = reduce_sum(%p) {axes=(0,1)}
  %gw: f32[20,16], %gb: f32[16], %gv: f32[16,3] = gradient(%l, %w, %b, %v)
  %nw: f32[20,16] = subtract(%w, %gw)
  %nb: f32[16] = subtract(%b, %gb)
  %nv: f32[16,3] = subtract(%v, %gv)
  return "loss"=%l
  update "w"=%nw
  update "b"=%nb
  update "v"=%nv
}
"""

# Designed to break writing in place: what is read later, or elsewhere, must survive.
HAZARDS = {
    "a value read again later": """
        graph g {
          input %x "x": f32[n,n]
          %a: f32[n,n] = matmul(%x, %x)
          %t: f32[n,n] = reverse(%a) {axes=(0,)}
          %p: f32[n,n] = matmul(%t, %a)
          %q: f32[n,n] = add(%p, %a)
          return "y"=%q
        }
        """,
    "an operand read through a transpose in the same kernel": """
        graph g {
          input %x "x": f32[n,n]
          %a: f32[n,n] = matmul(%x, %x)
          %t: f32[n,n] = transpose(%a) {permutation=(1,0)}
          %y: f32[n,n] = add(%a, %t)
          %z: f32[n,n] = matmul(%y, %x)
          return "z"=%z
        }
        """,
    "an operand that is a factor and stands in the tail": """
        graph g {
          input %x "x": f32[n,n]
          %a: f32[n,n] = matmul(%x, %x)
          %p: f32[n,n] = matmul(%x, %a)
          %y: f32[n,n] = add(%p, %a)
          %z: f32[n,n] = matmul(%y, %x)
          return "z"=%z
        }
        """,
    "an operand under two shapes": """
        graph g {
          input %x "x": f32[n,n]
          %a: f32[n,n] = matmul(%x, %x)
          %f: f32[n*n] = reshape(%a) {shape=(n*n,)}
          %r: f32[n*n] = reverse(%f) {axes=(0,)}
          %q: f32[n,n] = reshape(%r) {shape=(n,n)}
          %y: f32[n,n] = add(%a, %q)
          %z: f32[n,n] = matmul(%y, %x)
          return "z"=%z
        }
        """,
    "two results of one kernel": """
        graph g {
          input %x "x": f32[n,6]
          input %w "w": f32[6,6]
          %a: f32[n,6] = matmul(%x, %w)
          %e: f32[n,6] = exp(%a)
          %f: f32[n,6] = tanh(%a)
          %p: f32[n,6] = matmul(%e, %w)
          %q: f32[n,6] = matmul(%f, %w)
          %y: f32[n,6] = subtract(%p, %q)
          return "y"=%y
        }
        """,
    "softmax over its own logits, whose sum is wanted too": """
        graph g {
          input %x "x": f32[n,6]
          input %w "w": f32[6,6]
          %a: f32[n,6] = matmul(%x, %w)
          %s: f32[n,6] = softmax(%a) {axis=1}
          %m: f32[n] = log_sum_exp(%a) {axes=(1,)}
          %p: f32[n,6] = matmul(%s, %w)
          return "p"=%p
          return "m"=%m
        }
        """,
    "a result of another element size": """
        graph g {
          input %x "x": f32[n,6]
          input %w "w": f32[6,6]
          %a: f32[n,6] = matmul(%x, %w)
          %h: f16[n,6] = cast(%a) {dtype="float16"}
          %r: f16[n,6] = reverse(%h) {axes=(0,)}
          %d: f32[n,6] = cast(%r) {dtype="float32"}
          %p: f32[n,6] = matmul(%d, %w)
          return "p"=%p
        }
        """,
    "a row's result in place of a row's operand": """
        graph g {
          input %x "x": f32[n,6]
          input %w "w": f32[6,6]
          %a: f32[n,6] = matmul(%x, %w)
          %m: f32[n] = reduce_sum(%a) {axes=(1,)}
          %k: f32[n] = reverse(%m) {axes=(0,)}
          %b: f32[n,6] = matmul(%a, %w)
          %s: f32[n] = reduce_max(%b) {axes=(1,)}
          %u: f32[n] = add(%s, %k)
          %v: f32[n] = multiply(%u, %k)
          %vv: f32[n,6] = broadcast(%v) {shape=(n,6), axes=(0,)}
          %c: f32[n,6] = multiply(%b, %vv)
          %d: f32[n,6] = matmul(%c, %w)
          %e: f32[n] = reverse(%v) {axes=(0,)}
          return "d"=%d
          return "e"=%e
        }
        """,
    "a training step": TRAINING,
}


def planned(text: str) -> tuple[Graph, MemoryPlan]:
    context = PassContext()
    graph = run_pipeline(parse(textwrap.dedent(text)), context)
    assert context.memory is not None
    return graph, context.memory


def lifetimes(graph: Graph) -> dict[Value, tuple[int, int]]:
    """First and last node at which the memory of each kernel's result is needed; independent of the planner."""
    source = {}
    for node in graph.nodes:
        if node.op.fusion is Fusion.ALIAS:
            source[node.outputs[0]] = node.inputs[0]

    def memory(value: Value) -> Value:
        while value in source:
            value = source[value]
        return value

    found: dict[Value, tuple[int, int]] = {}
    for position, node in enumerate(graph.nodes):
        if node.op.fusion is Fusion.ALIAS:
            continue
        for value in node.inputs:
            if memory(value) in found:
                found[memory(value)] = (found[memory(value)][0], position)
        if node.op.fusion is Fusion.FUSED:
            found |= dict.fromkeys(node.outputs, (position, position))
    for value in graph.results:
        if memory(value) in found:
            found[memory(value)] = (found[memory(value)][0], len(graph.nodes))
    return found


def assert_sound(graph: Graph, plan: MemoryPlan) -> None:
    """No two values that are alive together share a byte, at any batch size tried."""
    alive = lifetimes(graph)
    slots = {slot.value: slot for slot in plan.slots}
    assert len(slots) == len(plan.slots)
    assert set(slots) | set(plan.direct) >= set(alive), "every computed value has a place"
    assert not set(slots) & set(plan.direct)
    names = set[str]().union(*(symbols_of(slot.size) for slot in plan.slots))
    for size in (1, 2, 7, 32, 33, 1000):
        at = dict.fromkeys(names, size)
        found = plan.at(at)
        places = {value: (found.offsets[s.block], evaluate(value.type.size_in_bytes, at)) for value, s in slots.items()}
        assert all(offset % 64 == 0 for offset, _ in places.values())
        assert all(offset + count <= found.size for offset, count in places.values())
        for one, other in itertools.combinations(slots, 2):
            (start, length), (begin, count) = places[one], places[other]
            if start + length <= begin or begin + count <= start:
                continue
            early, late = sorted((one, other), key=lambda value: alive[value][0])
            if alive[early][1] < alive[late][0]:
                continue
            # They meet in one node: it must be allowed to write over what it reads.
            node = graph.nodes[alive[late][0]]
            assert alive[early][1] == alive[late][0], f"{early} and {late} overlap at size {size}"
            pairs = {(node.inputs[i], node.outputs[j]) for i, j in in_place_pairs(node)}
            assert slots[late].reuses is early
            assert any(late is written for _, written in pairs)


@pytest.mark.parametrize("case", HAZARDS)
def test_no_two_live_values_share_memory(case):
    graph, plan = planned(HAZARDS[case])
    assert_sound(graph, plan)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(graph=graphs(gradients=True))
def test_no_two_live_values_of_a_random_graph_share_memory(graph):
    context = PassContext()
    optimized = run_pipeline(graph, context)
    assert context.memory is not None
    assert_sound(optimized, context.memory)


@pytest.mark.parametrize("case", HAZARDS)
def test_what_the_plan_shows_is_what_the_program_uses(case):
    compiled = compile_graph(parse(textwrap.dedent(HAZARDS[case])))
    program = compiled.program
    for size in (1, 6, 33, 500):
        at = dict.fromkeys(program.symbols, size)
        sizes = [program.buffer_bytes(index, at) for index in range(len(program.buffers))]
        assert program.placement(sizes) == compiled.memory.at(at)


@pytest.mark.parametrize("case", HAZARDS)
@pytest.mark.parametrize("size", [1, 6, 65])
def test_numbers_survive_reuse(case, size, check_compiled):
    check_compiled(HAZARDS[case], n=size, batch=size)


def test_the_arena_is_near_its_lower_bound():
    _, plan = planned(TRAINING)
    assert plan.typical == plan.at({"batch": 32})
    for size in (1, 5, 16, 32, 100, 1000):
        found = plan.at({"batch": size})
        sizes = [align_up(evaluate(slot.size, {"batch": size})) for slot in plan.slots if slot.reuses is None]
        assert 0 < found.bound <= found.size <= found.bound + 64 * len(sizes)
        assert found.ratio == found.size / found.bound


def test_small_sizes_are_not_padded_per_batch_element():
    _, plan = planned(
        """
        graph g {
          input %x "x": f32[n,m]
          %a: f32[n,m] = reverse(%x) {axes=(0,)}
          %b: f32[n,m] = reverse(%a) {axes=(1,)}
          return "y"=%b
        }
        """
    )
    assert plan.at({"n": 10, "m": 10}).size == 448  # 400 bytes, aligned to 64


def test_a_chain_of_kernels_runs_in_one_place():
    # Each matrix product's result takes the place of the one before the last.
    lines = [f"%{i + 1}: f32[n,64] = matmul(%{i}, %w)" for i in range(1, 9)]
    text = 'graph g {\ninput %1 "x": f32[n,64]\ninput %w "w": f32[64,64]\n' + "\n".join(lines) + '\nreturn "y"=%9\n}'
    _, plan = planned(text)
    assert plan.at({"n": 10}).size == 2 * 10 * 64 * 4


def test_what_no_symbol_changes_makes_room_for_what_grows_with_the_batch():
    # `%k` dies before `%b` is born: in a small batch the table is the larger of the two, in a large one the rows are.
    _, plan = planned(
        """
        graph g {
          input %x "x": f32[n,64]
          variable %w "w": f32[64,64]
          %k: f32[64,64] = matmul(%w, %w)
          %s: f32[64] = reduce_sum(%k) {axes=(0,)}
          %wk: f32[64,64] = matmul(%k, %w)
          %t: f32[64,64] = add(%w, %wk)
          %a: f32[n,64] = matmul(%x, %w)
          %b: f32[n,64] = reverse(%a) {axes=(0,)}
          %c: f32[n,64] = reverse(%b) {axes=(1,)}
          %ss: f32[n,64] = broadcast(%s) {shape=(n,64), axes=(1,)}
          %y: f32[n,64] = add(%c, %ss)
          return "y"=%y
          update "w"=%t
        }
        """
    )
    for size in (1, 16, 63, 64, 65, 1000):
        assert plan.at({"n": size}).ratio == 1.0


def test_results_are_written_where_they_belong():
    graph, plan = planned(TRAINING)
    assert sorted(plan.direct.values()) == ["output loss", "variable b", "variable v", "variable w"]
    assert not any(slot.value in plan.direct for slot in plan.slots)
    assert plan_memory(graph, PassContext()) is graph


def test_sizes_that_are_no_simple_multiple_have_a_place_too():
    graph, plan = planned(
        """
        graph g {
          input %x "x": f32[n,m]
          %a: f32[n,m] = exp(%x)
          %p: f32[n+3,m+1] = pad(%a) {low=(1,0), high=(2,1), value=0.5}
          %q: f32[(n+3)*(m+1)] = reshape(%p) {shape=((n+3)*(m+1),)}
          %r: f32[(n+3)*(m+1)] = reverse(%q) {axes=(0,)}
          %s: f32[(n+3)*(m+1)] = tanh(%r)
          %u: f32[(n+3)*(m+1)] = reverse(%s) {axes=(0,)}
          return "y"=%u
        }
        """
    )
    assert_sound(graph, plan)
