"""The range of numbers: what squares can hold, and the errors where they cannot."""

import math
import sys

import torch

# Squared distances have room where the variance of a feature is within this part of the
# exponents of a dtype: sums over rows and products of small differences fit as well.
_ROOM = 0.4


def has_room(variance: float, dtype: torch.dtype) -> bool:
    """Tell whether squared distances of this size can be computed in a dtype.

    A variance of 0 is no evidence: it may have been rounded down to it.
    """
    most = 2.0 ** int(_ROOM * math.frexp(torch.finfo(dtype).max)[1])
    return 1 / most < variance < most


def check_variance(variance: float, *, varies: bool) -> None:
    """Raise an error where the variance of the data leaves the range of float64.

    Parameters
    ----------
    variance : float
        Of the data in their own unit.
    varies : bool
        Whether any two rows differ.

    Raises
    ------
    ValueError
        If the variance is not finite, or too small for a normal number though rows
        differ.
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


def times_power(number: float, exponent: int) -> float:
    """Multiply by a power of two: infinite on overflow, and 0 on underflow."""
    try:
        return math.ldexp(number, exponent)
    except OverflowError:
        return math.copysign(math.inf, number)
