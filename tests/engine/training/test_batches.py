"""Test the batches of an epoch: order, sizes and the fraction that is done."""

import pytest
import torch

from skrbf.engine.training.batches import shuffled_batches

CPU = torch.device("cpu")


def epoch(n_rows, batch_size, generator, **more):
    return list(shuffled_batches(n_rows, batch_size, generator, CPU, **more))


def test_every_epoch_has_all_rows_in_a_new_order():
    generator = torch.Generator().manual_seed(0)
    first, second = (
        torch.cat([index for index, _ in epoch(10, 4, generator)]) for _ in range(2)
    )
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(10))
    assert not torch.equal(first, second)
    expected = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    assert torch.equal(first, expected)


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "min_size", "sizes"),
    [
        (10, 4, 1, [4, 4, 2]),
        (8, 4, 1, [4, 4]),
        (9, 4, 1, [4, 4, 1]),
        (9, 4, 2, [4, 5]),
        (10, 4, 2, [4, 4, 2]),
        (3, 1, 2, [1, 1, 1]),
        (1, 4, 2, [1]),
        (3, 4, 2, [3]),
    ],
)
def test_a_last_batch_that_is_too_small_joins_the_one_before(
    n_rows, batch_size, min_size, sizes
):
    batches = epoch(n_rows, batch_size, torch.Generator(), min_size=min_size)
    assert [len(index) for index, _ in batches] == sizes
    done = torch.tensor(sizes).cumsum(0) / n_rows
    assert [fraction for _, fraction in batches] == pytest.approx(done.tolist())
