"""Online K-means: a model that goes on with one batch of rows after the other."""

import torch
from torch import Tensor

from skrbf.engine.data.number_range import squares_fit, times_power_of_two
from skrbf.engine.kmeans.em import expectation
from skrbf.engine.kmeans.lloyd import assign
from skrbf.engine.kmeans.predict import Model
from skrbf.engine.kmeans.problem import Problem, to_double


def update_online(
    problem: Problem,
    model: Model,
    previous_weight: Tensor,
    dtype: torch.dtype,
    unit: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Move centers (k, d) to the means of all their rows so far (eq-fixed-point).

    Also return the sums of weighted responsibilities (k,). `previous_weight` (k,) has
    those of the batches before, and `unit` is the unit of the weights of the batch in
    that of `previous_weight`. Centers are returned in `dtype`. If the batch is so far
    from them, in units of the temperature, that the distances overflow, it raises a
    ValueError.
    """
    temperature = times_power_of_two(model.temperature, -2 * problem.exponent)
    if temperature > 0 and not squares_fit(temperature, problem.compute.dtype):
        problem = to_double(problem)
    centers = model.centers.to(problem.mean) * 2.0**-problem.exponent
    if temperature > 0:
        batch = expectation(problem, centers, temperature, model.assignment)
        weight, total = batch.weight, batch.total
    else:
        partition = assign(problem, centers)
        weight, total = partition.weight, partition.total
    weight_sum = previous_weight.to(weight) + unit * weight  # (k,)
    # By fractions: weights may be of any size.
    fraction = (unit * weight / weight_sum)[:, None]  # (k, 1)
    means = (1 - fraction) * centers + fraction * (total / weight[:, None])  # (k, d)
    means = torch.where(unit * weight[:, None] > 0, means, centers.to(means))
    finite = means.isfinite().all() & weight_sum.isfinite().all()
    centers = (means * 2.0**problem.exponent).to(dtype)
    if not bool(finite & centers.isfinite().all()):
        raise ValueError(
            "X is so far from the centers of the batches before that their distances, "
            "over the temperature or in their dtype, overflow; scale all batches alike."
        )
    return centers, weight_sum
