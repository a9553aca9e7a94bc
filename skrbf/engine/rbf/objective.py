"""The loss of an RBF network over all rows of a fit, block by block."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.data.compute import Compute
from skrbf.ops.kernel import Kernel, unit_kernel
from skrbf.ops.network import (
    Network,
    cross_entropy,
    logits,
    network_gradient,
    output_gradient,
)
from skrbf.ops.rbf import Activation, Units, exponents


class Task(NamedTuple):
    """What a network is to learn, on one device."""

    rows: Tensor  # (n, d) centered and scaled
    labels: Tensor  # (n,) int64
    weight: Tensor  # (n,) sums to 1
    n_classes: int
    activation: Activation
    alpha: float
    pull: float  # of the centers, to their home
    smoothing: float  # of the targets
    compute: Compute
    kernel: Kernel | None = None  # of the units as placed; None: there are none yet
    home: Tensor | None = None  # (k, d) where centers start; None: where they are

    def take(self, index: Tensor) -> "Task":
        """Some of the rows, their weights summing to 1 again."""
        weight = self.weight[index]
        return self._replace(
            rows=self.rows[index],
            labels=self.labels[index],
            weight=weight / weight.sum(),
        )

    def with_kernel(self, units: Units) -> "Task":
        """The task for an output of such units."""
        return self._replace(kernel=unit_kernel(units, self.activation))

    def blocks(self, n_units: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Rows, labels and weights of every block."""
        size = self.compute.block_rows(n_units)
        return zip(
            self.rows.split(size),
            self.labels.split(size),
            self.weight.split(size),
            strict=True,
        )


def loss(task: Task, network: Network) -> float:
    """The penalized cross-entropy (eq-objective)."""
    total = _penalty(task, network)
    for rows, labels, weight in task.blocks(len(network.units.centers)):
        phi = task.activation.function(exponents(network.units, rows))
        f = logits(network, phi)  # (q, m)
        total += float(cross_entropy(f, labels, weight, task.smoothing)[0])
    return total


def loss_gradient(task: Task, network: Network) -> tuple[float, Network]:
    """The penalized cross-entropy, and its gradient by all parameters."""
    total, whole = _penalty(task, network), penalty_gradient(task, network)
    for block in task.blocks(len(network.units.centers)):
        part, gradient = network_gradient(
            network, task.activation, *block, task.smoothing
        )
        total += float(part)
        whole = unpack(pack(whole) + pack(gradient), network)
    return total, whole


def output_loss_gradient(
    task: Task, network: Network
) -> tuple[float, tuple[Tensor, Tensor]]:
    """The same, and its gradient by weight and bias of the output only."""
    total = _penalty(task, network)
    by_weight, by_bias = _shrink(task, network), torch.zeros_like(network.bias)
    for rows, labels, weight in task.blocks(len(network.units.centers)):
        phi = task.activation.function(exponents(network.units, rows))
        f = logits(network, phi)  # (q, m)
        part, residuals = cross_entropy(f, labels, weight, task.smoothing)
        total += float(part)
        more = output_gradient(residuals, phi)
        by_weight, by_bias = by_weight + more[0], by_bias + more[1]
    return total, (by_weight, by_bias)


def batch_gradient(task: Task, network: Network, index: Tensor) -> Network:
    """Gradient of a batch of rows, an estimate of that of all."""
    weight = task.weight[index] * (len(task.weight) / len(index))
    rows, labels = task.rows[index], task.labels[index]
    _, gradient = network_gradient(
        network, task.activation, rows, labels, weight, task.smoothing
    )
    by_weight = gradient.weight + _shrink(task, network)
    units = gradient.units
    units = units._replace(centers=units.centers + _pull(task, network))
    return gradient._replace(weight=by_weight, units=units)


def penalty_gradient(task: Task, network: Network) -> Network:
    """Gradient of the penalties alone."""
    zeros = unpack(torch.zeros_like(pack(network)), network)
    units = zeros.units._replace(centers=_pull(task, network))
    return zeros._replace(weight=_shrink(task, network), units=units)


def _penalty(task: Task, network: Network) -> float:
    total = 0.5 * float((_shrink(task, network) * network.weight).sum())
    if task.home is not None:
        shift = network.units.centers - task.home
        total += 0.5 * task.pull * float(shift.square().mean())
    return total


def _shrink(task: Task, network: Network) -> Tensor:
    """Gradient (q, k) of the penalty on the output."""
    assert task.kernel is not None
    return task.alpha * (network.weight @ task.kernel.matrix)


def _pull(task: Task, network: Network) -> Tensor:
    centers = network.units.centers  # (k, d)
    if task.home is None:
        return torch.zeros_like(centers)
    return (centers - task.home) * (task.pull / centers.numel())


def parts(network: Network) -> tuple[Tensor, ...]:
    """Its tensors: centers, log-widths, log-scales, weight, bias."""
    return (*network.units, network.weight, network.bias)


def from_parts(tensors: tuple[Tensor, ...]) -> Network:
    """The network of such tensors."""
    return Network(Units(*tensors[:3]), tensors[3], tensors[4])


def pack(network: Network) -> Tensor:
    """All parameters in one vector."""
    return torch.cat([part.reshape(-1) for part in parts(network)])


def unpack(vector: Tensor, like: Network) -> Network:
    """The network of a vector, in the shapes of another."""
    shapes = [part.shape for part in parts(like)]
    pieces = vector.split([shape.numel() for shape in shapes])
    return from_parts(
        tuple(piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True))
    )


class Coordinates(NamedTuple):
    """Where an optimizer has a network: its output in the metric of the kernel.

    There the penalty on the output is the same in all directions. In the weights
    themselves most of what a few wide units can do lies in a few directions, and
    gradient steps hardly move in the others.
    """

    like: Network
    kernel: Kernel

    def vector(self, network: Network) -> Tensor:
        """The coordinates of a network."""
        return pack(network._replace(weight=network.weight @ self.kernel.root))

    def network(self, vector: Tensor) -> Network:
        """The network that has such coordinates."""
        network = unpack(vector, self.like)
        return network._replace(weight=network.weight @ self.kernel.inverse)

    def gradient(self, gradient: Network) -> Tensor:
        """A gradient by the coordinates, from that by the parameters."""
        return pack(gradient._replace(weight=gradient.weight @ self.kernel.inverse))


def coordinates(task: Task, network: Network) -> Coordinates:
    """Those in which a network is trained."""
    assert task.kernel is not None
    return Coordinates(network, task.kernel)
