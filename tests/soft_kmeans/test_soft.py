"""SoftKMeans above temperature 0: responsibilities, free energy, temperatures."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score

from skrbf import SoftKMeans

all_maps = pytest.mark.parametrize("assignment", ["softmax", "entmax15", "sparsemax"])
all_inits = pytest.mark.parametrize("init", ["grow", "k-means++", "random"])


def soft(n_clusters=6, **params):
    return SoftKMeans(n_clusters, random_state=0, **params)


@all_maps
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("temperature", [0, 1e-3, 0.05, 0.3, "auto"])
@pytest.mark.parametrize("name", ["blobs", "uniform"])
def test_responsibilities(make_data, reference, name, temperature, dtype, assignment):
    X = make_data(name).astype(dtype)
    est = soft(temperature=temperature, assignment=assignment).fit(X)
    new = make_data(name, seed=1).astype(dtype)

    expected = reference.responsibilities(
        new, est.cluster_centers_, est.temperature_, assignment
    )
    r = est.predict_proba(new)

    assert r.dtype == dtype
    assert r.shape == (len(new), 6)
    assert_allclose(r, expected, atol=2e-4 if dtype == np.float32 else 1e-10)
    assert_allclose(r.sum(axis=1), 1, rtol=1e-5 if dtype == np.float32 else 1e-12)
    assert (r >= 0).all()
    assert_array_equal(est.transform(new), r)


@all_maps
@all_inits
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("temperature", [0, 0.05, 0.5, "auto"])
def test_labels_agree_with_predict_and_responsibilities(
    make_data, init, temperature, dtype, assignment
):
    X = make_data("blobs").astype(dtype)
    est = soft(temperature=temperature, assignment=assignment, init=init)
    labels = est.fit_predict(X)

    assert labels is est.labels_ or (labels == est.labels_).all()
    assert labels.dtype == np.int32
    assert_array_equal(labels, est.predict(X))
    assert_array_equal(labels, est.predict_proba(X).argmax(axis=1))
    assert_array_equal(np.unique(labels), np.arange(labels.max() + 1))


@all_maps
def test_labels_agree_where_rows_tie(assignment):
    X = np.stack(np.meshgrid(range(8), range(8)), -1).reshape(-1, 2).repeat(2, axis=0)
    for temperature in (0, 0.1, "auto"):
        est = soft(4, temperature=temperature, assignment=assignment).fit(X)
        assert_array_equal(est.labels_, est.predict(X))
        assert_array_equal(est.labels_, est.predict_proba(X).argmax(axis=1))


@all_maps
@pytest.mark.parametrize("tol", [1e-4, 1e-9])
@pytest.mark.parametrize("init", ["grow", "k-means++", "array"])
@pytest.mark.parametrize("name", ["aniso", "blobs", "uneven"])
def test_the_result_is_a_fixed_point(make_data, reference, name, init, tol, assignment):
    X = make_data(name)
    est = soft(
        temperature=0.04,
        assignment=assignment,
        init=X[:6] if init == "array" else init,
        tol=tol,
        max_iter=10_000,
    ).fit(X)

    moved = reference.step(X, est.cluster_centers_, est.temperature_, assignment)
    shift = ((moved - est.cluster_centers_) ** 2).sum()

    assert shift <= tol * X.var(axis=0).mean()


@all_maps
def test_the_result_is_a_fixed_point_with_weights(make_data, reference, assignment):
    X = make_data("blobs")
    weight = np.random.default_rng(0).exponential(size=len(X))
    est = soft(temperature=0.1, assignment=assignment, tol=1e-12, max_iter=10_000)
    est.fit(X, sample_weight=weight)

    moved = reference.step(
        X, est.cluster_centers_, est.temperature_, assignment, weight
    )

    assert_allclose(moved, est.cluster_centers_, atol=1e-5)


@all_maps
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("temperature", [0, 0.02, 0.4, "auto"])
def test_objective(make_data, reference, temperature, weighted, assignment):
    X = make_data("blobs")
    weight = np.random.default_rng(0).exponential(size=len(X)) if weighted else None
    est = soft(temperature=temperature, assignment=assignment)
    est.fit(X, sample_weight=weight)

    expected = reference.free_energy(
        X, est.cluster_centers_, est.temperature_, assignment, weight
    )

    assert type(est.objective_) is float
    assert_allclose(est.objective_, expected, rtol=1e-8)


@all_maps
@pytest.mark.parametrize("init", ["grow", "k-means++", "array"])
@pytest.mark.parametrize("temperature", [0, 0.05, "auto"])
def test_history(make_data, temperature, init, assignment):
    X = make_data("uniform")
    init = X[:6] if init == "array" else init
    est = soft(temperature=temperature, assignment=assignment, init=init).fit(X)
    history = est.history_
    T, objective = np.array(history["temperature"]), np.array(history["objective"])
    n_clusters = np.array(history["n_clusters"])
    slack = 1e-9 * np.abs(objective).max()

    assert len({len(column) for column in history.values()}) == 1
    assert_allclose(T[-1], est.temperature_, rtol=1e-3)
    assert n_clusters[-1] == 6
    assert est.n_iter_ >= 1
    same = (T[1:] == T[:-1]) & (n_clusters[1:] == n_clusters[:-1])
    rises = np.flatnonzero((np.diff(objective) > slack) & same) + 1
    begins, ends = set(), [len(objective) - 1]
    if isinstance(init, str) and init == "grow" and temperature == 0.05:
        # Grown centers descend, and then annealed ones do, which may begin higher. One
        # of the two is kept, and n_iter_ is how long it was.
        first = history["phase"].index("descend")
        assert set(history["phase"][first:]) == {"descend"}
        begins = {first + est.n_iter_, len(objective) - est.n_iter_}
        ends = [first + est.n_iter_ - 1, ends[0]]
    assert set(rises) <= begins
    assert len(rises) <= 1
    if temperature != "auto":
        assert any(est.objective_ <= objective[end] + slack for end in ends)


@all_maps
@pytest.mark.parametrize("temperature", [0, 0.05])
def test_each_step_lowers_the_objective(make_data, temperature, assignment):
    X = make_data("uniform")
    est = soft(temperature=temperature, assignment=assignment, init=X[:6]).fit(X)
    objective = est.history_["objective"]

    assert len(objective) >= 3
    assert (np.diff(objective) <= 1e-9 * abs(objective[0])).all()
    assert objective[2] < objective[1] < objective[0]


@all_maps
def test_growth_starts_at_the_critical_temperature(make_data, reference, assignment):
    X = make_data("blobs")
    est = soft(temperature=0.01, assignment=assignment).fit(X)
    T, n_clusters = est.history_["temperature"], est.history_["n_clusters"]

    assert_allclose(T[0], 2 * reference.largest_variance(X), rtol=0.01)
    assert n_clusters[0] <= 2
    assert n_clusters[-1] == 6
    assert (np.diff(n_clusters) >= 0).all()
    assert T[-1] == pytest.approx(est.temperature_)
    assert T[-1] < 0.1 * T[0]


@all_maps
def test_only_grow_anneals(make_data, assignment):
    X = make_data("blobs")
    for init in ("k-means++", "random", X[:6]):
        est = soft(temperature=0.01, assignment=assignment, init=init).fit(X)
        assert_allclose(est.history_["temperature"], est.temperature_, rtol=1e-12)
        assert set(est.history_["n_clusters"]) == {6}


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_equal_rows_have_no_temperature():
    est = soft(2, temperature=0.1).fit(np.ones((5, 2)))
    assert est.temperature_ == est.relative_temperature_ == 0


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@all_maps
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_temperatures(make_data, reference, weighted, assignment):
    X = make_data("aniso")
    weight = np.random.default_rng(0).exponential(size=len(X)) if weighted else None
    est = soft(temperature=0.07, assignment=assignment).fit(X, sample_weight=weight)
    critical = 2 * reference.largest_variance(X, weight)

    assert_allclose(est.temperature_, 0.07 * critical, rtol=1e-6)
    assert_allclose(2 * est.sigma_**2, est.temperature_, rtol=1e-12)
    assert_allclose(est.relative_temperature_, 0.07, rtol=1e-12)
    critical *= reference.critical_factor(6, assignment)
    assert_allclose(est.critical_temperature_, critical, rtol=1e-6)


@all_maps
@pytest.mark.parametrize("sigma", [0.3, 1.0])
@pytest.mark.parametrize("n_features", [2, 8])
def test_auto_finds_the_noise_level(reference, n_features, sigma, assignment):
    angle = 2 * np.pi * np.arange(5) / 5
    centers = np.zeros((5, n_features))
    centers[:, :2] = 7 * np.column_stack([np.cos(angle), np.sin(angle)])
    X, y = make_blobs(2000, centers=centers, cluster_std=sigma, random_state=0)
    est = soft(5, assignment=assignment).fit(X)

    assert adjusted_rand_score(y, est.labels_) > 0.95
    assert_allclose(est.sigma_, sigma, rtol=0.1)
    r = reference.responsibilities(
        X, est.cluster_centers_, est.temperature_, assignment
    )
    variance = (r * reference.distances(X, est.cluster_centers_)).sum() / X.size
    assert_allclose(est.temperature_, 2 * variance, rtol=0.05)
    again = soft(5, assignment=assignment, temperature=est.relative_temperature_).fit(X)
    assert_allclose(again.temperature_, est.temperature_, rtol=1e-12)


@pytest.mark.parametrize("init", ["grow", "k-means++"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_above_the_critical_temperature_responsibilities_are_equal(make_data, init):
    X = make_data("blobs")
    est = soft(temperature=1.5, init=init, tol=1e-12, max_iter=1000).fit(X)

    mean = np.broadcast_to(X.mean(axis=0), (6, 4))
    assert_allclose(est.cluster_centers_, mean, atol=1e-4)
    assert_allclose(est.predict_proba(X), 1 / 6, atol=1e-4)


def test_below_the_critical_temperature_clusters_differ(make_data):
    X = make_data("blobs")
    est = soft(2, temperature=0.8, tol=1e-9, max_iter=1000).fit(X)
    assert np.ptp(est.cluster_centers_, axis=0).max() > 0.5 * X.std()


def test_the_sparse_maps_are_exactly_sparse(make_data):
    X = make_data("blobs")
    softmax, entmax15, sparsemax = (
        soft(temperature=0.05, assignment=name).fit(X).predict_proba(X)
        for name in ("softmax", "entmax15", "sparsemax")
    )
    assert (softmax > 0).all()
    assert (entmax15 == 0).mean() > 0.3
    assert (sparsemax == 0).mean() > (entmax15 == 0).mean()
    for r in (entmax15, sparsemax):
        assert ((r > 0) & (r < 1)).any()


@all_maps
@pytest.mark.parametrize("name", ["aniso", "blobs", "uniform"])
def test_the_limit_of_temperature_0_is_kmeans(make_data, name, assignment):
    X = make_data(name)
    est = SoftKMeans(7, temperature=1e-9, init=X[:7], assignment=assignment).fit(X)
    hard = KMeans(7, init=X[:7], n_init=1, tol=0).fit(X)

    assert_array_equal(est.labels_, hard.labels_)
    assert_allclose(est.cluster_centers_, hard.cluster_centers_, rtol=1e-5)
    assert_allclose(est.objective_, hard.inertia_, rtol=1e-5)


@all_maps
def test_a_higher_temperature_is_softer(make_data, assignment):
    """The mean largest responsibility is 1 at 0, and falls with the temperature."""
    X, peaks = make_data("uniform"), []
    for t in (0, 0.05, 0.2, 0.5):
        est = soft(temperature=t, assignment=assignment).fit(X)
        peaks.append(est.predict_proba(X).max(axis=1).mean())
    assert peaks[0] == 1
    assert (np.diff(peaks) < 0).all()
    assert peaks[-1] < 0.95


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@all_maps
def test_annealing_competes_with_grown_centers(make_data, assignment):
    """Never worse than warming the grown centers, and somewhere better.

    To the end of the descent: where it ends early, so does one of the two before the
    other.
    """
    gains, end = [], {"tol": 1e-8, "max_iter": 3000}
    for seed in range(3):
        for name in ("aniso", "uneven", "uniform"):
            X = make_data(name, 200, seed)
            hard = SoftKMeans(8, temperature=0).fit(X)
            for temperature in (0.1, 0.4):
                how = {"temperature": temperature, "assignment": assignment, **end}
                est = SoftKMeans(8, **how).fit(X)
                warm = SoftKMeans(8, init=hard.cluster_centers_, **how).fit(X)
                gains.append((warm.objective_ - est.objective_) / hard.inertia_)
                phases = list(dict.fromkeys(est.history_["phase"]))
                assert phases[0] == "grow"
                assert phases[-2:] == ["anneal", "descend"]
    assert min(gains) > -3 * end["tol"]
    assert max(gains) > 1e-3


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.parametrize("temperature", [0, "auto", 1.2])
def test_no_annealing_where_it_cannot_help(make_data, temperature):
    est = soft(temperature=temperature).fit(make_data("blobs"))
    assert "anneal" not in est.history_["phase"]


@all_maps
def test_annealing_goes_down_from_the_critical_temperature(make_data, assignment):
    est = soft(temperature=0.05, assignment=assignment).fit(make_data("blobs"))
    phase = np.array(est.history_["phase"])
    T = np.array(est.history_["temperature"])[phase == "anneal"]
    assert 0.75 * est.critical_temperature_ < T[0] < est.critical_temperature_
    assert (np.diff(T) <= 0).all()
    assert est.temperature_ < T[-1] < 1.3 * est.temperature_


@all_maps
@pytest.mark.parametrize("init", ["grow", "k-means++"])
@pytest.mark.parametrize("factor", [2, 10, 1000])
def test_above_the_critical_temperature_there_is_one_cluster(
    make_data, reference, assignment, init, factor
):
    X = make_data("wine")
    k = 9
    temperature = factor * reference.critical_factor(k, assignment)
    est = SoftKMeans(
        k, temperature=temperature, assignment=assignment, init=init, random_state=0
    )
    with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(1\)"):
        est.fit(X)
    assert_allclose(est.cluster_centers_, [X.mean(axis=0)] * k, rtol=1e-6)
    assert (est.labels_ == 0).all()
    assert (est.predict(X.astype(np.float32)) == 0).all()


def test_centers_that_merge_have_one_label(make_data):
    est = soft(temperature=0.8)
    with pytest.warns(ConvergenceWarning, match="distinct clusters"):
        est.fit(make_data("blobs"))
    gaps = ((est.cluster_centers_[:, None] - est.cluster_centers_) ** 2).sum(2)
    pairs = gaps[np.triu_indices(6, 1)]
    assert (pairs == 0).any()
    assert pairs[pairs > 0].min() > 1e-4 * make_data("blobs").var(axis=0).mean()
    assert len(set(est.labels_)) <= len(np.unique(est.cluster_centers_, axis=0)) < 6
    r = est.predict_proba(make_data("blobs", seed=1))
    assert all((r[:, i] == r[:, j]).all() for i, j in np.argwhere(gaps == 0))


def test_parameters_set_after_fit_do_not_change_predictions(make_data):
    X = make_data("iris")
    est = SoftKMeans(3).fit(X)
    before = est.predict_proba(X)
    est.set_params(assignment="entmax15", temperature=0, n_clusters=5)
    assert_array_equal(est.predict_proba(X), before)


@all_maps
def test_a_tolerance_of_0_converges(make_data, assignment):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        est = SoftKMeans(
            3, tol=0, temperature=0.05, max_iter=1000, assignment=assignment
        )
        est.fit(make_data("iris"))
    assert est.n_iter_ < 1000


@all_maps
def test_far_outliers_part_above_the_critical_temperature(reference, assignment):
    """The mean is stable there, and yet not the lowest free energy."""
    X = np.repeat([0.0, 100.0], [990, 10])[:, None]
    k = 100
    factor = 1.3 * reference.critical_factor(k, assignment)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        est = SoftKMeans(k, temperature=factor, assignment=assignment).fit(X)
    T = est.temperature_
    scatter = len(X) * X.var()
    # All centers at the mean: every row has the same responsibilities.
    H = reference.entropy(np.full((1, k), 1 / k), assignment)[0]
    assert est.objective_ <= scatter - T * len(X) * H + 1e-4 * scatter
    assert_array_equal(est.labels_, est.predict(X))
    assert len(set(est.labels_)) <= len(np.unique(est.cluster_centers_, axis=0))
