import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skrbf.ops import row_hashes
from skrbf.ops.row_hashes import hash_rows, sort_keys

both = pytest.mark.parametrize("number", [hash_rows, sort_keys])


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
        monkeypatch.setattr(row_hashes, "_AT_ONCE", at_once)
        assert torch.equal(number(rows), whole)
    assert number(rows[:0]).shape == (0,)


def test_rounding_hardly_changes_an_order_by_projections():
    rows = torch.randn(2000, 64, generator=torch.Generator().manual_seed(0)).double()
    order = sort_keys(rows).argsort()
    assert len(sort_keys(rows).unique()) == 2000
    place = order.argsort()
    moved = sort_keys(rows.float()).argsort().argsort() - place
    assert (moved != 0).sum() < 100
    assert moved.abs().max() <= 2
    for copy in (rows + 1e-12, rows * (1 + 1e-13)):
        assert (sort_keys(copy).argsort() != order).sum() <= 4


def test_projections_are_linear():
    """On whole numbers, without rounding; and no column is left out."""
    a = torch.randint(-50, 50, (5, 30), generator=torch.Generator().manual_seed(0))
    a, b = a[:, :15].double(), a[:, 15:].double()
    expected = sort_keys(a) - 3 * sort_keys(b)
    assert torch.equal(sort_keys(a - 3 * b), expected)
    steps = sort_keys(torch.eye(500, dtype=torch.float64)) / 2**20
    assert (steps != 0).all()
    assert abs(steps.mean()) < 1000 < steps.std()


def test_values_beyond_all_measure_have_a_projection():
    rows = torch.tensor([[1e38, -1e38], [1e30, -1e30]])
    assert sort_keys(rows)[0] == sort_keys(rows)[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_different_rows_have_different_keys(dtype):
    """Small integers, whose bits differ in a few leading places only."""
    grid = torch.cartesian_prod(*[torch.arange(-8, 8, dtype=dtype)] * 4)
    assert len(hash_rows(grid).unique()) == len(grid) == 16**4
    ones = torch.cartesian_prod(*[torch.arange(2, dtype=dtype)] * 14)
    assert len(hash_rows(ones).unique()) == 2**14


@settings(deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=6))
def test_the_order_of_the_values_counts(values):
    row = torch.tensor([values, values[1:] + values[:1]])
    keys = hash_rows(row)
    assert bool(keys[0] == keys[1]) == bool((row[0] == row[1]).all())


def test_zeros_of_either_sign_are_equal():
    keys = hash_rows(torch.tensor([[0.0, 1.0], [-0.0, 1.0]]))
    assert keys[0] == keys[1]
