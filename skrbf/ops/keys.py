"""Keys of rows, by which equal rows are found and brought in an order of their own."""

import torch
from torch import Tensor

_ODD = -7046029254386353131  # the golden ratio of 2^64, as a signed number
_SHIFT, _SHIFT_AGAIN = 32, 29
# Values at a time: temporaries have eight bytes for each.
_AT_ONCE = 1 << 20


def row_keys(rows: Tensor) -> Tensor:
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
    >>> keys = row_keys(torch.tensor([[0.0, 1.0], [1.0, 0.0], [-0.0, 1.0]]))
    >>> bool(keys[0] == keys[2]), bool(keys[0] == keys[1])
    (True, False)
    """
    at_once = max(1, _AT_ONCE // max(1, rows.shape[1]))
    return torch.cat([_keys(some) for some in rows.split(at_once)])


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
