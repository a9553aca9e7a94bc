"""Additive statistics of clusters: those of chunks, batches or machines add up.

Responsibilities are ``(k, n)``. Rows are dense or sparse CSR ``(n, d)``. Labels are
int64 ``(n,)`` and below k; weights are ``(n,)``, or None where all are 1.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.ops.precision import full_precision

# Number of features up to which the transposed product is faster if the clusters of a
# row are contiguous. It is several times slower if the rows of a cluster are. Not on a
# results page.
_TRANSPOSED_SUMS_MAX_FEATURES = 15

# Number of features from which `index_add_` adds a row with vector instructions, and
# number of rows above which it pays to pad narrower rows. Not on a results page.
_VECTORIZED_MIN_FEATURES = 16
_PADDING_MIN_ROWS = 1000


class ClusterStatistics(NamedTuple):
    """Sums over some rows, weighted by :math:`w_i`."""

    weight: Tensor  # (k,) sum w r
    total: Tensor  # (k, d) sum w r x
    objective: Tensor  # () sum w times the objective of the row


def add_statistics(
    left: ClusterStatistics, right: ClusterStatistics
) -> ClusterStatistics:
    """Return the statistics of the union of two disjoint sets of rows."""
    return ClusterStatistics(
        left.weight + right.weight,
        left.total + right.total,
        left.objective + right.objective,
    )


def weighted_means(statistics: ClusterStatistics, fallback: Tensor) -> Tensor:
    """Compute the weighted means (k, d) of the clusters (:eq:`eq-fixed-point`).

    A cluster without weight keeps its row of `fallback`, whose dtype is the result's.
    """
    filled = statistics.weight > 0  # (k,)
    weight = torch.where(filled, statistics.weight, 1.0)  # (k,)
    means = (statistics.total / weight[:, None]).to(fallback.dtype)  # (k, d)
    return torch.where(filled[:, None], means, fallback)  # (k, d)


@full_precision
def weighted_sums(responsibilities: Tensor, rows: Tensor) -> Tensor:
    """Sum the rows of every cluster, weighted by the responsibilities: (k, d).

    O(k n d), or O(k nnz) for CSR.
    """
    if rows.layout == torch.strided:
        if (
            rows.shape[1] <= _TRANSPOSED_SUMS_MAX_FEATURES
            and responsibilities.stride(0) == 1
        ):
            return (rows.t() @ responsibilities.t()).t()  # (k, d)
        return responsibilities @ rows  # (k, d)
    return (rows.t() @ responsibilities.t()).t()  # (k, d)


@full_precision
def label_sums(
    rows: Tensor, labels: Tensor, weight: Tensor | None, k: int
) -> tuple[Tensor, Tensor]:
    """Sum weights (k,) and weighted rows (k, d) by label.

    The weight sums are integer counts where `weight` is None.

    O(n d) or O(nnz) on the CPU, row by row. Elsewhere that order of summation would not
    be fixed, so one-hot labels are multiplied with the rows: O(k n d) or O(k nnz).
    """
    if rows.device.type == "cpu":
        return weight_sums(labels, weight, k), label_totals(rows, labels, weight, k)
    one_hot = _weighted_one_hot(rows, labels, weight, k)  # (k, n)
    return one_hot.sum(1), weighted_sums(one_hot, rows)


@full_precision
def weight_sums(labels: Tensor, weight: Tensor | None, k: int) -> Tensor:
    """Sum weights (k,) by label, in the same order on every device: on the CPU.

    Integer counts where `weight` is None. Weights may be negative. O(n + k).
    """
    if weight is None:
        return torch.bincount(labels.cpu(), minlength=k).to(labels.device)
    sums = torch.bincount(labels.cpu(), weight.cpu(), k)
    return sums.to(labels.device, weight.dtype)  # counts where there are no rows


@full_precision
def deterministic_cumsum(
    values: Tensor, dim: int = 0, dtype: torch.dtype | None = None
) -> Tensor:
    """Compute cumulative sums in the same order on every device: on the CPU.

    In the dtype of the values unless `dtype` is given.
    """
    return values.cpu().cumsum(dim, dtype=dtype).to(values.device)


def widest_float(device: torch.device) -> torch.dtype:
    """Return float64, or float32 on a device that lacks it.

    >>> import torch
    >>> widest_float(torch.device("cpu")), widest_float(torch.device("mps"))
    (torch.float64, torch.float32)
    """
    return torch.float32 if device.type == "mps" else torch.float64


@full_precision
def label_totals(rows: Tensor, labels: Tensor, weight: Tensor | None, k: int) -> Tensor:
    """Sum weighted rows (k, d) by label, as `label_sums`. Weights may be negative."""
    if rows.device.type != "cpu":
        return one_hot_totals(rows, labels, weight, k)
    if rows.layout != torch.strided:
        return _stored_totals(rows, labels, weight, k)
    weighted = rows if weight is None else rows * weight[:, None]  # (n, d)
    d = rows.shape[1]
    padded = rows.shape[0] > _PADDING_MIN_ROWS and 3 < d < _VECTORIZED_MIN_FEATURES
    if padded:
        weighted = torch.nn.functional.pad(weighted, (0, _VECTORIZED_MIN_FEATURES - d))
    totals = rows.new_zeros((k, weighted.shape[1])).index_add_(0, labels, weighted)
    return totals[:, :d] if padded else totals


@full_precision
def one_hot_totals(
    rows: Tensor, labels: Tensor, weight: Tensor | None, k: int
) -> Tensor:
    """Compute `label_totals` as a product with one-hot labels.

    O(k n d), or O(k nnz) for CSR, with a block (k, n). Faster than row by row for few
    labels and weighted rows of more than a few features. The factors are rounded where
    `torch.set_float32_matmul_precision` allows it.
    """
    return weighted_sums(_weighted_one_hot(rows, labels, weight, k), rows)


def _stored_totals(
    rows: Tensor, labels: Tensor, weight: Tensor | None, k: int
) -> Tensor:
    """Compute `label_totals` of CSR rows, one stored entry after the other."""
    lengths, stored = rows.crow_indices().diff(), rows.values()
    row = torch.arange(len(labels), device=labels.device).repeat_interleave(
        lengths, output_size=stored.shape[0]
    )  # (nnz,) row of each stored entry
    if weight is not None:
        stored = stored * weight.to(stored.dtype).index_select(0, row)
    index = (labels * rows.shape[1]).index_select(0, row) + rows.col_indices()
    totals = stored.new_zeros(k * rows.shape[1]).index_add_(0, index, stored)
    return totals.view(k, -1)


def _weighted_one_hot(
    rows: Tensor, labels: Tensor, weight: Tensor | None, k: int
) -> Tensor:
    """Return a block (k, n) with the weight of each row at its label."""
    one_hot = torch.zeros((k, len(labels)), dtype=rows.dtype, device=rows.device)
    return one_hot.scatter_(0, labels[None], 1.0 if weight is None else weight[None])


@full_precision
def soft_statistics(
    responsibilities: Tensor,
    rows: Tensor,
    sample_weight: Tensor | None,
    objective: Tensor,
    *,
    accumulate: torch.dtype = torch.float64,
) -> ClusterStatistics:
    """Compute the statistics of one block of rows (n, d), dense or sparse CSR.

    For responsibilities (k, n), weights (n,) and the objective (n,) of each row, not
    yet weighted. `accumulate` is the dtype of the result, in which blocks are added.
    Sums within a block are formed in the dtype of the rows.

    O(k n d), one matrix product, or O(k nnz) for CSR.
    """
    if sample_weight is not None:
        responsibilities = responsibilities * sample_weight
        objective = objective * sample_weight
    return ClusterStatistics(
        responsibilities.sum(1).to(accumulate),  # (k,)
        weighted_sums(responsibilities, rows).to(accumulate),  # (k, d)
        objective.sum(dtype=accumulate),  # ()
    )
