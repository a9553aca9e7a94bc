"""Description of the units of a trained network by the rows of its fit."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from skrbf.engine.rbf.constants import FAMILIARITY_LEVELS
from skrbf.engine.rbf.objective import Objective, fractions
from skrbf.ops.rbf_network import Network
from skrbf.ops.rbf_units import log_activations
from skrbf.ops.statistics import deterministic_cumsum, weight_sums


def describe(
    objective: Objective, network: Network, n_nearest: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Describe the units by the rows of the fit (eq-profile, eq-familiarity).

    Returns
    -------
    profile : Tensor of shape (k, q)
        Shares of the classes in the activation of each unit. A unit that no row
        activates has the shares of all rows.
    nearest : Tensor of shape (k, m), int64
        Rows that activate each unit most, in descending order.
    familiarity : Tensor of shape (l,)
        Quantiles, ascending, of the maximal log activation of a row.
    """
    data, q = objective.data, objective.n_classes
    k, device = len(network.units.centers), data.rows.device
    activity = torch.zeros(k, q, dtype=data.compute.accumulate, device=device)
    top = torch.empty(k, 0, dtype=data.rows.dtype, device=device)
    nearest = torch.empty(k, 0, dtype=torch.int64, device=device)
    familiarity, start = [], 0
    for rows, labels, weight in objective.blocks():
        z = log_activations(network.units, rows)  # (k, m)
        codes = one_hot(labels, q).to(z)  # (m, q)
        activity += (objective.activation.function(z) * weight) @ codes
        index = torch.arange(start, start + len(rows), device=device)
        top = torch.cat([top, z], 1)
        nearest = torch.cat([nearest, index.expand(k, -1)], 1)
        top, order = top.topk(min(n_nearest, top.shape[1]), 1)
        nearest = nearest.gather(1, order)
        familiarity.append(z.amax(0))
        start += len(rows)
    total, weight = activity.sum(1, keepdim=True), fractions(data)  # (k, 1), (n,)
    prior = weight_sums(data.labels, weight.to(activity.dtype), q)
    profile = torch.where(total > 0, activity / total, prior)  # (k, q)
    return profile, nearest, _quantiles(torch.cat(familiarity), weight)


def _quantiles(values: Tensor, weight: Tensor) -> Tensor:
    """Compute weighted quantiles at the midpoints of equal intervals."""
    values, order = values.sort()
    cumulative = deterministic_cumsum(weight[order])
    n_levels = min(FAMILIARITY_LEVELS, len(values))
    levels = (torch.arange(n_levels, device=values.device) + 0.5) / n_levels
    index = torch.searchsorted(cumulative, levels.to(cumulative) * cumulative[-1])
    return values[index.clamp_max(len(values) - 1)]
