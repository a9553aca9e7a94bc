"""Activations and decisions of a trained network for new rows, block by block."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.data.constants import MAX_SCALED_VALUE
from skrbf.engine.data.rows import Rows
from skrbf.ops.network import Network, logits
from skrbf.ops.rbf import Activation, exponents, farthest


class RBFModel(NamedTuple):
    """All that prediction needs, in the dtype and on the device of its rows."""

    network: Network
    activation: Activation
    mean: Tensor  # (d,)
    scale: Tensor  # (d,)


class Explained(NamedTuple):
    """The strongest units of some rows."""

    label: Tensor  # (m,) the class that is predicted
    unit: Tensor  # (m, s) int64
    activation: Tensor  # (m, s)
    contribution: Tensor  # (m, s) to the logit of that class
    rest: Tensor  # (m,) what all other units contribute
    intercept: Tensor  # (m,)


def unit_exponents(rows: Rows, model: RBFModel) -> Iterator[tuple[int, int, Tensor]]:
    """Yield (start, stop, exponents (k, m)) of every block."""
    units = model.network.units
    far = min(MAX_SCALED_VALUE, float(farthest(units)))
    for start, stop, block in rows.blocks(len(units.centers) + rows.n_features):
        dense = block if block.layout == torch.strided else block.to_dense()
        scaled = ((dense - model.mean) / model.scale).clamp(-far, far)
        yield start, stop, exponents(units, scaled)


def activations(rows: Rows, model: RBFModel) -> Iterator[tuple[int, int, Tensor]]:
    """Yield (start, stop, activations (k, m)) of every block."""
    for start, stop, z in unit_exponents(rows, model):
        yield start, stop, model.activation.function(z)


def decisions(rows: Rows, model: RBFModel) -> Iterator[tuple[int, int, Tensor]]:
    """Yield (start, stop, logits (q, m)) of every block."""
    for start, stop, phi in activations(rows, model):
        yield start, stop, logits(model.network, phi)


def familiarities(rows: Rows, model: RBFModel) -> Iterator[tuple[int, int, Tensor]]:
    """Yield (start, stop, largest exponents (1, m)) of every block (eq-familiarity)."""
    for start, stop, z in unit_exponents(rows, model):
        yield start, stop, z.amax(0, keepdim=True)


def explained(
    rows: Rows, model: RBFModel, n_units: int
) -> Iterator[tuple[int, int, Explained]]:
    """Yield (start, stop, strongest units) of every block (eq-contribution)."""
    weight, bias = model.network.weight, model.network.bias
    for start, stop, phi in activations(rows, model):
        label = logits(model.network, phi).argmax(0)  # (m,)
        share = weight[label] * phi.t()  # (m, k)
        unit = share.abs().topk(n_units, 1)[1]  # (m, s)
        strong = share.gather(1, unit)  # (m, s)
        rest = share.sum(1) - strong.sum(1)
        yield (
            start,
            stop,
            Explained(label, unit, phi.t().gather(1, unit), strong, rest, bias[label]),
        )
