"""A model that goes on with one batch of rows after the other."""

import torch
from torch import Tensor

from skrbf.engine.data.limits import has_room, times_power
from skrbf.engine.kmeans.em import expectation
from skrbf.engine.kmeans.lloyd import assign
from skrbf.engine.kmeans.predict import Model
from skrbf.engine.kmeans.problem import Problem, widened


def absorb(
    problem: Problem,
    model: Model,
    seen: Tensor,
    dtype: torch.dtype,
    unit: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Means of all that each center has been responsible for so far (eq-fixed-point).

    Parameters
    ----------
    problem : Problem
        The batch.
    seen : Tensor of shape (k,)
        Sums of weighted responsibilities of the batches before.
    dtype : dtype
        Of the centers that are returned.
    unit : float, default=1.0
        Of the weights of the batch, in that of `seen`.

    Returns
    -------
    centers : Tensor of shape (k, d)
    seen : Tensor of shape (k,)
        With this batch.

    Raises
    ------
    ValueError
        If the batch is so far from the centers, in units of the temperature, that no
        number tells how far.
    """
    temperature = times_power(model.temperature, -2 * problem.exponent)
    if temperature > 0 and not has_room(temperature, problem.compute.dtype):
        problem = widened(problem)
    centers = model.centers.to(problem.mean) * 2.0**-problem.exponent
    if temperature > 0:
        batch = expectation(problem, centers, temperature, model.assignment)
        weight, total = batch.weight, batch.total
    else:
        partition = assign(problem, centers)
        weight, total = partition.weight, partition.total
    seen = seen.to(weight)
    mass = seen + unit * weight  # (k,)
    # By shares: weights may be of any size.
    share = (unit * weight / mass)[:, None]  # (k, 1)
    means = (1 - share) * centers + share * (total / weight[:, None])  # (k, d)
    means = torch.where(unit * weight[:, None] > 0, means, centers.to(means))
    finite = means.isfinite().all() & mass.isfinite().all()
    centers = (means * 2.0**problem.exponent).to(dtype)
    if not bool(finite & centers.isfinite().all()):
        raise ValueError(
            "X is so far from the centers of the batches before that their distances, "
            "over the temperature or in their dtype, overflow; scale all batches alike."
        )
    return centers, mass
