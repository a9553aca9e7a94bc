"""Training loop: follow the steps of any optimizer, and keep the best state.

An optimizer is an iterator of `Step`, one for each iteration or epoch, such as
:func:`skrbf.engine.training.lbfgs.lbfgs` and :func:`skrbf.engine.training.adam.adam`.
An optimizer knows nothing of stopping, validation or callbacks. The loop knows nothing
of the contents of a state. `train` keeps the best state.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Generic, NamedTuple

from skrbf.engine.training.records import Descent, OnStep, Record, State


class Step(NamedTuple, Generic[State]):
    """State of an optimizer after one iteration."""

    state: State
    loss: float


class Stopping(NamedTuple):
    """Conditions that end a training."""

    max_iter: int  # most steps
    # Least change that counts as progress: of the validation score, or of the loss
    # relative to it.
    tol: float
    patience: int  # steps without progress that end the training


# Advice in the error for a loss that is not finite.
ADVICE = "Lower learning_rate, or scale the data."


def checked(
    steps: Iterable[Step[State]], phase: str, max_iter: int, advice: str = ADVICE
) -> Iterator[Step[State]]:
    """Limit the steps of an optimizer, and raise an error if a loss is not finite.

    The name of the training `phase` and the advice are those of the error.
    """
    for n_iter, step in enumerate(islice(steps, max_iter), 1):
        check_finite(step.loss, n_iter, phase, advice)
        yield step


def train(
    steps: Iterable[Step[State]],
    start: Step[State],
    phase: str,
    stopping: Stopping,
    on_step: OnStep[State],
    validate: Callable[[State], float] | None = None,
) -> tuple[Descent[State], float, float]:
    """Follow an optimizer and keep its best state.

    Parameters
    ----------
    steps : iterable of Step
        Ends by itself if the optimizer can make no progress. It never changes a state
        that it has yielded.
    start : Step
        Start of the optimizer. The result is never worse.
    phase : str
        Name of this training in the records, and in the error if a loss is not finite.
    validate : callable, optional
        ``validate(state)`` scores a state on held-out data; higher is better. The best
        state is the one with the highest score, and without `validate` the one with the
        lowest loss.

    Returns
    -------
    descent : Descent
        The best state, which may be the start, and its loss. It counts as converged if
        the training ended before ``stopping.max_iter`` or was stopped by `on_step`.
    validation_score : float
        Score of that state; NaN without `validate`.
    least_loss : float
        Lowest loss of the steps, without that of the start; infinite without steps.
    """
    check_finite(start.loss, 0, phase)
    best, best_score = start, math.nan if validate is None else validate(start.state)
    n_waited, reference = 0, start.loss if validate is None else best_score
    n_iter, ended, stopped, least_loss = 0, False, False, math.inf
    for step in checked(steps, phase, stopping.max_iter):
        n_iter, least_loss = n_iter + 1, min(least_loss, step.loss)
        score = math.nan if validate is None else validate(step.state)
        if _is_better(score, step.loss, best_score, best.loss):
            best, best_score = step, score
        record = Record(phase, loss=step.loss, validation_score=score)
        if stopped := bool(on_step(record, step.state)):
            break
        # Progress is measured from the last step that made enough of it, so that many
        # small steps count as well.
        if validate is None:
            progress, enough = reference - step.loss, stopping.tol * abs(reference)
        else:
            progress, enough = score - reference, stopping.tol
        n_waited += 1
        if progress > enough:
            n_waited, reference = 0, step.loss if validate is None else score
        if ended := n_waited >= stopping.patience:
            break
    converged = ended or stopped or n_iter < stopping.max_iter
    descent = Descent(best.state, best.loss, n_iter, converged, stopped)
    return descent, best_score, least_loss


def _is_better(score: float, loss: float, best_score: float, best_loss: float) -> bool:
    """Compare scores; if they are equal or missing, compare losses."""
    if math.isnan(score) or score == best_score:
        return loss < best_loss
    return score > best_score


def check_finite(loss: float, n_iter: int, phase: str, advice: str = ADVICE) -> float:
    """Return the loss, or raise an error with advice if it is not finite."""
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"The loss is {loss} in step {n_iter} of the phase {phase!r}. {advice}"
        )
    return loss
