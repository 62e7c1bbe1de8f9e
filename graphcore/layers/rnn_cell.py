"""What the built-in recurrent cells share: their arguments, and a step in two parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import activations, ops, random
from graphcore.layers.arguments import positive_integer, seed_config, seed_generator
from graphcore.layers.layer import Layer
from graphcore.layers.weight_arguments import add_named_weight, keep_weight_arguments, weight_config
from graphcore.loop_tracing import outside_loops
from graphcore.tracing import current_trace

States = Sequence[Any]


class DropoutRNNCell:
    """Patterns of dropped elements that are drawn once and serve all steps of a sequence.

    For cells with `dropout`, `recurrent_dropout` and `seed_generator`. Within one traced program a pattern is kept
    until it is reset; `RNN` resets both before and after each sequence. In a loop they are drawn before it.

    Yarin Gal and Zoubin Ghahramani, A Theoretically Grounded Application of Dropout in Recurrent Neural Networks, 2016.
    """

    dropout: float
    recurrent_dropout: float
    seed_generator: Any
    dropout_mask_count: int | None = None  # how many patterns; None is one that stands alone

    def get_dropout_mask(self, step_input: Any) -> Any:
        """What inputs like `step_input` are multiplied with: a tensor or a list of them; None without dropout."""
        return self.pattern("input", ops.shape(step_input), ops.dtype(step_input))

    def get_recurrent_dropout_mask(self, step_input: Any) -> Any:
        """What states like `step_input` are multiplied with: a tensor or a list of them; None without dropout."""
        return self.pattern("recurrent", ops.shape(step_input), ops.dtype(step_input))

    def reset_dropout_mask(self) -> None:
        """Draw anew when the next pattern of inputs is asked for."""
        self._untracked_patterns().pop("input", None)

    def reset_recurrent_dropout_mask(self) -> None:
        """Draw anew when the next pattern of states is asked for."""
        self._untracked_patterns().pop("recurrent", None)

    def _untracked_patterns(self) -> dict[str, tuple[int, Any]]:
        found: dict[str, tuple[int, Any]] = self.__dict__.setdefault("_untracked_dropout", {})
        return found

    def pattern(self, which: str, shape: tuple[Any, ...], dtype: str) -> Any:
        """The pattern of 'input' or 'recurrent' for steps of this shape."""
        rate = self.dropout if which == "input" else self.recurrent_dropout
        if rate == 0:
            return None
        with outside_loops():
            trace = current_trace()
            program = 0 if trace is None else trace.number
            kept = self._untracked_patterns().get(which)
            if kept is not None and kept[0] == program:
                return kept[1]
            drawn = [
                random.dropout(ops.ones(shape, dtype=dtype), rate, seed=self.seed_generator)
                for _ in range(self.dropout_mask_count or 1)
            ]
            pattern = drawn[0] if self.dropout_mask_count is None else drawn
            if trace is not None:
                self._untracked_patterns()[which] = (program, pattern)
            return pattern


class RecurrentCell(Layer, DropoutRNNCell):
    """A cell whose step falls in two parts, so that `RNN` computes the first for all steps at once.

    `project` takes what depends on the inputs alone, [..., batch, inputs] with any axes before the batch; `advance`
    makes the new states of it and the old. The first new state is the output.

    Args:
        units: size of the output and of each state.
        activation: of the candidate and the output.
        kwargs: the weights' arguments, dropout, seed, and those of `Layer`.
    """

    gates = 1  # blocks of `units` columns of the kernels
    state_count = 1
    recurrent_activation: Any
    kernel: Any
    recurrent_kernel: Any
    recurrent_initializer: Any
    recurrent_regularizer: Any
    recurrent_constraint: Any
    bias_initializer: Any
    bias_regularizer: Any
    bias_constraint: Any

    def __init__(self, units: int, activation: Any, **kwargs: Any) -> None:
        own = {name: kwargs.pop(name) for name in (*_WEIGHT_ARGUMENTS, *_OTHER_ARGUMENTS)}
        implementation = kwargs.pop("implementation", 2) if self.gates > 1 else 2
        super().__init__(**kwargs)
        self.units = positive_integer(units, "units", type(self).__name__)
        self.activation = activations.get(activation)
        self.use_bias = own["use_bias"]
        self.implementation = implementation
        for name, argument in (("kernel", "kernel"), ("recurrent", "recurrent"), ("bias", "bias")):
            options = (own[f"{argument}_{what}"] for what in ("initializer", "regularizer", "constraint"))
            keep_weight_arguments(self, name, *options)
        self.dropout = min(1.0, max(0.0, own["dropout"]))
        self.recurrent_dropout = min(1.0, max(0.0, own["recurrent_dropout"]))
        self.seed = own["seed"]
        self.seed_generator = seed_generator(self.seed)
        self.state_size: Any = self.units if self.state_count == 1 else [self.units] * self.state_count
        self.output_size = self.units
        self.bias: Any = None

    def _use_gates(self, recurrent_activation: Any) -> None:
        """For cells with gates, whose patterns of recurrent dropout differ: Keras's implementation 1."""
        self.recurrent_activation = activations.get(recurrent_activation)
        if self.recurrent_dropout != 0:
            self.implementation = 1
        if self.implementation == 1:
            self.dropout_mask_count = self.gates

    def _gates_config(self) -> dict[str, Any]:
        return {"recurrent_activation": activations.serialize(self.recurrent_activation)}

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Create the weights for steps of shape (batch, inputs)."""
        inputs = input_shape[-1]
        if inputs is None:
            raise ValueError(
                f"{type(self).__name__} needs to know the last axis of its input. Received: "
                f"input_shape={tuple(input_shape)}. Fix: give it in `Input(shape=...)`."
            )
        columns = self.gates * self.units
        self.kernel = add_named_weight(self, "kernel", (inputs, columns))
        self._build_recurrent_kernel((self.units, columns))
        if self.use_bias:
            self._build_bias(columns)

    def _build_recurrent_kernel(self, shape: tuple[int, ...]) -> None:
        self.recurrent_kernel = self.add_weight(
            shape=shape,
            name="recurrent_kernel",
            initializer=self.recurrent_initializer,
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
        )

    def _build_bias(self, columns: int) -> None:
        self.bias = add_named_weight(self, "bias", (columns,))

    def _build_bias_from(self, initializer: Any, columns: int) -> None:
        self.bias = self.add_weight(
            shape=(columns,),
            name="bias",
            initializer=initializer,
            regularizer=self.bias_regularizer,
            constraint=self.bias_constraint,
        )

    # -- the two parts of a step -------------------------------------------------------------------------

    def project(self, inputs: Any, training: Any) -> Any:
        """inputs @ kernel + bias, for any number of steps: [..., batch, gates * units]."""
        active = training and 0 < self.dropout < 1
        masks = self.pattern("input", ops.shape(inputs)[-2:], ops.dtype(inputs)) if active else None
        if isinstance(masks, list):
            kernels = ops.split(self.kernel, self.gates, axis=1)
            parts = [ops.matmul(inputs * mask, kernel) for mask, kernel in zip(masks, kernels, strict=True)]
            projected = ops.concatenate(parts, axis=-1)
        else:
            projected = ops.matmul(inputs if masks is None else inputs * masks, self.kernel)
        bias = self._input_bias()
        return projected if bias is None else projected + bias

    def _input_bias(self) -> Any:
        return self.bias

    def recur(self, state: Any, training: Any) -> Any:
        """state @ recurrent_kernel: [batch, gates * units]."""
        masks = self.recurrent_masks(state, training)
        if masks is None:
            return ops.matmul(state, self.recurrent_kernel)
        with outside_loops():
            kernels = ops.split(self.recurrent_kernel, self.gates, axis=1)
        parts = [ops.matmul(state * mask, kernel) for mask, kernel in zip(masks, kernels, strict=True)]
        return ops.concatenate(parts, axis=-1)

    def recurrent_masks(self, state: Any, training: Any) -> Any:
        """One pattern a gate, or None."""
        active = training and 0 < self.recurrent_dropout < 1
        return self.get_recurrent_dropout_mask(state) if active else None

    def advance(self, projected: Any, states: States, training: Any) -> list[Any]:
        """The new states; the first is the output."""
        raise NotImplementedError

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        """One step: the output and the new states."""
        is_list = isinstance(states, (list, tuple))
        new = self.advance(self.project(inputs, training), states if is_list else [states], training)
        return new[0], (new if is_list else new[0])

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """Zeros, (batch, units) each."""
        return [ops.zeros((batch_size, self.units), dtype=self.compute_dtype) for _ in range(self.state_count)]

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "units": self.units,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            **weight_config(self, "kernel", "recurrent", "bias"),
            "dropout": self.dropout,
            "recurrent_dropout": self.recurrent_dropout,
            "seed": seed_config(self.seed),
        }


_WEIGHT_ARGUMENTS = tuple(
    f"{weight}_{what}"
    for weight in ("kernel", "recurrent", "bias")
    for what in ("initializer", "regularizer", "constraint")
)
_OTHER_ARGUMENTS = ("use_bias", "dropout", "recurrent_dropout", "seed")

