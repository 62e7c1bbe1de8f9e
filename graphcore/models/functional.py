"""`Functional`: what `Model(inputs, outputs)` makes."""

from __future__ import annotations

from typing import Any

from graphcore.models.model import Model


class Functional(Model):
    """A model described by its symbolic inputs and outputs.

    Args:
        inputs, outputs: see `Model`.
        name: by default 'functional', numbered.
        trainable: whether the weights may be trained.
    """

    def __init__(self, inputs: Any = None, outputs: Any = None, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(inputs=inputs, outputs=outputs, name=name, **kwargs)


Model.functional_class = Functional
