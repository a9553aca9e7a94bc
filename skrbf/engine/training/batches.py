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
    """Yield batches (b,) of one epoch, and the fraction of it that is done after each.

    All rows come in a new random order, which is the same on every device: the
    generator is on the CPU. All batches have `batch_size` rows, except the last, which
    has the remaining ones. If these are fewer than `min_size`, they are merged into the
    batch before: layers that normalize over a batch need at least 2 rows.
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
