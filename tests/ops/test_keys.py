import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skrbf.ops import keys, row_keys


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keys_do_not_depend_on_the_place(dtype):
    rows = torch.randn(200, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(1))
    keys = row_keys(rows)
    assert torch.equal(row_keys(rows[order]), keys[order])
    assert torch.equal(torch.cat([row_keys(row[None]) for row in rows]), keys)
    assert torch.equal(row_keys(rows.t().contiguous().t()), keys)


def test_keys_of_many_rows_are_made_piece_by_piece(monkeypatch):
    rows = torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    whole = row_keys(rows)
    for at_once in (1, 20, 49):
        monkeypatch.setattr(keys, "_AT_ONCE", at_once)
        assert torch.equal(row_keys(rows), whole)
    assert row_keys(rows[:0]).shape == (0,)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_different_rows_have_different_keys(dtype):
    """Small integers, whose bits differ in a few leading places only."""
    grid = torch.cartesian_prod(*[torch.arange(-8, 8, dtype=dtype)] * 4)
    assert len(row_keys(grid).unique()) == len(grid) == 16**4
    ones = torch.cartesian_prod(*[torch.arange(2, dtype=dtype)] * 14)
    assert len(row_keys(ones).unique()) == 2**14


@settings(deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=6))
def test_the_order_of_the_values_counts(values):
    row = torch.tensor([values, values[1:] + values[:1]])
    keys = row_keys(row)
    assert bool(keys[0] == keys[1]) == bool((row[0] == row[1]).all())


def test_zeros_of_either_sign_are_equal():
    keys = row_keys(torch.tensor([[0.0, 1.0], [-0.0, 1.0]]))
    assert keys[0] == keys[1]
