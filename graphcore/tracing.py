"""A `Trace` is one IR graph under construction: layers, losses and optimizers write into the current one."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

import compiler
import runtime
from compiler import functions
from compiler.ir import Builder, Graph, Value
from compiler.types import TensorType, is_float
from graphcore.dtype_policies import standardize_dtype
from graphcore.tensor import MIXED, KerasTensor, dims_of_shape
from runtime.dimensions import Dim

if TYPE_CHECKING:
    from graphcore.variable import Variable

PACKAGE = os.path.dirname(__file__) + os.sep
_COMMAND_LINE = PACKAGE + "cli.py"
_PACKAGES = (PACKAGE, *(package.__path__[0] + os.sep for package in (compiler, runtime)))
_STANDARD_LIBRARY = os.path.dirname(os.__file__) + os.sep
# Where Python's packages are installed, inside of its library.
_INSTALLED = (_STANDARD_LIBRARY + "site-packages", _STANDARD_LIBRARY + "dist-packages")
_NUMBERS = itertools.count(1)


class _Stack(threading.local):
    def __init__(self) -> None:
        self.traces: list[Trace | None] = []


_STACK = _Stack()


def current_trace() -> Trace | None:
    """The trace that operations on this thread write into; None outside of one."""
    return _STACK.traces[-1] if _STACK.traces else None


@contextlib.contextmanager
def untraced() -> Iterator[None]:
    """Inside, operations run at once even though a trace is open: building layers, drawing initial weights."""
    _STACK.traces.append(None)
    try:
        yield
    finally:
        _STACK.traces.pop()


class Trace:
    """One graph under construction.

    Use as a context manager; then operations of `graphcore.ops` on tensors of this trace append IR nodes.

    Args:
        name: the graph's name.
        training: what layers called without a `training` argument are told; None leaves them their default.

    Attributes:
        builder: the compiler's builder; emit through it what has no function in `graphcore.ops`.
        losses: (layer, tensor) of every `add_loss` and activity regularizer so far.
        path: names of the layers being called, outermost first.
        depth: how many layers are being called.
    """

    def __init__(self, name: str = "graph", *, training: bool | None = None) -> None:
        self.builder = Builder(name)
        self.training = training
        self.losses: list[tuple[Any, KerasTensor]] = []
        self.path: list[str] = []
        self.depth = 0
        self.number = next(_NUMBERS)
        self.autocast_dtype: str | None = None
        # Off while a built-in layer runs: its nodes carry the line that called the layer.
        self.follows_source = True
        self._variables: dict[int, Variable] = {}  # by id, in the order of declaration
        self._names: dict[int, str] = {}
        self._taken: set[str] = set()
        self._initial: dict[int, Value] = {}
        self._current: dict[int, Value] = {}

    def __enter__(self) -> Trace:
        _STACK.traces.append(self)
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        _STACK.traces.pop()

    # -- inputs and results ------------------------------------------------------------------------------

    def input(self, name: str, shape: Sequence[Dim | None], dtype: Any = "float32") -> KerasTensor:
        """Declare an input; None becomes the symbol `batch` on axis 0 and `d<axis>` elsewhere."""
        self._taken.add(name)
        type_ = TensorType(dims_of_shape(shape), standardize_dtype(dtype))
        return self.wrap(self.builder.input(name, type_))

    def wrap(self, value: Value) -> KerasTensor:
        """The tensor that stands for a value of this graph."""
        return KerasTensor.traced(value, self.number)

    def unwrap(self, tensor: KerasTensor) -> Value:
        """The value a tensor stands for.

        Raises:
            ValueError: if the tensor belongs to another trace or to a Functional model under construction.
        """
        if tensor.value is None:
            raise ValueError(MIXED.format(tensor))
        if tensor.trace_number != self.number:
            raise ValueError(
                f"{tensor!r} was made while another program was traced. A tensor lives only as long as the call "
                "that makes it: return it from `call`, or keep state in a variable (`add_weight`)."
            )
        return tensor.value

    def finish(self, outputs: dict[str, KerasTensor]) -> tuple[Graph, list[Variable]]:
        """Name the results and build the graph.

        Returns:
            The graph, and the variables in the order of `graph.variables`; those the program assigns are the
            ones whose names are in `dict(graph.updates)`.
        """
        for name, tensor in outputs.items():
            self.builder.output(name, self.unwrap(tensor))
        for key, value in self._current.items():
            if value is not self._initial[key]:
                self.builder.update(self._names[key], value)
        return self.builder.build(), list(self._variables.values())

    # -- variables ---------------------------------------------------------------------------------------

    def name_of(self, variable: Variable) -> str:
        """The variable's name in the graph; the variable is declared if it was not."""
        self._declare(variable)
        return self._names[id(variable)]

    def initial(self, variable: Variable) -> KerasTensor:
        """The variable's value when the program starts: what gradients are taken with respect to."""
        return self.wrap(self._declare(variable))

    def read(self, variable: Variable) -> KerasTensor:
        """The variable's value at this point of the program: the last one assigned."""
        self._declare(variable)
        value = self._current[id(variable)]
        cast = self.autocast_dtype
        if cast is not None and variable.autocast and is_float(value.type.dtype) and value.type.dtype != cast:
            value = functions.cast(self.builder, value, cast)
        return self.wrap(value)

    def assign(self, variable: Variable, value: Value) -> None:
        """Give the variable a new value from here on; the program leaves it with the last one.

        Raises:
            ValueError: if the shape differs from the variable's.
        """
        declared = self._declare(variable).type
        if value.type.shape != declared.shape:
            raise ValueError(
                f"Variable '{variable.path}' has shape {variable.shape}. Received in `assign`: a value of shape "
                f"{value.type.shape}"
            )
        if value.type.dtype != declared.dtype:
            value = functions.cast(self.builder, value, declared.dtype)
        self._current[id(variable)] = value

    def is_assigned(self, variable: Variable) -> bool:
        """Whether this program gives the variable a new value."""
        key = id(variable)
        return key in self._current and self._current[key] is not self._initial[key]

    def _declare(self, variable: Variable) -> Value:
        key = id(variable)
        if key in self._initial:
            return self._initial[key]
        name = variable.path
        number = 0
        while name in self._taken:
            number += 1
            name = f"{variable.path}_{number}"
        self._taken.add(name)
        value = self.builder.variable(name, TensorType(variable.shape, variable.dtype))
        self._variables[key] = variable
        self._names[key] = name
        self._initial[key] = self._current[key] = value
        return value

    # -- losses and origin -------------------------------------------------------------------------------

    def add_loss(self, owner: Any, loss: KerasTensor) -> None:
        """Record a scalar that training adds to the loss."""
        self.losses.append((owner, loss))

    def locate(self) -> None:
        """Give the nodes that follow the user's source line, unless a built-in layer is being called."""
        if self.follows_source:
            self.builder.source = user_source()

    @contextlib.contextmanager
    def layer(self, name: str | None, source: str | None) -> Iterator[None]:
        """Nodes inside belong to this layer; `source` fixes their line, None lets it follow the code."""
        builder = self.builder
        before = (builder.layer, builder.source, self.follows_source)
        if name is not None:
            self.path.append(name)
        self.depth += 1
        builder.layer = "/".join(self.path)
        self.follows_source = source is None
        builder.source = before[1] if source is None else source
        try:
            yield
        finally:
            self.depth -= 1
            if name is not None:
                self.path.pop()
            builder.layer, builder.source, self.follows_source = before


def user_source() -> str:
    """`file.py:line` of the first frame outside graphcore and Python's library; empty if there is none, or if a command
    asked."""
    frame = sys._getframe(1)
    while frame is not None and not _is_users(frame.f_code.co_filename):
        if frame.f_code.co_filename == _COMMAND_LINE:
            return ""
        frame = frame.f_back  # type: ignore[assignment]
    return "" if frame is None else f"{_short_path(frame.f_code.co_filename)}:{frame.f_lineno}"


@functools.lru_cache(maxsize=4096)
def _is_users(path: str) -> bool:
    """Whether this file's code is the user's: neither graphcore's nor Python's (what decorators and threads call)."""
    if path.startswith(_PACKAGES):
        return False
    return path.startswith(_INSTALLED) or not path.startswith((_STANDARD_LIBRARY, "<frozen "))


@functools.lru_cache(maxsize=4096)
def _short_path(path: str) -> str:
    """Relative to the working directory where it is below it, else the file's name."""
    here = os.getcwd() + os.sep
    return path[len(here) :] if path.startswith(here) else os.path.basename(path)


def as_value(trace: Trace, tensor: Any, float_dtype: str | None = None) -> Value:
    """The IR value of anything an operation accepts as a tensor.

    Arrays and Python numbers become constants. A float64 array takes `float_dtype` where one is given: NumPy
    makes float64 by default, which says nothing about the precision a model wants.
    """
    if isinstance(tensor, KerasTensor):
        return trace.unwrap(tensor)
    array = as_array(tensor)
    if array.dtype == np.float64 and float_dtype is not None:
        array = array.astype(float_dtype)
    return functions.constant(trace.builder, array)


def as_array(data: Any, dtype: str | None = None) -> np.ndarray[Any, np.dtype[Any]]:
    """A NumPy array; Python floats become `floatx()`, Python integers int32 (int64 where they do not fit).

    Raises:
        TypeError: if the data hold no numbers.
    """
    if isinstance(data, (np.ndarray, np.generic)):
        array = np.asarray(data)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"Expected an array of numbers. Received: an array of dtype {array.dtype}")
        return array if dtype is None else array.astype(dtype, copy=False)
    array = np.asarray(data)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"Expected numbers or an array of them. Received: {data!r} (type {type(data).__name__})")
    if dtype is not None:
        return array.astype(dtype, copy=False)
    if isinstance(data, (list, tuple)) and any(isinstance(item, (np.ndarray, np.generic)) for item in data):
        return array
    if array.dtype.kind == "f":
        return array.astype(standardize_dtype(None))
    if array.dtype == np.int64 and (array.size == 0 or (array.min() >= -(2**31) and array.max() < 2**31)):
        return array.astype(np.int32)
    return array
