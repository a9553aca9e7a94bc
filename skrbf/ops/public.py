r"""Public functions of `skrbf.ops`, in the layout that torch users expect.

Rows come first: distances, logits and responsibilities are ``(n, k)``. No argument is
overwritten. Unless its docstring says otherwise, a function is differentiable with
respect to every floating point tensor. Half precision is computed in float32 and the
results are rounded; autocast changes nothing.

The other modules of this package are the kernels of the engine. They work on blocks
``(k, n)``, partly in place, and may change without notice.
"""

from collections.abc import Callable, Iterator

import entmax
import torch
from torch import Tensor

from skrbf.ops import centering, distances, rbf_units, seeding, statistics
from skrbf.ops.assignment import check_assignment
from skrbf.ops.precision import full_precision


@full_precision
def squared_distances(rows: Tensor, centers: Tensor) -> Tensor:
    r"""Compute the squared Euclidean distances of all rows to all centers.

    :math:`d_{ik} = \|x_i - c_k\|^2` (:eq:`eq-distances`).

    Parameters
    ----------
    rows : Tensor of shape (n, d)
        Dense or sparse CSR. Sparse rows have no gradient.
    centers : Tensor of shape (k, d)
        Dense.

    Returns
    -------
    Tensor of shape (n, k)
        Never negative.

    Notes
    -----
    O(n k d), one matrix product. No tensor is larger than the rows or the result. The
    mean of the centers serves as the origin, so for data far from 0 the error is that
    of rounding the data.

    Examples
    --------
    >>> import torch
    >>> squared_distances(torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [4.0]]))
    tensor([[1., 9.],
            [4., 4.]])
    """
    origin = centers.detach().mean(0)  # (d,)
    return distances.squared_distances(centers, rows, origin).t()  # (n, k)


@full_precision
def softmax(logits: Tensor, dim: int = -1) -> Tensor:
    r"""Map logits to responsibilities by softmax (:eq:`eq-softmax`).

    Parameters
    ----------
    logits : Tensor
        Such as :math:`-d_{ik} / T`, of shape (n, k).
    dim : int, default=-1
        Axis that sums to 1.

    Returns
    -------
    Tensor of the shape of `logits`
        In [0, 1].

    See Also
    --------
    entmax15, sparsemax : Maps with exact zeros.

    Notes
    -----
    O(n k).

    Examples
    --------
    >>> import torch
    >>> softmax(torch.tensor([[0.0, -1.0]]))
    tensor([[0.7311, 0.2689]])
    """
    return torch.softmax(logits, dim)


@full_precision
def entmax15(logits: Tensor, dim: int = -1) -> Tensor:
    r"""Map logits to sparse responsibilities by 1.5-entmax (:eq:`eq-entmax`).

    Exactly one-hot where the largest logit leads by 2 or more (:eq:`eq-margin`).

    Parameters
    ----------
    logits : Tensor
        Such as :math:`-d_{ik} / T`, of shape (n, k).
    dim : int, default=-1
        Axis that sums to 1.

    Returns
    -------
    Tensor of the shape of `logits`
        In [0, 1]. Differentiable once.

    Notes
    -----
    O(n k log k), by sorting. Calls ``entmax.entmax15`` of the
    `entmax library <https://github.com/deep-spin/entmax>`__:
    Peters, Niculae, Martins (2019), "Sparse sequence-to-sequence models".

    Examples
    --------
    >>> import torch
    >>> entmax15(torch.tensor([[0.0, 0.0], [0.0, -2.0]]))
    tensor([[0.5000, 0.5000],
            [1.0000, 0.0000]])
    """
    result: Tensor = entmax.entmax15(logits, dim=dim)
    return result


@full_precision
def sparsemax(logits: Tensor, dim: int = -1) -> Tensor:
    r"""Map logits to the nearest point of the simplex (:eq:`eq-sparsemax`).

    Exactly one-hot where the largest logit leads by 1 or more (:eq:`eq-margin`).

    Parameters
    ----------
    logits : Tensor
        Such as :math:`-d_{ik} / T`, of shape (n, k).
    dim : int, default=-1
        Axis that sums to 1.

    Returns
    -------
    Tensor of the shape of `logits`
        In [0, 1]. Differentiable once.

    Notes
    -----
    O(n k log k), by sorting. Calls ``entmax.sparsemax`` of the
    `entmax library <https://github.com/deep-spin/entmax>`__:
    Martins, Astudillo (2016), "From softmax to sparsemax".

    Examples
    --------
    >>> import torch
    >>> sparsemax(torch.tensor([[0.0, -0.5], [0.0, -1.0]]))
    tensor([[0.7500, 0.2500],
            [1.0000, 0.0000]])
    """
    result: Tensor = entmax.sparsemax(logits, dim=dim)
    return result


_MAPS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": softmax,
    "entmax15": entmax15,
    "sparsemax": sparsemax,
}


@full_precision
def responsibilities(
    distances: Tensor, temperature: float, assignment: str = "softmax"
) -> Tensor:
    r"""Compute the responsibilities of centers for rows at a temperature.

    Applies the assignment map to :math:`-d_{ik} / T` over the centers
    (:eq:`eq-softmax`, :eq:`eq-entmax`, :eq:`eq-sparsemax`). At temperature 0 the result
    is the limit: one-hot at the nearest center, the first of several.

    Parameters
    ----------
    distances : Tensor of shape (n, k)
        Squared distances, such as from `squared_distances`.
    temperature : float
        `T`, not negative, in the unit of `distances`.
    assignment : {"softmax", "entmax15", "sparsemax"}, default="softmax"
        Assignment map.

    Returns
    -------
    Tensor of shape (n, k)
        The last axis sums to 1. Has no gradient at temperature 0.

    Raises
    ------
    ValueError
        If `assignment` is unknown, or `temperature` is negative or NaN.

    Examples
    --------
    >>> import torch
    >>> d = torch.tensor([[0.0, 1.0]])
    >>> for temperature in (0.0, 1.0, 2.0):
    ...     print(responsibilities(d, temperature, "sparsemax"))
    tensor([[1., 0.]])
    tensor([[1., 0.]])
    tensor([[0.7500, 0.2500]])
    """
    check_assignment(assignment)
    if not temperature >= 0:
        raise ValueError(f"temperature must not be negative, got {temperature!r}.")
    if temperature == 0:
        hard = torch.zeros_like(distances)
        return hard.scatter_(-1, distances.argmin(-1, keepdim=True), 1.0)
    # A constant of a row changes no map. Subtract one that makes the largest logit 0.
    nearest = distances.detach().amin(-1, keepdim=True)
    positive = max(
        temperature, torch.finfo(distances.dtype).tiny
    )  # even if T rounds to 0
    return _MAPS[assignment]((nearest - distances) / positive)


@full_precision
def gaussian_rbf(rows: Tensor, centers: Tensor, widths: float | Tensor = 1.0) -> Tensor:
    r"""Compute Gaussian activations of RBF units (:eq:`eq-gaussian`).

    :math:`\phi_{ik} = \exp(-\frac12 \sum_j (x_{ij} - c_{kj})^2 / \sigma_{kj}^2)`.

    Parameters
    ----------
    rows : Tensor of shape (n, d)
    centers : Tensor of shape (k, d)
    widths : float or Tensor of shape (), (k, 1) or (k, d), default=1.0
        :math:`\sigma`, positive, in the unit of the rows: one for all units, one for
        each unit, or one for each unit and feature.

    Returns
    -------
    Tensor of shape (n, k)
        In [0, 1]; denormal results are 0.

    Notes
    -----
    O(n k d). No tensor is larger than the rows or the result. Rows and centers are
    shifted by the mean of the centers, so data far from the origin lose no digits.

    Examples
    --------
    >>> import torch
    >>> gaussian_rbf(torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0]]), 2.0)
    tensor([[1.0000],
            [0.6065]])
    """
    width = torch.as_tensor(widths, dtype=centers.dtype, device=centers.device)
    log_widths = width.log().reshape(1, 1) if width.ndim == 0 else width.log()
    middle = centers.detach().mean(0)  # (d,)
    units = rbf_units.RBFParameters(
        centers - middle, log_widths, torch.zeros_like(middle)
    )
    return rbf_units.gaussian(
        rbf_units.log_activations(units, rows - middle)
    ).t()  # (n, k)


@full_precision
def cluster_sums(
    responsibilities: Tensor, rows: Tensor, sample_weight: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""Sum the responsibilities, and the rows weighted by them, of each cluster.

    :math:`\sum_i w_i r_{ik}` and :math:`\sum_i w_i r_{ik} x_i`. The sums of several
    batches add up to those of all their rows.

    Parameters
    ----------
    responsibilities : Tensor of shape (n, k)
        One-hot for K-means.
    rows : Tensor of shape (n, d)
        Dense or sparse CSR. Sparse rows have no gradient.
    sample_weight : Tensor of shape (n,), optional
        All 1 if not given.

    Returns
    -------
    weights : Tensor of shape (k,)
    totals : Tensor of shape (k, d)

    See Also
    --------
    cluster_means : Centers from these sums.

    Notes
    -----
    O(n k d), one matrix product.

    Examples
    --------
    >>> import torch
    >>> r, rows = torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([[2.0], [4.0]])
    >>> cluster_sums(r, rows)
    (tensor([1.5000, 0.5000]), tensor([[4.],
            [2.]]))
    """
    weighted = responsibilities
    if sample_weight is not None:
        weighted = weighted * sample_weight[:, None]  # (n, k)
    return weighted.sum(0), statistics.weighted_sums(weighted.t(), rows)


@full_precision
def cluster_means(weights: Tensor, totals: Tensor, fallback: Tensor) -> Tensor:
    r"""Compute weighted means from the sums of `cluster_sums` (:eq:`eq-fixed-point`).

    These are the next centers of soft K-means, or of K-means if the responsibilities
    are one-hot.

    Parameters
    ----------
    weights : Tensor of shape (k,)
    totals : Tensor of shape (k, d)
    fallback : Tensor of shape (k, d)
        Centers of clusters without weight, such as the previous centers.

    Returns
    -------
    Tensor of shape (k, d)
        In the dtype of `fallback`.

    Examples
    --------
    >>> import torch
    >>> weights, totals = torch.tensor([2.0, 0.0]), torch.tensor([[6.0], [0.0]])
    >>> cluster_means(weights, totals, torch.tensor([[1.0], [7.0]]))
    tensor([[3.],
            [7.]])
    """
    sums = statistics.ClusterStatistics(weights, totals, weights.new_zeros(()))
    return statistics.weighted_means(sums, fallback)


@full_precision
def kmeans_plusplus(
    rows: Tensor,
    n_clusters: int,
    generator: torch.Generator,
    sample_weight: Tensor | None = None,
) -> Tensor:
    """Choose rows as initial centers by greedy, weighted k-means++.

    Each next row is drawn with probability proportional to its weight times its squared
    distance to the rows chosen before. Of 2 + log(k) such draws the one that lowers the
    distortion most is kept, as in scikit-learn.

    Parameters
    ----------
    rows : Tensor of shape (n, d)
        Dense.
    n_clusters : int
    generator : torch.Generator
        On any device; the draws do not depend on the device of the rows.
    sample_weight : Tensor of shape (n,), optional
        Not negative and not all zero. All 1 if not given.

    Returns
    -------
    Tensor of shape (n_clusters,), int64
        Row numbers, never of a row of weight 0. If there are fewer distinct rows, the
        others are drawn by weight alone. Not differentiable.

    Notes
    -----
    O(n d k log k). Arthur, Vassilvitskii (2007), "k-means++: the advantages of careful
    seeding".

    Examples
    --------
    >>> import torch
    >>> rows = torch.tensor([[0.0], [0.0], [5.0], [5.0]])
    >>> chosen = kmeans_plusplus(rows, 2, torch.Generator().manual_seed(0))
    >>> rows[chosen].sort(0).values
    tensor([[0.],
            [5.]])
    """
    source = _SingleBlock(rows.detach())
    weight = None if sample_weight is None else sample_weight.detach()
    return seeding.kmeans_plusplus(
        source,
        weight,
        n_clusters,
        generator,
        source.rows.mean(0),
        statistics.widest_float(rows.device),
    )


class _SingleBlock:
    """A tensor as a `seeding.RowSource` of one block."""

    def __init__(self, rows: Tensor) -> None:
        self.rows, self.n_rows = rows, len(rows)

    def blocks(self, columns: int) -> Iterator[tuple[int, int, Tensor]]:
        yield 0, self.n_rows, self.rows

    def take(self, index: Tensor) -> Tensor:
        return self.rows[index]


@full_precision
def distance_loss(distances: Tensor, responsibilities: Tensor) -> Tensor:
    r"""Compute the soft distortion of each row (:eq:`eq-centering-distance`).

    :math:`\ell_i = \sum_k r_{ik} d_{ik}`: the loss of deep K-means, and with one-hot
    responsibilities that of the deep clustering network. Detach the responsibilities
    to get a gradient that only pulls a row to its soft centroid.

    Parameters
    ----------
    distances, responsibilities : Tensor of shape (n, k)

    Returns
    -------
    Tensor of shape (n,)

    Notes
    -----
    Moradi Fard, Thonet, Gaussier (2020), "Deep k-means"; Yang, Fu, Sidiropoulos, Hong
    (2017), "Towards K-means-friendly spaces".

    Examples
    --------
    >>> import torch
    >>> distance_loss(torch.tensor([[1.0, 4.0]]), torch.tensor([[0.5, 0.5]]))
    tensor([2.5000])
    """
    return (responsibilities * distances).sum(-1)  # (n,)


@full_precision
def centroid_loss(codes: Tensor, centers: Tensor, responsibilities: Tensor) -> Tensor:
    r"""Compute the squared distance of each row to its soft centroid.

    :math:`\ell_i = \| h_i - \sum_k r_{ik} c_k \|^2` (:eq:`eq-centering-centroid`).

    Parameters
    ----------
    codes : Tensor of shape (n, c)
    centers : Tensor of shape (k, c)
    responsibilities : Tensor of shape (n, k)

    Returns
    -------
    Tensor of shape (n,)

    Notes
    -----
    The other reading of the centering loss of Roy (2024), arXiv:2411.19496. It equals
    `distance_loss` minus the variance of the centers under the responsibilities.

    Examples
    --------
    >>> import torch
    >>> codes, centers = torch.tensor([[1.0]]), torch.tensor([[0.0], [3.0]])
    >>> centroid_loss(codes, centers, torch.tensor([[0.5, 0.5]]))
    tensor([0.2500])
    """
    return (codes - responsibilities @ centers).square().sum(-1)  # (n,)


@full_precision
def regularized_loss(
    codes: Tensor, distances: Tensor, responsibilities: Tensor
) -> Tensor:
    r"""Compute the soft distortion minus the squared norm of each row.

    :math:`\ell_i = \sum_k r_{ik} d_{ik} - \| h_i \|^2`
    (:eq:`eq-centering-regularized`). With detached responsibilities the loss is linear
    in the codes, so the codes must be bounded.

    Parameters
    ----------
    codes : Tensor of shape (n, c)
    distances, responsibilities : Tensor of shape (n, k)

    Returns
    -------
    Tensor of shape (n,)

    Notes
    -----
    Jabi, Pedersoli, Mitiche, Ben Ayed (2021), "Deep clustering: on the link between
    discriminative models and K-means".

    Examples
    --------
    >>> import torch
    >>> d, r = torch.tensor([[1.0, 4.0]]), torch.tensor([[0.5, 0.5]])
    >>> regularized_loss(torch.tensor([[1.0]]), d, r)
    tensor([1.5000])
    """
    return (responsibilities * distances).sum(-1) - codes.square().sum(-1)  # (n,)


@full_precision
def scale_penalty(
    codes: Tensor, variance: Tensor | float, sample_weight: Tensor | None = None
) -> Tensor:
    r"""Penalize a change of the total variance of codes (:eq:`eq-scale-drift`).

    :math:`(\sqrt{V / V_0} - 1)^2`, with :math:`V` the total variance. Added to a
    centering loss, it keeps an encoder from lowering the loss by shrinking its codes.

    Parameters
    ----------
    codes : Tensor of shape (n, c)
        At least one row.
    variance : float or Tensor of shape ()
        :math:`V_0`, positive, in squared units of the codes.
    sample_weight : Tensor of shape (n,), optional
        All 1 if not given.

    Returns
    -------
    Tensor of shape ()
        1, without a gradient, if all codes are equal.

    Examples
    --------
    >>> import torch
    >>> codes = torch.tensor([[2.0], [-2.0]])
    >>> scale_penalty(codes, 1.0), scale_penalty(codes, 4.0)
    (tensor(1.), tensor(0.))
    """
    weight = torch.ones_like(codes[:, 0]) if sample_weight is None else sample_weight
    return centering.scale_penalty(codes, weight, variance)
