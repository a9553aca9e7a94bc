"""Soft K-means at one temperature: fixed-point steps on the free energy."""

import torch
from torch import Tensor

from skrbf.engine.kmeans import constants
from skrbf.engine.kmeans.config import KMeansConfig
from skrbf.engine.kmeans.lloyd import step_record
from skrbf.engine.kmeans.problem import Problem, distortion_rounding
from skrbf.engine.training.records import Descent, OnStep
from skrbf.ops import statistics
from skrbf.ops.assignment import Assignment
from skrbf.ops.distances import relative_distances
from skrbf.ops.statistics import ClusterStatistics
from skrbf.ops.temperature import geometric_temperatures, noise_temperature

# State of soft K-means: centers (k, d), and their temperature.
SoftState = tuple[Tensor, float]


def em(
    problem: Problem,
    config: KMeansConfig,
    centers: Tensor,
    temperature: float,
    on_step: OnStep[Tensor],
    phase: str = "descend",
) -> Descent[SoftState]:
    """Take fixed-point steps until the centers stand still (eq-fixed-point).

    Each step lowers the free energy. Without a temperature in `config`, it follows the
    noise level of the clusters, twice the within-cluster variance per feature. It
    becomes 0 where rounding hides the noise. The steps end when the sum of squared
    shifts of the centers falls to a part of the variance per feature or of the
    temperature, whichever is less, and the temperature changes by a smaller part of
    itself. The part is ``config.tol``. The objective of the result is the free energy
    of the centers before the last step.
    """
    adapt, tol = config.temperature is None, config.tol
    rounding = constants.CENTER_ROUNDING * torch.finfo(centers.dtype).eps
    free_energy = float("inf")
    for n_iter in range(1, config.max_iter + 1):
        stats = expectation(problem, centers, temperature, config.assignment)
        free_energy = float(stats.objective)
        updated = _update(problem, stats, centers)
        before = temperature
        if adapt:
            temperature = _noise_level(problem, stats)
        shift = float((updated - centers).square_().sum(dtype=stats.weight.dtype))
        centers = updated
        stopped = on_step(step_record(phase, before, free_energy, centers), centers)
        settled = abs(temperature - before) <= max(tol, rounding) * before
        most = max(
            _squared_tolerance(problem, temperature, tol),
            rounding**2 * float(centers.square().sum()),
        )
        if stopped or (settled and shift <= most):
            state = centers, temperature
            return Descent(state, free_energy, n_iter, True, stopped)
        if adapt and not is_soft(problem, temperature):
            return Descent((centers, 0.0), free_energy, n_iter, True)
    return Descent((centers, temperature), free_energy, config.max_iter, False)


def _squared_tolerance(problem: Problem, temperature: float, tol: float) -> float:
    """Compute a part of the temperature or of the variance, whichever is less."""
    variance = problem.scatter / (problem.weight_sum * problem.rows.n_features)
    return tol * min(variance, temperature)


def anneal(
    problem: Problem, config: KMeansConfig, centers: Tensor, on_step: OnStep[Tensor]
) -> Tensor:
    """Let centers part as the temperature falls from the critical one.

    They start about the mean, each a little on its way to one of `centers`, so that
    they part in the directions in which those lie. The steps at the temperature of
    `config` are still to be taken.
    """
    start, stop = config.critical_temperature, config.temperature or 0.0
    config = config._replace(max_iter=constants.ANNEAL_STEPS)
    centers = problem.mean + constants.ANNEAL_START * (centers - problem.mean)
    temperatures = geometric_temperatures(start, stop, constants.ANNEAL_COOLING)
    for temperature in temperatures[1:-1]:
        descent = em(problem, config, centers, temperature, on_step, "anneal")
        centers, _ = descent.state
        if descent.stopped:
            break
    return centers


def merge_coincident(
    problem: Problem, centers: Tensor, temperature: float, tol: float
) -> Tensor:
    """Replace each center by the first that is as near to it as iterations resolve."""
    part = max(constants.COINCIDENT_PER_TOL * tol, constants.MIN_COINCIDENT)
    part = min(part, constants.MAX_COINCIDENT)
    most = _squared_tolerance(problem, temperature, part)
    # By differences: products would leave rounding between a center and itself.
    exact = "donot_use_mm_for_euclid_dist"
    gap = torch.cdist(centers, centers, compute_mode=exact).square_()  # (k, k)
    first = (gap <= most).int().argmax(0)  # (k,)
    while not torch.equal(first[first], first):  # a chain, each near the previous one
        first = first[first]
    return centers[first]


def expectation(
    problem: Problem, centers: Tensor, temperature: float, assignment: Assignment
) -> ClusterStatistics:
    """Compute the statistics of all rows, with their free energy (eq-free-energy)."""
    accumulate = problem.compute.accumulate

    def of_block(block: Tensor, weight: Tensor | None) -> ClusterStatistics:
        logits = relative_distances(centers, block, problem.offset, -1.0 / temperature)
        r, value = assignment.function(logits, logits)  # (k, m), (m,)
        return statistics.soft_statistics(
            r, block, weight, value, accumulate=accumulate
        )

    stats = problem.sum(of_block, len(centers))
    free_energy = problem.total_square - temperature * stats.objective
    return stats._replace(objective=free_energy)


def _noise_level(problem: Problem, stats: ClusterStatistics) -> float:
    """Compute the temperature at the noise level of the clusters: 2 sigma^2.

    The weighted distortion about the new means, by the law of total variance.
    """
    weight = stats.weight[:, None]
    mean = torch.where(weight > 0, stats.total / weight, problem.origin)  # (k, d)
    between = float(stats.weight @ (mean - problem.origin).square_().sum(1))
    return distortion_temperature(problem, problem.total_square - between)


def distortion_temperature(problem: Problem, distortion: float) -> float:
    """Compute the noise level at a distortion, 0 where that may be rounding."""
    if distortion <= constants.ZERO_DISTORTION_ROUNDINGS * distortion_rounding(problem):
        return 0.0
    n_numbers = problem.weight_sum * problem.rows.n_features
    return noise_temperature(distortion / n_numbers)


def is_soft(problem: Problem, temperature: float) -> bool:
    """Tell whether a temperature is above the rounding error of the distances."""
    return temperature > torch.finfo(problem.mean.dtype).eps * problem.variance


def _update(problem: Problem, stats: ClusterStatistics, centers: Tensor) -> Tensor:
    """Move centers to the means, and those without weight to the farthest rows."""
    means = statistics.weighted_means(stats, centers)
    empty = stats.weight <= 0  # (k,)
    if not bool(empty.any()):
        return means
    distance = problem.weighted(problem.nearest_distances(means[~empty]))  # (n,)
    for cluster in empty.nonzero()[:, 0]:
        means[cluster] = problem.row(distance.argmax())
        new = problem.weighted(problem.nearest_distances(means[cluster][None]))
        distance = torch.minimum(distance, new)
    return means
