r"""Radial basis functions with trainable centers, widths and feature scales.

Unit k has a center :math:`c_k`, and in feature j the width :math:`\sigma_{kj}`
(:eq:`eq-widths`). Its log activation for a row is :math:`z_{ik} \le 0`
(:eq:`eq-exponent`), which is 0 at the center. An activation map turns the log
activations of a row into activations.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.ops.assignment import ASSIGNMENTS, Assignment
from skrbf.ops.distances import squared_distances
from skrbf.ops.precision import full_precision

# Bound on the sum of the terms of a log activation, in multiples of half the largest
# squared distance. It follows from the algebra of `log_activations`.
_LOG_ACTIVATION_TERMS = 8

# Natural logarithm: the smallest Gaussian activation is this far above the smallest
# normal number, so that products of activations are no denormal numbers. Not measured;
# test_gaussian_is_exp_and_never_denormal holds it.
_LOG_UNDERFLOW_MARGIN = 27.0


class RBFParameters(NamedTuple):
    r"""Parameters of a layer of units, or a gradient with respect to them.

    :math:`\log \sigma_{kj}` is the sum of log-width and log-scale (:eq:`eq-widths`).
    Widths are one for each unit, one for all units, or one for each unit and feature.
    """

    centers: Tensor  # (k, d)
    log_widths: Tensor  # (k, 1), (1, 1) or (k, d)
    log_scales: Tensor  # (d,)


class Activation(NamedTuple):
    """Map from log activations to activations, both of shape (k, n)."""

    name: str
    function: Callable[[Tensor], Tensor]
    # (activations, vectors): the symmetric Jacobian times one vector per row.
    jacobian_product: Callable[[Tensor, Tensor], Tensor]


@full_precision
def inverse_squared_widths(units: RBFParameters) -> Tensor:
    """Compute the inverse squared widths (k, d), :eq:`eq-widths`."""
    by_width = torch.exp(-2.0 * units.log_widths)  # (k, 1), (1, 1) or (k, d)
    by_scale = torch.exp(-2.0 * units.log_scales)  # (d,)
    return (by_width * by_scale).expand(units.centers.shape)  # (k, d)


@full_precision
def log_activations(units: RBFParameters, rows: Tensor) -> Tensor:
    """Compute the log activations (k, n), never positive (:eq:`eq-exponent`).

    Rows (n, d) should be centered. If the mean of a feature is much larger than its
    standard deviation, digits are lost.

    O(k n d): one matrix product where widths belong to units, two where they belong to
    units and features. No tensor is larger than the result.
    """
    centers, log_widths, log_scales = units
    precision = inverse_squared_widths(units)
    weighted = precision * centers  # (k, d)
    constant = torch.linalg.vecdot(weighted, centers)  # (k,)
    z = torch.addmm(constant[:, None], weighted, rows.t(), beta=-0.5)  # (k, n)
    squares = rows * rows  # (n, d)
    if log_widths.shape[1] == 1:
        norms = squares @ torch.exp(-2.0 * log_scales)  # (n,)
        inverse = torch.exp(-2.0 * log_widths[:, 0]).expand(len(centers))  # (k,)
        z = z.addr(inverse, norms, alpha=-0.5)
    else:
        z = z.addmm(precision, squares.t(), alpha=-0.5)
    return z.clamp_max(0.0)


@full_precision
def coordinate_limit(units: RBFParameters) -> Tensor:
    """Compute the largest magnitude () of coordinates with finite log activations.

    It is detached. If a center has a larger coordinate, no log activation of its unit
    is finite. The narrower the units, the smaller the limit. For wide units the squares
    of the rows themselves must be finite.
    """
    by_width = torch.exp(-2.0 * units.log_widths.detach())  # (k, 1), (1, 1) or (k, d)
    by_scale = torch.exp(-2.0 * units.log_scales.detach())  # (d,)
    sums = by_width * by_scale.sum()  # if widths belong to units
    if by_width.shape[1] > 1:
        sums = by_width @ by_scale  # (k,)
    largest = torch.maximum(sums.amax(), by_scale.sum()).clamp_min(1.0)
    return (torch.finfo(largest.dtype).max / largest / _LOG_ACTIVATION_TERMS).sqrt()


@full_precision
def log_activations_gradient(
    units: RBFParameters, rows: Tensor, log_activations: Tensor, weights: Tensor
) -> RBFParameters:
    r"""Differentiate a weighted sum of log activations (:eq:`eq-rbf-gradient`).

    The sum is :math:`\sum_{ik} g_{ik} z_{ik}`, with `weights` (k, n) :math:`g_{ik}` and
    the log activations (k, n) of `units` for rows (n, d). Where each unit and feature
    has a width, the scales are redundant, and their gradient is 0.

    O(k n d): the sums :math:`\sum_i g_{ik} x_i` are one matrix product, and the others
    follow from them. Autograd keeps more blocks and passes over them more often.
    """
    centers, log_widths, log_scales = units
    weight_sums = weights.sum(1)  # (k,)
    total = weights @ rows  # (k, d)
    squares = rows * rows  # (n, d)
    # Weighted sum of the differences between rows and center.
    shift = torch.addcmul(total, weight_sums[:, None], centers, value=-1.0)  # (k, d)
    if log_widths.shape[1] > 1:
        precision = inverse_squared_widths(units)
        second = weights @ squares  # (k, d)
        scatter = second - centers * (total + shift)
        no_scales = torch.zeros_like(log_scales)
        return RBFParameters(precision * shift, precision * scatter, no_scales)
    by_width = -2.0 * torch.linalg.vecdot(weights, log_activations)[:, None]  # (k, 1)
    if log_widths.shape[0] == 1:
        by_width = by_width.sum(0, keepdim=True)  # (1, 1)
    inverse = torch.exp(-2.0 * log_widths[:, 0]).expand(len(centers))  # (k,)
    by_scale = torch.exp(-2.0 * log_scales)  # (d,)
    total.add_(shift).mul_(centers)
    scatter = (inverse @ weights) @ squares - inverse @ total  # (d,)
    by_center = shift.mul_(inverse[:, None]).mul_(by_scale)
    return RBFParameters(by_center, by_width, by_scale * scatter)


@full_precision
def gaussian(log_activations: Tensor) -> Tensor:
    r"""Compute Gaussian activations (k, n) :math:`\exp z_{ik}` (:eq:`eq-gaussian`).

    They are exactly 0 below about ``exp(-60)`` (float32) or ``exp(-681)`` (float64):
    denormal numbers are slow.
    """
    tiny = torch.finfo(log_activations.dtype).tiny
    cut = math.log(tiny) + _LOG_UNDERFLOW_MARGIN
    near = log_activations.clamp_min(cut).exp()
    return torch.nn.functional.threshold(near, math.exp(cut + 0.01), 0.0)


@full_precision
def gaussian_jacobian_product(activations: Tensor, vectors: Tensor) -> Tensor:
    r"""Multiply the Jacobian of `gaussian` by a vector per row: :math:`\phi v`."""
    return activations * vectors


@full_precision
def neighbor_widths(centers: Tensor, n_neighbors: int = 1) -> Tensor:
    r"""Compute widths of RBF units from the distances between their centers.

    The width of a unit is the root mean squared distance of its center to the nearest
    other centers.

    Parameters
    ----------
    centers : Tensor of shape (k, d)
    n_neighbors : int, default=1
        Number of nearest centers to average over; all others if there are fewer.
        Centers that coincide are not neighbors of each other.

    Returns
    -------
    Tensor of shape (k,)
        Positive, in the unit of the centers. 1 for a center without neighbors.

    Notes
    -----
    O(k^2 d).

    Examples
    --------
    >>> import torch
    >>> neighbor_widths(torch.tensor([[0.0], [1.0], [4.0]]))
    tensor([1., 1., 3.])
    """
    squared = squared_distances(centers, centers, centers.mean(0))  # (k, k)
    rounding = 16.0 * torch.finfo(centers.dtype).eps * float(squared.amax())
    squared = torch.where(squared > rounding, squared, float("inf"))
    nearest = squared.sort(1)[0][:, :n_neighbors]  # (k, p)
    is_neighbor = nearest.isfinite()
    total = torch.where(is_neighbor, nearest, 0.0).sum(1)  # (k,)
    mean = total / is_neighbor.sum(1)
    return torch.where(is_neighbor.any(1), mean, 1.0).sqrt()


def _normalized(assignment: Assignment) -> Activation:
    """Turn an assignment map into an activation map."""

    def function(log_activations: Tensor) -> Tensor:
        return assignment.function(log_activations)[0]

    return Activation(assignment.name, function, assignment.jacobian_product)


ACTIVATIONS: dict[str, Activation] = {
    "gaussian": Activation("gaussian", gaussian, gaussian_jacobian_product),
    **{name: _normalized(assignment) for name, assignment in ASSIGNMENTS.items()},
}
