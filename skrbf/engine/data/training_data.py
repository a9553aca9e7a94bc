"""The rows that a network trains on: deduplicated, weighted, scaled, on one device."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.data.compute import Compute
from skrbf.engine.data.deduplicate import deduplicate
from skrbf.engine.data.holdout import hold_out
from skrbf.engine.data.rows import DenseRows
from skrbf.engine.data.scaling import (
    TRAINING_DTYPE,
    Scaling,
    apply_scaling,
    fit_scaling,
)

# Smallest weight that counts, in units of the mean weight. Gradients have the weight as
# a factor, and Adam squares them in single precision.
_SMALLEST_WEIGHT = torch.finfo(TRAINING_DTYPE).tiny ** 0.5


class TrainingData(NamedTuple):
    """Distinct rows on one device.

    Attributes
    ----------
    rows : Tensor of shape (m, d), float32
        Centered and scaled.
    labels : Tensor of shape (m,), int64
        Class of each row; 0 without classes.
    weight : Tensor of shape (m,)
        Relative to the mean weight: an ordinary row has 1.
    row_index : Tensor of shape (m,), int64
        Position of each row in the data as given, on the CPU.
    n_points : int
        Distinct rows, whatever their labels: no more centers can differ.
    weight_sum : float
        Sum of the weights as given.
    scaling : Scaling
    compute : Compute
    """

    rows: Tensor
    labels: Tensor
    weight: Tensor
    row_index: Tensor
    n_points: int
    weight_sum: float
    scaling: Scaling
    compute: Compute

    def take(self, index: Tensor) -> "TrainingData":
        """Select rows, and make the mean of their weights 1 again."""
        here = index.to(self.rows.device)
        rows, weight = self.rows[here], self.weight[here]
        return self._replace(
            rows=rows,
            labels=self.labels[here],
            weight=weight * (len(weight) / weight.sum()),
            row_index=self.row_index[index.to(self.row_index.device)],
            n_points=min(self.n_points, len(rows.unique(dim=0))),
            weight_sum=self.weight_sum * float(weight.sum() / self.weight.sum()),
        )

    def blocks(
        self, columns: int, at_least: int = 1
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield rows, labels and weights of blocks with room for `columns` a row."""
        size = self.compute.block_rows(columns, at_least)
        tables = (self.rows, self.labels, self.weight)
        return zip(*(table.split(size) for table in tables), strict=True)


def prepare(
    rows: DenseRows,
    labels: Tensor | None,
    weight: Tensor | None,
    compute: Compute,
    *,
    scaling: Scaling | None = None,
    per_feature: bool = False,
    validation: tuple[float, torch.Generator] | None = None,
) -> tuple[TrainingData, TrainingData | None]:
    """Deduplicate rows, scale them and hold some out.

    Parameters
    ----------
    rows : DenseRows
        On the host.
    labels : Tensor of shape (n,), int64, or None
        Equal rows with different labels stay apart.
    weight : Tensor of shape (n,), float64, or None
        None where all are 1. Rows whose weight is too small for the squares of single
        precision are left out, as those without weight are.
    compute : Compute
        Device and dtype of the training.
    scaling : Scaling, optional
        That of an earlier fit to go on with. Without it, the rows to train on set the
        scaling (eq-scaling).
    per_feature : bool, default=False
        Scale each feature by itself, by its relevance for the labels.
    validation : (fraction, generator), optional
        Fraction of the weight to hold out.

    Returns
    -------
    data : TrainingData
    held_out : TrainingData or None
    """
    if labels is None:
        labels = torch.zeros(rows.n_rows, dtype=torch.int64, device="cpu")
    if weight is not None:
        weight = torch.where(weight >= _SMALLEST_WEIGHT * weight.mean(), weight, 0.0)
    found = deduplicate(rows, labels, weight)
    here, out = torch.arange(len(found.row_index), device="cpu"), None
    if validation is not None:
        here, out = hold_out(found.labels, found.weight, *validation)
    if scaling is None:
        classes = found.labels[here] if per_feature else None
        scaling = fit_scaling(rows, found.row_index[here], found.weight[here], classes)
    device = compute.device
    data = TrainingData(
        apply_scaling(rows, found.row_index, scaling).to(device),  # the only copy
        found.labels.to(device),
        (found.weight * len(found.row_index)).to(TRAINING_DTYPE).to(device),
        found.row_index,
        found.n_points,
        found.weight_sum,
        scaling,
        compute,
    )
    if out is None:
        return data, None
    return data.take(here), data.take(out)
