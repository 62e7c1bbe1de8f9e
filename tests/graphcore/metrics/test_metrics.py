"""State, masks, weights and errors of metrics."""

import numpy as np
import pytest

from compiler.interpret import interpret
from graphcore import metrics, ops
from graphcore.metrics.resolution import resolve_metric
from graphcore.tracing import Trace


def test_state_and_reset():
    metric = metrics.Mean(name="m")
    assert float(metric.result()) == 0.0
    metric.update_state([1.0, 3.0])
    metric.update_state([[5.0, 7.0]])
    assert float(metric.result()) == pytest.approx((1 + 3 + 6) / 3)
    assert [variable.path for variable in metric.variables] == ["m/total", "m/count"]
    metric.reset_state()
    metric.update_state(2.0)
    assert float(metric.result()) == 2.0


def test_weights_divide_by_their_sum():
    metric = metrics.MeanSquaredError()
    metric.update_state([[0.0], [0.0]], [[1.0], [3.0]], sample_weight=[1.0, 0.5])
    assert float(metric.result()) == pytest.approx((1 + 4.5) / 1.5)


def test_masked_predictions_do_not_count():
    trace = Trace("masked")
    metric = metrics.BinaryAccuracy()
    with trace:
        labels, scores = trace.input("labels", (None, 3)), trace.input("scores", (None, 3))
        scores.keras_mask = trace.input("mask", (None,), "bool")
        metric.update_state(labels, scores)
        result = metric.result()
    graph, variables = trace.finish({"result": result})
    feeds = [np.ones((2, 3)), np.array([[0.9, 0.9, 0.1], [0.1, 0.1, 0.1]]), np.array([True, False])]
    (found,), _ = interpret(graph, feeds, [variable.array for variable in variables])
    assert found == pytest.approx(2 / 3)


def test_binary_accuracy_is_strict():
    np.testing.assert_array_equal(metrics.binary_accuracy([[1], [1]], [[0.5], [0.51]]), [[0], [1]])


@pytest.mark.parametrize("k", [1, 2, 3])
def test_top_k_breaks_ties_in_favour(k):
    scores = np.array([[0.5, 0.5, 0.1], [0.1, 0.2, 0.7]], np.float32)
    labels = np.array([1, 0])
    expected = [1.0, float(k >= 3)]
    np.testing.assert_array_equal(metrics.sparse_top_k_categorical_accuracy(labels, scores, k=k), expected)
    np.testing.assert_array_equal(metrics.top_k_categorical_accuracy(np.eye(3)[labels], scores, k=k), expected)


def test_precision_and_recall_by_hand():
    labels = np.array([1, 1, 0, 0, 1])
    scores = np.array([0.9, 0.4, 0.8, 0.1, 0.6])
    precision, recall = metrics.Precision(thresholds=[0.3, 0.5]), metrics.Recall(thresholds=[0.3, 0.5])
    precision.update_state(labels, scores)
    recall.update_state(labels, scores)
    np.testing.assert_allclose(precision.result(), [3 / 4, 2 / 3])
    np.testing.assert_allclose(recall.result(), [1, 2 / 3])
    assert metrics.Precision()([0, 0], [0.1, 0.2]) == 0.0


def test_top_k_of_precision_keeps_the_first_of_equals():
    metric = metrics.Precision(top_k=1)
    metric.update_state([[0, 1, 0]], [[0.4, 0.4, 0.2]])
    assert float(metric.result()) == 0.0


def exact_area(labels, scores):
    """Area under the ROC curve: how often a positive scores above a negative."""
    positive, negative = scores[labels == 1], scores[labels == 0]
    return (positive[:, None] > negative).mean() + 0.5 * (positive[:, None] == negative).mean()


def test_auc_approaches_the_exact_area():
    rng = np.random.default_rng(0)
    labels = (rng.random(2000) < 0.4).astype(int)
    scores = np.clip(0.3 * labels + rng.random(2000) * 0.7, 0, 1)
    metric = metrics.AUC(num_thresholds=500)
    metric.update_state(labels[:1000], scores[:1000])
    metric.update_state(labels[1000:], scores[1000:])
    assert float(metric.result()) == pytest.approx(exact_area(labels, scores), abs=2e-3)


def test_multi_label_areas_have_their_own_shape():
    metric = metrics.AUC(multi_label=True)
    assert metric.variables == []
    rng = np.random.default_rng(1)
    labels, scores = (rng.random((50, 3)) < 0.5).astype(int), rng.random((50, 3))
    metric.update_state(labels, scores)
    assert metric.variables[0].shape == (200, 3)
    single = []
    for column in range(3):
        one = metrics.AUC()
        one.update_state(labels[:, column], scores[:, column])
        single.append(float(one.result()))
    assert float(metric.result()) == pytest.approx(np.mean(single), rel=1e-5)


def test_stateless_use_leaves_the_state_alone():
    metric = metrics.Sum()
    metric.update_state([1.0])
    state = metric.stateless_update_state([np.float32(10.0)], [5.0])
    np.testing.assert_allclose(state, [15.0])
    assert float(metric.stateless_result(state)) == 15.0
    assert float(metric.result()) == 1.0
    np.testing.assert_array_equal(metric.stateless_reset_state(), [0.0])
    with pytest.raises(ValueError, match="metric_variables"):
        metric.stateless_result([])


def test_own_metrics():
    class Largest(metrics.Metric):
        def __init__(self, name="largest"):
            super().__init__(name=name)
            self.best = self.add_weight(name="best", initializer="zeros")
            self.mean = metrics.Mean()

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.best.assign(ops.maximum(self.best, ops.max(y_pred)))
            self.mean.update_state(y_pred)

        def result(self):
            return {"best": self.best.value, "mean": self.mean.result()}

    metric = Largest()
    metric.update_state([0], [3.0, 5.0])
    assert float(metric.result()["best"]) == 5.0
    assert float(metric.result()["mean"]) == 4.0
    assert len(metric.variables) == 3
    assert metric.get_config() == {"name": "largest", "dtype": "float32"}


def test_a_forgotten_constructor_is_named():
    class Bad(metrics.Metric):
        def __init__(self):
            self.total = self.add_weight()

    with pytest.raises(RuntimeError, match=r"Bad.*super\(\).__init__"):
        Bad()


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: metrics.Precision(thresholds=1.5), r"\[0, 1\]"),
        (lambda: metrics.AUC(curve="roc2"), "ROC"),
        (lambda: metrics.AUC(num_thresholds=1), "num_thresholds"),
        (lambda: metrics.AUC(num_labels=2), "multi_label"),
        (lambda: metrics.F1Score(average="mean"), "micro"),
        (lambda: metrics.FBetaScore(beta=0.0), "beta"),
        (lambda: metrics.BinaryAccuracy(threshold=1.0), "threshold"),
        (lambda: metrics.IoU(3, [3]), "target_class_ids"),
        (lambda: metrics.R2Score(class_aggregation="sum"), "class_aggregation"),
        (lambda: metrics.PrecisionAtRecall(1.5), "recall"),
        (lambda: metrics.Precision().update_state([1, 2], np.ones((2, 3))), "one-hot"),
        (lambda: metrics.F1Score().update_state([1, 2], np.ones((2, 3))), "one-hot"),
    ],
)
def test_wrong_arguments(action, message):
    with pytest.raises(ValueError, match=message):
        action()


@pytest.mark.parametrize(
    ("labels", "predictions", "expected"),
    [
        ((None, 1), (None, 1), metrics.BinaryAccuracy),
        ((None,), (None, 5), metrics.SparseCategoricalAccuracy),
        ((None, 5), (None, 5), metrics.CategoricalAccuracy),
    ],
)
def test_accuracy_by_shape_keeps_its_name(labels, predictions, expected):
    metric = resolve_metric("acc", labels, predictions)
    assert type(metric) is expected
    assert metric.name == "acc"


def test_functions_and_strings_become_metrics():
    metric = resolve_metric("mae", (None, 1), (None, 1))
    assert isinstance(metric, metrics.MeanAbsoluteError)
    assert metric.name == "mae"

    def worst(y_true, y_pred):
        return ops.max(ops.absolute(y_true - y_pred), axis=-1)

    metric = resolve_metric(worst, (None, 2), (None, 2))
    metric.update_state(np.zeros((2, 2)), np.array([[1.0, 3.0], [0.0, 5.0]]))
    assert metric.name == "worst"
    assert float(metric.result()) == 4.0
