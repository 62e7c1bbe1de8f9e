"""Which float type a layer computes in and which one its weights are kept in."""

from __future__ import annotations

import dataclasses
from typing import Any

from compiler.types import SHORT_NAMES
from graphcore import settings


def standardize_dtype(dtype: Any) -> str:
    """The name of an element type: NumPy types and dtypes are accepted, None means `floatx()`.

    Raises:
        ValueError: naming the types that exist.
    """
    if dtype is None:
        return settings.floatx()
    if isinstance(dtype, str):
        name = {"int": "int32", "float": settings.floatx()}.get(dtype, dtype)
    elif isinstance(dtype, type) and dtype in (bool, int, float):
        name = {bool: "bool", int: "int32", float: settings.floatx()}[dtype]
    else:
        name = str(getattr(dtype, "name", None) or getattr(dtype, "__name__", dtype))
    name = {"bool_": "bool"}.get(name, name)
    if name not in SHORT_NAMES:
        raise ValueError(f"Invalid dtype: {dtype!r}. Expected one of {', '.join(SHORT_NAMES)}.")
    return name


@dataclasses.dataclass(frozen=True)
class DTypePolicy:
    """`DTypePolicy("float32")`, or `DTypePolicy("mixed_float16")`: float16 arithmetic, float32 weights.

    Raises:
        ValueError: if the name is neither an element type nor `mixed_float16`.
    """

    name: str

    def __post_init__(self) -> None:
        if self.name == "mixed_bfloat16":
            raise ValueError("dtype policy 'mixed_bfloat16' is not supported; use 'mixed_float16'.")
        if self.name != "mixed_float16":
            object.__setattr__(self, "name", standardize_dtype(self.name))

    @property
    def compute_dtype(self) -> str:
        """The type a layer's floating inputs and weights are cast to before `call`."""
        return "float16" if self.name == "mixed_float16" else self.name

    @property
    def variable_dtype(self) -> str:
        """The type weights are stored in."""
        return "float32" if self.name == "mixed_float16" else self.name

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal policy."""
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DTypePolicy:
        """The policy that `get_config` described."""
        return cls(**config)


class _Global:
    policy: DTypePolicy | None = None


def dtype_policy() -> DTypePolicy:
    """The policy of layers that are given no `dtype`: the one set, else `floatx()`."""
    return _Global.policy or DTypePolicy(settings.floatx())


def set_dtype_policy(policy: str | DTypePolicy | None) -> None:
    """Set the policy of layers made from now on; None goes back to `floatx()`."""
    _Global.policy = None if policy is None else get(policy)


def get(identifier: Any) -> DTypePolicy:
    """A policy from a name, an element type, a serialised policy, a policy, or None for the default."""
    if identifier is None:
        return dtype_policy()
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, dict):
        return DTypePolicy.from_config(identifier.get("config", identifier))
    if identifier == "mixed_float16":
        return DTypePolicy("mixed_float16")
    return DTypePolicy(identifier if isinstance(identifier, str) else standardize_dtype(identifier))
