"""The one additive statistic: chunks, batches, processes and machines are all sums."""

from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.ops.precision import full_precision

# Products with so few columns are faster the other way round where the numbers of a row
# lie side by side, and several times slower where those of a cluster do.
_NARROW = 15

# Rows of so many numbers are added a vector at a time, fewer one by one.
_VECTOR = 16
_FEW = 1000


class ClusterStatistics(NamedTuple):
    r"""What one pass over some rows leaves behind.

    Attributes
    ----------
    weight : Tensor of shape (k,)
        :math:`\sum_i w_i r_{ik}`.
    total : Tensor of shape (k, d)
        :math:`\sum_i w_i r_{ik} x_i`.
    objective : Tensor of shape ()
        The rows' share of the objective.
    """

    weight: Tensor
    total: Tensor
    objective: Tensor


def add_statistics(
    left: ClusterStatistics, right: ClusterStatistics
) -> ClusterStatistics:
    """Statistics of the union of two disjoint sets of rows.

    Parameters
    ----------
    left, right : ClusterStatistics
        Of the same shapes.

    Returns
    -------
    ClusterStatistics

    Notes
    -----
    O(k d). Associative and commutative up to rounding.

    Examples
    --------
    >>> import torch
    >>> one = ClusterStatistics(torch.ones(1), torch.ones(1, 2), torch.tensor(3.0))
    >>> add_statistics(one, one).objective
    tensor(6.)
    """
    return ClusterStatistics(
        left.weight + right.weight,
        left.total + right.total,
        left.objective + right.objective,
    )


def weighted_means(statistics: ClusterStatistics, fallback: Tensor) -> Tensor:
    """Weighted means (:eq:`eq-fixed-point`): the next centers.

    Parameters
    ----------
    statistics : ClusterStatistics
    fallback : Tensor of shape (k, d)
        The centers to keep where a cluster has no weight; its dtype is the result's.

    Returns
    -------
    Tensor of shape (k, d)

    Notes
    -----
    O(k d).

    Examples
    --------
    >>> import torch
    >>> statistics = ClusterStatistics(
    ...     torch.tensor([2.0, 0.0]), torch.tensor([[6.0], [0.0]]), torch.tensor(0.0)
    ... )
    >>> weighted_means(statistics, torch.tensor([[1.0], [7.0]]))
    tensor([[3.],
            [7.]])
    """
    filled = statistics.weight > 0  # (k,)
    weight = torch.where(filled, statistics.weight, 1.0)  # (k,)
    means = (statistics.total / weight[:, None]).to(fallback.dtype)  # (k, d)
    return torch.where(filled[:, None], means, fallback)  # (k, d)


@full_precision
def weighted_sums(responsibilities: Tensor, rows: Tensor) -> Tensor:
    """Sum of the rows for every cluster, weighted by the responsibilities.

    Parameters
    ----------
    responsibilities : Tensor of shape (k, n)
    rows : Tensor of shape (n, d)
        Dense or sparse CSR.

    Returns
    -------
    Tensor of shape (k, d)

    Notes
    -----
    O(k n d), or O(k nnz) for CSR.

    Examples
    --------
    >>> import torch
    >>> weighted_sums(torch.tensor([[1.0, 0.5]]), torch.tensor([[2.0], [4.0]]))
    tensor([[4.]])
    """
    if rows.layout == torch.strided:
        if rows.shape[1] <= _NARROW and responsibilities.stride(0) == 1:
            return (rows.t() @ responsibilities.t()).t()  # (k, d)
        return responsibilities @ rows  # (k, d)
    return (rows.t() @ responsibilities.t()).t()  # (k, d)


@full_precision
def label_sums(
    rows: Tensor, labels: Tensor, weight: Tensor | None, k: int
) -> tuple[Tensor, Tensor]:
    """Sums of weights and of weighted rows by label: hard statistics.

    Parameters
    ----------
    rows : Tensor of shape (n, d)
        Dense or sparse CSR.
    labels : Tensor of shape (n,), int64
        Below `k`.
    weight : Tensor of shape (n,) or None
        None where all are one.
    k : int
        Number of labels.

    Returns
    -------
    weights : Tensor of shape (k,)
    totals : Tensor of shape (k, d)

    Notes
    -----
    O(n d) or O(nnz) on the CPU, row by row. Elsewhere that would add in no fixed order:
    a product with the one-hot labels does, in O(k n d) or O(k nnz).

    Examples
    --------
    >>> import torch
    >>> rows, labels = torch.tensor([[2.0], [4.0], [5.0]]), torch.tensor([0, 0, 1])
    >>> label_sums(rows, labels, None, 2)
    (tensor([2, 1]), tensor([[6.],
            [5.]]))
    """
    if rows.device.type == "cpu":
        return weight_sums(labels, weight, k), label_totals(rows, labels, weight, k)
    share = _one_hot(rows, labels, weight, k)  # (k, n)
    return share.sum(1), weighted_sums(share, rows)


@full_precision
def weight_sums(labels: Tensor, weight: Tensor | None, k: int) -> Tensor:
    """Sums of weights by label, added in one order on every device.

    Parameters
    ----------
    labels, weight, k
        As of `label_sums`. The weights may be of either sign.

    Returns
    -------
    Tensor of shape (k,)
        Counts, int64, without weights.

    Notes
    -----
    O(n + k), on the CPU: elsewhere torch adds in whatever order threads come by.

    Examples
    --------
    >>> import torch
    >>> weight_sums(torch.tensor([0, 2, 2]), torch.tensor([1.0, 0.5, 2.0]), 3)
    tensor([1.0000, 0.0000, 2.5000])
    """
    if weight is None:
        return torch.bincount(labels.cpu(), minlength=k).to(labels.device)
    sums = torch.bincount(labels.cpu(), weight.cpu(), k)
    return sums.to(labels.device, weight.dtype)  # counts where there are no rows


@full_precision
def deterministic_cumsum(
    values: Tensor, dim: int = 0, dtype: torch.dtype | None = None
) -> Tensor:
    """Cumulative sums, added in one order on every device: on the CPU.

    Parameters
    ----------
    values : Tensor
    dim : int, default=0
    dtype : torch.dtype, default=None
        Of the sums; None is that of the values.

    Returns
    -------
    Tensor of the shape of `values`

    Examples
    --------
    >>> import torch
    >>> deterministic_cumsum(torch.tensor([1.0, 2.0, 4.0]))
    tensor([1., 3., 7.])
    """
    return values.cpu().cumsum(dim, dtype=dtype).to(values.device)


def widest_float(device: torch.device) -> torch.dtype:
    """float64 wherever the device has it.

    Examples
    --------
    >>> import torch
    >>> widest_float(torch.device("cpu")), widest_float(torch.device("mps"))
    (torch.float64, torch.float32)
    """
    return torch.float32 if device.type == "mps" else torch.float64


@full_precision
def label_totals(rows: Tensor, labels: Tensor, weight: Tensor | None, k: int) -> Tensor:
    """Sums of weighted rows by label: `label_sums` without those of the weights.

    Parameters
    ----------
    rows, labels, weight, k
        As of `label_sums`. The weights may be of either sign.

    Returns
    -------
    Tensor of shape (k, d)

    Examples
    --------
    >>> import torch
    >>> rows, labels = torch.tensor([[2.0], [4.0], [5.0]]), torch.tensor([0, 0, 1])
    >>> label_totals(rows, labels, None, 2)
    tensor([[6.],
            [5.]])
    """
    if rows.device.type != "cpu":
        return one_hot_totals(rows, labels, weight, k)
    if rows.layout != torch.strided:
        return _stored_totals(rows, labels, weight, k)
    weighted = rows if weight is None else rows * weight[:, None]  # (n, d)
    d = rows.shape[1]
    padded = rows.shape[0] > _FEW and 3 < d < _VECTOR  # rows of a vector add faster
    if padded:
        weighted = torch.nn.functional.pad(weighted, (0, _VECTOR - d))
    totals = rows.new_zeros((k, weighted.shape[1])).index_add_(0, labels, weighted)
    return totals[:, :d] if padded else totals


@full_precision
def one_hot_totals(
    rows: Tensor, labels: Tensor, weight: Tensor | None, k: int
) -> Tensor:
    """`label_totals` as a product with one-hot labels.

    Parameters
    ----------
    rows, labels, weight, k
        As of `label_totals`.

    Returns
    -------
    Tensor of shape (k, d)

    Notes
    -----
    O(k n d), or O(k nnz) for CSR, and a block (k, n). For few labels and weighted rows
    of more than a few numbers it is faster than to add them one by one. Its factors are
    rounded where `torch.set_float32_matmul_precision` allows it.

    Examples
    --------
    >>> import torch
    >>> rows, labels = torch.tensor([[2.0], [4.0], [5.0]]), torch.tensor([0, 0, 1])
    >>> one_hot_totals(rows, labels, torch.tensor([1.0, 0.5, 1.0]), 2)
    tensor([[4.],
            [5.]])
    """
    return weighted_sums(_one_hot(rows, labels, weight, k), rows)


def _stored_totals(
    rows: Tensor, labels: Tensor, weight: Tensor | None, k: int
) -> Tensor:
    """`label_totals` of CSR rows, one stored entry after the other."""
    lengths, stored = rows.crow_indices().diff(), rows.values()
    own = torch.arange(len(labels), device=labels.device).repeat_interleave(
        lengths, output_size=stored.shape[0]
    )  # (nnz,) the row of each
    if weight is not None:
        stored = stored * weight.to(stored.dtype).index_select(0, own)
    place = (labels * rows.shape[1]).index_select(0, own) + rows.col_indices()
    totals = stored.new_zeros(k * rows.shape[1]).index_add_(0, place, stored)
    return totals.view(k, -1)


def _one_hot(rows: Tensor, labels: Tensor, weight: Tensor | None, k: int) -> Tensor:
    share = torch.zeros((k, len(labels)), dtype=rows.dtype, device=rows.device)
    return share.scatter_(0, labels[None], 1.0 if weight is None else weight[None])


@full_precision
def soft_statistics(
    responsibilities: Tensor,
    rows: Tensor,
    sample_weight: Tensor | None,
    objective: Tensor,
    *,
    accumulate: torch.dtype = torch.float64,
) -> ClusterStatistics:
    """Statistics of one chunk of rows.

    Parameters
    ----------
    responsibilities : Tensor of shape (k, n)
    rows : Tensor of shape (n, d)
        Dense or sparse CSR.
    sample_weight : Tensor of shape (n,) or None
    objective : Tensor of shape (n,)
        Each row's share of the objective, not yet weighted.
    accumulate : torch.dtype, default=torch.float64
        Dtype of the result: sums within a chunk are formed in the dtype of the rows,
        sums of chunks in this one.

    Returns
    -------
    ClusterStatistics

    Notes
    -----
    O(k n d): one matrix product, or O(k nnz) for CSR.

    Examples
    --------
    >>> import torch
    >>> halves = torch.full((2, 2), 0.5)
    >>> rows = torch.tensor([[2.0], [4.0]])
    >>> soft_statistics(halves, rows, None, torch.zeros(2)).total
    tensor([[3.],
            [3.]], dtype=torch.float64)
    """
    if sample_weight is not None:
        responsibilities = responsibilities * sample_weight
        objective = objective * sample_weight
    return ClusterStatistics(
        responsibilities.sum(1).to(accumulate),  # (k,)
        weighted_sums(responsibilities, rows).to(accumulate),  # (k, d)
        objective.sum(dtype=accumulate),  # ()
    )
