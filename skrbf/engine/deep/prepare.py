"""The rows of a deep fit: merged, centered, brought to one size, in their own order."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.data.compute import Compute
from skrbf.engine.data.deduplicate import distinct
from skrbf.engine.data.rows import DenseRows
from skrbf.engine.data.scaling import TRAINING_DTYPE, Scaling, measure, scaled

# Columns of temporaries of a row, beside its features, for the size of blocks. Layers
# are wider, but a few hundred rows are needed to make up for reading their weights.
WIDTH = 256
_ENOUGH = 128  # rows, where more fit into the memory though not into a cache

# Least weight, in units of their mean: gradients have it as a factor, and are squared.
_LIGHTEST = torch.finfo(TRAINING_DTYPE).tiny ** 0.5


class DeepData(NamedTuple):
    """Distinct rows to train on, on one device."""

    rows: Tensor  # (m, d) float32, centered; their mean variance per feature is 1
    weight: Tensor  # (m,) float32, of mean 1
    scaling: Scaling
    compute: Compute

    def blocks(self) -> Iterator[Tensor]:
        """The rows in pieces, as a network takes them."""
        columns = WIDTH + self.rows.shape[1]
        yield from self.rows.split(self.compute.block_rows(columns, _ENOUGH))


def prepare_rows(
    rows: DenseRows, weight: Tensor | None, scaling: Scaling | None, compute: Compute
) -> DeepData:
    """Merge equal rows, sort them, and scale them all by one number.

    Rows whose weight is too small for the squares of single precision are left out, as
    those without are.

    Parameters
    ----------
    rows : DenseRows
        On the host.
    weight : Tensor of shape (n,), float64, or None
    scaling : Scaling or None
        That of an earlier fit to go on with; None measures it (eq-scaling).
    compute : Compute
    """
    if weight is not None:
        weight = torch.where(weight >= _LIGHTEST * weight.mean(), weight, 0.0)
    labels = torch.zeros(rows.n_rows, dtype=torch.int64, device="cpu")
    found = distinct(rows, labels, weight)
    if scaling is None:
        scaling = measure(rows, found.number, found.weight, None)
    mass = found.weight * len(found.weight)
    return DeepData(
        scaled(rows, found.number, scaling).to(compute.device),  # the only copy
        mass.to(TRAINING_DTYPE).to(compute.device),
        scaling,
        compute,
    )
