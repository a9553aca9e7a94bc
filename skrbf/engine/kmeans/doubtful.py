"""Doubtful fits: clusters so narrow that rounding may have decided on them."""

import torch
from torch import Tensor

from skrbf.engine.data.number_range import times_power_of_two
from skrbf.engine.kmeans.constants import DOUBTFUL_INERTIA_ROUNDINGS
from skrbf.engine.kmeans.problem import Problem, distortion_rounding
from skrbf.ops.distances import paired_squared_distances
from skrbf.ops.statistics import label_sums, weight_sums


def is_doubtful(problem: Problem, inertia: float) -> bool:
    """Tell whether rounding may have decided which rows belong together.

    The inertia is in the unit of the table.
    """
    inertia = times_power_of_two(inertia, -2 * problem.exponent)
    return 0 < inertia < DOUBTFUL_INERTIA_ROUNDINGS * distortion_rounding(problem)


def loosest_mean(problem: Problem, labels: Tensor) -> Tensor:
    """Compute the mean (d,) of the cluster with most inertia, in double precision.

    Rows of a fill value have no inertia, and the other rows need all their digits about
    their own mean.
    """
    rows, labels = problem.rows.astype(problem.compute.accumulate), labels.long()
    d, k = rows.n_features, int(labels.max()) + 1

    def totals(block: Tensor, w: Tensor | None, label: Tensor) -> tuple[Tensor, Tensor]:
        weight, total = label_sums(block, label, w, k)
        return weight.to(rows.dtype), total.to(rows.dtype)

    weight, total = rows.sum(totals, 2 * d, problem.weight, labels)
    means = torch.where(weight[:, None] > 0, total / weight[:, None], 0.0)

    def inertias(block: Tensor, w: Tensor | None, label: Tensor) -> Tensor:
        square = paired_squared_distances(means, block, label, rows.dtype)  # (m,)
        return weight_sums(label, square if w is None else square * w, k)

    return means[rows.sum(inertias, 2 * d, problem.weight, labels).argmax()]
