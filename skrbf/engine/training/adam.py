"""Adam over mini-batches, as an iterator of its epochs."""

import math
from collections.abc import Callable, Iterator
from itertools import count
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.training.loop import Step

_DECAY, _DECAY_SQUARE, _EPS = 0.9, 0.999, 1e-8

# The gradient of the mean loss of some rows, given by their numbers.
BatchGradient = Callable[[Tensor, Tensor], Tensor]
# Batches of an epoch: the share of it that is done with each, and its rows.
Batches = Callable[[], Iterator[tuple[float, Tensor]]]


class Moments(NamedTuple):
    """Running means of the gradient and of its square, and how many they are of."""

    first: Tensor  # (p,)
    second: Tensor  # (p,)
    n_steps: int

    @classmethod
    def none(cls, like: Tensor) -> "Moments":
        """Those before the first step."""
        return cls(torch.zeros_like(like), torch.zeros_like(like), 0)


def adam_step(
    position: Tensor,
    gradient: Tensor,
    moments: Moments,
    rates: Tensor,
    share: float = 1.0,
) -> tuple[Tensor, Moments]:
    """One step of Adam (Kingma and Ba 2015, algorithm 1), with a rate for each number.

    Parameters
    ----------
    position, gradient, rates : Tensor of shape (p,)
    moments : Moments
    share : float, default=1.0
        Of the rates.
    """
    first = torch.lerp(gradient, moments.first, _DECAY)
    second = torch.lerp(gradient.square(), moments.second, _DECAY_SQUARE)
    n_steps = moments.n_steps + 1
    # The corrections of both moments are numbers, so they join the rate and epsilon.
    correction = math.sqrt(1.0 - _DECAY_SQUARE**n_steps)
    share *= correction / (1.0 - _DECAY**n_steps)
    root = second.sqrt().add_(_EPS * correction)
    position = torch.addcdiv(position, first * rates, root, value=-share)
    return position, Moments(first, second, n_steps)


def adam(
    gradient: BatchGradient,
    loss: Callable[[Tensor], float],
    start: Tensor,
    rates: Tensor,
    batches: Batches,
    n_epochs: int,
) -> Iterator[Step[Tensor]]:
    """Yield the position and the loss of all rows after every epoch.

    Parameters
    ----------
    gradient : callable
        ``gradient(position, rows)`` with the numbers of the rows of a batch.
    loss : callable
        ``loss(position)``, over all rows.
    start, rates : Tensor of shape (p,)
        Where a rate is 0 the position stays.
    batches : callable
        See `shuffled`.
    n_epochs : int
        Length of the training: the rates fall along half a cosine, to 0 at its end.
    """
    position, moments = start, Moments.none(start)
    for epoch in count():
        for done, rows in batches():
            passed = min((epoch + done) / n_epochs, 1.0)
            share = 0.5 * (1.0 + math.cos(math.pi * passed))
            slope = gradient(position, rows)
            position, moments = adam_step(position, slope, moments, rates, share)
        yield Step(position, loss(position))


def shuffled(
    n_rows: int, size: int, generator: torch.Generator, device: torch.device
) -> Batches:
    """Batches of all rows in a fresh order every time.

    Parameters
    ----------
    generator : torch.Generator
        Of the CPU, so that the order is the same on every device.
    """

    def batches() -> Iterator[tuple[float, Tensor]]:
        order = torch.randperm(n_rows, generator=generator, device="cpu").to(device)
        done = 0
        for batch in order.split(size):
            done += len(batch)
            yield done / n_rows, batch

    return batches
