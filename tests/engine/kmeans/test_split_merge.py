import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs

from skrbf.engine.kmeans.grow import grow
from skrbf.engine.kmeans.lloyd import assign, lloyd, update
from skrbf.engine.kmeans.move_costs import (
    following_shares,
    merge_costs,
    move_costs,
    two_nearest,
)
from skrbf.engine.kmeans.problem import about_origin, rounding
from skrbf.engine.kmeans.split import Splits, split
from skrbf.engine.kmeans.split_merge import (
    _LEAST,
    _apart,
    _heirs,
    _moved,
    _ranked,
    _single,
    repair,
)


@pytest.fixture
def costs():
    """``costs(problem, centers, cuts, cut=all, dropped=all)``, no center following."""

    def found(problem, centers, cuts, cut=None, dropped=None):
        every = torch.arange(len(centers))
        return move_costs(
            problem,
            centers,
            cuts,
            two_nearest(problem, centers),
            torch.ones(problem.rows.n_rows, dtype=centers.dtype),
            every if cut is None else cut,
            every if dropped is None else dropped,
        )

    return found


def ranked(problem, best):
    cuts = split(problem, best.partition, best.centers)
    nearby = two_nearest(problem, best.centers)
    return _ranked(problem, best, cuts, nearby, _single(cuts))


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
    cuts = split(problem, partition, centers)
    gain, cost = costs(problem, centers, cuts)
    before = distortion(X, centers, weight)
    bounds, exact = [], []
    for i in range(k):
        for j in range(k):
            if i == j:
                assert cost[i, j] == torch.inf
                continue
            moved = centers.clone()
            moved[i], moved[j] = cuts.left[i], cuts.right[i]
            exact.append(distortion(X, moved, weight) - before)
            bounds.append(float(cost[i, j] - gain[i]))
        halved = torch.cat([centers, cuts.right[i : i + 1]])
        halved[i] = cuts.left[i]
        expected = before - distortion(X, halved, weight)
        assert float(gain[i]) == pytest.approx(expected, rel=1e-9)
    bounds, exact = np.array(bounds), np.array(exact)
    assert (bounds >= exact - 1e-9 * before).all()
    # Only a third center behind the split one makes a difference.
    assert np.mean(np.isclose(bounds, exact, rtol=1e-6)) > 0.4
    assert np.corrcoef(bounds, exact)[0, 1] > 0.95


@pytest.mark.parametrize("k", [2, 3, 6])
def test_the_distortion_after_a_merge(rng, distortion, k):
    """Of the rows of two clusters about their common mean, less that before."""
    X, label = rng.normal(size=(60, 3)), np.arange(60) % k
    weight = rng.random(60)
    mass = np.bincount(label, weight)
    means = np.stack([np.bincount(label, weight * x) for x in X.T], 1) / mass[:, None]
    cost = merge_costs(torch.from_numpy(means), torch.from_numpy(mass))
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


def test_a_few_clusters_are_ranked_as_if_their_centers_had_followed(make):
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
    cuts = split(problem, best.partition, best.centers)
    gain, _ = costs(problem, best.centers, cuts)
    assert (gain > 0).all()
    assert ranked(problem, best) == []


def test_each_set_has_its_own_moves(rng):
    centers, left, right = (torch.from_numpy(rng.normal(size=(5, 2))) for _ in "abc")
    cuts = Splits(left, right, centers[:, 0], centers[:, 0])
    sets = _moved(centers, cuts, [[(0, 1), (3, 2)], [(4, 0), (1, 3)]])
    first = [left[0], right[0], right[3], left[3], centers[4]]
    second = [right[4], left[1], centers[2], right[1], left[4]]
    assert torch.equal(sets, torch.stack([torch.stack(first), torch.stack(second)]))


def test_moves_apart_share_no_cluster():
    moves = [(0, 1), (1, 2), (3, 0), (4, 3), (5, 6), (6, 5)]
    own = list(range(7))
    assert _apart(moves, own, 9) == [(0, 1), (4, 3), (5, 6)]
    assert _apart(moves, own, 2) == [(0, 1), (4, 3)]
    assert _apart([], own, 2) == []


def test_what_gets_the_rows_of_a_dropped_cluster_stays():
    heirs = [0, 2, 1, 3, 4, 2, 0]  # 1 and 2 lie in places next to each other
    moves = [(0, 1), (3, 2), (4, 5), (3, 4), (6, 0)]
    assert _apart(moves, heirs, 9) == [(0, 1), (3, 4)]


@pytest.mark.parametrize("weighted", [False, True])
def test_the_cost_of_dropping_a_cluster_in_one_place(rng, make, distortion, weighted):
    """Two places become one cluster, and its center has followed."""
    X = rng.normal(size=(60, 3)).repeat(2, 0)
    X[:40] += 30  # the clusters of one place are far from the others
    weight = rng.random(120) if weighted else np.ones(120)
    problem = make(X, weight if weighted else None)
    start = np.concatenate([X[:40:2], X[40:].mean(0)[None]])
    partition = assign(problem, torch.from_numpy(start))
    centers, _ = update(problem, partition)
    cuts, nearby = split(problem, partition, centers), two_nearest(problem, centers)
    single = _single(cuts)
    share = following_shares(single, nearby, partition.weight)
    dropped = torch.arange(20)
    cut = torch.tensor([20])
    _, cost = move_costs(problem, centers, cuts, nearby, share, cut, dropped)
    heirs = _heirs(problem, single, nearby)
    assert heirs[20] == 20
    labels = partition.labels.numpy()
    for j, rise in enumerate(cost[0].tolist()):
        both = (labels == j) | (labels == heirs[j])
        mean = np.average(X[both], axis=0, weights=weight[both])
        expected = distortion(X[both], mean[None], weight[both])
        assert rise == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("memory", [1 << 30, 20_000])
def test_a_few_moves_cost_what_they_do_among_all(rng, make, costs, weighted, memory):
    X = rng.exponential(size=(400, 2))
    problem = make(X, rng.random(400) if weighted else None, memory)
    partition = assign(problem, torch.from_numpy(X[:40].copy()))
    centers, _ = update(problem, partition)
    cuts = split(problem, partition, centers)
    gain, cost = costs(problem, centers, cuts)
    cut, dropped = torch.arange(3, 40, 4), torch.arange(1, 40, 6)
    few_gain, few_cost = costs(problem, centers, cuts, cut, dropped)
    torch.testing.assert_close(few_gain, gain[cut])
    torch.testing.assert_close(few_cost, cost[cut][:, dropped])


@pytest.mark.parametrize("k", [120, 300, 590])
def test_a_sweep_takes_as_long_as_lloyd_iterations(rng, make, monkeypatch, k):
    """However many clusters: no square of their number, and three passes or fewer."""
    competing = 30
    monkeypatch.setattr("skrbf.engine.kmeans.split_merge._COMPETING", competing)
    X = rng.normal(size=(600, 3))
    problem = make(X, memory=1 << 20)
    products, sizes, sweeps = 0, [], 0
    plain, plain_costs = move_costs.__globals__["relative_distances"], move_costs

    def counting(centers, block, offset):
        nonlocal products
        products += len(centers) * len(block)
        return plain(centers, block, offset)

    def sized(*args):
        nonlocal sweeps
        sweeps += 1
        gain, cost = plain_costs(*args)
        sizes.append(cost.numel())
        return gain, cost

    monkeypatch.setattr("skrbf.engine.kmeans.move_costs.relative_distances", counting)
    monkeypatch.setattr("skrbf.engine.kmeans.split_merge.move_costs", sized)
    repair(problem, assign(problem, torch.from_numpy(X[:k])), 300)
    assert sweeps > 0
    assert products <= sweeps * 600 * (k + 2 * competing)
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
    problem = about_origin(whole)
    grown = grow(problem, k, lambda *_: False)
    found = (repair(problem, grown, 300).centers + whole.origin).numpy()
    bound = distortion(X, best.cluster_centers_) * (1 + 1e-4) + rounding(problem)
    assert distortion(X, found) <= bound


@pytest.mark.parametrize("k", [60, 110, 119])
def test_few_rows_for_each_cluster_in_any_form(rng, make, k):
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
    found = [repair(p, grow(p, k, lambda *_: False), 300).distortion for p in problems]
    np.testing.assert_allclose(found[:3], found[0], rtol=1e-9)
    # Sparse rows are not centered: other roundings, which choose among moves that tie.
    assert found[3] == pytest.approx(found[0], rel=1e-2)


def test_a_bad_start_is_mended(make, distortion):
    """Two centers in one blob, one between two others: Lloyd stays, repair moves."""
    X, y = make_blobs(
        600, centers=12 * np.mgrid[:4, :3].reshape(2, -1).T, random_state=0
    )
    problem = make(X)
    truth = np.stack([X[y == j].mean(0) for j in range(12)])
    start = truth.copy()
    start[11] = start[0] + 0.5
    start = assign(problem, torch.from_numpy(start))
    stuck = lloyd(problem, start, 300).distortion
    mended = repair(problem, start, 300)
    best = distortion(X, truth)
    assert stuck > 2 * best
    assert mended.distortion == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("k", [2, 7, 13, 60])
def test_repair_never_loses_and_ends_at_a_fixed_point(rng, make, k):
    X = rng.exponential(size=(1000, 3))
    problem = make(X)
    start = assign(problem, torch.from_numpy(X[:k]))
    kept = []
    found = repair(problem, start, 300, lambda record, _: kept.append(record.objective))
    assert found.distortion <= lloyd(problem, start, 300).distortion * (1 + 1e-3)
    assert kept == sorted(kept, reverse=True)
    centers, _ = update(problem, found.partition)
    again = assign(problem, centers)
    np.testing.assert_array_equal(again.labels, found.partition.labels)


@pytest.mark.parametrize(("k", "seed"), [(6, 4), (10, 5), (25, 2)])
def test_moves_that_hardly_help_are_followed_by_fewer(make, monkeypatch, k, seed):
    X = np.random.default_rng(seed).normal(size=(500, 8))
    problem = make(X)
    start = assign(problem, torch.from_numpy(X[:k]))

    def falls():
        kept = []
        repair(problem, start, 300, lambda record, _: kept.append(record.objective))
        return 1 - np.array(kept[1:]) / kept[:-1]

    found = falls()
    halvings = np.log2(1 if k < 20 else k // 4)
    monkeypatch.setattr("skrbf.engine.kmeans.split_merge._LEAST", 0.0)
    without = falls()
    small = (without[:-1] < _LEAST).sum()
    if k == 6:  # very few clusters go on
        np.testing.assert_array_equal(found, without)
        assert small > 0
    else:  # the last may be small, and as many others as halve the number of moves to 1
        assert (found[:-1] < _LEAST).sum() <= halvings < small


def test_repair_stops_when_told(rng, make):
    X = rng.exponential(size=(1000, 3))
    problem = make(X)
    start = assign(problem, torch.from_numpy(X[:60]))
    kept = []
    repair(problem, start, 300, lambda record, _: kept.append(record) or True)
    assert len(kept) == 1


@pytest.mark.parametrize(("alone", "found"), [(9, False), (10, True), (39, True)])
def test_clusters_in_one_place_count_where_they_are_many(alone, found):
    gain = torch.ones(40)
    gain[:alone] = 0
    single = _single(Splits(gain[:, None], gain[:, None], gain, gain))
    assert torch.equal(single, (gain == 0) & found)
