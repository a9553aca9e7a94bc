"""A model that goes on with one batch of rows after the other."""

import torch
from torch import Tensor

from skrbf.engine.em import expectation
from skrbf.engine.lloyd import assign
from skrbf.engine.predict import Model
from skrbf.engine.problem import Problem


def absorb(problem: Problem, model: Model, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Means of all that each center has been responsible for so far (eq-fixed-point).

    Parameters
    ----------
    problem : Problem
        The batch.
    seen : Tensor of shape (k,)
        Sums of weighted responsibilities of the batches before.

    Returns
    -------
    centers : Tensor of shape (k, d)
    seen : Tensor of shape (k,)
        With this batch.
    """
    if model.temperature > 0:
        batch = expectation(problem, model.centers, model.temperature, model.assignment)
        weight, total = batch.weight, batch.total
    else:
        partition = assign(problem, model.centers)
        weight, total = partition.weight, partition.total
    seen = seen.to(weight)
    mass = seen + weight  # (k,)
    total = seen[:, None] * model.centers + total
    centers = torch.where(mass[:, None] > 0, total / mass[:, None], model.centers)
    return centers.to(model.centers.dtype), mass
