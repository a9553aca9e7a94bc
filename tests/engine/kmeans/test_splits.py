import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.cluster import KMeans

from skrbf.engine.kmeans.growth import grow
from skrbf.engine.kmeans.lloyd import assign, update
from skrbf.engine.kmeans.splits import main_axes, split


def elongated(rng, n, d):
    scale = np.linspace(1.0, 2.0, d)
    scale[d // 2] = 9.0
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return rng.normal(size=(n, d)) * scale @ rotation + 5.0


def one_cluster(problem):
    """All rows as one cluster."""
    partition = assign(problem, problem.mean[None])
    return partition, update(problem, partition)[0]


def scatter(rows, weight):
    mean = np.average(rows, axis=0, weights=weight)
    return weight @ ((rows - mean) ** 2).sum(1)


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("d", [1, 2, 40])
def test_a_split_agrees_with_numpy(rng, make, d, weighted, container):
    X = elongated(rng, 300, d)
    weight = rng.random(300) if weighted else np.ones(300)
    problem = make(container(X), weight if weighted else None)
    cuts = split(problem, *one_cluster(problem))

    covariance = np.cov(X.T, aweights=weight, bias=True).reshape(d, d)
    axis = main_axes(problem, *one_cluster(problem))[0][0].numpy()
    along = (X - np.average(X, axis=0, weights=weight)) @ axis
    order = np.argsort(along)
    cut = np.array(
        [
            scatter(X[order[:i]], weight[order[:i]])
            + scatter(X[order[i:]], weight[order[i:]])
            for i in range(1, 300)
        ]
    )
    total = scatter(X, weight)
    # No cut across the axis is better, up to the grid of cuts.
    assert total - float(cuts.gain[0]) <= cut.min() + 0.02 * total
    place = np.abs(cut - (total - float(cuts.gain[0]))).argmin()
    left, right = order[: place + 1], order[place + 1 :]
    for side, index in ((cuts.left[0], left), (cuts.right[0], right)):
        mean = np.average(X[index], axis=0, weights=weight[index])
        np.testing.assert_allclose(side, mean, rtol=1e-8)
    assert float(cuts.gain[0]) == pytest.approx(total - cut[place], rel=1e-8)
    # The power method: each product is at most as long as the next one along itself.
    variance = axis @ covariance @ axis
    assert 0.99 * variance < float(cuts.critical_temperature[0]) / 2
    assert float(cuts.critical_temperature[0]) / 2 <= variance * (1 + 1e-9)
    largest = np.linalg.eigvalsh(covariance)[-1]
    assert 0.9 * largest < variance <= largest * (1 + 1e-9)


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("memory", [1 << 30, 20_000])
def test_clusters_are_split_independently(rng, make, container, memory):
    X = elongated(rng, 600, 5)
    weight = rng.random(600)
    problem = make(container(X), weight, memory)
    partition = assign(problem, torch.from_numpy(X[:7].copy()))
    centers, _ = update(problem, partition)
    cuts = split(problem, partition, centers)
    for cluster in range(7):
        mine = partition.labels.numpy() == cluster
        alone = make(X[mine], weight[mine])
        expected = split(alone, *one_cluster(alone))
        for name in ("left", "right", "gain", "critical_temperature"):
            found = getattr(cuts, name)[cluster]
            torch.testing.assert_close(
                found, getattr(expected, name)[0], rtol=1e-6, atol=1e-8
            )


def test_an_outlier_is_cut_off(rng, make):
    X = rng.normal(size=(500, 2))
    X[17] = [40.0, 0.0]
    problem = make(X)
    cuts = split(problem, *one_cluster(problem))
    np.testing.assert_allclose(cuts.right[0], X[17])


@pytest.mark.parametrize("d", [1, 3, 40])
@pytest.mark.parametrize("n", [1, 5])
def test_equal_rows_are_not_split(make, n, d):
    problem = make(np.full((n, d), 0.1))
    cuts = split(problem, *one_cluster(problem))
    assert cuts.gain.tolist() == [0]
    assert float(cuts.critical_temperature[0]) < 1e-30
    assert torch.isfinite(main_axes(problem, *one_cluster(problem))[0]).all()


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_splits_stay_in_the_range_of_float32(rng, make, scale):
    X = elongated(rng, 200, 3).astype(np.float32)
    plain, scaled = make(X), make(X * np.float32(scale))
    expected = split(plain, *one_cluster(plain))
    found = split(scaled, *one_cluster(scaled))
    left = (found.left * 2.0**scaled.exponent / scale).to(expected.left)
    torch.testing.assert_close(left, expected.left, rtol=1e-4, atol=0)
    torch.testing.assert_close(
        found.gain.double() * 4.0**scaled.exponent / scale**2,
        expected.gain.double(),
        rtol=1e-3,
        atol=0,
    )


def test_a_split_finds_two_clusters(rng, make):
    X = np.concatenate([rng.normal(size=(150, 3)), rng.normal(size=(50, 3)) + 6])
    problem = make(X)
    cuts = split(problem, *one_cluster(problem))
    expected = KMeans(2, n_init=5, random_state=0, tol=0).fit(X).cluster_centers_
    found = np.stack([cuts.left[0], cuts.right[0]])
    order = expected[:, 0].argsort()
    np.testing.assert_allclose(found[found[:, 0].argsort()], expected[order], rtol=1e-9)


def test_growth_starts_at_the_critical_temperature(rng, make):
    X = elongated(rng, 400, 3)
    problem = make(X)
    steps = []
    found = grow(problem, 12, lambda *step: steps.append(step))
    temperatures = [record.temperature for record, _ in steps]
    largest = np.linalg.eigvalsh(np.cov(X.T, bias=True))[-1]
    assert temperatures[0] == pytest.approx(2 * largest, rel=0.01)
    assert temperatures == sorted(temperatures, reverse=True)
    sizes = [len(centers) for _, centers in steps]
    assert sizes == sorted(set(sizes))
    partition, means = found.state
    assert sizes[-1] == partition.n_clusters == 12
    distortions = [record.objective for record, _ in steps]
    assert distortions == sorted(distortions, reverse=True)
    centers, distortion = update(problem, partition)
    assert torch.equal(steps[-1][1], centers)
    assert torch.equal(means, centers)
    assert distortion == distortions[-1] == found.objective
    assert found.n_iter == len(steps)
    assert not found.stopped


def test_the_hook_stops_growth(rng, make):
    X = rng.normal(size=(100, 3))
    found = grow(make(X), 50, lambda _, centers: len(centers) >= 5)
    assert found.stopped
    assert 5 <= found.state[0].n_clusters < 50


def test_growth_ends_at_the_number_of_distinct_rows(rng, make):
    X = np.repeat(rng.normal(size=(4, 3)), 5, axis=0)
    problem = make(X)
    found = grow(problem, 9, lambda *_: False).state[1].numpy()
    np.testing.assert_allclose(found[found[:, 0].argsort()], np.unique(X, axis=0))
