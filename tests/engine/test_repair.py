import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs

from skrbf.engine.lloyd import assign, lloyd, update
from skrbf.engine.repair import _merge_costs, repair


@pytest.mark.parametrize("k", [4, 40])
def test_merge_costs_are_those_of_numpy(rng, make, k):
    X = rng.normal(size=(500, 2))
    weight = rng.random(500)
    problem = make(X, weight)
    partition = assign(problem, torch.from_numpy(X[:k]))
    distances = np.sort(((X[:, None] - X[:k]) ** 2).sum(2), axis=1)
    extra = weight * (distances[:, 1] - distances[:, 0])
    costs = _merge_costs(problem, partition, 2)
    assert list(costs.values()) == sorted(costs.values())
    assert len(costs) == (k if k == 4 else 10)
    for cluster, cost in costs.items():
        assert cost == pytest.approx(extra[partition.labels.numpy() == cluster].sum())


def test_a_bad_start_is_mended(make, distortion):
    """Two centers in one blob, one between two others: Lloyd stays, repair moves."""
    X, y = make_blobs(
        600, centers=12 * np.mgrid[:4, :3].reshape(2, -1).T, random_state=0
    )
    problem = make(X)
    truth = np.stack([X[y == j].mean(0) for j in range(12)])
    start = truth.copy()
    start[11] = start[0] + 0.5
    start = assign(problem, torch.from_numpy(start))
    stuck = lloyd(problem, start, 300).distortion
    mended = repair(problem, start, 300)
    best = distortion(X, truth)
    assert stuck > 2 * best
    assert mended.distortion == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("k", [2, 7, 13, 60])
def test_repair_never_loses_and_ends_at_a_fixed_point(rng, make, k):
    X = rng.exponential(size=(1000, 3))
    problem = make(X)
    start = assign(problem, torch.from_numpy(X[:k]))
    kept = []
    found = repair(problem, start, 300, lambda state: kept.append(state.distortion))
    assert found.distortion <= lloyd(problem, start, 300).distortion * (1 + 1e-3)
    assert kept == sorted(kept, reverse=True)
    centers, _ = update(problem, found.partition)
    again = assign(problem, centers)
    np.testing.assert_array_equal(again.labels, found.partition.labels)


def test_repair_stops_when_told(rng, make):
    X = rng.exponential(size=(1000, 3))
    problem = make(X)
    start = assign(problem, torch.from_numpy(X[:60]))
    kept = []
    repair(problem, start, 300, lambda state: kept.append(state) or True)
    assert len(kept) == 1
