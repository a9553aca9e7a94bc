"""Initial centers: random rows, and greedy weighted k-means++."""

import math
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from skrbf.ops.distances import relative_distances, squared_distances, squared_norms
from skrbf.ops.precision import full_precision
from skrbf.ops.statistics import deterministic_cumsum, widest_float

# Steps of Roberts' additive recurrences in the unit interval: the reciprocals of the
# golden ratio (from set to set) and of the plastic number (from center to center).
_GOLDEN_RATIO_STEP, _PLASTIC_NUMBER_STEP = 0.6180339887498949, 0.7548776662466927

# Groups of rows whose chances are summed at a time. torch copies a sum's argument to
# the dtype of the sum, so this bounds memory. Not on a results page.
_CHANCE_GROUPS_PER_SUM = 256


class RowSource(Protocol):
    """Rows that are read in blocks, as seeding needs them."""

    @property
    def n_rows(self) -> int:
        """Number of rows."""

    def blocks(self, columns: int) -> Iterator[tuple[int, int, Tensor]]:
        """Yield (start, stop, rows), small enough for `columns` numbers per row."""

    def take(self, index: Tensor) -> Tensor:
        """Return the rows of an index, in its order."""


def random_rows(
    n_rows: int,
    sample_weight: Tensor | None,
    n_clusters: int,
    generator: torch.Generator,
) -> Tensor:
    """Draw rows without replacement, with probability proportional to their weight.

    Returns int64 row numbers (n_clusters,), on the device of the generator. Rows of
    weight 0 are never drawn. Row numbers repeat only if fewer than `n_clusters` rows
    have weight.

    O(n log n). Each row draws an exponential time with its weight as the rate, and the
    earliest rows are chosen: Efraimidis, Spirakis (2006), "Weighted random sampling
    with a reservoir".
    """
    uniform = torch.rand(
        n_rows, generator=generator, dtype=torch.float64, device=generator.device
    )
    times = -uniform.neg_().log1p_()  # (n,) -log(1 - u), exponential
    if sample_weight is not None:
        times = times / sample_weight.to(times)  # (n,) infinite for weight 0
        n_rows = int((sample_weight > 0).sum())
    order = times.argsort(stable=True)[: min(n_rows, n_clusters)]
    return order.repeat(math.ceil(n_clusters / order.shape[0]))[:n_clusters]  # (k,)


@full_precision
def kmeans_plusplus(
    rows: RowSource,
    sample_weight: Tensor | None,
    n_clusters: int,
    generator: torch.Generator,
    offset: Tensor,
    accumulate: torch.dtype = torch.float64,
) -> Tensor:
    """Choose initial rows by k-means++, as :func:`skrbf.ops.seeding` does.

    Returns int64 row numbers (n_clusters,). The draws are the same wherever the rows
    are.

    Parameters
    ----------
    rows : RowSource
        Blocks dense or sparse CSR.
    offset : Tensor of shape (d,)
        A point in the middle of the data, of their dtype and on their device.
    accumulate : torch.dtype, default=torch.float64
        Dtype of sums over rows.

    Notes
    -----
    O(n d k log k) in two passes per center. Holds two vectors of length n, three with
    weights.
    """
    square = offset.new_empty(rows.n_rows)  # (n,) ||x - offset||^2
    for start, stop, block in rows.blocks(1):
        square[start:stop] = squared_distances(offset[None, :], block, offset)[0]
    closest = torch.full_like(square, math.inf)  # (n,)
    prior = torch.ones_like(square) if sample_weight is None else sample_weight  # (n,)
    chosen = _draw_rows(prior, 1, generator, accumulate)  # (1,)
    del prior  # free a vector before the chances are computed
    _add_best_row(rows, sample_weight, chosen, offset, square, closest, accumulate)
    n_trials = 2 + int(math.log(n_clusters))
    while chosen.shape[0] < n_clusters:
        chances = closest if sample_weight is None else sample_weight * closest  # (n,)
        if (
            not float(chances.sum()) > 0.0
        ):  # no rows with weight are left but duplicates
            prior = torch.ones_like(square) if sample_weight is None else sample_weight
            chances = prior.index_fill(0, chosen, 0.0)
            if not float(chances.sum()) > 0.0:
                chances = prior
        trials = _draw_rows(chances, n_trials, generator, accumulate)  # (t,)
        best = _add_best_row(
            rows, sample_weight, trials, offset, square, closest, accumulate
        )
        chosen = torch.cat((chosen, best))
    return chosen


@full_precision
def quasi_random_kmeans_plusplus(
    rows: Tensor, sample_weight: Tensor, n_clusters: int, n_sets: int
) -> Tensor:
    """Choose sets of rows (n_sets, n_clusters, d) far from each other, without a seed.

    k-means++ without trials, with a low-discrepancy sequence (Roberts' additive
    recurrence) in place of random numbers: the sets differ as much as they can, and are
    the same each time. Rows (n, d) are centered, and ordered such that neighbors are
    similar. Weights (n,) are not all zero.

    O(n d k n_sets); holds n numbers for each set.
    """
    square = squared_norms(rows)  # (n,)
    weight = sample_weight.to(widest_float(rows.device))  # (n,)
    number = torch.arange(n_sets, device=rows.device).to(weight)  # (s,)
    chances = weight.expand(n_sets, -1)  # (s, n)
    closest = torch.full_like(square, math.inf).expand(n_sets, -1)  # (s, n)
    chosen: list[Tensor] = []  # each (s, d)
    for step in range(n_clusters):
        ends = deterministic_cumsum(chances, 1)  # (s, n)
        shift = 0.0 if step == 0 else step * _PLASTIC_NUMBER_STEP
        factor, divisor = (_GOLDEN_RATIO_STEP, 1) if step else (1.0, n_sets)
        uniform = ((number * factor + 0.5) / divisor + shift) % 1.0  # (s,)
        index = torch.searchsorted(ends, uniform[:, None] * ends[:, -1:], right=True)
        picked = rows[index[:, 0].clamp_(max=rows.shape[0] - 1)]  # (s, d)
        chosen.append(picked)
        distance = (relative_distances(picked, rows) + square).clamp_min_(0.0)
        closest = torch.minimum(closest, distance)  # (s, n)
        chances = closest * weight
    return torch.stack(chosen, 1)


def _add_best_row(
    rows: RowSource,
    sample_weight: Tensor | None,
    trials: Tensor,
    offset: Tensor,
    square: Tensor,
    closest: Tensor,
    accumulate: torch.dtype,
) -> Tensor:
    """Return the best of some trial rows (1,), and write its distances to `closest`."""
    picked = rows.take(trials)  # (t, d)
    if picked.layout != torch.strided:
        picked = picked.to_dense()
    if trials.shape[0] > 1:
        potential = square.new_zeros(trials.shape[0], dtype=accumulate)  # (t,)
        for start, stop, block in rows.blocks(trials.shape[0]):
            part = slice(start, stop)
            nearer = relative_distances(picked, block, offset) + square[part]  # (t, m)
            nearer = torch.minimum(nearer.clamp_min_(0.0), closest[part])
            if sample_weight is None:
                potential += nearer.sum(1)
            else:
                potential += nearer @ sample_weight[part].to(nearer)
        best = potential.argmin(0, keepdim=True)  # (1,)
        trials, picked = trials[best], picked[best]
    for start, stop, block in rows.blocks(1):
        part = slice(start, stop)
        nearer = relative_distances(picked, block, offset)[0] + square[part]  # (m,)
        torch.minimum(nearer.clamp_min_(0.0), closest[part], out=closest[part])
    closest.index_fill_(0, trials, 0.0)
    return trials


def _draw_rows(
    chances: Tensor, n_draws: int, generator: torch.Generator, accumulate: torch.dtype
) -> Tensor:
    """Draw row numbers with probability proportional to `chances`, not all zero.

    Inverts the distribution function in two levels of sqrt(n) entries: no sum is long,
    and a draw touches only one group of rows.
    """
    uniform = torch.rand(
        n_draws, generator=generator, dtype=torch.float64, device=generator.device
    ).to(chances.device, accumulate)
    n_rows = chances.shape[0]
    width = math.isqrt(n_rows - 1) + 1
    n_grouped = n_rows // width * width
    groups = chances[:n_grouped].view(-1, width).split(_CHANCE_GROUPS_PER_SUM)
    sums = [
        part.sum(1, dtype=accumulate) for part in (*groups, chances[None, n_grouped:])
    ]
    ends = deterministic_cumsum(torch.cat(sums))
    value = uniform * ends[-1]  # (t,)
    group = torch.searchsorted(ends, value, right=True)  # (t,)
    group = group.clamp(max=torch.searchsorted(ends, ends[-1]))
    value = value - torch.nn.functional.pad(ends, (1, 0))[group]  # (t,)
    index = group[:, None] * width + torch.arange(width, device=chances.device)
    inner = chances[index.clamp(max=n_rows - 1)].masked_fill(index >= n_rows, 0.0)
    inner = deterministic_cumsum(inner, 1, accumulate)  # (t, width)
    column = torch.searchsorted(inner, value[:, None], right=True)  # (t, 1)
    column = column.minimum(torch.searchsorted(inner, inner[:, -1:].contiguous()))
    return group * width + column[:, 0]  # (t,)
