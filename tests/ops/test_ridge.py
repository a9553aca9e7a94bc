"""Test the leave-one-out errors against fits without the row."""

import numpy as np
import pytest
import torch

from skrbf.ops.ridge import leave_one_out


def refitted(phi, y, weight, penalty):
    """Refit without each row in turn, and predict it."""
    k, n = phi.shape
    design = np.vstack([np.ones(n), phi])  # the intercept first
    ridge = penalty * np.diag([0.0] + [1.0] * k)
    error = 0.0
    for i in range(n):
        w = np.where(np.arange(n) == i, 0.0, weight)
        gram = (design * w) @ design.T + ridge
        coef = np.linalg.solve(gram, (design * w) @ y.T)
        error += weight[i] * ((y[:, i] - design[:, i] @ coef) ** 2).sum()
    return error


@pytest.mark.parametrize("k", [1, 4, 30])
def test_errors_are_those_of_fits_without_the_row(k):
    rng = np.random.default_rng(k)
    phi, y = rng.normal(size=(k, 20)) + 3, rng.normal(size=(2, 20)) - 1
    weight = rng.uniform(0.5, 2, 20)
    weight /= weight.sum()
    penalties = [0.01, 0.1, 3.0]
    expected = [refitted(phi, y, weight, penalty) for penalty in penalties]
    found = leave_one_out(*map(torch.tensor, (phi, y, weight, penalties)))
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_one_row_has_no_error():
    one = torch.ones(1, 1, dtype=torch.float64)
    assert leave_one_out(one, one, one[0], one[0]).tolist() == [0.0]
