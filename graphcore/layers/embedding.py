"""Vectors for integers."""

from __future__ import annotations

from typing import Any

from graphcore import ops
from graphcore.layers.arguments import positive_integer, refuse
from graphcore.layers.layer import Layer
from graphcore.layers.weight_arguments import add_named_weight, keep_weight_arguments, weight_config


class Embedding(Layer):
    """Replaces each integer by a row of a table of weights.

    Args:
        input_dim: number of integers: rows of the table.
        output_dim: length of the vectors.
        embeddings_initializer: first values; uniform in [-0.05, 0.05).
        embeddings_regularizer: penalty.
        embeddings_constraint: projection after each optimizer step.
        mask_zero: whether 0 is padding; the output then has a mask that is False there.
        weights: first table, an array (input_dim, output_dim) or a list that holds it.
        kwargs: see `Layer`.

    Input: integers of any shape. Output: (*shape, output_dim). Weights: embeddings (input_dim, output_dim).

    Raises:
        ValueError: a size that is no positive integer.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("input_length", None)  # Keras 2; it has no effect
        refuse(kwargs, "Embedding", "lora_rank", "lora_alpha", "quantization_config")
        super().__init__(**kwargs)
        self.input_dim = positive_integer(input_dim, "input_dim", "Embedding")
        self.output_dim = positive_integer(output_dim, "output_dim", "Embedding")
        keep_weight_arguments(self, "embeddings", embeddings_initializer, embeddings_regularizer, embeddings_constraint)
        self.mask_zero = mask_zero
        self.supports_masking = mask_zero
        if weights is not None:
            self.build()
            self.set_weights(weights if isinstance(weights, list) and len(weights) == 1 else [weights])

    def build(self, input_shape: Any = None) -> None:
        """Create the weights for inputs of this shape."""
        if not self.built:
            self.embeddings = add_named_weight(self, "embeddings", (self.input_dim, self.output_dim))

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        if inputs.dtype not in ("int32", "int64"):
            inputs = ops.cast(inputs, "int32")
        return ops.cast(ops.take(self.embeddings, inputs, axis=0), self.compute_dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """False where the input is 0, with `mask_zero`."""
        return ops.not_equal(inputs, 0) if self.mask_zero else None

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            **weight_config(self, "embeddings"),
            "mask_zero": self.mask_zero,
        }
