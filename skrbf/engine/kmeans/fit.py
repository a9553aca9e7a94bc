"""A whole fit of soft K-means: start, descend, keep the best."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.data.compute import Compute
from skrbf.engine.data.limits import times_power
from skrbf.engine.data.rows import Rows
from skrbf.engine.kmeans.em import (
    Soft,
    anneal,
    em,
    expectation,
    is_soft,
    merged,
    noise_level,
    step_record,
)
from skrbf.engine.kmeans.grow import grow
from skrbf.engine.kmeans.lloyd import Descent, assign, lloyd, update
from skrbf.engine.kmeans.predict import Model, Scored, score
from skrbf.engine.kmeans.problem import (
    Problem,
    about_origin,
    make_problem,
    rounding,
    widened,
)
from skrbf.engine.kmeans.split_merge import repair
from skrbf.engine.training.records import OnStep, Record, never_stop
from skrbf.ops.assignment import ASSIGNMENTS, Assignment
from skrbf.ops.directions import fixed_direction, leading_eigenpair
from skrbf.ops.distances import paired_squared_distances
from skrbf.ops.seeding import kmeans_plusplus
from skrbf.ops.statistics import label_sums, label_totals, weight_sums

_LANCZOS_STEPS = 40
_FEW_FEATURES = 300

# Of the scatter, by which a start must be better than the one before.
_LOWER = 1e-5


class Recipe(NamedTuple):
    """What to fit, in numbers."""

    n_clusters: int
    temperature: float | None  # relative to 2 lam; None: the clusters' noise level
    assignment: Assignment
    max_iter: int
    tol: float


class Fitted(NamedTuple):
    """A fit, on its device. Clusters without a row of their own come last."""

    centers: Tensor  # (k, d)
    scored: Scored
    temperature: float
    n_iter: int
    converged: bool


def largest_variance(problem: Problem) -> float:
    """Leading eigenvalue of the weighted covariance.

    By products with it only, where it is large or the rows are sparse. Otherwise in
    double precision on the CPU: eigensolvers in single precision fail on tables with
    constant features or few rows.
    """
    d = problem.rows.n_features
    if d <= _FEW_FEATURES and not problem.rows.is_sparse:

        def squares(block: Tensor, w: Tensor | None) -> Tensor:
            shift = block - problem.mean  # (m, d)
            weighted = shift if w is None else shift * w[:, None]
            return (weighted.t() @ shift).cpu().double()  # (d, d)

        covariance = problem.sum(squares, 2 * d)
        return max(float(torch.linalg.eigvalsh(covariance)[-1]), 0.0) / problem.mass

    def product(vector: Tensor) -> Tensor:
        def part(block: Tensor, w: Tensor | None) -> Tensor:
            along = block @ vector - problem.mean @ vector  # (m,)
            along = along if w is None else along * w
            alike = torch.zeros(len(along), dtype=torch.int64, device=along.device)
            moved = label_totals(block, alike, along, 1)[0]  # (d,)
            return moved - along.sum() * problem.mean

        return problem.sum(part, 1) / problem.mass

    far = problem.weighted(problem.square).argmax()
    first = problem.row(far) - problem.mean  # (d,)
    return float(leading_eigenpair(product, first, _LANCZOS_STEPS)[1])


def fit(
    problem: Problem,
    recipe: Recipe,
    starts: Sequence[Tensor] | None,
    reference: float,
    on_step: OnStep[Tensor],
) -> Fitted:
    """Fit from each start, or from grown centers, and keep the best.

    Parameters
    ----------
    starts : sequence of Tensor of shape (k, d) or None
        None grows the centers, see :func:`skrbf.engine.kmeans.grow.grow`. A soft
        temperature that is asked for also anneals them, see
        :func:`skrbf.engine.kmeans.em.anneal`.
    reference : float
        ``2 lam``, the unit of `recipe.temperature`.

    Notes
    -----
    What is found and what `on_step` sees is in the unit of the table, whatever that of
    the problem is. Where the clusters are so narrow that rounding may have decided on
    them, they are looked for again in double precision, about the loosest of them.
    """
    told_to_stop = False

    def watch(record: Record, centers: Tensor) -> bool:
        nonlocal told_to_stop
        told_to_stop = on_step(record, centers)
        return told_to_stop

    fitted = _fit(problem, recipe, starts, reference, watch)
    if told_to_stop or not _is_doubtful(problem, fitted):
        return fitted
    wide = widened(problem, _loosest_mean(problem, fitted.scored.labels))
    if starts is not None:
        starts = [start.to(wide.mean) for start in starts]
    again = _fit(wide, recipe, starts, reference, watch)
    if recipe.temperature is None:  # the first may have taken noise for rounding
        return again
    return min(fitted, again, key=lambda each: each.scored.objective)


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

    Parameters
    ----------
    start : Tensor of shape (n_clusters, d), optional
        Centers to start from. They are grown if there are none.
    seed : int, optional
        Draw the start by k-means++ instead, with this seed.
    """
    problem = make_problem(rows, weight, compute)
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        drawn = kmeans_plusplus(
            problem.rows,
            problem.weight,
            n_clusters,
            generator,
            problem.origin,
            compute.accumulate,
        )
        start = problem.rows.take(drawn.to(problem.origin.device))
    recipe = Recipe(n_clusters, 0.0, ASSIGNMENTS["softmax"], max_iter, 0.0)
    starts = None if start is None else [start]
    return fit(problem, recipe, starts, 1.0, never_stop)


# Of the rounding of the distortion: an inertia of less is not to be relied on.
_DOUBTFUL = 1 << 5


def _is_doubtful(problem: Problem, fitted: Fitted) -> bool:
    """Tell whether rounding may have decided which rows belong together."""
    inertia = times_power(fitted.scored.inertia, -2 * problem.exponent)
    return 0 < inertia < _DOUBTFUL * rounding(problem)


def _loosest_mean(problem: Problem, labels: Tensor) -> Tensor:
    """Mean (d,) of the cluster with most of the inertia, in double precision.

    Rows of a fill value have none, and the others need all digits about their own.
    """
    rows, labels = problem.rows.astype(problem.compute.accumulate), labels.long()
    d, k = rows.n_features, int(labels.max()) + 1

    def totals(block: Tensor, w: Tensor | None, label: Tensor) -> tuple[Tensor, Tensor]:
        weight, total = label_sums(block, label, w, k)
        return weight.to(rows.dtype), total.to(rows.dtype)

    weight, total = rows.sum(totals, 2 * d, problem.weight, labels)
    means = torch.where(weight[:, None] > 0, total / weight[:, None], 0.0)

    def inertias(block: Tensor, w: Tensor | None, label: Tensor) -> Tensor:
        each = paired_squared_distances(means, block, label, rows.dtype)
        return weight_sums(label, each if w is None else each * w, k)

    return means[rows.sum(inertias, 2 * d, problem.weight, labels).argmax()]


def _fit(
    problem: Problem,
    recipe: Recipe,
    starts: Sequence[Tensor] | None,
    reference: float,
    on_step: OnStep[Tensor],
) -> Fitted:
    whole, problem = problem, about_origin(problem)
    back = whole.origin - problem.origin  # (d,)
    exponent = problem.exponent

    def in_table(centers: Tensor) -> Tensor:
        return (centers + back) * 2.0**exponent

    def on_moved(record: Record, centers: Tensor) -> bool:
        record = record._replace(
            temperature=times_power(record.temperature, 2 * exponent),
            objective=times_power(record.objective, 2 * exponent),
        )
        return on_step(record, in_table(centers))

    grown = starts is None
    if starts is None:
        starts = [_grown(problem, recipe, on_moved)]
        starts += _annealed(problem, recipe, starts[0], reference, on_moved)
    else:
        starts = [start - back for start in starts]
    fits = []
    for start in starts:
        run = _descend(problem, recipe, start, reference, on_moved)
        if grown:
            run = run._replace(centers=_in_order(run.centers))
        run = run._replace(
            centers=in_table(run.centers),
            temperature=times_power(run.temperature, 2 * exponent),
        )
        fits.append(_finished(whole, recipe, run))
    if recipe.temperature is None:  # free energies of several temperatures: no order
        return min(fits, key=lambda fitted: fitted.scored.inertia)
    # What was annealed has to be better by more than where the iterations stopped.
    margin = 0.0
    if grown:
        margin = _LOWER * times_power(problem.scatter, 2 * exponent)
    best = fits[0]
    for fitted in fits[1:]:
        if fitted.scored.objective < best.scored.objective - margin:
            best = fitted
    return best


def _grown(problem: Problem, recipe: Recipe, on_step: OnStep[Tensor]) -> Tensor:
    stop = False

    def watch(record: Record, centers: Tensor) -> bool:
        nonlocal stop
        stop = on_step(record, centers)
        return stop

    partition = grow(problem, recipe.n_clusters, watch)
    missing = recipe.n_clusters - partition.n_clusters
    if stop or missing:  # fewer distinct rows than clusters, or told to
        centers, _ = update(problem, partition)
        return torch.cat([centers, centers[:1].repeat(missing, 1)])
    return repair(problem, partition, recipe.max_iter, on_step).centers


def _annealed(
    problem: Problem,
    recipe: Recipe,
    centers: Tensor,
    reference: float,
    on_step: OnStep[Tensor],
) -> list[Tensor]:
    """A second start, for a temperature on the way from the critical one to 0."""
    temperature = (recipe.temperature or 0.0) * reference
    critical = _critical(recipe, reference)
    if not is_soft(problem, temperature) or temperature >= critical:
        return []
    run = anneal(
        problem,
        centers,
        critical,
        temperature,
        recipe.assignment,
        tol=recipe.tol,
        on_step=on_step,
    )
    return [run]


def _critical(recipe: Recipe, reference: float) -> float:
    """Temperature at which all centers merge, for the map in use."""
    return reference * recipe.assignment.critical_factor(recipe.n_clusters)


class _Run(NamedTuple):
    """What the last iterations came to."""

    centers: Tensor
    temperature: float
    n_iter: int
    converged: bool


def _descend(
    problem: Problem,
    recipe: Recipe,
    centers: Tensor,
    reference: float,
    on_step: OnStep[Tensor],
) -> _Run:
    adapt = recipe.temperature is None
    if recipe.temperature is None:
        hard = assign(problem, centers)
        temperature = noise_level(problem, update(problem, hard)[1])
    else:
        temperature = recipe.temperature * reference
    if is_soft(problem, temperature):
        soft = em(
            problem,
            centers,
            temperature,
            recipe.assignment,
            max_iter=recipe.max_iter,
            tol=recipe.tol,
            adapt=adapt,
            on_step=on_step,
        )
        if soft.temperature > 0:
            centers = _merged(problem, recipe, soft, _critical(recipe, reference))
            return _Run(centers, soft.temperature, soft.n_iter, soft.converged)
        centers = soft.centers

    def report(descent: Descent) -> bool:
        partition = descent.partition
        record = step_record("descend", 0.0, descent.distortion, partition.centers)
        return on_step(record, partition.centers)

    descent = lloyd(problem, assign(problem, centers), recipe.max_iter, report=report)
    report(descent)
    return _Run(descent.partition.centers, 0.0, descent.n_iter, descent.converged)


def _merged(problem: Problem, recipe: Recipe, soft: Soft, critical: float) -> Tensor:
    """Centers that are the same but for where the iterations stopped, made the same.

    Rows then have one label and not that of rounding.
    """
    centers = merged(problem, soft.centers, soft.temperature, recipe.tol)
    if soft.temperature < critical:
        return centers
    blob = problem.mean.repeat(len(centers), 1)
    both = [
        float(expectation(problem, c, soft.temperature, recipe.assignment).objective)
        for c in (centers, blob)
    ]
    return blob if both[1] <= both[0] + _LOWER * problem.scatter else centers


def _in_order(centers: Tensor) -> Tensor:
    """Centers along a direction that no data single out.

    In the order of their growth, rounding would number them: of two clusters that split
    in the same round the hotter one is first, be it by the last digit.
    """
    along = centers @ fixed_direction(centers)  # (k,)
    return centers[along.argsort(stable=True)]


def _finished(problem: Problem, recipe: Recipe, run: _Run) -> Fitted:
    """Score the centers as `predict` will, those without a row moved to the end."""
    centers = run.centers.to(problem.table.dtype)  # as `predict` has them
    model = Model(centers, run.temperature, recipe.assignment)
    scored = score(problem.table, problem.weight, model, problem.compute.accumulate)
    used = scored.counts > 0  # (k,)
    if not bool(used[: int(used.sum())].all()):
        order = torch.argsort((~used).int(), stable=True)  # (k,)
        centers = centers[order]
        place = order.argsort().int()  # (k,)
        scored = scored._replace(
            labels=place.index_select(0, scored.labels),
            counts=scored.counts[order],
            weight=scored.weight[order],
        )
    return Fitted(centers, scored, run.temperature, run.n_iter, run.converged)
