r"""Radial basis functions with centers, widths and feature scales of their own.

Unit k has a center :math:`c_k` and in feature j the width :math:`\sigma_{kj}`
(:eq:`eq-widths`). Its exponent for a row is :math:`z_{ik} \le 0` (:eq:`eq-exponent`), 0
at the center, and an activation map turns the exponents of a row into activations.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.ops.assignment import ASSIGNMENTS, Assignment
from skrbf.ops.distances import squared_distances
from skrbf.ops.precision import full_precision

# Sums that an exponent is made of, each as large as half a squared distance or less.
_SUMS = 8


class Units(NamedTuple):
    r"""What makes a layer of units, or a gradient with respect to it.

    Attributes
    ----------
    centers : Tensor of shape (k, d)
    log_widths : Tensor of shape (k, 1), (1, 1) or (k, d)
        Logarithms of a width for each unit, for all of them, or for each unit and
        feature.
    log_scales : Tensor of shape (d,)
        Logarithms of a scale for each feature: :math:`\log \sigma_{kj}` is the sum of
        both (:eq:`eq-widths`).
    """

    centers: Tensor
    log_widths: Tensor
    log_scales: Tensor


class Activation(NamedTuple):
    """A map from exponents to activations.

    Attributes
    ----------
    name : str
    function : callable
        ``function(exponents) -> activations``, both (k, n).
    jacobian_product : callable
        ``jacobian_product(activations, vectors)``: the symmetric Jacobian of the map
        times one vector per row; all of shape (k, n).
    """

    name: str
    function: Callable[[Tensor], Tensor]
    jacobian_product: Callable[[Tensor, Tensor], Tensor]


@full_precision
def precisions(units: Units) -> Tensor:
    r"""Inverse squared widths :math:`1 / \sigma_{kj}^2` (:eq:`eq-widths`).

    Parameters
    ----------
    units : Units

    Returns
    -------
    Tensor of shape (k, d)

    Notes
    -----
    O(k d).

    Examples
    --------
    >>> import torch
    >>> scales = torch.tensor([1.0, 2.0]).log()
    >>> precisions(Units(torch.zeros(1, 2), torch.zeros(1, 1), scales))
    tensor([[1.0000, 0.2500]])
    """
    by_width = torch.exp(-2.0 * units.log_widths)  # (k, 1), (1, 1) or (k, d)
    by_scale = torch.exp(-2.0 * units.log_scales)  # (d,)
    return (by_width * by_scale).expand(units.centers.shape)  # (k, d)


@full_precision
def exponents(units: Units, rows: Tensor) -> Tensor:
    r"""Exponents :math:`z_{ik}` of all units for all rows (:eq:`eq-exponent`).

    Parameters
    ----------
    units : Units
    rows : Tensor of shape (n, d)
        Centered: of the size of their standard deviation, or digits are lost.

    Returns
    -------
    Tensor of shape (k, n)
        Never positive.

    Notes
    -----
    O(k n d): one matrix product where widths belong to units, two where they belong to
    units and features. No tensor is larger than the result.

    Examples
    --------
    >>> import torch
    >>> units = Units(torch.tensor([[0.0], [2.0]]), torch.zeros(1, 1), torch.zeros(1))
    >>> exponents(units, torch.tensor([[0.0], [1.0]]))
    tensor([[ 0.0000, -0.5000],
            [-2.0000, -0.5000]])
    """
    centers, log_widths, log_scales = units
    precision = precisions(units)
    pulled = precision * centers  # (k, d)
    constant = torch.linalg.vecdot(pulled, centers)  # (k,)
    z = torch.addmm(constant[:, None], pulled, rows.t(), beta=-0.5)  # (k, n)
    squares = rows * rows  # (n, d)
    if log_widths.shape[1] == 1:
        norms = squares @ torch.exp(-2.0 * log_scales)  # (n,)
        inverse = torch.exp(-2.0 * log_widths[:, 0]).expand(len(centers))  # (k,)
        z = z.addr(inverse, norms, alpha=-0.5)
    else:
        z = z.addmm(precision, squares.t(), alpha=-0.5)
    return z.clamp_max(0.0)


@full_precision
def farthest(units: Units) -> Tensor:
    """How far from 0 rows may be, in each feature, for their exponents to be finite.

    Parameters
    ----------
    units : Units

    Returns
    -------
    Tensor of shape ()
        Not for gradients. Of centers that are farther away no exponent is finite.

    Notes
    -----
    O(k d). The narrower the units, the less; and of wide ones the squares of the rows
    themselves must be finite.

    Examples
    --------
    >>> import torch
    >>> units = Units(torch.zeros(1, 2), torch.zeros(1, 1), torch.zeros(2))
    >>> far = farthest(units)
    >>> exponents(units, torch.full((1, 2), 3e38).clamp(-far, far)).isfinite()
    tensor([[True]])
    """
    by_scale = torch.exp(-2.0 * units.log_scales.detach()).sum()  # ()
    steepest = precisions(units).detach().sum(1).amax()  # ()
    largest = torch.maximum(steepest, by_scale).clamp_min(1.0)
    return (torch.finfo(largest.dtype).max / largest / _SUMS).sqrt()


@full_precision
def exponents_gradient(
    units: Units, rows: Tensor, exponents: Tensor, weights: Tensor
) -> Units:
    r"""Gradient of a weighted sum of exponents by the units (:eq:`eq-rbf-gradient`).

    The sum is :math:`\sum_{ik} g_{ik} z_{ik}`.

    Parameters
    ----------
    units : Units
    rows : Tensor of shape (n, d)
    exponents : Tensor of shape (k, n)
        Those of `units` and `rows`.
    weights : Tensor of shape (k, n)
        :math:`g_{ik}`.

    Returns
    -------
    Units
        Gradients by the centers, log-widths and log-scales, of their shapes. Where
        widths belong to units and features the scales add nothing: theirs is 0.

    Notes
    -----
    O(k n d): the sums :math:`\sum_i g_{ik} x_i` are one matrix product, and the others
    follow from them. Autograd keeps more blocks and passes over them more often.
    """
    centers, log_widths, log_scales = units
    mass = weights.sum(1)  # (k,)
    total = weights @ rows  # (k, d)
    squares = rows * rows  # (n, d)
    pull = torch.addcmul(total, mass[:, None], centers, value=-1.0)  # (k, d)
    if log_widths.shape[1] > 1:
        precision = precisions(units)
        second = weights @ squares  # (k, d)
        spread = second - centers * (total + pull)
        return Units(precision * pull, precision * spread, torch.zeros_like(log_scales))
    by_width = -2.0 * torch.linalg.vecdot(weights, exponents)[:, None]  # (k, 1)
    if log_widths.shape[0] == 1:
        by_width = by_width.sum(0, keepdim=True)  # (1, 1)
    inverse = torch.exp(-2.0 * log_widths[:, 0]).expand(len(centers))  # (k,)
    by_scale = torch.exp(-2.0 * log_scales)  # (d,)
    total.add_(pull).mul_(centers)
    spread = (inverse @ weights) @ squares - inverse @ total  # (d,)
    by_center = pull.mul_(inverse[:, None]).mul_(by_scale)
    return Units(by_center, by_width, by_scale * spread)


@full_precision
def gaussian(exponents: Tensor) -> Tensor:
    r"""Gaussian activations :math:`\exp z_{ik}`, 1 at the center (:eq:`eq-gaussian`).

    Parameters
    ----------
    exponents : Tensor of shape (k, n)

    Returns
    -------
    Tensor of shape (k, n)
        In [0, 1]. Below about ``exp(-60)`` (float32) or ``exp(-681)`` (float64) exactly
        0: denormal numbers are slow.

    Notes
    -----
    O(k n).

    Examples
    --------
    >>> import torch
    >>> gaussian(torch.tensor([[0.0, -0.5, -200.0]]))
    tensor([[1.0000, 0.6065, 0.0000]])
    """
    cut = math.log(torch.finfo(exponents.dtype).tiny) + 27.0  # leaves room for products
    near = exponents.clamp_min(cut).exp()
    return torch.nn.functional.threshold(near, math.exp(cut + 0.01), 0.0)


@full_precision
def gaussian_jacobian_product(activations: Tensor, vectors: Tensor) -> Tensor:
    r"""Jacobian of `gaussian` times a vector per row: :math:`\phi v`.

    Parameters
    ----------
    activations, vectors : Tensor of shape (k, n)

    Returns
    -------
    Tensor of shape (k, n)

    Notes
    -----
    O(k n).

    Examples
    --------
    >>> import torch
    >>> gaussian_jacobian_product(torch.tensor([[0.5]]), torch.tensor([[3.0]]))
    tensor([[1.5000]])
    """
    return activations * vectors


@full_precision
def neighbor_widths(centers: Tensor, n_neighbors: int = 1) -> Tensor:
    r"""Root mean squared distance of each center to its nearest others.

    Parameters
    ----------
    centers : Tensor of shape (k, d)
    n_neighbors : int, default=1
        How many of the others count, fewer where there are fewer. A center that
        coincides with another counts as none.

    Returns
    -------
    Tensor of shape (k,)
        Positive. 1 where a center has no other.

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
    there = nearest.isfinite()
    mean = torch.where(there, nearest, 0.0).sum(1) / there.sum(1)  # (k,)
    return torch.where(there.any(1), mean, 1.0).sqrt()


def _normalized(assignment: Assignment) -> Activation:
    """An assignment map as an activation."""

    def function(exponents: Tensor) -> Tensor:
        return assignment.function(exponents)[0]

    return Activation(assignment.name, function, assignment.jacobian_product)


ACTIVATIONS: dict[str, Activation] = {
    "gaussian": Activation("gaussian", gaussian, gaussian_jacobian_product),
    **{name: _normalized(assignment) for name, assignment in ASSIGNMENTS.items()},
}
