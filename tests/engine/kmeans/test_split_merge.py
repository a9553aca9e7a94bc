import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs

from skrbf.engine.kmeans.constants import MIN_RELATIVE_FALL
from skrbf.engine.kmeans.growth import grow
from skrbf.engine.kmeans.lloyd import assign, lloyd, update
from skrbf.engine.kmeans.move_costs import (
    drop_factors,
    merge_costs,
    move_costs,
    two_nearest,
)
from skrbf.engine.kmeans.problem import center_rows, distortion_rounding
from skrbf.engine.kmeans.split_merge import (
    _apply_moves,
    _disjoint,
    _propose_moves,
    _receivers,
    _single_point_clusters,
    split_merge,
)
from skrbf.engine.kmeans.splits import Splits, split
from skrbf.engine.training.records import never_stop


@pytest.fixture
def costs():
    """``costs(problem, centers, splits, to_split=all, to_drop=all)``, factors of 1."""

    def found(problem, centers, splits, to_split=None, to_drop=None):
        every = torch.arange(len(centers))
        return move_costs(
            problem,
            centers,
            splits,
            two_nearest(problem, centers),
            torch.ones(problem.rows.n_rows, dtype=centers.dtype),
            every if to_split is None else to_split,
            every if to_drop is None else to_drop,
        )

    return found


def ranked(problem, best):
    return _propose_moves(problem, best, 512)[1]


@pytest.mark.parametrize("memory", [1 << 30, 20_000])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("k", [2, 9])
def test_the_distortion_after_every_move(
    rng, make, distortion, costs, k, weighted, memory
):
    X = rng.exponential(size=(400, 2))
    weight = rng.random(400) if weighted else None
    problem = make(X, weight, memory)
    partition = assign(problem, torch.from_numpy(X[:k].copy()))
    centers, _ = update(problem, partition)
    partition = assign(problem, centers)
    splits = split(problem, partition, centers)
    gain, cost = costs(problem, centers, splits)
    before = distortion(X, centers, weight)
    bounds, exact = [], []
    for i in range(k):
        for j in range(k):
            if i == j:
                assert cost[i, j] == torch.inf
                continue
            moved = centers.clone()
            moved[i], moved[j] = splits.left[i], splits.right[i]
            exact.append(distortion(X, moved, weight) - before)
            bounds.append(float(cost[i, j] - gain[i]))
        halved = torch.cat([centers, splits.right[i : i + 1]])
        halved[i] = splits.left[i]
        expected = before - distortion(X, halved, weight)
        assert float(gain[i]) == pytest.approx(expected, rel=1e-9)
    bounds, exact = np.array(bounds), np.array(exact)
    assert (bounds >= exact - 1e-9 * before).all()
    # Only a third center behind the split one makes a difference.
    assert np.mean(np.isclose(bounds, exact, rtol=1e-6)) > 0.4
    assert np.corrcoef(bounds, exact)[0, 1] > 0.95


@pytest.mark.parametrize("k", [2, 3, 6])
def test_the_distortion_after_a_merge(rng, distortion, k):
    """The rise is that of the rows of two clusters about their common mean."""
    X, label = rng.normal(size=(60, 3)), np.arange(60) % k
    weight = rng.random(60)
    weight_sum = np.bincount(label, weight)
    means = (
        np.stack([np.bincount(label, weight * x) for x in X.T], 1) / weight_sum[:, None]
    )
    cost = merge_costs(torch.from_numpy(means), torch.from_numpy(weight_sum))
    for i in range(k):
        for j in range(k):
            rises = [np.inf]
            for other in set(range(k)) - {i, j}:
                both = (label == j) | (label == other)
                common = np.average(X[both], axis=0, weights=weight[both])
                before = ((X[both] - means[label[both]]) ** 2).sum(1)
                after = ((X[both] - common) ** 2).sum(1)
                rises.append((weight[both] * (after - before)).sum())
            expected = np.inf if i == j else min(rises)
            assert float(cost[i, j]) == pytest.approx(expected)


@pytest.mark.parametrize("k", [2, 5, 25])
def test_no_move_splits_and_merges_the_same_cluster(rng, make, k):
    problem = make(rng.exponential(size=(300, 2)))
    best = lloyd(problem, assign(problem, problem.rows.take(torch.arange(k))), 100)
    moves = ranked(problem, best)
    assert moves
    assert all(cut != merged for cut, merged in moves)


def test_moves_of_few_clusters_are_ranked_by_the_common_mean(make):
    """Two heavy places side by side cost half of their gap, not all of it."""
    places = np.array([[0.0, 0], [1, 0], [10, 0], [10.9, 0], [20, 0]])
    problem = make(np.repeat(places, 50, axis=0))
    start = torch.tensor([[0.0, 0], [1, 0], [10.45, 0], [20, 0]]).double()
    best = lloyd(problem, assign(problem, start), 100)
    moves = ranked(problem, best)
    assert moves[0] in {(2, 0), (2, 1)}


def test_moves_that_cannot_pay_are_not_tried(make, costs):
    """Where clusters are far apart, to merge two costs more than all that is left."""
    X, y = make_blobs(
        200, centers=40 * np.mgrid[:2, :3].reshape(2, -1).T, random_state=0
    )
    truth = torch.from_numpy(np.stack([X[y == j].mean(0) for j in range(6)]))
    problem = make(X)
    best = lloyd(problem, assign(problem, truth), 100)
    partition, means = best.state
    splits = split(problem, partition, means)
    gain, _ = costs(problem, means, splits)
    assert (gain > 0).all()
    assert ranked(problem, best) == []


def test_each_set_has_its_own_moves(rng):
    centers, left, right = (torch.from_numpy(rng.normal(size=(5, 2))) for _ in "abc")
    splits = Splits(left, right, centers[:, 0], centers[:, 0])
    sets = _apply_moves(centers, splits, [[(0, 1), (3, 2)], [(4, 0), (1, 3)]])
    first = [left[0], right[0], right[3], left[3], centers[4]]
    second = [right[4], left[1], centers[2], right[1], left[4]]
    assert torch.equal(sets, torch.stack([torch.stack(first), torch.stack(second)]))


def test_disjoint_moves_share_no_cluster():
    moves = [(0, 1), (1, 2), (3, 0), (4, 3), (5, 6), (6, 5)]
    own = list(range(7))
    assert _disjoint(moves, own, 9) == [(0, 1), (4, 3), (5, 6)]
    assert _disjoint(moves, own, 2) == [(0, 1), (4, 3)]
    assert _disjoint([], own, 2) == []


def test_the_receiver_of_a_dropped_cluster_stays():
    receivers = [0, 2, 1, 3, 4, 2, 0]  # 1 and 2 lie in places next to each other
    moves = [(0, 1), (3, 2), (4, 5), (3, 4), (6, 0)]
    assert _disjoint(moves, receivers, 9) == [(0, 1), (3, 4)]


@pytest.mark.parametrize("weighted", [False, True])
def test_the_cost_of_dropping_a_cluster_in_one_place(rng, make, distortion, weighted):
    """Two places become one cluster, and its center is the common mean."""
    X = rng.normal(size=(60, 3)).repeat(2, 0)
    X[:40] += 30  # the clusters of one place are far from the others
    weight = rng.random(120) if weighted else np.ones(120)
    problem = make(X, weight if weighted else None)
    start = np.concatenate([X[:40:2], X[40:].mean(0)[None]])
    partition = assign(problem, torch.from_numpy(start))
    centers, _ = update(problem, partition)
    splits = split(problem, partition, centers)
    nearby = two_nearest(problem, centers)
    single_point = _single_point_clusters(splits)
    factor = drop_factors(single_point, nearby, partition.weight)
    to_drop, to_split = torch.arange(20), torch.tensor([20])
    _, cost = move_costs(problem, centers, splits, nearby, factor, to_split, to_drop)
    receivers = _receivers(problem, single_point, nearby)
    assert receivers[20] == 20
    labels = partition.labels.numpy()
    for j, rise in enumerate(cost[0].tolist()):
        both = (labels == j) | (labels == receivers[j])
        mean = np.average(X[both], axis=0, weights=weight[both])
        expected = distortion(X[both], mean[None], weight[both])
        assert rise == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("memory", [1 << 30, 20_000])
def test_costs_of_some_moves_agree_with_costs_of_all(
    rng, make, costs, weighted, memory
):
    X = rng.exponential(size=(400, 2))
    problem = make(X, rng.random(400) if weighted else None, memory)
    partition = assign(problem, torch.from_numpy(X[:40].copy()))
    centers, _ = update(problem, partition)
    splits = split(problem, partition, centers)
    gain, cost = costs(problem, centers, splits)
    to_split, to_drop = torch.arange(3, 40, 4), torch.arange(1, 40, 6)
    few_gain, few_cost = costs(problem, centers, splits, to_split, to_drop)
    torch.testing.assert_close(few_gain, gain[to_split])
    torch.testing.assert_close(few_cost, cost[to_split][:, to_drop])


@pytest.mark.parametrize("k", [120, 300, 590])
def test_a_round_of_moves_costs_as_much_as_lloyd_iterations(rng, make, monkeypatch, k):
    """However many clusters: no square of their number, and three passes or fewer."""
    competing = 30
    X = rng.normal(size=(600, 3))
    problem = make(X, memory=1 << 20)
    products, sizes, rounds = 0, [], 0
    plain, plain_costs = move_costs.__globals__["relative_distances"], move_costs

    def counting(centers, block, offset):
        nonlocal products
        products += len(centers) * len(block)
        return plain(centers, block, offset)

    def sized(*args):
        nonlocal rounds
        rounds += 1
        gain, cost = plain_costs(*args)
        sizes.append(cost.numel())
        return gain, cost

    monkeypatch.setattr("skrbf.engine.kmeans.move_costs.relative_distances", counting)
    monkeypatch.setattr("skrbf.engine.kmeans.split_merge.move_costs", sized)
    start = assign(problem, torch.from_numpy(X[:k]))
    split_merge(problem, start, 300, max_competing=competing)
    assert rounds > 0
    assert products <= rounds * 600 * (k + 2 * competing)
    assert max(sizes) <= competing**2


def _few_rows_each(rng, kind):
    if kind == "blobs":
        return make_blobs(400, 6, centers=20, random_state=0)[0]
    if kind == "pairs":
        return rng.random((130, 4)).repeat(3, 0)
    if kind == "line":
        return rng.random((400, 1))
    return rng.normal(size=(400, 5))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("share", [0.25, 0.6, 0.9])
@pytest.mark.parametrize("kind", ["normal", "blobs", "pairs", "line"])
def test_few_rows_for_each_cluster(rng, make, distortion, kind, share, dtype):
    """No worse than the best of ten starts of K-means, but for rounding."""
    X = _few_rows_each(rng, kind).astype(dtype)
    k = int(share * len(np.unique(X, axis=0)))
    best = KMeans(k, n_init=10, random_state=0).fit(X)
    whole = make(X)
    problem = center_rows(whole)
    grown = grow(problem, k, never_stop).state[0]
    found = split_merge(problem, grown, 300).state[1]
    found = (found + whole.origin).numpy()
    bound = distortion(X, best.cluster_centers_) * (1 + 1e-4)
    bound += distortion_rounding(problem)
    assert distortion(X, found) <= bound


@pytest.mark.parametrize("k", [60, 110, 119])
def test_few_rows_for_each_cluster_in_any_container(rng, make, k):
    """Weights are repetitions, CSR is dense, and the order of the rows says nothing."""
    X = rng.normal(size=(160, 3))
    count = np.r_[rng.integers(1, 5, 120), rng.integers(0, 5, 40)]
    order = rng.permutation(len(X))
    problems = [
        make(X, count.astype(float)),
        make(X.repeat(count, 0)),
        make(X[order], count[order].astype(float)),
        make(sparse.csr_array(X), count.astype(float)),
    ]
    found = [
        split_merge(p, grow(p, k, never_stop).state[0], 300).objective for p in problems
    ]
    np.testing.assert_allclose(found[:3], found[0], rtol=1e-9)
    # Sparse rows are not centered: other roundings, which choose among moves that tie.
    assert found[3] == pytest.approx(found[0], rel=1e-2)


def test_a_bad_start_is_mended(make, distortion):
    """Two centers in one blob, one between two others: Lloyd stays, moves help."""
    X, y = make_blobs(
        600, centers=12 * np.mgrid[:4, :3].reshape(2, -1).T, random_state=0
    )
    problem = make(X)
    truth = np.stack([X[y == j].mean(0) for j in range(12)])
    start = truth.copy()
    start[11] = start[0] + 0.5
    start = assign(problem, torch.from_numpy(start))
    stuck = lloyd(problem, start, 300).objective
    mended = split_merge(problem, start, 300)
    best = distortion(X, truth)
    assert stuck > 2 * best
    assert mended.objective == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("k", [2, 7, 13, 60])
def test_split_merge_never_loses_and_ends_at_a_fixed_point(rng, make, k):
    X = rng.exponential(size=(1000, 3))
    problem = make(X)
    start = assign(problem, torch.from_numpy(X[:k]))
    kept = []
    found = split_merge(
        problem, start, 300, lambda record, _: kept.append(record.objective)
    )
    assert found.objective <= lloyd(problem, start, 300).objective * (1 + 1e-3)
    assert kept == sorted(kept, reverse=True)
    partition, means = found.state
    centers, _ = update(problem, partition)
    again = assign(problem, centers)
    np.testing.assert_array_equal(again.labels, partition.labels)
    assert torch.equal(means, centers)


@pytest.mark.parametrize(("k", "seed"), [(6, 4), (10, 5), (25, 2)])
def test_moves_that_hardly_help_are_followed_by_fewer(make, k, seed):
    X = np.random.default_rng(seed).normal(size=(500, 8))
    problem = make(X)
    start = assign(problem, torch.from_numpy(X[:k]))

    def falls(**params):
        kept = []
        split_merge(
            problem,
            start,
            300,
            lambda record, _: kept.append(record.objective),
            **params,
        )
        return 1 - np.array(kept[1:]) / kept[:-1]

    found = falls()
    halvings = np.log2(1 if k < 20 else k // 4)
    without = falls(min_fall=0.0)
    small = (without[:-1] < MIN_RELATIVE_FALL).sum()
    if k == 6:  # very few clusters go on
        np.testing.assert_array_equal(found, without)
        assert small > 0
    else:  # the last may be small, and as many others as halve the number of moves to 1
        assert (found[:-1] < MIN_RELATIVE_FALL).sum() <= halvings < small


def test_the_hook_stops_the_moves(rng, make):
    X = rng.exponential(size=(1000, 3))
    problem = make(X)
    start = assign(problem, torch.from_numpy(X[:60]))
    kept = []
    split_merge(problem, start, 300, lambda record, _: kept.append(record) or True)
    assert len(kept) == 1


@pytest.mark.parametrize(("alone", "found"), [(9, False), (10, True), (39, True)])
def test_clusters_in_one_place_count_where_they_are_many(alone, found):
    gain = torch.ones(40)
    gain[:alone] = 0
    single_point = _single_point_clusters(
        Splits(gain[:, None], gain[:, None], gain, gain)
    )
    assert torch.equal(single_point, (gain == 0) & found)
