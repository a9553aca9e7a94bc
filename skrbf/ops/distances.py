"""Squared distances between centers and rows, as one matrix product.

Blocks are ``(k, n)``: clusters lead, rows trail. A reduction over the clusters then
runs over the leading axis, which torch vectorizes well also for small ``k``.
"""

import torch
from torch import Tensor

from skrbf.ops.precision import full_precision

# For no more vectors all products with them are faster than to copy, for each row, the
# one that is its own. The products of a block of rows then take as many columns.
ALL_PRODUCTS_MAX_VECTORS = 20

# Up to this many numbers a minimum with indices is fast enough.
_FEW = 1 << 14

# From this many centers on, products with long rows of results are as fast, and their
# minimum is faster.
_MANY = 200


@full_precision
def inner_products(centers: Tensor, rows: Tensor) -> Tensor:
    """Inner products of every center with every row.

    Parameters
    ----------
    centers : Tensor of shape (k, d)
        Dense.
    rows : Tensor of shape (n, d)
        Dense or sparse CSR.

    Returns
    -------
    Tensor of shape (k, n)
        Contiguous for dense rows. For CSR rows it is the transposed view of a
        contiguous ``(n, k)`` tensor: that is the order in which the product is formed,
        and the order in which `weighted_sums` wants it back.

    Notes
    -----
    O(k n d), or O(k nnz) for CSR.

    Examples
    --------
    >>> import torch
    >>> inner_products(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]))
    tensor([[11.]])
    """
    if rows.layout == torch.strided:
        return centers @ rows.t()  # (k, n)
    return (rows @ centers.t()).t()  # (k, n)


@full_precision
def paired_products(vectors: Tensor, rows: Tensor, labels: Tensor) -> Tensor:
    """Inner product of each row with the one vector that its label names.

    Parameters
    ----------
    vectors : Tensor of shape (k, d)
        Dense.
    rows : Tensor of shape (n, d)
        Dense or sparse CSR.
    labels : Tensor of shape (n,), int64

    Returns
    -------
    Tensor of shape (n,)

    Notes
    -----
    O(n d), or O(k n d) for up to 20 vectors; O(k nnz) for CSR.

    Examples
    --------
    >>> import torch
    >>> vectors, rows = torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [4.0]])
    >>> paired_products(vectors, rows, torch.tensor([1, 1]))
    tensor([6., 8.])
    """
    if rows.layout == torch.strided and vectors.shape[0] > ALL_PRODUCTS_MAX_VECTORS:
        return torch.linalg.vecdot(rows, vectors.index_select(0, labels))  # (n,)
    return inner_products(vectors, rows).gather(0, labels[None])[0]  # (n,)


@full_precision
def squared_norms(rows: Tensor) -> Tensor:
    """Squared Euclidean norm of every row.

    Parameters
    ----------
    rows : Tensor of shape (n, d)
        Dense or sparse CSR.

    Returns
    -------
    Tensor of shape (n,)

    Notes
    -----
    O(n d), or O(nnz) for CSR.

    Examples
    --------
    >>> import torch
    >>> squared_norms(torch.tensor([[3.0, 4.0]]))
    tensor([25.])
    """
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
    r"""Squared distances, up to a constant of each row, without centering the rows.

    Computes :math:`\|x_i - c_k\|^2 - \|x_i - o\|^2` (:eq:`eq-distances`) as
    :math:`\|c'_k\|^2 + 2\,o \cdot c'_k - 2\,x_i \cdot c'_k` with
    :math:`c'_k = c_k - o`. The constant of a row changes neither its nearest center nor
    its responsibilities.

    Parameters
    ----------
    centers : Tensor of shape (k, d)
    rows : Tensor of shape (n, d)
        Dense or sparse CSR, of the dtype and on the device of `centers`.
    offset : Tensor of shape (d,), optional
        A point in the middle of the data, usually its mean. Zero if not given.
    scale : float, default=1.0
        Factor on the result; ``-1 / T`` gives the logits at temperature ``T`` at no
        cost.

    Returns
    -------
    Tensor of shape (k, n)
        May be negative. Contiguous for dense rows if there are fewer than 200 centers,
        else the transposed view of a contiguous ``(n, k)`` tensor.

    Notes
    -----
    O(k n d): one matrix product. From 200 centers on, if these are more than the
    features, dense rows on the CPU are copied for it, with a column of ones.

    The usual form :math:`\|c\|^2 - 2\,x \cdot c` loses all digits when the data lie far
    from the origin: both terms grow with :math:`\|o\|^2`. Centring the rows would mend
    it, but makes sparse rows dense. Here only the centers are shifted: the terms that
    cancel are of size :math:`\|o\| \|c'\|`, so the error is that which rounding the
    data themselves to the dtype has caused already.

    Examples
    --------
    >>> import torch
    >>> centers, rows = torch.tensor([[0.0], [3.0]]), torch.tensor([[1.0], [2.0]])
    >>> relative_distances(centers, rows)
    tensor([[ 0.,  0.],
            [ 3., -3.]])
    """
    cpu, dense = rows.device.type == "cpu", rows.layout == torch.strided
    if dense and cpu and max(_MANY, rows.shape[1] + 1) <= centers.shape[0]:
        # As one more feature the bias costs a copy of the rows, and no pass over the
        # distances. On a GPU it might be rounded, as factors of products can be.
        longer = augmented_centers(centers, offset, scale)  # (k, d + 1)
        return (append_bias_column(rows) @ longer.t()).t()  # (k, n)
    shifted, bias = _shifted(centers, offset)  # (k, d), (k,)
    if dense and centers.shape[0] < _MANY:
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
    """What rows and a one behind them are multiplied with for `relative_distances`.

    The bias of :eq:`eq-distances` is one more feature: a pass over the distances less.

    Parameters
    ----------
    centers, offset, scale
        As of `relative_distances`.

    Returns
    -------
    Tensor of shape (k, d + 1)

    Notes
    -----
    O(k d).

    Examples
    --------
    >>> import torch
    >>> centers, rows = torch.tensor([[0.0], [3.0]]), torch.tensor([[1.0], [2.0]])
    >>> augmented_centers(centers) @ append_bias_column(rows).t()
    tensor([[ 0.,  0.],
            [ 3., -3.]])
    """
    shifted, bias = _shifted(centers, offset)  # (k, d), (k,)
    return torch.cat([shifted * (-2.0 * scale), (scale * bias)[:, None]], 1)


def append_bias_column(rows: Tensor) -> Tensor:
    """Dense rows, with a one behind each: the factor of a bias, or what counts it.

    Parameters
    ----------
    rows : Tensor of shape (n, d)

    Returns
    -------
    Tensor of shape (n, d + 1)

    Notes
    -----
    O(n d): a copy.

    Examples
    --------
    >>> import torch
    >>> append_bias_column(torch.tensor([[3.0]]))
    tensor([[3., 1.]])
    """
    return torch.nn.functional.pad(rows, (0, 1), value=1.0)


def _shifted(centers: Tensor, offset: Tensor | None) -> tuple[Tensor, Tensor]:
    """Centers (k, d) about the offset, and the biases (k,) of the distances to them."""
    if offset is None:
        return centers, squared_norms(centers)
    shifted = centers - offset
    return shifted, torch.linalg.vecdot(shifted, centers + offset)


@full_precision
def min_and_argmin(distances: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest entry of each column, and the first place where it stands.

    Parameters
    ----------
    distances : Tensor of shape (k, n)
        Finite. Written over.

    Returns
    -------
    value : Tensor of shape (n,)
    place : Tensor of shape (n,), int64

    Notes
    -----
    O(k n). A minimum with indices over the leading axis reads one number at a time. For
    more than a few thousand numbers, the minimum alone and then a product of the
    numbers of the rows with the places where it is met is several times faster. Where
    two places meet it, the first is looked for.

    Examples
    --------
    >>> import torch
    >>> min_and_argmin(torch.tensor([[3.0, 1.0], [2.0, 1.0]]))
    (tensor([2., 1.]), tensor([1, 0]))
    """
    if distances.numel() <= _FEW:
        value, place = distances.min(0)
        return value, place
    value = distances.amin(0)  # (n,)
    met = torch.eq(distances, value, out=distances)  # (k, n), zeros and ones
    place, single = argmax_from_mask(met)
    if not single:
        twice = (met.sum(0) > 1.0).nonzero()[:, 0]
        place[twice] = met[:, twice].argmax(0)
    return value, place


@full_precision
def argmax_from_mask(met: Tensor) -> tuple[Tensor, bool]:
    """Where the one stands in each column of zeros and ones.

    Parameters
    ----------
    met : Tensor of shape (k, n)
        At least one 1 in each column.

    Returns
    -------
    place : Tensor of shape (n,), int64
        Of no meaning for a column with several ones.
    single : bool
        Whether there is no such column.

    Notes
    -----
    O(k n), one product with the numbers k to 2 k - 1: two of them together are more
    than that.

    Examples
    --------
    >>> import torch
    >>> argmax_from_mask(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    (tensor([0, 1]), True)
    """
    k = met.shape[0]
    numbers = torch.arange(k, 2 * k, dtype=met.dtype, device=met.device)
    sums = numbers @ met  # (n,)
    single = met.shape[1] == 0 or float(sums.amax()) < 2 * k
    return sums.sub_(k).long(), single


@full_precision
def squared_distances(
    centers: Tensor, rows: Tensor, offset: Tensor | None = None
) -> Tensor:
    r"""Squared Euclidean distances (:eq:`eq-distances`), never negative.

    Parameters
    ----------
    centers : Tensor of shape (k, d)
    rows : Tensor of shape (n, d)
        Dense or sparse CSR.
    offset : Tensor of shape (d,), optional
        As in `relative_distances`.

    Returns
    -------
    Tensor of shape (k, n)

    Notes
    -----
    O(k n d). With an offset, one temporary of the size of the dense block.

    Examples
    --------
    >>> import torch
    >>> squared_distances(torch.tensor([[0.0], [3.0]]), torch.tensor([[1.0], [2.0]]))
    tensor([[1., 4.],
            [4., 1.]])
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
    r"""Squared distance of each row to the one center that its label names.

    Parameters
    ----------
    centers : Tensor of shape (k, d)
    rows : Tensor of shape (n, d)
        Dense or sparse CSR.
    labels : Tensor of shape (n,), integer
    accumulate : torch.dtype, default=torch.float64
        Dtype of the sums, and of the result.

    Returns
    -------
    Tensor of shape (n,)
        Never negative.

    Notes
    -----
    O(n d), or O(nnz + n + k d) for CSR. Dense rows use the differences themselves,
    which is exact where the expanded form cancels; CSR rows use the expanded form, with
    every sum in `accumulate`.

    Examples
    --------
    >>> import torch
    >>> centers, rows = torch.tensor([[0.0], [3.0]]), torch.tensor([[1.0], [5.0]])
    >>> paired_squared_distances(centers, rows, torch.tensor([0, 1]))
    tensor([1., 4.], dtype=torch.float64)
    """
    if rows.layout == torch.strided:
        difference = rows - centers.index_select(0, labels)  # (n, d)
        return torch.linalg.vecdot(difference, difference).to(accumulate)  # (n,)
    lengths = rows.crow_indices().diff()  # (n,)
    own = labels.repeat_interleave(lengths, output_size=rows.values().shape[0])
    value = rows.values().to(accumulate)  # (nnz,)
    center = centers[own, rows.col_indices()].to(accumulate)  # (nnz,)
    # Over the stored entries (x - c)^2 - c^2 = x (x - 2 c); the rest of the row is c^2.
    stored = torch.segment_reduce(
        value * (value - 2.0 * center), "sum", lengths=lengths, unsafe=True
    )  # (n,)
    return (stored + squared_norms(centers.to(accumulate))[labels]).clamp_min(0.0)
