"""Calls of functions of `graphcore.ops` as Keras's files have them, and read back.

Keras 3.15 has a class for each function, which stands beside the function itself (`graphcore.ops.keras_class`). What
its constructor takes, the static arguments, stands in the configuration; the rest stands among the arguments of the
call, in the order of the function's parameters.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

from graphcore import tree
from graphcore.dtype_policies import standardize_dtype
from graphcore.operation import Node
from graphcore.ops.dispatch import FunctionCall
from graphcore.ops.keras_class import KerasClass, class_name_of
from graphcore.tensor import OPERATORS, KerasTensor
from graphcore.variable import Variable


class StoredCall(NamedTuple):
    """A call in parts: where Keras finds the class, the configuration, and what the call itself takes."""

    module: str
    class_name: str
    config: dict[str, Any]
    args: tuple[Any, ...]


def _class_of(function: Any) -> KerasClass | None:
    """Keras's class for a function of `graphcore.ops`."""
    found: KerasClass | None = function.__wrapped__.keras_class
    return found


def stored_call(operation: FunctionCall, node: Node) -> StoredCall | None:
    """The parts of a call as Keras stores it; None if Keras has no such class, or the call gives a tensor where Keras
    takes a static argument.
    """
    signature = operation.function.__wrapped__  # type: ignore[attr-defined]
    known = _class_of(operation.function)
    if known is None:
        return None
    parameters = signature.__signature__.parameters
    given = {name: parameter.default for name, parameter in parameters.items()}
    given |= signature.bind(node.args, node.kwargs)
    config = {name: given[name] for name in known.static}
    if any(isinstance(leaf, (KerasTensor, Variable)) for leaf in tree.flatten(config)):
        return None
    if config.get("dtype") is not None:
        config["dtype"] = standardize_dtype(config["dtype"])
    args = [value for name, value in given.items() if name not in known.static]
    if known.operands:
        (args,) = args
    return StoredCall(known.module, known.name, config, tuple(args))


@functools.cache
def _functions() -> dict[str, str]:
    """Class -> function: of several names of one, that which the class follows."""
    found: dict[str, str] = {}
    for function, call in OPERATORS.items():
        known = _class_of(call)
        if known is not None and (known.name not in found or known.name == class_name_of(function)):
            found[known.name] = function
    return found


def function_of(row: Mapping[str, Any]) -> str | None:
    """The function that a row of a configuration calls, as Keras or this package wrote it; None for a layer."""
    if not str(row.get("module", "")).startswith(("keras.ops", "keras.src.ops")):
        return None
    name = (row.get("config") or {}).get("function") or _functions().get(str(row["class_name"]))
    return name if name in OPERATORS else None


class StoredFunction(FunctionCall):
    """A function with some of its arguments, as a file names it.

    Args:
        function: its name.
        arguments: those that stand in the configuration.
        name: of the operation.

    Raises:
        ValueError: an option that the function does not have and that is in use.
    """

    def __init__(self, function: str, arguments: dict[str, Any], name: str) -> None:
        super().__init__(OPERATORS[function], name)
        self.names = OPERATORS[function].__wrapped__.names  # type: ignore[attr-defined]
        unknown = {key: value for key, value in arguments.items() if key not in self.names and value}
        if unknown:
            raise ValueError(f"Operation '{name}' has options that ops.{function} does not have: {unknown}")
        self.arguments = {key: value for key, value in arguments.items() if key in self.names}
        known = _class_of(OPERATORS[function])
        self._takes_list = known is not None and known.operands != ""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function with all its arguments and keep this name."""
        if self._takes_list and self.arguments:
            args = (list(args),)
        rest = [name for name in self.names if name not in self.arguments]
        given = self.arguments | dict(zip(rest, args, strict=False)) | kwargs
        if isinstance(given.get("key"), list) and "key" in rest:
            given["key"] = tuple(given["key"])  # of get_item; JSON knows no tuples
        results = self.function(**given)
        for tensor in tree.flatten(results):
            if isinstance(tensor, KerasTensor) and tensor.node is not None:
                tensor.node.operation.name = self.name
        return results
