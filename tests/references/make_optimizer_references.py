"""Five updates of two variables by each Keras optimizer, and learning rate schedules.

Made with Keras 3.15.1 on JAX 0.10.2 (CPU), in float64. Run `python make_optimizer_references.py` in an
environment as keras_setup.py describes. The structure of optimizers.json is in README.md.
"""

from __future__ import annotations

from typing import Any

import keras_setup
import numpy as np
from reference_arrays import CaseWriter

keras_setup.use_float64()

import keras
from jax import numpy as jnp

UPDATES = 5
NAMES = ("kernel", "bias")
STEPS = [0, 1, 2, 3, 5, 9, 10, 11, 15, 20, 25, 40]


def exact(values: np.ndarray) -> np.ndarray:
    """Float64 values that float32 holds exactly."""
    return values.astype(np.float32).astype(np.float64)


GENERATOR = np.random.default_rng(40)
VARIABLES = [exact(GENERATOR.normal(size=shape)) for shape in ((4, 3), (3,))]
GRADIENTS = [exact(GENERATOR.normal(size=(UPDATES, *variable.shape))) for variable in VARIABLES]
# A gradient of exactly zero shows where epsilon stands.
GRADIENTS[1][:, 0] = 0.0
GRADIENTS[0][:, 0, 0] = exact(1e-4 * GRADIENTS[0][:, 0, 0])

OPTIMIZERS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("sgd", "SGD", {"learning_rate": 0.1}),
    ("sgd_default", "SGD", {}),
    ("sgd_momentum", "SGD", {"learning_rate": 0.1, "momentum": 0.9}),
    ("sgd_nesterov", "SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    ("adam", "Adam", {"learning_rate": 0.1}),
    ("adam_default", "Adam", {}),
    ("adam_betas", "Adam", {"learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 0.01}),
    ("adam_amsgrad", "Adam", {"learning_rate": 0.1, "beta_2": 0.5, "amsgrad": True}),
    ("adamw", "AdamW", {"learning_rate": 0.1}),
    ("adamw_decay", "AdamW", {"learning_rate": 0.1, "weight_decay": 0.2}),
    ("rmsprop", "RMSprop", {"learning_rate": 0.1}),
    ("rmsprop_momentum", "RMSprop", {"learning_rate": 0.1, "momentum": 0.8}),
    ("rmsprop_centered", "RMSprop", {"learning_rate": 0.1, "centered": True}),
    ("rmsprop_all", "RMSprop", {"learning_rate": 0.1, "rho": 0.8, "momentum": 0.8, "centered": True}),
    ("adagrad", "Adagrad", {"learning_rate": 0.1}),
    ("adadelta", "Adadelta", {"learning_rate": 1.0}),
    ("adamax", "Adamax", {"learning_rate": 0.1}),
    ("nadam", "Nadam", {"learning_rate": 0.1}),
    ("lion", "Lion", {"learning_rate": 0.1}),
    ("lamb", "Lamb", {"learning_rate": 0.1}),
    ("ftrl", "Ftrl", {"learning_rate": 0.1, "l1_regularization_strength": 0.01}),
    ("adafactor", "Adafactor", {"learning_rate": 0.1}),
    ("sgd_clipnorm", "SGD", {"learning_rate": 0.1, "clipnorm": 0.5}),
    ("sgd_clipvalue", "SGD", {"learning_rate": 0.1, "clipvalue": 0.5}),
    ("sgd_global_clipnorm", "SGD", {"learning_rate": 0.1, "global_clipnorm": 0.5}),
    ("adam_clipnorm", "Adam", {"learning_rate": 0.1, "clipnorm": 0.5}),
    ("sgd_weight_decay", "SGD", {"learning_rate": 0.1, "weight_decay": 0.1}),
    ("sgd_momentum_weight_decay", "SGD", {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    ("adam_weight_decay", "Adam", {"learning_rate": 0.1, "weight_decay": 0.1}),
    ("adamw_excluded", "AdamW", {"learning_rate": 0.1, "weight_decay": 0.2}),
    ("sgd_ema", "SGD", {"learning_rate": 0.1, "use_ema": True, "ema_momentum": 0.8}),
    ("sgd_ema_overwrite", "SGD", {"learning_rate": 0.1, "use_ema": True, "ema_momentum": 0.8,
                                  "ema_overwrite_frequency": 2}),
    ("adam_accumulation", "Adam", {"learning_rate": 0.1, "gradient_accumulation_steps": 2}),
)  # fmt: skip
EXCLUDED = {"adamw_excluded": ["bias"]}

SCHEDULES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("exponential", "ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5}),
    ("exponential_staircase", "ExponentialDecay",
     {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5, "staircase": True}),
    ("inverse_time", "InverseTimeDecay",
     {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5}),
    ("polynomial", "PolynomialDecay",
     {"initial_learning_rate": 0.1, "decay_steps": 20, "end_learning_rate": 0.01, "power": 2.0}),
    ("polynomial_cycle", "PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 10, "cycle": True}),
    ("piecewise", "PiecewiseConstantDecay", {"boundaries": [2, 10], "values": [0.1, 0.05, 0.01]}),
    ("cosine", "CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 20, "alpha": 0.1}),
    ("cosine_warmup", "CosineDecay",
     {"initial_learning_rate": 0.0, "decay_steps": 20, "warmup_target": 0.1, "warmup_steps": 10}),
    ("cosine_restarts", "CosineDecayRestarts",
     {"initial_learning_rate": 0.1, "first_decay_steps": 10, "t_mul": 1.5, "m_mul": 0.8}),
)  # fmt: skip


def add_optimizer(writer: CaseWriter, name: str, class_name: str, kwargs: dict[str, Any]) -> None:
    optimizer = getattr(keras.optimizers, class_name)(**kwargs)
    variables = [
        keras.Variable(value, dtype="float64", name=label)
        for value, label in zip(VARIABLES, NAMES, strict=True)
    ]
    exclude = EXCLUDED.get(name, [])
    if exclude:
        optimizer.exclude_from_weight_decay(var_names=exclude)
    optimizer.build(variables)
    values: list[list[np.ndarray]] = [[], []]
    for step in range(UPDATES):
        optimizer.apply([jnp.asarray(gradient[step]) for gradient in GRADIENTS])
        for history, variable in zip(values, variables, strict=True):
            history.append(np.asarray(variable.value))
    entry: dict[str, Any] = {"class": class_name, "kwargs": kwargs, "names": NAMES, "exclude": exclude}
    entry["variables"] = [writer.store(value) for value in VARIABLES]
    entry["gradients"] = [writer.store(value) for value in GRADIENTS]
    entry["values"] = [writer.store(np.stack(history)) for history in values]
    if kwargs.get("use_ema"):
        optimizer.finalize_variable_values(variables)
        entry["finalized"] = [writer.store(variable.value) for variable in variables]
    writer.add(name, **entry)


def main() -> None:
    writer = CaseWriter("optimizers")
    for row in OPTIMIZERS:
        add_optimizer(writer, *row)
    for name, class_name, kwargs in SCHEDULES:
        schedule = getattr(keras.optimizers.schedules, class_name)(**kwargs)
        rates = [float(schedule(step)) for step in STEPS]
        writer.add(f"schedule_{name}", **{"class": class_name}, kwargs=kwargs, steps=STEPS, rates=rates)
    writer.write(keras_setup.versions())


if __name__ == "__main__":
    main()
