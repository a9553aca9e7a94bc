import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skrbf.ops import keys
from skrbf.ops.keys import row_keys, row_projections

both = pytest.mark.parametrize("number", [row_keys, row_projections])


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_do_not_depend_on_the_place(number, dtype):
    rows = torch.randn(200, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(1))
    numbers = number(rows)
    assert torch.equal(number(rows[order]), numbers[order])
    assert torch.equal(torch.cat([number(row[None]) for row in rows]), numbers)
    assert torch.equal(number(rows.t().contiguous().t()), numbers)


@both
def test_many_rows_are_numbered_piece_by_piece(number, monkeypatch):
    rows = torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    whole = number(rows)
    for at_once in (1, 20, 49):
        monkeypatch.setattr(keys, "_AT_ONCE", at_once)
        assert torch.equal(number(rows), whole)
    assert number(rows[:0]).shape == (0,)


def test_rounding_hardly_changes_an_order_by_projections():
    rows = torch.randn(2000, 64, generator=torch.Generator().manual_seed(0)).double()
    order = row_projections(rows).argsort()
    assert len(row_projections(rows).unique()) == 2000
    place = order.argsort()
    moved = row_projections(rows.float()).argsort().argsort() - place
    assert (moved != 0).sum() < 100
    assert moved.abs().max() <= 2
    for copy in (rows + 1e-12, rows * (1 + 1e-13)):
        assert (row_projections(copy).argsort() != order).sum() <= 4


def test_projections_are_linear():
    """On whole numbers, without rounding; and no column is left out."""
    a = torch.randint(-50, 50, (5, 30), generator=torch.Generator().manual_seed(0))
    a, b = a[:, :15].double(), a[:, 15:].double()
    expected = row_projections(a) - 3 * row_projections(b)
    assert torch.equal(row_projections(a - 3 * b), expected)
    steps = row_projections(torch.eye(500, dtype=torch.float64)) / 2**20
    assert (steps != 0).all()
    assert abs(steps.mean()) < 1000 < steps.std()


def test_values_beyond_all_measure_have_a_projection():
    rows = torch.tensor([[1e38, -1e38], [1e30, -1e30]])
    assert row_projections(rows)[0] == row_projections(rows)[1]


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
