"""Hard K-means: a partition of the rows, and its exact descent.

The partition remembers, for every row, its cluster and its distance, so that an
iteration looks only at what can have changed: a row whose own center stood still can
only move to a center that moved. The result is that of plain Lloyd iterations.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.problem import Problem
from skrbf.ops.distances import relative_distances
from skrbf.ops.statistics import weighted_sums

# Blocks of fewer distances than this are cheaper whole than looked at closely.
_SMALL = 20_000


class Partition(NamedTuple):
    """Rows assigned to centers, with the additive statistic of the assignment."""

    centers: Tensor  # (k, d) the centers that the labels belong to
    labels: Tensor  # (n,) int32
    relative: Tensor  # (n,) squared distance to the own center, less ``square``
    weight: Tensor  # (k,) sum w
    total: Tensor  # (k, d) sum w x

    @property
    def n_clusters(self) -> int:
        """Number of centers."""
        return self.centers.shape[0]

    def rows_of(self, cluster: int) -> Tensor:
        """Indices of the rows of one cluster."""
        return (self.labels == cluster).nonzero()[:, 0]


class Descent(NamedTuple):
    """What a run of Lloyd iterations came to."""

    partition: Partition
    distortion: float
    n_iter: int
    converged: bool


def assign(problem: Problem, centers: Tensor) -> Partition:
    """Assign every row to its nearest center, the first of several."""
    compute, k = problem.compute, len(centers)
    labels, relative = problem.empty(torch.int32), problem.empty(compute.dtype)
    weight = torch.zeros(k, dtype=compute.accumulate, device=compute.device)
    total = weight.new_zeros((k, centers.shape[1]))
    for start, stop, block in problem.rows.blocks(k):
        nearest, label = nearest_center(centers, block, problem.mean)
        part = _label_sums(block, label, problem.weight_of(start, stop), k)
        weight += part[0]
        total += part[1]
        labels[start:stop] = label
        relative[start:stop] = nearest
    return Partition(centers, labels, relative, weight, total)


def nearest_center(
    centers: Tensor, block: Tensor, offset: Tensor
) -> tuple[Tensor, Tensor]:
    """The least relative distance of each row, and the first center that has it.

    A minimum with indices reads a block one number at a time. For large blocks the
    minimum alone, and then a product of the numbers of the centers with the places
    where it is met, is several times faster; it holds unless two centers meet it.
    """
    distances = relative_distances(centers, block, offset)  # (k, m)
    if distances.numel() > _SMALL and len(centers) > 1:
        nearest = distances.amin(0)  # (m,)
        met = (distances == nearest).to(distances.dtype)  # (k, m)
        numbers = torch.arange(len(centers), dtype=met.dtype, device=met.device)
        if int(met.sum(dtype=torch.float64)) == len(nearest):
            return nearest, (numbers @ met).long()
    nearest, label = distances.min(0)
    return nearest, label


def reassign(
    problem: Problem,
    previous: Partition,
    centers: Tensor,
    origin: Tensor | None = None,
    *,
    reuse: bool = False,
) -> tuple[Partition, int]:
    """Assign to new centers, given an assignment to old ones.

    Parameters
    ----------
    origin : Tensor of shape (k,) or None
        The old index of each new center, -1 for a new one, where centers were added
        or dropped; None where each keeps its index.
    reuse : bool
        Write over the rows of `previous`, which is of no use then.

    Returns
    -------
    partition : Partition
    n_changed : int
        Number of rows that changed their center.
    """
    k = len(centers)
    if origin is not None:
        previous = _renumbered(previous, origin)
    if problem.rows.n_rows * k < _SMALL:
        partition = assign(problem, centers)
        return partition, int((partition.labels != previous.labels).sum())
    stood = (centers == previous.centers).all(1)  # (k,)
    moved = stood.logical_not().nonzero()[:, 0]  # (m,)
    # The label -1, of rows whose center is gone, finds the last entry.
    lost = torch.cat([~stood, stood.new_ones(1)])  # (k + 1,)
    whole = not 0 < 2 * len(moved) <= k
    labels, relative = previous.labels, previous.relative
    if not reuse:
        labels, relative = torch.empty_like(labels), torch.empty_like(relative)
    weight, total = previous.weight.clone(), previous.total.clone()
    n_changed = 0
    for start, stop, block in problem.rows.blocks(k if whole else len(moved)):
        before = previous.labels[start:stop].long()
        if whole:
            near, label = nearest_center(centers, block, problem.mean)
        else:
            near, place = nearest_center(centers[moved], block, problem.mean)
            was = previous.relative[start:stop]
            wins = near < was  # no center that stood still is nearer than ``was``
            label = torch.where(wins, moved[place], before)
            near = torch.where(wins, near, was)
            again = (lost[before] > wins).nonzero()[:, 0]
            if len(again):  # the own center moved away: any may be nearest now
                rows = _some(problem, start, block, again)
                near[again], label[again] = nearest_center(centers, rows, problem.mean)
        labels[start:stop] = label
        relative[start:stop] = near
        changed = (label != before).nonzero()[:, 0]
        if len(changed):
            n_changed += len(changed)
            rows = _some(problem, start, block, changed).to(total.dtype)
            w = problem.weight_of(start, stop)
            w = None if w is None else w[changed].to(total.dtype)
            _add(weight, total, rows, label[changed], w, 1)
            _add(weight, total, rows, before[changed], w, -1)
    return Partition(centers, labels, relative, weight, total), n_changed


def update(problem: Problem, partition: Partition) -> tuple[Tensor, float]:
    """Means of the clusters (eq-fixed-point), and the distortion about them.

    The distortion is the scatter about the mean of all less that of the means, by the
    law of total variance: O(k d), whatever the number of rows. An empty cluster keeps
    its center.
    """
    weight = partition.weight[:, None]
    filled = weight > 0
    mean = torch.where(filled, partition.total / weight, partition.centers)  # (k, d)
    shift = (mean - problem.mean).square_()
    between = partition.weight @ shift.sum(1)
    return mean.to(partition.centers.dtype), problem.scatter - float(between)


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
    for n_iter in range(1, max_iter + 1):
        partition, n_changed = reassign(problem, partition, centers, reuse=n_iter > 1)
        if n_changed == 0:
            return Descent(partition, now, n_iter, True)
        partition = _filled(problem, partition)
        if report is not None and report(Descent(partition, now, n_iter, False)):
            return Descent(partition, now, n_iter, True)
        last = now
        centers, now = update(problem, partition)
        if last - now < tol * now or now - beat > _PATIENCE * (last - now):
            break
    partition, _ = reassign(problem, partition, centers)
    return Descent(partition, now, n_iter, False)


# Iterations of the present progress that a run may still need to beat its target.
_PATIENCE = 6


def _label_sums(
    block: Tensor, label: Tensor, weight: Tensor | None, k: int
) -> tuple[Tensor, Tensor]:
    """Sums of weights (k,) and of weighted rows (k, d) by label, as a product."""
    share = torch.zeros((k, len(label)), dtype=block.dtype, device=block.device)
    if weight is None:
        share.scatter_(0, label[None], 1.0)  # (k, m)
    else:
        share.scatter_(0, label[None], weight[None])  # (k, m)
    return share.sum(1), weighted_sums(share, block)


def _add(
    weight: Tensor,
    total: Tensor,
    rows: Tensor,
    label: Tensor,
    w: Tensor | None,
    sign: int,
) -> None:
    """Add rows to the sums of their labels, or take them out, in place.

    Row by row on the CPU. Elsewhere that would add in no fixed order: a product does.
    """
    if sign < 0:  # rows of a center that is gone are in no sum
        there = label >= 0
        if not bool(there.all()):
            keep = there.nonzero()[:, 0]
            label, w = label[keep], None if w is None else w[keep]
            rows = rows.index_select(0, keep)
    if rows.layout == torch.strided and rows.device.type == "cpu":
        w = torch.ones(len(label), dtype=rows.dtype) if w is None else w
        weight.index_add_(0, label, w, alpha=sign)
        total.index_add_(0, label, rows * w[:, None], alpha=sign)
    else:
        weights, totals = _label_sums(rows, label, w, len(weight))
        weight.add_(weights, alpha=sign)
        total.add_(totals, alpha=sign)


def _renumbered(partition: Partition, origin: Tensor) -> Partition:
    """The same rows under new numbers of the clusters; -1 where theirs is gone."""
    there, index = origin >= 0, origin.clamp(min=0)
    numbers = partition.labels.new_full((partition.n_clusters,), -1)
    numbers[origin[there]] = there.nonzero()[:, 0].to(numbers.dtype)
    centers = partition.centers[index]
    centers[~there] = float("nan")  # equal to none
    return Partition(
        centers,
        numbers.index_select(0, partition.labels),
        partition.relative,
        torch.where(there, partition.weight[index], 0),
        torch.where(there[:, None], partition.total[index], 0),
    )


def _some(problem: Problem, start: int, block: Tensor, index: Tensor) -> Tensor:
    if block.layout == torch.strided:
        return block[index]
    return problem.rows.take(index + start)


def _filled(problem: Problem, partition: Partition) -> Partition:
    """Give each empty cluster the row that lies farthest from its center.

    One row after the other, so that copies of one row are not taken twice. A cluster
    stays empty where every row lies on its center already.
    """
    empty = (partition.weight <= 0).nonzero()[:, 0]
    if len(empty) == 0:
        return partition
    centers, labels, relative, weight, total = (t.clone() for t in partition)
    distance = (relative + problem.square).clamp_(min=0)  # (n,)
    if problem.weight is not None:
        distance.masked_fill_(problem.weight <= 0, 0)
    rounding = 16 * torch.finfo(distance.dtype).eps
    for cluster in empty:
        far = distance.argmax()
        if float(distance[far]) <= rounding * float(problem.square.amax()):
            break
        row = problem.rows.take(far[None])
        row = (row if row.layout == torch.strided else row.to_dense())[0]  # (d,)
        w = 1.0 if problem.weight is None else problem.weight[far]
        own = labels[far].long()
        weight[own] -= w
        total[own] -= w * row
        weight[cluster] += w
        total[cluster] += w * row
        centers[cluster] = row
        labels[far] = cluster
        relative[far] = -problem.square[far]
        distance = torch.minimum(distance, problem.distances_to(row))
    return Partition(centers, labels, relative, weight, total)
