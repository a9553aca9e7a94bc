r"""Losses on codes and what moves their centers: the rules of deep clustering.

Codes are what an encoder makes of rows; here they are a tensor ``(n, c)`` like any
other. Losses are one number for each row, to be weighted and averaged by the caller.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.ops.assignment import Assignment
from skrbf.ops.distances import squared_norms
from skrbf.ops.precision import full_precision
from skrbf.ops.statistics import weighted_sums


class CenteringLoss(NamedTuple):
    """A loss on codes, and whether their scale is held beside it.

    Attributes
    ----------
    function : callable
        ``function(codes, centers, distances, responsibilities)``, of shapes (n, c),
        (k, c), (k, n) and (k, n): a loss (n,), in squared units of the codes.
    holds_scale : bool
        Whether `scale_penalty` is added to it.
    """

    function: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    holds_scale: bool


@full_precision
def assign_codes(
    distances: Tensor, temperature: float, assignment: Assignment
) -> Tensor:
    """Responsibilities of centers for codes, one-hot at temperature 0.

    By the map at that temperature (:eq:`eq-softmax`).

    Parameters
    ----------
    distances : Tensor of shape (k, n)
        Squared distances of the codes to the centers.
    temperature : float
        Not negative.
    assignment : Assignment

    Returns
    -------
    Tensor of shape (k, n)
        Differentiable, but at temperature 0, where they do not change.

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
    r"""Weighted squared distances to all centers (:eq:`eq-centering-distance`).

    :math:`\ell_i = \sum_k r_{ik} d_{ik}`: the loss of deep K-means, with hard
    responsibilities that of DCN.

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
    r"""Squared distance to the soft centroid (:eq:`eq-centering-centroid`).

    :math:`\ell_i = \| h_i - \sum_k r_{ik} c_k \|^2`, which is `distance_loss` less the
    variance of the centers under the responsibilities.

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
    The other reading of the centering loss of Roy (2024), arXiv:2411.19496.

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
    r"""Weighted distances less the norm of the code (:eq:`eq-centering-regularized`).

    :math:`\ell_i = \sum_k r_{ik} d_{ik} - \| h_i \|^2`. With responsibilities held it
    is linear in the code, which it pushes along its soft centroid: codes must be
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
    "distance": CenteringLoss(distance_loss, True),
    "centroid": CenteringLoss(centroid_loss, True),
    "regularized": CenteringLoss(regularized_loss, False),  # codes need bounds
}


@full_precision
def scale_penalty(codes: Tensor, weight: Tensor, variance: Tensor | float) -> Tensor:
    r"""How far the scale of codes has drifted (:eq:`eq-scale-drift`).

    .. math:: \Bigl( \sqrt{V / V_0} - 1 \Bigr)^2

    for their total variance :math:`V`. Centers follow the codes, so a pull to the
    centers alone would let all of them shrink, or grow where the rows that are pulled
    are not those that the centers are the means of.

    Parameters
    ----------
    codes : Tensor of shape (n, c)
    weight : Tensor of shape (n,)
    variance : float or Tensor of shape ()
        :math:`V_0`, positive.

    Returns
    -------
    Tensor of shape ()
        1, without a gradient, where the codes are all the same.

    Examples
    --------
    >>> import torch
    >>> codes = torch.tensor([[2.0], [-2.0]])
    >>> scale_penalty(codes, torch.ones(2), 1.0), scale_penalty(codes, torch.ones(2), 4.0)
    (tensor(1.), tensor(0.))
    """
    share = weight / weight.sum()  # (n,)
    ratio = share @ squared_norms(codes - share @ codes) / variance
    positive = ratio > 0
    scale = torch.where(positive, ratio, 1.0).sqrt()  # has a slope everywhere
    return torch.where(positive, scale - 1.0, -1.0).square()


@full_precision
def variance_share(weight: Tensor) -> Tensor:
    r"""What part of a variance rows have about their own mean, on average.

    :math:`1 - \sum_i p_i^2` with their shares :math:`p_i` of the weight: the rest is in
    the mean of rows that are drawn at random.

    Parameters
    ----------
    weight : Tensor of shape (n,)

    Returns
    -------
    Tensor of shape ()

    Examples
    --------
    >>> import torch
    >>> variance_share(torch.ones(4))
    tensor(0.7500)
    """
    share = weight / weight.sum()  # (n,)
    return (share * (1.0 - share)).sum()


@full_precision
def running_means(
    centers: Tensor,
    mass: Tensor,
    codes: Tensor,
    responsibilities: Tensor,
    weight: Tensor,
) -> tuple[Tensor, Tensor]:
    r"""Centers moved by a batch to the mean of all they have been given so far.

    :math:`c_k \leftarrow c_k + (h_i - c_k) / N_k` one row after the other, with
    :math:`N_k` the rows of cluster k up to and with row i (:eq:`eq-running-means`): in
    one step, since the mean of a mean is the mean.

    Parameters
    ----------
    centers : Tensor of shape (k, c)
    mass : Tensor of shape (k,)
        What each center is the mean of, in float64 where the device has it.
    codes : Tensor of shape (n, c)
    responsibilities : Tensor of shape (k, n)
    weight : Tensor of shape (n,)

    Returns
    -------
    centers : Tensor of shape (k, c)
        A center without any mass stays.
    mass : Tensor of shape (k,)

    Notes
    -----
    Yang, Fu, Sidiropoulos, Hong (2017), "Towards K-means-friendly spaces", equation 8.

    Examples
    --------
    >>> import torch
    >>> centers, mass = torch.tensor([[0.0]]), torch.tensor([3.0])
    >>> running_means(centers, mass, torch.tensor([[4.0]]), torch.ones(1, 1),
    ...               torch.ones(1))
    (tensor([[1.]]), tensor([4.]))
    """
    share = responsibilities * weight  # (k, n)
    total = mass + share.sum(1).to(mass)  # (k,)
    gain = weighted_sums(share, codes) - share.sum(1)[:, None] * centers  # (k, c)
    step = gain.to(mass) / total.clamp_min(torch.finfo(mass.dtype).tiny)[:, None]
    return (centers.to(mass) + step).to(centers), total


@full_precision
def spread(codes: Tensor, weight: Tensor) -> tuple[float, float]:
    r"""Total variance of codes, and the largest along any direction.

    Trace and largest eigenvalue of the weighted covariance: the unit of the clustering
    loss, and half that of the temperature (:eq:`eq-critical-temperature`).

    Parameters
    ----------
    codes : Tensor of shape (n, c)
        Best in float64.
    weight : Tensor of shape (n,)

    Returns
    -------
    total : float
    largest : float

    Notes
    -----
    O(n c^2). Both are NaN where the codes are not finite.

    Examples
    --------
    >>> import torch
    >>> spread(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.ones(2))
    (1.0, 1.0)
    """
    weight = weight.to(codes)
    share = weight / weight.sum()  # (n,)
    mean = share @ codes  # (c,)
    centered = codes - mean  # (n, c)
    covariance = (centered * share[:, None]).t() @ centered  # (c, c)
    total = float(covariance.trace())
    if not torch.isfinite(covariance).all():
        return float("nan"), float("nan")
    rounding = 8.0 * torch.finfo(codes.dtype).eps
    if total <= rounding**2 * float(mean @ mean):
        return 0.0, 0.0
    # Solvers in single precision fail on covariances of low rank.
    values = torch.linalg.eigvalsh(covariance.cpu().double())  # (c,)
    return total, max(float(values[-1]), 0.0)


@full_precision
def shrink_and_perturb(parameter: Tensor, fresh: Tensor, share: float) -> Tensor:
    r"""Part of the way from a parameter to a fresh draw: :math:`(1 - a) w + a w_0`.

    Parameters
    ----------
    parameter, fresh : Tensor of the same shape
    share : float
        `a`, the share of the fresh draw.

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
    return torch.lerp(parameter, fresh, share)
