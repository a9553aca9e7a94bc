"""The rows of a deep fit: merged, centred, brought to one size, in their own order."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.compute import Compute
from skrbf.engine.distinct import distinct
from skrbf.engine.rows import DenseRows
from skrbf.engine.scaling import TRAINING_DTYPE, Scaling, measure, scaled
from skrbf.ops.keys import row_keys, row_projections

# Columns of temporaries of a row, beside its features, for the size of blocks. Layers
# are wider, but a few hundred rows are needed to make up for reading their weights.
WIDTH = 256


class DeepData(NamedTuple):
    """Distinct rows to train on, on one device."""

    rows: Tensor  # (m, d) float32, centred; their mean variance per feature is 1
    weight: Tensor  # (m,) float32, of mean 1
    scaling: Scaling
    compute: Compute

    def blocks(self) -> Iterator[Tensor]:
        """The rows in pieces, as a network takes them."""
        columns = WIDTH + self.rows.shape[1]
        yield from self.rows.split(self.compute.block_rows(columns))


def prepare_rows(
    rows: DenseRows, weight: Tensor | None, scaling: Scaling | None, compute: Compute
) -> DeepData:
    """Merge equal rows, scale them all by one number, and sort them.

    What follows depends on neither their order nor their multiplicity, and on the unit,
    origin and precision of the data no more than rounding does: the order is by a
    projection of the scaled rows.

    Parameters
    ----------
    rows : DenseRows
        On the host.
    weight : Tensor of shape (n,), float64, or None
    scaling : Scaling or None
        That of an earlier fit to go on with; None measures it (eq-scaling).
    compute : Compute
    """
    found = distinct(rows, torch.zeros(rows.n_rows, dtype=torch.int64), weight)
    if scaling is None:
        scaling = measure(rows, found.number, found.weight, None)
    mass = (found.weight * len(found.weight)).to(TRAINING_DTYPE)
    there = (mass > 0).nonzero()[:, 0]  # what single precision has no weight for is not
    keys, places = [], []
    for part in found.number[there].split(rows.block_rows(4 * rows.n_features)):
        block = scaled(rows, part, scaling)
        keys.append(row_keys(block))
        places.append(row_projections(block))
    order = torch.cat(keys).argsort(stable=True)
    order = there[order[torch.cat(places)[order].argsort(stable=True)]]
    data = scaled(rows, found.number[order], scaling)  # the only copy
    return DeepData(
        data.to(compute.device), mass[order].to(compute.device), scaling, compute
    )
