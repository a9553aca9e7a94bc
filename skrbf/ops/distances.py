"""Squared distances between centers and rows, as one matrix product.

Blocks are ``(k, n)``: clusters on the first axis, rows on the second. A reduction over
the clusters then runs over the leading axis, which torch vectorizes well even for small
``k``. Centers are dense; rows are dense or sparse CSR, of the dtype and on the device
of the centers.
"""

import torch
from torch import Tensor

from skrbf.ops.precision import full_precision

# Number of vectors up to which the products of a row with all of them are faster than
# to copy, for each row, the one vector of its label. A block of rows then needs as many
# columns of scratch. Not on a results page.
ALL_PRODUCTS_MAX_VECTORS = 20

# Number of distances up to which torch's minimum with indices is fast enough. Not on a
# results page.
_MIN_WITH_INDICES_MAX_NUMEL = 1 << 14

# Number of centers from which a product stored rows first is as fast, and its minimum
# over the clusters faster. Not on a results page.
_ROWS_FIRST_MIN_CENTERS = 200


@full_precision
def inner_products(centers: Tensor, rows: Tensor) -> Tensor:
    """Compute the inner products (k, n) of centers (k, d) and rows (n, d).

    O(k n d), or O(k nnz) for CSR. Contiguous for dense rows. For CSR rows the result is
    the transposed view of a contiguous ``(n, k)`` tensor, which is the order that the
    product is formed in and that `weighted_sums` reads.
    """
    if rows.layout == torch.strided:
        return centers @ rows.t()  # (k, n)
    return (rows @ centers.t()).t()  # (k, n)


@full_precision
def paired_products(vectors: Tensor, rows: Tensor, labels: Tensor) -> Tensor:
    """Compute the inner product (n,) of each row with the vector that its label names.

    For vectors (k, d), rows (n, d) and int64 labels (n,). O(n d), or O(k n d) for up to
    `ALL_PRODUCTS_MAX_VECTORS` vectors; O(k nnz) for CSR.
    """
    if rows.layout == torch.strided and vectors.shape[0] > ALL_PRODUCTS_MAX_VECTORS:
        return torch.linalg.vecdot(rows, vectors.index_select(0, labels))  # (n,)
    return inner_products(vectors, rows).gather(0, labels[None])[0]  # (n,)


@full_precision
def squared_norms(rows: Tensor) -> Tensor:
    """Compute the squared Euclidean norms (n,) of rows (n, d): O(n d), or O(nnz)."""
    if rows.layout == torch.strided:
        return torch.linalg.vecdot(rows, rows)  # (n,)
    stored = rows.values().square()  # (nnz,)
    lengths = rows.crow_indices().diff()  # (n,)
    return torch.segment_reduce(stored, "sum", lengths=lengths, unsafe=True)  # (n,)


@full_precision
def relative_distances(
    centers: Tensor,
    rows: Tensor,
    offset: Tensor | None = None,
    scale: float = 1.0,
) -> Tensor:
    r"""Compute squared distances (k, n) up to a constant of each row.

    For centers (k, d) and rows (n, d), :math:`\|x_i - c_k\|^2 - \|x_i - o\|^2`
    (:eq:`eq-distances`) as :math:`\|c'_k\|^2 + 2\,o \cdot c'_k - 2\,x_i \cdot c'_k`
    with :math:`c'_k = c_k - o`. The constant changes neither the nearest center of a
    row nor its responsibilities. Results may be negative.

    Parameters
    ----------
    offset : Tensor of shape (d,), optional
        :math:`o`, a point in the middle of the data, usually the mean. Zero if not
        given.
    scale : float, default=1.0
        Factor on the result, at no cost: ``-1 / T`` gives the logits at temperature T.

    Notes
    -----
    O(k n d), one matrix product. For fewer than `_ROWS_FIRST_MIN_CENTERS` centers and
    dense rows the result is contiguous, else the transposed view of a contiguous
    ``(n, k)`` tensor.

    The usual form :math:`\|c\|^2 - 2\,x \cdot c` loses all digits when the data lie far
    from the origin: both terms grow with :math:`\|o\|^2`. Centering the rows would help
    but make sparse rows dense. Here only the centers are shifted. The terms that cancel
    are of size :math:`\|o\| \|c'\|`, so the error is no larger than that of rounding
    the data to the dtype.
    """
    cpu, dense = rows.device.type == "cpu", rows.layout == torch.strided
    if (
        dense
        and cpu
        and max(_ROWS_FIRST_MIN_CENTERS, rows.shape[1] + 1) <= centers.shape[0]
    ):
        # The bias as one more feature costs a copy of the rows, but saves a pass over
        # the distances. On a GPU reduced-precision products might round the bias.
        augmented = augmented_centers(centers, offset, scale)  # (k, d + 1)
        return (append_bias_column(rows) @ augmented.t()).t()  # (k, n)
    shifted, bias = _shifted(centers, offset)  # (k, d), (k,)
    if dense and centers.shape[0] < _ROWS_FIRST_MIN_CENTERS:
        return torch.addmm(
            bias[:, None], shifted, rows.t(), beta=scale, alpha=-2.0 * scale
        )  # (k, n)
    return torch.addmm(
        bias, rows, shifted.t(), beta=scale, alpha=-2.0 * scale
    ).t()  # (k, n)


@full_precision
def augmented_centers(
    centers: Tensor, offset: Tensor | None = None, scale: float = 1.0
) -> Tensor:
    """Append the bias of the distances to scaled centers as one more feature.

    The product of the result (k, d + 1) with the rows of `append_bias_column` is
    `relative_distances` of the same arguments, without a second pass over the
    distances to add the bias.
    """
    shifted, bias = _shifted(centers, offset)  # (k, d), (k,)
    return torch.cat([shifted * (-2.0 * scale), (scale * bias)[:, None]], 1)


def append_bias_column(rows: Tensor) -> Tensor:
    """Append a column of ones to dense rows (n, d): a copy of shape (n, d + 1)."""
    return torch.nn.functional.pad(rows, (0, 1), value=1.0)


def _shifted(centers: Tensor, offset: Tensor | None) -> tuple[Tensor, Tensor]:
    """Shift centers (k, d) by the offset; return them and the biases (k,)."""
    if offset is None:
        return centers, squared_norms(centers)
    shifted = centers - offset
    return shifted, torch.linalg.vecdot(shifted, centers + offset)


@full_precision
def min_and_argmin(distances: Tensor) -> tuple[Tensor, Tensor]:
    """Return the smallest entry (n,) of each column, and its first index (n,), int64.

    `distances` of shape (k, n) must be finite, and is overwritten.

    O(k n). A minimum with indices over the leading axis reads one number at a time. For
    many numbers it is several times faster to take the minimum alone and to find the
    indices by `argmax_from_mask`.
    """
    if distances.numel() <= _MIN_WITH_INDICES_MAX_NUMEL:
        value, index = distances.min(0)
        return value, index
    value = distances.amin(0)  # (n,)
    mask = torch.eq(distances, value, out=distances)  # (k, n), zeros and ones
    index, is_unique = argmax_from_mask(mask)
    if not is_unique:
        tied = (mask.sum(0) > 1.0).nonzero()[:, 0]
        index[tied] = mask[:, tied].argmax(0)
    return value, index


@full_precision
def argmax_from_mask(mask: Tensor) -> tuple[Tensor, bool]:
    """Return the index (n,), int64, of the one in each column of zeros and ones (k, n).

    Each column has at least one 1. The second result is False if a column has several,
    and then the index of that column means nothing.

    O(k n): one product with the numbers k to 2 k - 1, any two of which exceed 2 k - 1
    together.
    """
    k = mask.shape[0]
    numbers = torch.arange(k, 2 * k, dtype=mask.dtype, device=mask.device)
    sums = numbers @ mask  # (n,)
    is_unique = mask.shape[1] == 0 or float(sums.amax()) < 2 * k
    return sums.sub_(k).long(), is_unique


@full_precision
def squared_distances(
    centers: Tensor, rows: Tensor, offset: Tensor | None = None
) -> Tensor:
    r"""Compute squared distances (k, n) (:eq:`eq-distances`), never negative.

    Arguments are those of `relative_distances`. O(k n d); with an offset, one temporary
    of the size of the dense block.
    """
    if offset is None:
        constant = squared_norms(rows)  # (n,)
    elif rows.layout == torch.strided:
        constant = squared_norms(rows - offset)  # (n,)
    else:
        cross = inner_products(offset[None, :], rows)[0]  # (n,)
        constant = squared_norms(rows) - 2.0 * cross + offset.dot(offset)
    return (relative_distances(centers, rows, offset) + constant).clamp_min(0.0)


@full_precision
def paired_squared_distances(
    centers: Tensor,
    rows: Tensor,
    labels: Tensor,
    accumulate: torch.dtype = torch.float64,
) -> Tensor:
    r"""Compute the squared distance (n,) of each row to the center of its label.

    For centers (k, d), rows (n, d) and integer labels (n,). The result is never
    negative; sums are formed in its dtype, `accumulate`.

    O(n d), or O(nnz + n + k d) for CSR. Dense rows are subtracted from their centers,
    which is exact where the expanded form cancels. CSR rows use the expanded form.
    """
    if rows.layout == torch.strided:
        difference = rows - centers.index_select(0, labels)  # (n, d)
        return torch.linalg.vecdot(difference, difference).to(accumulate)  # (n,)
    lengths = rows.crow_indices().diff()  # (n,)
    label = labels.repeat_interleave(lengths, output_size=rows.values().shape[0])
    value = rows.values().to(accumulate)  # (nnz,)
    center = centers[label, rows.col_indices()].to(accumulate)  # (nnz,)
    # A stored entry adds (x - c)^2 - c^2 = x (x - 2 c) to the squared norm of c.
    stored = torch.segment_reduce(
        value * (value - 2.0 * center), "sum", lengths=lengths, unsafe=True
    )  # (n,)
    return (stored + squared_norms(centers.to(accumulate))[labels]).clamp_min(0.0)
