import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.cluster import KMeans

from skrbf.engine.grow import grow
from skrbf.engine.split import split


def elongated(rng, n, d):
    scale = np.linspace(1.0, 2.0, d)
    scale[d // 2] = 6.0
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return rng.normal(size=(n, d)) * scale @ rotation + 5.0


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("d", [1, 2, 32, 33, 100])
def test_a_split_is_what_it_says(rng, make, d, weighted, container):
    X = elongated(rng, 300, d)
    weight = rng.random(300) if weighted else np.ones(300)
    problem = make(container(X), weight if weighted else None)
    cut = split(problem, torch.arange(300), problem.mean)
    side = cut.side.numpy()
    means = [np.average(X[s], axis=0, weights=weight[s]) for s in (~side, side)]
    np.testing.assert_allclose(cut.left, means[0], rtol=1e-8)
    np.testing.assert_allclose(cut.right, means[1], rtol=1e-8)

    def scatter(rows, w):
        return w @ ((rows - np.average(rows, axis=0, weights=w)) ** 2).sum(1)

    halves = sum(scatter(X[s], weight[s]) for s in (side, ~side))
    assert cut.gain == pytest.approx(scatter(X, weight) - halves, rel=1e-8)
    covariance = np.cov(X.T, aweights=weight, bias=True).reshape(d, d)
    largest = np.linalg.eigvalsh(covariance)[-1]
    rtol = 1e-9 if d <= 32 else 1e-3
    assert cut.critical_temperature == pytest.approx(2 * largest, rel=rtol)


def test_some_rows_are_split_as_a_table_of_their_own(rng, make):
    X = elongated(rng, 300, 40)
    index = torch.from_numpy(rng.permutation(300)[:80])
    part = np.ascontiguousarray(X[index])
    some = split(make(X), index, torch.from_numpy(part.mean(0)))
    alone = split(make(part), torch.arange(80), torch.from_numpy(part.mean(0)))
    torch.testing.assert_close(some.left, alone.left)
    assert some.gain == pytest.approx(alone.gain)


@pytest.mark.parametrize("d", [3, 40])
def test_a_large_cluster_is_read_by_blocks(rng, make, monkeypatch, d):
    X = elongated(rng, 500, d)
    problem = make(X, memory=20_000)
    whole = split(problem, torch.arange(500), problem.mean)
    monkeypatch.setattr("skrbf.engine.split._GATHER", 0)
    blocks = split(problem, torch.arange(500), problem.mean)
    torch.testing.assert_close(blocks.left, whole.left)
    assert blocks.gain == pytest.approx(whole.gain)


@pytest.mark.parametrize("d", [3, 40])
def test_equal_rows_are_not_split(make, d):
    problem = make(np.full((5, d), 0.1))
    assert split(problem, torch.arange(5), problem.mean) is None
    assert split(problem, torch.arange(1), problem.mean) is None


def test_two_clusters_are_found(rng, make):
    X = np.concatenate([rng.normal(size=(150, 3)), rng.normal(size=(50, 3)) + 6])
    problem = make(X)
    cut = split(problem, torch.arange(200), problem.mean)
    expected = KMeans(2, n_init=5, random_state=0, tol=0).fit(X).cluster_centers_
    found = np.stack([cut.left, cut.right])
    order = expected[:, 0].argsort()
    np.testing.assert_allclose(found[found[:, 0].argsort()], expected[order], rtol=1e-9)


def test_growth_goes_down_from_the_critical_temperature(rng, make):
    X = elongated(rng, 400, 3)
    seen = []
    centers = grow(make(X), 12, lambda *split: seen.append(split))
    temperatures = [temperature for _, temperature, _ in seen]
    largest = np.linalg.eigvalsh(np.cov(X.T, bias=True))[-1]
    assert temperatures[0] == pytest.approx(2 * largest)
    assert temperatures == sorted(temperatures, reverse=True)
    assert [len(c) for c, _, _ in seen] == list(range(2, 13))
    assert torch.equal(seen[-1][0], centers)


def test_growth_stops_where_it_is_told(rng, make):
    X = rng.normal(size=(100, 3))
    centers = grow(make(X), 12, lambda centers, *_: len(centers) == 5)
    assert len(centers) == 5


def test_growth_ends_with_the_distinct_rows(rng, make):
    X = np.repeat(rng.normal(size=(4, 3)), 5, axis=0)
    centers = grow(make(X), 9, lambda *_: False)
    found = centers.numpy()
    np.testing.assert_allclose(found[found[:, 0].argsort()], np.unique(X, axis=0))
