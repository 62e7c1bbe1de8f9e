"""A layer at each step of sequences."""

from __future__ import annotations

import warnings
from typing import Any

from graphcore import layers, ops, regularizers, tree
from graphcore.layers.batch_normalization import BatchNormalization
from graphcore.layers.calling import call_traced
from graphcore.layers.layer import Layer
from graphcore.layers.signature import call_signature
from graphcore.layers.wrapper import Wrapper
from graphcore.loop_tracing import run_loop
from graphcore.tensor import KerasTensor
from graphcore.tracing import Trace, current_trace

# Of a sum over all entries: that of the sum over steps is the sum over steps of it.
_ADDITIVE = (regularizers.L1, regularizers.L2, regularizers.L1L2)


class TimeDistributed(Wrapper):
    """Calls a layer at each step of sequences, with the same weights.

    Built-in layers compute every entry of a batch alone, so steps and batch become one axis and the layer is called
    once. A layer of a user, or one that looks at a batch as a whole (batch normalisation in training, a sum over the
    batch), is called in a loop over the steps. One compiled program serves every length.

    Args:
        layer: any layer. As in Keras 3.15, its own `activity_regularizer` adds no loss, of which a warning tells.
        kwargs: see `Layer`.

    Input: (batch, steps, ...). Output: (batch, steps, ...). A mask (batch, steps, ...) goes to the layer step by step,
    if its `call` takes one, and is the output's. One of (batch, steps), or the inputs' own, is the Keras mask of what
    the layer is given; another one is its `mask` argument.

    What layers inside the layer add to the loss is added up over the steps.

    Raises:
        ValueError: inputs without a steps axis, or a mask of other extents.
    """

    supports_masking = True

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        if self.layer.activity_regularizer is not None:
            warnings.warn(
                f"TimeDistributed: the activity regularizer of layer '{self.layer.name}' adds no loss, as in Keras. "
                "Fix: put the layer in a Sequential model, or give the regularizer to a layer of its own behind "
                "TimeDistributed, `ActivityRegularization`.",
                stacklevel=2,
            )

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
        if not call_signature(type(self.layer)).takes_mask:
            mask = None
        # Of steps, not of entries of a step.
        is_own = mask is not None and (mask is inputs.keras_mask or len(mask.shape) == 2)
        alone = all(_computes_alone(part, self._ranks(part, inputs), training) for part in self.layer.flatten_layers())
        run = self._at_once if alone else self._step_by_step
        return run(inputs, training, mask, is_own)

    def _ranks(self, part: Any, inputs: Any) -> list[int]:
        """How many axes the inputs of the layer, or of one in it, have."""
        if part is self.layer:
            return [len(inputs.shape) - 1]
        ranks = [len(tensor.shape) for node in part.nodes for tensor in node.inputs]
        tree.map_shape_structure(lambda shape: ranks.append(len(shape)), part.get_build_config() or {})
        return ranks

    def _at_once(self, inputs: Any, training: Any, mask: Any, is_own: bool) -> Any:
        """With steps and batch as one axis."""
        trace = _open_trace()
        batch, steps, *rest = ops.shape(inputs)
        merged = ops.reshape(inputs, (batch * steps, *rest))
        if mask is not None:
            mask = ops.reshape(mask, (batch * steps, *ops.shape(mask)[2:]))
        before = len(trace.losses)
        outputs = self._call_layer(merged, training, mask, is_own)
        # Each loss is a sum divided by the size of the batch, which is here that of all steps.
        trace.losses[before:] = [
            (owner, ops.multiply(loss, ops.cast(steps, loss.dtype))) for owner, loss in trace.losses[before:]
        ]
        return ops.reshape(outputs, (batch, steps, *ops.shape(outputs)[1:]))

    def _step_by_step(self, inputs: Any, training: Any, mask: Any, is_own: bool) -> Any:
        sequences = [ops.swapaxes(x, 0, 1) for x in (inputs, mask) if x is not None]
        owners: list[Any] = []

        def step(_: list[Any], entries: list[Any]) -> tuple[list[Any], list[Any]]:
            body = _open_trace()
            outputs = self._call_layer(entries[0], training, entries[1] if mask is not None else None, is_own)
            losses, body.losses = body.losses, []
            owners.extend(owner for owner, _ in losses)
            return [], [outputs, *(loss for _, loss in losses)]

        outputs, *losses = run_loop(step, [], sequences).stacks
        for owner, stack in zip(owners, losses, strict=True):
            _open_trace().add_loss(owner, ops.sum(stack, axis=0))
        return ops.swapaxes(outputs, 0, 1)

    def _call_layer(self, entries: KerasTensor, training: Any, mask: Any, is_own: bool) -> Any:
        options: dict[str, Any] = {}
        if is_own:
            entries.keras_mask = mask
        elif mask is not None:
            options["mask"] = mask
        if call_signature(type(self.layer)).takes_training:
            options["training"] = training
        return call_traced(self.layer, _open_trace(), (entries,), options, adds_activity_loss=False)


def _open_trace() -> Trace:
    trace = current_trace()
    assert trace is not None  # `call` is traced
    return trace


def _check_mask(mask: Any, inputs: Any) -> None:
    extents = zip(mask.shape[:2], inputs.shape[:2], strict=False)
    if len(mask.shape) < 2 or any(None not in pair and pair[0] != pair[1] for pair in extents):
        raise ValueError(
            f"TimeDistributed: a mask has the batch and the steps of the inputs, {tuple(inputs.shape)}. Received: a "
            f"mask of shape {tuple(mask.shape)}"
        )


def _computes_alone(part: Any, ranks: list[int], training: Any) -> bool:
    """Whether a layer computes each entry of a batch from itself alone, as far as can be known.

    Args:
        part: the layer.
        ranks: of its inputs; empty for what a built-in layer has made for itself and not called yet.
        training: what it is told.
    """
    from graphcore.saving.objects import builtin_class  # here, since it knows all layers and models

    if builtin_class(type(part).__name__) is not type(part) or isinstance(part, layers.Lambda):
        return False
    model: Any = part
    if model.is_model:
        return all(isinstance(entry, Layer) for entry in model.operations)
    axes = tree.flatten(getattr(part, "axis", getattr(part, "axes", None)))
    if 0 in axes or any(-rank in axes for rank in ranks):
        return False
    if part.activity_regularizer is not None and not isinstance(part.activity_regularizer, _ADDITIVE):
        return False
    if getattr(part, "stateful", False):
        return False
    return not (isinstance(part, BatchNormalization) and training and part.trainable)
