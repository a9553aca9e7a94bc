"""partial_fit: batches of a stream."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.metrics import adjusted_rand_score

from skrbf import SoftKMeans

KINDS = {
    "softmax": {"temperature": 0.01},
    "entmax15": {"temperature": 0.01, "assignment": "entmax15"},
    "sparsemax": {"temperature": 0.01, "assignment": "sparsemax"},
    "hard": {"temperature": 0},
    "auto": {},
}
all_kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


@pytest.fixture(scope="module")
def stream():
    X, y = make_blobs(4000, 3, centers=5, cluster_std=0.7, random_state=8)
    return X, y, np.split(X, 20)


def fed(batches, weights=None, **params):
    est = SoftKMeans(5, random_state=0, **params)
    weights = [None] * len(batches) if weights is None else weights
    for batch, weight in zip(batches, weights, strict=True):
        assert est.partial_fit(batch, sample_weight=weight) is est
    return est


@pytest.mark.parametrize("init", ["grow", "k-means++"])
@all_kinds
def test_batches_come_close_to_a_fit_of_all_rows(stream, matched, kind, init):
    X, y, batches = stream
    whole = SoftKMeans(5, random_state=0, **kind).fit(X)
    est = fed(batches, init=init, **kind)

    assert adjusted_rand_score(y, est.predict(X)) > 0.98
    centers = matched(whole.cluster_centers_, est.cluster_centers_)
    assert np.abs(centers - whole.cluster_centers_).max() < 0.2
    assert est.score(X) >= 1.02 * whole.score(X)


@all_kinds
def test_more_batches_come_closer(stream, matched, kind):
    """The centers are closer to those of all rows after twenty batches than one."""
    X, _, batches = stream
    target = SoftKMeans(5, **kind).fit(X).cluster_centers_

    def error(n):
        centers = fed(batches[:n], **kind).cluster_centers_
        return np.linalg.norm(matched(target, centers) - target)

    assert error(20) < 0.7 * error(1)


@all_kinds
def test_partial_fit_leaves_a_fitted_estimator(stream, reference, kind):
    _, _, batches = stream
    est = fed(batches[:3], **kind)
    new = batches[4]
    assignment = kind.get("assignment", "softmax")

    assert est.n_features_in_ == 3
    assert est.cluster_centers_.shape == (5, 3)
    assert_allclose(
        est.predict_proba(new),
        reference.responsibilities(
            new, est.cluster_centers_, est.temperature_, assignment
        ),
        atol=1e-9,
    )
    assert_array_equal(est.predict(new), est.predict_proba(new).argmax(axis=1))
    assert len(est.labels_) == len(batches[2])
    assert_array_equal(est.labels_, est.predict(batches[2]))


@all_kinds
def test_weights_are_repetition(stream, matched, kind):
    _, _, batches = stream
    rng = np.random.default_rng(0)
    weights = [rng.integers(0, 4, len(batch)) for batch in batches[:4]]
    repeated = [
        batch.repeat(weight, axis=0)
        for batch, weight in zip(batches, weights, strict=False)
    ]

    a, b = fed(repeated, **kind), fed(batches[:4], weights, **kind)

    assert_allclose(b.cluster_centers_, a.cluster_centers_, rtol=1e-6)


def test_an_older_center_weighs_more(stream):
    """One far row moves a center by about its share of the rows seen so far."""
    X, _, batches = stream
    far = X[:1] + np.array([0, 0, 1.0])
    few, many = fed(batches[:1], temperature=0), fed(batches, temperature=0)
    moves = []
    for est in (few, many):
        before = est.cluster_centers_.copy()
        est.partial_fit(far)
        moves.append(np.abs(est.cluster_centers_ - before).max())
    assert 0 < moves[1] < moves[0] / 5


@all_kinds
def test_partial_fit_continues_a_fit(stream, kind):
    X, _, batches = stream
    est = SoftKMeans(5, **kind).fit(X)
    before = est.cluster_centers_.copy()

    est.partial_fit(batches[0])

    shift = np.abs(est.cluster_centers_ - before).max()
    assert 0 < shift < 0.1  # 200 rows after 4000


def test_the_first_batch_sets_the_number_of_features(stream):
    est = fed(stream[2][:1])
    with pytest.raises(ValueError, match="X has 2 features, but SoftKMeans is expect"):
        est.partial_fit(stream[2][1][:, :2])
    assert est.n_features_in_ == 3


def test_fit_starts_anew(stream):
    X, _, batches = stream
    est = fed(batches[:2]).fit(X[:, :2])
    assert est.n_features_in_ == 2
    assert_array_equal(
        est.cluster_centers_, SoftKMeans(5).fit(X[:, :2]).cluster_centers_
    )


def test_later_batches_may_be_small(stream):
    est = fed(stream[2][:1]).partial_fit(stream[2][1][:1])
    assert est.cluster_centers_.shape == (5, 3)


def test_a_first_batch_that_is_too_small_is_an_error(stream):
    est = SoftKMeans(5)
    with pytest.raises(ValueError, match=r"n_samples=3 should be >= n_clusters=5"):
        est.partial_fit(stream[0][:3])
    with pytest.raises(NotFittedError):
        est.predict(stream[0])


@pytest.mark.parametrize("weight", [-1.0, 0.0, np.nan])
def test_bad_weights_leave_the_estimator_unchanged(stream, fitted_state, weight):
    est = fed(stream[2][:2])
    before = fitted_state(est)
    with pytest.raises(ValueError, match=r"(?i)weight"):
        est.partial_fit(stream[2][2], sample_weight=np.full(200, weight))
    assert fitted_state(est) == before


def test_repeatable(stream):
    a, b = (fed(stream[2][:5], init="k-means++") for _ in "ab")
    assert_array_equal(a.cluster_centers_, b.cluster_centers_)
