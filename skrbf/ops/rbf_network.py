r"""RBF networks: units, a linear output layer, and the cross-entropy of its classes."""

from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.ops.precision import full_precision
from skrbf.ops.rbf_units import (
    Activation,
    RBFParameters,
    log_activations,
    log_activations_gradient,
)
from skrbf.ops.statistics import widest_float


class Network(NamedTuple):
    """Parameters of a network, or a gradient with respect to them."""

    units: RBFParameters  # k units in d features
    weight: Tensor  # (q, k) from units to classes
    bias: Tensor  # (q,)


@full_precision
def logits(network: Network, activations: Tensor) -> Tensor:
    r"""Compute the logits (q, n) :math:`f_i = V \phi_i + b` (:eq:`eq-network`)."""
    return torch.addmm(network.bias[:, None], network.weight, activations)  # (q, n)


@full_precision
def cross_entropy(
    logits: Tensor, labels: Tensor, weight: Tensor, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    r"""Compute the weighted cross-entropy and its gradient (:eq:`eq-cross-entropy`).

    For logits (q, n), int64 labels (n,) and weights (n,). A part `smoothing` of each
    target is spread evenly over all classes.

    Returns
    -------
    loss : Tensor of shape ()
        :math:`-\sum_i w_i \sum_c t_{ic} \log p_{ic}`, summed in float64 if the device
        has float64.
    residuals : Tensor of shape (q, n)
        Gradient with respect to the logits, :math:`w_i (p_{ic} - t_{ic})`.
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
    """Differentiate the cross-entropy by weights (q, k) and biases (q,).

    For residuals (q, n) and activations (k, n), see :eq:`eq-output-gradient`. O(q k n).
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
    """Compute the `cross_entropy` () and its gradient by all parameters.

    O(k n (d + q)), with two matrix products of that size. It keeps three blocks (k, n)
    and passes over them six times, which is twice as fast as autograd on a CPU. See
    :eq:`eq-rbf-gradient`.
    """
    z = log_activations(network.units, rows)  # (k, n)
    activations = activation.function(z)  # (k, n)
    f = logits(network, activations)  # (q, n)
    loss, residuals = cross_entropy(f, labels, weight, smoothing)
    by_activation = network.weight.t() @ residuals  # (k, n)
    by_z = activation.jacobian_product(activations, by_activation)  # (k, n)
    by_units = log_activations_gradient(network.units, rows, z, by_z)
    return loss, Network(by_units, *output_gradient(residuals, activations))
