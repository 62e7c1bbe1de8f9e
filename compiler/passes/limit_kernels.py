"""Let kernels around a limited loop work on as many steps as the loop does.

    %z = fused(%x, %w) { matmul }                %z = fused_steps(%x, %w, %n) {steps="t"} { matmul }
    %y = scan(..., %z, ..., %n) {limited=True}   %y = scan(..., %z, ..., %n) {limited=True}

The projection of a recurrent layer's input is read by the loop alone, and only up to the limit: the rest need not be
computed. The gradient of its kernel is a sum over all steps, of which those beyond the limit are zeros: they need not
be added. With them, all that a recurrent layer does costs what its unmasked steps cost. Arrays have time as their
first axis, so the leading steps are the leading rows, and a kernel is limited by giving it smaller sizes. One that
reads the number of steps itself, such as for a mean, must know it and is not limited.
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler.ir import Builder, Fusion, Graph, Node, Value
from compiler.limits import is_limited_loop, reads_leading_steps
from compiler.lower import plan_of
from compiler.ops.contraction import Matmul
from compiler.ops.fused import FusedGroup, FusedSteps
from compiler.ops.packed_matmul import PackedMatmul
from compiler.ops.reduce import ReduceSum
from compiler.ops.scan import Scan
from compiler.ops.sources import Dimension
from compiler.passes.context import PassContext
from compiler.rewrite import finish, keep
from compiler.storage import root_of
from compiler.types import TensorType, symbols_of_type
from runtime.dimensions import symbol, symbols_of


def limit_kernels(graph: Graph, context: PassContext) -> Graph:
    """Limit what can be; see the module's text."""
    loops = [node for node in graph.nodes if _steps_of(node)]
    if context.target.kind != "cpu" or not loops:
        return graph
    limits = {(node.inputs[-1], _steps_of(node)) for node in loops}
    limited: dict[Node, tuple[Value, str]] = {}
    for limit, steps in sorted(limits, key=lambda pair: _position(graph, pair[0])):
        for node in _Limits(graph, limit, steps).nodes():
            limited.setdefault(node, (limit, steps))
    return _rebuilt(graph, limited) if limited else graph


def _steps_of(node: Node) -> str:
    """The symbol that is the number of steps of a limited loop; nothing for anything else."""
    if not isinstance(node.op, Scan) or not node.op.limited:
        return ""
    names = symbols_of(node.op.count)
    return next(iter(names)) if len(names) == 1 and str(node.op.count) in names else ""


def _position(graph: Graph, value: Value) -> int:
    return -1 if value.node is None else graph.nodes.index(value.node)


class _Limits:
    """Which kernels may be limited by one value."""

    def __init__(self, graph: Graph, limit: Value, steps: str) -> None:
        self.graph, self.limit, self.steps, self.count = graph, limit, steps, symbol(steps)
        self.results = {root_of(value) for value in graph.results}
        self.readers: dict[Value, list[Node]] = {}
        for node in graph.nodes:
            for value in node.inputs if node.op.fusion is not Fusion.ALIAS else ():
                self.readers.setdefault(root_of(value), []).append(node)
        self.before_limit = _ancestors(limit)
        self.found: dict[Node, None] = {}

    def nodes(self) -> list[Node]:
        """Sums over the steps of what is zero beyond the limit, and what only they and the loops read."""
        zeros = self._zeros()
        for node in self.graph.nodes:
            if self._may_be_limited(node) and self._is_sum(node, zeros):
                self.found[node] = None
        for node in reversed(self.graph.nodes):
            if self._may_be_limited(node) and node not in self.found and self._is_read_in_part(node):
                self.found[node] = None
        return list(self.found)

    def _may_be_limited(self, node: Node) -> bool:
        """Whether it is a kernel that comes after the limit and reads the number of all steps nowhere."""
        if not isinstance(node.op, FusedGroup) or node in self.before_limit:
            return False
        numbers = [inner.op.extent for inner in node.op.body.nodes if isinstance(inner.op, Dimension)]
        return not any(self.steps in symbols_of(number) for number in numbers)

    def _zeros(self) -> set[Value]:
        """Values that hold zeros for the steps beyond the limit."""
        found: set[Value] = set()
        for node in self.graph.nodes:
            if isinstance(node.op, Scan) and is_limited_loop(node, self.limit, self.count):
                found.update(node.outputs[node.op.states :])
            elif isinstance(node.op, FusedGroup) and self._leads(node):
                is_sum = all(isinstance(inner.op, ReduceSum) for inner in node.op.body.nodes)
                if is_sum and all(root_of(value) in found for value in node.inputs):
                    found.update(node.outputs)
        return found

    def _is_sum(self, node: Node, zeros: set[Value]) -> bool:
        """Whether a kernel adds up, over the steps, terms that are zero beyond the limit, and does nothing else."""
        assert isinstance(node.op, FusedGroup)
        body = node.op.body
        if any(self._has_steps(value.type) for value in body.results):
            return False
        outside = dict(zip((entry.value for entry in body.inputs), node.inputs, strict=True))

        def is_zero(value: Value) -> bool:
            return value in outside and root_of(outside[value]) in zeros

        summing = [n for n in body.nodes if any(self._has_steps(value.type) for value in n.inputs)]
        for inner in summing:
            is_product = isinstance(inner.op, Matmul) and inner.op.transpose_a and inner.outputs[0].type.rank == 2
            is_sum = isinstance(inner.op, ReduceSum) and 0 in inner.op.axes
            if not (is_product or is_sum) or not any(map(is_zero, inner.inputs)):
                return False
            if not all(value in outside and self._is_led(value.type) for value in inner.inputs):
                return False
        return bool(summing)

    def _is_read_in_part(self, node: Node) -> bool:
        """Whether nothing reads what a kernel gives for the steps beyond the limit."""
        roots = set(node.outputs)
        if not self.results.isdisjoint(roots) or not self._leads(node):
            return False
        readers = [reader for value in node.outputs for reader in self.readers.get(value, ())]
        return bool(readers) and all(
            reader in self.found or reads_leading_steps(reader, roots, self.limit, self.count) for reader in readers
        )

    def _leads(self, node: Node) -> bool:
        """Whether a kernel's leading rows depend on the leading rows of what it reads alone."""
        assert isinstance(node.op, FusedGroup)
        body = node.op.body
        values = [entry.value for entry in body.inputs] + [v for inner in body.nodes for v in inner.outputs]
        if any(self._has_steps(value.type) and not self._is_led(value.type) for value in values):
            return False
        if not all(self._is_led(value.type) for value in body.results):
            return False
        return all(self._keeps_rows(inner) for inner in body.nodes) and 0 not in plan_of(body).axes

    def _keeps_rows(self, node: Node) -> bool:
        match node.op.fusion:
            case Fusion.ELEMENTWISE | Fusion.BROADCAST | Fusion.SOURCE:
                return True
            case Fusion.REDUCTION:
                return isinstance(node.op, ReduceSum) and 0 not in node.op.axes
            case Fusion.CONTRACTION:
                is_product = (isinstance(node.op, Matmul) and not node.op.transpose_a) or isinstance(
                    node.op, PackedMatmul
                )
                return is_product and not self._has_steps(node.inputs[1].type)
        return False

    def _has_steps(self, type_: TensorType) -> bool:
        return self.steps in symbols_of_type(type_)

    def _is_led(self, type_: TensorType) -> bool:
        """Whether the steps are the first axis, or the slower part of it."""
        rest = TensorType(type_.shape[1:], type_.dtype)
        return self._has_steps(type_) and not self._has_steps(rest)


def _ancestors(value: Value) -> set[Node]:
    """The nodes that a value depends on."""
    found: set[Node] = set()
    pending = [value.node] if value.node is not None else []
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            pending.extend(v.node for v in node.inputs if v.node is not None)
    return found


def _rebuilt(graph: Graph, limited: dict[Node, tuple[Value, str]]) -> Graph:
    """The graph with limits read by the kernels they limit: what gives a limit comes first."""
    early: set[Node] = set()
    for limit, _ in limited.values():
        early |= _ancestors(limit)
    ordered = [node for node in graph.nodes if node in early] + [node for node in graph.nodes if node not in early]
    b = Builder(graph.name)
    b.inputs, b.variables = list(graph.inputs), list(graph.variables)
    new: dict[Value, Value] = {entry.value: entry.value for entry in graph.parameters}
    for node in ordered:
        inputs: tuple[Value, ...] = tuple(new[value] for value in node.inputs)
        results: Sequence[Value]
        with b.scope(layer=node.layer, source=node.source):
            if node in limited and isinstance(node.op, FusedGroup):
                limit, steps = limited[node]
                results = b.emit_all(FusedSteps(node.op.body, steps), *inputs, new[limit])
            else:
                results = keep(b, node, inputs)
        new.update(zip(node.outputs, results, strict=True))
    return finish(b, graph, new)
