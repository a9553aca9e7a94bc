import numpy as np
import pytest
import torch
from scipy import sparse

from skrbf.engine.kmeans.lloyd import assign, lloyd
from skrbf.engine.kmeans.successive_halving import spread_starts, successive_halving


def test_the_best_start_goes_through_lloyd_iterations(rng, make, distortion):
    X = rng.normal(size=(500, 3)) + 20
    weight = rng.random(500)
    problem = make(X, weight)
    starts = torch.from_numpy(X[rng.integers(0, 500, (8, 5))])
    starts[3] = lloyd(problem, assign(problem, starts[3]), 300).state[1]
    found = successive_halving(problem, starts, 1)[0]  # 8, 4, 2, 1: three iterations

    ends = [lloyd(problem, assign(problem, s), 3).state[1] for s in starts]
    best = min(distortion(X, end, weight) for end in ends)
    assert distortion(X, found, weight) <= best * 1.05
    matching = [np.allclose(found, end, rtol=1e-9) for end in ends]
    # `lloyd` counts the means of its start as an iteration of its own.
    again = [lloyd(problem, assign(problem, s), 2).state[1] for s in starts]
    matching += [np.allclose(found, end, rtol=1e-9) for end in again]
    assert any(matching)


def test_a_single_start_is_returned_unchanged(rng, make):
    X = rng.normal(size=(50, 2))
    start = torch.from_numpy(X[:4])
    assert torch.equal(successive_halving(make(X), start[None], 1)[0], start)


@pytest.mark.parametrize("n_sets", [6, 60])
def test_successive_halving_by_blocks(rng, make, n_sets):
    X = rng.normal(size=(800, 3))
    starts = torch.from_numpy(X[rng.integers(0, 800, (n_sets, 4))])
    whole, blocks = make(X), make(X, memory=20_000)
    expected = successive_halving(whole, starts, 2)
    assert expected.shape == (2, 4, 3)
    csr = make(sparse.csr_array(X))
    for problem in (blocks, csr):
        found = successive_halving(problem, starts, 2)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", ["dense", "weighted", "sparse"])
def test_a_row_between_equal_centers_counts_once(rng, make, kind):
    X = rng.normal(size=(400, 3)) + 9 * rng.integers(0, 2, (400, 1))
    starts = torch.from_numpy(X[rng.integers(0, 400, (2, 4))])
    starts[1] = torch.from_numpy(X[[X.sum(1).argmin(), X.sum(1).argmax()] * 2])
    table = sparse.csr_array(X) if kind == "sparse" else X
    problem = make(table, np.ones(400) if kind == "weighted" else None)
    # Two centers in two places: the other set is better.
    assert len(successive_halving(problem, starts, 1)[0].unique(dim=0)) == 4


def test_successive_halving_far_from_the_origin(rng, make):
    X = rng.normal(size=(500, 3)) + 4 * rng.integers(0, 3, (500, 1)) + 2000
    X = X.astype(np.float32)
    starts = torch.from_numpy(X[rng.integers(0, 500, (8, 5))])
    found, exact = (
        successive_halving(make(X.astype(kind)), starts.to(dtype), 1).double()
        for kind, dtype in [("f4", torch.float32), ("f8", torch.float64)]
    )
    torch.testing.assert_close(found, exact, rtol=0, atol=2e-2)


@pytest.mark.parametrize("sample", [2048, 64])
def test_spread_starts_do_not_depend_on_the_order(rng, make, sample):
    X = rng.normal(size=(300, 3)) + 5
    order = rng.permutation(300)
    found = spread_starts(make(X), 4, 10, sample=sample)
    moved = spread_starts(make(X[order]), 4, 10, sample=sample)
    torch.testing.assert_close(found, moved)
    rows = {tuple(row) for row in X.round(9)}
    assert {tuple(row) for row in found.reshape(-1, 3).numpy().round(9)} <= rows
    assert len({tuple(row) for row in found[:, 0].numpy()}) == 10


def test_weights_of_spread_starts_are_repetition(rng, make):
    X = rng.normal(size=(60, 2))
    weight = rng.integers(0, 4, 60)
    weighted = spread_starts(make(X, weight.astype(float)), 3, 8)
    repeated = spread_starts(make(np.repeat(X, weight, axis=0)), 3, 8)
    torch.testing.assert_close(weighted, repeated)


def test_no_spread_starts_of_sparse_or_very_long_tables(rng, make):
    X = rng.normal(size=(60, 2))
    assert spread_starts(make(sparse.csr_array(X)), 3, 8) is None
    assert spread_starts(make(X), 3, 8, max_rows=59) is None
    assert spread_starts(make(X), 3, 8, max_rows=60) is not None
