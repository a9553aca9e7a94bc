"""SoftKMeans where data is degenerate, huge, tiny or far away; its symmetries."""

import os
import random
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import ortho_group
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, make_blobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skrbf import SoftKMeans

KINDS = {
    "softmax": {"temperature": 0.05},
    "entmax15": {"temperature": 0.05, "assignment": "entmax15"},
    "sparsemax": {"temperature": 0.05, "assignment": "sparsemax"},
    "hard": {"temperature": 0},
    "auto": {},
    "auto entmax15": {"assignment": "entmax15"},
    "auto sparsemax": {"assignment": "sparsemax"},
}
all_kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def on_a_grid(X):
    """Rows that a shift by 2**27 leaves exact."""
    return np.round(X * 2**20) / 2**20


def check_finite(est):
    for name, value in vars(est).items():
        if name.endswith("_") and name != "history_":
            assert np.isfinite(value).all(), name


@pytest.mark.parametrize("init", ["grow", "k-means++"])
@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1000, 1e12])
@all_kinds
def test_no_unit(make_data, kind, scale, init):
    X = make_data("blobs")
    params = {"n_clusters": 5, "init": init, "random_state": 0, **kind}
    a, b = SoftKMeans(**params).fit(X), SoftKMeans(**params).fit(X * scale)

    assert_array_equal(b.labels_, a.labels_)
    assert_allclose(b.predict_proba(X * scale), a.predict_proba(X), atol=1e-8)
    assert_allclose(b.cluster_centers_, a.cluster_centers_ * scale, rtol=1e-8)
    assert_allclose(b.objective_, a.objective_ * scale**2, rtol=1e-8)
    assert b.n_iter_ == a.n_iter_


@pytest.mark.parametrize("scale", [1e-12, 1e12])
@all_kinds
def test_no_unit_in_float32(make_data, kind, scale):
    """Rounding may end the descent a step sooner or later.

    Such a step moves the centers by no more than sqrt(tol) times the width of the
    memberships, which changes the memberships by about sqrt(tol).
    """
    X = make_data("aniso").astype(np.float32)
    scaled = X * np.float32(scale)
    a, b = SoftKMeans(4, **kind).fit(X), SoftKMeans(4, **kind).fit(scaled)

    assert_array_equal(b.labels_, a.labels_)
    assert_allclose(b.predict_proba(scaled), a.predict_proba(X), atol=a.tol**0.5)
    assert abs(b.n_iter_ - a.n_iter_) <= 1


@pytest.mark.parametrize("init", ["grow", "k-means++"])
@all_kinds
def test_no_origin(make_data, kind, init):
    X, far = on_a_grid(make_data("blobs")), 2.0**27
    params = {"n_clusters": 5, "init": init, "random_state": 0, **kind}
    a, b = SoftKMeans(**params).fit(X), SoftKMeans(**params).fit(X + far)

    assert_array_equal(b.labels_, a.labels_)
    assert_allclose(b.predict_proba(X + far), a.predict_proba(X), atol=1e-5)
    assert_allclose(b.cluster_centers_ - far, a.cluster_centers_, atol=1e-6)
    assert_allclose(b.inertia_, a.inertia_, rtol=1e-6)


@all_kinds
def test_no_origin_in_float32(make_data, kind):
    """Rows that a shift by 2**10 leaves exact in 24 bits."""
    X = (np.round(make_data("aniso") * 2**9) / 2**9).astype(np.float32)
    kind = {"n_clusters": 4, "tol": 1e-7, "max_iter": 1000, **kind}
    a, b = SoftKMeans(**kind).fit(X), SoftKMeans(**kind).fit(X + 1024)

    assert adjusted_rand_score(b.labels_, a.labels_) > 0.97  # of 1 / 5 at 1024
    assert_allclose(b.inertia_, a.inertia_, rtol=1e-3)
    assert_allclose(b.sigma_, a.sigma_, rtol=1e-3)


@pytest.mark.parametrize("n_clusters", [3, 7])
@all_kinds
def test_no_order_of_rows(make_data, matched, kind, n_clusters):
    X = make_data("blobs")
    order = np.random.default_rng(1).permutation(len(X))
    a, b = (SoftKMeans(n_clusters, **kind).fit(data) for data in (X, X[order]))

    fitting = matched(a.cluster_centers_, b.cluster_centers_)
    assert_allclose(fitting, a.cluster_centers_, rtol=1e-6, atol=1e-6)
    assert adjusted_rand_score(b.labels_, a.labels_[order]) == 1
    assert_array_equal(b.predict(X)[order], b.labels_)


@all_kinds
def test_rounding_does_not_number_the_clusters(kind):
    """Here two clusters grow at nearly the same temperature."""
    X = StandardScaler().fit_transform(load_breast_cancer().data)
    order = np.random.default_rng(0).permutation(len(X))
    labels = SoftKMeans(10, **kind).fit(X).labels_

    assert_array_equal(SoftKMeans(10, **kind).fit(7 * X).labels_, labels)
    assert_array_equal(SoftKMeans(10, **kind).fit(X[order]).labels_, labels[order])


@all_kinds
def test_no_preferred_direction(make_data, matched, kind):
    X = make_data("blobs")
    turn = ortho_group.rvs(4, random_state=0)
    a, b = (SoftKMeans(6, **kind).fit(data) for data in (X, X @ turn))

    fitting = matched(a.cluster_centers_ @ turn, b.cluster_centers_)
    assert_allclose(fitting, a.cluster_centers_ @ turn, rtol=1e-6, atol=1e-6)
    assert adjusted_rand_score(b.labels_, a.labels_) == 1


@pytest.mark.parametrize("init", ["grow", "k-means++", "random"])
@pytest.mark.parametrize("n_rows", [1, 5])
@all_kinds
def test_constant_data(kind, n_rows, init):
    X = np.full((n_rows, 3), 0.1)
    est = SoftKMeans(1, init=init, random_state=0, **kind).fit(X)

    check_finite(est)
    assert_array_equal(est.labels_, np.zeros(n_rows))
    assert_allclose(est.cluster_centers_, X[:1])
    assert_array_equal(est.predict_proba(X), np.ones((n_rows, 1)))
    assert est.inertia_ == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("init", ["grow", "k-means++", "random"])
@pytest.mark.parametrize("n_distinct", [1, 2, 3])
@all_kinds
def test_fewer_distinct_rows_than_clusters(kind, n_distinct, init):
    X = np.array([[0.0, 1.0], [5.0, 2.0], [1.0, 9.0]])[:n_distinct].repeat(6, axis=0)
    est = SoftKMeans(5, init=init, random_state=0, **kind)

    message = (
        rf"Number of distinct clusters \({n_distinct}\) found smaller than "
        r"n_clusters \(5\)"
    )
    with pytest.warns(ConvergenceWarning, match=message):
        KMeans(5, n_init=1).fit(X)
    if kind.get("temperature", 0) == 0:  # a soft center may lie between rows
        with pytest.warns(ConvergenceWarning, match=message):
            est.fit(X)
        assert len(set(est.labels_)) == n_distinct
        assert est.inertia_ == pytest.approx(0, abs=1e-20)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            est.fit(X)
    check_finite(est)
    assert_array_equal(est.labels_, est.predict(X))
    assert_array_equal(np.unique(est.labels_), np.arange(est.labels_.max() + 1))
    assert_allclose(est.predict_proba(X).sum(axis=1), 1)


@all_kinds
def test_one_cluster(make_data, kind):
    X = make_data("blobs")
    est = SoftKMeans(1, **kind).fit(X)
    assert_allclose(est.cluster_centers_, X.mean(axis=0)[None], rtol=1e-12)
    assert_allclose(est.inertia_, X.var(axis=0).sum() * len(X), rtol=1e-12)
    assert_array_equal(est.predict_proba(X), np.ones((len(X), 1)))


@pytest.mark.parametrize("init", ["grow", "k-means++", "random"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_as_many_clusters_as_rows(make_data, init, dtype):
    X = make_data("uniform", 30).astype(dtype)
    est = SoftKMeans(30, temperature=0, init=init, random_state=0).fit(X)
    assert_array_equal(np.sort(est.labels_), np.arange(30))
    assert_allclose(est.cluster_centers_[est.labels_], X, rtol=1e-6, atol=1e-7)
    assert est.inertia_ == pytest.approx(0, abs=1e-10)


@all_kinds
def test_one_feature(kind):
    X = np.concatenate([np.linspace(0, 1, 40), np.linspace(5, 6, 40)])[:, None]
    est = SoftKMeans(2, **kind).fit(X)
    assert_array_equal(est.labels_, np.repeat([0, 1], 40))
    assert_allclose(est.cluster_centers_[:, 0], [0.5, 5.5], atol=0.05)


@pytest.mark.parametrize("kind", ["softmax", "entmax15", "sparsemax", "hard"])
def test_a_constant_feature_changes_nothing(make_data, kind):
    """Save "auto" and `tol`, which go by the mean over the features."""
    X = make_data("aniso")
    wide = np.column_stack([X, np.full(len(X), 1e3)])
    est = SoftKMeans(4, tol=1e-14, max_iter=10_000, **KINDS[kind])
    labels, centers = est.fit(X).labels_, est.cluster_centers_
    est.fit(wide)
    assert_array_equal(est.labels_, labels)
    assert_allclose(est.cluster_centers_[:, :2], centers, rtol=1e-6)
    assert_allclose(est.cluster_centers_[:, 2], 1e3)


def test_an_outlier_far_away(make_data):
    X = np.vstack([make_data("aniso"), [[1e6, 1e6]]])
    est = SoftKMeans(5, temperature=0).fit(X)
    best = KMeans(5, n_init=10, random_state=0).fit(X)
    assert est.inertia_ <= best.inertia_ * 1.005


@pytest.mark.parametrize(
    ("temperature", "init"),
    [(0, "k-means++"), (0, "random"), (0.1, "k-means++"), (0.1, "grow")],
)
def test_max_iter_too_small_is_named(make_data, temperature, init):
    X = make_data("uniform")
    est = SoftKMeans(
        8, temperature=temperature, init=init, max_iter=1, random_state=0, tol=1e-9
    )
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        est.fit(X)
    assert_array_equal(est.labels_, est.predict(X))


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("init", ["grow", "k-means++", "random"])
@all_kinds
def test_repeatable(make_data, kind, init, n_threads):
    X = make_data("blobs", 3000 if n_threads > 1 else 300)
    est = SoftKMeans(6, init=init, n_init=1, random_state=7, **kind)
    with threadpool_limits(n_threads):
        assert torch.get_num_threads() == n_threads
        a, b = (clone(est).fit(X.copy()) for _ in "ab")
    for name in ("cluster_centers_", "labels_", "inertia_", "objective_", "n_iter_"):
        assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert a.history_ == b.history_
    assert_array_equal(a.predict_proba(X), b.predict_proba(X))


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_another_seed_is_another_start(make_data, init):
    X = make_data("uniform")
    inertia = {
        SoftKMeans(9, temperature=0, init=init, n_init=1, random_state=seed)
        .fit(X)
        .inertia_
        for seed in range(5)
    }
    assert len(inertia) > 1


@all_kinds
def test_grow_needs_no_seed(make_data, kind):
    X = make_data("blobs")
    a, b, c = (
        SoftKMeans(6, random_state=seed, **kind).fit(X).cluster_centers_
        for seed in (0, 1, None)
    )
    assert_array_equal(a, b)
    assert_array_equal(a, c)


@pytest.mark.parametrize("verbose", [0, 1])
@pytest.mark.parametrize("init", ["grow", "k-means++", "random"])
def test_nothing_global_is_touched(make_data, capfd, init, verbose):
    X = make_data("blobs")

    def state():
        return (
            random.getstate(),
            [np.asarray(part).tolist() for part in np.random.get_state()],  # noqa: NPY002
            torch.get_rng_state().tolist(),
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            np.geterr(),
            warnings.filters[:],
        )

    before = state()
    seed = None if init == "grow" else 0
    est = SoftKMeans(5, init=init, random_state=seed, verbose=verbose).fit(X)
    est.predict_proba(X)

    assert state() == before
    out, err = capfd.readouterr()
    assert bool(out + err) == bool(verbose)


MEMORY = """
import resource, warnings
import numpy as np
from skrbf import SoftKMeans
warnings.simplefilter("ignore")
X = np.random.default_rng(0).random((50_000, 2))
def run(rows):
    est = SoftKMeans(400, temperature={temperature}, init=X[:400], max_iter=2)
    est.fit(X[:rows]).predict(X[:rows])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = run(2_000)
print((run(50_000) - before) / 1024)
"""


if sys.platform == "linux":  # elsewhere ru_maxrss has another unit, or is missing

    @pytest.mark.parametrize("temperature", [0, 0.05])
    def test_memory_is_that_of_a_chunk(temperature):
        """The whole n x k matrix would be 160 MB."""
        code = MEMORY.format(temperature=temperature)
        run = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "OMP_NUM_THREADS": "1"},  # one allocator
            capture_output=True,
            text=True,
            check=True,
        )
        assert float(run.stdout) < 80


TIGHT = [(12, 1e-13, np.float64), (1, 1e-4, np.float32), (3, 1e-9, np.float64)]


@pytest.mark.parametrize(("n_distinct", "noise", "dtype"), TIGHT)
def test_tight_clusters_come_to_an_end(n_distinct, noise, dtype):
    rng = np.random.default_rng(n_distinct)
    points = rng.normal(size=(n_distinct, 1)) * 10
    X = points[rng.integers(n_distinct, size=600)] + noise * rng.normal(size=(600, 1))
    for k in (2, 7, 25):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Number of distinct clusters")
            est = SoftKMeans(k, temperature=0).fit(X.astype(dtype))
        assert min(est.history_["objective"]) >= 0
        assert est.n_iter_ < 50


@pytest.mark.parametrize("far", [1e4, 1e5, 1e6])
@pytest.mark.parametrize("temperature", [0, "auto"])
def test_one_outlier_does_not_blur_float32(temperature, far):
    blobs, _ = make_blobs(2000, 3, centers=12, random_state=1)
    X = np.r_[blobs, [[far] * 3]].astype(np.float32)
    est = SoftKMeans(12, temperature=temperature).fit(X)
    gaps = ((X[:, None].astype(float) - est.cluster_centers_) ** 2).sum(2)
    own = gaps[np.arange(len(X)), est.labels_]
    assert np.mean(own > gaps.min(1) * 1.05) < 0.005
    assert_allclose(est.inertia_, own.sum(), rtol=1e-3)
    assert_array_equal(est.labels_, est.predict(X))


@pytest.mark.parametrize("temperature", [0, "auto"])
def test_float32_data_far_from_the_origin(temperature):
    blobs, _ = make_blobs(3000, 4, centers=20, cluster_std=10, random_state=0)
    X = (20 * blobs + [5e5, 5e6, -5e5, 0]).astype(np.float32)
    near = X - X.mean(axis=0, dtype=float).astype(np.float32)  # exact
    far = SoftKMeans(20, temperature=temperature).fit(X)
    expected = SoftKMeans(20, temperature=temperature).fit(near)
    assert_allclose(far.inertia_, expected.inertia_, rtol=2e-2)
    assert_array_equal(far.labels_, far.predict(X))


def test_the_best_of_several_starts_is_kept_beside_an_outlier():
    blobs, _ = make_blobs(2000, 3, centers=12, random_state=1)
    X = np.r_[blobs, [[1e4] * 3]]
    how = {"init": "k-means++", "temperature": 0}
    together = SoftKMeans(
        12, n_init=5, random_state=np.random.RandomState(1), **how
    ).fit(X)
    stream = np.random.RandomState(1)
    alone = [SoftKMeans(12, random_state=stream, **how).fit(X) for _ in range(5)]
    assert together.inertia_ == min(est.inertia_ for est in alone)


@pytest.mark.parametrize("scale", [1e-30, 1e-25, 1e20])
@pytest.mark.parametrize("temperature", [0, 0.05, "auto"])
@pytest.mark.parametrize("assignment", ["softmax", "entmax15", "sparsemax"])
def test_only_the_ratio_of_weights_counts(scale, temperature, assignment):
    X, _ = make_blobs(500, 3, centers=6, random_state=0)
    X = X.astype(np.float32)
    est = SoftKMeans(6, temperature=temperature, assignment=assignment)
    plain = clone(est).fit(X)
    weight = np.full(500, scale, dtype=np.float32)
    weighted = est.fit(X, sample_weight=weight)
    assert_array_equal(plain.labels_, weighted.labels_)
    assert_allclose(weighted.cluster_centers_, plain.cluster_centers_, rtol=1e-4)
