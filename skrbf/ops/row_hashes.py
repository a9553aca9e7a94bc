"""Integers computed from rows: hashes to find duplicates, and keys to sort by.

Integer arithmetic, so that no result depends on the order of a sum. Results depend only
on the values of a row, not on its position.
"""

import torch
from torch import Tensor

from skrbf.ops.precision import full_precision

# Multiplier of the hash: 2^64 over the golden ratio, as a signed number.
_HASH_MULTIPLIER = -7046029254386353131
# Right shifts of the hash, in bits.
_HASH_FIRST_SHIFT, _HASH_SECOND_SHIFT = 32, 29

# Sort keys: values are rounded to multiples of 2^-20, of at most 2^36 of these units.
# Directions are whole numbers up to 2^13: a hash after a shift of 50 bits. Thousands of
# columns cannot overflow then.
_SORT_KEY_UNITS_PER_ONE, _SORT_KEY_MAX_UNITS = 2.0**20, 2.0**36
_SORT_KEY_DIRECTION_SHIFT = 50

# Values to process at once; temporaries have eight bytes for each.
_MAX_VALUES_PER_BLOCK = 1 << 20


@full_precision
def hash_rows(rows: Tensor, block_values: int = _MAX_VALUES_PER_BLOCK) -> Tensor:
    """Hash rows (n, d), float32 or float64, to int64 (n,).

    Equal rows have equal hashes; two different rows have the same with a probability of
    about 2^-64. Zeros of either sign are equal. O(n d), with temporaries for
    `block_values` values at a time.
    """
    block_rows = max(1, block_values // max(1, rows.shape[1]))
    return torch.cat([_hashes(block) for block in rows.split(block_rows)])


def sort_keys(rows: Tensor, block_values: int = _MAX_VALUES_PER_BLOCK) -> Tensor:
    """Project rows (n, d), float32 or float64, on a fixed direction: int64 (n,).

    Rows that differ by rounding get keys that are close, so an order by key hardly
    changes. Values should be of a size around 1. O(n d), with temporaries for
    `block_values` values at a time.
    """
    block_rows = max(1, block_values // max(1, rows.shape[1]))
    columns = torch.arange(1, rows.shape[1] + 1, device=rows.device)  # (d,)
    direction = _mixed(columns * _HASH_MULTIPLIER) >> _SORT_KEY_DIRECTION_SHIFT  # (d,)
    keys = []
    for block in rows.split(block_rows):
        units = (block.double() * _SORT_KEY_UNITS_PER_ONE).round()
        units = units.clamp(-_SORT_KEY_MAX_UNITS, _SORT_KEY_MAX_UNITS)
        keys.append((units.to(torch.int64) * direction).sum(1))
    return torch.cat(keys)


def _hashes(rows: Tensor) -> Tensor:
    integer = torch.int64 if rows.dtype == torch.float64 else torch.int32
    bits = (rows + 0.0).contiguous().view(integer).to(torch.int64)  # (n, d)
    columns = torch.arange(1, rows.shape[1] + 1, device=rows.device)  # (d,)
    # Numbers with few digits differ in their leading bits only: mix them first.
    return _mixed(_mixed(bits + _mixed(columns * _HASH_MULTIPLIER)).sum(1))  # (n,)


def _mixed(numbers: Tensor) -> Tensor:
    """Mix the bits of int64 numbers; products wrap around."""
    numbers = (numbers ^ (numbers >> _HASH_FIRST_SHIFT)) * _HASH_MULTIPLIER
    return (numbers ^ (numbers >> _HASH_SECOND_SHIFT)) * _HASH_MULTIPLIER
