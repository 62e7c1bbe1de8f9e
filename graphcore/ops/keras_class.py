"""The class that Keras has for a function, and by which its files name a call of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

__all__ = ["KerasClass", "class_name_of", "keras_class"]

Function = TypeVar("Function", bound=Callable[..., Any])


class KerasClass(NamedTuple):
    """Where the class is, what it is called, and what its constructor takes; the rest are arguments of the call.

    Attributes:
        module: where Keras has the class.
        name: of the class.
        static: the parameters of the function that its constructor takes, in the order of the configuration.
        operands: the parameter whose list of tensors the class takes as so many arguments; "" for none.
    """

    module: str
    name: str
    static: tuple[str, ...]
    operands: str


def keras_class(
    module: str, static: str = "", *, name: str = "", operands: str = ""
) -> Callable[[Function], Function]:
    """Mark an operation, made by `operation` below this, with Keras 3.15's class for it.

    Args:
        module: within `keras.src.ops`.
        static: the names of `KerasClass.static`, with spaces between.
        name: of the class, where the function's name does not tell it.
        operands: see `KerasClass`.
    """

    def mark(function: Function) -> Function:
        own = name or class_name_of(function.__name__)
        mark_of = KerasClass(f"keras.src.ops.{module}", own, tuple(static.split()), operands)
        function.__wrapped__.keras_class = mark_of  # type: ignore[attr-defined]
        return function

    return mark


def class_name_of(function: str) -> str:
    """`get_item` -> `GetItem`."""
    return "".join(word.capitalize() for word in function.split("_"))
