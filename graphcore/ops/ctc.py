"""Connectionist temporal classification: the loss and the decoders of `keras.ops`.

Graves, Fernández, Gomez, Schmidhuber: Connectionist Temporal Classification, 2006.
"""

from __future__ import annotations

from typing import Any

from compiler import functions as f
from compiler.ir import Builder, Graph, Value
from compiler.types import TensorType
from graphcore.operation import any_symbolic
from graphcore.ops.beam_search import beam_search
from graphcore.ops.dispatch import Tensor, operation
from graphcore.ops.elementwise import log_add_exp, to_float
from graphcore.ops.keras_class import keras_class
from graphcore.tracing import current_trace
from runtime.dimensions import Dim

# Keras's logarithm of nothing. It is finite: a target that does not fit its output costs about 100000, not infinity.
LOG_ZERO = -1e5


@keras_class("nn", "mask_index", name="CTCLoss")
@operation
def ctc_loss(
    b: Builder, target: Tensor, output: Tensor, target_length: Tensor, output_length: Tensor, mask_index: int = 0
) -> Value:
    """-log of the probability of all alignments of each target with its output.

    Args:
        target: class numbers, [batch, labels].
        output: logits, [batch, time, classes].
        target_length: labels of each target that count, [batch].
        output_length: steps of each output that count, [batch].
        mask_index: the class of the blank.

    Returns:
        The loss of each sample, [batch]. Numbers are those of Keras on JAX: an impossible alignment costs about 1e5.

    Raises:
        ValueError: for other ranks.
    """
    if target.type.rank != 2 or output.type.rank != 3:
        raise ValueError(
            "ops.ctc_loss: `target` must be of shape (batch, labels) and `output` (batch, time, classes). "
            f"Received: target {target.type} and output {output.type}"
        )
    target, target_length, output_length = (f.cast(b, x, "int32") for x in (target, target_length, output_length))
    output = _at_least_float32(b, output)
    log_p = f.log_softmax(b, output, -1)
    batch, time, classes = log_p.type.shape
    labels = target.type.shape[1]
    dtype = log_p.type.dtype
    emitted = f.matmul(b, log_p, f.one_hot(b, target, classes, dtype), transpose_b=True)  # [batch, time, labels]
    blank = f.slice_axis(b, log_p, 2, mask_index, mask_index + 1)
    padding = f.logical_not(b, _before(b, output_length, (batch, time)))
    sequences = [f.transpose(b, x, (1, 0, 2)) for x in (emitted, blank, f.expand_dims(b, padding, -1))]
    repeat = _repeats(b, target, dtype)
    penalties = [f.multiply(b, repeat, LOG_ZERO), f.multiply(b, f.subtract(b, 1.0, repeat), LOG_ZERO)]
    blanks = f.where(b, f.equal(b, f.iota(b, (batch, labels + 1), 1, "int32"), 0), f.full(b, (), 0.0, dtype), LOG_ZERO)
    labels_seen = f.full(b, (batch, labels), LOG_ZERO, dtype)
    last = f.scan(b, _step(batch, labels, dtype), [blanks, labels_seen], sequences, penalties)
    alpha = _added(b, *last.final)
    counted = f.reduce_sum(b, f.cast(b, _before(b, target_length, (batch, labels)), "int32"), 1)
    chosen = f.one_hot(b, counted, labels + 1, dtype)
    return f.negative(b, f.reduce_sum(b, f.multiply(b, alpha, chosen), 1))


def _at_least_float32(b: Builder, x: Value) -> Value:
    x = to_float(b, x)
    return x if x.type.dtype == "float64" else f.cast(b, x, "float32")


def _before(b: Builder, length: Value, shape: tuple[Dim, Dim]) -> Value:
    """Whether positions of the last axis lie before each row's length."""
    return f.less(b, f.iota(b, shape, 1, "int32"), f.expand_dims(b, length, -1))


def _repeats(b: Builder, target: Value, dtype: str) -> Value:
    """1 where a label is followed by the same, [batch, labels]."""
    labels = target.type.shape[1]
    following = f.slice_axis_exact(b, target, 1, 1, labels)
    same = f.cast(b, f.equal(b, f.slice_axis_exact(b, target, 1, 0, labels - 1), following), dtype)
    return f.pad(b, same, (0, 0), (0, 1))


def _added(b: Builder, blanks: Value, added: Value) -> Value:
    """Scores that end in blanks, with scores added to all but the first: [batch, labels + 1]."""
    end = blanks.type.shape[1]
    first, rest = f.slice_axis_exact(b, blanks, 1, 0, 1), f.slice_axis_exact(b, blanks, 1, 1, end)
    return f.concatenate(b, [first, log_add_exp(b, rest, added)], 1)


def _step(batch: Dim, labels: Dim, dtype: str) -> Graph:
    """One step of the forward recursion in logarithms: scores of prefixes that end in a blank and in their label."""
    b = Builder("ctc_step")
    wide, narrow = TensorType((batch, labels + 1), dtype), TensorType((batch, labels), dtype)
    column = TensorType((batch, 1), dtype)
    blanks, seen = b.input("blanks", wide), b.input("labels", narrow)
    emitted, blank = b.input("emitted", narrow), b.input("blank", column)
    padding = b.input("padding", column.with_dtype("bool"))
    no_repeat, only_repeat = b.input("repeats", narrow), b.input("others", narrow)
    moved = _added(b, blanks, f.add(b, seen, no_repeat))  # a label that follows another needs no blank between
    entered = f.slice_axis_exact(b, moved, 1, 0, labels)
    next_seen = log_add_exp(b, f.add(b, entered, emitted), f.add(b, seen, emitted))
    next_blanks = _added(b, f.add(b, moved, blank), f.add(b, f.add(b, seen, blank), only_repeat))
    b.output("blanks", f.where(b, f.broadcast_to(b, padding, wide.shape), blanks, next_blanks))
    b.output("labels", f.where(b, f.broadcast_to(b, padding, narrow.shape), seen, next_seen))
    return b.build()


@operation
def _greedy(
    b: Builder, inputs: Tensor, sequence_lengths: Tensor, merge_repeated: bool, mask_index: int
) -> tuple[Value, Value]:
    """The best class of each step without repeats and blanks, -1 behind; minus the sum of the scores."""
    inputs = _at_least_float32(b, inputs)
    batch, time, _ = inputs.type.shape
    counts = _before(b, f.cast(b, sequence_lengths, "int32"), (batch, time))
    classes = f.where(b, counts, f.cast(b, f.argmax(b, inputs, -1), "int32"), mask_index)
    score = f.reduce_sum(b, f.where(b, counts, f.reduce_max(b, inputs, -1), 0.0), 1)
    is_label = f.logical_not(b, f.equal(b, classes, mask_index))
    if merge_repeated:
        before = f.slice_axis_exact(b, classes, 1, 0, time - 1)
        same = f.equal(b, before, f.slice_axis_exact(b, classes, 1, 1, time))
        repeated = f.pad(b, f.cast(b, same, "int32"), (0, 1), (0, 0))
        is_label = f.logical_and(b, is_label, f.equal(b, repeated, 0))
    place = f.transpose(b, _labels_before(b, f.transpose(b, is_label, (1, 0))), (1, 0))
    row = f.multiply(b, f.iota(b, (batch, time), 0, "int32"), f.dimension(b, time, "int32"))
    place = f.where(b, is_label, f.add(b, place, row), f.dimension(b, batch * time, "int32"))
    labels = f.scatter_add(b, f.add(b, classes, 1), place, 0, batch * time)
    labels = f.reshape(b, f.subtract(b, labels, 1), (1, batch, time))
    return labels, f.expand_dims(b, f.negative(b, score), 1)


def _labels_before(b: Builder, is_label: Value) -> Value:
    """How many labels come before each step: [time, batch]."""
    batch = is_label.type.shape[1]
    body = Builder("count")
    count = body.input("count", TensorType((batch,), "int32"))
    label = body.input("label", TensorType((batch,), "int32"))
    body.output("count", f.add(body, count, label))
    body.output("before", f.add(body, count, 0))
    start = f.full(b, (batch,), 0, "int32")
    return f.scan(b, body.build(), [start], [f.cast(b, is_label, "int32")]).stacks[0]


def ctc_decode(
    inputs: Any,
    sequence_lengths: Any,
    strategy: str = "greedy",
    beam_width: int = 100,
    top_paths: int = 1,
    merge_repeated: bool = True,
    mask_index: int = 0,
) -> tuple[Any, Any]:
    """The labels that the output of a CTC model stands for.

    Args:
        inputs: logits, [batch, time, classes].
        sequence_lengths: steps that count, [batch].
        strategy: "greedy": the best class of each step. "beam_search": the most probable labels found with
            `beam_width` prefixes; for arrays only, since it is no part of a program.
        beam_width: prefixes that are kept at each step.
        top_paths: how many answers a beam search gives.
        merge_repeated: whether "greedy" takes equal neighbours for one label.
        mask_index: the class of the blank; None: the last one.

    Returns:
        labels (int32), -1 behind the last: (1, batch, time), or (top_paths, batch, time) of a beam search;
        scores: (batch, 1), minus the sum of the best logits, or (batch, top_paths), logarithms of probabilities.

    Raises:
        ValueError: for another strategy, or a beam search of tensors that have no values yet.
    """
    if strategy not in ("greedy", "beam_search"):
        raise ValueError(f"Invalid strategy {strategy}. Supported values are 'greedy' and 'beam_search'.")
    blank = inputs.shape[-1] - 1 if mask_index is None else int(mask_index)
    if strategy == "greedy":
        labels: tuple[Any, Any] = _greedy(inputs, sequence_lengths, bool(merge_repeated), blank)
        return labels
    if any_symbolic((inputs, sequence_lengths)) or current_trace() is not None:
        raise ValueError(
            "ops.ctc_decode: a beam search runs on arrays, not inside a model. Fix: call it on what `model.predict` "
            "returns, or use strategy='greedy'."
        )
    return beam_search(inputs, sequence_lengths, beam_width, top_paths, blank)
