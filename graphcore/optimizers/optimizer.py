"""The base of optimizers."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Self, TypeVar, Unpack

from graphcore import config, initializers, ops
from graphcore.identifiers import find_function, serialize_function
from graphcore.naming import auto_name
from graphcore.optimizers import schedules
from graphcore.optimizers.gradients import clip_by_global_norm, clip_by_norm, without_missing
from graphcore.optimizers.options import DEFAULTS, Options, check_learning_rate, check_options
from graphcore.optimizers.schedules import LearningRateSchedule
from graphcore.optimizers.state import OptimizerState
from graphcore.temporary_state import snapshot, temporary_values
from graphcore.variable import Variable

T = TypeVar("T")


class Optimizer(OptimizerState):
    """Changes variables along their gradients.

    Subclasses make slots in `build(variables)` and implement `update_step(gradient, variable,
    learning_rate)`. All of it may be traced into a compiled training step, so it computes with `keras.ops`
    and changes state with `assign`.

    `apply` keeps Keras's order: gradients that are None are left out, the loss scale is divided out,
    gradients are accumulated, clipped, weights decay, then the step, the moving average, the constraints, and
    one more iteration. Schedules see the number of iterations before the step.

    Args:
        learning_rate: a number, a `LearningRateSchedule`, or a function without arguments.
        weight_decay: each step first takes `weight_decay · learning_rate` times the weight off each weight.
        clipnorm: largest L2 norm of each gradient.
        clipvalue: largest size of each element of a gradient.
        global_clipnorm: largest L2 norm of all gradients together.
        use_ema: keep a moving average of the weights; `finalize_variable_values` puts it in their place.
        ema_momentum: momentum of that average, in [0, 1].
        ema_overwrite_frequency: put the average in place every so many steps.
        loss_scale_factor: factor by which the loss was multiplied; gradients are divided by it.
        gradient_accumulation_steps: step only every so many calls (2 or more), along the mean gradient.
        name: name; the snake-case class name by default, numbered like those of layers (`adam`, `adam_1`).

    Raises:
        ValueError: an argument outside these values, more than one sort of clipping, or an unknown argument.
    """

    def __init__(self, learning_rate: Any, **options: Unpack[Options]) -> None:
        super().__init__()
        check_options(options)
        given: dict[str, Any] = {**DEFAULTS, **options}
        self.name = str(given["name"] or auto_name(type(self).__name__))
        self.built = False
        self.weight_decay: float | None = given["weight_decay"]
        self.clipnorm: float | None = given["clipnorm"]
        self.clipvalue: float | None = given["clipvalue"]
        self.global_clipnorm: float | None = given["global_clipnorm"]
        self.use_ema: bool = given["use_ema"]
        self.ema_momentum: float = given["ema_momentum"]
        self.ema_overwrite_frequency: int | None = given["ema_overwrite_frequency"]
        self.loss_scale_factor: float | None = given["loss_scale_factor"]
        self.gradient_accumulation_steps: int | None = given["gradient_accumulation_steps"]
        self._trainable_variables: list[Variable] = []
        self._indices: dict[int, int] = {}
        # While a step is computed: what its variables have in common.
        self._shared: dict[Hashable, tuple[object, Any]] | None = None
        self._averages: list[Variable] = []
        self._accumulated: list[Variable] = []
        self._excluded: set[int] = set()
        self._excluded_names: re.Pattern[str] | None = None
        self._iterations = self.add_variable((), "zeros", "int32", name="iteration")
        self._learning_rate: Any = learning_rate
        if not callable(learning_rate):
            check_learning_rate(learning_rate)
            start = initializers.Constant(float(learning_rate))
            self._learning_rate = self.add_variable((), start, config.floatx(), name="learning_rate")

    # State

    @property
    def iterations(self) -> Any:
        """Number of steps taken, an integer scalar."""
        if self.gradient_accumulation_steps:
            return ops.floor_divide(self._iterations, self.gradient_accumulation_steps)
        return self._iterations

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the next step: a variable, or what the schedule says."""
        if isinstance(self._learning_rate, LearningRateSchedule):
            return self._learning_rate(self._iterations)
        return self._learning_rate() if callable(self._learning_rate) else self._learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        if callable(learning_rate):
            previous = self._learning_rate
            self._learning_rate = learning_rate
            self.__dict__["_variables"] = [known for known in self._variables if known is not previous]
            return
        if not isinstance(self._learning_rate, Variable):
            raise TypeError(
                "The learning rate of this optimizer is a schedule or a function, so no number can be set. "
                "Make the optimizer with a float learning rate, or set another schedule."
            )
        self._learning_rate.assign(learning_rate)

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the state for these variables; subclasses call this first, then make their slots."""
        if self.use_ema:
            self._averages = self.add_optimizer_variables(variables, "average")
        if self.gradient_accumulation_steps:
            self._accumulated = self.add_optimizer_variables(variables, "gradient_accumulator")
        self._indices = {id(variable): index for index, variable in enumerate(variables)}
        self._trainable_variables = list(variables)
        self.built = True

    def _get_variable_index(self, variable: Variable) -> int:
        return self._indices[id(variable)]

    # Steps

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """Change one variable along its gradient."""
        raise NotImplementedError(
            f"{type(self).__name__} must implement `update_step(self, gradient, variable, learning_rate)`."
        )

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Variable]]) -> Any:
        """Apply pairs of gradient and variable; returns the number of calls so far."""
        gradients, variables = zip(*grads_and_vars, strict=True)
        self.apply(gradients, variables)
        return self._iterations

    def apply(self, grads: Sequence[Any], trainable_variables: Iterable[Variable] | None = None) -> None:
        """One step along the gradients.

        Args:
            grads: one gradient a variable; None where a variable does not take part.
            trainable_variables: their variables; those given to `build` by default.

        Raises:
            ValueError: another number of gradients than of variables, a variable that `build` was not given,
                or no gradient at all.
        """
        if len(grads) == 0:
            return
        variables = self._variables_of(grads, trainable_variables)
        gradients, variables = without_missing(grads, variables)
        if self.loss_scale_factor is not None:
            gradients = [gradient / self.loss_scale_factor for gradient in gradients]
        if self.gradient_accumulation_steps:
            self._accumulate(gradients, variables, self.gradient_accumulation_steps)
        else:
            self._step(gradients, variables)
        if self.use_ema:
            self._update_averages()
        for variable in variables:
            if variable.constraint is not None:
                variable.assign(variable.constraint(variable))
        self._iterations.assign_add(1)

    def _variables_of(self, grads: Sequence[Any], trainable_variables: Iterable[Variable] | None) -> list[Variable]:
        if trainable_variables is None and not self.built:
            raise ValueError(
                "Gradients were given without variables to an optimizer that knows none yet. Call "
                "`optimizer.build(trainable_variables)` first, or pass the variables."
            )
        variables = self._trainable_variables if trainable_variables is None else list(trainable_variables)
        if len(grads) != len(variables):
            raise ValueError(
                f"Expected one gradient for each of the {len(variables)} variables. Received {len(grads)}."
            )
        if not self.built:
            self.build(variables)
        for variable in variables:
            if id(variable) not in self._indices:
                raise ValueError(
                    f"Variable '{variable.path}' is not among those that this optimizer was built with. "
                    f"Make a new optimizer (compile the model again) for another set of variables."
                )
        return variables

    def _step(self, gradients: Sequence[Any], variables: Sequence[Variable]) -> None:
        gradients = self._clip_gradients(gradients)
        self._apply_weight_decay(variables)
        self._update(gradients, variables, self.learning_rate)

    def _update(self, gradients: Sequence[Any], variables: Sequence[Variable], learning_rate: Any) -> None:
        self._shared = {}
        try:
            for gradient, variable in zip(gradients, variables, strict=True):
                self.update_step(gradient, variable, learning_rate)
        finally:
            self._shared = None

    def _once(self, of: object, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, called once for all variables of a step: tracing the same numbers anew takes time.

        Args:
            of: an object that it is made of. The entry owns it, so that no other object can take its identity.
            key: what else it depends on.
            make: what is called.
        """
        if self._shared is None:  # `update_step` was called by itself
            return make()
        full = (id(of), key)
        if full not in self._shared:
            self._shared[full] = (of, make())
        shared: T = self._shared[full][1]
        return shared

    def _accumulate(self, gradients: Sequence[Any], variables: Sequence[Variable], steps: int) -> None:
        """Add up gradients; every `steps` calls step along their mean, else leave all else as it is."""
        now = ops.equal(ops.mod(self._iterations + 1, steps), 0)
        kept = {id(variable) for variable in (self._iterations, *self._averages, *self._accumulated)}
        slots = [slot for slot in self._variables if id(slot) not in kept and slot is not self._learning_rate]
        changing = [*variables, *slots]
        before = [snapshot(variable) for variable in changing]
        accumulators = [self._accumulated[self._get_variable_index(variable)] for variable in variables]
        sums = [gradient + sum_ for gradient, sum_ in zip(gradients, accumulators, strict=True)]
        self._step([sum_ / steps for sum_ in sums], variables)
        for variable, old in zip(changing, before, strict=True):
            variable.assign(ops.where(now, variable, old))
        for accumulator, sum_ in zip(accumulators, sums, strict=True):
            accumulator.assign(ops.where(now, 0.0, sum_))

    def _clip_gradients(self, gradients: Sequence[Any]) -> Sequence[Any]:
        if self.clipnorm and self.clipnorm > 0:
            return [clip_by_norm(gradient, self.clipnorm) for gradient in gradients]
        if self.global_clipnorm and self.global_clipnorm > 0:
            return clip_by_global_norm(gradients, self.global_clipnorm)
        if self.clipvalue and self.clipvalue > 0:
            return [ops.clip(gradient, -self.clipvalue, self.clipvalue) for gradient in gradients]
        return gradients

    def exclude_from_weight_decay(
        self, var_list: Iterable[Variable] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Keep variables from decaying: those in `var_list`, and those whose name contains one of
        `var_names`.

        Raises:
            ValueError: the optimizer is built already.
        """
        if self.built:
            raise ValueError("Call `exclude_from_weight_decay` before the optimizer is built.")
        self._excluded = {id(variable) for variable in var_list or ()}
        self._excluded_names = re.compile("|".join(sorted(set(var_names)))) if var_names else None

    def _use_weight_decay(self, variable: Variable) -> bool:
        named = self._excluded_names is not None and self._excluded_names.search(variable.name)
        return id(variable) not in self._excluded and not named

    def _apply_weight_decay(self, variables: Sequence[Variable]) -> None:
        if self.weight_decay is None:
            return
        weight: Any
        for weight in variables:
            if self._use_weight_decay(weight):
                rate = ops.cast(self.learning_rate, weight.dtype)
                weight.assign(weight - weight * self.weight_decay * rate)

    # Moving average of the weights

    def _update_averages(self) -> None:
        steps = self.iterations
        for variable, average in zip(self._trainable_variables, self._averages, strict=True):
            # The first step copies.
            momentum = ops.where(ops.not_equal(steps, 0), self.ema_momentum, 0.0)
            momentum = ops.cast(momentum, variable.dtype)
            average.assign(momentum * average + (1.0 - momentum) * variable)
        if not self.ema_overwrite_frequency:
            return
        now = ops.equal(ops.mod(steps + 1, self.ema_overwrite_frequency), 0)
        for variable, average in zip(self._trainable_variables, self._averages, strict=True):
            variable.assign(ops.where(now, average, variable))

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        """Put the moving averages in place of the weights, at the end of training; nothing without
        `use_ema`."""
        if not self.use_ema:
            return
        for variable in var_list:
            variable.assign(self._averages[self._get_variable_index(variable)])

    # Functional use, saving

    def stateless_apply(
        self, optimizer_variables: Sequence[Any], grads: Sequence[Any], trainable_variables: Sequence[Any]
    ) -> tuple[list[Any], list[Any]]:
        """New values of the weights and of the state, from given ones; nothing is changed."""
        if not self.built:
            raise ValueError("Call `optimizer.build(trainable_variables)` before `stateless_apply`.")
        weights, state = self._trainable_variables, self.variables
        with (
            temporary_values(weights, trainable_variables, "trainable_variables"),
            temporary_values(state, optimizer_variables, "optimizer_variables"),
        ):
            self.apply(grads)
            return [snapshot(variable) for variable in weights], [snapshot(variable) for variable in state]

    def scale_loss(self, loss: Any) -> Any:
        """The loss times `loss_scale_factor`."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        rate = self._learning_rate
        if isinstance(rate, Variable):
            rate = float(rate.numpy())
        elif isinstance(rate, LearningRateSchedule):
            rate = schedules.serialize(rate)
        else:
            rate = serialize_function(rate)
        shared = {key: getattr(self, key) for key in DEFAULTS if key != "name"}
        return {"name": self.name, "learning_rate": rate, **shared}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Self:
        """An optimizer with the constructor arguments `config`."""
        rate = config.get("learning_rate")
        if isinstance(rate, dict):
            is_function = rate["class_name"] == "function"
            rate = find_function(rate) if is_function else schedules.deserialize(rate, custom_objects)
            config = {**config, "learning_rate": rate}
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"
