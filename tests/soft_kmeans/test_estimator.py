"""SoftKMeans at temperature 0: scikit-learn's KMeans, and better local optima."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, pairwise_distances_argmin

from skrbf import SoftKMeans

GENERATED = ["aniso", "blobs", "uneven", "uniform"]
INITS = {
    "grow": "grow",
    "k-means++": "k-means++",
    "random": "random",
    "callable": lambda X, n_clusters, random_state: X[-n_clusters:],
}


def lloyd(init, **params):
    params = {"n_clusters": len(init), "n_init": 1, **params}
    return SoftKMeans(temperature=0, init=init, **params)


def kmeans(init, **params):
    params = {"n_clusters": len(init), "n_init": 1, **params}
    return KMeans(init=init, tol=0, **params)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("container", [np.asarray, csr_array])
@pytest.mark.parametrize("name", GENERATED)
def test_lloyd_from_an_array_agrees_with_kmeans(
    make_data, name, container, weighted, dtype
):
    X = make_data(name).astype(dtype)
    weight = np.random.default_rng(0).uniform(0.1, 3, len(X)) if weighted else None
    init = X[:7]

    soft = lloyd(init).fit(container(X), sample_weight=weight)
    hard = kmeans(init).fit(container(X), sample_weight=weight)

    rtol = 1e-4 if dtype == np.float32 else 1e-10
    assert_array_equal(soft.labels_, hard.labels_)
    assert_allclose(soft.cluster_centers_, hard.cluster_centers_, rtol, atol=rtol)
    assert_allclose(soft.inertia_, hard.inertia_, rtol)
    assert soft.cluster_centers_.dtype == hard.cluster_centers_.dtype == dtype
    assert soft.labels_.dtype == hard.labels_.dtype == np.int32
    score = soft.score(container(X), sample_weight=weight)
    assert_allclose(score, hard.score(container(X), sample_weight=weight), rtol)


@pytest.mark.parametrize("n_clusters", [2, 6, 25])
@pytest.mark.parametrize("name", ["digits", "iris", "wine"])
def test_lloyd_agrees_with_kmeans_on_real_data(make_data, name, n_clusters):
    rng = np.random.default_rng(n_clusters)
    X = make_data(name)
    X = X + rng.normal(scale=1e-6, size=X.shape)  # whole numbers tie, and rounding wins
    init = X[rng.choice(len(X), n_clusters, replace=False)]

    soft, hard = lloyd(init).fit(X), kmeans(init).fit(X)

    assert_allclose(soft.inertia_, hard.inertia_, rtol=1e-9)
    assert adjusted_rand_score(soft.labels_, hard.labels_) == 1
    assert_array_equal(soft.labels_, hard.labels_)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("container", [np.asarray, csr_array])
def test_an_empty_cluster_moves_to_the_farthest_row(make_data, container, weighted):
    X = make_data("blobs")
    weight = np.random.default_rng(0).uniform(0.1, 3, len(X)) if weighted else None
    init = np.vstack([X[:5], np.full(X.shape[1], 1e3)])

    soft = lloyd(init).fit(container(X), sample_weight=weight)
    hard = kmeans(init).fit(container(X), sample_weight=weight)

    assert_array_equal(soft.labels_, hard.labels_)
    assert_allclose(soft.cluster_centers_, hard.cluster_centers_, rtol=1e-9)


def test_several_empty_clusters_are_all_filled(make_data, reference):
    X = make_data("uniform")
    init = np.vstack([X[:2], np.full((6, 3), 1e3) + np.arange(6)[:, None]])

    soft = lloyd(init).fit(X)

    assert_array_equal(np.unique(soft.labels_), np.arange(8))
    assert_allclose(
        soft.cluster_centers_, reference.step(X, soft.cluster_centers_, 0), rtol=1e-9
    )


@pytest.mark.parametrize("init", INITS.values(), ids=INITS.keys())
@pytest.mark.parametrize("name", GENERATED)
def test_one_more_lloyd_step_changes_no_label(make_data, name, init):
    X = make_data(name)
    soft = SoftKMeans(8, temperature=0, init=init, random_state=3).fit(X)

    means = np.array([X[soft.labels_ == j].mean(axis=0) for j in range(8)])

    assert_allclose(soft.cluster_centers_, means, rtol=1e-10)
    assert_array_equal(soft.labels_, pairwise_distances_argmin(X, means))


@pytest.mark.parametrize("temperature", [0, 0.01, "auto"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_inertia_and_score(make_data, reference, weighted, temperature):
    X = make_data("blobs")
    weight = np.random.default_rng(0).uniform(0, 3, len(X)) if weighted else None
    soft = SoftKMeans(5, temperature=temperature).fit(X, sample_weight=weight)

    inertia = reference.free_energy(X, soft.cluster_centers_, 0, weight=weight)

    assert type(soft.inertia_) is float
    assert_allclose(soft.inertia_, inertia, rtol=1e-10)
    assert_allclose(soft.score(X, sample_weight=weight), -inertia, rtol=1e-10)
    assert type(soft.score(X)) is float
    if temperature == 0:
        assert_allclose(soft.objective_, inertia, rtol=1e-10)


@pytest.mark.parametrize("n_clusters", [3, 8, 30])
@pytest.mark.parametrize("name", GENERATED)
def test_grow_is_no_worse_than_ten_starts(make_data, name, n_clusters):
    ratios = []
    for seed in range(6):
        X = make_data(name, 600, seed)
        grown = SoftKMeans(n_clusters, temperature=0).fit(X)
        best = KMeans(n_clusters, n_init=10, random_state=seed).fit(X)
        ratios.append(grown.inertia_ / best.inertia_)

    # Neither finds the best of all each time: single ratios scatter about 1.
    assert np.exp(np.mean(np.log(ratios))) <= 1.002
    assert max(ratios) <= 1.015


@pytest.mark.parametrize(("name", "n_clusters"), [("digits", 10), ("wine", 3)])
def test_grow_is_no_worse_on_real_data(make_data, name, n_clusters):
    X = make_data(name)

    grown = SoftKMeans(n_clusters, temperature=0).fit(X)
    best = KMeans(n_clusters, n_init=10, random_state=0).fit(X)

    assert grown.inertia_ <= best.inertia_ * 1.005


@pytest.mark.parametrize("n_clusters", [2, 3, 5, 10, 20])
def test_grow_is_no_worse_on_iris(make_data, n_clusters):
    X = make_data("iris")

    grown = SoftKMeans(n_clusters, temperature=0).fit(X)
    best = KMeans(n_clusters, n_init=10, random_state=0).fit(X)

    assert grown.inertia_ <= best.inertia_ * 1.005


def test_grow_finds_the_optimum_on_a_line():
    """Three clusters of a line: compare with every partition into intervals."""
    X = np.sort(np.random.default_rng(5).normal(size=60) ** 3)[:, None]
    best = min(
        sum(part.var() * len(part) for part in np.split(X, [i, j]))
        for i in range(1, 59)
        for j in range(i + 1, 60)
    )

    assert_allclose(SoftKMeans(3, temperature=0).fit(X).inertia_, best, rtol=1e-10)


def test_more_starts_are_better(make_data):
    X = make_data("blobs", 600)
    once, often = (
        np.mean(
            [
                SoftKMeans(
                    12, temperature=0, init="random", n_init=n_init, random_state=seed
                )
                .fit(X)
                .inertia_
                for seed in range(5)
            ]
        )
        for n_init in (1, 10)
    )
    assert often < 0.995 * once


@pytest.mark.parametrize("assignment", ["softmax", "entmax15", "sparsemax"])
def test_all_maps_agree_with_kmeans_at_temperature_0(make_data, assignment):
    X = make_data("aniso")
    a = lloyd(X[:4], assignment=assignment).fit(X)
    assert_array_equal(a.labels_, kmeans(X[:4]).fit(X).labels_)
    assert_array_equal(a.predict_proba(X), np.eye(4)[a.labels_])
    assert a.temperature_ == a.sigma_ == 0


def test_a_callable_and_its_array_agree(make_data):
    X = make_data("blobs")
    seen = []

    def init(X, n_clusters, random_state):
        seen.append((X.shape, n_clusters))
        random_state.uniform()  # KMeans hands over a RandomState as well
        return X[:n_clusters]

    a, b = lloyd(X[:5]).fit(X), SoftKMeans(5, temperature=0, init=init).fit(X)

    assert seen[0] == (X.shape, 5)
    assert_array_equal(a.labels_, b.labels_)
    assert_allclose(a.cluster_centers_, b.cluster_centers_, rtol=1e-12)


def test_labels_of_an_array_init_keep_its_order(make_data):
    X = make_data("aniso")
    a = lloyd(X[:4]).fit(X)
    order = [2, 0, 3, 1]
    b = lloyd(X[:4][order]).fit(X)
    assert_allclose(b.cluster_centers_, a.cluster_centers_[order], rtol=1e-12)
    assert_array_equal(b.labels_, np.argsort(order)[a.labels_])
