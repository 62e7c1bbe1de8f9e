"""Penalties and projections against NumPy."""

import numpy as np
import pytest

from graphcore import constraints, regularizers

WEIGHTS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def test_penalties():
    assert regularizers.L1(0.1)(WEIGHTS) == pytest.approx(0.1 * np.abs(WEIGHTS).sum(), rel=1e-6)
    assert regularizers.L2(0.1)(WEIGHTS) == pytest.approx(0.1 * (WEIGHTS**2).sum(), rel=1e-6)
    both = 0.2 * np.abs(WEIGHTS).sum() + 0.3 * (WEIGHTS**2).sum()
    assert regularizers.L1L2(0.2, 0.3)(WEIGHTS) == pytest.approx(both, rel=1e-6)
    assert float(regularizers.L1L2()(WEIGHTS)) == 0.0
    with pytest.raises(ValueError, match="not negative"):
        regularizers.L2(-1.0)


@pytest.mark.parametrize("mode", ["rows", "columns"])
def test_orthogonal_regularizer(mode):
    matrix = WEIGHTS if mode == "rows" else WEIGHTS.T
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    pairs = [abs(unit[i] @ unit[j]) for i in range(len(unit)) for j in range(i)]
    found = regularizers.OrthogonalRegularizer(0.5, mode)(WEIGHTS)
    assert float(found) == pytest.approx(0.5 * np.mean(pairs), rel=1e-5)
    with pytest.raises(ValueError, match="rank 2"):
        regularizers.OrthogonalRegularizer()(WEIGHTS[0])


def test_projections():
    norms = np.linalg.norm(WEIGHTS, axis=0, keepdims=True)
    wanted = WEIGHTS * np.minimum(norms, 1.5) / (norms + 1e-7)
    np.testing.assert_allclose(constraints.MaxNorm(1.5)(WEIGHTS), wanted, rtol=1e-5)
    np.testing.assert_allclose(constraints.UnitNorm()(WEIGHTS), WEIGHTS / (norms + 1e-7), rtol=1e-5)
    np.testing.assert_array_equal(constraints.NonNeg()(WEIGHTS), np.maximum(WEIGHTS, 0))
    desired = 0.5 * np.clip(norms, 1.0, 1.2) + 0.5 * norms
    found = constraints.MinMaxNorm(1.0, 1.2, rate=0.5)(WEIGHTS)
    np.testing.assert_allclose(found, WEIGHTS * desired / (norms + 1e-7), rtol=1e-5)
