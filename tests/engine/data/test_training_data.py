"""Test the parts of training data: distinct rows, scaling and validation."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from skrbf.engine.data.deduplicate import deduplicate
from skrbf.engine.data.device import Compute
from skrbf.engine.data.holdout import hold_out
from skrbf.engine.data.scaling import apply_scaling, fit_scaling
from skrbf.engine.data.training_data import prepare
from skrbf.ops.row_hashes import sort_keys


def host_rows(X):
    dtype = torch.from_numpy(X[:0]).dtype
    compute = Compute.resolve("cpu", dtype, work=0, memory_bytes=1 << 30)
    return compute.dense(torch.from_numpy(X))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distinct_rows_are_sorted_by_projection(rng, dtype):
    X = rng.integers(0, 3, (60, 2)).astype(dtype)
    y, w = rng.integers(0, 2, 60), rng.integers(0, 4, 60)
    labels = torch.from_numpy(y)
    index, weight, n_points, weight_sum = deduplicate(
        host_rows(X), labels, torch.from_numpy(w).double()
    )

    table = {}
    for x, label, size in zip(X.tolist(), y, w, strict=True):
        if size:
            table[(*x, label)] = table.get((*x, label), 0) + size
    keys = [(*X[i].tolist(), y[i]) for i in index.tolist()]
    assert sorted(keys) == sorted(table)
    places = sort_keys(torch.tensor(X[index]).double() / 2)
    assert torch.equal(places, places.sort()[0])
    expected = [table[key] / w.sum() for key in keys]
    np.testing.assert_allclose(weight, expected, rtol=1e-12)
    assert weight_sum == w.sum()
    assert n_points == len({key[:2] for key in keys})
    for i in index.tolist():  # the first of equal rows
        same = (X[i] == X).all(1) & (y == y[i]) & (w > 0)
        assert i == np.flatnonzero(same)[0]

    order = rng.permutation(60)
    more = order.repeat(w[order])
    again, again_weight, *_ = deduplicate(
        host_rows(X[more]), torch.from_numpy(y[more]), None
    )
    assert torch.equal(again_weight, weight)
    np.testing.assert_array_equal(X[more][again], X[index])


@pytest.mark.parametrize(
    "other",
    [
        lambda X: X.astype(np.float32).astype(float),
        lambda X: X * [1e-6, 1e6, 3, 7, 0.1],
        lambda X: X + np.array([1e6, -1e4, 0, 5, 1]),
        lambda X: X * 1e300,
    ],
    ids=["rounded", "units", "origins", "large"],
)
def test_rounding_units_and_origins_hardly_change_the_order(rng, other):
    X = rng.normal(size=(500, 5))
    labels = torch.zeros(500, dtype=torch.int64)
    place = deduplicate(host_rows(X), labels, None)[0].argsort()
    moved = deduplicate(host_rows(other(X)), labels, None)[0].argsort() - place
    assert (moved != 0).sum() < 25
    assert moved.abs().max() <= 2


def test_different_rows_with_the_same_hash_stay_apart(rng, monkeypatch):
    X = np.arange(12.0).reshape(6, 2)[[0, 1, 2, 0, 1, 2]]
    monkeypatch.setattr(
        "skrbf.engine.data.deduplicate.hash_rows",
        lambda rows: torch.zeros(len(rows), dtype=torch.int64),
    )
    labels = torch.zeros(6, dtype=torch.int64)
    index, weight, *_ = deduplicate(host_rows(X), labels, None)
    assert float(weight.sum()) == pytest.approx(1.0)
    assert len({tuple(X[i]) for i in index.tolist()}) == 3


@pytest.fixture
def table(rng):
    """Rows, classes and weights.

    One feature separates the classes, and another is nearly constant.
    """
    y, w = rng.integers(0, 3, 50), rng.uniform(0.5, 1.5, 50)
    X = rng.normal(size=(50, 4)) * [1, 100, 1e-3, 0] + [0, 5, 1e3, 0]
    X[:, 0] += 2 * y
    X[7, 3] = 40.0
    return X, y, w / w.sum()


def fitted_scaling(X, y, w):
    labels = None if y is None else torch.from_numpy(y)
    return fit_scaling(host_rows(X), torch.arange(50), torch.from_numpy(w), labels)


def test_scales_are_spread_over_relevance(table):
    X, y, w = table
    mean = w @ X
    variance = w @ (X - mean) ** 2
    spread = np.maximum(np.sqrt(variance), (X.max(0) - X.min(0)) / 4)
    assert (spread > np.sqrt(variance) * [1, 1, 1, 1.5]).any()
    ratio = np.zeros(4)  # 1 - fraction of the variance within the classes
    for j in range(4):
        within = 0.0
        for c in range(3):
            own, part = X[y == c, j], w[y == c]
            within += part @ (own - part @ own / part.sum()) ** 2
        ratio[j] = 1 - within / variance[j]
    counts = ratio + 0.3 * ratio.mean() + 0.02
    scaling = fitted_scaling(X, y, w)
    np.testing.assert_allclose(scaling.mean, mean, rtol=1e-12)
    expected = spread / np.sqrt(counts / counts.mean())
    np.testing.assert_allclose(scaling.scale, expected, rtol=1e-9)
    found = apply_scaling(host_rows(X), torch.arange(50), scaling)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, (X - mean) / expected, atol=1e-6)


def test_one_class_has_the_spread_and_a_constant_feature_is_centered(table):
    X, y, w = table
    X = np.column_stack([X, np.full(50, 7.1)])
    scale = fitted_scaling(X, 0 * y, w).scale.numpy()
    spread = np.maximum(
        StandardScaler().fit(X[:, :4], sample_weight=w).scale_, np.ptp(X[:, :4], 0) / 4
    )
    np.testing.assert_allclose(scale, [*spread, 1.0], rtol=1e-9)


def test_a_common_scale_is_the_mean_deviation(table):
    """Constant features have it too: later rows may differ there."""
    X, _, w = table
    variance = [*StandardScaler().fit(X, sample_weight=w).var_, 0.0]
    common = fitted_scaling(np.column_stack([X, np.full(50, 7.1)]), None, w).scale
    np.testing.assert_allclose(common, np.sqrt(np.mean(variance)), rtol=1e-9)
    constant = np.full((50, 3), 7.1)
    np.testing.assert_array_equal(fitted_scaling(constant, None, w).scale, 1.0)


@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("value", [1.0, 7.1, -1e9])
def test_a_constant_feature_becomes_exactly_zero(table, value, classes):
    X, y, w = table
    X = np.column_stack([X, np.full(50, value)])
    scaling = fitted_scaling(X, y if classes else None, w)
    assert scaling.mean[-1] == value
    assert not apply_scaling(host_rows(X), torch.arange(50), scaling)[:, -1].any()


@pytest.mark.parametrize("power", [-1000, -600, -500, 500, 1000])
def test_scales_follow_the_unit_of_the_data(table, power):
    """Also if the squares of the rows leave the range of float64."""
    X, y, w = table
    for labels in (None, y):
        plain, scaled = (
            fitted_scaling(X, labels, w),
            fitted_scaling(np.ldexp(X, power), labels, w),
        )
        for found, expected in zip(scaled, plain, strict=True):
            np.testing.assert_array_equal(found, np.ldexp(expected.numpy(), power))


def test_the_rounding_of_a_constant_feature_is_not_amplified(rng):
    X = rng.normal(size=(50, 3)).astype(np.float32) * 1e-6
    time = np.float32(1.7e9) + rng.integers(0, 2, 50) * np.float32(128)
    X = np.column_stack([X, time]).astype(np.float32)
    scaling = fitted_scaling(X, None, np.ones(50))
    scaled = (X - scaling.mean.numpy()) / scaling.scale.numpy()
    assert np.abs(scaled[:, 3]).max() < 1
    np.testing.assert_allclose(scaled[:, :3].std(), 1, rtol=0.3)


def test_hold_out_is_stratified_by_weight(rng):
    labels = torch.from_numpy(rng.choice(3, 600, p=[0.7, 0.25, 0.05]))
    weight = torch.from_numpy(rng.exponential(size=600))
    generator = torch.Generator().manual_seed(0)
    here, out = hold_out(labels, weight, 0.2, generator)
    assert sorted([*here.tolist(), *out.tolist()]) == list(range(600))
    for label in range(3):
        own = labels == label
        held = float(weight[out][labels[out] == label].sum())
        assert held == pytest.approx(0.2 * float(weight[own].sum()), rel=0.2)
    _, other = hold_out(labels, weight, 0.2, generator)
    assert other.tolist() != out.tolist()


def test_hold_out_leaves_a_row_of_every_class():
    labels, weight = torch.tensor([0] * 20 + [1]), torch.ones(21)
    weight[-1] = 100.0
    for seed in range(5):
        here, _ = hold_out(labels, weight, 0.9, torch.Generator().manual_seed(seed))
        assert set(labels[here].tolist()) == {0, 1}
    with pytest.raises(
        ValueError, match=r"validation_fraction=0\.1 of 2 distinct rows"
    ):
        hold_out(torch.tensor([0, 1]), torch.ones(2), 0.1, torch.Generator())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_are_merged_sorted_and_scaled_by_one_number(dtype):
    compute = Compute.resolve("cpu", torch.float64, work=0, memory_bytes=1 << 30)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 3)).astype(dtype) * 5 + 2
    weight = rng.integers(0, 3, 20).astype(float)

    def prepared(X, weight=None):
        weight = None if weight is None else torch.from_numpy(weight)
        rows = compute.dense(torch.from_numpy(X))
        return prepare(rows, None, weight, compute)[0]

    a = prepared(X, weight)
    b = prepared(rng.permutation(X.repeat(weight.astype(int), 0)))
    assert torch.equal(a.rows, b.rows)
    assert torch.equal(a.weight, b.weight)
    assert a.weight.mean() == pytest.approx(1)
    assert len(a.rows) == (weight > 0).sum()
    mean = np.average(X.astype(np.float64), axis=0, weights=weight)
    scale = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weight).mean())
    np.testing.assert_allclose(a.scaling.mean, mean)
    np.testing.assert_allclose(a.scaling.scale, scale)
    restored = a.rows.numpy() * scale + mean
    expected = np.sort(X[weight > 0], 0)
    np.testing.assert_allclose(np.sort(restored, 0), expected, rtol=1e-5, atol=1e-5)
    other_unit = prepared((1024 * X).astype(dtype), weight)
    assert torch.equal(other_unit.rows, a.rows)
