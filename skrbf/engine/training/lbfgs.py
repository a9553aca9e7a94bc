"""L-BFGS for a smooth function of one vector, as an iterator of its steps."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.training.loop import Step

# Of the conditions of Wolfe: a step must gain this part of what the slope promises,
# and leave at most that part of the slope.
_GAIN = 1e-4
_SLOPE = 0.9
_MAX_TRIALS = 25

# The value of a function and its gradient.
Function = Callable[[Tensor], tuple[float, Tensor]]


class _Pair(NamedTuple):
    """What one iteration tells of the curvature."""

    shift: Tensor  # of the position
    change: Tensor  # of the gradient
    product: float  # of both, positive


class _Point(NamedTuple):
    position: Tensor
    value: float
    gradient: Tensor


def lbfgs(
    function: Function, start: Tensor, memory: int = 10
) -> Iterator[Step[Tensor]]:
    """Yield the position and value after every iteration, each lower than before.

    Ends where no step along the direction is lower: at a minimum, up to rounding. The
    function is evaluated once for most of the iterations.

    Parameters
    ----------
    function : callable
        ``function(position) -> (value, gradient)``; bounded below.
    start : Tensor of shape (p,)
    memory : int
        Pairs of steps that the curvature is read from (Nocedal and Wright, "Numerical
        Optimization", algorithm 7.5).
    """
    point = _Point(start, *function(start))
    pairs: deque[_Pair] = deque(maxlen=memory)
    while True:
        direction = _direction(point.gradient, pairs)
        if not float(direction @ point.gradient) < 0:
            pairs.clear()
            direction = -point.gradient
        following = _line_search(function, point, direction, len(pairs) == 0)
        if following is None and not pairs:
            return
        if following is None:  # the curvature may mislead: once more without it
            pairs.clear()
            continue
        shift = following.position - point.position
        change = following.gradient - point.gradient
        product = float(shift @ change)
        if product > torch.finfo(shift.dtype).eps * float(change @ change):
            pairs.append(_Pair(shift, change, product))
        point = following
        yield Step(point.position, point.value)


def _direction(gradient: Tensor, pairs: deque[_Pair]) -> Tensor:
    """Minus the gradient times the approximate inverse Hessian: two loops."""
    direction = -gradient
    along = []
    for pair in reversed(pairs):
        share = float(pair.shift @ direction) / pair.product
        along.append(share)
        direction = direction.add(pair.change, alpha=-share)
    if pairs:
        last = pairs[-1]
        direction = direction * (last.product / float(last.change @ last.change))
    for pair, share in zip(pairs, reversed(along), strict=True):
        back = float(pair.change @ direction) / pair.product
        direction = direction.add(pair.shift, alpha=share - back)
    return direction


def _line_search(
    function: Function, point: _Point, direction: Tensor, first: bool
) -> _Point | None:
    """A point along the direction that meets both conditions of Wolfe, by bisection.

    After the last trial one that is lower will do; None if there is none.
    """
    slope = float(direction @ point.gradient)
    if not slope < 0:
        return None
    # Without curvature the length of the gradient says little: at most a unit step.
    length = (
        min(1.0, 1.0 / float(torch.linalg.vector_norm(direction))) if first else 1.0
    )
    low, high = 0.0, float("inf")
    lower = None
    for _ in range(_MAX_TRIALS):
        position = point.position.add(direction, alpha=length)
        trial = _Point(position, *function(position))
        enough = point.value + _GAIN * length * slope
        # Strictly lower, or rounding would let it go on for ever; NaN is too high.
        if not (trial.value <= enough and trial.value < point.value):
            high = length
        else:
            lower = trial
            if float(trial.gradient @ direction) >= _SLOPE * slope:
                return trial
            low = length
        length = 2.0 * low if high == float("inf") else 0.5 * (low + high)
    return lower
