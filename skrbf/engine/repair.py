"""Split-and-merge moves: leave a local optimum of hard K-means for a better one.

A move takes the center of one cluster away and gives it to another, which is cut in
two. What the distortion is right after each of the k (k - 1) moves is known exactly
from one pass over the rows; what is left of it after Lloyd iterations is tried out.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from skrbf.engine.lloyd import Descent, Partition, assign, lloyd
from skrbf.engine.problem import Problem, rounding
from skrbf.engine.race import best_of, spread_starts
from skrbf.engine.split import Splits, split
from skrbf.ops.distances import nearest, relative_distances
from skrbf.ops.statistics import label_totals, weight_sums

# At first a quarter of the centers move at once, and half as many after what fails or
# hardly helps, where the split gains this part of the merge's cost.
_TOGETHER = 1 / 4
_WORTH = 0.3
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

Report = Callable[[Descent], bool]
_Move = tuple[int, int]  # (cluster to split, cluster to merge with its neighbours)


def repair(
    problem: Problem,
    partition: Partition,
    max_iter: int,
    report: Report | None = None,
) -> Descent:
    """Split and merge clusters as long as that lowers the distortion enough.

    Parameters
    ----------
    max_iter : int
        Of the iterations to a fixed point that end the repair.
    report : callable
        Sees each state that is kept; a true answer ends the repair.
    """
    k = partition.n_clusters
    best = lloyd(problem, partition, max_iter, tol=_TOL)
    if k > 1:
        best = _with_other_starts(problem, best)
        best = _sweep(problem, best, report)
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


def _sweep(problem: Problem, best: Descent, report: Report | None) -> Descent:
    """Many moves at once, then fewer, then one, until that hardly helps."""
    k = len(best.centers)
    together = 1 if k < _FEW else int(k * _TOGETHER)
    least = 0.0 if k <= _VERY_FEW else _LEAST
    trial: Descent | None = best
    while together:
        if trial is not None:
            cuts = split(problem, best.partition, best.centers)
            moves = _ranked(problem, best, cuts)
        chosen = _apart(moves, together)
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
            if report is not None and report(best):
                break
    return best


def _ranked(problem: Problem, best: Descent, cuts: Splits) -> list[_Move]:
    """Moves, those with the lowest distortion right after them first."""
    k = len(best.centers)
    gain, cost = move_costs(problem, best.centers, cuts)
    if k < _FEW:
        cost = torch.minimum(cost, merge_costs(best.centers, best.partition.weight))
    worth = 0.0 if k < _FEW else _WORTH
    change = cost - gain[:, None]  # (k, k)
    tried = (gain[:, None] > worth * cost) & (cuts.gain > 0)[:, None]
    tried &= change <= _HOPELESS * best.distortion
    change = torch.where(tried, change, torch.inf)
    count = int(tried.sum())
    order = change.flatten().argsort(stable=True)[: min(count, 20 * k)]
    return list(zip((order // k).tolist(), (order % k).tolist(), strict=True))


def _apart(moves: list[_Move], count: int) -> list[_Move]:
    """The first moves that have no cluster in common."""
    used: set[int] = set()
    chosen: list[_Move] = []
    for move in moves:
        if used.isdisjoint(move):
            chosen.append(move)
            used.update(move)
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


def merge_costs(centers: Tensor, weight: Tensor) -> Tensor:
    """Rise of the distortion when a cluster joins another one, not the split one.

    The cheapest other cluster (eq-split); the common center has followed, as it does in
    the iterations after a move.

    Returns
    -------
    Tensor of shape (k, k)
        Of the split cluster and the one that joins. Infinite on the diagonal, and where
        there is no other.
    """
    gap = torch.cdist(centers, centers).square_().to(weight.dtype)  # (k, k)
    rise = gap / (1 / weight[:, None] + 1 / weight)
    rise.fill_diagonal_(torch.inf)
    least, next_to = rise.topk(2, largest=False).values.unbind(1)  # (k,)
    split = torch.arange(len(rise), device=rise.device)[:, None]  # (k, 1)
    cost = torch.where(rise.argmin(1) == split, next_to, least)  # (k, k)
    return cost.fill_diagonal_(torch.inf)


def move_costs(
    problem: Problem, centers: Tensor, cuts: Splits
) -> tuple[Tensor, Tensor]:
    """What every move does to the distortion before any center has followed (eq-swap).

    Returns
    -------
    gain : Tensor of shape (k,)
        Fall of the distortion when a cluster gets the two centers of its split.
    cost : Tensor of shape (k, k)
        Rise when, after the split of the first, the center of the second is dropped:
        its rows go to the nearest center that is left. A bound from above: a third
        center, behind the split one, is not looked for. Infinite on the diagonal.

    Notes
    -----
    O(n k d), as three or four Lloyd iterations.
    """
    k = len(centers)
    gain = torch.zeros(k, dtype=problem.compute.accumulate, device=centers.device)
    cost = gain.new_zeros((k, k))  # (dropped, split)
    possible = cuts.gain[:, None] > 0
    halves = torch.cat(
        [torch.where(possible, side, centers) for side in (cuts.left, cuts.right)]
    )
    for start, stop, block in problem.rows.blocks(4 * k):
        distances = relative_distances(centers, block, problem.offset)  # (k, m)
        first, own = nearest(distances.clone())  # (m,), (m,)
        second, other = nearest(distances.scatter_(0, own[None], torch.inf))
        to_halves = relative_distances(halves, block, problem.offset)  # (2 k, m)
        half = to_halves.reshape(2, k, -1).amin(0)  # (k, m)
        near = torch.minimum(half, first)  # (k, m)
        rise = torch.minimum(half, second)  # (k, m)
        # Rows whose second nearest center is the split one, and those of that cluster
        # itself, have its halves only.
        rise.scatter_(0, other[None], half.gather(0, other[None]))
        rise.sub_(near)
        own_half = half.gather(0, own[None])[0]  # (m,)
        kept = torch.minimum(own_half, second)
        near.scatter_(0, own[None], kept[None])
        own_rise = own_half - kept
        fall = near.sub_(first).neg_()  # (k, m)
        w = problem.weight_of(start, stop)
        if w is not None:
            own_rise *= w
            rise *= w
            fall *= w
        gain += fall.sum(1)
        cost += label_totals(rise.t().contiguous(), own, None, k)
        cost.view(-1).add_(weight_sums(other * k + own, own_rise, k * k))
    return gain, cost.t().fill_diagonal_(torch.inf)
