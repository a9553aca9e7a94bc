"""A whole fit of an RBF network: units, convex start, joint training."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.rbf import objective as net
from skrbf.engine.rbf.initial_units import (
    place_centers,
    place_centers_by_class,
    place_units,
)
from skrbf.engine.rbf.objective import Coordinates, Task
from skrbf.engine.rbf.output_layer import chosen_factor, logistic, ridge, widened
from skrbf.engine.training.adam import BatchGradient, Moments, adam, adam_step, shuffled
from skrbf.engine.training.lbfgs import lbfgs
from skrbf.engine.training.loop import Step, Stopping, Trained, finite, train
from skrbf.engine.training.records import OnStep, Record
from skrbf.ops.network import Network, logits
from skrbf.ops.rbf import Units, exponents

# Iterations of the output before joint training, which goes on with it, and alone.
_FIRST, _ALONE = 10, 500
_OUTPUT_TOL, _OUTPUT_PATIENCE = 1e-3, 5
# Rates of widths and scales over that of the rest.
_WIDTH_RATE = 3.0
# Part of the rates that a batch of a stream is learned with: they do not fall there.
_BATCH_RATE = 0.25
# A batch is about this part of the rows, as long as it is neither small nor large.
_BATCHES, _SMALLEST, _LARGEST = 32, 32, 256
_EPOCHS, _STEPS, _ITERATIONS = 20, 500, 150
# Joint training has diverged where its loss stays above that of the start, by more than
# the first share of the entropy of the classes, which is the loss of knowing nothing;
# and by more than the second of the loss of a start that was trained before: there the
# best epoch of Adam is up to 1.5 % above it, on the data of scikit-learn. Less than the
# third share of the entropy above the least loss of smoothed targets the classes are as
# good as told apart: also where one has nearly all of the weight.
_RISE, _TRAINED, _SOLVED = 1e-3, 0.05, 0.02


class Plan(NamedTuple):
    """How to fit, in the terms of the estimator's parameters."""

    n_centers: int
    per_class: bool
    width: str
    width_factor: float | None  # None: the one that predicts best
    solver: str  # "adam", "lbfgs"
    batch_size: int
    learning_rate: float
    stopping: Stopping
    generator: torch.Generator  # of the CPU


def plan_solver(
    solver: str, max_iter: int | None, batch_size: int | None, n_rows: int
) -> tuple[str, int, int]:
    """Solver, number of steps and batch size, where they were left open.

    Adam where there are several batches: its noise keeps a network of many parameters
    from fitting every row, and it came out ahead in cross-validation.
    """
    if batch_size is None:
        batch_size = 2 ** int(math.log2(max(1, n_rows / _BATCHES)))
        batch_size = min(max(batch_size, _SMALLEST), _LARGEST)
    if solver == "auto":
        solver = "adam" if n_rows > batch_size else "lbfgs"
    if max_iter is None:
        max_iter = _ITERATIONS
        if solver == "adam":
            steps_per_epoch = math.ceil(n_rows / batch_size)
            max_iter = max(_EPOCHS, math.ceil(_STEPS / steps_per_epoch))
    return solver, max_iter, batch_size


def most_steps(plan: Plan, go_on: bool) -> int:
    """How many steps a fit may take, the first output included."""
    joint = plan.stopping.max_iter
    return joint + (0 if go_on else _output_steps(joint))


def _output_steps(joint: int) -> int:
    return _FIRST if joint else _ALONE


def fit(
    task: Task,
    held_out: Task | None,
    plan: Plan,
    start: Network | Units,
    on_step: OnStep[Network],
) -> Trained[Network]:
    """Fit a network.

    Parameters
    ----------
    task : Task
        With the kernel of the units as they were placed.
    held_out : Task or None
        Rows for validation, of which the accuracy chooses the best state.
    start : Network or Units
        What to go on from: units alone get their output first, the convex start.
    """
    stopped, lowest = False, math.inf

    def watch(record: Record, network: Network) -> bool:
        nonlocal stopped, lowest
        if record.phase == "joint":
            lowest = min(lowest, record.loss)
        stopped = bool(on_step(record, network))
        return stopped

    validate = None if held_out is None else _accuracy(held_out)
    trained_before = isinstance(start, Network)
    if isinstance(start, Units):
        first = _convex(task, start, plan, watch, validate)
        if stopped or plan.stopping.max_iter == 0:
            return first
        start = first.state
    task = task._replace(home=start.units.centers)
    begin = Step(start, net.loss(task, start))
    n_at_once = plan.batch_size if plan.solver == "adam" else len(task.rows)
    with task.compute.limited_threads(n_at_once * start.units.centers.numel()):
        if plan.solver == "lbfgs":
            trained = _by_lbfgs(task, plan.stopping, begin, watch, validate)
        else:
            trained = _by_adam(task, plan, begin, watch, validate)
    kept = trained.n_iter > 0 and trained.state is start
    worse = lowest > _tolerable(task, begin.loss, trained_before)
    return trained._replace(diverged=kept and worse and not stopped)


def _tolerable(task: Task, loss: float, trained_before: bool) -> float:
    """A loss up to which joint training counts as no worse than that of its start."""
    none = task.weight.new_zeros(task.n_classes)
    share = none.index_add(0, task.labels, task.weight)  # (q,)
    share = share / share.sum()
    if float(share.amax()) >= 1.0 - torch.finfo(share.dtype).eps:  # nothing to learn
        return math.inf
    one = torch.zeros_like(share).index_fill_(0, share.argmax(), 1.0)
    even = torch.full_like(share, 1 / len(share))
    entropy, least = (
        float(torch.special.entr(targets.lerp(even, task.smoothing)).sum())
        for targets in (share, one)
    )
    risen = loss + _RISE * entropy + (_TRAINED * loss if trained_before else 0.0)
    return max(risen, least + _SOLVED * entropy)


def _convex(
    task: Task,
    units: Units,
    plan: Plan,
    on_step: OnStep[Network],
    validate: Callable[[Network], float] | None,
) -> Trained[Network]:
    network, factor = ridge(task, units)
    most = _output_steps(plan.stopping.max_iter)
    return train(
        logistic(task, network, factor),
        Step(network, net.loss(task, network)),
        "output",
        Stopping(most, _OUTPUT_TOL, _OUTPUT_PATIENCE),
        on_step,
        validate,
    )


def first_units(task: Task, plan: Plan) -> tuple[Units, float]:
    """Units where K-means places them, and the factor that is on their widths."""
    if plan.per_class:
        centers = place_centers_by_class(task, plan.n_centers)
    else:
        centers = place_centers(task.rows, task.weight, plan.n_centers, task.compute)
    spread = math.sqrt(float(task.rows.square().sum(1) @ task.weight))
    units = place_units(centers, plan.width, spread)
    factor = plan.width_factor
    factor = chosen_factor(task, units) if factor is None else factor
    return widened(units, factor), factor


def _by_lbfgs(
    task: Task,
    stopping: Stopping,
    start: Step[Network],
    on_step: OnStep[Network],
    validate: Callable[[Network], float] | None,
) -> Trained[Network]:
    place = net.coordinates(task, start.state)

    def function(vector: Tensor) -> tuple[float, Tensor]:
        value, gradient = net.loss_gradient(task, place.network(vector))
        return value, place.gradient(gradient)

    steps = _unpacked(lbfgs(function, place.vector(start.state)), place)
    return train(steps, start, "joint", stopping, on_step, validate)


def _by_adam(
    task: Task,
    plan: Plan,
    start: Step[Network],
    on_step: OnStep[Network],
    validate: Callable[[Network], float] | None,
) -> Trained[Network]:
    place, stopping = net.coordinates(task, start.state), plan.stopping
    steps = adam(
        batch_gradient(task, place),
        lambda vector: net.loss(task, place.network(vector)),
        place.vector(start.state),
        rates(start.state, plan.learning_rate),
        shuffled(len(task.rows), plan.batch_size, plan.generator, task.rows.device),
        stopping.max_iter,
    )
    if validate is None:  # the rates fall to 0: that is the end, and progress is uneven
        stopping = stopping._replace(patience=stopping.max_iter + 1)
    trained = train(
        _unpacked(steps, place), start, "joint", stopping, on_step, validate
    )
    return trained._replace(converged=True)


def batch_gradient(task: Task, place: Coordinates) -> BatchGradient:
    """Gradient of some rows, from a vector to a vector."""

    def gradient(vector: Tensor, rows: Tensor) -> Tensor:
        return place.gradient(net.batch_gradient(task, place.network(vector), rows))

    return gradient


def rates(network: Network, learning_rate: float) -> Tensor:
    """The rate of each parameter: that of widths and scales is higher."""
    units, full = network.units, torch.ones_like
    scales = full(units.log_scales)
    if units.log_widths.shape[1] > 1:  # the widths have all features to themselves
        scales = torch.zeros_like(scales)
    wide = Units(
        full(units.centers),
        _WIDTH_RATE * full(units.log_widths),
        _WIDTH_RATE * scales,
    )
    factors = Network(wide, full(network.weight), full(network.bias))
    return learning_rate * net.pack(factors)


def _unpacked(
    steps: Iterator[Step[Tensor]], place: Coordinates
) -> Iterator[Step[Network]]:
    return (Step(place.network(step.state), step.loss) for step in steps)


def _accuracy(task: Task) -> Callable[[Network], float]:
    """The weighted share of rows that a network gets right."""

    def score(network: Network) -> float:
        right = 0.0
        for rows, labels, weight in task.blocks(len(network.units.centers)):
            phi = task.activation.function(exponents(network.units, rows))
            hit = logits(network, phi).argmax(0) == labels
            right += float((weight * hit).sum(dtype=task.compute.accumulate))
        return right

    return score


def go_on(
    task: Task, network: Network, moments: Moments | None, plan: Plan
) -> tuple[Network, Moments, float]:
    """One epoch of Adam over the rows of a batch, at low rates; and the loss.

    The moments are those of steps with the same kernel.
    """
    task = task._replace(home=network.units.centers)
    place = net.coordinates(task, network)
    position = place.vector(network)
    moments = Moments.none(position) if moments is None else moments
    gradient = batch_gradient(task, place)
    rate = rates(network, _BATCH_RATE * plan.learning_rate)
    n_rows, device = len(task.rows), task.rows.device
    with task.compute.limited_threads(plan.batch_size * network.units.centers.numel()):
        for _, rows in shuffled(n_rows, plan.batch_size, plan.generator, device)():
            slope = gradient(position, rows)
            position, moments = adam_step(position, slope, moments, rate)
    network = place.network(position)
    return network, moments, finite(net.loss(task, network), 1, "batch")
