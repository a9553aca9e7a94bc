from itertools import pairwise

import numpy as np
import pytest
import torch

from skrbf.engine.em import em, merged
from skrbf.ops import ASSIGNMENTS


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distinct_centers_stay_apart_at_any_temperature(rng, make, dtype):
    """No rounding is taken for a distance: not even that of a center to itself."""
    for d in (1, 2, 3, 4, 7, 20):
        centers = (100 * rng.normal(size=(12, d))).astype(dtype)
        problem = make(rng.normal(size=(40, d)).astype(dtype))
        for temperature in (1e-12, 1e-3, 1.0):
            found = merged(problem, torch.from_numpy(centers), temperature, 1e-4)
            np.testing.assert_array_equal(found, centers)


def test_centers_that_are_as_good_as_one_become_one(rng, make):
    problem = make(rng.normal(size=(40, 3)))
    centers = torch.from_numpy(rng.normal(size=(5, 3)))
    centers[3] = centers[1] + 1e-9
    found = merged(problem, centers, 0.5, 1e-4)
    assert torch.equal(found[3], centers[1])
    assert torch.equal(found[[0, 1, 2, 4]], centers[[0, 1, 2, 4]])


def test_a_chain_of_near_centers_becomes_its_first(rng, make):
    """Each next one near enough to the one before, and to none else."""
    problem = make(rng.normal(size=(200, 2)))
    step = 0.9 * (1e-4 * 0.01) ** 0.5  # in temperatures of 0.01: one step is near
    centers = step * torch.tensor([[k, 0.0] for k in (0, 1, 2, 3, 4, 9)])
    found = merged(problem, centers.double(), 0.01, 1.0)
    assert found[:, 0].tolist() == [0.0] * 5 + [centers[5, 0].item()]
    assert torch.equal(merged(problem, centers.double(), 1e-4, 1.0), centers.double())
    assert torch.equal(merged(problem, centers.double(), 0.01, 1e-6), centers.double())


def test_the_last_step_is_small_beside_the_temperature(rng, make):
    """Not only beside the variance: cold memberships change within a small step."""
    problem = make(rng.random((500, 2)))
    variance = problem.scatter / (problem.mass * 2)
    tol, temperature = 1e-3, 1e-3 * variance
    start = torch.from_numpy(rng.random((20, 2)))
    shifts = [start]

    def see(record, centers):
        shifts.append(centers.clone())
        return False

    softmax = ASSIGNMENTS["softmax"]
    how = {"max_iter": 300, "tol": tol, "adapt": False, "on_step": see}
    found = em(problem, start, temperature, softmax, **how)
    steps = [float((b - a).square().sum()) for a, b in pairwise(shifts)]
    assert found.converged
    assert steps[-1] <= tol * temperature < min(steps[:-1])
