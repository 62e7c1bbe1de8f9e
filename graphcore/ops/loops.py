"""Loops over steps: `scan`, `associative_scan`, `fori_loop`, `while_loop`. Each is one loop of the compiled program,
whatever the number of steps, and differentiable."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from compiler import functions
from compiler.ir import Builder, Value
from graphcore import tree
from graphcore.loop_tracing import LoopTrace, run_loop
from graphcore.ops.core import convert_to_tensor
from graphcore.ops.dispatch import Nested, operation
from graphcore.ops.elementwise import cast, where
from graphcore.ops.logic import logical_and
from graphcore.ops.shaping import concatenate, expand_dims, moveaxis, squeeze
from graphcore.tensor import KerasTensor
from graphcore.tracing import as_value, current_trace
from runtime.dimensions import Dim, SymbolicInt, dim_max


def _tensors(structure: Any) -> list[KerasTensor]:
    """The leaves of a structure as tensors of the current trace; None stands for no tensor."""
    trace = current_trace()
    assert trace is not None

    def tensor(leaf: Any) -> KerasTensor:
        if isinstance(leaf, KerasTensor):
            return leaf
        return trace.wrap(leaf if isinstance(leaf, Value) else as_value(trace, leaf))

    return [tensor(leaf) for leaf in tree.flatten(structure) if leaf is not None]


def _converted(structure: Any) -> list[Any]:
    return [convert_to_tensor(leaf) for leaf in tree.flatten(structure) if leaf is not None]


@operation
def scan(
    b: Builder,
    f: Callable[..., Any],
    init: Nested,
    xs: Nested = None,
    length: Any = None,
    reverse: bool = False,
    unroll: Any = 1,
) -> Any:
    """Run `carry, y = f(carry, x)` over the entries of axis 0.

    Args:
        f: called once, on tensors without numbers; it must give a carry of the shapes and types it takes.
        init: the first carry, any structure of tensors.
        xs: any structure of tensors with as many entries on axis 0.
        length: number of steps; needed without `xs`. It may be a symbolic size.
        reverse: from the last entry to the first; what is stacked has the order of `xs`.
        unroll: accepted; the steps are a loop all the same.

    Returns:
        The last carry, and the stacked `y`.

    Raises:
        ValueError: no number of steps, or several; a carry of another type.
    """
    sequences = _tensors(xs)
    counts = {tensor.dims[0] if tensor.dims else None for tensor in sequences} | ({length} - {None})
    if len(counts) != 1 or None in counts:
        raise ValueError(
            f"ops.scan: needs one number of steps: `length`, or the entries of `xs` on axis 0. Received: length="
            f"{length}, xs of shapes {[tensor.shape for tensor in sequences]}"
        )
    stacked: list[Any] = []

    def step(own: list[Any], entries: list[Any]) -> tuple[list[Any], list[Any]]:
        x = None if xs is None else tree.pack_sequence_as(xs, entries)
        carry, y = f(tree.pack_sequence_as(init, own), x)
        stacked.append(y)
        return _converted(carry), _converted(y)

    loop = run_loop(step, _tensors(init), sequences, count=counts.pop(), reverse=reverse)
    stacks = iter(loop.stacks)
    ys = tree.map_structure(lambda leaf: None if leaf is None else next(stacks), stacked[0])
    return tree.pack_sequence_as(init, loop.final), ys


@operation
def associative_scan(
    b: Builder, f: Callable[..., Any], elems: Nested, reverse: bool = False, axis: int = 0
) -> Any:
    """The results of joining the first, the first two, ... entries of `axis` with an associative function.

    Args:
        f: of two structures like `elems` with any number of entries on `axis`; called entry by entry.
        elems: any structure of tensors.
        reverse: whether to join from the last entry on.
        axis: over which.
    """
    leaves = [moveaxis(tensor, axis, 0) for tensor in _tensors(elems)]

    def moved_back(tensors: list[Any]) -> Any:
        return tree.pack_sequence_as(elems, [moveaxis(tensor, 0, axis) for tensor in tensors])

    def step(own: list[Any], entries: list[Any]) -> tuple[list[Any], list[Any]]:
        result = f(moved_back([expand_dims(x, 0) for x in own]), moved_back([expand_dims(x, 0) for x in entries]))
        new = [squeeze(moveaxis(x, axis, 0), 0) for x in _converted(result)]
        return new, new

    count = leaves[0].dims[0]
    begin, end = (0, count - 1) if reverse else (1, count)
    first = [leaf[-1 if reverse else 0] for leaf in leaves]
    rest = [_rows(b, leaf, begin, end) for leaf in leaves]
    loop = run_loop(step, first, rest, reverse=reverse)
    pairs = zip([expand_dims(x, 0) for x in first], loop.stacks, strict=True)
    return moved_back([concatenate(pair[::-1] if reverse else pair, axis=0) for pair in pairs])


def _rows(b: Builder, tensor: Any, begin: Any, end: Any) -> Any:
    trace = current_trace()
    assert trace is not None
    return trace.wrap(functions.slice_axis_exact(b, trace.unwrap(tensor), 0, begin, end))


@operation
def fori_loop(b: Builder, lower: Any, upper: Any, body_fun: Callable[..., Any], init_val: Nested) -> Any:
    """`value = body_fun(i, value)` for i from `lower` to below `upper`; returns the last value.

    Args:
        lower, upper: integers or symbolic sizes (`ops.shape(x)[0]`), not tensors: a program knows its number of steps
            when it is given its inputs' sizes.
        body_fun: of the number, an int32 scalar, and the value.
        init_val: the first value, any structure of tensors.

    Raises:
        TypeError: a bound that is a tensor.
    """
    for name, bound in (("lower", lower), ("upper", upper)):
        if not isinstance(bound, SymbolicInt) and not (hasattr(bound, "__index__") and not hasattr(bound, "dims")):
            raise TypeError(
                f"ops.fori_loop: `{name}` must be an integer or a symbolic size. Received: {bound!r}. Fix: use "
                "`ops.while_loop` with `maximum_iterations`."
            )

    def step(own: list[Any], _: list[Any]) -> tuple[list[Any], list[Any]]:
        value = body_fun(own[0], tree.pack_sequence_as(init_val, own[1:]))
        return [own[0] + 1, *_converted(value)], []

    number = functions.dimension(b, lower, "int32")
    loop = run_loop(step, _tensors([number, *tree.flatten(init_val)]), count=_at_least_none(upper - lower))
    return tree.pack_sequence_as(init_val, loop.final[1:])


@operation
def while_loop(
    b: Builder,
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Nested,
    maximum_iterations: Any = None,
) -> Any:
    """`loop_vars = body(*loop_vars)` as long as `cond(*loop_vars)`, at most `maximum_iterations` times.

    A compiled program has a known number of steps: all `maximum_iterations` (an integer or a symbolic size) are
    computed, and those after the condition has failed change nothing, neither the values nor a variable that `body` or
    `cond` assigns.

    Raises:
        ValueError: no `maximum_iterations`.
    """
    if maximum_iterations is None:
        raise ValueError(
            "ops.while_loop: needs `maximum_iterations`: a compiled program has a known number of steps. Fix: give a "
            "bound; steps after the condition has failed change nothing."
        )

    def arguments(own: list[Any]) -> tuple[Any, ...]:
        packed = tree.pack_sequence_as(loop_vars, own)
        return tuple(packed) if isinstance(loop_vars, (list, tuple)) else (packed,)

    def step(own: list[Any], _: list[Any]) -> tuple[list[Any], list[Any]]:
        trace = current_trace()
        assert isinstance(trace, LoopTrace)
        with trace.assigning_where(own[0]):
            running = logical_and(own[0], cast(convert_to_tensor(cond(*arguments(own[1:]))), "bool"))
        with trace.assigning_where(running):
            new = _converted(body(*arguments(own[1:])))
        return [running, *(where(running, after, before) for after, before in zip(new, own[1:], strict=True))], []

    first = _tensors([convert_to_tensor(True)])
    loop = run_loop(step, [*first, *_tensors(loop_vars)], count=_at_least_none(maximum_iterations))
    return tree.pack_sequence_as(loop_vars, loop.final[1:])


def _at_least_none(count: Any) -> Dim:
    """A number of steps; none where it is negative."""
    return dim_max(count if isinstance(count, SymbolicInt) else operator.index(count), 0)
