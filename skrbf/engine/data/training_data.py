"""The rows that a network trains on: deduplicated, weighted, scaled, on one device."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.data.constants import MIN_RELATIVE_WEIGHT, TRAINING_DTYPE
from skrbf.engine.data.deduplicate import deduplicate
from skrbf.engine.data.device import Compute
from skrbf.engine.data.holdout import hold_out
from skrbf.engine.data.rows import DenseRows
from skrbf.engine.data.scaling import Scaling, apply_scaling, fit_scaling


class TrainingData(NamedTuple):
    """Distinct rows on one device."""

    rows: Tensor  # (m, d) float32, centered and scaled
    labels: Tensor  # (m,) int64 class of each row; 0 without classes
    weight: Tensor  # (m,) in units of the mean weight: that of an ordinary row is 1
    row_index: Tensor  # (m,) int64 position in the data as given, on the CPU
    # Number of distinct rows, whatever their labels: at most as many centers differ.
    n_points: int
    weight_sum: float  # of the weights as given
    scaling: Scaling
    compute: Compute

    def take(self, index: Tensor) -> "TrainingData":
        """Select rows, and make the mean of their weights 1 again."""
        on_device = index.to(self.rows.device)
        rows, weight = self.rows[on_device], self.weight[on_device]
        return self._replace(
            rows=rows,
            labels=self.labels[on_device],
            weight=weight * (len(weight) / weight.sum()),
            row_index=self.row_index[index.to(self.row_index.device)],
            n_points=min(self.n_points, len(rows.unique(dim=0))),
            weight_sum=self.weight_sum * float(weight.sum() / self.weight.sum()),
        )

    def blocks(
        self, columns: int, at_least: int = 1
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield rows, labels and weights in blocks for `columns` temporaries a row."""
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
    """Deduplicate rows on the host, scale them and hold some out.

    Parameters
    ----------
    labels : Tensor of shape (n,), int64, or None
        Equal rows with different labels stay apart.
    weight : Tensor of shape (n,), float64, or None
        None where all are 1. Rows whose weight is too small for the squares of single
        precision are left out, as those without weight are.
    scaling : Scaling, optional
        Scaling of an earlier fit that goes on. By default it is computed from the rows
        to train on (eq-scaling).
    per_feature : bool, default=False
        Scale each feature by itself, by its relevance for the labels.
    validation : (fraction, generator), optional
        Fraction of the weight to hold out.
    """
    if labels is None:
        labels = torch.zeros(rows.n_rows, dtype=torch.int64, device="cpu")
    if weight is not None:
        negligible = weight < MIN_RELATIVE_WEIGHT * weight.mean()
        weight = torch.where(negligible, 0.0, weight)
    index, weight, n_points, weight_sum = deduplicate(rows, labels, weight)
    labels = labels[index]  # (m,)
    trained, held_out = torch.arange(len(index), device="cpu"), None
    if validation is not None:
        trained, held_out = hold_out(labels, weight, *validation)
    if scaling is None:
        classes = labels[trained] if per_feature else None
        scaling = fit_scaling(rows, index[trained], weight[trained], classes)
    device = compute.device
    data = TrainingData(
        apply_scaling(rows, index, scaling).to(device),  # the only copy
        labels.to(device),
        (weight * len(index)).to(TRAINING_DTYPE).to(device),
        index,
        n_points,
        weight_sum,
        scaling,
        compute,
    )
    if held_out is None:
        return data, None
    return data.take(trained), data.take(held_out)
