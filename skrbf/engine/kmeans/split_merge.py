"""Split-and-merge moves: leave a local optimum of hard K-means for a better one.

A move takes the center of one cluster away and gives it to another, which is cut in
two. One pass over the rows tells the distortion right after each move. Lloyd iterations
from the best of them tell what is gained in the end.
"""

import torch
from torch import Tensor

from skrbf.engine.kmeans import constants
from skrbf.engine.kmeans.lloyd import HardState, Partition, assign, lloyd, step_record
from skrbf.engine.kmeans.move_costs import (
    TwoNearest,
    drop_factors,
    merge_costs,
    move_costs,
    two_nearest,
)
from skrbf.engine.kmeans.problem import Problem, distortion_rounding
from skrbf.engine.kmeans.splits import Splits, split
from skrbf.engine.kmeans.successive_halving import spread_starts, successive_halving
from skrbf.engine.training.records import Descent, OnStep, never_stop
from skrbf.ops.statistics import weight_sums

_Move = tuple[int, int]  # (cluster to split, cluster to merge with its neighbors)


def split_merge(
    problem: Problem,
    start: Partition,
    max_iter: int,
    on_step: OnStep[Tensor] = never_stop,
    *,
    max_competing: int = constants.MAX_COMPETING,
    min_fall: float = constants.MIN_RELATIVE_FALL,
) -> Descent[HardState]:
    """Split and merge clusters as long as that lowers the distortion enough.

    Parameters
    ----------
    max_iter : int
        Most of the Lloyd iterations to a fixed point, at the end.
    max_competing : int
        Most clusters that compete to be split, and most that compete to be dropped.
    min_fall : float
        Relative fall of the distortion below which a round counts as failed. It is 0
        where clusters are very few.
    """
    best = lloyd(problem, start, max_iter, tol=constants.MOVES_TOL)
    if start.n_clusters > 1:
        best = _try_spread_starts(problem, best)
        very_few = start.n_clusters <= constants.MAX_CLUSTERS_SPREAD
        min_fall = 0.0 if very_few else min_fall
        best = _try_moves(problem, best, on_step, max_competing, min_fall)
    return lloyd(problem, best.state[0], max_iter)


def _try_spread_starts(
    problem: Problem, best: Descent[HardState]
) -> Descent[HardState]:
    """Compare with other starts where clusters are few: they are cheap, and needed."""
    k = best.state[0].n_clusters
    if k > constants.MAX_CLUSTERS_SPREAD:
        return best
    starts = spread_starts(problem, k, constants.SPREAD_STARTS)
    if starts is None:
        return best
    starts = successive_halving(problem, starts, constants.FINALISTS)
    return _first_better(problem, best, starts, constants.SINGLE_MOVE_TOL) or best


def _first_better(
    problem: Problem, best: Descent[HardState], starts: Tensor, tol: float
) -> Descent[HardState] | None:
    """Run Lloyd iterations from sets of centers until one leads to less distortion."""
    target = best.objective
    least = constants.MIN_RELATIVE_IMPROVEMENT * target
    margin = max(least, distortion_rounding(problem))
    for centers in starts:
        start = assign(problem, centers)
        trial = lloyd(
            problem, start, constants.MOVE_ITERATIONS, tol=tol, target_distortion=target
        )
        if trial.objective < target - margin:
            return trial
    return None


def _try_moves(
    problem: Problem,
    best: Descent[HardState],
    on_step: OnStep[Tensor],
    max_competing: int,
    min_fall: float,
) -> Descent[HardState]:
    """Make many moves at once, then fewer, then one, until that hardly helps."""
    k = best.state[0].n_clusters
    at_once = 1
    if k >= constants.MIN_CLUSTERS_AT_ONCE:
        at_once = min(int(k * constants.MOVED_FRACTION), max_competing // 2)
    proposal = None
    while at_once:
        if proposal is None:
            proposal = _propose_moves(problem, best, max_competing)
        splits, moves, receivers = proposal
        chosen = _disjoint(moves, receivers, at_once)
        if not chosen:
            break
        at_once = len(chosen)
        means = best.state[1]
        if at_once > 1:
            starts, tol = _apply_moves(means, splits, [chosen]), constants.MOVES_TOL
        else:
            starts, tol = _best_single_moves(problem, means, splits, moves)
        trial = _first_better(problem, best, starts, tol)
        if trial is None or trial.objective > (1 - min_fall) * best.objective:
            at_once //= 2
        if trial is not None:
            best, proposal = trial, None
            means = best.state[1]
            record = step_record("split_merge", 0.0, best.objective, means)
            if on_step(record, means):
                break
    return best


def _propose_moves(
    problem: Problem, best: Descent[HardState], max_competing: int
) -> tuple[Splits, list[_Move], list[int]]:
    """Split all clusters, rank the moves, and find the receiver of each cluster."""
    partition, means = best.state
    splits = split(problem, partition, means)
    nearby = two_nearest(problem, means)
    single_point = _single_point_clusters(splits)
    factor = drop_factors(single_point, nearby, partition.weight)  # (n,)
    moves = _rank_moves(problem, best, splits, nearby, factor, max_competing)
    return splits, moves, _receivers(problem, single_point, nearby)


def _single_point_clusters(splits: Splits) -> Tensor:
    """Find the clusters with all rows in one place (k,), where these are many."""
    single_point = splits.gain <= 0
    least = constants.MIN_SINGLE_POINT_FRACTION * len(single_point)
    many = int(single_point.sum()) >= least
    return single_point if many else torch.zeros_like(single_point)


def _rank_moves(
    problem: Problem,
    best: Descent[HardState],
    splits: Splits,
    nearby: TwoNearest,
    factor: Tensor,
    max_competing: int,
) -> list[_Move]:
    """List the moves that may help, by the distortion right after them."""
    (partition, means), k = best.state, len(splits.gain)
    first, second, label, _ = nearby
    rise = problem.weighted((second - first) * factor)  # (n,)
    to_split = _lowest(-splits.gain, max_competing)  # (s,)
    to_drop = _lowest(weight_sums(label, rise, k), max_competing)  # (t,)
    gain, cost = move_costs(problem, means, splits, nearby, factor, to_split, to_drop)
    min_ratio = constants.MIN_GAIN_PER_COST
    if k < constants.MIN_CLUSTERS_AT_ONCE:
        cost = torch.minimum(cost, merge_costs(means, partition.weight))
        min_ratio = 0.0
    change = cost - gain[:, None]  # (s, t)
    possible = (splits.gain[to_split] > 0)[:, None] & (gain[:, None] > min_ratio * cost)
    possible &= change <= constants.MAX_RELATIVE_RISE * best.objective
    index = possible.flatten().nonzero()[:, 0]
    index = index[change.flatten()[index].argsort(stable=True)]
    pairs = to_split[index // len(to_drop)], to_drop[index % len(to_drop)]
    return list(zip(*(pair.tolist() for pair in pairs), strict=True))


def _lowest(value: Tensor, count: int) -> Tensor:
    """Select up to `count` clusters with the lowest values, in their own order."""
    return value.argsort(stable=True)[:count].sort().values


def _receivers(problem: Problem, single_point: Tensor, nearby: TwoNearest) -> list[int]:
    """Find the cluster that receives all rows of each single-point cluster.

    It has to keep its center: else two neighbors could be dropped for each other. Other
    clusters stand for themselves.
    """
    _, _, label, next_label = nearby
    receivers = torch.arange(len(single_point), device="cpu")  # (k,)
    moved = single_point[label]  # (n,)
    if problem.weight is not None:
        moved &= problem.weight > 0
    label, next_label = label[moved].cpu(), next_label[moved].cpu()
    receivers.scatter_reduce_(0, label, next_label, "amax", include_self=False)
    return receivers.tolist()


def _disjoint(moves: list[_Move], receivers: list[int], count: int) -> list[_Move]:
    """Select the first moves that share no cluster, nor the receiver of one dropped."""
    used: set[int] = set()
    chosen: list[_Move] = []
    for split_cluster, dropped in moves:
        clusters = split_cluster, dropped, receivers[dropped]
        if used.isdisjoint(clusters):
            chosen.append((split_cluster, dropped))
            used.update(clusters)
            if len(chosen) == count:
                break
    return chosen


def _apply_moves(centers: Tensor, splits: Splits, moves: list[list[_Move]]) -> Tensor:
    """Make sets of centers (b, k, d), each after a list of equally many moves."""
    starts = centers.repeat(len(moves), 1, 1)
    to_split, to_drop = torch.tensor(moves, device=centers.device).unbind(2)  # (b, m)
    row = torch.arange(len(moves), device=centers.device)[:, None]
    starts[row, to_split] = splits.left[to_split]
    starts[row, to_drop] = splits.right[to_split]
    return starts


def _best_single_moves(
    problem: Problem, centers: Tensor, splits: Splits, moves: list[_Move]
) -> tuple[Tensor, float]:
    """Make sets of centers after one move, and choose the tolerance of what follows."""
    k = len(centers)
    if k >= constants.MIN_CLUSTERS_AT_ONCE:
        return _apply_moves(centers, splits, [moves[:1]]), constants.MOVES_TOL
    most = min(
        max(1, constants.MAX_CANDIDATE_NUMBERS // centers.numel()),
        max(8, constants.MAX_CANDIDATE_NUMBERS // (k * problem.rows.n_rows)),
    )
    moves = moves[: min(2 * k, constants.MAX_MOVE_CANDIDATES, most)]
    starts = _apply_moves(centers, splits, [[move] for move in moves])
    starts = successive_halving(problem, starts, constants.FINALISTS)
    return starts, constants.SINGLE_MOVE_TOL
