"""Penalized cross-entropy of an RBF network over all rows of a fit, in blocks."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.data.training_data import TrainingData
from skrbf.ops.rbf_network import (
    Network,
    cross_entropy,
    logits,
    network_gradient,
    output_gradient,
)
from skrbf.ops.rbf_units import Activation, RBFParameters, log_activations
from skrbf.ops.unit_kernel import UnitKernel


class Objective(NamedTuple):
    """Function that training minimizes (eq-objective)."""

    data: TrainingData
    n_classes: int
    activation: Activation
    alpha: float  # penalty on the output, relative to the mean loss of a row
    center_penalty: float  # on the mean squared distance of the centers from `anchor`
    smoothing: float  # of the labels
    kernel: UnitKernel  # of the initial units
    anchor: Tensor  # (k, d) centers before joint training

    def blocks(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield rows, labels and fractions of the total weight."""
        return fraction_blocks(self.data, len(self.anchor))


def fractions(data: TrainingData) -> Tensor:
    """Divide the weights by the number of rows: their sum is 1, up to rounding."""
    return data.weight / len(data.weight)  # (n,)


def fraction_blocks(
    data: TrainingData, n_units: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield rows, labels and fractions of the total weight of blocks of rows."""
    for rows, labels, weight in data.blocks(n_units):
        yield rows, labels, weight / len(data.weight)


def loss(objective: Objective, network: Network, vector: Tensor | None = None) -> float:
    """Compute the objective, of whitened parameters (p,) instead if they are given."""
    if vector is not None:
        network = unwhiten(vector, network, objective.kernel)
    total = _penalty(objective, network)
    for rows, labels, weight in objective.blocks():
        z = log_activations(network.units, rows)  # (k, m)
        f = logits(network, objective.activation.function(z))  # (q, m)
        total += float(cross_entropy(f, labels, weight, objective.smoothing)[0])
    return total


def loss_gradient(objective: Objective, network: Network) -> tuple[float, Network]:
    """Compute the objective and its gradient with respect to all parameters."""
    total = _penalty(objective, network)
    sums = list(parts(_penalty_gradient(objective, network)))
    for block in objective.blocks():
        block_loss, gradient = network_gradient(
            network, objective.activation, *block, objective.smoothing
        )
        total += float(block_loss)
        sums = [a + b for a, b in zip(sums, parts(gradient), strict=True)]
    return total, from_parts(sums)


def output_loss_gradient(
    objective: Objective, network: Network
) -> tuple[float, tuple[Tensor, Tensor]]:
    """Compute the objective and its gradient by output weights and biases only."""
    total = _penalty(objective, network)
    by_weight = _output_penalty_gradient(objective, network)  # (q, k)
    by_bias = torch.zeros_like(network.bias)  # (q,)
    for rows, labels, weight in objective.blocks():
        z = log_activations(network.units, rows)  # (k, m)
        activations = objective.activation.function(z)
        f = logits(network, activations)  # (q, m)
        block_loss, residuals = cross_entropy(f, labels, weight, objective.smoothing)
        total += float(block_loss)
        block_weight, block_bias = output_gradient(residuals, activations)
        by_weight, by_bias = by_weight + block_weight, by_bias + block_bias
    return total, (by_weight, by_bias)


def whitened_loss_gradient(
    objective: Objective, like: Network, vector: Tensor
) -> tuple[float, Tensor]:
    """Compute the objective and its gradient with respect to whitened parameters."""
    network = unwhiten(vector, like, objective.kernel)
    value, gradient = loss_gradient(objective, network)
    return value, whiten_gradient(gradient, objective.kernel)


def whitened_batch_gradient(
    objective: Objective, like: Network, vector: Tensor, index: Tensor
) -> Tensor:
    """Estimate the gradient by whitened parameters (p,) from a batch of rows (b,)."""
    network, data = unwhiten(vector, like, objective.kernel), objective.data
    # Fractions of the total weight, as in all blocks, times the number of such batches.
    # `weight / len(index)` is the same, but rounds otherwise.
    n_rows = len(data.weight)
    weight = data.weight[index] / n_rows * (n_rows / len(index))  # (b,)
    _, gradient = network_gradient(
        network,
        objective.activation,
        data.rows[index],
        data.labels[index],
        weight,
        objective.smoothing,
    )
    penalty = _penalty_gradient(objective, network)
    pairs = zip(parts(gradient), parts(penalty), strict=True)
    return whiten_gradient(from_parts([a + b for a, b in pairs]), objective.kernel)


def _penalty(objective: Objective, network: Network) -> float:
    output = _output_penalty_gradient(objective, network) * network.weight
    shift = network.units.centers - objective.anchor
    squared_shift = float(shift.square().mean())
    return 0.5 * float(output.sum()) + 0.5 * objective.center_penalty * squared_shift


def _penalty_gradient(objective: Objective, network: Network) -> Network:
    centers, log_widths, log_scales = network.units
    factor = objective.center_penalty / centers.numel()
    units = RBFParameters(
        (centers - objective.anchor) * factor,
        torch.zeros_like(log_widths),
        torch.zeros_like(log_scales),
    )
    by_weight = _output_penalty_gradient(objective, network)
    return Network(units, by_weight, torch.zeros_like(network.bias))


def _output_penalty_gradient(objective: Objective, network: Network) -> Tensor:
    return objective.alpha * (network.weight @ objective.kernel.matrix)  # (q, k)


def parts(network: Network) -> tuple[Tensor, ...]:
    """List the tensors: centers, log-widths, log-scales, weight, bias."""
    return (*network.units, network.weight, network.bias)


def from_parts(tensors: list[Tensor]) -> Network:
    """Build a network from the tensors of `parts`."""
    return Network(RBFParameters(*tensors[:3]), tensors[3], tensors[4])


def pack(network: Network) -> Tensor:
    """Concatenate all parameters to one vector (p,)."""
    return torch.cat([part.reshape(-1) for part in parts(network)])


def unpack(vector: Tensor, like: Network) -> Network:
    """Split a vector (p,) into parameters of the shapes of another network."""
    shapes = [part.shape for part in parts(like)]
    pieces = vector.split([shape.numel() for shape in shapes])
    pairs = zip(pieces, shapes, strict=True)
    return from_parts([piece.view(shape) for piece, shape in pairs])


# Optimizers work on whitened parameters: the output weights times the root of the
# kernel matrix. Their penalty is the same in all directions. Most of what a few wide
# units can do lies in a few directions of the weights themselves, and gradient steps
# hardly move in the others.


def whiten(network: Network, kernel: UnitKernel) -> Tensor:
    """Compute the whitened parameters (p,) of a network."""
    return pack(network._replace(weight=network.weight @ kernel.root))


def unwhiten(vector: Tensor, like: Network, kernel: UnitKernel) -> Network:
    """Compute the network of whitened parameters (p,): the inverse of `whiten`."""
    network = unpack(vector, like)
    return network._replace(weight=network.weight @ kernel.inverse_root)


def whiten_gradient(gradient: Network, kernel: UnitKernel) -> Tensor:
    """Transform a gradient by the parameters to one by the whitened parameters."""
    return pack(gradient._replace(weight=gradient.weight @ kernel.inverse_root))
