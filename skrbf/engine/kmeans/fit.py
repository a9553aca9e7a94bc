"""A whole fit of soft K-means: start, descend, keep the best."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from skrbf.engine.data.device import Compute
from skrbf.engine.data.number_range import times_power_of_two
from skrbf.engine.data.rows import Rows, as_dense
from skrbf.engine.kmeans.config import KMeansConfig
from skrbf.engine.kmeans.constants import MIN_RELATIVE_GAIN
from skrbf.engine.kmeans.doubtful import is_doubtful, loosest_mean
from skrbf.engine.kmeans.em import (
    SoftState,
    anneal,
    distortion_temperature,
    em,
    expectation,
    is_soft,
    merge_coincident,
)
from skrbf.engine.kmeans.growth import grow
from skrbf.engine.kmeans.lloyd import assign, lloyd, step_record, update
from skrbf.engine.kmeans.predict import Fitted, Model, order_empty_last, score
from skrbf.engine.kmeans.problem import Problem, center_rows, make_problem, to_double
from skrbf.engine.kmeans.split_merge import split_merge
from skrbf.engine.training.records import Descent, OnStep, Record, never_stop
from skrbf.ops.assignment import ASSIGNMENTS
from skrbf.ops.fixed_direction import fixed_direction
from skrbf.ops.seeding import kmeans_plusplus


def fit(
    problem: Problem,
    config: KMeansConfig,
    starts: Sequence[Tensor] | None,
    on_step: OnStep[Tensor],
) -> Fitted:
    """Fit from each start, or from grown centers, and keep the best.

    Centers are grown where `starts` is None. A soft temperature that is asked for also
    anneals them. Clusters without a row come last.

    The result and the steps that `on_step` sees are in the unit of the table, whatever
    the unit of the problem. Where the clusters are so narrow that rounding may have
    decided on them, they are fitted again in double precision, about the loosest of
    them.
    """
    fitted, stopped = _fit_once(problem, config, starts, on_step)
    if stopped or not is_doubtful(problem, fitted.inertia):
        return fitted
    double = to_double(problem, loosest_mean(problem, fitted.labels))
    if starts is not None:
        starts = [start.to(double.mean) for start in starts]
    again, _ = _fit_once(double, config, starts, on_step)
    if config.temperature is None:  # the first may have taken noise for rounding
        return again
    return min(fitted, again, key=lambda fitted: fitted.objective)


def fit_hard(
    rows: Rows,
    weight: Tensor | None,
    n_clusters: int,
    compute: Compute,
    *,
    start: Tensor | None = None,
    seed: int | None = None,
    max_iter: int = 300,
) -> Fitted:
    """Fit hard K-means, as a service to other fits.

    Centers start from `start` (k, d), are drawn by k-means++ if there is a seed, and
    else are grown.
    """
    problem = make_problem(rows, weight, compute)
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        start = draw_centers(problem, n_clusters, generator)
    config = KMeansConfig(n_clusters, 0.0, ASSIGNMENTS["softmax"], max_iter, 0.0)
    return fit(problem, config, None if start is None else [start], never_stop)


def draw_centers(
    problem: Problem, n_clusters: int, generator: torch.Generator
) -> Tensor:
    """Draw rows (k, d) by greedy, weighted k-means++."""
    index = kmeans_plusplus(
        problem.rows,
        problem.weight,
        n_clusters,
        generator,
        problem.origin,
        problem.compute.accumulate,
    )
    return as_dense(problem.rows.take(index.to(problem.origin.device)))


def _fit_once(
    problem: Problem,
    config: KMeansConfig,
    starts: Sequence[Tensor] | None,
    on_step: OnStep[Tensor],
) -> tuple[Fitted, bool]:
    """Fit with centered rows. Also tell whether the fit was stopped."""
    centered, exponent = center_rows(problem), problem.exponent
    shift = problem.origin - centered.origin  # (d,)
    watch = partial(_watch_in_table, on_step, shift, exponent)
    grown, margin = starts is None, 0.0
    if starts is None:
        starts = _grow_starts(centered, config, watch)
        # Annealing has to be better by more than where the iterations stop.
        scatter = times_power_of_two(centered.scatter, 2 * exponent)
        margin = MIN_RELATIVE_GAIN * scatter
    else:
        starts = [start - shift for start in starts]
    fits = []
    for start in starts:
        descent = _descend(centered, config, start, watch)
        centers, temperature = descent.state
        centers = _in_order(centers) if grown else centers
        # As `predict` has them.
        centers = _in_table(centers, shift, exponent).to(problem.table.dtype)
        temperature = times_power_of_two(temperature, 2 * exponent)
        model = Model(centers, temperature, config.assignment)
        fits.append(_evaluate(problem, model, descent))
    return _best(fits, config, margin), descent.stopped


def _in_table(centers: Tensor, shift: Tensor, exponent: int) -> Tensor:
    """Bring centers of centered rows to the origin and unit of the table."""
    return (centers + shift) * 2.0**exponent


def _watch_in_table(
    on_step: OnStep[Tensor],
    shift: Tensor,
    exponent: int,
    record: Record,
    centers: Tensor,
) -> bool:
    """Show a step on centered rows to `on_step`, in the unit of the table."""
    record = record._replace(
        temperature=times_power_of_two(record.temperature, 2 * exponent),
        objective=times_power_of_two(record.objective, 2 * exponent),
    )
    return on_step(record, _in_table(centers, shift, exponent))


def _best(fits: Sequence[Fitted], config: KMeansConfig, margin: float) -> Fitted:
    """Choose the best fit. A later one has to be better by a margin."""
    if config.temperature is None:  # free energies of several temperatures: no order
        return min(fits, key=lambda fitted: fitted.inertia)
    best = fits[0]
    for fitted in fits[1:]:
        if fitted.objective < best.objective - margin:
            best = fitted
    return best


def _grow_starts(
    problem: Problem, config: KMeansConfig, on_step: OnStep[Tensor]
) -> list[Tensor]:
    """Grow centers, and anneal them for a temperature below the critical one."""
    growth = grow(problem, config.n_clusters, on_step)
    partition, centers = growth.state
    missing = config.n_clusters - len(centers)
    if growth.stopped or missing:  # missing: there are fewer distinct rows
        centers = torch.cat([centers, centers[:1].repeat(missing, 1)])
    else:
        moved = split_merge(problem, partition, config.max_iter, on_step)
        centers = moved.state[1]
    temperature = config.temperature or 0.0
    if is_soft(problem, temperature) and temperature < config.critical_temperature:
        return [centers, anneal(problem, config, centers, on_step)]
    return [centers]


def _descend(
    problem: Problem, config: KMeansConfig, centers: Tensor, on_step: OnStep[Tensor]
) -> Descent[SoftState]:
    """Iterate from a start to a fixed point, at the temperature asked for."""
    temperature = config.temperature
    if temperature is None:
        _, distortion = update(problem, assign(problem, centers))
        temperature = distortion_temperature(problem, distortion)
    if is_soft(problem, temperature):
        soft = em(problem, config, centers, temperature, on_step)
        centers, temperature = soft.state
        if temperature > 0:
            centers = _merge(problem, config, centers, temperature)
            return soft._replace(state=(centers, temperature))
    hard = lloyd(problem, assign(problem, centers), config.max_iter, on_step=on_step)
    centers = hard.state[0].centers
    stopped = on_step(step_record("descend", 0.0, hard.objective, centers), centers)
    return Descent((centers, 0.0), hard.objective, hard.n_iter, hard.converged, stopped)


def _merge(
    problem: Problem, config: KMeansConfig, centers: Tensor, temperature: float
) -> Tensor:
    """Merge centers that differ only by where the iterations stopped.

    The rows of several such centers then have one label, and not that of rounding.
    """
    centers = merge_coincident(problem, centers, temperature, config.tol)
    if temperature < config.critical_temperature:
        return centers
    blob = problem.mean.repeat(len(centers), 1)
    energy, blob_energy = (
        float(expectation(problem, c, temperature, config.assignment).objective)
        for c in (centers, blob)
    )
    close = blob_energy <= energy + MIN_RELATIVE_GAIN * problem.scatter
    return blob if close else centers


def _in_order(centers: Tensor) -> Tensor:
    """Sort centers along a direction that no data single out.

    In the order of their growth, rounding would number them: of two clusters that split
    in the same round the one with the higher critical temperature is first, be it by
    the last digit.
    """
    along = centers @ fixed_direction(centers)  # (k,)
    return centers[along.argsort(stable=True)]


def _evaluate(problem: Problem, model: Model, descent: Descent[SoftState]) -> Fitted:
    """Score a model as `predict` will, with clusters without a row last."""
    fitted = score(problem.table, problem.weight, model, problem.compute.accumulate)
    order, labels = order_empty_last(fitted.labels, fitted.counts > 0)
    return fitted._replace(
        centers=fitted.centers[order],
        labels=labels,
        counts=fitted.counts[order],
        cluster_weight=fitted.cluster_weight[order],
        n_iter=descent.n_iter,
        converged=descent.converged,
    )
