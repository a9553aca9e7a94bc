import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skrbf.ops.row_hashes import hash_rows, sort_keys

both = pytest.mark.parametrize("function", [hash_rows, sort_keys])


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_result_depends_on_the_values_of_a_row_only(function, dtype):
    rows = torch.randn(200, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(1))
    result = function(rows)
    assert torch.equal(function(rows[order]), result[order])
    assert torch.equal(torch.cat([function(row[None]) for row in rows]), result)
    assert torch.equal(function(rows.t().contiguous().t()), result)


@both
def test_block_size_changes_nothing(function):
    rows = torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    expected = function(rows)
    for block_values in (1, 20, 49):
        assert torch.equal(function(rows, block_values), expected)
    assert function(rows[:0]).shape == (0,)


def test_rounding_hardly_changes_an_order_by_sort_keys():
    rows = torch.randn(2000, 64, generator=torch.Generator().manual_seed(0)).double()
    order = sort_keys(rows).argsort()
    assert len(sort_keys(rows).unique()) == 2000
    place = order.argsort()
    moved = sort_keys(rows.float()).argsort().argsort() - place
    assert (moved != 0).sum() < 100
    assert moved.abs().max() <= 2
    for copy in (rows + 1e-12, rows * (1 + 1e-13)):
        assert (sort_keys(copy).argsort() != order).sum() <= 4


def test_sort_keys_are_linear():
    """Check linearity on whole numbers, without rounding, and that no column is 0."""
    a = torch.randint(-50, 50, (5, 30), generator=torch.Generator().manual_seed(0))
    a, b = a[:, :15].double(), a[:, 15:].double()
    expected = sort_keys(a) - 3 * sort_keys(b)
    assert torch.equal(sort_keys(a - 3 * b), expected)
    steps = sort_keys(torch.eye(500, dtype=torch.float64)) / 2**20
    assert (steps != 0).all()
    assert abs(steps.mean()) < 1000 < steps.std()


def test_huge_values_have_a_sort_key():
    rows = torch.tensor([[1e38, -1e38], [1e30, -1e30]])
    assert sort_keys(rows)[0] == sort_keys(rows)[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_different_rows_have_different_hashes(dtype):
    """Check small integers, whose bits differ in a few leading positions only."""
    grid = torch.cartesian_prod(*[torch.arange(-8, 8, dtype=dtype)] * 4)
    assert len(hash_rows(grid).unique()) == len(grid) == 16**4
    ones = torch.cartesian_prod(*[torch.arange(2, dtype=dtype)] * 14)
    assert len(hash_rows(ones).unique()) == 2**14


@settings(deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=6))
def test_hash_depends_on_the_order_of_values(values):
    row = torch.tensor([values, values[1:] + values[:1]])
    hashes = hash_rows(row)
    assert bool(hashes[0] == hashes[1]) == bool((row[0] == row[1]).all())


def test_zeros_of_either_sign_are_equal():
    hashes = hash_rows(torch.tensor([[0.0, 1.0], [-0.0, 1.0]]))
    assert hashes[0] == hashes[1]
