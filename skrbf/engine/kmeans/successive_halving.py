"""Successive halving: the best of several sets of centers, and evenly spread sets."""

import torch
from torch import Tensor

from skrbf.engine.kmeans.constants import MAX_SORTED_ROWS, SPREAD_SAMPLE
from skrbf.engine.kmeans.lloyd import assign
from skrbf.engine.kmeans.problem import Problem
from skrbf.engine.kmeans.splits import main_axes
from skrbf.ops.distances import (
    append_bias_column,
    augmented_centers,
    relative_distances,
)
from skrbf.ops.seeding import quasi_random_kmeans_plusplus
from skrbf.ops.statistics import deterministic_cumsum, weighted_sums, widest_float


def spread_starts(
    problem: Problem,
    n_clusters: int,
    n_sets: int,
    *,
    sample: int = SPREAD_SAMPLE,
    max_rows: int = MAX_SORTED_ROWS,
) -> Tensor | None:
    """Choose sets of rows far from each other (n_sets, k, d), whatever their order.

    They are drawn from the rows in their order along the main axis, or from `sample`
    rows that are spread evenly over their weight. For sparse rows, and for more than
    `max_rows` to sort, the result is None.
    """
    rows = problem.rows
    if rows.is_sparse or rows.n_rows > max_rows:
        return None
    mean = problem.mean[None]
    axis, _ = main_axes(problem, assign(problem, mean), mean)  # (1, d)
    along = rows.map(lambda block: block @ axis[0], 1)  # (n,)
    order = along.argsort(stable=True)
    weight = problem.weighted(torch.ones_like(along))[order]
    if rows.n_rows > sample:
        ends = deterministic_cumsum(weight, dtype=problem.compute.accumulate)
        step = torch.arange(sample, dtype=ends.dtype, device=ends.device) + 0.5
        chosen = torch.searchsorted(ends, step * (ends[-1] / sample))
        order, weight = order[chosen], torch.ones_like(weight[:sample])
    return (
        quasi_random_kmeans_plusplus(
            rows.take(order) - mean, weight, n_clusters, n_sets
        )
        + mean
    )


def successive_halving(problem: Problem, starts: Tensor, keep: int) -> Tensor:
    """Keep the sets of centers (b, k, d) that promise the lowest distortion.

    All go through a Lloyd iteration in one product, the better half through another,
    and so on until `keep` are left, the best first.
    """
    while len(starts) > keep:
        weight, total = _iteration(problem, starts)  # (b, k), (b, k, d)
        means = torch.where(weight[..., None] > 0, total / weight[..., None], starts)
        shift = means if problem.offset is None else means - problem.offset
        between = (weight * torch.linalg.vecdot(shift, shift)).sum(1)  # (b,)
        best = between.argsort(descending=True, stable=True)[: (len(starts) + 1) // 2]
        starts = means.to(starts.dtype)[best]
    return starts


def _iteration(problem: Problem, starts: Tensor) -> tuple[Tensor, Tensor]:
    """Assign all rows to each set of centers: weights (b, k) and totals (b, k, d)."""
    b, k, d = starts.shape
    flat = starts.view(b * k, d)
    factors = augmented_centers(flat, problem.offset)  # (b k, d + 1)

    def totals(block: Tensor, w: Tensor | None) -> tuple[Tensor, Tensor]:
        if problem.rows.is_sparse:
            distances = relative_distances(flat, block, problem.offset)
        else:
            # The column of ones is for the distances, and counts the rows in
            # `_shared_totals`. A GPU may round factors: here they only say which start
            # is better.
            block = append_bias_column(block)  # (m, d + 1)
            distances = factors @ block.t()
        distances = distances.reshape(b, k, -1)  # (b, k, m)
        least = distances.amin(1, keepdim=True)  # (b, 1, m)
        nearest = torch.eq(distances, least, out=distances)  # (b, k, m)
        weight, total = _shared_totals(nearest, block, w)
        accumulate = problem.compute.accumulate
        return weight.to(accumulate), total.to(accumulate).contiguous()

    return problem.sum(totals, b * k)


def _shared_totals(
    nearest: Tensor, block: Tensor, w: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Sum the weights (b, k) and rows (b, k, d) of the clusters of each set.

    The mask `nearest` (b, k, m) has a one at each nearest center. A row with several of
    them in one set is shared. Dense rows end in a one (m, d + 1).
    """
    b, k, m = nearest.shape
    dense, flat = block.layout == torch.strided, nearest.view(b * k, m)
    if w is None and dense:
        sums = weighted_sums(flat, block).view(b, k, -1)
        wide = widest_float(sums.device)
        if int(sums[..., -1].sum(dtype=wide)) == b * m:  # none is shared
            return sums[..., -1], sums[..., :-1]
    flat = nearest.div_(nearest.sum(1, keepdim=True)).view(b * k, m)
    flat = flat if w is None else flat.mul_(w)
    sums = weighted_sums(flat, block).view(b, k, -1)
    return (sums[..., -1], sums[..., :-1]) if dense else (flat.sum(1).view(b, k), sums)
