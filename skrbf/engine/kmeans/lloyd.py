"""Hard K-means: a partition of the rows, and its descent."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.kmeans.problem import Problem, rounding
from skrbf.ops.distances import min_and_argmin, relative_distances
from skrbf.ops.statistics import label_sums

# Iterations of the present progress that a run may still need to beat its target.
_PATIENCE = 25

# A row has its cluster alone where that weighs less than so many times the row.
_ALONE = 1 + 1e-9

# Iterations without progress after which a run is at its end.
_STALLED = 10


class Partition(NamedTuple):
    """Rows assigned to centers, with the additive statistic of the assignment."""

    centers: Tensor  # (k, d) the centers that the labels belong to
    labels: Tensor  # (n,) int32 or int64
    weight: Tensor  # (k,) sum w
    total: Tensor  # (k, d) sum w x

    @property
    def n_clusters(self) -> int:
        """Number of centers."""
        return self.centers.shape[0]


class Descent(NamedTuple):
    """What a run of Lloyd iterations came to."""

    partition: Partition
    centers: Tensor  # (k, d) means of the clusters
    distortion: float  # about the means
    n_iter: int
    converged: bool


def assign(problem: Problem, centers: Tensor) -> Partition:
    """Assign every row to its nearest center, the first of several."""
    n, k = problem.rows.n_rows, len(centers)
    accumulate = problem.compute.accumulate

    def label(block: Tensor, w: Tensor | None) -> tuple[tuple[Tensor, Tensor], Tensor]:
        nearest = nearest_center(centers, block, problem.offset)[1]  # (m,)
        weight, total = label_sums(block, nearest, w, k)
        few = len(nearest) == n
        labels = nearest if few else nearest.int()
        return (weight.to(accumulate), total.to(accumulate)), labels

    (weight, total), labels = problem.sum_and_map(label, k)
    return Partition(centers, labels, weight, total)


def nearest_center(
    centers: Tensor, block: Tensor, offset: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The least relative distance of each row, and the first center that has it."""
    return min_and_argmin(relative_distances(centers, block, offset))


def update(problem: Problem, partition: Partition) -> tuple[Tensor, float]:
    """Means of the clusters (eq-fixed-point), and the distortion about them.

    The distortion is the sum of squares about the origin less that of the means, by
    the law of total variance: O(k d), whatever the number of rows. An empty cluster
    keeps its center.
    """
    mean = partition.total / partition.weight[:, None]  # (k, d)
    between = _between(problem, partition, mean)
    if not math.isfinite(between):
        mean = torch.where(partition.weight[:, None] > 0, mean, partition.centers)
        between = _between(problem, partition, mean)
    return mean.to(partition.centers.dtype), max(problem.total_square - between, 0.0)


def _between(problem: Problem, partition: Partition, mean: Tensor) -> float:
    """Sum of the squares of the means about the origin."""
    shift = mean if problem.offset is None else mean - problem.offset  # (k, d)
    return float(partition.weight @ torch.linalg.vecdot(shift, shift))


def lloyd(
    problem: Problem,
    start: Partition,
    max_iter: int,
    *,
    tol: float = 0.0,
    beat: float = float("inf"),
    report: Callable[[Descent], bool] | None = None,
) -> Descent:
    """Lloyd iterations until no label changes, empty clusters filled.

    Parameters
    ----------
    tol : float
        Stop when an iteration lowers the distortion by less than this part of it.
    beat : float
        A distortion to get below: the run gives up where its progress, slowing as it
        does, cannot get there any more.
    report : callable
        Sees each iteration; a true answer ends the run.
    """
    partition = _filled(problem, start)
    centers, now = update(problem, partition)
    stalled = 0
    for n_iter in range(1, max_iter + 1):
        before, last = partition, now
        partition = assign(problem, centers)
        if torch.equal(partition.labels, before.labels):
            # The assignment before the loop counts as well, as in KMeans.
            return Descent(partition, centers, now, min(n_iter + 1, max_iter), True)
        partition = _filled(problem, partition)
        centers, now = update(problem, partition)
        descent = Descent(partition, centers, now, n_iter, False)
        if report is not None and report(descent):
            return descent._replace(converged=True)
        stalled = stalled + 1 if last - now <= rounding(problem) else 0
        if stalled == _STALLED:  # rows that change to and fro at equal distances
            return descent._replace(converged=True)
        slow = tol > 0 and last - now < tol * now
        if slow or now - beat > _PATIENCE * (last - now):
            return descent
    return descent


def _filled(problem: Problem, partition: Partition) -> Partition:
    """Give each empty cluster the row that lies farthest from its center.

    One row after the other, so that copies of one row are not taken twice, and none
    that its cluster has alone. A cluster stays empty where every row lies on its center
    already.
    """
    if float(partition.weight.amin()) > 0:
        return partition
    empty = (partition.weight <= 0).nonzero()[:, 0]
    centers, labels, weight, total = (t.clone() for t in partition)
    distance = problem.rows.map(
        lambda block: nearest_center(centers, block, problem.offset)[0], len(centers)
    )
    distance = (distance + problem.square).clamp_(min=0)  # (n,)
    if problem.weight is not None:
        distance.masked_fill_(problem.weight <= 0, 0)
    eps = torch.finfo(distance.dtype).eps
    least = 16 * eps * float(problem.square.amax())
    part = 1.0 if problem.weight is None else problem.weight.to(weight)  # (n,) or all
    for cluster in empty:
        shared = weight[labels.long()] > _ALONE * part  # (n,)
        far = torch.where(shared, distance, 0.0).argmax()
        if not bool(shared[far]) or float(distance[far]) <= least:
            break
        row = problem.row(far)  # (d,)
        w = 1.0 if problem.weight is None else problem.weight[far]
        own = labels[far].long()
        weight[own] -= w
        total[own] -= w * row
        weight[cluster] += w
        total[cluster] += w * row
        centers[cluster] = row
        labels[far] = cluster
        distance = torch.minimum(distance, problem.distances_to(row))
    return Partition(centers, labels, weight, total)
