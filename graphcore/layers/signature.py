"""What a layer's `call` and `build` take: read once per class."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from typing import Any

from graphcore import tree
from graphcore.tensor import KerasTensor
from graphcore.variable import Variable

_KINDS = inspect.Parameter


class CallSignature:
    """The parameters of a `call` method."""

    def __init__(self, call: Callable[..., Any]) -> None:
        parameters = list(inspect.signature(call).parameters.values())[1:]
        self.signature = inspect.Signature(parameters)
        self.names = [p.name for p in parameters]
        self.defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        self.is_plain = all(p.kind == _KINDS.POSITIONAL_OR_KEYWORD for p in parameters)
        self.takes_anything = any(p.kind == _KINDS.VAR_KEYWORD for p in parameters)
        self.takes_training = "training" in self.names or self.takes_anything
        self.takes_mask = "mask" in self.names

    def takes(self, name: str) -> bool:
        """Whether `call` has a parameter of this name."""
        return name in self.names

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any], layer: str) -> dict[str, Any]:
        """Arguments by parameter name, defaults left out.

        Raises:
            TypeError: naming the layer.
        """
        if self.is_plain and len(args) <= len(self.names) and not kwargs:
            bound = dict(zip(self.names, args, strict=False))
            if all(name in bound or name in self.defaults for name in self.names):
                return bound
        try:
            return dict(self.signature.bind(*args, **kwargs).arguments)
        except TypeError as error:
            raise TypeError(
                f"Layer '{layer}' was called with arguments that do not fit its `call{self.signature}`: {error}"
            ) from None


_SIGNATURES: weakref.WeakKeyDictionary[type, CallSignature] = weakref.WeakKeyDictionary()


def call_signature(cls: type) -> CallSignature:
    """The signature of the class's `call`."""
    found = _SIGNATURES.get(cls)
    if found is None:
        found = _SIGNATURES[cls] = CallSignature(cls.call)  # type: ignore[attr-defined]
    return found


_FUNCTIONS: weakref.WeakKeyDictionary[Callable[..., Any], inspect.Signature] = weakref.WeakKeyDictionary()


def function_signature(function: Callable[..., Any]) -> inspect.Signature:
    """`inspect.signature`, remembered as long as the function lives."""
    found = _FUNCTIONS.get(function)
    if found is None:
        found = _FUNCTIONS[function] = inspect.signature(function)
    return found


def is_tensor(value: object) -> bool:
    """Whether layers treat this as a tensor: symbolic, a variable, or an array."""
    return isinstance(value, (KerasTensor, Variable)) or (
        hasattr(value, "shape") and hasattr(value, "dtype") and hasattr(value, "__array__")
    )


def tensor_arguments(bound: dict[str, Any]) -> dict[str, Any]:
    """The arguments that are tensors or structures of them, masks apart."""
    found = {}
    for name, value in bound.items():
        leaves = tree.flatten(value)
        if leaves and all(leaf is None or is_tensor(leaf) for leaf in leaves) and any(map(is_tensor, leaves)):
            found[name] = value
    return found


def shapes_of(structure: Any) -> Any:
    """Shapes in the place of tensors."""
    return tree.map_structure(lambda leaf: None if leaf is None else tuple(leaf.shape), structure)


def build_arguments(build: Callable[..., Any], shapes: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments for `build` out of the shapes of the tensor arguments of `call`.

    A `build` with one parameter gets the shape of the first tensor argument; others get shapes by name,
    `query_shape` that of `query`.

    Raises:
        ValueError: if `build` asks for a shape that the call did not have.
    """
    function = getattr(build, "__func__", build)
    parameters = [
        p
        for p in function_signature(function).parameters.values()
        if p.name != "self" and p.kind in (_KINDS.POSITIONAL_OR_KEYWORD, _KINDS.KEYWORD_ONLY)
    ]
    if not parameters:
        return {}
    if len(parameters) == 1:
        return {parameters[0].name: next(iter(shapes.values()), None)}
    named = {f"{name}_shape": shape for name, shape in shapes.items()}
    missing = [p.name for p in parameters if p.name not in named and p.default is p.empty]
    if missing:
        raise ValueError(
            f"`build()` asks for {', '.join(missing)}, but the call has only {', '.join(named) or 'no shapes'}. "
            f"Name the "
            "parameters of `build` after the tensor arguments of `call`, with '_shape' appended."
        )
    return {p.name: named[p.name] for p in parameters if p.name in named}
