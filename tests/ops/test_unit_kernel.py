"""Test the kernel between units against scikit-learn's and its own definition."""

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import rbf_kernel

from skrbf.ops.rbf_units import ACTIVATIONS, RBFParameters
from skrbf.ops.unit_kernel import unit_kernel


@pytest.fixture
def centers(rng):
    return torch.from_numpy(rng.normal(size=(12, 3)))


def test_units_of_one_width_have_the_gaussian_kernel(centers):
    log_width = torch.full((1, 1), 0.3, dtype=torch.float64)
    units = RBFParameters(centers, log_width, torch.zeros(3).double())
    matrix, _, _ = unit_kernel(units, ACTIVATIONS["gaussian"])
    expected = rbf_kernel(centers, gamma=0.5 * np.exp(-0.6)) + 0.01 * np.eye(12)
    np.testing.assert_allclose(matrix, expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(12, 1), (1, 1), (12, 3)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_kernel_is_positive_and_has_a_root(centers, rng, activation, shape, dtype):
    log_widths = torch.from_numpy(rng.normal(size=shape))
    units = RBFParameters(centers, log_widths, torch.from_numpy(rng.normal(size=3)))
    units = RBFParameters(*(part.to(dtype) for part in units))
    kernel = unit_kernel(units, ACTIVATIONS[activation])
    assert all(part.dtype == dtype for part in kernel)
    matrix, root, inverse = (part.double().numpy() for part in kernel)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-10
    np.testing.assert_allclose(root, root.T, atol=tolerance)
    np.testing.assert_allclose(root @ root, matrix, atol=tolerance)
    np.testing.assert_allclose(root @ inverse, np.eye(12), atol=tolerance)
    values = np.linalg.eigvalsh(matrix)
    assert values[0] > 0.009 * values.mean() > 0


def test_equal_units_have_a_bounded_inverse():
    units = RBFParameters(torch.zeros(5, 2), torch.zeros(1, 1), torch.zeros(2))
    _, _, inverse_root = unit_kernel(units, ACTIVATIONS["gaussian"])
    assert float(torch.linalg.matrix_norm(inverse_root, 2)) == pytest.approx(
        10, rel=1e-4
    )


@pytest.mark.parametrize("log_width", [-12.0, -40.0, -400.0])
def test_units_of_almost_no_width_have_a_kernel(rng, log_width):
    centers = torch.from_numpy(rng.normal(5.0, size=(2, 3))).float()
    units = RBFParameters(centers, torch.full((1, 1), log_width), torch.zeros(3))
    kernel = unit_kernel(units, ACTIVATIONS["gaussian"])
    assert all(bool(part.isfinite().all()) for part in kernel)
    assert (kernel.matrix.diagonal() > 0).all()
