"""What the units of a trained network stand for, from the rows of its fit."""

from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.rbf.objective import Task
from skrbf.ops.network import Network
from skrbf.ops.rbf import exponents
from skrbf.ops.statistics import deterministic_cumsum, weight_sums

_LEVELS = 1000  # of the familiarity of the rows that are kept


class Description(NamedTuple):
    """Of each unit its classes and nearest rows, and how familiar all rows are."""

    profile: Tensor  # (k, q) shares of the classes in its activation
    nearest: Tensor  # (k, m) numbers of rows, the nearest first
    familiarity: Tensor  # (l,) quantiles, ascending, of the largest exponent of a row


def describe(task: Task, network: Network, n_nearest: int) -> Description:
    """Describe the units by the rows of the fit (eq-profile, eq-familiarity)."""
    units, q = network.units, task.n_classes
    k, device = len(units.centers), task.rows.device
    mass = torch.zeros(k, q, dtype=task.compute.accumulate, device=device)
    best = torch.empty(k, 0, dtype=task.rows.dtype, device=device)
    nearest = torch.empty(k, 0, dtype=torch.int64, device=device)
    familiar, start = [], 0
    for rows, labels, weight in task.blocks(k):
        z = exponents(units, rows)  # (k, m)
        codes = torch.nn.functional.one_hot(labels, q).to(z)  # (m, q)
        mass += (task.activation.function(z) * weight) @ codes
        number = torch.arange(start, start + len(rows), device=device)
        best = torch.cat([best, z], 1)
        nearest = torch.cat([nearest, number.expand(k, -1)], 1)
        best, place = best.topk(min(n_nearest, best.shape[1]), 1)
        nearest = nearest.gather(1, place)
        familiar.append(z.amax(0))
        start += len(rows)
    total = mass.sum(1, keepdim=True)  # (k, 1)
    prior = weight_sums(task.labels, task.weight.to(mass.dtype), q)
    profile = torch.where(total > 0, mass / total, prior)  # dead units: as all rows
    return Description(profile, nearest, _quantiles(torch.cat(familiar), task.weight))


def _quantiles(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted quantiles at the middles of equal shares."""
    values, order = values.sort()
    reached = deterministic_cumsum(weight[order])
    n_levels = min(_LEVELS, len(values))
    levels = (torch.arange(n_levels, device=values.device) + 0.5) / n_levels
    place = torch.searchsorted(reached, levels.to(reached) * reached[-1])
    return values[place.clamp_max(len(values) - 1)]
