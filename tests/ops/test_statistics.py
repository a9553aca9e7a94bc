from itertools import pairwise

import numpy as np
import pytest
import torch

from skrbf.ops.assignment import softmax
from skrbf.ops.statistics import (
    ClusterStatistics,
    add_statistics,
    deterministic_cumsum,
    label_sums,
    label_totals,
    one_hot_totals,
    soft_statistics,
    weight_sums,
    weighted_means,
    weighted_sums,
)


@pytest.fixture
def problem(sparse_array, rng):
    r, _ = softmax(torch.from_numpy(rng.normal(size=(4, 60))))
    weight = torch.from_numpy(rng.random(60))
    objective = torch.from_numpy(rng.normal(size=60))
    return r, sparse_array, weight, objective


@pytest.mark.parametrize("weighted", [False, True])
def test_matches_numpy(layout, problem, weighted):
    r, array, weight, objective = problem
    weight = weight if weighted else None
    rows = layout(array)
    found = soft_statistics(r, rows, weight, objective)
    w = np.ones(60) if weight is None else weight.numpy()
    expected = r.numpy() * w
    np.testing.assert_allclose(found.weight, expected.sum(1), rtol=1e-14)
    np.testing.assert_allclose(found.total, expected @ array, atol=1e-14)
    np.testing.assert_allclose(found.objective, objective.numpy() @ w, rtol=1e-13)
    assert found.objective.shape == ()
    sums = weighted_sums(r, rows)
    np.testing.assert_allclose(sums, r.numpy() @ array, atol=1e-14)


@pytest.mark.parametrize("accumulate", [torch.float32, torch.float64])
def test_result_has_the_accumulating_dtype(problem, accumulate):
    r, array, weight, objective = problem
    found = soft_statistics(
        r.float(),
        torch.from_numpy(array).float(),
        weight.float(),
        objective.float(),
        accumulate=accumulate,
    )
    assert {part.dtype for part in found} == {accumulate}


def test_statistics_of_chunks_add_up(problem):
    r, array, weight, objective = problem
    rows = torch.from_numpy(array)
    whole = soft_statistics(r, rows, weight, objective)
    cuts = [0, 1, 20, 33, 60]
    parts = [
        soft_statistics(r[:, a:b], rows[a:b], weight[a:b], objective[a:b])
        for a, b in pairwise(cuts)
    ]
    total = parts[0]
    for part in parts[1:]:
        total = add_statistics(total, part)
    for found, expected in zip(total, whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-14)


def test_integer_weights_equal_repeated_rows(problem):
    r, array, _, objective = problem
    rows, times = torch.from_numpy(array), torch.arange(60) % 3
    weighted = soft_statistics(r, rows, times, objective)
    index = torch.arange(60).repeat_interleave(times)
    repeated = soft_statistics(r[:, index], rows[index], None, objective[index])
    for found, expected in zip(weighted, repeated, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-14)


def test_float64_sums_keep_what_float32_loses():
    block = (torch.ones(1, 1), torch.ones(1, 1), None, torch.ones(1))
    many = ClusterStatistics(
        *(torch.full_like(part, 2.0**24) for part in soft_statistics(*block))
    )
    assert add_statistics(many, soft_statistics(*block)).weight.item() == 2.0**24 + 1


def test_weighted_means_and_fallback_of_empty_clusters():
    statistics = ClusterStatistics(
        torch.tensor([4.0, 0.0, 1e-300], dtype=torch.float64),
        torch.tensor([[2.0, 6.0], [0.0, 0.0], [3e-300, 0.0]], dtype=torch.float64),
        torch.tensor(0.0, dtype=torch.float64),
    )
    fallback = torch.tensor([[9.0, 9.0], [7.0, 8.0], [9.0, 9.0]])
    found = weighted_means(statistics, fallback)
    assert found.dtype == torch.float32
    assert found.tolist() == [[0.5, 1.5], [7.0, 8.0], [3.0, 0.0]]


@pytest.mark.parametrize("weighted", [False, True])
def test_label_sums_match_numpy(layout, sparse_array, rng, weighted):
    labels = rng.integers(0, 5, 60)  # label 5 is absent
    weight = rng.random(60) if weighted else np.ones(60)
    one_hot = np.eye(6)[labels] * weight[:, None]
    weights, totals = label_sums(
        layout(sparse_array),
        torch.from_numpy(labels),
        torch.from_numpy(weight) if weighted else None,
        6,
    )
    np.testing.assert_allclose(weights, one_hot.sum(0), rtol=1e-14)
    np.testing.assert_allclose(totals, one_hot.T @ sparse_array, atol=1e-13)


def test_deterministic_sums_match_numpy(rng):
    labels, weight = rng.integers(0, 5, 60), rng.normal(size=60)
    counts = weight_sums(torch.from_numpy(labels), None, 7)
    np.testing.assert_array_equal(counts, np.bincount(labels, minlength=7))
    found = weight_sums(torch.from_numpy(labels), torch.from_numpy(weight), 7)
    np.testing.assert_allclose(found, np.bincount(labels, weight, 7), atol=1e-14)
    table = rng.normal(size=(4, 9)).astype(np.float32)
    for axis in (0, 1):
        sums = deterministic_cumsum(torch.from_numpy(table), axis, torch.float64)
        np.testing.assert_allclose(sums, np.cumsum(table, axis, dtype=np.float64))
    assert deterministic_cumsum(torch.from_numpy(table), 1).dtype == torch.float32


@pytest.mark.parametrize("function", [label_totals, one_hot_totals])
def test_label_totals_with_negative_weights(layout, sparse_array, rng, function):
    labels, weight = rng.integers(0, 5, 60), rng.normal(size=60)
    found = function(
        layout(sparse_array), torch.from_numpy(labels), torch.from_numpy(weight), 6
    )
    expected = (np.eye(6)[labels] * weight[:, None]).T @ sparse_array
    np.testing.assert_allclose(found, expected, atol=1e-13)


@pytest.mark.parametrize("d", [1, 3, 4, 15, 16, 17])
@pytest.mark.parametrize("n", [20, 1500])
def test_label_sums_of_narrow_and_wide_rows(rng, n, d):
    rows, labels = rng.normal(size=(n, d)), rng.integers(0, 4, n)
    weights, totals = label_sums(
        torch.from_numpy(rows), torch.from_numpy(labels), None, 4
    )
    one_hot = np.eye(4)[labels]
    np.testing.assert_array_equal(weights, one_hot.sum(0))
    np.testing.assert_allclose(totals, one_hot.T @ rows, atol=1e-12)


@pytest.mark.parametrize(("k", "d"), [(3, 2), (8, 2), (64, 15), (64, 16)])
@pytest.mark.parametrize("transposed", [False, True])
def test_weighted_sums_of_narrow_and_wide_rows(rng, k, d, transposed):
    r, rows = rng.random((k, 50)), rng.normal(size=(50, d))
    block = torch.from_numpy(r)
    block = block.t().contiguous().t() if transposed else block
    found = weighted_sums(block, torch.from_numpy(rows))
    np.testing.assert_allclose(found, r @ rows, rtol=1e-12)
