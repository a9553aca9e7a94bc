import numpy as np
import pytest
import torch

from skrbf.ops.directions import fixed_direction, leading_eigenpair


def covariance(array, weight, center):
    difference = array - center
    return (difference * weight[:, None]).T @ difference / weight.sum()


def elongated(rng, n, d):
    scale = np.linspace(1.0, 2.0, d)
    scale[d // 2] = 4.0
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return rng.normal(size=(n, d)) * scale @ rotation + 5.0


def test_fixed_direction_has_no_symmetry():
    """All entries differ, even in magnitude, and none is 0."""
    for dtype in (torch.float32, torch.float64):
        found = fixed_direction(torch.ones(4, 50_000, dtype=dtype))
        assert found.dtype == dtype
        expected = np.cos(np.arange(1, 50_001.0) ** 2)
        np.testing.assert_allclose(found, expected, atol=1e-7)
        sizes = found[:500].abs().sort().values
        assert sizes[0] > 0
        assert (sizes.diff() > 0).all()


def test_start_orthogonal_to_the_eigenvector():
    # The feature with the largest variance is an eigenvector, and not the leading one.
    matrix = torch.eye(40, dtype=torch.float64)
    matrix[1, 2] = matrix[2, 1] = 0.9
    matrix[0, 0] = 1.5
    vector, value = leading_eigenpair(lambda v: matrix @ v, matrix[0], 12)
    torch.testing.assert_close(value, torch.tensor(1.9, dtype=torch.float64))
    half = 0.5**0.5
    expected = torch.zeros(40, dtype=torch.float64)
    expected[1:3] = half
    torch.testing.assert_close(vector, expected, rtol=0, atol=1e-6)


def test_leading_eigenpair_with_few_and_with_enough_products(rng):
    root = torch.from_numpy(rng.normal(size=(50, 50)))
    matrix = root @ root.t()
    calls = []

    def product(vector):
        calls.append(vector)
        return matrix @ vector

    _, few = leading_eigenpair(product, matrix[0], 8)
    assert len(calls) == 8
    exact = torch.linalg.eigvalsh(matrix)[-1]
    assert 0.95 * exact < few < exact
    _, enough = leading_eigenpair(product, matrix[0], 500)
    assert len(calls) == 8 + 50
    torch.testing.assert_close(enough, exact, rtol=1e-12, atol=0)


def test_leading_eigenpair_of_low_rank_in_float32():
    u = torch.linspace(-1, 1, 64)
    vector, value = leading_eigenpair(lambda v: 3.0 * u * (u @ v), torch.zeros(64), 12)
    torch.testing.assert_close(value, 3.0 * (u @ u))
    torch.testing.assert_close(vector.abs(), (u / u.norm()).abs(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_single_precision_products_of_low_rank(seed):
    """Eigensolvers in single precision may fail on the projection."""
    rng = np.random.default_rng(seed)
    rows = torch.from_numpy(rng.zipf(1.5, (20, 256)) % 3 == 0).float()
    rows -= rows.mean(0)
    _, value = leading_eigenpair(lambda v: rows.t() @ (rows @ v), rows[0], 40)
    exact = torch.linalg.eigvalsh(rows.double() @ rows.double().t())[-1]
    assert float(value) == pytest.approx(float(exact), rel=1e-4)
