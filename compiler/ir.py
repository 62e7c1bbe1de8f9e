"""The static dataflow IR: immutable, typed at birth, one assignment a value.

A `Graph` is a pure function. State (weights, moving statistics, optimizer slots, metric totals, the
random counter) enters as *variables* and leaves as named *updates*. Every node carries the layer it came
from and the user's source line. Nothing here is edited in place: a pass builds a new graph.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import enum
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform

import numpy as np

from compiler.types import TensorType
from runtime.dimensions import Dim
from runtime.records import record

if TYPE_CHECKING:
    from compiler.contractions import Contraction
    from compiler.loops import Element, Expr, LoopKernel, Lowering

Array = np.ndarray[Any, np.dtype[Any]]


class Fusion(enum.Enum):
    """How an op may share a loop nest with its neighbours."""

    ELEMENTWISE = "elementwise"  # out[i] from in[i]
    SOURCE = "source"  # out[i] from i alone: constants, iota, dimensions
    BROADCAST = "broadcast"  # out[i] from in[some of i]
    INDEXED = "indexed"  # out[i] from in[f(i)]: transpose, slice, pad, concatenate, gather
    WINDOW = "window"  # a small reduction around each element: pooling
    REDUCTION = "reduction"  # whole axes disappear
    CONTRACTION = "contraction"  # matrix products and convolutions
    GENERATED = "generated"  # a kernel of its own, with its own generator: nothing shares it
    ALIAS = "alias"  # the same memory under another shape
    COMPOSITE = "composite"  # decomposes into primitives before fusion
    FUSED = "fused"  # a group already fused
    LOOP = "loop"  # a loop over kernels
    WHOLE = "whole"  # a kernel by itself, whose loops the op writes
    OPAQUE = "opaque"  # nothing may share its loops


OpClass = TypeVar("OpClass", bound=type)


@dataclass_transform(frozen_default=True, eq_default=False)
def with_attributes(cls: OpClass) -> OpClass:
    """Make the annotations of an op class its attributes. `Op` has all that a frozen dataclass generates."""
    dataclasses.dataclass(init=False, eq=False, repr=False)(cls)
    return cls


@with_attributes
class Op(abc.ABC):
    """What a node computes. Final subclasses are dataclasses whose fields are the attributes; they cannot be set.

    Subclass one of the families in `compiler.ops.families` and register with `compiler.ops.registry.op`. What a frozen
    dataclass would generate for each class is here once: a hundred generated constructors are a tenth of the import.
    """

    name: ClassVar[str]
    fusion: ClassVar[Fusion]
    by_image: ClassVar[bool] = False  # a contraction whose kernel completes one entry of axis 0 after another
    attribute_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *values: Any, **named: Any) -> None:
        """The attributes, by position or name; `TypeError` for one that is missing, unknown or given twice."""
        given = dict(zip(self.attribute_names, values, strict=False))
        wrong = [name for name in named if name in given or name not in self.attribute_names]
        if wrong or len(values) > len(self.attribute_names):
            takes = f"{type(self).__name__} takes ({', '.join(self.attribute_names)})"
            raise TypeError(f"{takes}; received {values} and {', '.join(named) or 'no names'}")
        given |= named
        for name in self.attribute_names:
            value = given[name] if name in given else type(self).__dataclass_fields__[name].default
            if value is dataclasses.MISSING:
                raise TypeError(f"{type(self).__name__} needs the attribute '{name}'")
            object.__setattr__(self, name, value)
        self.__post_init__()

    def __post_init__(self) -> None:  # noqa: B027  (most ops have nothing to check)
        """Check the attributes."""

    def __setattr__(self, name: str, value: object) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot assign to attribute '{name}' of an op; use dataclasses.replace")

    def __delattr__(self, name: str) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot delete attribute '{name}' of an op")

    @abc.abstractmethod
    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """Types of the results; raises ValueError or TypeError saying what was expected and received."""

    @abc.abstractmethod
    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The results in plain NumPy, independent of any lowering; works in any float precision."""

    @abc.abstractmethod
    def gradient(
        self, b: Builder, cotangents: Sequence[Value | None], inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Sequence[Value | None]:
        """Cotangents of the inputs (None where no gradient flows)."""

    @abc.abstractmethod
    def lower(
        self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]
    ) -> Expr:
        """The scalar at `index` of the (only) result.

        `inputs[i](index)` is the scalar of input i; `types` are the types of the inputs then of the result.
        """

    @classmethod
    @abc.abstractmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Attribute and input combinations that the tests run through every rule."""

    def multiply_adds(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        """Multiply-adds of a contraction by its definition, products with padding included; 0 for any other op."""
        if self.fusion is Fusion.CONTRACTION:
            raise NotImplementedError(f"op '{self.name}' is a contraction: it must count its multiply-adds.")
        return 0

    def contraction(self, types: Sequence[TensorType]) -> Contraction | None:
        """How a float32 or float64 contraction of these types, inputs then result, is described to its generator.

        None where there is no generator of it: then the loops of `lower` are its kernel.
        """
        return None

    def can_run_over_steps(self, inputs: Sequence[Value]) -> bool:
        """Whether the sum of this op's results over many steps is one op over the inputs of all: `over_steps`."""
        return False

    def over_steps(self, b: Builder, stacks: Sequence[Value]) -> Value:
        """The sum of this op's results over the entries of axis 0 of all `stacks`."""
        raise NotImplementedError(f"op '{self.name}' cannot be summed over steps.")

    def loop_kernel(self, types: Sequence[TensorType]) -> LoopKernel:
        """The kernel of an op that writes its own loops (`Fusion.WHOLE`); operands are the inputs, then the results."""
        raise NotImplementedError(f"op '{self.name}' has no kernel of its own.")

    @property
    def fields(self) -> dict[str, Any]:
        """The attributes by name, in order."""
        return {name: getattr(self, name) for name in self.attribute_names}

    def _bits(self) -> tuple[Any, ...]:
        """Equal for equal bits: `==` on floats takes -0.0 for 0.0 and no NaN for another."""
        values = self.fields.values()
        return (type(self), *(value.hex() if isinstance(value, float) else value for value in values))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Op) and self._bits() == other._bits()

    def __hash__(self) -> int:
        return hash(self._bits())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.fields.items())})"

    def __str__(self) -> str:
        return self.name


@record(eq=False)
class Value:
    """One result of a node, or an input of the graph (then `node` is None). Identity is equality."""

    type: TensorType
    node: Node | None = None
    index: int = 0

    @property
    def op(self) -> Op | None:
        """The op that makes this value; None for inputs and variables."""
        return None if self.node is None else self.node.op

    @property
    def producer(self) -> Node:
        """The node that makes this value; only for values that are not graph inputs."""
        if self.node is None:
            raise ValueError("A graph input has no producer.")
        return self.node

    def __repr__(self) -> str:
        return f"Value({self.type}, {self.op or 'input'})"


@dataclasses.dataclass(eq=False, slots=True)
class Node:
    """An op applied to values. `outputs` is filled in once, by the constructor."""

    op: Op
    inputs: tuple[Value, ...]
    layer: str = ""
    source: str = ""
    outputs: tuple[Value, ...] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        types = self.op.infer(*(value.type for value in self.inputs))
        self.outputs = tuple(Value(type_, self, i) for i, type_ in enumerate(types))

    def __repr__(self) -> str:
        return f"Node({self.op})"


@record(eq=False)
class Input:
    """A named input or variable of a graph."""

    name: str
    value: Value


@record(eq=False)
class Graph:
    """A pure function from inputs and variables to outputs and variable updates."""

    name: str
    inputs: tuple[Input, ...]
    variables: tuple[Input, ...]
    nodes: tuple[Node, ...]  # in execution order
    outputs: tuple[tuple[str, Value], ...]
    updates: tuple[tuple[str, Value], ...] = ()

    @property
    def parameters(self) -> tuple[Input, ...]:
        """Inputs, then variables."""
        return self.inputs + self.variables

    @property
    def results(self) -> tuple[Value, ...]:
        """Values of the outputs, then of the updates."""
        return tuple(value for _, value in self.outputs + self.updates)

    @property
    def multiply_adds(self) -> Dim:
        """Those of all nodes by definition, of loops at every step; see `Op.multiply_adds`."""
        total: Dim = 0
        for node in self.nodes:
            types = ([value.type for value in values] for values in (node.inputs, node.outputs))
            total = total + node.op.multiply_adds(*types)
        return total

    def users(self) -> dict[Value, list[Node]]:
        """For each value the nodes that read it, in order (a node once per use)."""
        table: dict[Value, list[Node]] = {entry.value: [] for entry in self.parameters}
        for node in self.nodes:
            for value in node.inputs:
                table[value].append(node)
            for value in node.outputs:
                table[value] = []
        return table

    def canonical(self) -> tuple[object, ...]:
        """A nested tuple equal for graphs that differ at most in object identity."""
        number = {entry.value: i for i, entry in enumerate(self.parameters)}
        rows = []
        for node in self.nodes:
            rows.append((node.op, tuple(number[v] for v in node.inputs), node.layer, node.source))
            for value in node.outputs:
                number[value] = len(number)
        return (
            self.name,
            tuple((entry.name, entry.value.type) for entry in self.inputs),
            tuple((entry.name, entry.value.type) for entry in self.variables),
            tuple(rows),
            tuple((name, number[v]) for name, v in self.outputs),
            tuple((name, number[v]) for name, v in self.updates),
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and self.canonical() == other.canonical()

    def __hash__(self) -> int:
        return hash((self.name, len(self.nodes), tuple(name for name, _ in self.outputs)))

    def __repr__(self) -> str:
        counts = f"{len(self.inputs)} inputs, {len(self.variables)} variables, {len(self.nodes)} nodes"
        return f"Graph({self.name}: {counts})"


class Builder:
    """Appends nodes; the only place where types are inferred, so that no node is ever untyped."""

    def __init__(self, name: str = "graph") -> None:
        self.name = name
        self.inputs: list[Input] = []
        self.variables: list[Input] = []
        self.nodes: list[Node] = []
        self.outputs: list[tuple[str, Value]] = []
        self.updates: dict[str, Value] = {}
        self.layer = ""
        self.source = ""

    def input(self, name: str, type_: TensorType) -> Value:
        """Declare an input."""
        return self._declare(self.inputs, name, type_)

    def variable(self, name: str, type_: TensorType) -> Value:
        """Declare a variable: state that the caller keeps and that `update` may replace."""
        return self._declare(self.variables, name, type_)

    def _declare(self, table: list[Input], name: str, type_: TensorType) -> Value:
        if any(entry.name == name for entry in self.inputs + self.variables):
            raise ValueError(f"Graph '{self.name}' already has an input or variable named '{name}'.")
        entry = Input(name, Value(type_))
        table.append(entry)
        return entry.value

    def emit(self, op: Op, *inputs: Value) -> Value:
        """Append a node with one result and return it."""
        outputs = self.emit_all(op, *inputs)
        if len(outputs) != 1:
            raise TypeError(f"op '{op.name}' has {len(outputs)} results; use emit_all.")
        return outputs[0]

    def emit_all(self, op: Op, *inputs: Value) -> tuple[Value, ...]:
        """Append a node and return all its results."""
        try:
            node = Node(op, inputs, self.layer, self.source)
        except (TypeError, ValueError) as error:
            if self.layer and not getattr(error, "__notes__", None):
                error.add_note(f"in layer '{self.layer}'" + (f", {self.source}" if self.source else ""))
            raise
        self.nodes.append(node)
        return node.outputs

    @contextlib.contextmanager
    def scope(self, layer: str | None = None, source: str | None = None) -> Iterator[None]:
        """Nodes emitted inside carry this layer name and source line."""
        before = (self.layer, self.source)
        self.layer = before[0] if layer is None else layer
        self.source = before[1] if source is None else source
        try:
            yield
        finally:
            self.layer, self.source = before

    def output(self, name: str, value: Value) -> None:
        """Name a result of the graph."""
        self.outputs.append((name, value))

    def update(self, variable: str, value: Value) -> None:
        """The variable's value after the graph has run; a later call replaces an earlier one."""
        declared = {entry.name: entry.value.type for entry in self.variables}
        if variable not in declared:
            raise ValueError(f"Cannot update '{variable}': graph '{self.name}' has no such variable.")
        if declared[variable] != value.type:
            raise TypeError(
                f"Update of variable '{variable}' must have its type {declared[variable]}. Received: {value.type}"
            )
        self.updates[variable] = value

    def build(self) -> Graph:
        """The finished graph."""
        return Graph(
            self.name,
            tuple(self.inputs),
            tuple(self.variables),
            tuple(self.nodes),
            tuple(self.outputs),
            tuple(self.updates.items()),
        )
