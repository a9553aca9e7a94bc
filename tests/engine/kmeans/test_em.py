from itertools import pairwise

import entmax
import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

from skrbf.engine.kmeans.config import KMeansConfig
from skrbf.engine.kmeans.em import em, expectation, merge_coincident
from skrbf.ops.assignment import ASSIGNMENTS


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("assignment", ["softmax", "entmax15", "sparsemax"])
@pytest.mark.parametrize("k", [6, 250])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_expectation_agrees_with_numpy(
    rng, make, reference, dtype, assignment, k, sparse, weighted
):
    """With few and with many centers, in several blocks, away from the origin."""
    X = (5.0 + rng.normal(size=(300, 20)) * (rng.random((300, 20)) < 0.7)).astype(dtype)
    centers = (5.0 + rng.normal(size=(k, 20))).astype(dtype)
    weight = rng.random(300).astype(dtype) if weighted else None
    container = csr_array(X) if sparse else X
    problem = make(container, weight, memory=8 * 4 * k * 70)
    temperature = 9.0
    found = expectation(
        problem, torch.from_numpy(centers), temperature, ASSIGNMENTS[assignment]
    )
    X, centers = X.astype(float), centers.astype(float)
    w = np.ones(300) if weight is None else weight.astype(float)
    z = -cdist(centers, X, "sqeuclidean") / temperature  # (k, n)
    if assignment == "softmax":
        value = logsumexp(z, axis=0)
        r = np.exp(z - value)
    else:
        r = getattr(entmax, assignment)(torch.from_numpy(z), dim=0).numpy()
        value = (r * z).sum(0) + reference.entropy(r.T, assignment)
    rtol = 1e-12 if dtype == np.float64 else 2e-5
    np.testing.assert_allclose(found.weight, r @ w, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(found.total, (r * w) @ X, rtol=rtol, atol=rtol)
    free_energy = -temperature * value @ w
    assert float(found.objective) == pytest.approx(free_energy, rel=rtol)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distinct_centers_are_not_merged_at_any_temperature(rng, make, dtype):
    """Rounding is not taken for a distance, not even from a center to itself."""
    for d in (1, 2, 3, 4, 7, 20):
        centers = (100 * rng.normal(size=(12, d))).astype(dtype)
        problem = make(rng.normal(size=(40, d)).astype(dtype))
        start = torch.from_numpy(centers)
        for temperature in (1e-12, 1e-3, 1.0):
            found = merge_coincident(problem, start, temperature, 1e-4)
            np.testing.assert_array_equal(found, centers)


def test_coincident_centers_are_merged(rng, make):
    problem = make(rng.normal(size=(40, 3)))
    centers = torch.from_numpy(rng.normal(size=(5, 3)))
    centers[3] = centers[1] + 1e-9
    found = merge_coincident(problem, centers, 0.5, 1e-4)
    assert torch.equal(found[3], centers[1])
    assert torch.equal(found[[0, 1, 2, 4]], centers[[0, 1, 2, 4]])


def test_a_chain_of_near_centers_is_merged_into_its_first(rng, make):
    """Each center is near enough to the previous one, and to no other."""
    problem = make(rng.normal(size=(200, 2)))
    step = 0.9 * (1e-4 * 0.01) ** 0.5  # in temperatures of 0.01: one step is near
    centers = step * torch.tensor([[k, 0.0] for k in (0, 1, 2, 3, 4, 9)])
    centers = centers.double()
    found = merge_coincident(problem, centers, 0.01, 1.0)
    assert found[:, 0].tolist() == [0.0] * 5 + [centers[5, 0].item()]
    assert torch.equal(merge_coincident(problem, centers, 1e-4, 1.0), centers)
    assert torch.equal(merge_coincident(problem, centers, 0.01, 0.0), centers)


def test_the_last_step_is_small_relative_to_the_temperature(rng, make):
    """Not only relative to the variance: cold memberships change in small steps."""
    problem = make(rng.random((500, 2)))
    variance = problem.scatter / (problem.weight_sum * 2)
    tol, temperature = 1e-3, 1e-3 * variance
    start = torch.from_numpy(rng.random((20, 2)))
    shifts = [start]

    def see(record, centers):
        shifts.append(centers.clone())
        return False

    config = KMeansConfig(20, temperature, ASSIGNMENTS["softmax"], 300, tol)
    found = em(problem, config, start, temperature, see)
    steps = [float((b - a).square().sum()) for a, b in pairwise(shifts)]
    assert found.converged
    assert steps[-1] <= tol * temperature < min(steps[:-1])
