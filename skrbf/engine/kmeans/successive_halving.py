"""Several sets of centers at once: where they come from, and the best of them."""

import torch
from torch import Tensor

from skrbf.engine.kmeans.lloyd import assign
from skrbf.engine.kmeans.problem import Problem
from skrbf.engine.kmeans.split import main_axes
from skrbf.ops.distances import (
    append_bias_column,
    augmented_centers,
    relative_distances,
)
from skrbf.ops.seeding import quasi_random_kmeans_plusplus
from skrbf.ops.statistics import deterministic_cumsum, weighted_sums, widest_float

# A sample of so many rows stands for longer tables. Tables of more rows than the second
# number are not put in order.
_SAMPLE = 2048
_SORTED = 1 << 20


def spread_starts(problem: Problem, n_clusters: int, n_sets: int) -> Tensor | None:
    """Sets of rows far from each other (n_sets, k, d), in whatever order they come.

    They are drawn from the rows in their order along the main axis, or from a sample
    that is spread evenly over their weight. None where the rows are sparse or too many
    to be sorted.
    """
    rows = problem.rows
    if rows.is_sparse or rows.n_rows > _SORTED:
        return None
    mean = problem.mean[None]
    axis, _ = main_axes(problem, assign(problem, mean), mean)  # (1, d)
    along = rows.map(lambda block: block @ axis[0], 1)  # (n,)
    order = along.argsort(stable=True)
    weight = problem.weighted(torch.ones_like(along))[order]
    if rows.n_rows > _SAMPLE:
        ends = deterministic_cumsum(weight, dtype=problem.compute.accumulate)
        step = torch.arange(_SAMPLE, dtype=ends.dtype, device=ends.device) + 0.5
        chosen = torch.searchsorted(ends, step * (ends[-1] / _SAMPLE))
        order, weight = order[chosen], torch.ones_like(weight[:_SAMPLE])
    return (
        quasi_random_kmeans_plusplus(
            rows.take(order) - mean, weight, n_clusters, n_sets
        )
        + mean
    )


def best_of(problem: Problem, starts: Tensor, keep: int) -> Tensor:
    """Of several sets of centers (b, k, d) those that promise least distortion.

    All go through a Lloyd iteration in one product, the better half through another,
    and so on until `keep` are left, the best first.
    """
    while len(starts) > keep:
        weight, total = _iteration(problem, starts)  # (b, k), (b, k, d)
        means = torch.where(weight[..., None] > 0, total / weight[..., None], starts)
        shift = means if problem.offset is None else means - problem.offset
        between = (weight * torch.linalg.vecdot(shift, shift)).sum(1)  # (b,)
        better = between.argsort(descending=True, stable=True)[: (len(starts) + 1) // 2]
        starts = means.to(starts.dtype)[better]
    return starts


def _iteration(problem: Problem, starts: Tensor) -> tuple[Tensor, Tensor]:
    """Assign all rows to each set of centers: masses (b, k) and sums (b, k, d)."""
    b, k, d = starts.shape
    flat = starts.view(b * k, d)
    factors = augmented_centers(flat, problem.offset)  # (b k, d + 1)

    def totals(block: Tensor, w: Tensor | None) -> tuple[Tensor, Tensor]:
        if problem.rows.is_sparse:
            distances = relative_distances(flat, block, problem.offset)
        else:
            # The ones are for the distances, and count the rows in `_totals`. A GPU
            # may round factors: here they only say which start is better.
            block = append_bias_column(block)  # (m, d + 1)
            distances = factors @ block.t()
        distances = distances.reshape(b, k, -1)  # (b, k, m)
        nearest = distances.amin(1, keepdim=True)  # (b, 1, m)
        met = torch.eq(distances, nearest, out=distances)  # (b, k, m)
        weight, total = _totals(met, block, w)
        accumulate = problem.compute.accumulate
        return weight.to(accumulate), total.to(accumulate).contiguous()

    return problem.sum(totals, b * k)


def _totals(met: Tensor, block: Tensor, w: Tensor | None) -> tuple[Tensor, Tensor]:
    """Masses (b, k) and sums (b, k, d) of the rows where their centers were met.

    A row that met several of one set (b, k, m) is shared between them. Dense rows have
    a one behind them (m, d + 1).
    """
    b, k, m = met.shape
    dense, flat = block.layout == torch.strided, met.view(b * k, m)
    if w is None and dense:
        sums = weighted_sums(flat, block).view(b, k, -1)
        wide = widest_float(sums.device)
        if int(sums[..., -1].sum(dtype=wide)) == b * m:  # none is shared
            return sums[..., -1], sums[..., :-1]
    flat = met.div_(met.sum(1, keepdim=True)).view(b * k, m)
    flat = flat if w is None else flat.mul_(w)
    sums = weighted_sums(flat, block).view(b, k, -1)
    return (sums[..., -1], sums[..., :-1]) if dense else (flat.sum(1).view(b, k), sums)
