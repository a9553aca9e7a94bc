"""Features centered and brought to one size, for training in single precision."""

from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.data.limits import check_variance
from skrbf.engine.data.rows import DenseRows

# Training needs no more digits than these once the data are centered and scaled.
TRAINING_DTYPE = torch.float32
# A feature that is nearly always the same is not blown up: its size is this part of its
# range at least.
_RANGE = 0.25
# Rows are taken to be no farther than this, in scaled units: squares stay finite.
FAR = 1e10
# What a feature counts for, whatever its class means: this part of the mean of all
# features, and this correlation ratio.
_EVEN, _LEAST = 0.3, 0.02


class Scaling(NamedTuple):
    """What is taken off each feature, and what it is then divided by: (d,), float64."""

    mean: Tensor
    scale: Tensor


def fit_scaling(
    rows: DenseRows, index: Tensor, weight: Tensor, labels: Tensor | None
) -> Scaling:
    """Weighted means of some rows, and what to divide their features by (eq-scaling).

    Parameters
    ----------
    weight : Tensor of shape (m,), float64
        Of the rows of `index`.
    labels : Tensor of shape (m,), int64, or None
        With classes each feature has a scale of its own, by its spread and by how far
        its means differ between them, and a constant feature is only centered.
        Otherwise all have the root mean squared deviation, the constant ones as well;
        but not less than what rounding makes of those.

    Raises
    ------
    ValueError
        For rows so large that their differences overflow.

    Notes
    -----
    Squares are those of features over a power of two of the size of their range: they
    neither overflow nor underflow, and nothing is rounded.
    """
    weight = weight / weight.sum()
    total, lowest, highest = _totals(rows, index, weight, labels)
    # The rounding of a sum would leave a value in what is constant.
    mean = torch.where(lowest == highest, lowest, total.sum(0))  # (d,)
    unit = _powers_of_two(highest / 2 - lowest / 2, common=labels is None)  # (d,)
    variance = torch.zeros_like(mean)  # over the square of the unit, as what follows
    for part in _spans(rows, index):
        block = rows.take(index[part]).to(torch.float64)  # (m, d)
        variance += weight[part] @ ((block - mean) / unit).square()
    check_variance(float(variance.sum()), varies=False)
    rounding = 4.0 * torch.finfo(rows.dtype).eps * mean.abs()  # its square may overflow
    variance = torch.where(variance.sqrt() * unit > rounding, variance, 0.0)
    if labels is None:
        # Constant features too: an augmentation may fill them, and what it makes of a
        # row must not be larger than the row. Nor must the rounding of a feature be.
        least = torch.where(variance > 0, 0.0, rounding)
        common = variance.mean().sqrt()
        size = least.maximum(common * unit)
        return Scaling(mean, torch.where(common > 0, size, 1.0))
    share = weight.new_zeros(len(total)).index_add_(0, labels, weight)  # (q,)
    size = torch.maximum(variance.sqrt(), _RANGE * (highest / unit - lowest / unit))
    there = share > 0
    means = (total[there] / share[there, None] - mean) / unit  # (q, d)
    size = size / _relevance(means, share[there], variance).sqrt()
    return Scaling(mean, torch.where(variance > 0, size * unit, 1.0))


def _powers_of_two(half_range: Tensor, *, common: bool) -> Tensor:
    """Powers of two of about the size of each feature (d,), or of the largest."""
    exponent = torch.frexp(half_range)[1].clamp(-1000, 1000)
    varying = exponent[half_range > 0]
    if common and len(varying):
        exponent = varying.amax().expand(half_range.shape)
    return torch.ldexp(torch.ones_like(half_range), exponent)


def _totals(
    rows: DenseRows, index: Tensor, weight: Tensor, labels: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted sum (q, d) of each class, and least and largest value (d,)."""
    n_classes = 1 if labels is None else int(labels.max()) + 1
    total = torch.zeros(n_classes, rows.n_features, dtype=torch.float64, device="cpu")
    lowest = torch.full_like(total[0], float("inf"))
    highest = -lowest
    for part in _spans(rows, index):
        block = rows.take(index[part]).to(torch.float64)  # (m, d)
        own = torch.zeros(len(block), dtype=torch.int64, device="cpu")
        own = own if labels is None else labels[part]
        total.index_add_(0, own, block * weight[part, None])
        lowest = torch.minimum(lowest, block.amin(0))
        highest = torch.maximum(highest, block.amax(0))
    return total, lowest, highest


def _relevance(means: Tensor, share: Tensor, variance: Tensor) -> Tensor:
    """How much each feature counts, 1 on average, by its correlation ratio (d,).

    Parameters
    ----------
    means : Tensor of shape (q, d)
        Of the classes, less that of all rows.
    share : Tensor of shape (q,)
        Of the classes in the weight.
    """
    between = share @ means.square()  # (d,)
    varies = variance > 0
    ratio = torch.where(varies, between / torch.where(varies, variance, 1.0), 0.0)
    counts = ratio + _EVEN * ratio[varies].mean().nan_to_num() + _LEAST
    return counts / counts[varies].mean().nan_to_num(_LEAST)


def apply_scaling(rows: DenseRows, index: Tensor, scaling: Scaling) -> Tensor:
    """Some rows (m, d), centered and scaled in float64, kept in single precision.

    Rows far from all that were measured are taken to be nearer, as in prediction.
    """
    found = torch.empty(len(index), rows.n_features, dtype=TRAINING_DTYPE, device="cpu")
    for part in _spans(rows, index):
        block = rows.take(index[part]).to(torch.float64)
        block = ((block - scaling.mean) / scaling.scale).clamp(-FAR, FAR)
        found[part] = block.to(found)
    return found


def _spans(rows: DenseRows, index: Tensor) -> list[slice]:
    size = rows.block_rows(4 * rows.n_features)
    return [slice(start, start + size) for start in range(0, len(index), size)]
