"""Numbers of rows, by which equal ones are found and all are brought in an order."""

import torch
from torch import Tensor

from skrbf.ops.precision import full_precision

_ODD = -7046029254386353131  # the golden ratio of 2^64, as a signed number
_SHIFT, _SHIFT_AGAIN = 32, 29
# Of a projection: values are whole numbers of 2^-20 up to 2^36 of them, and directions
# are whole numbers up to 2^13, so that thousands of columns do not overflow.
_STEPS, _MOST_STEPS, _DIRECTION_SHIFT = 2.0**20, 2.0**36, 50
# Values at a time: temporaries have eight bytes for each.
_AT_ONCE = 1 << 20


@full_precision
def hash_rows(rows: Tensor) -> Tensor:
    """A number for each row that depends on its values only, not on its place.

    Equal rows have equal keys, and different rows different ones, but for one pair in
    about 2^64. Integer arithmetic, so nothing depends on the order of sums.

    Parameters
    ----------
    rows : Tensor of shape (n, d), float32 or float64
        Zeros of either sign are equal.

    Returns
    -------
    Tensor of shape (n,), int64

    Notes
    -----
    O(n d), with temporaries for some rows at a time.

    Examples
    --------
    >>> import torch
    >>> keys = hash_rows(torch.tensor([[0.0, 1.0], [1.0, 0.0], [-0.0, 1.0]]))
    >>> bool(keys[0] == keys[2]), bool(keys[0] == keys[1])
    (True, False)
    """
    at_once = max(1, _AT_ONCE // max(1, rows.shape[1]))
    return torch.cat([_keys(some) for some in rows.split(at_once)])


def sort_keys(rows: Tensor) -> Tensor:
    """The place of each row along one fixed direction, as a whole number.

    It depends on the values of the row only, to the last bit, as :func:`hash_rows`;
    but rows that differ by rounding are next to each other, and an order by it hardly
    changes.

    Parameters
    ----------
    rows : Tensor of shape (n, d), float32 or float64
        Of a size around 1.

    Returns
    -------
    Tensor of shape (n,), int64

    Notes
    -----
    O(n d), with temporaries for some rows at a time.

    Examples
    --------
    >>> import torch
    >>> rows = torch.tensor([[0.0, 1.0], [0.0, 1.0 + 1e-6], [3.0, -1.0]])
    >>> places = sort_keys(rows)
    >>> near, far = (places[1:] - places[0]).abs()
    >>> bool(near < 1e-5 * far)
    True
    """
    at_once = max(1, _AT_ONCE // max(1, rows.shape[1]))
    columns = torch.arange(1, rows.shape[1] + 1, device=rows.device)  # (d,)
    direction = _mixed(columns * _ODD) >> _DIRECTION_SHIFT  # (d,)
    places = []
    for some in rows.split(at_once):
        steps = (some.double() * _STEPS).round().clamp(-_MOST_STEPS, _MOST_STEPS)
        places.append((steps.to(torch.int64) * direction).sum(1))
    return torch.cat(places)


def _keys(rows: Tensor) -> Tensor:
    whole = torch.int64 if rows.dtype == torch.float64 else torch.int32
    bits = (rows + 0.0).contiguous().view(whole).to(torch.int64)  # (n, d)
    columns = torch.arange(1, rows.shape[1] + 1, device=rows.device)  # (d,)
    # Numbers with few digits differ in their leading bits only: mix before the sum.
    return _mixed(_mixed(bits + _mixed(columns * _ODD)).sum(1))  # (n,)


def _mixed(numbers: Tensor) -> Tensor:
    """Spread every bit over all others; products wrap around."""
    numbers = (numbers ^ (numbers >> _SHIFT)) * _ODD
    return (numbers ^ (numbers >> _SHIFT_AGAIN)) * _ODD
