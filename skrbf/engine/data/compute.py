"""Where and how a computation runs: device, dtype, block size. Knows no algorithm."""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import joblib
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from skrbf.engine.data.rows import Rows, dense_rows, sparse_rows

# "auto" moves to an accelerator only above this many multiply-adds per pass,
# n_samples * n_features * n_clusters: below it launches and copies dominate.
_WORTH_AN_ACCELERATOR = 50_000_000

# Multiply-adds of a pass for each thread. With fewer, threads wait for one another:
# many times longer than they compute, where other programs use the cores. Measured in
# benchmarks/results/threads.md.
_WORTH_A_THREAD = 1 << 25

# A block of responsibilities, in bytes for each thread: about what the caches of a core
# hold. Passes are faster over smaller blocks, products over larger ones. With many
# threads it grows no more: what it takes is memory, too.
_CACHE_BYTES = 1 << 21
_MOST_THREADS = 8
_ACCELERATOR_BYTES = 1 << 26


@dataclass(frozen=True)
class Compute:
    """One decision about device, dtype and block size, with its reason.

    Attributes
    ----------
    device : torch.device
        Where blocks are computed.
    dtype : torch.dtype
        Of distances and responsibilities.
    accumulate : torch.dtype
        Of sums over blocks: float64 wherever the device has it.
    block_bytes : int
        Of one block of responsibilities: what is fast, within the memory.
    most_bytes : int
        Upper limit of a block that has to be larger.
    work : int
        Multiply-adds of one pass over the data.
    why : str
        The reason for the device, for a person to read.
    """

    device: torch.device
    dtype: torch.dtype
    accumulate: torch.dtype
    block_bytes: int
    most_bytes: int
    work: int
    why: str

    @classmethod
    def resolve(
        cls,
        device: str,
        dtype: torch.dtype,
        *,
        work: int,
        memory_bytes: int,
        fall_back: bool = False,
    ) -> "Compute":
        """Choose the device.

        Parameters
        ----------
        device : str
            ``"auto"`` or anything that :class:`torch.device` accepts.
        dtype : torch.dtype
            Of the data: float32 or float64.
        work : int
            ``n_samples * n_features * n_clusters``, one pass over the data.
        memory_bytes : int
            What temporaries may take.
        fall_back : bool
            Use the CPU where `device` is not there: a fitted model has no device.

        Raises
        ------
        ValueError
            If the device is not known or not there.
        """
        chosen, why = _choose_device(device, work, fall_back)
        if chosen.type == "mps":  # has no float64
            dtype = accumulate = torch.float32
        else:
            accumulate = torch.float64
        fast = _ACCELERATOR_BYTES
        if chosen.type == "cpu":
            fast = _CACHE_BYTES * min(_threads_for(work), _MOST_THREADS)
        # A block lives beside a few temporaries of its own size.
        most = max(1, int(memory_bytes) // 8)
        return cls(chosen, dtype, accumulate, min(fast, most), most, work, why)

    @contextmanager
    def limited_threads(self, work: int | None = None) -> Iterator[None]:
        """Limit the threads within to those that the work is worth.

        They are those that the calling thread computes with. The limits of all others
        stay as they are, and its own come back at the end.

        Parameters
        ----------
        work : int, optional
            Multiply-adds that are done at a time, if not those of a pass over the data.
        """
        threads = _threads_for(self.work if work is None else work)
        if self.device.type != "cpu" or threads == torch.get_num_threads():
            yield
            return
        with _openmp().limit(limits=threads):
            yield

    def tensor(self, array: Any) -> Tensor:
        """A small numpy array as a tensor of this dtype on this device."""
        return torch.tensor(array, dtype=self.dtype, device=self.device)

    def dense(self, data: Tensor) -> Rows:
        """Rows of a dense host tensor (n, d)."""
        return dense_rows(data, self.device, self.dtype, self.block_rows)

    def sparse(self, parts: Sequence[Tensor], n_features: int) -> Rows:
        """Rows of a CSR matrix given as (indptr, indices, values) host tensors."""
        return sparse_rows(parts, n_features, self.device, self.dtype, self.block_rows)

    def block_rows(self, columns: int, at_least: int = 1) -> int:
        """Rows of a block whose temporaries have this many columns.

        At least so many, where the memory allows it.
        """
        size = torch.finfo(self.dtype).bits // 8 * max(1, columns)  # of a row, in bytes
        enough = min(at_least, self.most_bytes // size)
        return max(1, self.block_bytes // size, enough)


def _threads_for(work: int) -> int:
    """Threads that gain time, of those that the process may use."""
    most = min(torch.get_num_threads(), _usable_cpus())
    return max(1, min(most, work // _WORTH_A_THREAD))


@functools.cache
def _usable_cpus() -> int:
    """CPUs within the affinity and the quota of the process."""
    return int(joblib.cpu_count())


@functools.cache
def _openmp() -> ThreadpoolController:
    """The OpenMP libraries of the process: their limits are those of one thread."""
    return ThreadpoolController().select(user_api="openmp")


def _available() -> list[str]:
    names = ["cpu"]
    if torch.cuda.is_available():
        names += [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return names


def _choose_device(device: str, work: int, fall_back: bool) -> tuple[torch.device, str]:
    available = _available()
    if device == "auto":
        if len(available) == 1:
            return torch.device("cpu"), "no accelerator is available"
        if work < _WORTH_AN_ACCELERATOR:
            return torch.device("cpu"), "too small a problem to gain from more"
        return torch.device(available[1]), f"{available[1]} is available"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device={device!r} is not a device; use 'auto' or one of {available}."
        ) from error
    name = str(chosen)
    if name == "cuda" and torch.cuda.is_available():
        name = f"cuda:{torch.cuda.current_device()}"
    if name not in available and fall_back:
        return torch.device("cpu"), f"{device} is not available"
    if name not in available:
        raise ValueError(
            f"device={device!r} is not available here; available are {available}."
        )
    return torch.device(name), "as asked"
