"""Device, dtype, threads and block size of a computation. Knows no algorithm."""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import joblib
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from skrbf.engine.data import constants
from skrbf.engine.data.rows import DenseRows, SparseRows


@dataclass(frozen=True)
class Compute:
    """One decision about device, dtype and block size, with its reason."""

    device: torch.device
    dtype: torch.dtype  # of distances and responsibilities
    accumulate: torch.dtype  # of sums over blocks: float64 wherever the device has it
    block_bytes: int  # fastest size of a block of responsibilities, within the memory
    max_block_bytes: int  # limit of a block that has to be larger
    work: int  # multiply-adds of one pass over the data
    reason: str  # of the choice of the device, for a person to read

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
            ``"auto"`` or anything that :class:`torch.device` accepts. It is an error if
            it is unknown or not available.
        dtype : torch.dtype
            Dtype of the data: float32 or float64.
        work : int
            ``n_samples * n_features * n_clusters``, one pass over the data.
        memory_bytes : int
            Memory for temporaries.
        fall_back : bool
            Use the CPU where `device` is not available: a fitted model has no device.
        """
        chosen, reason = _choose_device(device, work, fall_back)
        if chosen.type == "mps":  # has no float64
            dtype = accumulate = torch.float32
        else:
            accumulate = torch.float64
        fast = constants.ACCELERATOR_BLOCK_BYTES
        if chosen.type == "cpu":
            n_threads = min(_threads_for(work), constants.MAX_CACHE_THREADS)
            fast = constants.CACHE_BLOCK_BYTES * n_threads
        most = max(1, int(memory_bytes) // constants.TEMPORARIES_PER_BLOCK)
        return cls(chosen, dtype, accumulate, min(fast, most), most, work, reason)

    @contextmanager
    def limited_threads(self, work: int | None = None) -> Iterator[None]:
        """Limit the threads of a `with` block to those that the work is worth.

        The work of one operation is in multiply-adds, by default those of a pass over
        the data. The limit is that of the calling thread, and is restored at the end.
        The limits of other threads stay as they are.
        """
        threads = _threads_for(self.work if work is None else work)
        if self.device.type != "cpu" or threads == torch.get_num_threads():
            yield
            return
        with _openmp().limit(limits=threads):
            yield

    def tensor(self, array: Any) -> Tensor:
        """Copy a small numpy array to a tensor of this dtype on this device."""
        return torch.tensor(array, dtype=self.dtype, device=self.device)

    def dense(self, data: Tensor) -> DenseRows:
        """Wrap a dense host tensor (n, d), which moves to the device where it fits."""
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            if data.numel() * torch.finfo(self.dtype).bits // 8 < free // 2:
                data = data.to(self.device, self.dtype)
        return DenseRows(data, self.device, self.dtype, self.block_rows)

    def sparse(self, parts: Sequence[Tensor], n_features: int) -> SparseRows:
        """Wrap a CSR matrix given as (indptr, indices, values) host tensors."""
        indptr, indices, values = parts
        return SparseRows(
            indptr,
            indices,
            values,
            n_features,
            self.device,
            self.dtype,
            self.block_rows,
        )

    def block_rows(self, columns: int, at_least: int = 1) -> int:
        """Number of rows in a block whose temporaries have this many columns.

        It is `at_least` or more, where the memory allows it.
        """
        size = torch.finfo(self.dtype).bits // 8 * max(1, columns)  # of a row, in bytes
        enough = min(at_least, self.max_block_bytes // size)
        return max(1, self.block_bytes // size, enough)


def _threads_for(work: int) -> int:
    """Count the threads that gain time, of those that the process may use."""
    most = min(torch.get_num_threads(), usable_cpus())
    return max(1, min(most, work // constants.MIN_WORK_PER_THREAD))


@functools.cache
def usable_cpus() -> int:
    """Count the CPUs within the affinity and the quota of the process."""
    return int(joblib.cpu_count())


@functools.cache
def _openmp() -> ThreadpoolController:
    """Find the OpenMP libraries of the process. Their limits are per thread."""
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
        if work < constants.MIN_ACCELERATOR_WORK:
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
