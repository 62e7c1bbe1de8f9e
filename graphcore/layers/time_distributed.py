"""A layer at each step of sequences."""

from __future__ import annotations

from typing import Any

from graphcore import layers, ops
from graphcore.layers.batch_normalization import BatchNormalization
from graphcore.layers.layer import Layer
from graphcore.layers.signature import call_signature
from graphcore.layers.wrapper import Wrapper
from graphcore.loop_tracing import run_loop


class TimeDistributed(Wrapper):
    """Calls a layer at each step of sequences, with the same weights.

    Built-in layers compute every entry of a batch alone, so steps and batch become one axis and the layer is called
    once. A layer of a user, or one that looks at a batch as a whole (batch normalisation in training), is called in a
    loop over the steps. One compiled program serves every length.

    Args:
        layer: any layer.
        kwargs: see `Layer`.

    Input: (batch, steps, ...). Output: (batch, steps, ...). A mask (batch, steps, ...) goes to the layer step by step,
    if its `call` takes one, and is the output's.

    Raises:
        ValueError: inputs without a steps axis, or a mask of other extents.
    """

    supports_masking = True

    def build(self, input_shape: Any = None) -> None:
        """Create the weights of the layer for inputs of this shape."""
        if len(input_shape) < 3:
            raise ValueError(
                f"TimeDistributed: expected inputs of at least 3 axes, (batch, steps, ...). Received: "
                f"input_shape={tuple(input_shape)}"
            )
        super().build((input_shape[0], *tuple(input_shape)[2:]))

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """Compute the outputs."""
        if mask is not None:
            _check_mask(mask, inputs)
        takes_mask = call_signature(type(self.layer)).takes_mask and mask is not None
        if _computes_rows_alone(self.layer, training):
            batch, steps, *rest = ops.shape(inputs)
            merged = ops.reshape(inputs, (batch * steps, *rest))
            extra = {"mask": ops.reshape(mask, (batch * steps, *ops.shape(mask)[2:]))} if takes_mask else {}
            outputs = self._call_layer(merged, training, **extra)
            return ops.reshape(outputs, (batch, steps, *ops.shape(outputs)[1:]))
        return self._step_by_step(inputs, training, mask if takes_mask else None)

    def _call_layer(self, inputs: Any, training: Any, **extra: Any) -> Any:
        if call_signature(type(self.layer)).takes_training:
            extra["training"] = training
        return self.layer(inputs, **extra)

    def _step_by_step(self, inputs: Any, training: Any, mask: Any) -> Any:
        sequences = [ops.swapaxes(x, 0, 1) for x in (inputs, mask) if x is not None]

        def step(_: list[Any], entries: list[Any]) -> tuple[list[Any], list[Any]]:
            extra = {"mask": entries[1]} if mask is not None else {}
            return [], [self._call_layer(entries[0], training, **extra)]

        return ops.swapaxes(run_loop(step, [], sequences).stacks[0], 0, 1)


def _check_mask(mask: Any, inputs: Any) -> None:
    extents = zip(mask.shape[:2], inputs.shape[:2], strict=False)
    if len(mask.shape) < 2 or any(None not in pair and pair[0] != pair[1] for pair in extents):
        raise ValueError(
            f"TimeDistributed: a mask has the batch and the steps of the inputs, {tuple(inputs.shape)}. Received: a "
            f"mask of shape {tuple(mask.shape)}"
        )


def _computes_rows_alone(layer: Layer, training: Any) -> bool:
    """Whether each entry of a batch is computed from itself alone, as far as can be known."""
    return all(_computes_alone(part, training) for part in layer.flatten_layers())


def _computes_alone(part: Any, training: Any) -> bool:
    from graphcore.saving.objects import builtin_class  # here, since it knows all layers and models

    if builtin_class(type(part).__name__) is not type(part) or isinstance(part, layers.Lambda):
        return False
    model: Any = part
    if model.is_model:
        return all(isinstance(entry, Layer) for entry in model.operations)
    axis = getattr(part, "axis", getattr(part, "axes", None))
    axes = axis if isinstance(axis, (list, tuple)) else (axis,)
    if 0 in axes or part.activity_regularizer is not None or getattr(part, "stateful", False):
        return False
    return not (isinstance(part, BatchNormalization) and training and part.trainable)
