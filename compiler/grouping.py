"""Which primitives may share one kernel, and what kind of loop nest the kernel then has.

`classify` judges a candidate group as a whole. It is the one place that knows what `compiler.lower` can
express, so `fuse` never proposes what cannot be lowered. The kinds:

- *map*: every output has the iteration shape; elementwise, broadcasts of outside values, index maps. Sums of segments
  and rows put into tables may be among them (see `compiler.lower_rows`).
- *row*: reductions over the same trailing axes; everything per row or per element of the row.
- *column*: reductions over the same other axes; elements before them, per-result values after them. A reduction may
  need another's result, repeated along the rows: then there is one more pass. So may elements that are stored,
  where a kept axis lies before the reduced ones, so that each of its entries is work of its own.
- *whole*: one op that writes its own loops.
- *generated*: one op that has a generator of its own, alone.
- *contraction*: one matrix product or convolution with an elementwise tail. Reductions over the pixels of each image
  may follow: they read what the tail stores, image by image while it is in the cache.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterable
from math import prod

from compiler.ir import Fusion, Node, Value
from compiler.joins import joins_of
from compiler.ops.gather import Take
from compiler.ops.reduce import Reduction
from compiler.ops.shape import Broadcast
from compiler.ops.sources import Full
from compiler.ops.table_rows import PutRows, SegmentSum
from compiler.types import item_size
from runtime.dimensions import Dim

Shape = tuple[Dim, ...]

FEWEST_IMAGES = 8  # with fewer images than this the threads share the rows of each
LARGEST_IMAGE = 128 * 1024  # bytes that the tail stores and the reductions read back, beside as much of other operands
# Emitted anew inside every group that reads them, because computing them costs less than a load.
CLONED = (Fusion.BROADCAST, Fusion.SOURCE)
NEVER = (Fusion.ALIAS, Fusion.LOOP, Fusion.OPAQUE, Fusion.FUSED, Fusion.COMPOSITE)


@dataclasses.dataclass(frozen=True)
class Plan:
    """The loop nest of a group: `shape` is what it iterates over, `axes` are the reduced ones."""

    kind: str  # "map" | "row" | "column" | "contraction" | "whole" | "generated"
    shape: Shape
    axes: tuple[int, ...] = ()

    @functools.cached_property
    def kept(self) -> Shape:
        """Extents of the axes that stay."""
        return tuple(extent for i, extent in enumerate(self.shape) if i not in self.axes)


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """Why a group cannot be one kernel."""

    reason: str


def is_cloned(node: Node) -> bool:
    """Whether a node is repeated inside every kernel that reads it."""
    return node.op.fusion in CLONED


def reads_memory(node: Node) -> bool:
    """Whether a node's kernel reads its operands in memory, where nothing can be computed in passing."""
    return node.op.fusion in (Fusion.CONTRACTION, Fusion.GENERATED, Fusion.WHOLE)


def is_fusible(node: Node) -> bool:
    """Whether a node may be part of a fused group at all (constants and aliases are not kernels)."""
    return node.op.fusion not in NEVER


def classify(members: Collection[Node], outputs: Iterable[Value], *, by_image: bool = True) -> Plan | Refusal:
    """The loop nest that computes `members`, given which of their values are read outside.

    `members` excludes cloned producers (broadcasts and sources): they are pulled in when the body is built.
    `by_image`: whether the target can reduce the images of a contraction's result in its kernel.
    """
    outputs = tuple(outputs)
    for node in members:
        if not is_fusible(node):
            return Refusal(f"'{node.op.name}' is never part of a fused kernel")
    if any(node.op.fusion is Fusion.WHOLE for node in members):
        alone = len(members) == 1
        return Plan("whole", ()) if alone else Refusal("an op that writes its own loops shares them with none")
    if any(node.op.fusion is Fusion.GENERATED for node in members):
        if len(members) > 1:
            return Refusal("a generated kernel does what its generator does and nothing else")
        return Plan("generated", outputs[0].type.shape)
    contractions = [node for node in members if node.op.fusion is Fusion.CONTRACTION]
    if contractions:
        return _classify_contraction(contractions, members, outputs, by_image)
    reductions = [node for node in members if node.op.fusion is Fusion.REDUCTION]
    if reductions:
        return _classify_reduction(reductions, members, outputs)
    return _classify_map(members, outputs)


def _classify_contraction(
    contractions: list[Node], members: Collection[Node], outputs: tuple[Value, ...], by_image: bool
) -> Plan | Refusal:
    if len(contractions) > 1:
        return Refusal("a kernel holds one contraction")
    product = contractions[0].outputs[0]
    shape = product.type.shape
    inside = {value for node in members for value in node.outputs}
    if inside.intersection(contractions[0].inputs):
        return Refusal("factors of a contraction must be in memory")
    stored = tuple(value for value in outputs if value.type.shape == shape)
    reductions = [node for node in members if node.op.fusion is Fusion.REDUCTION]
    tail: Collection[Node] = members
    plan = Plan("contraction", shape)
    if reductions and by_image and contractions[0].op.by_image:
        results = [value for value in outputs if value.type.shape != shape]
        reduced = needed_for(results, members, stored)
        judgement = _classify_images(contractions[0], reductions, reduced, results)
        if isinstance(judgement, Refusal):
            return judgement
        plan = judgement
        tail = needed_for(stored, members)
    for node in tail:
        if node is not contractions[0] and (refusal := _refuse_in_tail(node, shape, inside)):
            return refusal
    return plan


def _refuse_in_tail(node: Node, shape: Shape, inside: set[Value]) -> Refusal | None:
    if node.op.fusion is not Fusion.ELEMENTWISE:
        return Refusal(f"the tail of a contraction is elementwise; '{node.op.name}' is not")
    if node.outputs[0].type.shape != shape:
        return Refusal(f"the tail of a contraction has its shape; '{node.op.name}' has {node.outputs[0].type}")
    for value in node.inputs:
        if value not in inside and not _reaches_tail(value, shape):
            return Refusal(f"'{node.op.name}' reads a value that varies over neither all axes nor only the last")
    return None


def _classify_images(
    contraction: Node, reductions: list[Node], reduced: list[Node], results: list[Value]
) -> Plan | Refusal:
    """The reductions behind a contraction: over all axes but those of the images and the channels."""
    shape = contraction.outputs[0].type.shape
    if contraction in reduced:
        return Refusal("a reduction behind a contraction reads what its kernel stores, and this is not stored")
    if isinstance(shape[0], int) and shape[0] < FEWEST_IMAGES:
        return Refusal("work items are images, too few for the threads with so few images")
    elements = prod(extent for extent in shape[1:] if isinstance(extent, int))
    if elements * item_size(contraction.outputs[0].type.dtype) > LARGEST_IMAGE:
        return Refusal("an image is too large to be read back from the second-level cache")
    if contraction.op.fields.get("groups", 1) != 1 and not all(isinstance(extent, int) for extent in shape[1:]):
        return Refusal("where groups are few channels, images of unknown size are no whole number of work items")
    if not set(reductions).issubset(reduced):
        return Refusal("the tail of a contraction is elementwise; a reduction is not")
    plan = _classify_reduction(reductions, reduced, tuple(results))
    if isinstance(plan, Refusal):
        return plan
    if plan.shape != shape or plan.axes != tuple(range(1, len(shape) - 1)):
        return Refusal("reductions behind a contraction run over the pixels of each image")
    return Plan("contraction", shape, plan.axes)


def needed_for(values: Iterable[Value], members: Collection[Node], given: Collection[Value] = ()) -> list[Node]:
    """The members that compute `values`, in their order, when those in `given` are known."""
    inside = set(members)
    found: set[Node] = set()
    pending = [value for value in values if value not in given]
    for value in pending:  # grows while it is walked
        if value.node is None or value.node not in inside or value.node in found:
            continue
        found.add(value.node)
        pending.extend(source for source in read_through_clones(value.node) if source not in given)
    return [node for node in members if node in found]


def _reaches_tail(value: Value, shape: Shape) -> bool:
    """Whether a value can be read by row and column: full shape, per column, or one for all."""
    node = value.node
    if node is not None and isinstance(node.op, Broadcast):
        inner = node.inputs[0]
        if any(extent != 1 for extent in inner.type.shape[:-1]):
            return False
        if not inner.type.shape or inner.type.shape[-1] == 1:
            return True
        return node.op.axes[-1] == len(shape) - 1
    return node is None or not is_cloned(node) or isinstance(node.op, Full)


def _classify_reduction(
    reductions: list[Node], members: Collection[Node], outputs: tuple[Value, ...]
) -> Plan | Refusal:
    first = reductions[0]
    shape, axes = first.inputs[0].type.shape, _axes(first)
    for node in reductions:
        if (node.inputs[0].type.shape, _axes(node)) != (shape, axes):
            return Refusal("reductions in one kernel run over the same axes of the same shape")
    rank = len(shape)
    is_row = axes == tuple(range(rank - len(axes), rank))
    if not is_row and rank - 1 in axes:
        return Refusal("reduced axes lie on both sides of a kept one: reduce in two steps")
    plan = Plan("row" if is_row else "column", shape, axes)
    inside = {value for node in members for value in node.outputs}
    late = _depends_on(members, {node.outputs[0] for node in reductions})
    for node in members:
        if node.op.fusion is Fusion.REDUCTION:
            if not _is_input_of_row(node.inputs[0], inside, plan):
                return Refusal("the reduced value repeats part of the kernel")
            continue
        if refusal := _refuse_beside_reduction(node, plan, inside):
            return refusal
    for value in outputs:
        if value.type.shape not in (plan.shape, plan.kept):
            return Refusal(f"an output of shape {value.type} fits neither the elements nor the results")
        if plan.kind == "column" and 0 in axes and value.type.shape == plan.shape and value in late:
            return Refusal("elements that need a column's result are work for all rows, its sum for few columns")
    return plan


def _axes(node: Node) -> tuple[int, ...]:
    if not isinstance(node.op, Reduction):
        raise TypeError(f"'{node.op.name}' has the fusion kind of a reduction but is not one.")
    return tuple(sorted(node.op.axes))


def _depends_on(members: Collection[Node], roots: set[Value]) -> set[Value]:
    """Values of the group that depend on `roots`, the roots included."""
    found = set(roots)
    for node in members:  # in execution order
        if found.intersection(read_through_clones(node)):
            found.update(node.outputs)
    return found


def _refuse_beside_reduction(node: Node, plan: Plan, inside: set[Value]) -> Refusal | None:
    shape = node.outputs[0].type.shape
    if node.op.fusion is Fusion.INDEXED:
        if inside.intersection(read_through_clones(node)):
            return Refusal(f"'{node.op.name}' reads other elements than its own, which are in the same kernel")
        return None if shape == plan.shape else Refusal(f"'{node.op.name}' has another shape than the elements")
    if node.op.fusion is not Fusion.ELEMENTWISE:
        return Refusal(f"'{node.op.name}' cannot share the loops of a reduction")
    if shape not in (plan.shape, plan.kept):
        return Refusal(f"'{node.op.name}' of shape {node.outputs[0].type} fits neither the elements nor the results")
    is_element = shape == plan.shape
    for value in node.inputs:
        if not is_element and value in inside and value.type.shape == plan.shape:
            return Refusal(f"'{node.op.name}' mixes elements and results of a reduction")
        if not _is_input_of_row(value, inside, plan):
            return Refusal(f"'{node.op.name}' repeats a value of the kernel in another way than along its rows")
    return None


def _is_input_of_row(value: Value, inside: set[Value], plan: Plan) -> bool:
    """Whether a value inside a reduction's kernel is available where it is read."""
    node = value.node
    if node is None or value in inside or not is_cloned(node):
        return True
    repeated = [source for source in read_through_clones(node) if source in inside]
    if not repeated:
        return True
    if not isinstance(node.op, Broadcast) or repeated[0] is not node.inputs[0]:
        return False
    kept_axes = tuple(axis for axis in range(len(plan.shape)) if axis not in plan.axes)
    return repeated[0].type.shape == plan.kept and node.op.shape == plan.shape and node.op.axes == kept_axes


def read_through_clones(node: Node) -> list[Value]:
    """What a node reads, and what the broadcasts and sources among that read in turn."""
    found = list(node.inputs)
    for value in found:  # grows while it is walked
        if value.node is not None and is_cloned(value.node):
            found.extend(value.node.inputs)
    return found


def _classify_map(members: Collection[Node], outputs: tuple[Value, ...]) -> Plan | Refusal:
    if joins := joins_of(members, outputs):
        members = [node for node in members if node not in joins]
        parts = tuple(value for node in joins for value in node.inputs)
        outputs = (*parts, *(value for value in outputs if value.node not in joins))
    puts = [node for node in members if isinstance(node.op, PutRows)]
    segments = {(node.op.axis, *node.inputs[1:]) for node in members if isinstance(node.op, SegmentSum)}
    if len(segments) > 1:
        return Refusal("a kernel sums over the parts of one axis")
    if joins and (puts or segments):
        return Refusal("rows of tables are not stored part by part")
    if puts:
        if refusal := _refuse_beside_rows(puts, members):
            return refusal
        new = tuple(node.inputs[1] for node in puts)
        members = [node for node in members if node not in puts]
        outputs = (*new, *(value for value in outputs if value.node not in puts))
    shapes = {value.type.shape for value in outputs}
    if len(shapes) != 1:
        return Refusal("outputs of one elementwise kernel have one shape")
    (shape,) = shapes
    inside = {value for node in members for value in node.outputs}
    for node in members:
        if node.outputs[0].type.shape != shape:
            return Refusal(f"'{node.op.name}' of shape {node.outputs[0].type} differs from the kernel's shape")
        own = inside.intersection(read_through_clones(node))
        if node.op.fusion in (Fusion.INDEXED, Fusion.WINDOW) and own:
            return Refusal(f"'{node.op.name}' reads other elements than its own, which are in the same kernel")
        if own - set(node.inputs):
            return Refusal(f"'{node.op.name}' repeats a value that is in the same kernel")
    return Plan("map", shape)


def _refuse_beside_rows(puts: list[Node], members: Collection[Node]) -> Refusal | None:
    """Rows are put into tables in place: only the same rows of such a table may be read beside that."""
    rows = puts[0].inputs[2]
    tables = {node.inputs[0] for node in puts}
    inside = {value for node in members for value in node.outputs}
    if any(node.inputs[2] is not rows for node in puts) or rows in inside or not inside.isdisjoint(tables):
        return Refusal("rows are put into tables in memory, the same rows of each")
    if len(tables) != len(puts):
        return Refusal("rows are put into a table once")
    if any(isinstance(node.op, SegmentSum) and node.op.axis != 0 for node in members):
        return Refusal("rows are entries of axis 0")
    put = {node.outputs[0] for node in puts}
    for node in members:
        if not put.isdisjoint(read_through_clones(node)):
            return Refusal(f"'{node.op.name}' reads a table of which the same kernel changes rows")
        reads = tables.intersection(read_through_clones(node))
        takes_rows = isinstance(node.op, Take) and node.op.axis == 0 and node.inputs[1] is rows
        if reads and node not in puts and not takes_rows:
            return Refusal(f"'{node.op.name}' reads other rows of a table than the kernel changes")
    return None
