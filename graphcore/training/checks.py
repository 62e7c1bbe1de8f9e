"""Checks of arguments and data values that must fail before anything is changed."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from graphcore import tree
from graphcore.training.compile_loss import CompileLoss
from graphcore.training.data.arrays import Batch
from graphcore.training.input_types import declared_inputs
from graphcore.training.labels import check_class_numbers, looks_classes_up


def jit_switch(jit: bool | None, jit_compile: bool | str | None, run_eagerly: bool) -> bool:
    """Whether to compile: `jit` and `jit_compile` are one switch, on by default.

    Raises:
        ValueError: if they contradict each other, or are neither booleans nor left at their defaults.
    """
    if jit is not None and not isinstance(jit, bool):
        raise ValueError(f"`jit` must be True or False. Received: jit={jit!r}")
    if jit_compile not in (True, False, None, "auto"):
        raise ValueError(f"`jit_compile` must be True, False or 'auto'. Received: jit_compile={jit_compile!r}")
    chosen = jit_compile if isinstance(jit_compile, bool) else None
    if jit is not None and chosen is not None and jit != chosen:
        raise ValueError(
            "`jit` and `jit_compile` are the same switch and must agree. "
            f"Received: jit={jit}, jit_compile={chosen}. Pass one of them."
        )
    wanted = jit if jit is not None else chosen
    if run_eagerly and wanted:
        warnings.warn(
            "run_eagerly=True interprets every step, so jit=True has no effect. Pass one of them.", stacklevel=3
        )
    return False if run_eagerly else wanted is not False


def warn_of_unscaled_loss(optimizer: Any) -> None:
    """Warn that small float16 gradients become zero unless the optimizer scales the loss."""
    if optimizer is not None and optimizer.loss_scale_factor is None:
        warnings.warn(
            "A mixed_float16 model trains without loss scaling, so small gradients become zero. "
            "Give the optimizer a factor, e.g. Adam(loss_scale_factor=1024.0).",
            stacklevel=3,
        )


def positive_integer(value: Any, argument: str) -> int | None:
    """The value if it is a positive integer or None.

    Raises:
        ValueError: for anything else.
    """
    if value is None or (hasattr(value, "__index__") and not isinstance(value, bool) and int(value) > 0):
        return None if value is None else int(value)
    raise ValueError(f"`{argument}` must be a positive integer. Received: {argument}={value!r}")


def check_epochs(initial_epoch: Any, epochs: Any, validation_freq: Any) -> None:
    """Raise ValueError unless the epochs are counts and `validation_freq` a count or list of epochs."""
    for argument, value in (("initial_epoch", initial_epoch), ("epochs", epochs)):
        if not hasattr(value, "__index__") or isinstance(value, bool) or int(value) < 0:
            raise ValueError(f"`{argument}` must be an integer from 0. Received: {argument}={value!r}")
    if isinstance(validation_freq, list):
        return
    if not isinstance(validation_freq, int) or isinstance(validation_freq, bool) or validation_freq < 1:
        raise ValueError(
            "`validation_freq` must be a positive integer or a list of epochs counted from 1. "
            f"Received: validation_freq={validation_freq!r} of type {type(validation_freq).__name__}"
        )


def check_verbose(verbose: Any) -> None:
    """Raise ValueError unless `verbose` is 0, 1, 2 or "auto"."""
    if verbose not in (0, 1, 2, "auto"):
        raise ValueError(f"`verbose` must be 0, 1, 2 or 'auto'. Received: verbose={verbose!r}")


def check_batch(model: Any, batch: Batch) -> None:
    """Check the values in a batch, or in all data, that a compiled program could not report.

    Raises:
        ValueError: for labels that are no class numbers where a loss needs them, and for fractions or NaN in
            an integer input.
    """
    check_integer_inputs(model, batch)
    check_class_labels(model.training_session.compile_loss, batch.y)


def check_class_labels(compile_loss: CompileLoss | None, y: Any) -> None:
    """Check the targets of every output whose loss looks class numbers up.

    Raises:
        ValueError: naming the first label that is no class.
    """
    if compile_loss is None or not compile_loss.built or y is None:
        return
    entries = [entry for entry in compile_loss.output_losses if looks_classes_up(entry.loss)]
    if not entries:
        return
    for entry, labels, name in compile_loss.targets_of(entries, y):
        check_class_numbers(labels, entry.classes, entry.loss, name)


def check_integer_inputs(model: Any, batch: Batch) -> None:
    """Raise ValueError if an input that the model declares as integers receives fractions or NaN."""
    leaves = [leaf for leaf in tree.flatten(batch.x) if leaf is not None]
    for tensor, leaf in zip(declared_inputs(model, batch.x) or [], leaves, strict=False):
        if tensor is None or leaf.dtype.kind != "f" or np.dtype(tensor.dtype).kind not in "iu":
            continue
        bad = ~(leaf == np.floor(leaf)) | np.isinf(leaf)
        if bad.any():
            raise ValueError(
                f"Input '{tensor.name}' has dtype {tensor.dtype}, so `x` must hold whole numbers. "
                f"Received: {leaf[bad].flat[0]} (dtype={leaf.dtype}). Round the data, or declare a float Input."
            )
