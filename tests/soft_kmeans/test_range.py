"""Numbers of any size: only their ratios count, and what leaves the range is told."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs

from skrbf import DeepCenteringClustering, RBFNetClassifier, SoftKMeans

KINDS = {
    "softmax": {"temperature": 0.05},
    "entmax15": {"temperature": 0.05, "assignment": "entmax15"},
    "sparsemax": {"temperature": 0.05, "assignment": "sparsemax"},
    "hard": {"temperature": 0},
    "auto": {},
    "k-means++": {"init": "k-means++", "random_state": 0},
}
all_kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
# Of float64: their squares are normal numbers, and those of the largest inertia finite.
POWERS = st.integers(-495, 495)


def blobs(seed=0, n_samples=80):
    return make_blobs(n_samples, 3, centers=5, cluster_std=2.0, random_state=seed)[0]


@all_kinds
@pytest.mark.parametrize("container", [np.asarray, csr_array])
@settings(max_examples=10, deadline=None)
@given(power=POWERS)
def test_rows_times_a_power_of_two(kind, container, power):
    """The result is the same to the last bit: nothing overflows or is rounded."""
    X = blobs()
    plain = SoftKMeans(5, **kind).fit(container(X))
    scaled = SoftKMeans(5, **kind).fit(container(np.ldexp(X, power)))
    assert_array_equal(scaled.labels_, plain.labels_)
    assert_array_equal(scaled.cluster_centers_, np.ldexp(plain.cluster_centers_, power))
    assert scaled.temperature_ == np.ldexp(plain.temperature_, 2 * power)
    assert scaled.critical_temperature_ == np.ldexp(
        plain.critical_temperature_, 2 * power
    )
    assert scaled.relative_temperature_ == plain.relative_temperature_
    assert_allclose(scaled.inertia_, np.ldexp(plain.inertia_, 2 * power), rtol=1e-12)
    assert_allclose(
        scaled.history_["objective"],
        np.ldexp(plain.history_["objective"], 2 * power),
        rtol=1e-10,
    )
    r = scaled.transform(container(np.ldexp(X, power)))
    assert_allclose(r, plain.transform(container(X)), rtol=1e-10, atol=1e-14)


@all_kinds
@settings(max_examples=20, deadline=None)
@given(power=st.integers(-120, 120))
def test_single_precision_rows_of_any_size(kind, power):
    """The result agrees with double precision, for any normal numbers."""
    X = blobs().astype(np.float32)
    if "assignment" in kind:  # lies on the edge of a merger here
        kind = {**kind, "temperature": 0.02}
    expected = SoftKMeans(5, **kind).fit(X.astype(np.float64))
    found = SoftKMeans(5, **kind).fit(np.ldexp(X, power))
    assert_array_equal(found.labels_, expected.labels_)
    assert found.cluster_centers_.dtype == np.float32
    assert_allclose(
        np.ldexp(found.cluster_centers_.astype(np.float64), -power),
        expected.cluster_centers_,
        rtol=1e-3,
        atol=1e-3,
    )
    assert_array_equal(found.predict(np.ldexp(X, power)), found.labels_)


@all_kinds
@settings(max_examples=10, deadline=None)
@given(power=st.integers(-1021, 1000))
def test_weights_times_a_power_of_two(kind, power):
    X = blobs()
    weight = np.random.default_rng(0).integers(1, 4, len(X)).astype(float)
    plain = SoftKMeans(5, **kind).fit(X, sample_weight=weight)
    scaled = SoftKMeans(5, **kind).fit(X, sample_weight=np.ldexp(weight, power))
    assert_array_equal(scaled.labels_, plain.labels_)
    assert_array_equal(scaled.cluster_centers_, plain.cluster_centers_)
    assert_array_equal(scaled.cluster_weight_, np.ldexp(plain.cluster_weight_, power))
    assert scaled.inertia_ == np.ldexp(plain.inertia_, power)
    assert scaled.score(X, sample_weight=np.ldexp(weight, power)) == np.ldexp(
        plain.score(X, sample_weight=weight), power
    )


def test_weights_below_single_precision(make_data):
    """Weights are scaled before they are converted to the precision of the rows."""
    X = make_data("blobs").astype(np.float32)
    weight = np.linspace(1, 2, len(X))
    plain = SoftKMeans(4).fit(X, sample_weight=weight)
    scaled = SoftKMeans(4).fit(X, sample_weight=weight * 2.0**-900)
    assert_array_equal(scaled.labels_, plain.labels_)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_feature_beside_tiny_ones(dtype):
    """The unit is the size of the differences, not of the numbers."""
    X = blobs().astype(dtype)
    tiny = 2.0**-100 if dtype is np.float32 else 2.0**-400
    table = np.column_stack([tiny * X, np.full(len(X), 0.75)]).astype(dtype)
    expected = SoftKMeans(5).fit(X.astype(np.float64))
    assert_array_equal(SoftKMeans(5).fit(table).labels_, expected.labels_)


@pytest.mark.parametrize("power", [-700, -540, 520, 700])
def test_squares_out_of_range_of_float64_are_an_error(power):
    X = np.ldexp(blobs(), power)
    for temperature in (0, 0.1, "auto"):
        est = SoftKMeans(3, temperature=temperature)
        with pytest.raises(ValueError, match=r"X has values so (large|close) that"):
            est.fit(X)
        assert set(vars(est)) == set(est.get_params())


def test_weighted_sums_out_of_range_of_float64_are_an_error():
    X = blobs()
    with pytest.raises(ValueError, match="sample_weight has values so large"):
        SoftKMeans(3).fit(X, sample_weight=np.full(len(X), 1e307))


@pytest.mark.parametrize("power", [-900, -300, 300, 900])
def test_networks_accept_rows_of_any_size(power):
    """Rows are scaled before anything is squared."""
    X, y = make_blobs(80, 3, centers=3, random_state=1)
    args = {"max_iter": 3, "random_state": 0}
    plain = RBFNetClassifier(6, **args).fit(X, y)
    scaled = RBFNetClassifier(6, **args).fit(np.ldexp(X, power), y)
    assert_array_equal(scaled.predict_proba(np.ldexp(X, power)), plain.predict_proba(X))
    args |= {"n_components": 2, "hidden_layer_sizes": (8,), "pretrain_epochs": 3}
    plain = DeepCenteringClustering(3, **args).fit(X)
    scaled = DeepCenteringClustering(3, **args).fit(np.ldexp(X, power))
    assert_array_equal(scaled.labels_, plain.labels_)


@pytest.mark.parametrize("power", [-1000, 1000])
def test_networks_accept_weights_of_any_size(power):
    X, y = make_blobs(80, 3, centers=3, random_state=1)
    weight = np.random.default_rng(0).integers(1, 4, 80).astype(float)
    args = {"max_iter": 3, "random_state": 0}
    for est, target in (
        (RBFNetClassifier(6, alpha=0.0, **args), y),
        (
            DeepCenteringClustering(
                3, n_components=2, hidden_layer_sizes=(8,), pretrain_epochs=3, **args
            ),
            None,
        ),
    ):
        expected = est.fit(X, target, sample_weight=weight).transform(X)
        found = est.fit(X, target, sample_weight=np.ldexp(weight, power)).transform(X)
        assert_array_equal(found, expected)


def quality(X, est):
    centers = est.cluster_centers_.astype(np.float64)
    return ((X[:, None] - centers) ** 2).sum(2).min(1).sum()


@pytest.mark.parametrize("base", [0.0, 300.0])
@pytest.mark.parametrize("temperature", [0, "auto"])
@pytest.mark.parametrize("value", [-99999.0, 999999.0, 1e12, -3e38])
@pytest.mark.parametrize("n_rows", [1, 15, 150, 400])
def test_a_fill_value_in_single_precision(value, n_rows, temperature, base):
    """Rows of a fill value do not cost the other rows precision."""
    X = make_blobs(600, 4, centers=6, random_state=3)[0] + base
    chosen = np.random.default_rng(0).choice(600, n_rows, replace=False)
    Z = X.astype(np.float32)
    Z[chosen] = value
    rest = np.delete(X, chosen, axis=0)
    best = KMeans(6, n_init=10, random_state=0).fit(rest)
    est = SoftKMeans(7, temperature=temperature).fit(Z)
    assert quality(rest, est) < 1.01 * best.inertia_
    assert len(set(est.labels_[chosen])) == 1
    assert_array_equal(est.predict(Z), est.labels_)
    centers, rows = (part.astype(np.float64) for part in (est.cluster_centers_, Z))
    assert_array_equal(est.labels_, ((rows[:, None] - centers) ** 2).sum(2).argmin(1))
    wide = SoftKMeans(7, temperature=temperature).fit(Z.astype(np.float64))
    # The noise is the difference of two sums as large as the square of the sentinel.
    assert_allclose(est.temperature_, wide.temperature_, rtol=2e-2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("far", [False, True])
@all_kinds
def test_rows_of_the_largest_numbers_at_prediction(kind, far, dtype):
    """Memberships are finite, and those of other rows do not change."""
    X = (blobs() + 1e4 * far).astype(dtype)
    est = SoftKMeans(5, **kind).fit(X)
    big = np.finfo(dtype).max
    odd = np.array([[big] * 3, [-big] * 3, [big, -big, 0], [0, 0, -big]], dtype)
    both = np.concatenate([X, odd])
    for container in (np.asarray, csr_array):
        r = est.transform(container(both))
        assert r.dtype == dtype
        assert np.isfinite(r).all()
        assert_allclose(r.sum(1), 1, rtol=1e-5)
        labels = est.predict(container(both))
        assert_array_equal(labels, r.argmax(1))
    assert_array_equal(labels[: len(X)], est.labels_)
    scores = [est.score(np.full((1, 3), size, dtype)) for size in (1e6, big / 4, big)]
    assert scores == sorted(scores, reverse=True)


@all_kinds
def test_partial_fit_accepts_rows_of_any_size(kind):
    X = blobs().astype(np.float32)
    est = SoftKMeans(5, **kind).fit(X)
    batch = np.concatenate([X[:9], np.full((1, 3), 1e30, np.float32)])
    est.partial_fit(batch)
    assert np.isfinite(est.inertia_)
    assert np.isfinite(est.cluster_centers_).all()
    assert_array_equal(est.predict(batch), est.labels_)
    before = {name: np.copy(value) for name, value in vars(est).items()}
    with pytest.raises(ValueError, match="X has values so large"):
        est.partial_fit(np.array([[1e300] * 3, [-1e300] * 3]))
    for name, value in vars(est).items():
        assert_array_equal(before[name], value)


def test_batches_with_weights_of_any_size():
    """Each batch counts by its weights, relative to those of other batches."""
    X = blobs()
    for before, after in ((1.0, 1e-310), (1e300, 1e-300), (1e-300, 1e300)):
        est = SoftKMeans(5).fit(X, sample_weight=np.full(len(X), before))
        est.partial_fit(X + 1, sample_weight=np.full(len(X), after))
        assert_allclose(est.cluster_weight_.sum(), len(X) * max(before, after))
        assert np.isfinite(est.cluster_centers_).all()


@pytest.mark.parametrize("size", [1e155, 1e200])
def test_a_refused_batch_leaves_the_estimator_unchanged(size):
    X = blobs()
    est = SoftKMeans(5).fit(X)
    before = est.cluster_weight_.copy()
    with pytest.raises(ValueError, match="X is so far from the centers"):
        est.partial_fit(np.full((2, 3), size))
    narrow = SoftKMeans(5, temperature=0).fit(X.astype(np.float32))
    with pytest.raises(ValueError, match="X is so far from the centers"):
        narrow.partial_fit(1e100 * X)
    assert_array_equal(est.cluster_weight_, before)
    est.partial_fit(X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [1e5, 1e8, 1.7e9])
def test_sparse_rows_far_from_zero(dtype, offset):
    """They agree with dense rows, where squares of stored values would cancel."""
    X = blobs()
    tables = [X + offset] if dtype is np.float64 else []
    tables.append(np.column_stack([X, np.full(len(X), offset)]))
    for table in tables:
        table = table.astype(dtype)
        for temperature in (0, "auto"):
            dense = SoftKMeans(5, temperature=temperature).fit(table)
            sparse = SoftKMeans(5, temperature=temperature).fit(csr_array(table))
            assert_array_equal(sparse.labels_, dense.labels_)
            assert_allclose(sparse.inertia_, dense.inertia_, rtol=1e-4)
            assert_allclose(sparse.temperature_, dense.temperature_, rtol=1e-4)
            assert_array_equal(sparse.predict(csr_array(table)), dense.labels_)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_feature_of_any_size(dtype):
    X = blobs()
    expected = SoftKMeans(5).fit(np.column_stack([X, np.zeros(len(X))]).astype(dtype))
    for size in (1e9, 1e30, np.finfo(dtype).max / 4):
        table = np.column_stack([X, np.full(len(X), size)]).astype(dtype)
        found = SoftKMeans(5).fit(table)
        assert_array_equal(found.labels_, expected.labels_)
        assert_allclose(found.inertia_, expected.inertia_, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_the_weight_on_one_row(dtype):
    X = blobs().astype(dtype)
    for rest in (0.0, 1e-60, 1e-310):
        weight = np.full(len(X), rest)
        for i in (0, 17, 40):
            for value in (1.0, 3.0):
                weight[i] = value
                est = SoftKMeans(3).fit(X, sample_weight=weight)
                assert_allclose(est.cluster_centers_[est.labels_[i]], X[i], rtol=1e-5)
                weight[i] = rest


def test_small_numbers_as_a_tolerance(make_data):
    X = 1000 * make_data("iris")
    args = {"init": "random", "n_init": 1, "random_state": 1}
    expected = SoftKMeans(5, tol=float(np.float16(1e-4)), **args).fit(X)
    for kind in (np.float16, np.float32):
        found = SoftKMeans(5, tol=kind(np.float16(1e-4)), **args).fit(X)
        assert found.n_iter_ == expected.n_iter_
    SoftKMeans(3, tol=np.int8(1)).fit(X)


def test_subnormal_numbers_are_an_error():
    with pytest.raises(ValueError, match="X has values so close"):
        SoftKMeans(2).fit(np.array([[0.0], [1e-310], [5e-310], [6e-310]]))


def test_one_cluster_of_a_wide_range():
    X = np.array([[0.0], [1e20]], np.float32)
    found = SoftKMeans(1, temperature=0).fit(X)
    assert_allclose(found.inertia_, 5e39, rtol=1e-6)


@pytest.mark.parametrize("power", [-300, 300])
def test_a_stream_of_any_scale(power):
    X, weight = blobs(n_samples=200), np.linspace(1, 2, 200)
    plain, scaled = SoftKMeans(5), SoftKMeans(5)
    for part in np.array_split(np.arange(200), 4):
        plain.partial_fit(X[part], sample_weight=weight[part])
        scaled.partial_fit(
            np.ldexp(X[part], power), sample_weight=np.ldexp(weight[part], -power)
        )
    assert_allclose(
        np.ldexp(scaled.cluster_centers_, -power), plain.cluster_centers_, rtol=1e-12
    )
    assert_array_equal(scaled.labels_, plain.labels_)


LOW_RANK = {
    "equal": lambda rng: rng.normal(size=(1, 300)).repeat(4, axis=0),
    "one-hot": lambda rng: np.eye(250)[rng.integers(250, size=30)],
    "bits": lambda rng: rng.integers(0, 2, (20, 256)),
    "relu": lambda rng: rng.normal(size=(12, 200)).clip(0) * (rng.random(200) < 0.1),
    "hashed": lambda rng: np.eye(256)[rng.zipf(1.5, (20, 5)) % 256].sum(1),
}


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", LOW_RANK.values(), ids=LOW_RANK.keys())
def test_tables_of_low_rank(make, dtype):
    """Eigensolvers in single precision fail on some of them."""
    for seed in range(5):
        X = make(np.random.default_rng(seed)).astype(dtype)
        for temperature in (0, "auto", 0.1):
            est = SoftKMeans(3, temperature=temperature).fit(X)
            wide = SoftKMeans(3, temperature=temperature).fit(X.astype(float))
            assert_allclose(
                est.critical_temperature_, wide.critical_temperature_, rtol=1e-4
            )


@pytest.mark.parametrize("container", [np.asarray, csr_array])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_integers_tie_for_the_first_center(container, dtype):
    """Equal distances stay equal: the row belongs to the center of lowest index."""
    n_ties = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        X = rng.integers(0, 5, (30, 2)) + rng.integers(-30, 30)
        C = X[rng.choice(30, 3, replace=False)]
        distances = ((X[:, None] - C) ** 2).sum(2)
        expected = distances.argmin(1)
        if len(set(expected)) < 3:
            continue
        n_ties += (distances == distances.min(1)[:, None]).sum() - 30
        X, C = X.astype(dtype), C.astype(dtype)
        est = SoftKMeans(3, init=C, temperature=0, max_iter=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one iteration does not converge
            est.fit(container(X))
        means = np.stack([X[expected == j].mean(0) for j in range(3)])
        assert_allclose(est.cluster_centers_, means, rtol=1e-5)
        est.cluster_centers_ = C
        assert_array_equal(est.predict(container(X)), expected)
    assert n_ties > 100


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("temperature", [0.3, 0.5])
@pytest.mark.parametrize("assignment", ["softmax", "entmax15", "sparsemax"])
def test_a_tolerance_of_0_agrees_with_a_small_one(
    make_data, assignment, temperature, seed
):
    """Centers meet slowly: they are merged where the iterations stop."""
    X = make_data("iris")
    args = {"temperature": temperature, "assignment": assignment, "max_iter": 3000}
    args |= {"init": "k-means++", "random_state": seed}
    found, small = (SoftKMeans(8, tol=tol, **args).fit(X) for tol in (0, 1e-12))
    assert_array_equal(found.labels_, small.labels_)
    alone = [found.predict(row[None])[0] for row in X]
    assert_array_equal(alone, found.labels_)
