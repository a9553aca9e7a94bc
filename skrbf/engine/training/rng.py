"""Torch's own random numbers, seeded while user code may draw from them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# The generators belong to the process, so only one thread at a time may seed them.
_ONE_AT_A_TIME = threading.RLock()


def draw_seed(generator: torch.Generator) -> int:
    """Draw a seed for another generator."""
    return int(torch.randint(2**31, (1,), generator=generator, device="cpu"))


@contextmanager
def scoped_rng(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's generators of the CPU and of a GPU, and restore them at the end."""
    cuda = device.type == "cuda"
    index = (device.index or 0) if cuda else 0
    with _ONE_AT_A_TIME, torch.random.fork_rng([index] if cuda else []):
        torch.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.default_generators[index].manual_seed(seed)
        yield
