"""The range of floating-point numbers: room for squares, and errors without it."""

import math
import sys

import torch

from skrbf.engine.data.constants import SAFE_EXPONENT_FRACTION


def squares_fit(variance: float, dtype: torch.dtype) -> bool:
    """Tell whether squared distances of this size can be computed in a dtype.

    A variance of 0 does not fit: it may have been rounded down to 0.
    """
    most = 2.0 ** int(SAFE_EXPONENT_FRACTION * math.frexp(torch.finfo(dtype).max)[1])
    return 1 / most < variance < most


def check_variance(variance: float, *, varies: bool) -> None:
    """Raise an error where the variance of the data leaves the range of float64.

    It is in the unit of the data. If it is too small for a normal number, that is an
    error only where any two rows differ.
    """
    if not math.isfinite(variance):
        raise ValueError(
            "X has values so large that the squares of their differences overflow; "
            "divide it by a number."
        )
    if varies and variance < sys.float_info.min:
        raise ValueError(
            "X has values so close that the squares of their differences underflow; "
            "multiply it by a number."
        )


def times_power_of_two(number: float, exponent: int) -> float:
    """Multiply by a power of two: infinite on overflow, and 0 on underflow."""
    try:
        return math.ldexp(number, exponent)
    except OverflowError:
        return math.copysign(math.inf, number)
