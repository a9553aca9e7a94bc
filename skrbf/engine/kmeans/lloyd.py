"""Hard K-means: a partition of the rows, and its descent."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.kmeans.constants import (
    FILL_DISTANCE_ROUNDING,
    MAX_STALLED_ITERATIONS,
    SINGLE_ROW_WEIGHT_RATIO,
    TARGET_PATIENCE,
)
from skrbf.engine.kmeans.problem import Problem, distortion_rounding
from skrbf.engine.training.records import Descent, OnStep, Record, never_stop
from skrbf.ops.distances import min_and_argmin, relative_distances
from skrbf.ops.statistics import label_sums


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


# State of Lloyd iterations: a partition, and the means (k, d) of its clusters.
HardState = tuple[Partition, Tensor]


def step_record(
    phase: str, temperature: float, objective: float, centers: Tensor
) -> Record:
    """Record a step of K-means."""
    return Record(
        phase, objective=objective, temperature=temperature, n_clusters=len(centers)
    )


def assign(problem: Problem, centers: Tensor) -> Partition:
    """Assign every row to its nearest center, the first of several."""
    n, k = problem.rows.n_rows, len(centers)
    accumulate = problem.compute.accumulate

    def label(block: Tensor, w: Tensor | None) -> tuple[tuple[Tensor, Tensor], Tensor]:
        labels = min_and_argmin(relative_distances(centers, block, problem.offset))[
            1
        ]  # (m,)
        weight, total = label_sums(block, labels, w, k)
        labels = labels if len(labels) == n else labels.int()
        return (weight.to(accumulate), total.to(accumulate)), labels

    (weight, total), labels = problem.sum_and_map(label, k)
    return Partition(centers, labels, weight, total)


def update(problem: Problem, partition: Partition) -> tuple[Tensor, float]:
    """Compute the means of the clusters (eq-fixed-point), and their distortion.

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
    """Compute the weighted sum of squares of the means about the origin."""
    shift = mean if problem.offset is None else mean - problem.offset  # (k, d)
    return float(partition.weight @ torch.linalg.vecdot(shift, shift))


def lloyd(
    problem: Problem,
    start: Partition,
    max_iter: int,
    *,
    tol: float = 0.0,
    target_distortion: float = float("inf"),
    on_step: OnStep[Tensor] = never_stop,
) -> Descent[HardState]:
    """Iterate until no label changes, and fill empty clusters.

    Stop as well when an iteration lowers the distortion by less than the part `tol` of
    it, or where the progress, which slows down, cannot reach `target_distortion` any
    more. The objective of the result is the distortion about the means of the clusters.
    """
    partition = _fill_empty(problem, start)
    means, distortion = update(problem, partition)
    stalled = 0
    for n_iter in range(1, max_iter + 1):
        previous, before = partition, distortion
        partition = assign(problem, means)
        if torch.equal(partition.labels, previous.labels):
            # The assignment before the loop counts as well, as in KMeans.
            n_iter = min(n_iter + 1, max_iter)
            return Descent((partition, means), distortion, n_iter, True)
        partition = _fill_empty(problem, partition)
        means, distortion = update(problem, partition)
        descent = Descent((partition, means), distortion, n_iter, False)
        record = step_record("descend", 0.0, distortion, partition.centers)
        if on_step(record, partition.centers):
            return descent._replace(converged=True, stopped=True)
        fall = before - distortion
        stalled = stalled + 1 if fall <= distortion_rounding(problem) else 0
        if stalled == MAX_STALLED_ITERATIONS:  # rows at equal distances alternate
            return descent._replace(converged=True)
        slow = tol > 0 and fall < tol * distortion
        if slow or distortion - target_distortion > TARGET_PATIENCE * fall:
            return descent
    return descent


def _fill_empty(problem: Problem, partition: Partition) -> Partition:
    """Give each empty cluster the row that lies farthest from its center.

    One row after the other, so that copies of one row are not taken twice, and never
    the only row of a cluster. A cluster stays empty where every row lies on its center
    already.
    """
    if float(partition.weight.amin()) > 0:
        return partition
    empty = (partition.weight <= 0).nonzero()[:, 0]
    centers, labels, weight, total = (t.clone() for t in partition)
    distance = problem.nearest_distances(centers)  # (n,)
    row_weight: Tensor | float = 1.0
    if problem.weight is not None:
        distance.masked_fill_(problem.weight <= 0, 0)
        row_weight = problem.weight.to(weight)  # (n,)
    eps = torch.finfo(distance.dtype).eps
    least = FILL_DISTANCE_ROUNDING * eps * float(problem.square.amax())
    for cluster in empty:
        shared = weight[labels.long()] > SINGLE_ROW_WEIGHT_RATIO * row_weight  # (n,)
        farthest = torch.where(shared, distance, 0.0).argmax()
        if not bool(shared[farthest]) or float(distance[farthest]) <= least:
            break
        row = problem.row(farthest)  # (d,)
        w = 1.0 if problem.weight is None else problem.weight[farthest]
        source = labels[farthest].long()
        weight[source] -= w
        total[source] -= w * row
        weight[cluster] += w
        total[cluster] += w * row
        centers[cluster] = row
        labels[farthest] = cluster
        distance = torch.minimum(distance, problem.nearest_distances(row[None]))
    return Partition(centers, labels, weight, total)
