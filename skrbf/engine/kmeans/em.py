"""Soft K-means at one temperature: fixed-point steps on the free energy."""

from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.kmeans.problem import Problem, rounding
from skrbf.engine.training.records import OnStep, Record
from skrbf.ops import statistics
from skrbf.ops.assignment import Assignment
from skrbf.ops.distances import relative_distances
from skrbf.ops.schedule import geometric_temperatures, noise_temperature
from skrbf.ops.statistics import ClusterStatistics


class Soft(NamedTuple):
    """What a run of fixed-point steps came to."""

    centers: Tensor  # (k, d)
    temperature: float
    objective: float  # of the centers before the last step
    n_iter: int
    converged: bool


def step_record(
    phase: str, temperature: float, objective: float, centers: Tensor
) -> Record:
    """Record a step of K-means."""
    return Record(
        phase, objective=objective, temperature=temperature, n_clusters=len(centers)
    )


def em(
    problem: Problem,
    centers: Tensor,
    temperature: float,
    assignment: Assignment,
    *,
    max_iter: int,
    tol: float,
    adapt: bool,
    on_step: OnStep[Tensor],
) -> Soft:
    """Fixed-point steps until the centers stand still (eq-fixed-point).

    Each step lowers the free energy. With `adapt` the temperature follows the noise
    level of the clusters, twice the within-cluster variance per feature.

    Parameters
    ----------
    tol : float
        Stop when the sum of squared shifts of the centers falls to this part of the
        variance per feature or of the temperature, whichever is less, and the
        temperature changes by less than it.
    """
    eps = torch.finfo(centers.dtype).eps
    objective = float("inf")
    for n_iter in range(1, max_iter + 1):
        stats = expectation(problem, centers, temperature, assignment)
        objective = float(stats.objective)
        following = _filled(problem, stats, centers)
        before = temperature
        if adapt:
            temperature = self_consistent(problem, stats)
        shift = float((following - centers).square_().sum(dtype=stats.weight.dtype))
        centers = following
        stop = on_step(step_record("descend", before, objective, centers), centers)
        still = abs(temperature - before) <= max(tol, 64 * eps) * before
        enough = _near(problem, temperature, tol)
        least = (64 * eps) ** 2 * float(centers.square().sum())
        if stop or (still and shift <= max(enough, least)):
            return Soft(centers, temperature, objective, n_iter, True)
        if adapt and not is_soft(problem, temperature):
            return Soft(centers, 0.0, objective, n_iter, True)
    return Soft(centers, temperature, objective, max_iter, False)


def _near(problem: Problem, temperature: float, share: float) -> float:
    """A share of the temperature or of the variance, whichever is less."""
    variance = problem.scatter / (problem.mass * problem.rows.n_features)
    return share * min(variance, temperature)


# Steps at each temperature on the way down, and how far it falls from one to the next.
_ANNEAL_STEPS = 5
_COOLING = 0.8
# Of their way from the mean, so much is left to the centers where annealing starts.
_NUDGE = 0.01


def anneal(
    problem: Problem,
    centers: Tensor,
    critical: float,
    temperature: float,
    assignment: Assignment,
    *,
    tol: float,
    on_step: OnStep[Tensor],
) -> Tensor:
    """Centers that part as the temperature falls from the critical one.

    They start about the mean, each a little on its way to one of `centers`, so that
    they part in the directions in which those lie.

    Parameters
    ----------
    critical : float
        Temperature where all centers merge, for the map in use.
    temperature : float
        Where to stop: the steps at it are still to be taken.
    """
    stopped = False

    def on_anneal(record: Record, centers: Tensor) -> bool:
        nonlocal stopped
        stopped = on_step(record._replace(phase="anneal"), centers)
        return stopped

    centers = problem.mean + _NUDGE * (centers - problem.mean)
    for t in geometric_temperatures(critical, temperature, _COOLING)[1:-1]:
        centers = em(
            problem,
            centers,
            t,
            assignment,
            max_iter=_ANNEAL_STEPS,
            tol=tol,
            adapt=False,
            on_step=on_anneal,
        ).centers
        if stopped:
            break
    return centers


# Two centers are as good as one where they are nearer than `tol` looks. Slow iterations
# end when two that meet are still some of their steps apart, so the squared distance
# may be so many times as large; from the second share on, since no iteration goes on
# below rounding, and up to the third.
# The first number allows for steps of a three hundredth of the way that is left; from
# it on the test of `tol` at 0 and at 1e-12 found the same clusters.
_STEPS_APART, _SAME_AT_LEAST, _SAME = 1e5, 1e-9, 1e-4


def merged(problem: Problem, centers: Tensor, temperature: float, tol: float) -> Tensor:
    """Each center at the first that is as near to it as `em` looks, or nearer."""
    share = min(max(_STEPS_APART * tol, _SAME_AT_LEAST), _SAME)
    enough = _near(problem, temperature, share)
    # By differences: products would leave rounding between a center and itself.
    exact = "donot_use_mm_for_euclid_dist"
    gap = torch.cdist(centers, centers, compute_mode=exact).square_()  # (k, k)
    first = (gap <= enough).int().argmax(0)  # (k,)
    while not torch.equal(first[first], first):  # a chain, each near the one before
        first = first[first]
    return centers[first]


def expectation(
    problem: Problem, centers: Tensor, temperature: float, assignment: Assignment
) -> ClusterStatistics:
    """Statistics of all rows; the objective is the free energy (eq-free-energy)."""
    accumulate = problem.compute.accumulate

    def part(block: Tensor, weight: Tensor | None) -> ClusterStatistics:
        logits = relative_distances(centers, block, problem.offset, -1.0 / temperature)
        r, value = assignment.function(logits, logits)  # (k, m), (m,)
        return statistics.soft_statistics(
            r, block, weight, value, accumulate=accumulate
        )

    whole = problem.sum(part, len(centers))
    free_energy = problem.total_square - temperature * whole.objective
    return whole._replace(objective=free_energy)


def self_consistent(problem: Problem, stats: ClusterStatistics) -> float:
    """The temperature at the noise level of the clusters: 2 sigma^2.

    The weighted distortion about the new means, by the law of total variance.
    """
    weight = stats.weight[:, None]
    mean = torch.where(weight > 0, stats.total / weight, problem.origin)  # (k, d)
    between = float(stats.weight @ (mean - problem.origin).square_().sum(1))
    return noise_level(problem, problem.total_square - between)


# Of the rounding of the distortion: a distortion of less may be none.
_SURE = 4


def noise_level(problem: Problem, within: float) -> float:
    """The temperature at a distortion, 0 where that may be rounding."""
    if within <= _SURE * rounding(problem):
        return 0.0
    return noise_temperature(within / (problem.mass * problem.rows.n_features))


def is_soft(problem: Problem, temperature: float) -> bool:
    """Whether a temperature is above what rounding leaves of the distances."""
    spread = problem.scatter / problem.mass
    return temperature > torch.finfo(problem.mean.dtype).eps * spread


def _filled(problem: Problem, stats: ClusterStatistics, centers: Tensor) -> Tensor:
    """The means; a center without any weight goes to the row farthest from all."""
    following = statistics.weighted_means(stats, centers)
    dead = stats.weight <= 0  # (k,)
    if not bool(dead.any()):
        return following
    alive = following[~dead]
    distance = problem.rows.map(
        lambda block: relative_distances(alive, block, problem.offset).amin(0),
        len(alive),
    )
    distance = problem.weighted((distance + problem.square).clamp_(min=0))  # (n,)
    for cluster in dead.nonzero()[:, 0]:
        following[cluster] = problem.row(distance.argmax())
        near = problem.weighted(problem.distances_to(following[cluster]))
        distance = torch.minimum(distance, near)
    return following
