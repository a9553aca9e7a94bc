"""L-BFGS for a smooth function of one vector, as an iterator of its steps.

Written here for a measured reason, see ``benchmarks/results/solvers.md``. A fit
watches, validates and may stop at every iteration. :class:`torch.optim.LBFGS` then
evaluates the function twice as often and takes about twice the time. ``L-BFGS-B`` of
scipy runs its loop itself, and on the CPU only.
"""

from collections import deque
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from skrbf.engine.training.loop import Step

# Wolfe conditions (Nocedal and Wright, section 3.1): a step gains at least the first
# part of what the slope promises, and leaves at most the second part of the slope.
SUFFICIENT_DECREASE = 1e-4
CURVATURE_CONDITION = 0.9
# Evaluations of one line search, at most. Bisection halves the interval each time.
MAX_LINE_SEARCH_TRIALS = 25

# The value of a function and its gradient.
Function = Callable[[Tensor], tuple[float, Tensor]]
# A position with the value and the gradient there.
Point = tuple[Tensor, float, Tensor]
# Shift of the position, change of the gradient, and their positive product.
Pair = tuple[Tensor, Tensor, float]


def lbfgs(
    function: Function, start: Tensor, memory: int = 10
) -> Iterator[Step[Tensor]]:
    """Yield the position and value after every iteration, each lower than before.

    The iterator ends where no step along the direction is lower: at a minimum, up to
    rounding. Most iterations evaluate the function once.

    Parameters
    ----------
    function : callable
        ``function(position) -> (value, gradient)``; bounded below.
    start : Tensor of shape (p,)
    memory : int, default=10
        Number of pairs that approximate the curvature (Nocedal and Wright, "Numerical
        Optimization", algorithm 7.5).
    """
    point = (start, *function(start))
    pairs: deque[Pair] = deque(maxlen=memory)
    while True:
        position, _, gradient = point
        direction = _direction(gradient, pairs)
        if not float(direction @ gradient) < 0:
            pairs.clear()
            direction = -gradient
        following = _line_search(function, point, direction, len(pairs) == 0)
        if following is None and not pairs:
            return
        if following is None:  # the curvature may mislead: try once without it
            pairs.clear()
            continue
        shift, change = following[0] - position, following[2] - gradient
        product = float(shift @ change)
        if product > torch.finfo(shift.dtype).eps * float(change @ change):
            pairs.append((shift, change, product))
        point = following
        yield Step(*point[:2])


def _direction(gradient: Tensor, pairs: deque[Pair]) -> Tensor:
    """Multiply minus the gradient by the approximate inverse Hessian, in two loops."""
    direction = -gradient
    coefficients = []
    for shift, change, product in reversed(pairs):
        coefficient = float(shift @ direction) / product
        coefficients.append(coefficient)
        direction = direction.add(change, alpha=-coefficient)
    if pairs:
        _, change, product = pairs[-1]
        direction = direction * (product / float(change @ change))
    for pair, coefficient in zip(pairs, reversed(coefficients), strict=True):
        shift, change, product = pair
        correction = float(change @ direction) / product
        direction = direction.add(shift, alpha=coefficient - correction)
    return direction


def _line_search(
    function: Function, point: Point, direction: Tensor, first: bool
) -> Point | None:
    """Find a point along the direction that meets both Wolfe conditions, by bisection.

    After the last trial any lower point will do; None if there is none.
    """
    position, value, gradient = point
    slope = float(direction @ gradient)
    if not slope < 0:
        return None
    # Without curvature the length of the gradient says little: at most a unit step.
    norm = float(torch.linalg.vector_norm(direction)) if first else 1.0
    length = min(1.0, 1.0 / norm)
    low, high = 0.0, float("inf")
    lower = None
    for _ in range(MAX_LINE_SEARCH_TRIALS):
        place = position.add(direction, alpha=length)
        trial = (place, *function(place))
        limit = value + SUFFICIENT_DECREASE * length * slope
        # Strictly lower, or rounding would let the loop go on forever; NaN is too high.
        if not (trial[1] <= limit and trial[1] < value):
            high = length
        else:
            lower = trial
            if float(trial[2] @ direction) >= CURVATURE_CONDITION * slope:
                return trial
            low = length
        length = 2.0 * low if high == float("inf") else 0.5 * (low + high)
    return lower
