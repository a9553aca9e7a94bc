import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.cluster import kmeans_plusplus as sklearn_kmeans_plusplus
from sklearn.datasets import make_blobs

from helpers import generator
from skrbf.ops.seeding import (
    _add_best_row,
    _draw_rows,
    kmeans_plusplus,
    quasi_random_kmeans_plusplus,
    random_rows,
)


class Table:
    """Rows in blocks of at most `span`, converted by `layout`."""

    def __init__(self, array, span=10**9, layout=torch.from_numpy):
        self.array, self.span, self.layout = array, span, layout
        self.n_rows = len(array)
        self.columns = 0

    def blocks(self, columns):
        self.columns = max(columns, self.columns)
        for start in range(0, self.n_rows, self.span):
            part = self.array[start : start + self.span]
            yield start, start + len(part), self.layout(part)

    def take(self, index):
        return self.layout(self.array[index.numpy()])


def seed_rows(array, k, seed=0, weight=None, **kwargs):
    table = Table(array, **kwargs)
    offset = torch.from_numpy(array.mean(0))
    return kmeans_plusplus(table, weight, k, generator(seed), offset)


def potential(array, chosen):
    return ((array[:, None] - array[chosen]) ** 2).sum(-1).min(1).sum()


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_draws_are_proportional_to_the_shares(n):
    share = torch.from_numpy(np.random.default_rng(n).random(n))
    share[1::3] = 0.0
    drawn = _draw_rows(share, 20_000, generator(), torch.float64)
    counts = np.bincount(drawn.numpy(), minlength=n)
    assert counts[1::3].sum() == 0
    expected = 20_000 * (share / share.sum()).numpy()
    inside = expected > 0
    if inside.sum() > 1:
        assert scipy.stats.chisquare(counts[inside], expected[inside]).pvalue > 1e-3


def test_extreme_draws_never_choose_a_share_of_zero(monkeypatch):
    share = torch.zeros(16, dtype=torch.float64)  # four groups of four
    share[6], share[9] = 0.1, 0.7
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    monkeypatch.setattr(torch, "rand", lambda *args, **kwargs: ends)
    assert _draw_rows(share, 2, generator(), torch.float64).tolist() == [6, 9]


def test_random_rows_are_distinct_and_proportional_to_weight():
    weight = torch.tensor([4.0, 0.0, 1.0, 3.0, 2.0], dtype=torch.float64)
    draws = torch.stack([random_rows(5, weight, 2, generator(s)) for s in range(4000)])
    assert (draws[:, 0] != draws[:, 1]).all()
    first = np.bincount(draws[:, 0].numpy(), minlength=5)
    share = weight.numpy() / 10
    assert first[1] == 0
    keep = share > 0
    assert scipy.stats.chisquare(first[keep], 4000 * share[keep]).pvalue > 1e-3
    # Second row: sum over first rows of p_first p_second / (1 - p_first).
    pair = share[:, None] * share / (1 - share[:, None])
    np.fill_diagonal(pair, 0.0)
    second = np.bincount(draws[:, 1].numpy(), minlength=5)
    expected = 4000 * pair.sum(0)[keep]
    assert scipy.stats.chisquare(second[keep], expected).pvalue > 1e-3


def test_random_rows_without_weights():
    assert random_rows(6, None, 6, generator()).sort().values.tolist() == [*range(6)]


def test_random_rows_repeat_if_too_few_have_weight():
    weight = torch.tensor([0.0, 1.0, 1.0, 0.0])
    found = random_rows(4, weight, 4, generator())
    assert found.bincount(minlength=4).tolist() == [0, 2, 2, 0]


@pytest.mark.parametrize("seed", range(5))
def test_chooses_one_row_of_each_distant_blob(seed):
    array, label = make_blobs(400, 5, centers=8, cluster_std=0.05, random_state=seed)
    chosen = seed_rows(array, 8, seed)
    assert sorted(label[chosen]) == [*range(8)]


def test_distortion_is_as_low_as_with_scikit_learn():
    array, _ = make_blobs(300, 3, centers=10, cluster_std=2.0, random_state=0)
    ours = [potential(array, seed_rows(array, 10, seed)) for seed in range(40)]
    theirs = [
        potential(array, sklearn_kmeans_plusplus(array, 10, random_state=seed)[1])
        for seed in range(40)
    ]
    assert np.mean(ours) < 1.05 * np.mean(theirs)


@pytest.mark.parametrize("span", [1, 7, 60])
def test_blocks_and_layout_change_nothing(layout, sparse_array, span, rng):
    weight = torch.from_numpy(rng.random(60))
    expected = seed_rows(sparse_array, 6, weight=weight)
    found = seed_rows(sparse_array, 6, weight=weight, span=span, layout=layout)
    assert torch.equal(found, expected)


def test_heavy_rows_are_chosen_and_weightless_rows_are_not(rng):
    array = rng.normal(size=(200, 2))
    array[0], array[1] = 30.0, -1000.0
    weight = torch.ones(200, dtype=torch.float64)
    weight[0], weight[1] = 1000.0, 0.0
    for seed in range(10):
        chosen = seed_rows(array, 3, seed, weight).tolist()
        assert 0 in chosen
        assert 1 not in chosen


def test_fewer_distinct_rows_than_clusters():
    array = np.repeat([[1.0, 2.0], [3.0, 4.0]], 4, axis=0)
    weight = torch.ones(8, dtype=torch.float64)
    weight[3] = 0.0
    chosen = seed_rows(array, 5, weight=weight)
    assert len(set(chosen.tolist())) == 5
    assert 3 not in chosen
    assert len(np.unique(array[chosen[:2]], axis=0)) == 2
    chosen = seed_rows(array, 8, weight=weight)
    assert len(set(chosen.tolist())) == 7


def test_no_row_is_chosen_twice_if_distances_are_rounding_errors(rng):
    array = (1e4 + rng.normal(size=(12, 5))).astype(np.float32)
    for seed in range(10):
        chosen = kmeans_plusplus(
            Table(array), None, 12, generator(seed), torch.zeros(5)
        )
        assert len(set(chosen.tolist())) == 12


def test_needs_one_column_per_trial_also_in_float32():
    array = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    table = Table(array, span=9)
    chosen = kmeans_plusplus(table, None, 20, generator(), torch.zeros(2))
    assert table.columns == 4  # 2 + floor(log 20)
    assert len(set(chosen.tolist())) == 20


def test_repeatable_without_global_random_state(rng):
    array = rng.normal(size=(50, 2))
    before = torch.get_rng_state()
    assert torch.equal(seed_rows(array, 5, 3), seed_rows(array, 5, 3))
    assert not torch.equal(seed_rows(array, 5, 3), seed_rows(array, 5, 4))
    random_rows(50, None, 3, generator())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("weight", [None, torch.ones(42)])
def test_trials_are_compared_in_the_accumulating_dtype(weight):
    """Use one distant row and forty small terms, which float32 would lose beside it."""
    array = np.array([[0, 1e4], [0, 0]] + 40 * [[1, 0]], dtype=np.float32)
    square = torch.from_numpy((array**2).sum(1))
    best = _add_best_row(
        Table(array, span=1),
        weight,
        torch.tensor([1, 2]),  # forty terms of 1 against one
        torch.zeros(2),
        square,
        torch.full((42,), torch.inf),
        torch.float64,
    )
    assert best.tolist() == [2]


def test_quasi_random_sets_are_spread_out_and_repeatable():
    X, y = make_blobs(400, centers=6, cluster_std=0.1, random_state=0)
    rows = torch.from_numpy(X - X.mean(0))
    order = rows[:, 0].argsort()
    rows, y = rows[order], y[order.numpy()]
    found = quasi_random_kmeans_plusplus(rows, torch.ones(400), 6, 12)
    assert found.shape == (12, 6, 2)
    assert torch.equal(
        found, quasi_random_kmeans_plusplus(rows, torch.ones(400), 6, 12)
    )
    labels = y[torch.cdist(found.view(-1, 2), rows).argmin(1).numpy()].reshape(12, 6)
    # A set of random rows has all six blobs in one case of 65.
    assert np.mean([len(set(row)) == 6 for row in labels]) > 0.6
    assert len({tuple(row) for row in found[:, 0].tolist()}) == 12


def test_quasi_random_sets_are_proportional_to_weight():
    rows = torch.tensor([[-1.0], [0.0], [1.0], [2.0]])
    weight = torch.tensor([0.0, 1.0, 0.0, 3.0])
    found = quasi_random_kmeans_plusplus(rows, weight, 2, 8)
    assert set(found.flatten().tolist()) == {0.0, 2.0}
    assert (found[:, 0] != found[:, 1]).all()
    assert (found[:, 0, 0] == 2.0).sum() == 6  # in proportion to its weight


def test_quasi_random_sets_of_equal_rows():
    rows = torch.zeros((5, 2))
    assert torch.equal(
        quasi_random_kmeans_plusplus(rows, torch.ones(5), 3, 4), torch.zeros((4, 3, 2))
    )
