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
    """Compute responsibilities (k, n) from squared distances (k, n) to codes.

    They are one-hot at temperature 0, with a gradient of 0 (:eq:`eq-softmax`).
    """
    if temperature > 0:
        return assignment.function(distances * (-1.0 / temperature))[0]
    hard = torch.zeros_like(distances)
    return hard.scatter_(0, distances.argmin(0, keepdim=True), 1.0)  # (k, n)


@full_precision
def distance_loss(
    codes: Tensor, centers: Tensor, distances: Tensor, responsibilities: Tensor
) -> Tensor:
    """Compute the soft distortion (n,) of the rows (:eq:`eq-centering-distance`)."""
    return (responsibilities * distances).sum(0)  # (n,)


@full_precision
def centroid_loss(
    codes: Tensor, centers: Tensor, distances: Tensor, responsibilities: Tensor
) -> Tensor:
    """Compute squared distances to soft centroids (:eq:`eq-centering-centroid`)."""
    return squared_norms(codes - responsibilities.t() @ centers)  # (n,)


@full_precision
def regularized_loss(
    codes: Tensor, centers: Tensor, distances: Tensor, responsibilities: Tensor
) -> Tensor:
    """Compute soft distortions less squared norms of codes, both (n,).

    For fixed responsibilities the loss is linear in the code and pushes it along its
    soft centroid (:eq:`eq-centering-regularized`).
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
    r"""Penalize a change of the scale of codes (n, c) with weights (n,).

    The penalty () is :math:`(\sqrt{V / V_0} - 1)^2` for the total variance :math:`V` of
    the codes and the positive `variance` :math:`V_0` (:eq:`eq-scale-drift`). It is 1,
    without a gradient, if all codes are equal.

    Centers follow the codes, so without the penalty the centering loss would let both
    shrink. Both would grow if the centers are the means of other rows than those that
    are pulled to them.
    """
    fraction = weight / weight.sum()  # (n,)
    ratio = fraction @ squared_norms(codes - fraction @ codes) / variance
    positive = ratio > 0
    scale = torch.where(positive, ratio, 1.0).sqrt()  # has a finite slope everywhere
    return torch.where(positive, scale - 1.0, -1.0).square()


@full_precision
def finite_sample_correction(weight: Tensor) -> Tensor:
    r"""Compute the expected fraction () of a variance that a sample has about its mean.

    The fraction is :math:`1 - \sum_i p_i^2` for rows drawn at random with fractions
    :math:`p_i` of the weight (n,). The rest is the variance of the mean of the sample.
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
    r"""Update centers (k, c) to the means of all codes that were assigned so far.

    The sequential update is :math:`c_k \leftarrow c_k + (h_i - c_k) / N_k`, with
    :math:`N_k` the number of rows of cluster k up to and including row i
    (:eq:`eq-running-means`). A batch takes one step, since a mean of means is the mean.
    A center without any weight does not move.

    `cluster_weights` (k,) are those of the codes that each center is the mean of, in
    float64 if the device has it. They are updated as well.

    Yang, Fu, Sidiropoulos, Hong (2017), "Towards K-means-friendly spaces", equation 8.
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
    """Compute the total variance of codes (n, c) and the largest along any direction.

    They are the trace and the leading eigenvalue of the weighted covariance. The total
    variance is the unit of the clustering loss. Twice the leading variance is the unit
    of the temperature (:eq:`eq-critical-temperature`). Both are NaN if a code is not
    finite. O(n c^2), preferably in float64.
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
