"""Distinct rows in an order of their own, whatever order and multiplicity they had.

What is computed from them depends on nothing else, to the last bit: not on the order of
the rows, nor on whether a row comes twice or with weight 2. The order hardly depends on
the unit, origin and precision of the features: batches stay what they were.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.data.rows import DenseRows
from skrbf.ops.row_hashes import hash_rows, sort_keys


class DistinctRows(NamedTuple):
    """One row for each group of equal rows."""

    row_index: Tensor  # (m,) position in the data, of the first of equal rows
    labels: Tensor  # (m,) int64
    weight: Tensor  # (m,) float64, positive, sums to 1
    n_points: int  # distinct rows, whatever their label
    weight_sum: float  # of all rows as given


def deduplicate(rows: DenseRows, labels: Tensor, weight: Tensor | None) -> DistinctRows:
    """Merge rows that are equal and have the same label, and sort the rest.

    Parameters
    ----------
    rows : DenseRows
        On the host.
    labels : Tensor of shape (n,), int64
    weight : Tensor of shape (n,), float64, or None
        Rows without weight are left out.
    """
    keys = torch.empty(rows.n_rows, dtype=torch.int64, device="cpu")
    for start, stop, block in rows.blocks(4 * rows.n_features):
        keys[start:stop] = hash_rows(block)
    if weight is None:
        weight = torch.ones(rows.n_rows, dtype=torch.float64, device="cpu")
    there = (weight > 0).nonzero()[:, 0]
    order = there[labels[there].argsort(stable=True)]
    order = order[keys[order].argsort(stable=True)]  # (m,) by key, then by label
    keys, labels = keys[order], labels[order]
    new_point = _differs(rows, keys, order)
    new = new_point | _changes(labels)
    group = new.cumsum(0) - 1  # (m,)
    total = torch.zeros(int(new.sum()), dtype=torch.float64, device="cpu")
    total.index_add_(0, group, weight[order])
    whole = total.sum()
    index = order[new]
    place = _projections(rows, index).argsort(stable=True)  # those that tie, by key
    return DistinctRows(
        index[place],
        labels[new][place],
        total[place] / whole,
        int(new_point.sum()),
        float(whole),
    )


def _projections(rows: DenseRows, index: Tensor) -> Tensor:
    """Places of some rows (m,), each feature on its way from its least to its largest.

    Half of everything, so that no difference overflows.
    """
    parts = index.split(max(1, rows.block_rows(4 * rows.n_features)))
    low = torch.full(
        (rows.n_features,), float("inf"), dtype=torch.float64, device="cpu"
    )
    high = -low
    for part in parts:
        block = rows.take(part).to(torch.float64)  # (b, d)
        low, high = low.minimum(block.amin(0)), high.maximum(block.amax(0))
    low, size = low / 2, high / 2 - low / 2  # (d,)
    size = torch.where(size > 0, size, 1.0)
    return torch.cat(
        [sort_keys((rows.take(part).double() / 2 - low) / size) for part in parts]
    )


def _differs(rows: DenseRows, keys: Tensor, order: Tensor) -> Tensor:
    """Whether each row differs from the one before it; equal keys are looked into."""
    new = _changes(keys)
    same = (~new).nonzero()[:, 0]
    for part in same.split(max(1, rows.block_rows(2 * rows.n_features))):
        equal = rows.take(order[part]) == rows.take(order[part - 1])
        new[part] = ~equal.all(1)
    return new


def _changes(values: Tensor) -> Tensor:
    new = torch.ones_like(values, dtype=torch.bool)
    new[1:] = values[1:] != values[:-1]
    return new
