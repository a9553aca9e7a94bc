"""Split-and-merge moves: leave a local optimum of hard K-means for a better one.

A move takes the center of one cluster away and gives it to another, which is cut in
two. What the distortion is right after each move is known from one pass over the rows;
what is left of it after Lloyd iterations is tried out.
"""

import torch
from torch import Tensor

from skrbf.engine.kmeans.em import step_record
from skrbf.engine.kmeans.lloyd import Descent, Partition, assign, lloyd
from skrbf.engine.kmeans.move_costs import (
    Nearby,
    following_shares,
    merge_costs,
    move_costs,
    two_nearest,
)
from skrbf.engine.kmeans.problem import Problem, rounding
from skrbf.engine.kmeans.split import Splits, split
from skrbf.engine.kmeans.successive_halving import best_of, spread_starts
from skrbf.engine.training.records import OnStep, never_stop
from skrbf.ops.statistics import weight_sums

# At first a quarter of the centers move at once, and half as many after what fails or
# hardly helps, where the split gains this part of the merge's cost.
_TOGETHER = 1 / 4
_WORTH = 0.3
# Of more clusters only so many compete to be split, and so many to be dropped: those
# that promise most. The time of a sweep then grows as that of Lloyd iterations does:
# benchmarks/results/kmeans_quality.md, few rows for each cluster.
_COMPETING = 512
# From this part of the clusters on that lie in one place each, these count as such. A
# few of them are outliers, and to keep what is next to them forbids moves that help.
_SINGLE = 1 / 4
# A move that raises the distortion by this part of it at first is not made up for.
_HOPELESS = 0.5
# Below this number of clusters moves are made one by one: twice as many as there are
# clusters compete, but not more than so many. Up to this number of clusters, so many
# other starts compete as well.
_FEW, _CANDIDATES = 20, 24
_VERY_FEW, _SPREAD = 7, 64
# As long as their centers are not more than so many numbers.
_NUMBERS = 1 << 20
# So many that do best in a few iterations go to the end.
_FINALISTS = 2
# Where moves lower the distortion by less than this part of it, fewer are made, as if
# they had failed. Very few clusters go on: there it costs little.
_LEAST = 2e-3
# Iterations after a move; they stop early below these tolerances.
_FINISH = 30
_TOL = 5e-3
_TOL_SINGLE = 1e-3

_Move = tuple[int, int]  # (cluster to split, cluster to merge with its neighbors)


def repair(
    problem: Problem,
    partition: Partition,
    max_iter: int,
    on_step: OnStep[Tensor] = never_stop,
) -> Descent:
    """Split and merge clusters as long as that lowers the distortion enough.

    Parameters
    ----------
    max_iter : int
        Of the iterations to a fixed point that end the repair.
    on_step : callable
        Sees each state that is kept; a true answer ends the repair.
    """
    k = partition.n_clusters
    best = lloyd(problem, partition, max_iter, tol=_TOL)
    if k > 1:
        best = _with_other_starts(problem, best)
        best = _sweep(problem, best, on_step)
    return lloyd(problem, best.partition, max_iter)


def _with_other_starts(problem: Problem, best: Descent) -> Descent:
    """Where clusters are few, other starts are cheap and moves are not enough."""
    k = len(best.centers)
    starts = spread_starts(problem, k, _SPREAD) if k <= _VERY_FEW else None
    if starts is None:
        return best
    return (
        _better(problem, best, best_of(problem, starts, _FINALISTS), _TOL_SINGLE)
        or best
    )


def _better(
    problem: Problem, best: Descent, starts: Tensor, tol: float
) -> Descent | None:
    """Where Lloyd iterations from one of the sets of centers lead, if that is lower."""
    for centers in starts:
        start = assign(problem, centers)
        trial = lloyd(problem, start, _FINISH, tol=tol, beat=best.distortion)
        enough = max(1e-6 * best.distortion, rounding(problem))
        if trial.distortion < best.distortion - enough:
            return trial
    return None


def _sweep(problem: Problem, best: Descent, on_step: OnStep[Tensor]) -> Descent:
    """Many moves at once, then fewer, then one, until that hardly helps."""
    k = len(best.centers)
    together = 1 if k < _FEW else min(int(k * _TOGETHER), _COMPETING // 2)
    least = 0.0 if k <= _VERY_FEW else _LEAST
    trial: Descent | None = best
    while together:
        if trial is not None:
            cuts = split(problem, best.partition, best.centers)
            nearby = two_nearest(problem, best.centers)
            single = _single(cuts)
            moves = _ranked(problem, best, cuts, nearby, single)
            heirs = _heirs(problem, single, nearby)
        chosen = _apart(moves, heirs, together)
        if not chosen:
            break
        together = len(chosen)
        if together > 1:
            starts, tol = _moved(best.centers, cuts, [chosen]), _TOL
        else:
            starts, tol = _most_promising(problem, best.centers, cuts, moves)
        trial = _better(problem, best, starts, tol)
        if trial is None or trial.distortion > (1 - least) * best.distortion:
            together //= 2
        if trial is not None:
            best = trial
            record = step_record("repair", 0.0, best.distortion, best.centers)
            if on_step(record, best.centers):
                break
    return best


def _single(cuts: Splits) -> Tensor:
    """Tell the clusters in one place (k,), where these are many."""
    single = cuts.gain <= 0
    many = int(single.sum()) >= _SINGLE * len(single)
    return single if many else torch.zeros_like(single)


def _ranked(
    problem: Problem, best: Descent, cuts: Splits, nearby: Nearby, single: Tensor
) -> list[_Move]:
    """Moves, those with the lowest distortion right after them first."""
    k, weight = len(best.centers), best.partition.weight
    share = following_shares(single, nearby, weight)  # (n,)
    alone = problem.weighted((nearby.second - nearby.first) * share)  # (n,)
    cut = _first(-cuts.gain)  # (s,)
    dropped = _first(weight_sums(nearby.own, alone, k))  # (t,)
    gain, cost = move_costs(problem, best.centers, cuts, nearby, share, cut, dropped)
    if k < _FEW:
        cost = torch.minimum(cost, merge_costs(best.centers, weight))
    worth = 0.0 if k < _FEW else _WORTH
    change = cost - gain[:, None]  # (s, t)
    tried = (gain[:, None] > worth * cost) & (cuts.gain[cut] > 0)[:, None]
    tried &= change <= _HOPELESS * best.distortion
    place = tried.flatten().nonzero()[:, 0]
    place = place[change.flatten()[place].argsort(stable=True)]
    pairs = cut[place // len(dropped)], dropped[place % len(dropped)]
    return list(zip(*(pair.tolist() for pair in pairs), strict=True))


def _first(value: Tensor) -> Tensor:
    """Choose as many clusters as compete, with the least values, in their order."""
    return value.argsort(stable=True)[:_COMPETING].sort().values


def _heirs(problem: Problem, single: Tensor, nearby: Nearby) -> list[int]:
    """Name the cluster that gets all rows of one in a single place, else that itself.

    It has to stay where it is: else two neighbors could be dropped for each other.
    """
    heirs = torch.arange(len(single), device="cpu")  # (k,)
    alike = single[nearby.own]  # (n,)
    if problem.weight is not None:
        alike &= problem.weight > 0
    own, other = nearby.own[alike].cpu(), nearby.other[alike].cpu()
    return heirs.scatter_reduce_(0, own, other, "amax", include_self=False).tolist()


def _apart(moves: list[_Move], heirs: list[int], count: int) -> list[_Move]:
    """The first moves that have no cluster in common, nor the heir of one dropped."""
    used: set[int] = set()
    chosen: list[_Move] = []
    for cut, dropped in moves:
        if used.isdisjoint((cut, dropped, heirs[dropped])):
            chosen.append((cut, dropped))
            used.update((cut, dropped, heirs[dropped]))
            if len(chosen) == count:
                break
    return chosen


def _moved(centers: Tensor, cuts: Splits, moves: list[list[_Move]]) -> Tensor:
    """Sets of centers (b, k, d), each after as many moves."""
    starts = centers.repeat(len(moves), 1, 1)
    cut, merged = torch.tensor(moves, device=centers.device).unbind(2)  # (b, m)
    each = torch.arange(len(moves), device=centers.device)[:, None]
    starts[each, cut], starts[each, merged] = cuts.left[cut], cuts.right[cut]
    return starts


def _most_promising(
    problem: Problem, centers: Tensor, cuts: Splits, moves: list[_Move]
) -> tuple[Tensor, float]:
    """Sets of centers after one move, and the tolerance of what is to follow."""
    k = len(centers)
    if k >= _FEW:
        return _moved(centers, cuts, [moves[:1]]), _TOL
    room = min(
        max(1, _NUMBERS // centers.numel()),
        max(8, _NUMBERS // (k * problem.rows.n_rows)),
    )
    moves = moves[: min(2 * k, _CANDIDATES, room)]
    starts = _moved(centers, cuts, [[move] for move in moves])
    return best_of(problem, starts, _FINALISTS), _TOL_SINGLE
