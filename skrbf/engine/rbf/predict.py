"""Activations and logits of a fitted network for new rows, in blocks."""

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from skrbf.engine.data.constants import MAX_SCALED_VALUE
from skrbf.engine.data.rows import Rows, as_dense
from skrbf.ops.rbf_network import Network, logits
from skrbf.ops.rbf_units import Activation, coordinate_limit, log_activations


class RBFModel(NamedTuple):
    """Fitted network in the dtype and on the device of the rows."""

    network: Network  # for scaled rows
    activation: Activation
    mean: Tensor  # (d,) center of each feature
    scale: Tensor  # (d,)


def log_activation_blocks(
    rows: Rows, model: RBFModel
) -> Iterator[tuple[int, int, Tensor]]:
    """Yield (start, stop, log activations (k, m)) of every block."""
    units = model.network.units
    limit = min(MAX_SCALED_VALUE, float(coordinate_limit(units)))
    for start, stop, block in rows.blocks(len(units.centers) + rows.n_features):
        scaled = ((as_dense(block) - model.mean) / model.scale).clamp(-limit, limit)
        yield start, stop, log_activations(units, scaled)


def activation_blocks(rows: Rows, model: RBFModel) -> Iterator[tuple[int, int, Tensor]]:
    """Yield (start, stop, activations (k, m)) of every block."""
    for start, stop, z in log_activation_blocks(rows, model):
        yield start, stop, model.activation.function(z)


def logit_blocks(rows: Rows, model: RBFModel) -> Iterator[tuple[int, int, Tensor]]:
    """Yield (start, stop, logits (q, m)) of every block."""
    for start, stop, activations in activation_blocks(rows, model):
        yield start, stop, logits(model.network, activations)


def familiarity_blocks(
    rows: Rows, model: RBFModel
) -> Iterator[tuple[int, int, Tensor]]:
    """Yield (start, stop, maximal log activations (1, m)) of every block."""
    for start, stop, z in log_activation_blocks(rows, model):
        yield start, stop, z.amax(0, keepdim=True)  # eq-familiarity


def explanation_blocks(
    rows: Rows, model: RBFModel, n_units: int
) -> Iterator[dict[str, Tensor]]:
    """Yield the largest contributions to the logits of every block (eq-contribution).

    The entries are those of `RBFNetClassifier.explain`, with `label` as an index.
    """
    weight, bias = model.network.weight, model.network.bias
    for _, _, activations in activation_blocks(rows, model):
        label = logits(model.network, activations).argmax(0)  # (m,)
        contribution = weight[label] * activations.t()  # (m, k)
        unit = contribution.abs().topk(n_units, 1)[1]  # (m, s)
        largest = contribution.gather(1, unit)  # (m, s)
        yield {
            "label": label,
            "unit": unit,
            "activation": activations.t().gather(1, unit),
            "contribution": largest,
            "rest": contribution.sum(1) - largest.sum(1),
            "intercept": bias[label],
        }
