"""Batches of rows in random order, for one epoch of a training."""

from collections.abc import Iterator

import torch
from torch import Tensor


def shuffled_batches(
    n_rows: int,
    batch_size: int,
    generator: torch.Generator,
    device: torch.device,
    min_size: int = 1,
) -> Iterator[tuple[Tensor, float]]:
    """Yield the batches of one epoch: all rows, in a new random order.

    All batches have `batch_size` rows, except the last, which has the remaining ones.

    Parameters
    ----------
    n_rows, batch_size : int
        A batch has at most `n_rows` rows.
    generator : torch.Generator
        On the CPU, so that the order is the same on every device.
    device : torch.device
        Device of the indices.
    min_size : int, default=1
        A last batch of fewer rows is merged into the batch before it. Layers that
        normalize over a batch need at least 2 rows.

    Yields
    ------
    index : Tensor of shape (b,), int64
        Indices of the rows of the batch.
    fraction_done : float
        Fraction of the epoch that is done after this batch.
    """
    order = torch.randperm(n_rows, generator=generator, device="cpu").to(device)
    n_batches, rest = divmod(n_rows, batch_size)
    sizes = [batch_size] * n_batches
    if sizes and 0 < rest < min_size:
        sizes[-1] += rest
    elif rest:
        sizes.append(rest)
    n_done = 0
    for index in order.split(sizes):
        n_done += len(index)
        yield index, n_done / n_rows
