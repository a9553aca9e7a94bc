"""The largest variance of the rows, against all eigenvalues in float64."""

import numpy as np
import pytest
from scipy import sparse

from skrbf.engine.kmeans.problem import largest_variance


def exact(X, weight=None):
    covariance = np.cov(X.T.astype(np.float64), bias=True, aweights=weight)
    return np.linalg.eigvalsh(np.atleast_2d(covariance))[-1]


@pytest.mark.parametrize("d", [1, 2, 40, 400])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("memory", [1 << 30, 1 << 10])
def test_largest_variance(rng, make, d, dtype, layout, memory):
    X = rng.normal(size=(90, d)) * np.linspace(1, 2, d) + 0.5
    X = (X * (rng.random(X.shape) < 0.4)).astype(dtype)
    weight = rng.integers(1, 4, 90).astype(float)
    problem = make(layout(X), weight, memory)
    assert largest_variance(problem) == pytest.approx(exact(X, weight), rel=1e-5)
    assert largest_variance(problem) == largest_variance(problem)


@pytest.mark.parametrize("d", [5, 400])
def test_the_farthest_row_may_be_orthogonal_to_the_main_axis(make, d):
    X = np.zeros((202, d))
    X[:100, 0], X[100:200, 0] = 1.0, -1.0
    X[200, 1], X[201, 1] = 3.0, -3.0
    assert largest_variance(make(X)) == pytest.approx(200 / 202)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_array])
def test_low_rank_and_constant_features(rng, make, dtype, layout):
    X = np.ones((20, 1)) * (np.arange(400) % 3)
    assert largest_variance(make(layout(X.astype(dtype)))) == 0
    X[:, 7] += rng.normal(size=20)
    X = X.astype(dtype)
    assert largest_variance(make(layout(X))) == pytest.approx(exact(X), rel=1e-4)


@pytest.mark.parametrize("seed", range(10))
def test_few_rows_of_zeros_and_ones_in_single_precision(make, seed):
    """Eigensolvers in single precision may fail on their covariance."""
    rng = np.random.default_rng(seed)
    X = (rng.zipf(1.5, (20, 512)) % 3 == 0).astype(np.float32)
    assert largest_variance(make(X)) == pytest.approx(exact(X), rel=1e-4)


@pytest.mark.parametrize("power", [-60, -30, 30, 60])
@pytest.mark.parametrize("d", [5, 400])
def test_a_power_of_two_multiplies_the_largest_variance(rng, make, d, power):
    X = rng.normal(size=(90, d))
    expected = np.ldexp(largest_variance(make(X)), 2 * power)
    assert largest_variance(make(np.ldexp(X, power))) == expected
