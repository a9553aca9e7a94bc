"""Distinct rows in an order of their own, whatever their order and multiplicity.

A fit to the distinct rows depends on nothing else, to the last bit: not on the order of
the rows, nor on whether a row comes twice or has weight 2. The order hardly depends on
the unit, origin and precision of the features: batches stay the same.
"""

import torch
from torch import Tensor

from skrbf.engine.data.rows import DenseRows
from skrbf.ops.row_hashes import hash_rows, sort_keys


def deduplicate(
    rows: DenseRows, labels: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor, int, float]:
    """Merge rows on the host that are equal and have the same label, and sort the rest.

    Rows without weight are left out.

    Returns
    -------
    row_index : Tensor of shape (m,), int64
        Position in the data of the first of equal rows.
    weight : Tensor of shape (m,), float64
        Weight of each distinct row: positive, sums to 1.
    n_points : int
        Number of distinct rows, whatever their labels.
    weight_sum : float
        Sum of the weights as given.
    """
    keys = torch.empty(rows.n_rows, dtype=torch.int64, device="cpu")
    for start, stop, block in rows.blocks(4 * rows.n_features):
        keys[start:stop] = hash_rows(block)
    if weight is None:
        weight = torch.ones(rows.n_rows, dtype=torch.float64, device="cpu")
    weighted = (weight > 0).nonzero()[:, 0]
    order = weighted[labels[weighted].argsort(stable=True)]
    order = order[keys[order].argsort(stable=True)]  # by key, then by label
    new_point = _differs_from_previous(rows, keys[order], order)
    first = new_point | _changes(labels[order])  # of the rows that are merged
    group = first.cumsum(0) - 1
    total = torch.zeros(int(first.sum()), dtype=torch.float64, device="cpu")
    total.index_add_(0, group, weight[order])
    weight_sum = total.sum()
    index = order[first]  # (m,)
    rank = _projections(rows, index).argsort(stable=True)  # ties stay in order of keys
    weight = total[rank] / weight_sum
    return index[rank], weight, int(new_point.sum()), float(weight_sum)


def _projections(rows: DenseRows, index: Tensor) -> Tensor:
    """Project some rows (m,), each feature scaled to its range.

    Numbers are halved, so that no difference overflows.
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


def _differs_from_previous(rows: DenseRows, keys: Tensor, order: Tensor) -> Tensor:
    """Tell the rows that differ from the previous one, by themselves where keys tie."""
    differs = _changes(keys)
    tied = (~differs).nonzero()[:, 0]
    for part in tied.split(max(1, rows.block_rows(2 * rows.n_features))):
        equal = rows.take(order[part]) == rows.take(order[part - 1])
        differs[part] = ~equal.all(1)
    return differs


def _changes(values: Tensor) -> Tensor:
    changes = torch.ones_like(values, dtype=torch.bool)
    changes[1:] = values[1:] != values[:-1]
    return changes
