"""Adam over mini-batches, as an iterator of its epochs."""

import math
from collections.abc import Callable, Iterator
from itertools import count

import torch
from torch import Tensor

from skrbf.engine.training.loop import Step

# Decay rates of both moments and the term that keeps steps finite, as in Kingma and Ba
# (2015) and torch.optim.Adam.
ADAM_DECAY, ADAM_SQUARE_DECAY, ADAM_EPSILON = 0.9, 0.999, 1e-8

# Running means of the gradient (p,) and of its square (p,), and the number of steps.
Moments = tuple[Tensor, Tensor, int]


def adam_step(
    position: Tensor,
    gradient: Tensor,
    moments: Moments,
    rates: Tensor,
    rate_factor: float = 1.0,
) -> tuple[Tensor, Moments]:
    """Take one step of Adam (Kingma and Ba 2015, algorithm 1).

    Position, gradient and learning rates are (p,). `rate_factor` multiplies all rates.
    """
    first = torch.lerp(gradient, moments[0], ADAM_DECAY)
    second = torch.lerp(gradient.square(), moments[1], ADAM_SQUARE_DECAY)
    n_steps = moments[2] + 1
    # The bias corrections of both moments are numbers: apply them to rate and epsilon.
    correction = math.sqrt(1.0 - ADAM_SQUARE_DECAY**n_steps)
    rate_factor *= correction / (1.0 - ADAM_DECAY**n_steps)
    root = second.sqrt().add_(ADAM_EPSILON * correction)
    position = torch.addcdiv(position, first * rates, root, value=-rate_factor)
    return position, (first, second, n_steps)


def no_moments(position: Tensor) -> Moments:
    """Return the moments before the first step."""
    return torch.zeros_like(position), torch.zeros_like(position), 0


def cosine_schedule(n_epochs: int) -> Callable[[float], float]:
    """Return a schedule of factors that fall from 1 to 0 along half a cosine."""

    def factor(epochs_done: float) -> float:
        return 0.5 * (1.0 + math.cos(math.pi * min(epochs_done / n_epochs, 1.0)))

    return factor


def constant_schedule(epochs_done: float) -> float:
    """Return the factor 1 at any time."""
    return 1.0


def adam(
    gradient: Callable[[Tensor, Tensor], Tensor],
    loss: Callable[[Tensor], float],
    start: tuple[Tensor, Moments],
    rates: Tensor,
    batches: Callable[[], Iterator[tuple[Tensor, float]]],
    schedule: Callable[[float], float],
) -> Iterator[Step[tuple[Tensor, Moments]]]:
    """Minimize a mean loss over rows, and yield a step after every epoch.

    Parameters
    ----------
    gradient : callable
        ``gradient(position, index)`` of the mean loss of the rows of a batch.
    loss : callable
        ``loss(position)``, the mean loss of all rows.
    start : (position, moments)
        Position of shape (p,), and moments of earlier steps or of `no_moments`.
    rates : Tensor of shape (p,)
        Learning rate of each parameter. Where it is 0 the position stays.
    batches : callable
        ``batches()`` yields those of a new epoch, as `shuffled_batches` does.
    schedule : callable
        ``schedule(epochs_done)`` is the factor on the learning rates of a batch. The
        epochs that are done include this batch and may be a fraction.
    """
    position, moments = start
    for epoch in count():
        for index, done in batches():
            factor = schedule(epoch + done)
            slope = gradient(position, index)
            position, moments = adam_step(position, slope, moments, rates, factor)
        yield Step((position, moments), loss(position))
