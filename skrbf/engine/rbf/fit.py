"""Fit of an RBF network: the output layer first, then joint training."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

import torch
from torch import Tensor

from skrbf.engine.data.training_data import TrainingData
from skrbf.engine.rbf import constants
from skrbf.engine.rbf.config import RBFConfig, output_max_iter
from skrbf.engine.rbf.objective import (
    Objective,
    fraction_blocks,
    fractions,
    loss,
    pack,
    unwhiten,
    whiten,
    whitened_batch_gradient,
    whitened_loss_gradient,
)
from skrbf.engine.rbf.output_layer import logistic, ridge
from skrbf.engine.training.adam import (
    Moments,
    adam,
    constant_schedule,
    cosine_schedule,
    no_moments,
)
from skrbf.engine.training.batches import shuffled_batches
from skrbf.engine.training.lbfgs import lbfgs
from skrbf.engine.training.loop import Step, Stopping, check_finite, train
from skrbf.engine.training.records import Descent, OnStep
from skrbf.ops.rbf_network import Network, logits
from skrbf.ops.rbf_units import Activation, RBFParameters, log_activations

# Whitened parameters (p,), and the moments of Adam.
_State = tuple[Tensor, Moments]


def fit(
    objective: Objective,
    held_out: TrainingData | None,
    config: RBFConfig,
    start: Network | RBFParameters,
    on_step: OnStep[Network],
) -> tuple[Descent[Network], float, bool]:
    """Fit a network; return it, its validation score, and whether training diverged.

    Parameters
    ----------
    objective : Objective
    held_out : TrainingData or None
        Rows for validation. Accuracy on them decides which state is best; without them
        the score is NaN.
    config : RBFConfig
    start : Network or RBFParameters
        Network of an earlier fit to resume, or new units without an output layer. If
        all losses of joint training are above that of its start, training has diverged
        and the start of joint training is the result.
    on_step : callable
        ``on_step(record, network)`` after every step. The fit ends if it returns True.
    """
    validate = None
    if held_out is not None:
        validate = partial(_accuracy, held_out, objective.activation)
    if isinstance(start, Network):
        network = start
    else:
        output, score = _fit_output(objective, start, config, on_step, validate)
        if output.stopped or config.stopping.max_iter == 0:
            return output, score, False
        network = output.state
    vector = whiten(network, objective.kernel)
    first: Step[_State] = Step((vector, no_moments(vector)), loss(objective, network))

    def decode(state: _State) -> Network:
        if state is first.state:  # without the rounding of the whitening
            return network
        return unwhiten(state[0], network, objective.kernel)

    with _limited_threads(objective, config):
        best, score, least_loss = train(
            _joint_steps(objective, network, first.state, config),
            first,
            "joint",
            _joint_stopping(config, validate is not None),
            lambda record, state: on_step(record, decode(state)),
            None if validate is None else lambda state: validate(decode(state)),
        )
    diverged = False
    if best.state is first.state and best.n_iter > 0 and not best.stopped:
        limit = _divergence_limit(objective, first.loss, isinstance(start, Network))
        diverged = least_loss > limit
    return Descent(decode(best.state), *best[1:]), score, diverged


def fit_batch(
    objective: Objective, network: Network, moments: Moments | None, config: RBFConfig
) -> tuple[Network, Moments, float]:
    """Train a network for an epoch of Adam on a batch; return moments and loss, too.

    Moments of earlier steps are not used if they are of another number of parameters.
    """
    vector = whiten(network, objective.kernel)
    if moments is None or len(moments[0]) != len(vector):
        moments = no_moments(vector)
    rate = constants.PARTIAL_FIT_RATE_FACTOR * config.learning_rate
    slow = config._replace(solver="adam", learning_rate=rate)
    steps = _adam(objective, network, (vector, moments), slow, constant_schedule)
    with _limited_threads(objective, slow):
        (vector, moments), value = next(steps)
    check_finite(value, 1, "batch")
    return unwhiten(vector, network, objective.kernel), moments, value


def _fit_output(
    objective: Objective,
    units: RBFParameters,
    config: RBFConfig,
    on_step: OnStep[Network],
    validate: Callable[[Network], float] | None,
) -> tuple[Descent[Network], float]:
    """Fit the output layer on fixed units."""
    network, factor = ridge(objective, units)
    max_iter = output_max_iter(config.stopping.max_iter)
    descent, score, _ = train(
        logistic(objective, network, factor),
        Step(network, loss(objective, network)),
        "output",
        Stopping(max_iter, constants.OUTPUT_TOL, constants.OUTPUT_PATIENCE),
        on_step,
        validate,
    )
    return descent, score


def _joint_steps(
    objective: Objective, network: Network, start: _State, config: RBFConfig
) -> Iterator[Step[_State]]:
    """Create the optimizer of all parameters."""
    if config.solver == "adam":
        schedule = cosine_schedule(config.stopping.max_iter)
        return _adam(objective, network, start, config, schedule)
    steps = lbfgs(partial(whitened_loss_gradient, objective, network), start[0])
    return (Step((step.state, start[1]), step.loss) for step in steps)


def _adam(
    objective: Objective,
    network: Network,
    start: _State,
    config: RBFConfig,
    schedule: Callable[[float], float],
) -> Iterator[Step[_State]]:
    rows = objective.data.rows
    return adam(
        partial(whitened_batch_gradient, objective, network),
        partial(loss, objective, network),
        start,
        _rates(network, config.learning_rate),
        lambda: shuffled_batches(
            len(rows), config.batch_size, config.generator, rows.device
        ),
        schedule,
    )


def _joint_stopping(config: RBFConfig, has_validation: bool) -> Stopping:
    """Let Adam take all its epochs if only the loss tells about its progress.

    The loss falls unevenly, and the learning rates reach 0 in the last epoch.
    """
    stopping = config.stopping
    if config.solver == "lbfgs" or has_validation:
        return stopping
    return stopping._replace(patience=stopping.max_iter + 1)


def _limited_threads(
    objective: Objective, config: RBFConfig
) -> AbstractContextManager[None]:
    """Limit the threads to the work of a batch."""
    data = objective.data
    n_rows = config.batch_size if config.solver == "adam" else len(data.rows)
    return data.compute.limited_threads(n_rows * objective.anchor.numel())


def _rates(network: Network, learning_rate: float) -> Tensor:
    """Compute the learning rate of each parameter (p,)."""
    units, ones = network.units, torch.ones_like
    scales = ones(units.log_scales)
    if units.log_widths.shape[1] > 1:  # redundant: each feature has its own widths
        scales = torch.zeros_like(scales)
    factor = constants.WIDTH_RATE_FACTOR
    unit_factors = RBFParameters(
        ones(units.centers), factor * ones(units.log_widths), factor * scales
    )
    factors = Network(unit_factors, ones(network.weight), ones(network.bias))
    return learning_rate * pack(factors)


def _divergence_limit(objective: Objective, loss: float, resumed: bool) -> float:
    """Compute the loss above which joint training has diverged from a start."""
    data = objective.data
    zeros = data.weight.new_zeros(objective.n_classes)
    prior = zeros.index_add(0, data.labels, fractions(data))  # (q,)
    prior = prior / prior.sum()
    if float(prior.amax()) >= 1.0 - torch.finfo(prior.dtype).eps:  # a single class
        return math.inf
    one_hot = torch.zeros_like(prior).index_fill_(0, prior.argmax(), 1.0)
    uniform = torch.full_like(prior, 1 / len(prior))
    entropy, minimum = (
        float(torch.special.entr(targets.lerp(uniform, objective.smoothing)).sum())
        for targets in (prior, one_hot)
    )
    limit = loss + constants.DIVERGENCE_MARGIN * entropy
    limit += constants.WARM_START_MARGIN * loss if resumed else 0.0
    return max(limit, minimum + constants.SOLVED_MARGIN * entropy)


def _accuracy(data: TrainingData, activation: Activation, network: Network) -> float:
    """Compute the weighted accuracy of a network."""
    total = 0.0
    for rows, labels, weight in fraction_blocks(data, len(network.units.centers)):
        z = log_activations(network.units, rows)  # (k, m)
        is_correct = logits(network, activation.function(z)).argmax(0) == labels
        total += float((weight * is_correct).sum(dtype=data.compute.accumulate))
    return total
