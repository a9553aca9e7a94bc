"""Where to start: random rows, and greedy weighted k-means++."""

import math
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from skrbf.ops.distances import relative_distances, squared_distances, squared_norms
from skrbf.ops.precision import full_precision
from skrbf.ops.statistics import deterministic_cumsum, widest_float

# Powers of the reciprocals of the golden ratio and of the plastic number.
_GOLDEN, _PLASTIC = 0.6180339887498949, 0.7548776662466927

# Groups of rows that are summed at a time.
_GROUPS = 256


class RowSource(Protocol):
    """What seeding needs of a table that may not be there in one piece."""

    @property
    def n_rows(self) -> int:
        """Number of rows."""

    def blocks(self, columns: int) -> Iterator[tuple[int, int, Tensor]]:
        """Yield (start, stop, rows); each row needs `columns` numbers of scratch."""

    def take(self, index: Tensor) -> Tensor:
        """Return some rows, in the order of `index`."""


def random_rows(
    n_rows: int,
    sample_weight: Tensor | None,
    n_clusters: int,
    generator: torch.Generator,
) -> Tensor:
    """Draw rows without replacement, with probability proportional to their weight.

    Parameters
    ----------
    n_rows : int
    sample_weight : Tensor of shape (n_rows,) or None
    n_clusters : int
    generator : torch.Generator

    Returns
    -------
    Tensor of shape (n_clusters,), int64
        Row numbers, on the device of the generator. Never of a row of weight 0; they
        repeat only where fewer rows than `n_clusters` have weight.

    Notes
    -----
    O(n log n). Each row draws the time of its first event at a rate that is its weight;
    the first rows win: Efraimidis, Spirakis (2006), "Weighted random sampling with a
    reservoir".

    Examples
    --------
    >>> import torch
    >>> weight = torch.tensor([0.0, 1.0, 0.0, 1.0])
    >>> random_rows(4, weight, 2, torch.Generator().manual_seed(0)).sort().values
    tensor([1, 3])
    """
    uniform = torch.rand(
        n_rows, generator=generator, dtype=torch.float64, device=generator.device
    )
    times = -uniform.neg_().log1p_()  # (n,) -log(1 - u), exponential
    if sample_weight is not None:
        times = times / sample_weight.to(times)  # (n,) infinite where the weight is 0
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
    """Choose starting rows by greedy, weighted k-means++.

    The next row is drawn with probability proportional to its weight times its squared
    distance (:eq:`eq-distances`) from the rows chosen before; of 2 + log(k) such draws
    the one is kept that lowers the distortion most, as in scikit-learn.

    Parameters
    ----------
    rows : RowSource
        Blocks dense or sparse CSR.
    sample_weight : Tensor of shape (n,) or None
        Not all zero.
    n_clusters : int
    generator : torch.Generator
        Of any device; the draws are the same wherever the rows are.
    offset : Tensor of shape (d,)
        A point in the middle of the data, of their dtype and on their device.
    accumulate : torch.dtype, default=torch.float64
        Dtype of the sums over rows.

    Returns
    -------
    Tensor of shape (n_clusters,), int64
        Row numbers, never of a row of weight 0. Where fewer rows are distinct, the
        others are drawn by weight alone.

    Notes
    -----
    O(n d k log k) in two passes per center; two vectors of length n are held, three
    with weights.
    Arthur, Vassilvitskii (2007), "k-means++: the advantages of careful seeding".

    Examples
    --------
    >>> import torch
    >>> class Table:
    ...     n_rows = 4
    ...     data = torch.tensor([[0.0], [0.0], [5.0], [5.0]])
    ...     def blocks(self, columns):
    ...         yield 0, 4, self.data
    ...     def take(self, index):
    ...         return self.data[index]
    >>> generator = torch.Generator().manual_seed(0)
    >>> chosen = kmeans_plusplus(Table(), None, 2, generator, torch.zeros(1))
    >>> Table.data[chosen].sort(0).values
    tensor([[0.],
            [5.]])
    """
    square = offset.new_empty(rows.n_rows)  # (n,) ||x - offset||^2
    for start, stop, block in rows.blocks(1):
        square[start:stop] = squared_distances(offset[None, :], block, offset)[0]
    closest = torch.full_like(square, math.inf)  # (n,)
    prior = torch.ones_like(square) if sample_weight is None else sample_weight  # (n,)
    chosen = _draw(prior, 1, generator, accumulate)  # (1,)
    del prior  # one vector less beside the shares
    _add(rows, sample_weight, chosen, offset, square, closest, accumulate)
    n_trials = 2 + int(math.log(n_clusters))
    while chosen.shape[0] < n_clusters:
        share = closest if sample_weight is None else sample_weight * closest  # (n,)
        if not float(share.sum()) > 0.0:  # every row with weight is chosen, or its twin
            prior = torch.ones_like(square) if sample_weight is None else sample_weight
            share = prior.index_fill(0, chosen, 0.0)
            if not float(share.sum()) > 0.0:
                share = prior
        trials = _draw(share, n_trials, generator, accumulate)  # (t,)
        best = _add(rows, sample_weight, trials, offset, square, closest, accumulate)
        chosen = torch.cat((chosen, best))
    return chosen


@full_precision
def quasi_random_kmeans_plusplus(
    rows: Tensor, sample_weight: Tensor, n_clusters: int, n_sets: int
) -> Tensor:
    """Choose several sets of starting rows, far from each other, without a seed.

    As k-means++ without trials, its random numbers replaced by a sequence that fills
    the unit interval evenly (Roberts' additive recurrence): the sets differ as much as
    they can, and they are the same each time.

    Parameters
    ----------
    rows : Tensor of shape (n, d)
        Centered, in an order that means something: neighbors are alike.
    sample_weight : Tensor of shape (n,)
        Not all zero.
    n_clusters : int
    n_sets : int

    Returns
    -------
    Tensor of shape (n_sets, n_clusters, d)

    Notes
    -----
    O(n d k n_sets); holds n numbers for each set.

    Examples
    --------
    >>> import torch
    >>> rows = torch.tensor([[-2.0], [-2.0], [2.0], [2.0]])
    >>> quasi_random_kmeans_plusplus(rows, torch.ones(4), 2, 2)
    tensor([[[-2.],
             [ 2.]],
    <BLANKLINE>
            [[ 2.],
             [-2.]]])
    """
    square = squared_norms(rows)  # (n,)
    weight = sample_weight.to(widest_float(rows.device))  # (n,)
    number = torch.arange(n_sets, device=rows.device).to(weight)  # (s,)
    share = weight.expand(n_sets, -1)  # (s, n)
    closest = torch.full_like(square, math.inf).expand(n_sets, -1)  # (s, n)
    chosen: list[Tensor] = []  # of (s, d)
    for step in range(n_clusters):
        ends = deterministic_cumsum(share, 1)  # (s, n)
        shift = 0.0 if step == 0 else step * _PLASTIC
        spot = (number * (_GOLDEN if step else 1.0) + 0.5) / (1 if step else n_sets)
        value = ((spot + shift) % 1.0)[:, None] * ends[:, -1:]  # (s, 1)
        place = torch.searchsorted(ends, value, right=True)[:, 0]
        picked = rows[place.clamp_(max=rows.shape[0] - 1)]  # (s, d)
        chosen.append(picked)
        distance = (relative_distances(picked, rows) + square).clamp_min_(0.0)
        closest = torch.minimum(closest, distance)  # (s, n)
        share = closest * weight
    return torch.stack(chosen, 1)


def _add(
    rows: RowSource,
    sample_weight: Tensor | None,
    trials: Tensor,
    offset: Tensor,
    square: Tensor,
    closest: Tensor,
    accumulate: torch.dtype,
) -> Tensor:
    """Choose the best of some rows, and write its distances into `closest`."""
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


def _draw(
    share: Tensor, n_draws: int, generator: torch.Generator, accumulate: torch.dtype
) -> Tensor:
    """Draw row numbers with probability proportional to their share, not all zero.

    The inverse of the distribution function, in two levels of sqrt(n): no sum is long,
    and a draw touches one group of rows only.
    """
    uniform = torch.rand(
        n_draws, generator=generator, dtype=torch.float64, device=generator.device
    ).to(share.device, accumulate)
    n_rows = share.shape[0]
    width = math.isqrt(n_rows - 1) + 1
    whole = n_rows // width * width
    # By parts: torch sums a copy where the dtype is another.
    parts = *share[:whole].view(-1, width).split(_GROUPS), share[None, whole:]
    ends = deterministic_cumsum(
        torch.cat([part.sum(1, dtype=accumulate) for part in parts])
    )
    value = uniform * ends[-1]  # (t,)
    group = torch.searchsorted(ends, value, right=True)  # (t,)
    group = group.clamp(max=torch.searchsorted(ends, ends[-1]))
    value = value - torch.nn.functional.pad(ends, (1, 0))[group]  # (t,)
    place = group[:, None] * width + torch.arange(width, device=share.device)
    inner = share[place.clamp(max=n_rows - 1)].masked_fill(place >= n_rows, 0.0)
    inner = deterministic_cumsum(inner, 1, accumulate)  # (t, width)
    column = torch.searchsorted(inner, value[:, None], right=True)  # (t, 1)
    column = column.minimum(torch.searchsorted(inner, inner[:, -1:].contiguous()))
    return group * width + column[:, 0]  # (t,)
