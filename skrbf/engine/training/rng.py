"""torch's own random numbers, lent to code of the user's and put back."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# They belong to the process: of fits in several threads one at a time has them.
_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Within, torch's generators of the CPU and of a GPU start from a seed."""
    cuda = device.type == "cuda"
    index = (device.index or 0) if cuda else 0
    with _ONE_AT_A_TIME, torch.random.fork_rng([index] if cuda else []):
        torch.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.default_generators[index].manual_seed(seed)
        yield
