import numpy as np
import pytest
import torch

from skrbf.engine.em import merged


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
