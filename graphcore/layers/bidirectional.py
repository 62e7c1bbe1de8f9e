"""Sequences read from both ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphcore import ops, tree
from graphcore.layers.calling import calling
from graphcore.layers.layer import Layer
from graphcore.layers.nesting import deserialize_nested, serialize_nested
from graphcore.layers.rnn import RNN
from graphcore.layers.wrapper import require_layer

MERGES: dict[Any, Callable[[Any, Any], Any]] = {
    "concat": lambda forward, backward: ops.concatenate([forward, backward], axis=-1),
    "sum": ops.add,
    "ave": lambda forward, backward: (forward + backward) * 0.5,
    "mul": ops.multiply,
    None: lambda forward, backward: (forward, backward),
}


class Bidirectional(Layer):
    """A recurrent layer that reads sequences from both ends (Schuster and Paliwal, 1997).

    Args:
        layer: a recurrent layer, copied for the forward direction and, with `go_backwards`, for the backward one.
        merge_mode: how the two outputs are joined: 'concat' on the last axis, 'sum', 'ave', 'mul', or None for both.
        weights: first weights, the forward layer's before the backward layer's.
        backward_layer: the layer of the backward direction; it must have `go_backwards`.
        kwargs: see `Layer`.

    With `return_sequences` both layers give zeros at masked steps, and the outputs of a step stand beside each other.
    Call and outputs are those of the layer; states are the forward layer's, then the backward layer's.

    Raises:
        ValueError: another merge mode; layers that do not go together.
    """

    def __init__(
        self,
        layer: Any,
        merge_mode: str | None = "concat",
        weights: Any = None,
        backward_layer: Any = None,
        **kwargs: Any,
    ) -> None:
        require_layer(layer, "Bidirectional")
        if backward_layer is not None:
            require_layer(backward_layer, "Bidirectional")
        if merge_mode not in MERGES:
            raise ValueError(
                f"Bidirectional: expected `merge_mode` to be one of {tuple(MERGES)}. Received: {merge_mode!r}"
            )
        super().__init__(**kwargs)
        self.forward_layer = _copy(layer, "forward")
        self.backward_layer = _copy(layer, "backward", go_backwards=True) if backward_layer is None else backward_layer
        self._check_layers()
        for part in (self.forward_layer, self.backward_layer):
            if hasattr(part, "zero_output_for_mask"):
                part.zero_output_for_mask = part.return_sequences
        self.merge_mode = merge_mode
        self.stateful = layer.stateful
        self.return_sequences = layer.return_sequences
        self.return_state = layer.return_state
        self.supports_masking = True
        self.input_spec = layer.input_spec
        self._untracked_first_weights = weights

    def _check_layers(self) -> None:
        forward, backward = self.forward_layer, self.backward_layer
        if forward.go_backwards == backward.go_backwards:
            raise ValueError(
                "Bidirectional: the forward and the backward layer must differ in `go_backwards`. Received: "
                f"{forward.go_backwards} for both"
            )
        for name in ("stateful", "return_sequences", "return_state"):
            if getattr(forward, name) != getattr(backward, name):
                raise ValueError(
                    f"Bidirectional: the forward and the backward layer must agree in `{name}`. Received: "
                    f"{getattr(forward, name)} and {getattr(backward, name)}"
                )

    def build(self, sequences_shape: Sequence[int | None], initial_state_shape: Any = None) -> None:
        """Create the weights of both layers for sequences of this shape."""
        for part in (self.forward_layer, self.backward_layer):
            if not part.built:
                part.build(sequences_shape)
        weights, self._untracked_first_weights = self._untracked_first_weights, None
        if weights:
            self.set_weights(weights)

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = None) -> Any:
        """Compute the outputs."""
        states = [None, None]
        if initial_state is not None:
            half = len(initial_state) // 2
            states = [initial_state[:half], initial_state[half:]]
        parts = (self.forward_layer, self.backward_layer)
        # Two of our own loops are joined time first, as they store their outputs: nothing is turned or moved twice.
        time_first = self.return_sequences and self.backward_layer.go_backwards and all(map(_is_plain, parts))
        read = _read_time_first if time_first else _read
        (forward, *first), (backward, *second) = (
            read(part, sequences, state, mask, training) for part, state in zip(parts, states, strict=True)
        )
        if self.return_sequences and not time_first:
            backward = ops.flip(backward, axis=1)
        forward, backward = ops.cast(forward, self.compute_dtype), ops.cast(backward, self.compute_dtype)
        merged = MERGES[self.merge_mode](forward, backward)
        if time_first:
            merged = tree.map_structure(lambda x: ops.swapaxes(x, 0, 1), merged)
        if not self.return_state:
            return merged
        return (*merged, *first, *second) if self.merge_mode is None else (merged, *first, *second)

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: Any = None) -> Any:
        """From those of the two layers."""
        shapes = [part.compute_output_shape(sequences_shape) for part in (self.forward_layer, self.backward_layer)]
        first, second = [(shape[0], shape[1:]) if self.return_state else (shape, ()) for shape in shapes]
        forward, backward = tuple(first[0]), tuple(second[0])
        merged = (*forward[:-1], forward[-1] + backward[-1]) if self.merge_mode == "concat" else forward
        outputs = (merged,) if self.merge_mode is not None else (forward, backward)
        if self.return_state:
            return (*outputs, *first[1], *second[1])
        return merged if self.merge_mode is not None else outputs

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """That of the sequences, for the outputs of all steps; states have none."""
        mask = previous_mask[0] if isinstance(previous_mask, (list, tuple)) else previous_mask
        mask = mask if self.return_sequences else None
        outputs = [mask, mask] if self.merge_mode is None else [mask]
        if not self.return_state:
            return outputs if self.merge_mode is None else mask
        return [*outputs, *(None for part in (self.forward_layer, self.backward_layer) for _ in part.state_size)]

    @property
    def states(self) -> Any:
        """The states of stateful layers: forward, then backward; None for others."""
        forward, backward = self.forward_layer.states, self.backward_layer.states
        return None if forward is None or backward is None else (*forward, *backward)

    def reset_state(self) -> None:
        """Set the states of stateful layers to zero."""
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    def reset_states(self) -> None:
        """`reset_state` with Keras 2's name."""
        self.reset_state()

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "merge_mode": self.merge_mode,
            "layer": serialize_nested(self.forward_layer),
            "backward_layer": serialize_nested(self.backward_layer),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """The layer that `get_config` described."""
        rest = dict(config)
        for name in ("layer", "backward_layer"):
            if rest.get(name) is not None:
                rest[name] = deserialize_nested(rest[name], custom_objects)
        return cls(**rest)


def _is_plain(part: Any) -> bool:
    """Whether a layer's call does no more than `RNN.run`."""
    return isinstance(part, RNN) and type(part).call is RNN.call and part.activity_regularizer is None


def _read_time_first(part: RNN, sequences: Any, state: Any, mask: Any, training: Any) -> tuple[Any, ...]:
    """Outputs (steps, batch, ...) in the order of the steps, and the states in the layer's type."""
    with calling(part, training):
        result = part.run(sequences, state, mask, training)
        return result.outputs, *tree.map_structure(lambda x: ops.cast(x, part.compute_dtype), result.states)


def _read(part: Any, sequences: Any, state: Any, mask: Any, training: Any) -> tuple[Any, ...]:
    """The layer's output and states."""
    found = part(sequences, initial_state=state, mask=mask, training=training)
    return tuple(found) if part.return_state else (found,)


def _copy(layer: Layer, direction: str, **changes: Any) -> Any:
    """A layer like this one, without its weights."""
    config = serialize_nested(layer)
    name = layer.name.removeprefix(f"{direction}_")
    config.pop("build_config", None)
    config["config"] = {**config["config"], **changes, "name": f"{direction}_{name}"}
    return deserialize_nested(config)
