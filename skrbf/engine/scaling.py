"""Features centred and brought to one size, for training in single precision."""

from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.rows import DenseRows

# Training needs no more digits than these once the data are centred and scaled.
TRAINING_DTYPE = torch.float32


class Scaling(NamedTuple):
    """What is taken off each feature, and what it is then divided by: (d,), float64."""

    mean: Tensor
    scale: Tensor


def measure(
    rows: DenseRows, index: Tensor, weight: Tensor, each_feature: bool
) -> Scaling:
    """Weighted means and standard deviations (eq-scaling) of some rows.

    Parameters
    ----------
    weight : Tensor of shape (m,), float64
        Of the rows of `index`; sums to 1.
    each_feature : bool
        Whether each feature has a scale of its own, or all have the root mean squared
        deviation. A constant feature is only centred.
    """
    d = rows.n_features
    mean = torch.zeros(d, dtype=torch.float64)
    for block, w in _parts(rows, index, weight):
        mean += w @ block
    variance = torch.zeros(d, dtype=torch.float64)
    for block, w in _parts(rows, index, weight):
        variance += w @ (block - mean).square()
    rounding = (4.0 * torch.finfo(rows.dtype).eps * mean.abs()) ** 2
    variance = torch.where(variance > rounding, variance, 0.0)
    if not each_feature:
        variance = variance.mean().expand(d)
    return Scaling(mean, torch.where(variance > 0, variance, 1.0).sqrt())


def scaled(rows: DenseRows, index: Tensor, scaling: Scaling) -> Tensor:
    """Some rows (m, d), centred and scaled in float64, kept in single precision."""
    found = torch.empty(len(index), rows.n_features, dtype=TRAINING_DTYPE)
    for part in _spans(rows, index):
        block = rows.take(index[part]).to(torch.float64)
        found[part] = ((block - scaling.mean) / scaling.scale).to(found)
    return found


def _parts(rows: DenseRows, index: Tensor, weight: Tensor):  # type: ignore[no-untyped-def]
    for part in _spans(rows, index):
        yield rows.take(index[part]).to(torch.float64), weight[part]


def _spans(rows: DenseRows, index: Tensor) -> list[slice]:
    size = rows.block_rows(4 * rows.n_features)
    return [slice(start, start + size) for start in range(0, len(index), size)]
