"""Recurrent layers: a cell run over the steps of sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphcore import ops, tree
from graphcore.layers.conv_lstm_cell import ConvLSTMCell
from graphcore.layers.layer import Layer
from graphcore.layers.nesting import deserialize_nested, serialize_nested
from graphcore.layers.recurrence import Result, Steps, run_cell
from graphcore.layers.rnn_cell import DropoutRNNCell, RecurrentCell
from graphcore.layers.stacked_rnn_cells import StackedRNNCells, initial_state_of, output_size_of, require_cell
from graphcore.naming import name_scope
from graphcore.tracing import untraced
from graphcore.variable import Variable


class RNN(Layer):
    """Runs a cell over axis 1 of sequences. One compiled program serves every length.

    Args:
        cell: a recurrent cell, or a list of cells that are stacked: an object with `call(inputs, states)`, which
            returns the output and the new states, and `state_size`, an integer or one for each state; optionally
            `output_size` and `get_initial_state(batch_size)`.
        return_sequences: whether to return the outputs of all steps instead of the last one's.
        return_state: whether to return the states after the last step, too.
        go_backwards: whether the last step comes first; outputs are in the order in which they were computed.
        stateful: whether a batch begins with the states that the one before ended with, row by row; needs a fixed
            batch size. `reset_state()` sets them to zero.
        unroll: accepted; the steps are a loop all the same.
        zero_output_for_mask: whether outputs of masked steps are zeros.
        kwargs: see `Layer`.

    Call: `sequences` (batch, steps, ...); `initial_state`, a list of tensors (batch, size), zeros if left out; `mask`
    (batch, steps), False at steps to be skipped; `training`.

    At a masked step a row keeps its states and its output repeats the one before, which is zeros before the first
    valid step. Steps after the last that is valid in any row are not run.

    Output: (batch, units), or (batch, steps, units) with `return_sequences`; with `return_state` a tuple of it and the
    states.

    Raises:
        ValueError: an object that is no cell; `stateful` without a fixed batch size.
    """

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        if isinstance(cell, (list, tuple)):
            cell = StackedRNNCells(cell)
        require_cell(cell, "RNN")
        if not isinstance(cell.state_size, (int, list, tuple)):
            raise ValueError(
                f"RNN: `state_size` of a cell is an integer or a list of them. Received: state_size={cell.state_size!r}"
            )
        super().__init__(**kwargs)
        self.cell = cell
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.stateful = stateful
        self.unroll = unroll
        self.zero_output_for_mask = zero_output_for_mask
        self.supports_masking = True
        self._untracked_states: Any = None  # not weights: files do not hold them

    @property
    def states(self) -> Any:
        """The variables that a stateful layer keeps its states in; None for another, or before it is built."""
        return self._untracked_states

    @property
    def state_size(self) -> list[Any]:
        """The size of each state."""
        size = self.cell.state_size
        return [size] if isinstance(size, int) else list(size)

    def build(self, sequences_shape: Sequence[int | None], initial_state_shape: Any = None) -> None:
        """Create the weights of the cell for sequences of this shape, and the states of a stateful layer."""
        batch, *rest = tuple(sequences_shape)
        if isinstance(self.cell, Layer) and not self.cell.built:
            self.cell.build((batch, *rest[1:]))
        if not self.stateful:
            return
        if self.states is not None:
            self.reset_state()
            return
        if batch is None:
            raise ValueError(
                f"Layer '{self.name}' is stateful: the batch size must be fixed. Received: sequences of shape "
                f"{tuple(sequences_shape)}. Fix: give it in `Input(batch_size=...)`."
            )
        self._create_states(batch)

    def _create_states(self, batch: int) -> None:
        with untraced(), name_scope(self.name):
            self._untracked_states = tree.map_structure(
                lambda initial: Variable(
                    initial, dtype=self.variable_dtype, trainable=False, name="rnn_state", path=f"{self.path}/rnn_state"
                ),
                self.get_initial_state(batch),
            )

    def get_initial_state(self, batch_size: Any) -> list[Any]:
        """The states that a sequence begins with if it is given none."""
        initial = initial_state_of(self.cell, batch_size, getattr(self.cell, "compute_dtype", self.compute_dtype))
        return list(initial) if tree.is_nested(initial) else [initial]

    def reset_state(self) -> None:
        """Set the states of a stateful layer to zero."""
        for variable in tree.flatten(self.states) if self.states is not None else ():
            variable.assign(ops.zeros(variable.shape, dtype=variable.dtype))

    def reset_states(self) -> None:
        """`reset_state` with Keras 2's name."""
        self.reset_state()

    # -- calling -----------------------------------------------------------------------------------------

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = False) -> Any:
        """Compute the outputs."""
        result = self.run(sequences, initial_state, mask, training)
        if self.return_sequences:
            outputs = ops.flip(result.outputs, axis=0) if self.go_backwards else result.outputs
            output = ops.swapaxes(outputs, 0, 1)
        else:
            output = result.last()
        output = ops.cast(output, self.compute_dtype)
        if not self.return_state:
            return output
        return output, *tree.map_structure(lambda state: ops.cast(state, self.compute_dtype), result.states)

    def run(self, sequences: Any, initial_state: Any, mask: Any, training: Any) -> Result:
        """Run the cell over the steps; move the states of a stateful layer on."""
        self._check_batch(sequences)
        own = type(self).get_initial_state is RNN.get_initial_state
        starts_at_zero = initial_state is None and not self.stateful and own and _begins_with_zeros(self.cell)
        dtype = getattr(self.cell, "compute_dtype", self.compute_dtype)
        states = tree.map_structure(lambda state: ops.cast(state, dtype), self._first_states(sequences, initial_state))
        steps = Steps.of(_first_mask(mask), self.go_backwards)
        time_first = tree.map_structure(lambda x: _cast_float(ops.swapaxes(x, 0, 1), dtype), sequences)
        _reset_dropout(self.cell)
        result = run_cell(
            self.cell, time_first, states, steps, training, self.zero_output_for_mask, starts_at_zero
        )
        _reset_dropout(self.cell)
        if self.stateful:
            for variable, state in zip(tree.flatten(self.states), tree.flatten(result.states), strict=True):
                variable.assign(ops.cast(state, variable.dtype))
        return result

    def _first_states(self, sequences: Any, initial_state: Any) -> list[Any]:
        if initial_state is None and self.stateful:
            initial_state = tree.map_structure(lambda variable: variable.value, self.states)
        if initial_state is None:
            initial_state = self.get_initial_state(ops.shape(tree.flatten(sequences)[0])[0])
        states = list(initial_state) if tree.is_nested(initial_state) else [initial_state]
        if len(states) != len(self.state_size):
            raise ValueError(
                f"Layer '{self.name}' has {len(self.state_size)} states, of sizes {self.state_size}. Received in "
                f"`initial_state`: {len(states)}"
            )
        return states

    def _check_batch(self, sequences: Any) -> None:
        if not self.stateful or self.states is None:
            return
        expected = tree.flatten(self.states)[0].shape[0]
        received = tree.flatten(sequences)[0].shape[0]
        if received is not None and received != expected:
            raise ValueError(
                f"Layer '{self.name}' is stateful and keeps states for batches of {expected}. Received: sequences of "
                f"batch size {received}"
            )

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: Any = None) -> Any:
        """By rule, without building: a stateful layer tells its shape for batches of any size."""
        sizes, output = self.state_size, output_size_of(self.cell)
        if not isinstance(output, int) or not all(isinstance(size, int) for size in tree.flatten(sizes)):
            return super().compute_output_shape(sequences_shape)
        batch, steps = sequences_shape[:2]
        shape = (batch, steps, output) if self.return_sequences else (batch, output)
        return (shape, *tree.map_structure(lambda size: (batch, size), sizes)) if self.return_state else shape

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """That of the sequences, for the outputs of all steps; states have none."""
        mask = _first_mask(previous_mask) if self.return_sequences else None
        return [mask, *(None for _ in self.state_size)] if self.return_state else mask

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "return_sequences": self.return_sequences,
            "return_state": self.return_state,
            "go_backwards": self.go_backwards,
            "stateful": self.stateful,
            "unroll": self.unroll,
            "zero_output_for_mask": self.zero_output_for_mask,
            "cell": serialize_nested(self.cell),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """The layer that `get_config` described."""
        rest = dict(config)
        return cls(deserialize_nested(rest.pop("cell"), custom_objects), **rest)


def _first_mask(mask: Any) -> Any:
    """The mask of the first of several sequences."""
    return tree.flatten(mask)[0] if tree.is_nested(mask) else mask


def _cast_float(tensor: Any, dtype: str) -> Any:
    return ops.cast(tensor, dtype) if str(tensor.dtype).startswith("float") else tensor


def _begins_with_zeros(cell: Any) -> bool:
    """Whether the states that a cell gives are known to be zeros: not where it has a method of its own."""
    method = getattr(cell, "get_initial_state", None)
    own = getattr(method, "__func__", method)
    if own is StackedRNNCells.get_initial_state:
        return all(_begins_with_zeros(part) for part in cell.cells)
    return own in (None, RecurrentCell.get_initial_state, ConvLSTMCell.get_initial_state)


def _reset_dropout(cell: Any) -> None:
    """Draw the patterns of a sequence anew."""
    if isinstance(cell, DropoutRNNCell):
        cell.reset_dropout_mask()
        cell.reset_recurrent_dropout_mask()
    for part in cell.flatten_layers(include_self=False) if isinstance(cell, Layer) else ():
        _reset_dropout(part)
