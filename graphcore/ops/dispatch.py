"""How a function of `graphcore.ops` meets its arguments: traced, recorded, or computed at once.

Each operation is written once, as a function of a compiler `Builder` and IR values. Parameters annotated
`Tensor` or `Tensors` are tensors, everything else is static. Calling it

- on tensors of a program being traced appends IR nodes;
- on tensors of Functional construction infers the result's type and records a node;
- on arrays, numbers and variables outside of both runs it at once and returns NumPy arrays.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeAlias

import numpy as np

from compiler import functions
from compiler.ir import Builder, Value
from compiler.types import is_float
from graphcore import settings, tree
from graphcore.evaluation import evaluate
from graphcore.operation import Node, Operation, any_symbolic
from graphcore.ops.keras_class import KerasClass, class_name_of
from graphcore.tensor import OPERATORS, KerasTensor
from graphcore.tracing import Trace, as_array, as_value, current_trace, user_source
from graphcore.variable import Variable
from runtime.dimensions import SymbolicInt

P = ParamSpec("P")

# What the body of an operation gets: a Value, or a Python number where there are other tensors to give it a type.
Tensor: TypeAlias = Any
Tensors: TypeAlias = Any

_ONE, _SEVERAL, _NESTED = 1, 2, 3
_KINDS = {"Tensor": _ONE, "Tensor | None": _ONE, "Tensors": _SEVERAL, "Nested": _NESTED}
Nested: TypeAlias = Any  # a structure that may hold tensors among static values


class FunctionCall(Operation):
    """The operation that a call of `graphcore.ops` on symbolic tensors is recorded as."""

    def __init__(self, function: Callable[..., Any], name: str | None = None) -> None:
        self.function = function
        super().__init__(name)

    @property
    def kind(self) -> str:
        """`add` -> `Add`, `get_item` -> `GetItem`."""
        return class_name_of(self.function.__name__)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.function(*args, **kwargs)


class _Signature:
    """Which parameters of an operation's body are tensors.

    It stands between the public function and its body (`__wrapped__`), where `inspect.signature` finds it: to make the
    signatures of all operations is a tenth of the import, and few are ever looked at.
    """

    def __init__(self, body: Callable[..., Any]) -> None:
        code = body.__code__
        self.names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
        annotations = body.__annotations__
        self.kinds = {name: _KINDS[annotations[name]] for name in self.names if annotations.get(name) in _KINDS}
        self.function = body.__name__
        self.keras_class: KerasClass | None = None
        self.__wrapped__ = body

    @functools.cached_property
    def __signature__(self) -> inspect.Signature:
        """What the public function takes: all but the builder."""
        signature = inspect.signature(self.__wrapped__)
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Arguments by name.

        Raises:
            TypeError: for too many, repeated or unknown arguments.
        """
        if len(args) > len(self.names) or any(name not in self.names for name in kwargs):
            self.__signature__.bind(*args, **kwargs)  # raises Python's own message
        bound = dict(zip(self.names, args, strict=False))
        if bound.keys() & kwargs.keys():
            self.__signature__.bind(*args, **kwargs)
        bound.update(kwargs)
        return bound


def operation(body: Callable[Concatenate[Builder, P], Any]) -> Callable[P, Any]:
    """Make a public function of `graphcore.ops` from a body that emits IR."""
    signature = _Signature(body)

    @functools.wraps(body)
    def call(*args: P.args, **kwargs: P.kwargs) -> Any:
        bound = signature.bind(args, kwargs)
        tensors = [bound[name] for name in signature.kinds if name in bound]
        if any_symbolic(tensors) or (current_trace() is None and _any_symbolic_size(bound)):
            return _record(call, body, signature, bound)
        trace = current_trace()
        if trace is not None:
            trace.locate()
            return _emit(trace, body, signature, bound)
        return evaluate(
            lambda concrete: _emit(_open_trace(), body, signature, concrete),
            _arrays(signature, bound),
            name=body.__name__,
        )

    call.__wrapped__ = signature  # type: ignore[assignment]
    OPERATORS.setdefault(body.__name__, call)
    return call


def _open_trace() -> Trace:
    trace = current_trace()
    assert trace is not None
    return trace


def _leaves(value: Any) -> Sequence[Any]:
    return tree.flatten(value) if isinstance(value, (list, tuple, dict)) else (value,)


def _any_symbolic_size(bound: dict[str, Any]) -> bool:
    return any(isinstance(leaf, SymbolicInt) for value in bound.values() for leaf in _leaves(value))


# -- tracing ---------------------------------------------------------------------------------------------


def _emit(trace: Trace, body: Callable[..., Any], signature: _Signature, bound: dict[str, Any]) -> Any:
    """Run the body on IR values; give back tensors of the trace."""
    values = _values(trace, signature, bound)
    result = body(trace.builder, **values)
    if isinstance(result, Value):
        return trace.wrap(result)
    return tree.map_structure(lambda leaf: trace.wrap(leaf) if isinstance(leaf, Value) else leaf, result)


def _values(trace: Trace, signature: _Signature, bound: dict[str, Any]) -> dict[str, Any]:
    """Tensor arguments as IR values; Python numbers stay numbers if another argument gives them a type."""
    values = dict(bound)
    tensors: list[tuple[str, Any]] = []
    for name, kind in signature.kinds.items():
        given = bound.get(name)
        if given is None:
            continue
        if kind == _ONE:
            tensors.append((name, given))
        elif kind == _NESTED:
            values[name] = tree.map_structure(functools.partial(_convert_nested, trace), given)
        else:
            values[name] = _convert_several(trace, given)
    float_dtype = _float_dtype(trace, [given for _, given in tensors])
    converted = {name: _convert(trace, given, float_dtype) for name, given in tensors}
    if converted and not any(isinstance(value, Value) for value in converted.values()):
        converted = {name: as_value(trace, value) for name, value in converted.items()}
    return values | converted


def _convert(trace: Trace, given: Any, float_dtype: str | None) -> Any:
    if isinstance(given, KerasTensor):
        return trace.unwrap(given)
    if isinstance(given, Variable):
        return trace.unwrap(trace.read(given))
    if isinstance(given, (bool, int, float)):
        return given
    if isinstance(given, np.generic):
        return given.item() if given.dtype.kind == "f" else as_value(trace, given)
    if isinstance(given, SymbolicInt):
        return functions.dimension(trace.builder, given, float_dtype or "int32")
    if isinstance(given, (list, tuple)) and any(isinstance(x, (KerasTensor, Variable)) for x in _leaves(given)):
        return functions.stack(trace.builder, [_as_member(trace, item) for item in given], 0)
    return as_value(trace, given, float_dtype)


def _as_member(trace: Trace, item: Any) -> Value:
    converted = _convert(trace, item, None)
    return converted if isinstance(converted, Value) else as_value(trace, converted)


def _convert_several(trace: Trace, given: Any) -> list[Value]:
    items = list(given) if isinstance(given, (list, tuple)) else [given]
    float_dtype = _float_dtype(trace, items)
    return [
        value if isinstance(value := _convert(trace, item, float_dtype), Value) else as_value(trace, value)
        for item in items
    ]


def _convert_nested(trace: Trace, leaf: Any) -> Any:
    if isinstance(leaf, (KerasTensor, Variable)):
        return _convert(trace, leaf, None)
    return leaf


def _float_dtype(trace: Trace, tensors: Sequence[Any]) -> str | None:
    """What a float64 array becomes beside these tensors: the widest float among them.

    None where there are none, so that arrays alone are computed with in the precision they have.
    """
    dtypes = set()
    for tensor in tensors:
        if isinstance(tensor, KerasTensor):
            dtypes.add(tensor.dtype)
        elif isinstance(tensor, Variable):
            dtypes.add(trace.read(tensor).dtype)
    if not dtypes:
        return None
    floats = sorted((dtype for dtype in dtypes if is_float(dtype)), key=lambda dtype: int(dtype[5:]))
    return floats[-1] if floats else settings.floatx()


# -- at once ---------------------------------------------------------------------------------------------


def _arrays(signature: _Signature, bound: dict[str, Any]) -> dict[str, Any]:
    """Lists of numbers in tensor arguments as arrays, so that the trace sees them as inputs."""
    arrays = dict(bound)
    for name, kind in signature.kinds.items():
        given = bound.get(name)
        if kind != _ONE or given is None or isinstance(given, (np.ndarray, np.generic, Variable, KerasTensor)):
            continue
        holds_tensors = any(isinstance(leaf, (KerasTensor, Variable)) for leaf in _leaves(given))
        if isinstance(given, (list, tuple)) and not holds_tensors:
            arrays[name] = as_array(given)
        elif hasattr(given, "__array__"):
            arrays[name] = np.asarray(given)
    return arrays


# -- recording -------------------------------------------------------------------------------------------


def _record(call: Callable[..., Any], body: Callable[..., Any], signature: _Signature, bound: dict[str, Any]) -> Any:
    """Infer the result on symbolic tensors and record the call."""
    trace = Trace("shape")
    source = user_source()
    given = {name: bound[name] for name in signature.kinds if name in bound}

    def placeholder(leaf: Any) -> Any:
        if not (isinstance(leaf, KerasTensor) and leaf.value is None):
            return leaf
        return trace.input(f"x{len(trace.builder.inputs)}", leaf.dims, leaf.dtype)

    traced = bound | tree.map_structure(placeholder, given)
    with trace:
        trace.builder.source = source
        results = _emit(trace, body, signature, traced)
    function_call = FunctionCall(call)
    outputs: list[KerasTensor] = []

    def specification(leaf: Any) -> Any:
        if not isinstance(leaf, KerasTensor):
            return leaf
        outputs.append(KerasTensor(leaf.dims, leaf.dtype, function_call.name))
        return outputs[-1]

    symbolic = tree.map_structure(specification, results)
    if outputs:
        leading = list(itertools.takewhile(bound.__contains__, signature.names))
        rest = {name: value for name, value in bound.items() if name not in leading}
        Node(function_call, tuple(bound[name] for name in leading), rest, outputs, source)
    return symbolic
