"""What SoftKMeans accepts: containers, dtypes, layouts, weights, chunks."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import coo_array, csc_array, csr_array, csr_matrix
from sklearn import config_context
from sklearn.cluster import KMeans

from skrbf import SoftKMeans

NAMES = ["a", "b", "c", "d"]
KINDS = {
    "softmax": {"temperature": 0.05},
    "entmax15": {"temperature": 0.05, "assignment": "entmax15"},
    "sparsemax": {"temperature": 0.05, "assignment": "sparsemax"},
    "hard": {"temperature": 0},
    "auto": {},
}
all_kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
CONTAINERS = {
    "list": np.ndarray.tolist,
    "fortran": np.asfortranarray,
    "negative strides": lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
    "strided": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "pandas": lambda X: pd.DataFrame(X, columns=NAMES),
    "polars": lambda X: pl.DataFrame(X, schema=NAMES),
    "torch": torch.from_numpy,
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS.keys())
@all_kinds
def test_containers(make_data, kind, container, dtype):
    X = make_data("blobs").astype(dtype)
    if container in (CONTAINERS["list"], CONTAINERS["polars"]):
        dtype = np.float64  # as in all of scikit-learn
    X = X.astype(dtype)
    plain, other = SoftKMeans(5, **kind).fit(X), SoftKMeans(5, **kind)

    labels = other.fit_predict(container(X))

    assert_array_equal(labels, plain.labels_)
    assert_array_equal(other.cluster_centers_, plain.cluster_centers_)
    assert other.cluster_centers_.dtype == dtype
    r = other.predict_proba(container(X))
    assert type(r) is np.ndarray
    assert r.dtype == dtype
    assert_array_equal(r, plain.predict_proba(X))
    assert_array_equal(other.predict(container(X)), labels)
    assert other.score(container(X)) == plain.score(X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("container", [csr_array, csr_matrix, csc_array, coo_array])
@all_kinds
def test_sparse_agrees_with_dense(make_data, kind, container, dtype):
    X = make_data("blobs").astype(dtype)
    X[np.abs(X) < 3] = 0
    new = container(X[::3])
    dense, sparse = SoftKMeans(5, **kind).fit(X), SoftKMeans(5, **kind)

    sparse.fit(container(X))

    tolerance = 1e-3 if dtype == np.float32 else 1e-8
    assert_array_equal(sparse.labels_, dense.labels_)
    assert_allclose(sparse.cluster_centers_, dense.cluster_centers_, atol=tolerance)
    assert sparse.cluster_centers_.dtype == dtype
    assert_array_equal(sparse.predict(new), dense.predict(X[::3]))
    r = dense.predict_proba(X[::3])
    assert_allclose(sparse.transform(new), r, atol=tolerance)
    assert_allclose(dense.transform(new), r, atol=tolerance)
    assert_allclose(sparse.score(new), dense.score(X[::3]), rtol=tolerance)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, bool])
def test_integers_become_float64(make_data, dtype):
    X = (make_data("blobs") * 3 + 100).astype(dtype)
    if dtype is bool:
        X = make_data("uniform") > 0.5
    with_float = SoftKMeans(3).fit(X.astype(np.float64))

    est = SoftKMeans(3).fit(X)

    assert est.cluster_centers_.dtype == est.predict_proba(X).dtype == np.float64
    assert_array_equal(est.cluster_centers_, with_float.cluster_centers_)


def test_small_integers_of_numpy_as_parameters(make_data):
    X = make_data("blobs")  # more rows than they can count
    drawn = {"init": "k-means++", "random_state": 0}
    small = {"n_init": np.int8(2), "max_iter": np.uint8(200)}
    est = SoftKMeans(np.int8(20), **drawn, **small).fit(X)
    plain = SoftKMeans(20, **drawn, n_init=2, max_iter=200).fit(X)
    assert_array_equal(est.cluster_centers_, plain.cluster_centers_)
    assert_array_equal(
        SoftKMeans(np.uint8(20)).fit(X).labels_, SoftKMeans(20).fit(X).labels_
    )


@all_kinds
def test_a_read_only_memory_map_is_accepted_and_unchanged(make_data, tmp_path, kind):
    X = make_data("blobs")
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")

    est = SoftKMeans(5, **kind).fit(mapped)
    r = est.predict_proba(mapped)

    assert_array_equal(r, SoftKMeans(5, **kind).fit(X).predict_proba(X))
    assert_array_equal(np.load(tmp_path / "X.npy"), X)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@all_kinds
def test_the_input_is_unchanged(make_data, kind):
    X, weight = make_data("blobs"), np.arange(300.0)
    init = X[:5].copy()
    kept = X.copy(), weight.copy(), init.copy()

    SoftKMeans(5, init=init, **kind).fit(X, sample_weight=weight).predict_proba(X)
    SoftKMeans(5, **kind).fit(X, sample_weight=weight).score(X, sample_weight=weight)

    for now, before in zip((X, weight, init), kept, strict=True):
        assert_array_equal(now, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("container", [np.asarray, csr_array])
@all_kinds
def test_weights_are_repetition(make_data, matched, kind, container, dtype):
    X = make_data("blobs", 120).astype(dtype)
    rng = np.random.default_rng(0)
    weight, order = rng.integers(0, 5, len(X)), rng.permutation(len(X))
    repeated = container(X.repeat(weight, axis=0))

    a = SoftKMeans(5, **kind).fit(repeated)
    b = SoftKMeans(5, **kind).fit(container(X[order]), sample_weight=weight[order])

    tolerance = 1e-4 if dtype == np.float32 else 1e-8
    assert_allclose(b.cluster_centers_, a.cluster_centers_, tolerance, atol=tolerance)
    assert_array_equal(b.predict(X), a.predict(X))
    for name in ("inertia_", "objective_", "temperature_", "critical_temperature_"):
        assert_allclose(getattr(b, name), getattr(a, name), tolerance, err_msg=name)
    score = b.score(X, sample_weight=weight)
    assert_allclose(score, a.score(repeated), tolerance)


@pytest.mark.parametrize("init", ["grow", "k-means++", "random"])
@all_kinds
def test_rows_of_weight_0_have_no_influence(make_data, kind, init):
    X = make_data("blobs", 200)
    weight = np.random.default_rng(0).integers(0, 2, len(X))
    moved = np.where(weight[:, None] > 0, X, 1e3 - X)
    est = SoftKMeans(5, init=init, random_state=0, **kind)

    a = est.fit(X, sample_weight=weight).cluster_centers_
    b = est.fit(moved, sample_weight=weight).cluster_centers_

    assert_allclose(b, a, rtol=1e-7)


@all_kinds
def test_only_the_ratio_of_weights_counts(make_data, kind):
    X = make_data("blobs")
    weight = np.random.default_rng(0).exponential(size=len(X))
    a = SoftKMeans(5, **kind).fit(X, sample_weight=weight)
    b = SoftKMeans(5, **kind).fit(X, sample_weight=2**20 * weight)
    assert_allclose(b.cluster_centers_, a.cluster_centers_, rtol=1e-10)
    assert_allclose(b.inertia_, 2**20 * a.inertia_, rtol=1e-10)
    assert_array_equal(b.labels_, a.labels_)


def test_a_heavy_row_gets_its_own_cluster():
    X = np.array([[0.0], [1.0], [3.0], [5.2]])
    est = SoftKMeans(2, temperature=0).fit(X)
    assert_allclose(est.cluster_centers_[est.labels_, 0], [0.5, 0.5, 4.1, 4.1])
    est.fit(X, sample_weight=[1, 1, 1, 1000])
    assert_allclose(est.cluster_centers_[est.labels_, 0], [4 / 3] * 3 + [5.2])


@pytest.mark.parametrize("container", [np.asarray, csr_array])
@pytest.mark.parametrize("init", ["grow", "k-means++"])
@all_kinds
def test_blocks_do_not_change_the_result(make_data, kind, init, container):
    X = container(make_data("blobs", 200))
    weight = np.random.default_rng(0).exponential(size=200)
    est = SoftKMeans(5, init=init, random_state=0, **kind)

    whole = est.fit(X, sample_weight=weight).cluster_centers_
    labels, objective, r = est.labels_, est.objective_, est.transform(X)
    with config_context(working_memory=0.01):  # about thirty rows
        in_chunks = est.transform(X)
        est.fit(X, sample_weight=weight)

    assert_allclose(in_chunks, r, atol=1e-12)
    assert_allclose(est.cluster_centers_, whole, rtol=1e-6)
    assert_allclose(est.objective_, objective, rtol=1e-9)
    assert_array_equal(est.labels_, labels)


def test_sample_weight_may_be_a_list_or_a_series(make_data):
    X = make_data("blobs")
    plain = SoftKMeans(4).fit(X)
    for weight in ([1] * len(X), np.ones(len(X), np.int8), pd.Series(np.ones(len(X)))):
        est = SoftKMeans(4).fit(X, sample_weight=weight)
        assert_array_equal(est.labels_, plain.labels_)
        assert_allclose(est.cluster_centers_, plain.cluster_centers_, rtol=1e-12)


def test_fit_predict_and_fit_transform(make_data):
    X = make_data("blobs")
    weight = np.random.default_rng(0).exponential(size=len(X))
    est = SoftKMeans(4).fit(X, sample_weight=weight)

    labels = SoftKMeans(4).fit_predict(X, sample_weight=weight)
    r = SoftKMeans(4).fit_transform(X, sample_weight=weight)

    assert_array_equal(labels, est.labels_)
    assert_array_equal(r, est.transform(X))
    assert not np.allclose(r, SoftKMeans(4).fit_transform(X))


def _edge_list(X, dtype):
    """Take columns of one table of numbers, as in an edge list: strided."""
    table = np.column_stack([np.zeros(X.nnz, dtype), X.indices, X.data]).astype(dtype)
    return csr_array((X.data, table[:, 1].view(), X.indptr), shape=X.shape)


def _record(X, dtype):
    """Take fields of a packed record: strides are no multiple of their size."""
    packed = np.rec.fromarrays(
        [X.indices.astype(np.int32), X.data], dtype=[("j", "i4"), ("w", X.dtype)]
    )
    return csr_array((packed["w"], packed["j"], X.indptr), shape=X.shape)


def _reversed(X, dtype):
    return csr_array(
        (X.data[::-1].copy()[::-1], X.indices[::-1].copy()[::-1], X.indptr),
        shape=X.shape,
    )


def _duplicates(X, dtype):
    """Store every entry as two halves, in no order."""
    coo = X.tocoo()
    order = np.random.default_rng(0).permutation(2 * X.nnz)
    data = np.concatenate([coo.data / 2, coo.data / 2])[order]
    rows, columns = (np.tile(part, 2)[order] for part in (coo.row, coo.col))
    by_row = rows.argsort(kind="stable")
    indptr = np.concatenate([[0], np.bincount(rows, minlength=X.shape[0]).cumsum()])
    made = (data[by_row], columns[by_row], indptr)
    return csr_array(made, shape=X.shape)


def _unsorted(X, dtype):
    parts = [X[[i]] for i in range(X.shape[0])]
    indices = np.concatenate([part.indices[::-1] for part in parts])
    data = np.concatenate([part.data[::-1] for part in parts])
    return csr_array((data, indices, X.indptr), shape=X.shape)


def _columns_with_duplicates(X, dtype):
    by_column = csc_array(X)
    indptr = 2 * by_column.indptr
    data, rows = np.repeat(by_column.data / 2, 2), np.repeat(by_column.indices, 2)
    return csc_array((data, rows, indptr), shape=X.shape)


def _read_only(X, dtype):
    made = csr_array(X, copy=True)
    for part in (made.data, made.indices, made.indptr):
        part.flags.writeable = False
    return made


STORED = [
    _edge_list,
    _record,
    _reversed,
    _duplicates,
    _unsorted,
    _columns_with_duplicates,
    _read_only,
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("store", STORED)
@all_kinds
def test_a_sparse_matrix_in_any_storage_agrees_with_dense(kind, store, index, dtype):
    """It is not written to, either."""
    rng = np.random.default_rng(0)
    dense = rng.integers(1, 9, (120, 12)) * (rng.random((120, 12)) < 0.3)
    dense = (dense + 20 * np.eye(4)[rng.integers(4, size=120)].repeat(3, 1)).astype(
        dtype
    )
    plain = csr_array(dense)
    other = store(plain, index)
    before = [part.copy() for part in (other.data, other.indices, other.indptr)]
    expected, found = SoftKMeans(4, **kind).fit(plain), SoftKMeans(4, **kind).fit(other)
    assert_array_equal(found.labels_, expected.labels_)
    assert_array_equal(found.cluster_centers_, expected.cluster_centers_)
    assert found.inertia_ == expected.inertia_
    assert found.temperature_ == expected.temperature_
    assert_array_equal(expected.transform(other), expected.transform(plain))
    assert_array_equal(expected.predict(other), expected.labels_)
    assert expected.score(other) == expected.score(plain)
    expected.partial_fit(plain), found.partial_fit(other)
    assert found.inertia_ == expected.inertia_
    for part, was in zip(
        (other.data, other.indices, other.indptr), before, strict=True
    ):
        assert_array_equal(part, was)


def test_indices_out_of_range_are_an_error(make_data):
    X = csr_array(make_data("blobs"))
    X.indices[7] = 1000
    with pytest.raises(ValueError, match="ind"):
        SoftKMeans(3).fit(X)


def test_duplicates_that_sum_to_infinity_are_an_error():
    half = np.full(6, 1e308)
    X = csr_array((half, np.zeros(6, int), [0, 2, 4, 6]), shape=(3, 2))
    with pytest.raises(ValueError, match="infinity"):
        SoftKMeans(2).fit(X)


@pytest.mark.parametrize("shape", ["strided", "reversed", "field", "read-only"])
def test_weights_in_any_memory_layout(make_data, shape):
    X = make_data("blobs")
    weight = np.random.default_rng(0).random(len(X))
    packed = np.rec.fromarrays(
        [np.zeros(len(X), np.int32), weight], dtype=[("i", "i4"), ("w", "f8")]
    )
    given = {
        "strided": np.repeat(weight, 3)[::3],
        "reversed": weight[::-1].copy()[::-1],
        "field": packed["w"],
        "read-only": weight.copy(),
    }[shape]
    given.flags.writeable = shape != "read-only"
    expected = SoftKMeans(4).fit(X, sample_weight=weight)
    found = SoftKMeans(4).fit(X, sample_weight=given)
    assert_array_equal(found.cluster_centers_, expected.cluster_centers_)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_tensors_that_require_gradients(make_data, dtype):
    X = torch.from_numpy(make_data("blobs")).to(dtype)
    weight = torch.rand(len(X), generator=torch.Generator().manual_seed(0))
    expected = SoftKMeans(4).fit(
        X.to(torch.promote_types(dtype, torch.float32)).numpy(),
        sample_weight=weight.numpy(),
    )
    found = SoftKMeans(4).fit(
        X.clone().requires_grad_(), sample_weight=weight.clone().requires_grad_()
    )
    assert_array_equal(found.cluster_centers_, expected.cluster_centers_)
    assert_array_equal(found.predict(X.clone().requires_grad_()), expected.labels_)
    start = X[:4].clone().requires_grad_()
    again = SoftKMeans(4, init=start, temperature=0).fit(X)
    assert again.cluster_centers_.shape == (4, X.shape[1])


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            torch.Tensor.to_sparse_csr,
            TypeError,
            "is a tensor of layout torch.sparse_csr",
        ),
        (torch.Tensor.to_sparse, TypeError, "is a tensor of layout torch.sparse_coo"),
        (lambda X: X.to("meta"), ValueError, "is on the meta device"),
    ],
)
def test_tensors_that_are_not_dense_are_refused(make_data, make, error, message):
    X = torch.from_numpy(make_data("blobs"))
    with pytest.raises(error, match=f"^X {message}"):
        SoftKMeans(3).fit(make(X))
    weight = make(torch.ones(len(X), 1))
    with pytest.raises(error, match=f"^sample_weight {message}"):
        SoftKMeans(3).fit(X, sample_weight=weight)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_error_messages_name_sample_weight(make_data, value):
    X = make_data("blobs")
    some = np.ones(len(X))
    some[3] = value
    for weight in (some, value):
        with pytest.raises(ValueError, match="sample_weight"):
            SoftKMeans(3).fit(X, sample_weight=weight)


def test_iterations_are_counted_as_by_kmeans(make_data):
    """The iteration that confirms the labels counts as well."""
    for name in ("blobs", "uniform", "aniso"):  # without ties
        X = make_data(name)
        for seed in range(5):
            C = X[np.random.default_rng(seed).choice(len(X), 4, replace=False)]
            theirs = KMeans(4, init=C, n_init=1, tol=0).fit(X)
            ours = SoftKMeans(4, init=C, temperature=0).fit(X)
            assert_array_equal(ours.labels_, theirs.labels_)
            assert ours.n_iter_ == theirs.n_iter_


def test_an_array_with_several_starts_is_warned_of(make_data):
    X = make_data("blobs")
    with pytest.warns(RuntimeWarning, match="instead of n_init=3"):
        SoftKMeans(4, init=X[:4], n_init=3).fit(X)
    SoftKMeans(4, init=X[:4], n_init=1).fit(X)
    SoftKMeans(4, init=X[:4]).fit(X)
