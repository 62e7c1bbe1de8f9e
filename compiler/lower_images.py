"""What follows a contraction image by image: reductions over the pixels of its result.

    %y = convolution(%x, %w)                            # stored by the tail
    %s = reduce_sum(%y) {axes=(1, 2)}                   # of each image, once it is complete

The kernel's work items are images. After the tail has stored an image, the passes of a column reduction
(`compiler.lower_column`) read it back, with whatever else they need, while it is in the second-level cache: batch
statistics, the sums of their gradients and those of biases cost no pass over memory of their own.
"""

from __future__ import annotations

from compiler.collapse import collapse
from compiler.grouping import Plan, classify, is_cloned, needed_for
from compiler.ir import Builder, Graph, Node, Value
from compiler.loops import BEGIN, END, FIRST_IMAGE, INDEX, NEXT_IMAGE, Let, LoopKernel, literal
from compiler.lower_column import lower_items
from compiler.lowering import KernelLowering


def reduced_later(body: Graph, plan: Plan) -> list[Node]:
    """The nodes of a contraction's body that run once an image is stored; broadcasts not among them."""
    if plan.kind != "contraction" or not plan.axes:
        return []
    stored = [value for _, value in body.outputs if value.type.shape == plan.shape]
    results = [value for _, value in body.outputs if value.type.shape != plan.shape]
    return needed_for(results, [node for node in body.nodes if not is_cloned(node)], stored)


def lower_images(body: Graph, plan: Plan, tail: KernelLowering) -> KernelLowering:
    """The passes over images FIRST_IMAGE to NEXT_IMAGE, lowered beside the `tail` of the same kernel."""
    reduced, numbers = _reduced_body(body, plan)
    reduced = collapse(reduced, Plan("column", plan.shape, plan.axes))
    members = [node for node in reduced.nodes if not is_cloned(node)]
    merged = classify(members, [value for _, value in reduced.outputs])
    assert isinstance(merged, Plan)  # the whole body was classified, and merging axes changes no kind
    k = KernelLowering(reduced, numbers)
    k.names = tail.names
    lower_items(k, merged, FIRST_IMAGE, NEXT_IMAGE)
    return k


def _reduced_body(body: Graph, plan: Plan) -> tuple[Graph, list[int]]:
    """What runs once an image is stored as a body of its own, and the numbers of its operands in the kernel."""
    number = {entry.value: i for i, entry in enumerate(body.inputs)}
    results = {value: len(body.inputs) + i for i, (_, value) in enumerate(body.outputs)}
    number |= {value: i for value, i in results.items() if value.type.shape == plan.shape}
    b = Builder(body.name)
    new: dict[Value, Value] = {}
    numbers: list[int] = []

    def read(value: Value) -> Value:
        if value not in new:
            if value in number:
                new[value] = b.input(f"x{len(numbers)}", value.type)
                numbers.append(number[value])
            else:
                new[value] = b.emit(value.producer.op, *(read(source) for source in value.producer.inputs))
        return new[value]

    for node in reduced_later(body, plan):
        new.update(zip(node.outputs, b.emit_all(node.op, *(read(value) for value in node.inputs)), strict=True))
    for value, i in results.items():
        if value not in number:
            b.output(f"y{i}", new[value])
            numbers.append(i)
    return b.build(), numbers


def lower_images_to_loops(body: Graph, plan: Plan) -> LoopKernel:
    """The kernel of a contraction that no generator takes: its own loops, then the passes, for each image."""
    k = KernelLowering(body)
    image, outer = k.open_loop("item", BEGIN, END)
    loops = [k.open_loop("i", literal(0, INDEX), k.extent(extent)) for extent in plan.shape[1:]]
    stored = [entry for entry in enumerate(v for _, v in body.outputs) if entry[1].type.shape == plan.shape]
    k.store(stored, (image, *(i for i, _ in loops)))
    for _, loop in reversed(loops):
        k.close_loop(loop)
    passes = lower_images(body, plan, k)
    k.scopes[-1].statements += [Let(FIRST_IMAGE, image), Let(NEXT_IMAGE, image + 1), *passes.scopes[0].statements]
    k.close_loop(outer)
    k.scratch_rows = passes.scratch_rows
    return k.loop_kernel(plan.shape[0])
