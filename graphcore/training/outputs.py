"""Matching what users give for each output (targets, losses, weights, metrics) with a model's outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from graphcore import tree


@dataclasses.dataclass(frozen=True)
class Outputs:
    """The outputs of a model in flat order.

    Attributes:
        tensors: the predictions.
        names: one for each output, or None if the model gives them none.
        structure: the nested structure of the predictions.
    """

    tensors: tuple[Any, ...]
    names: tuple[str, ...] | None
    structure: Any

    @classmethod
    def of(cls, y_pred: Any, output_names: Sequence[str] | None) -> Outputs:
        """The outputs `y_pred`; keys of a dict go before the names that the model has for them."""
        leaves = tuple(tree.flatten(y_pred))
        names = tuple(output_names) if output_names else None
        if isinstance(y_pred, dict) and len(leaves) == len(y_pred):
            names = tuple(str(key) for key in tree.sorted_keys(y_pred))
        if names is not None and len(names) != len(leaves):
            names = None
        return cls(leaves, names, y_pred)

    def __len__(self) -> int:
        return len(self.tensors)

    def describe(self) -> str:
        """For messages: how many outputs, and their names."""
        count = "1 output" if len(self) == 1 else f"{len(self)} outputs"
        return f"{count} ({', '.join(map(repr, self.names))})" if self.names else count

    def by_name(self, mapping: dict[str, Any], argument: str, *, complete: bool) -> list[Any]:
        """The entries of a dict in the order of the outputs; None where there is none.

        Raises:
            ValueError: if a key is no output, or, if `complete`, one is missing.
        """
        names = self.names or ()
        unknown = [key for key in mapping if key not in names]
        missing = [name for name in names if name not in mapping]
        if unknown or (complete and missing):
            raise ValueError(
                f"The keys of `{argument}` must be the names of the model's outputs, "
                f"{list(names) or 'which have none: pass a list'}. Received: {list(mapping)}"
            )
        return [mapping.get(name) for name in names]

    def flat(self, value: Any, argument: str, *, complete: bool = True) -> list[Any]:
        """One entry for each output from a list, a dict or a structure like the predictions.

        Raises:
            ValueError: if the number or the keys differ from the outputs.
        """
        if isinstance(value, dict) and self._is_flat(value):
            return self.by_name(value, argument, complete=complete)
        flattened = tree.flatten(value)
        if len(flattened) != len(self):
            raise ValueError(
                f"The model has {self.describe()}, so `{argument}` must have {len(self)} elements. "
                f"Received: {len(flattened)}"
            )
        return flattened

    def _is_flat(self, value: dict[str, Any]) -> bool:
        return self.names is not None and not any(tree.is_nested(leaf) for leaf in value.values())


def align_targets(y_true: Any, outputs: Outputs, has_loss: Sequence[bool]) -> list[Any]:
    """The target of each output; outputs without a loss may be left out.

    Raises:
        ValueError: if the number of targets fits neither all outputs nor those with a loss.
    """
    if isinstance(y_true, dict) and outputs.names:
        return outputs.by_name(y_true, "y", complete=False)
    flattened = tree.flatten(y_true)
    if len(flattened) == len(outputs):
        return flattened
    if len(flattened) == sum(has_loss):
        remaining = iter(flattened)
        return [next(remaining) if needed else None for needed in has_loss]
    raise ValueError(
        f"The model has {outputs.describe()}, so `y` must have {len(outputs)} targets. "
        f"Received: {len(flattened)}" + (f" ({', '.join(y_true)})" if isinstance(y_true, dict) else "")
    )


def align_weights(sample_weight: Any, outputs: Outputs) -> list[Any]:
    """The sample weight of each output: one array serves all, None weighs every sample 1."""
    if not tree.is_nested(sample_weight):
        return [sample_weight] * len(outputs)
    if isinstance(sample_weight, dict) and outputs.names:
        return outputs.by_name(sample_weight, "sample_weight", complete=False)
    return outputs.flat(sample_weight, "sample_weight")
