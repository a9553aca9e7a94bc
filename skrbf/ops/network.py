r"""An RBF network: units, a linear output, and the cross-entropy of its classes."""

from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.ops.precision import full_precision
from skrbf.ops.rbf import Activation, Units, exponents, exponents_gradient
from skrbf.ops.statistics import widest_float


class Network(NamedTuple):
    r"""All parameters of a network, or a gradient with respect to them.

    Attributes
    ----------
    units : Units
        Of k units in d features.
    weight : Tensor of shape (q, k)
        From the units to the classes.
    bias : Tensor of shape (q,)
    """

    units: Units
    weight: Tensor
    bias: Tensor


@full_precision
def logits(network: Network, activations: Tensor) -> Tensor:
    r"""Linear output :math:`f_i = V \phi_i + b` (:eq:`eq-network`).

    Parameters
    ----------
    network : Network
    activations : Tensor of shape (k, n)

    Returns
    -------
    Tensor of shape (q, n)

    Notes
    -----
    O(q k n).
    """
    return torch.addmm(network.bias[:, None], network.weight, activations)  # (q, n)


@full_precision
def cross_entropy(
    logits: Tensor, labels: Tensor, weight: Tensor, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    r"""Weighted cross-entropy and its gradient by the logits (:eq:`eq-cross-entropy`).

    Parameters
    ----------
    logits : Tensor of shape (q, n)
    labels : Tensor of shape (n,), int64
        Class of each row.
    weight : Tensor of shape (n,)
    smoothing : float, default=0
        Part of the target that all classes share, :math:`\epsilon`; its own class has
        the rest.

    Returns
    -------
    loss : Tensor of shape ()
        :math:`-\sum_i w_i \sum_c t_{ic} \log p_{ic}`, summed in float64 where there is
        such.
    residuals : Tensor of shape (q, n)
        :math:`w_i (p_{ic} - t_{ic})`.

    Notes
    -----
    O(q n).

    Examples
    --------
    >>> import torch
    >>> one = torch.ones(1)
    >>> loss, residuals = cross_entropy(torch.zeros(2, 1), torch.tensor([1]), one)
    >>> residuals
    tensor([[ 0.5000],
            [-0.5000]])
    """
    log_p = torch.log_softmax(logits, 0)  # (q, n)
    own = log_p.gather(0, labels[None])[0]  # (n,)
    if smoothing:
        own = torch.lerp(own, log_p.mean(0), smoothing)  # (n,)
    loss = -(own * weight).sum(dtype=widest_float(own.device))
    residuals = log_p.exp().sub_(smoothing / len(log_p))
    residuals.scatter_add_(0, labels[None], torch.full_like(own, smoothing - 1)[None])
    return loss, residuals * weight


@full_precision
def output_gradient(residuals: Tensor, activations: Tensor) -> tuple[Tensor, Tensor]:
    r"""Gradient of the cross-entropy by the output (:eq:`eq-output-gradient`).

    Parameters
    ----------
    residuals : Tensor of shape (q, n)
    activations : Tensor of shape (k, n)

    Returns
    -------
    weight : Tensor of shape (q, k)
    bias : Tensor of shape (q,)

    Notes
    -----
    O(q k n).
    """
    return residuals @ activations.t(), residuals.sum(1)


@full_precision
def network_gradient(
    network: Network,
    activation: Activation,
    rows: Tensor,
    labels: Tensor,
    weight: Tensor,
    smoothing: float = 0.0,
) -> tuple[Tensor, Network]:
    r"""Weighted cross-entropy of some rows, and its gradient by all parameters.

    Parameters
    ----------
    network : Network
    activation : Activation
    rows : Tensor of shape (n, d)
    labels : Tensor of shape (n,), int64
    weight : Tensor of shape (n,)
    smoothing : float, default=0
        Of the targets, as in `cross_entropy`.

    Returns
    -------
    loss : Tensor of shape ()
    gradient : Network

    Notes
    -----
    O(k n (d + q)), with two matrix products of that size; twice as fast as autograd on
    a CPU, since it keeps three blocks (k, n) and passes over them six times. See
    :eq:`eq-rbf-gradient`.
    """
    z = exponents(network.units, rows)  # (k, n)
    phi = activation.function(z)  # (k, n)
    loss, residuals = cross_entropy(logits(network, phi), labels, weight, smoothing)
    by_phi = network.weight.t() @ residuals  # (k, n)
    by_z = activation.jacobian_product(phi, by_phi)  # (k, n)
    by_units = exponents_gradient(network.units, rows, z, by_z)
    return loss, Network(by_units, *output_gradient(residuals, phi))
