"""Split-and-merge moves: leave a local optimum of hard K-means for a better one."""

from collections.abc import Callable
from typing import NamedTuple

import torch

from skrbf.engine.lloyd import Descent, Partition, lloyd, reassign, update
from skrbf.engine.problem import Problem
from skrbf.engine.split import Split, split
from skrbf.ops.distances import relative_distances, squared_distances

# A split is tried where it gains this part at least of what the cheapest merge costs.
_WORTH = 0.15
# Of the cost of a merge, as long as no center has moved, this part at least remains.
_REMAINS = 0.5
# Iterations before a merge is chosen, and after it; they stop early below _TOL.
_SETTLE = 1
_FINISH = 30
_TOL = 1e-3
# Many moves at once are cheaper; few, and then one, find more where clusters are few.
_FEW_CLUSTERS = 20
_TOGETHER = 5
_TOGETHER_OF_FEW = 2

Report = Callable[[Descent], bool]
# A cluster is known by the sum of its rows: what was found out of it holds as long as
# its rows stay.
_Key = tuple[float, ...]


class _Move(NamedTuple):
    cluster: int
    split: Split
    key: _Key


def repair(
    problem: Problem,
    partition: Partition,
    max_iter: int,
    report: Report | None = None,
) -> Descent:
    """Split and merge clusters as long as the distortion falls.

    A move splits the widest clusters, lets the centers settle, and merges as many
    others: those whose rows lose least by going to their second nearest center
    (eq-swap). It is kept when the distortion that follows is lower.

    Parameters
    ----------
    max_iter : int
        Of the iterations to a fixed point that end the repair.
    report : callable
        Sees each state that is kept; a true answer ends the repair.
    """
    k = partition.n_clusters
    if k > 1:
        best = lloyd(problem, partition, max_iter, tol=_TOL)
        known: dict[_Key, Split | None] = {}
        few = k < _FEW_CLUSTERS
        for together in (_TOGETHER_OF_FEW, 1) if few else (_TOGETHER,):
            if together < k:
                best = _sweep(problem, best, together, known, report)
        partition = best.partition
    return lloyd(problem, partition, max_iter)


def _sweep(
    problem: Problem,
    best: Descent,
    together: int,
    known: dict[_Key, Split | None],
    report: Report | None,
) -> Descent:
    """Try the splits, the widest clusters first, until none is left that helps."""
    failed: set[_Key] = set()
    moves = _Moves(problem, best.partition, known)
    while chosen := moves.best(together, failed):
        trial = _try(problem, best, chosen)
        if trial is not None and trial.distortion < best.distortion * (1 - 1e-6):
            best = trial
            moves = _Moves(problem, best.partition, known)
            if report is not None and report(best):
                break
        else:
            failed.update(move.key for move in chosen)
    return best


class _Moves:
    """The splits of a partition that could pay for a merge."""

    def __init__(
        self, problem: Problem, partition: Partition, known: dict[_Key, Split | None]
    ) -> None:
        self.problem, self.partition, self.known = problem, partition, known
        distance = (partition.relative + problem.square).clamp_(min=0)
        scatter = torch.bincount(
            partition.labels, problem.weighted(distance), partition.n_clusters
        )  # (k,) no split gains more
        self.scatter: list[float] = scatter.tolist()
        self.order = torch.argsort(scatter, descending=True, stable=True).tolist()
        self.least = _WORTH * min(_merge_costs(problem, partition, 1).values())
        self.keys: list[_Key] = [tuple(row) for row in partition.total.tolist()]
        self.centers, _ = update(problem, partition)

    def best(self, count: int, failed: set[_Key]) -> list[_Move]:
        """The next `count` splits that have not failed yet."""
        moves: list[_Move] = []
        for cluster in self.order:
            if len(moves) == count or self.scatter[cluster] <= self.least:
                break
            key = self.keys[cluster]
            if key in failed:
                continue
            if key not in self.known:
                index = self.partition.rows_of(cluster)
                self.known[key] = split(self.problem, index, self.centers[cluster])
            cut = self.known[key]
            if cut is not None and cut.gain > self.least:
                moves.append(_Move(cluster, cut, key))
            else:
                failed.add(key)
        return moves


def _try(problem: Problem, best: Descent, moves: list[_Move]) -> Descent | None:
    """Split, let the centers settle, merge as many, and let them settle again."""
    k, device = best.partition.n_clusters, problem.mean.device
    centers, _ = update(problem, best.partition)
    index = torch.tensor([move.cluster for move in moves], device=device)
    centers[index] = torch.stack([move.split.left for move in moves])
    centers = torch.cat([centers, torch.stack([move.split.right for move in moves])])
    origin = torch.arange(len(centers), device=device)
    origin[k:] = -1
    partition, _ = reassign(problem, best.partition, centers, origin)
    wide = lloyd(problem, partition, _SETTLE, tol=_TOL)
    costs = _merge_costs(problem, wide.partition, len(moves))
    drop = _apart(wide.partition, costs, len(moves))
    if best.distortion - wide.distortion < _REMAINS * sum(costs[j] for j in drop):
        return None
    keep = torch.ones(len(centers), dtype=torch.bool, device=device)
    keep[drop] = False
    origin = keep.nonzero()[:, 0]
    centers, _ = update(problem, wide.partition)
    partition, _ = reassign(problem, wide.partition, centers[origin], origin)
    return lloyd(problem, partition, _FINISH, tol=_TOL, beat=best.distortion)


def _merge_costs(
    problem: Problem, partition: Partition, count: int
) -> dict[int, float]:
    """What the distortion grows by when a cluster's rows go to their second nearest.

    Of the clusters that are cheap to merge by Ward's formula, ascending (eq-swap).
    """
    k = partition.n_clusters
    flag = None
    index = None
    if k > 4 * count + 12:
        shift = partition.centers - problem.mean
        gap = squared_distances(shift, shift).fill_diagonal_(float("inf"))  # (k, k)
        weight = partition.weight.to(gap.dtype)
        ward = gap * (weight * weight[:, None]) / (weight + weight[:, None])
        cheap = ward.amin(1).argsort()[: 2 * count + 6]
        flag = torch.zeros(k, dtype=torch.bool, device=gap.device)
        flag[cheap] = True
        index = flag.index_select(0, partition.labels).nonzero()[:, 0]
    else:
        cheap = torch.arange(k, device=problem.mean.device)
    rows = problem.rows if index is None else problem.subset(index)
    labels = partition.labels if index is None else partition.labels[index]
    own = partition.relative if index is None else partition.relative[index]
    total = torch.zeros(k, dtype=torch.float64, device=own.device)
    for start, stop, block in rows.blocks(k):
        label = labels[start:stop].long()
        distances = relative_distances(partition.centers, block, problem.mean)
        distances.scatter_(0, label[None], float("inf"))
        extra = (distances.amin(0) - own[start:stop]).clamp_(min=0)
        part = slice(start, stop) if index is None else index[start:stop]
        if problem.weight is not None:
            extra *= problem.weight[part]
        total += torch.bincount(label, extra, k)
    cost = total[cheap]
    pairs = zip(cost.tolist(), cheap.tolist(), strict=True)
    return {cluster: cost for cost, cluster in sorted(pairs)}


def _apart(partition: Partition, costs: dict[int, float], count: int) -> list[int]:
    """The cheapest clusters to merge, no two of them neighbours."""
    order = list(costs)
    if count == 1:
        return order[:1]
    gap = squared_distances(partition.centers[order], partition.centers)
    gap[range(len(order)), order] = float("inf")
    near = dict(zip(order, gap.argmin(1).tolist(), strict=True))
    drop: list[int] = []
    for cluster in order:
        if len(drop) < count and not any(
            near[cluster] == other or near[other] == cluster for other in drop
        ):
            drop.append(cluster)
    rest = (cluster for cluster in order if cluster not in drop)
    return drop + [next(rest) for _ in range(count - len(drop))]
