"""Reductions, weights and masks, which the stored cases do not cover fully."""

import numpy as np
import pytest

from graphcore import losses, ops
from graphcore.losses.loss import reduce_weighted_values, squeeze_or_expand_to_same_rank
from graphcore.metrics.resolution import kind_of_labels, resolve_loss

PREDICTED = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)
WANTED = np.array([[0.0, 2.0], [1.0, 1.0]], np.float32)
# Squared errors 1 and 0, 4 and 16: one value a sample, 0.5 and 10.


def test_weights_divide_by_the_number_of_elements_not_by_their_sum():
    weights = np.array([0.0, 1.0], np.float32)
    assert losses.MeanSquaredError()(WANTED, PREDICTED, weights) == pytest.approx(5.0)
    weighted = losses.MeanSquaredError("mean_with_sample_weight")(WANTED, PREDICTED, weights)
    assert weighted == pytest.approx(10.0)
    assert losses.MeanSquaredError("sum")(WANTED, PREDICTED, weights) == pytest.approx(10.0)
    unreduced = losses.MeanSquaredError(None)(WANTED, PREDICTED, weights)
    np.testing.assert_allclose(unreduced, [0.0, 10.0])


def test_a_mask_makes_the_mean_one_over_valid_elements():
    values = np.array([1.0, 2.0, 6.0], np.float32)
    mask = np.array([True, False, True])
    assert reduce_weighted_values(values, None, mask) == pytest.approx(3.5)
    assert reduce_weighted_values(values, None, mask, "sum") == pytest.approx(7.0)
    # As in Keras the weights come on top: (2 * 1 + 1 * 6) / 2 valid elements.
    weights = np.array([2.0, 5.0, 1.0], np.float32)
    assert reduce_weighted_values(values, weights, mask) == pytest.approx(4.0)
    assert reduce_weighted_values(values, None, np.zeros(3, bool)) == 0.0


def test_ignored_classes_do_not_count():
    probabilities = np.array([[0.7, 0.3], [0.2, 0.8], [0.5, 0.5]], np.float32)
    labels = np.array([0, 1, 1])
    found = losses.SparseCategoricalCrossentropy(ignore_class=0)(labels, probabilities)
    assert found == pytest.approx(-np.mean(np.log([0.8, 0.5])), rel=1e-6)
    values = losses.sparse_categorical_crossentropy(labels, probabilities, ignore_class=0)
    np.testing.assert_allclose(values, [0, -np.log(0.8), -np.log(0.5)], rtol=1e-6)


def test_column_and_vector_are_paired_and_do_not_broadcast():
    column, vector = np.ones((4, 1), np.float32), np.arange(4, dtype=np.float32)
    expected = np.mean((1 - vector) ** 2)
    assert losses.MeanSquaredError()(column, vector) == pytest.approx(expected)
    assert losses.MeanSquaredError()(vector, column) == pytest.approx(expected)
    one, other = squeeze_or_expand_to_same_rank(np.ones((4, 3, 1)), np.ones((4, 3)))
    assert one.shape == other.shape == (4, 3)
    assert losses.MeanAbsoluteError()(vector, column, np.ones(4)) == pytest.approx(np.abs(1 - vector).mean())


def test_weights_of_samples_apply_to_all_their_steps():
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    weights = np.array([1.0, 0.0], np.float32)
    assert reduce_weighted_values(values, weights, reduction="sum") == pytest.approx(3.0)
    with pytest.raises(ValueError, match="at most the rank"):
        reduce_weighted_values(values[0], np.ones((3, 2)))


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 2)])
def test_a_loss_of_the_whole_batch_is_weighed_by_each_of_the_weights(shape):
    weights = np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape)
    value = np.float32(2.0)
    np.testing.assert_allclose(reduce_weighted_values(value, weights), 2 * weights.mean())
    np.testing.assert_allclose(reduce_weighted_values(value, weights, reduction="sum"), 2 * weights.sum())
    np.testing.assert_allclose(reduce_weighted_values(value, weights, reduction="mean_with_sample_weight"), 2.0)
    np.testing.assert_allclose(reduce_weighted_values(value, weights, reduction="none"), 2 * weights)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean"])
def test_a_mask_leaves_the_mean_loss_of_the_whole_batch_alone(reduction):
    mask = np.array([[True, False], [True, True]])
    assert reduce_weighted_values(np.float32(2.0), mask=mask, reduction=reduction) == pytest.approx(2.0)


def test_hinge_maps_binary_labels_only():
    scores = np.array([[0.5, -2.0]], np.float32)
    assert losses.hinge([[0, 1]], scores) == pytest.approx(np.mean([1.5, 3.0]))
    assert losses.hinge([[-1, 1]], scores) == pytest.approx(np.mean([1.5, 3.0]))
    assert losses.hinge([[0, 2]], scores) == pytest.approx(np.mean([1.0, 5.0]))


def test_crossentropy_of_probabilities_is_bounded():
    certain = np.array([[1.0, 0.0]], np.float32)
    assert losses.categorical_crossentropy([[0, 1]], certain) == pytest.approx(-np.log(1e-7), rel=1e-6)
    assert losses.categorical_crossentropy([[1, 0]], 10 * certain) == pytest.approx(0.0, abs=1e-6)
    logits = np.array([[200.0, 0.0]], np.float32)
    assert losses.categorical_crossentropy([[0, 1]], logits, from_logits=True) == pytest.approx(200.0)


def test_labels_are_cast_and_structures_are_kept():
    class Sum(losses.Loss):
        def call(self, y_true, y_pred):
            return ops.square(y_pred["a"] - y_true["a"]) + y_pred["b"]

    found = Sum()({"a": np.array([1, 2])}, {"a": np.array([1.0, 4.0]), "b": np.array([0.5, 0.5])})
    assert found == pytest.approx((0.5 + 4.5) / 2)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: losses.MeanSquaredError(reduction="avg"), "sum_over_batch_size"),
        (lambda: losses.categorical_crossentropy([[1, 0]], [[0.5, 0.5]], axis=True), "`axis`"),
        (lambda: losses.CategoricalGeneralizedCrossEntropy(q=1.0), "`q`"),
    ],
)
def test_wrong_arguments(action, message):
    with pytest.raises(ValueError, match=message):
        action()


def test_categorical_loss_of_one_column_warns():
    with pytest.warns(SyntaxWarning, match="binary_crossentropy"):
        losses.categorical_crossentropy(np.ones((2, 1)), np.ones((2, 1), np.float32))


@pytest.mark.parametrize(
    ("labels", "predictions", "kind"),
    [
        ((None, 1), (None, 1), "binary"),
        ((None,), (None, 1), "binary"),
        ((None,), (None, 5), "sparse_categorical"),
        ((None, 1), (None, 5), "sparse_categorical"),
        ((None, 7), (None, 7, 5), "sparse_categorical"),
        ((None, 5), (None, 5), "categorical"),
    ],
)
def test_crossentropy_by_shape(labels, predictions, kind):
    assert kind_of_labels(labels, predictions) == kind
    loss = resolve_loss("crossentropy", labels, predictions)
    assert loss.fn is getattr(losses, f"{kind}_crossentropy")
    assert loss.name == "crossentropy"
