r"""Losses of deep clustering, updates of its centers, and statistics of codes.

Codes are a tensor ``(n, c)``, the output of an encoder. A loss has one value per row,
which the caller weights and averages.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from skrbf.ops.assignment import Assignment
from skrbf.ops.distances import squared_norms
from skrbf.ops.precision import full_precision
from skrbf.ops.statistics import weighted_sums

# A variance of codes counts as 0 if it is below the square of this number times the
# rounding of their mean. Not measured.
CODE_ROUNDING_FACTOR = 8.0

# Takes codes (n, c), centers (k, c), squared distances (k, n) and responsibilities
# (k, n). Returns a loss (n,), in squared units of the codes.
CenteringLoss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


@full_precision
def assign_codes(
    distances: Tensor, temperature: float, assignment: Assignment
) -> Tensor:
    """Compute the responsibilities of centers for codes (:eq:`eq-softmax`).

    They are one-hot at temperature 0.

    Parameters
    ----------
    distances : Tensor of shape (k, n)
        Squared distances between centers and codes.
    temperature : float
        Nonnegative.
    assignment : Assignment

    Returns
    -------
    Tensor of shape (k, n)
        Differentiable, except at temperature 0, where the gradient is 0.

    Examples
    --------
    >>> import torch
    >>> from skrbf.ops.assignment import ASSIGNMENTS
    >>> assign_codes(torch.tensor([[1.0], [2.0]]), 0.0, ASSIGNMENTS["softmax"])
    tensor([[1.],
            [0.]])
    """
    if temperature > 0:
        return assignment.function(distances * (-1.0 / temperature))[0]
    hard = torch.zeros_like(distances)
    return hard.scatter_(0, distances.argmin(0, keepdim=True), 1.0)  # (k, n)


@full_precision
def distance_loss(
    codes: Tensor, centers: Tensor, distances: Tensor, responsibilities: Tensor
) -> Tensor:
    r"""Compute weighted squared distances to all centers (:eq:`eq-centering-distance`).

    :math:`\ell_i = \sum_k r_{ik} d_{ik}` is the loss of deep K-means, and
    with hard responsibilities that of DCN.

    Parameters
    ----------
    codes : Tensor of shape (n, c)
    centers : Tensor of shape (k, c)
    distances, responsibilities : Tensor of shape (k, n)

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
    >>> codes, centers = torch.tensor([[1.0]]), torch.tensor([[0.0], [3.0]])
    >>> distances, half = torch.tensor([[1.0], [4.0]]), torch.full((2, 1), 0.5)
    >>> distance_loss(codes, centers, distances, half)
    tensor([2.5000])
    """
    return (responsibilities * distances).sum(0)  # (n,)


@full_precision
def centroid_loss(
    codes: Tensor, centers: Tensor, distances: Tensor, responsibilities: Tensor
) -> Tensor:
    r"""Compute squared distances to soft centroids (:eq:`eq-centering-centroid`).

    :math:`\ell_i = \| h_i - \sum_k r_{ik} c_k \|^2`, which is `distance_loss`
    minus the variance of the centers under the responsibilities.

    Parameters
    ----------
    codes : Tensor of shape (n, c)
    centers : Tensor of shape (k, c)
    distances, responsibilities : Tensor of shape (k, n)

    Returns
    -------
    Tensor of shape (n,)

    Notes
    -----
    The alternative reading of the centering loss of Roy (2024), arXiv:2411.19496.

    Examples
    --------
    >>> import torch
    >>> codes, centers = torch.tensor([[1.0]]), torch.tensor([[0.0], [3.0]])
    >>> distances, half = torch.tensor([[1.0], [4.0]]), torch.full((2, 1), 0.5)
    >>> centroid_loss(codes, centers, distances, half)
    tensor([0.2500])
    """
    return squared_norms(codes - responsibilities.t() @ centers)  # (n,)


@full_precision
def regularized_loss(
    codes: Tensor, centers: Tensor, distances: Tensor, responsibilities: Tensor
) -> Tensor:
    r"""Subtract the norm of the code from the loss (:eq:`eq-centering-regularized`).

    :math:`\ell_i = \sum_k r_{ik} d_{ik} - \| h_i \|^2`. For fixed responsibilities the
    loss is linear in the code and pushes it along its soft centroid, so codes must be
    bounded.

    Parameters
    ----------
    codes : Tensor of shape (n, c)
    centers : Tensor of shape (k, c)
    distances, responsibilities : Tensor of shape (k, n)

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
    >>> codes, centers = torch.tensor([[1.0]]), torch.tensor([[0.0], [3.0]])
    >>> distances, half = torch.tensor([[1.0], [4.0]]), torch.full((2, 1), 0.5)
    >>> regularized_loss(codes, centers, distances, half)
    tensor([1.5000])
    """
    return (responsibilities * distances).sum(0) - squared_norms(codes)  # (n,)


CENTERING_LOSSES: dict[str, CenteringLoss] = {
    "distance": distance_loss,
    "centroid": centroid_loss,
    "regularized": regularized_loss,
}

BOUNDED_CODE_LOSSES = frozenset({"regularized"})
"""Losses that need bounded codes. The others are minimized with `scale_penalty`."""


@full_precision
def scale_penalty(codes: Tensor, weight: Tensor, variance: Tensor | float) -> Tensor:
    r"""Penalize a change of the scale of codes (:eq:`eq-scale-drift`).

    .. math:: \Bigl( \sqrt{V / V_0} - 1 \Bigr)^2

    for their total variance :math:`V`. Centers follow the codes, so without the penalty
    the centering loss would let both shrink. Both would grow if the centers are the
    means of other rows than those that are pulled to them.

    Parameters
    ----------
    codes : Tensor of shape (n, c)
    weight : Tensor of shape (n,)
    variance : float or Tensor of shape ()
        :math:`V_0`, positive.

    Returns
    -------
    Tensor of shape ()
        1, without a gradient, if all codes are equal.

    Examples
    --------
    >>> import torch
    >>> codes, weight = torch.tensor([[2.0], [-2.0]]), torch.ones(2)
    >>> scale_penalty(codes, weight, 1.0), scale_penalty(codes, weight, 4.0)
    (tensor(1.), tensor(0.))
    """
    fraction = weight / weight.sum()  # (n,)
    ratio = fraction @ squared_norms(codes - fraction @ codes) / variance
    positive = ratio > 0
    scale = torch.where(positive, ratio, 1.0).sqrt()  # has a finite slope everywhere
    return torch.where(positive, scale - 1.0, -1.0).square()


@full_precision
def finite_sample_correction(weight: Tensor) -> Tensor:
    r"""Compute the expected fraction of a variance that a sample has about its mean.

    The fraction is :math:`1 - \sum_i p_i^2` for rows drawn at random with fractions
    :math:`p_i` of the weight. The rest is the variance of the mean of the sample.

    Parameters
    ----------
    weight : Tensor of shape (n,)

    Returns
    -------
    Tensor of shape ()

    Examples
    --------
    >>> import torch
    >>> finite_sample_correction(torch.ones(4))
    tensor(0.7500)
    """
    fraction = weight / weight.sum()  # (n,)
    return (fraction * (1.0 - fraction)).sum()


@full_precision
def running_means(
    centers: Tensor,
    cluster_weights: Tensor,
    codes: Tensor,
    responsibilities: Tensor,
    weight: Tensor,
) -> tuple[Tensor, Tensor]:
    r"""Update centers to the means of all codes that were assigned so far.

    The sequential update is :math:`c_k \leftarrow c_k + (h_i - c_k) / N_k`, with
    :math:`N_k` the number of rows of cluster k up to and including row i
    (:eq:`eq-running-means`). A batch takes one step, since a mean of means is the mean.

    Parameters
    ----------
    centers : Tensor of shape (k, c)
    cluster_weights : Tensor of shape (k,)
        Weight of the codes that each center is the mean of, in float64 if the device
        has it.
    codes : Tensor of shape (n, c)
    responsibilities : Tensor of shape (k, n)
    weight : Tensor of shape (n,)

    Returns
    -------
    centers : Tensor of shape (k, c)
        A center without any weight does not move.
    cluster_weights : Tensor of shape (k,)

    Notes
    -----
    Yang, Fu, Sidiropoulos, Hong (2017), "Towards K-means-friendly spaces", equation 8.

    Examples
    --------
    >>> import torch
    >>> centers, weights = torch.tensor([[0.0]]), torch.tensor([3.0])
    >>> running_means(centers, weights, torch.tensor([[4.0]]), torch.ones(1, 1),
    ...               torch.ones(1))
    (tensor([[1.]]), tensor([4.]))
    """
    assigned = responsibilities * weight  # (k, n)
    added = assigned.sum(1)  # (k,)
    total = cluster_weights + added.to(cluster_weights)  # (k,)
    gain = weighted_sums(assigned, codes) - added[:, None] * centers  # (k, c)
    tiny = torch.finfo(total.dtype).tiny
    step = gain.to(cluster_weights) / total.clamp_min(tiny)[:, None]
    return (centers.to(cluster_weights) + step).to(centers), total


@full_precision
def total_and_leading_variance(codes: Tensor, weight: Tensor) -> tuple[float, float]:
    r"""Compute the total variance of codes and the largest along any direction.

    They are the trace and the leading eigenvalue of the weighted covariance. The total
    variance is the unit of the clustering loss. Twice the leading variance is the unit
    of the temperature (:eq:`eq-critical-temperature`).

    Parameters
    ----------
    codes : Tensor of shape (n, c)
        Preferably in float64.
    weight : Tensor of shape (n,)

    Returns
    -------
    total : float
    leading : float

    Notes
    -----
    The cost is O(n c^2). Both variances are NaN if a code is not finite.

    Examples
    --------
    >>> import torch
    >>> codes = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    >>> total_and_leading_variance(codes, torch.ones(2))
    (1.0, 1.0)
    """
    weight = weight.to(codes)
    fraction = weight / weight.sum()  # (n,)
    mean = fraction @ codes  # (c,)
    centered = codes - mean  # (n, c)
    covariance = (centered * fraction[:, None]).t() @ centered  # (c, c)
    total = float(covariance.trace())
    if not torch.isfinite(covariance).all():
        return float("nan"), float("nan")
    rounding = CODE_ROUNDING_FACTOR * torch.finfo(codes.dtype).eps
    if total <= rounding**2 * float(mean @ mean):
        return 0.0, 0.0
    # Solvers in single precision fail on covariances of low rank.
    values = torch.linalg.eigvalsh(covariance.cpu().double())  # (c,)
    return total, max(float(values[-1]), 0.0)


@full_precision
def shrink_and_perturb(parameter: Tensor, fresh: Tensor, fraction: float) -> Tensor:
    r"""Interpolate between a parameter and a fresh draw: :math:`(1 - a) w + a w_0`.

    Parameters
    ----------
    parameter, fresh : Tensor of the same shape
    fraction : float
        The fraction :math:`a` of the fresh draw.

    Returns
    -------
    Tensor

    Notes
    -----
    The weight reset of Miklautz and others (2025), "Breaking the reclustering barrier
    in centroid-based deep clustering" (:eq:`eq-weight-reset`).

    Examples
    --------
    >>> import torch
    >>> shrink_and_perturb(torch.tensor([1.0]), torch.tensor([0.0]), 0.2)
    tensor([0.8000])
    """
    return torch.lerp(parameter, fresh, fraction)
