"""Features centered and scaled, for training in single precision."""

from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.data import constants
from skrbf.engine.data.number_range import check_variance
from skrbf.engine.data.rows import DenseRows


class Scaling(NamedTuple):
    """Mean that is subtracted from each feature, and scale that divides it: float64."""

    mean: Tensor  # (d,)
    scale: Tensor  # (d,)


def fit_scaling(
    rows: DenseRows, index: Tensor, weight: Tensor, labels: Tensor | None
) -> Scaling:
    """Compute weighted means of some rows, and scales of their features (eq-scaling).

    With classes each feature has a scale of its own: its spread, over the square root
    of its relevance for the classes. A constant feature is only centered. Without
    classes the scale of all features, constant ones as well, is the root mean squared
    deviation. The scale of a constant feature is at least its rounding error.

    Features are divided by a power of two of about the size of their range before they
    are squared: squares neither overflow nor underflow, and nothing is rounded. If
    their differences overflow, it is an error. `weight` and `labels` (m,) are those of
    the rows of `index`.
    """
    weight = weight / weight.sum()
    total, lowest, highest = _totals(rows, index, weight, labels)
    # A constant feature has its value as the mean: that of a sum would be rounded.
    mean = torch.where(lowest == highest, lowest, total.sum(0))  # (d,)
    unit = _powers_of_two(highest / 2 - lowest / 2, common=labels is None)  # (d,)
    variance = torch.zeros_like(mean)  # in units of unit^2, as all below
    for part in _spans(rows, index):
        block = rows.take(index[part]).to(torch.float64)  # (m, d)
        variance += weight[part] @ ((block - mean) / unit).square()
    check_variance(float(variance.sum()), varies=False)
    rounding = 4.0 * torch.finfo(rows.dtype).eps * mean.abs()  # its square may overflow
    variance = torch.where(variance.sqrt() * unit > rounding, variance, 0.0)
    if labels is None:
        # Constant features have the common scale, too: an augmentation may fill them,
        # and must not make them larger than the row. Rounding must not be, either.
        least = torch.where(variance > 0, 0.0, rounding)
        common = variance.mean().sqrt()
        size = least.maximum(common * unit)
        return Scaling(mean, torch.where(common > 0, size, 1.0))
    class_weight = weight.new_zeros(len(total)).index_add_(0, labels, weight)  # (q,)
    spread = constants.MIN_SCALE_OF_RANGE * (highest / unit - lowest / unit)  # (d,)
    occurs = class_weight > 0
    means = (total[occurs] / class_weight[occurs, None] - mean) / unit  # (q, d)
    relevance = _relevance(means, class_weight[occurs], variance)  # (d,)
    size = torch.maximum(variance.sqrt(), spread) / relevance.sqrt()
    return Scaling(mean, torch.where(variance > 0, size * unit, 1.0))


def _powers_of_two(half_range: Tensor, *, common: bool) -> Tensor:
    """Find powers of two of about the size of each feature (d,), or of the largest."""
    exponent = torch.frexp(half_range)[1]
    limit = constants.MAX_SCALE_EXPONENT
    exponent = exponent.clamp(-limit, limit)
    varying = exponent[half_range > 0]
    if common and len(varying):
        exponent = varying.amax().expand(half_range.shape)
    return torch.ldexp(torch.ones_like(half_range), exponent)


def _totals(
    rows: DenseRows, index: Tensor, weight: Tensor, labels: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the weighted sum (q, d) of each class, and the extreme values (d,)."""
    n_classes = 1 if labels is None else int(labels.max()) + 1
    total = torch.zeros(n_classes, rows.n_features, dtype=torch.float64, device="cpu")
    lowest = torch.full_like(total[0], float("inf"))
    highest = -lowest
    for part in _spans(rows, index):
        block = rows.take(index[part]).to(torch.float64)  # (m, d)
        label = torch.zeros(len(block), dtype=torch.int64, device="cpu")
        label = label if labels is None else labels[part]
        total.index_add_(0, label, block * weight[part, None])
        lowest = torch.minimum(lowest, block.amin(0))
        highest = torch.maximum(highest, block.amax(0))
    return total, lowest, highest


def _relevance(means: Tensor, class_weight: Tensor, variance: Tensor) -> Tensor:
    """Compute the relevance of each feature (d,), by its correlation ratio: mean 1.

    From the means of the classes (q, d), less the mean of all rows, and from their
    weights (q,), which sum to 1.
    """
    between = class_weight @ means.square()  # (d,)
    varies = variance > 0
    ratio = torch.where(varies, between / torch.where(varies, variance, 1.0), 0.0)
    shared = constants.SHARED_RELEVANCE * ratio[varies].mean().nan_to_num()
    relevance = ratio + shared + constants.MIN_RELEVANCE
    return relevance / relevance[varies].mean().nan_to_num(constants.MIN_RELEVANCE)


def apply_scaling(rows: DenseRows, index: Tensor, scaling: Scaling) -> Tensor:
    """Center and scale some rows (m, d) in float64, and return them in float32.

    Values out of range are clamped, as in prediction.
    """
    scaled = torch.empty(
        len(index), rows.n_features, dtype=constants.TRAINING_DTYPE, device="cpu"
    )
    limit = constants.MAX_SCALED_VALUE
    for part in _spans(rows, index):
        block = rows.take(index[part]).to(torch.float64)
        block = (block - scaling.mean) / scaling.scale
        scaled[part] = block.clamp(-limit, limit).to(scaled)
    return scaled


def _spans(rows: DenseRows, index: Tensor) -> list[slice]:
    size = rows.block_rows(4 * rows.n_features)
    return [slice(start, start + size) for start in range(0, len(index), size)]
