"""What Keras computes of CTC: losses of each sample, their gradients, and decoded labels.

Made with Keras 3.15.1 on JAX 0.10.2 (CPU), in float64. Run `python make_ctc_references.py` in an environment as
keras_setup.py describes. The structure of ctc.json is in README.md.
"""

from __future__ import annotations

from typing import Any

import keras_setup
import numpy as np
from reference_arrays import CaseWriter

keras_setup.use_float64()

import jax
import keras
from jax import numpy as jnp

GENERATOR = np.random.default_rng(77)


def exact(values: Any) -> np.ndarray:
    """Float64 values that float32 holds exactly."""
    return np.asarray(values).astype(np.float32).astype(np.float64)


def loss_case(writer: CaseWriter, name: str, target: Any, output: Any, lengths: Any, steps: Any, mask: int) -> None:
    target, lengths, steps = (np.asarray(x, np.int32) for x in (target, lengths, steps))

    def function(logits: Any) -> Any:
        return keras.ops.ctc_loss(target, logits, lengths, steps, mask_index=mask)

    value, pullback = jax.vjp(function, jnp.asarray(output))
    (gradient,) = pullback(jnp.ones_like(value))
    keys = {"target": target, "output": output, "target_length": lengths, "output_length": steps}
    entry = {key: writer.store(array) for key, array in keys.items()}
    entry |= {"value": writer.store(value), "gradient": writer.store(gradient)}
    writer.add(name, kind="loss", mask_index=mask, **entry)


def decode_case(writer: CaseWriter, name: str, inputs: Any, lengths: Any, **kwargs: Any) -> None:
    lengths = np.asarray(lengths, np.int32)
    labels, scores = keras.ops.ctc_decode(inputs, lengths, **kwargs)
    entry = {"inputs": writer.store(inputs), "sequence_lengths": writer.store(lengths)}
    entry |= {"labels": writer.store(np.asarray(labels).astype(np.int32)), "scores": writer.store(scores)}
    writer.add(name, kind="decode", kwargs=kwargs, **entry)


def main() -> None:
    writer = CaseWriter("ctc")
    output = exact(2 * GENERATOR.normal(size=(4, 9, 6)))
    target = np.array([[1, 2, 3, 0], [2, 2, 4, 4], [5, 0, 0, 0], [1, 3, 1, 3]])
    full = [9, 9, 9, 9]
    loss_case(writer, "whole", target, output, [3, 4, 1, 4], full, 0)
    loss_case(writer, "shorter", target, output, [3, 4, 1, 2], [7, 9, 4, 5], 0)
    loss_case(writer, "no_labels", target, output, [0, 1, 0, 2], full, 0)
    loss_case(writer, "last_class_is_blank", target % 5, output, [3, 4, 1, 4], full, 5)
    loss_case(writer, "one_label", target[:, :1], output, [1, 1, 1, 0], full, 0)
    loss_case(writer, "sharp", target, exact(30 * output), [3, 4, 1, 4], full, 0)
    loss_case(writer, "impossible", target, output[:, :3], [3, 4, 1, 4], [3, 3, 3, 3], 0)
    long = exact(GENERATOR.normal(size=(2, 60, 11)))
    loss_case(writer, "long", GENERATOR.integers(1, 11, (2, 20)), long, [20, 13], [60, 45], 0)
    y_true = np.where(np.arange(4) < np.array([[3], [4], [1], [4]]), target, 0)
    value, pullback = jax.vjp(lambda logits: keras.losses.CTC()(y_true, logits), jnp.asarray(output))
    (gradient,) = pullback(jnp.ones_like(value))
    entry = {"target": y_true.astype(np.int32), "output": output, "value": value, "gradient": gradient}
    writer.add("class", kind="class", **{key: writer.store(array) for key, array in entry.items()})
    peaked = exact(np.repeat(output, 2, axis=1) + 0.5 * GENERATOR.normal(size=(4, 18, 6)))
    lengths = [18, 12, 1, 7]
    for strategy in ({}, {"merge_repeated": False}, {"mask_index": 3}, {"mask_index": None}):
        name = "greedy" + "".join(f"_{key}_{value}" for key, value in strategy.items())
        decode_case(writer, name, peaked, lengths, **strategy)
    for width, paths, mask in ((1, 1, 0), (3, 2, 0), (20, 5, 5), (100, 3, None), (50, 40, 2)):
        kwargs = {"strategy": "beam_search", "beam_width": width, "top_paths": paths, "mask_index": mask}
        decode_case(writer, f"beam_{width}_{paths}_{mask}", output, [9, 5, 2, 8], **kwargs)
    writer.write(keras_setup.versions())


if __name__ == "__main__":
    main()
