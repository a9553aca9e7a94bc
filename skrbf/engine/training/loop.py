"""The one training loop: the steps of any optimizer, watched, and the best kept.

An optimizer is an iterator of `Step`, one for each iteration or epoch, such as
:func:`skrbf.engine.training.lbfgs.lbfgs` and :func:`skrbf.engine.training.adam.adam`.
An optimizer knows nothing of stopping, validation or callbacks. The loop knows nothing
of what a state is. `follow` is the loop, and `train` keeps the best of the states.
"""

import math
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Generic, NamedTuple

from skrbf.engine.training.records import Descent, OnStep, Record, State


class Step(NamedTuple, Generic[State]):
    """Where an optimizer is after one iteration."""

    state: State
    loss: float


class Stopping(NamedTuple):
    """When a training ends.

    Attributes
    ----------
    max_iter : int
        Most steps.
    tol : float
        Progress that counts: of the validation score, or of the loss relative to it.
    patience : int
        Steps without such progress, after which the training ends.
    """

    max_iter: int
    tol: float
    patience: int


class Trained(NamedTuple, Generic[State]):
    """What a training came to: its best state, which may be the start."""

    state: State
    loss: float
    validation_score: float
    n_iter: int
    converged: bool  # or stopped from outside
    diverged: bool = False  # its losses all rose above that of the start, which is kept


# What to change where a loss is not finite.
ADVICE = "Lower learning_rate, or scale the data."


def follow(
    steps: Iterable[Step[State]],
    start: State,
    phase: str,
    max_iter: int,
    on_step: Callable[[Step[State]], bool],
    advice: str = ADVICE,
) -> Descent[State]:
    """Take the steps of an optimizer until one is the last.

    Parameters
    ----------
    steps : iterable of Step
        Ends by itself if the optimizer can do no better.
    start : State
        Result if there are no steps.
    phase : str
        Name of this training in an error.
    max_iter : int
        Most steps.
    on_step : callable
        ``on_step(step)`` after each; a true answer ends the loop.
    advice : str
        What an error says to change.

    Returns
    -------
    Descent
        Of the last step. It has converged if it ended before `max_iter`, or by
        `on_step`.

    Raises
    ------
    FloatingPointError
        If a loss is not finite.
    """
    step, n_iter = Step(start, math.nan), 0
    for n_iter, step in enumerate(islice(steps, max_iter), 1):
        finite(step.loss, n_iter, phase, advice)
        if on_step(step):
            return Descent(*step, n_iter, True)
    return Descent(*step, n_iter, n_iter < max_iter)


def train(
    steps: Iterable[Step[State]],
    start: Step[State],
    phase: str,
    stopping: Stopping,
    on_step: OnStep[State],
    validate: Callable[[State], float] | None = None,
) -> Trained[State]:
    """Follow an optimizer and keep its best state.

    Parameters
    ----------
    steps : iterable of Step
        Ends by itself where the optimizer can do no better, and never changes a state
        that it gave.
    start : Step
        Where the optimizer started: what it gives back is never worse.
    phase : str
        Name of this training in the records.
    stopping : Stopping
    on_step : callable
        ``on_step(record, state)``; a true answer ends the training.
    validate : callable, optional
        Score of a state on data held out, the higher the better. With it the best
        score decides which state is best, otherwise the lowest loss does.

    Returns
    -------
    Trained

    Raises
    ------
    FloatingPointError
        If a loss is not finite.
    """
    finite(start.loss, 0, phase)
    best, best_score = start, math.nan if validate is None else validate(start.state)
    waited, mark = 0, start.loss if validate is None else best_score

    def see(step: Step[State]) -> bool:
        nonlocal best, best_score, waited, mark
        score = math.nan if validate is None else validate(step.state)
        if _better(score, step.loss, best_score, best.loss):
            best, best_score = step, score
        if on_step(Record(phase, loss=step.loss, validation_score=score), step.state):
            return True
        # Progress is measured from where it last sufficed, so that many small steps
        # count as well.
        if validate is None:
            progress, enough = mark - step.loss, stopping.tol * abs(mark)
        else:
            progress, enough = score - mark, stopping.tol
        waited += 1
        if progress > enough:
            waited, mark = 0, step.loss if validate is None else score
        return waited >= stopping.patience

    last = follow(steps, start.state, phase, stopping.max_iter, see)
    return Trained(*best, best_score, last.n_iter, last.converged)


def _better(score: float, loss: float, best_score: float, best_loss: float) -> bool:
    """A higher score; where scores are equal or there are none, a lower loss."""
    if math.isnan(score) or score == best_score:
        return loss < best_loss
    return score > best_score


def finite(loss: float, n_iter: int, phase: str, advice: str = ADVICE) -> float:
    """The loss, or an error that says what to change."""
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"The loss is {loss} in step {n_iter} of the phase {phase!r}. {advice}"
        )
    return loss
