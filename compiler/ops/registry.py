"""The closed table of ops and the decorator that fills it."""

from __future__ import annotations

import dataclasses
import re
from typing import TypeVar, dataclass_transform

from compiler.ir import Op, with_attributes

OPS: dict[str, type[Op]] = {}

OpClass = TypeVar("OpClass", bound=type[Op])


class OpDefinitionError(TypeError):
    """An op class is incomplete or its name is taken."""


def snake_case(name: str) -> str:
    """`Conv2DTranspose` -> `conv2d_transpose`, `ConvLSTM2D` -> `conv_lstm2d`, as Keras names layers."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _has_fields(cls: type[Op]) -> bool:
    """Whether a class adds attributes. One that does not is a dataclass already, as `Op` is; making it one again
    would cost half a millisecond of everybody's import."""
    return any("ClassVar" not in str(annotation) for annotation in vars(cls).get("__annotations__", {}).values())


@dataclass_transform(frozen_default=True, eq_default=False)
def op(cls: OpClass) -> OpClass:
    """Name and register a final op class, its annotations being its attributes.

    Raises:
        OpDefinitionError: naming the methods the class lacks, or the module that has the name already.
    """
    if _has_fields(cls):
        with_attributes(cls)
    cls.name = snake_case(cls.__name__)
    cls.attribute_names = tuple(field.name for field in dataclasses.fields(cls))
    if missing := sorted(cls.__abstractmethods__):
        raise OpDefinitionError(f"op '{cls.name}' ({cls.__module__}) lacks {', '.join(missing)}")
    if cls.name in OPS:
        raise OpDefinitionError(f"op '{cls.name}' is already defined in {OPS[cls.name].__module__}")
    OPS[cls.name] = cls
    return cls
