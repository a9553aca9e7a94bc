"""The rows of a table: a map and a sum over them, block by block.

Whatever is computed of all rows is a sum of a function over them, or a result for each
row that is kept beside it. Rows are dense or CSR, resident or moved when used.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

BlockRows = Callable[[int], int]

# What a dense block itself may take, in sizes of its temporaries.
_CACHED = 4

# A tensor, or a tuple of tensors.
_Sums = TypeVar("_Sums")
_Each = TypeVar("_Each")


class Blocks(Protocol):
    """The part of a table that prediction needs."""

    def blocks(self, columns: int) -> Iterator[tuple[int, int, Tensor]]:
        """Blocks (start, stop, rows) sized for ``columns`` temporaries a row."""


class Rows(Blocks, Protocol):
    """A table of ``n_rows`` x ``n_features``.

    The functions that `sum` and `map` apply get a block of rows (m, d), and the same
    rows of every tensor that is kept beside the table; None stays None.
    """

    @property
    def n_rows(self) -> int: ...

    @property
    def n_features(self) -> int: ...

    @property
    def is_sparse(self) -> bool: ...

    @property
    def dtype(self) -> torch.dtype: ...

    def take(self, index: Tensor) -> Tensor:
        """Some rows, in the order of ``index``, in one tensor."""

    def astype(self, dtype: torch.dtype) -> "Rows":
        """The same rows in another precision, converted block by block."""

    def sum(
        self, function: Callable[..., _Sums], columns: int, *beside: Tensor | None
    ) -> _Sums:
        """Add up a function of all rows.

        Parameters
        ----------
        function : callable
            ``function(block, *beside) -> sums``: a tensor or a tuple of tensors, which
            nothing else holds.
        columns : int
            Temporaries of a row, for the size of the blocks.
        *beside : Tensor of shape (n_rows, ...) or None
        """

    def map(
        self, function: Callable[..., _Each], columns: int, *beside: Tensor | None
    ) -> _Each:
        """Compute a result for each row, to be kept beside it.

        Parameters
        ----------
        function : callable
            ``function(block, *beside) -> each``: a tensor (m, ...) or a tuple of them.
        columns, *beside
            As of `sum`.
        """

    def sum_and_map(
        self,
        function: Callable[..., tuple[_Sums, _Each]],
        columns: int,
        *beside: Tensor | None,
    ) -> tuple[_Sums, _Each]:
        """Add up a function of all rows, and keep a result for each, in one pass.

        Parameters
        ----------
        function : callable
            ``function(block, *beside) -> (sums, each)``, as of `sum` and `map`.
        columns, *beside
            As of `sum`.
        """


class InBlocks:
    """Sums and maps over the blocks of a table, one after the other."""

    def sum(
        self: Rows, function: Callable[..., _Sums], columns: int, *beside: Tensor | None
    ) -> _Sums:
        def both(*parts: Any) -> tuple[_Sums, tuple[()]]:
            return function(*parts), ()

        return self.sum_and_map(both, columns, *beside)[0]

    def map(
        self: Rows, function: Callable[..., _Each], columns: int, *beside: Tensor | None
    ) -> _Each:
        def both(*parts: Any) -> tuple[tuple[()], _Each]:
            return (), function(*parts)

        return self.sum_and_map(both, columns, *beside)[1]

    def sum_and_map(
        self: Rows,
        function: Callable[..., tuple[_Sums, _Each]],
        columns: int,
        *beside: Tensor | None,
    ) -> tuple[_Sums, _Each]:
        sums: Any = None
        each: Any = None
        for start, stop, block in self.blocks(columns):
            parts = (part if part is None else part[start:stop] for part in beside)
            more, some = function(block, *parts)
            if stop - start == self.n_rows:  # all at once: nothing to collect
                return more, some
            if start == 0:
                sums, each = more, _room(some, self.n_rows)
            else:
                for whole, part in zip(_flat(sums), _flat(more), strict=True):
                    whole += part
            for whole, part in zip(_flat(each), _flat(some), strict=True):
                whole[start:stop] = part
        return sums, each


def _flat(value: Any) -> tuple[Tensor, ...]:
    return (value,) if isinstance(value, Tensor) else value


def _room(some: Any, n_rows: int) -> Any:
    """Room for the results of all rows, like those of some."""
    if isinstance(some, Tensor):
        return some.new_empty((n_rows, *some.shape[1:]))
    parts = [_room(part, n_rows) for part in some]
    return type(some)(*parts) if hasattr(some, "_fields") else tuple(parts)


@dataclass(frozen=True)
class DenseRows(InBlocks):
    """Rows of a dense tensor; a block is a view where the data is resident."""

    data: Tensor
    device: torch.device
    dtype: torch.dtype
    block_rows: BlockRows
    is_sparse: bool = False

    @property
    def n_rows(self) -> int:
        return self.data.shape[0]

    @property
    def n_features(self) -> int:
        return self.data.shape[1]

    def blocks(self, columns: int) -> Iterator[tuple[int, int, Tensor]]:
        # The rows of a block are read several times: they had better stay in a cache.
        span = min(self.block_rows(columns), _CACHED * self.block_rows(self.n_features))
        if self.n_rows <= span:
            yield 0, self.n_rows, self.data.to(self.device, self.dtype)
            return
        for start, stop in _spans(self.n_rows, span):
            yield start, stop, self.data[start:stop].to(self.device, self.dtype)

    def take(self, index: Tensor) -> Tensor:
        rows = self.data.index_select(0, index.to(self.data.device))
        return rows.to(self.device, self.dtype)

    def astype(self, dtype: torch.dtype) -> "DenseRows":
        return replace(self, dtype=dtype)


@dataclass(frozen=True)
class SparseRows(InBlocks):
    """Rows of a CSR matrix; a block is a CSR tensor, never densified."""

    indptr: Tensor
    indices: Tensor
    values: Tensor
    n_features: int
    device: torch.device
    dtype: torch.dtype
    block_rows: BlockRows
    is_sparse: bool = True

    @property
    def n_rows(self) -> int:
        return self.indptr.shape[0] - 1

    def blocks(self, columns: int) -> Iterator[tuple[int, int, Tensor]]:
        for start, stop in _spans(self.n_rows, self.block_rows(columns)):
            first, last = int(self.indptr[start]), int(self.indptr[stop])
            yield (
                start,
                stop,
                self._csr(
                    self.indptr[start : stop + 1] - first,
                    self.indices[first:last],
                    self.values[first:last],
                ),
            )

    def take(self, index: Tensor) -> Tensor:
        index = index.to(self.indptr.device)
        first = self.indptr[index]  # (m,)
        counts = self.indptr[index + 1] - first  # (m,)
        indptr = torch.nn.functional.pad(counts.cumsum(0), (1, 0))  # (m + 1,)
        where = torch.arange(int(indptr[-1]), device=index.device)  # (nnz,)
        where += torch.repeat_interleave(first - indptr[:-1], counts)
        return self._csr(indptr, self.indices[where], self.values[where])

    def astype(self, dtype: torch.dtype) -> "SparseRows":
        return replace(self, dtype=dtype)

    def _csr(self, indptr: Tensor, indices: Tensor, values: Tensor) -> Tensor:
        with warnings.catch_warnings():  # torch calls its CSR tensors "beta", once
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
            return torch.sparse_csr_tensor(
                indptr,
                indices,
                values,
                (indptr.shape[0] - 1, self.n_features),
                device=values.device,
                check_invariants=False,
            ).to(self.device, self.dtype)


@dataclass(frozen=True)
class Moved(InBlocks):
    """Dense rows less a point, taken off block by block."""

    rows: Rows
    point: Tensor  # (d,)
    is_sparse: bool = False

    @property
    def n_rows(self) -> int:
        return self.rows.n_rows

    @property
    def n_features(self) -> int:
        return self.rows.n_features

    def blocks(self, columns: int) -> Iterator[tuple[int, int, Tensor]]:
        for start, stop, block in self.rows.blocks(columns):
            yield start, stop, block - self.point

    @property
    def dtype(self) -> torch.dtype:
        return self.rows.dtype

    def take(self, index: Tensor) -> Tensor:
        return self.rows.take(index) - self.point

    def astype(self, dtype: torch.dtype) -> "Moved":
        return Moved(self.rows.astype(dtype), self.point.to(dtype))


@dataclass(frozen=True)
class Densified(InBlocks):
    """Rows made dense, block by block."""

    rows: Rows
    is_sparse: bool = False

    @property
    def n_rows(self) -> int:
        return self.rows.n_rows

    @property
    def n_features(self) -> int:
        return self.rows.n_features

    @property
    def dtype(self) -> torch.dtype:
        return self.rows.dtype

    def blocks(self, columns: int) -> Iterator[tuple[int, int, Tensor]]:
        for start, stop, block in self.rows.blocks(max(columns, self.n_features)):
            yield start, stop, _dense(block)

    def take(self, index: Tensor) -> Tensor:
        return _dense(self.rows.take(index))

    def astype(self, dtype: torch.dtype) -> "Densified":
        return Densified(self.rows.astype(dtype))


def _dense(block: Tensor) -> Tensor:
    return block if block.layout == torch.strided else block.to_dense()


@dataclass(frozen=True)
class Scaled(InBlocks):
    """Dense or sparse rows times a power of two, block by block."""

    rows: Rows
    factor: float

    @property
    def n_rows(self) -> int:
        return self.rows.n_rows

    @property
    def n_features(self) -> int:
        return self.rows.n_features

    @property
    def is_sparse(self) -> bool:
        return self.rows.is_sparse

    def blocks(self, columns: int) -> Iterator[tuple[int, int, Tensor]]:
        for start, stop, block in self.rows.blocks(columns):
            yield start, stop, block * self.factor

    @property
    def dtype(self) -> torch.dtype:
        return self.rows.dtype

    def take(self, index: Tensor) -> Tensor:
        return self.rows.take(index) * self.factor

    def astype(self, dtype: torch.dtype) -> "Scaled":
        return Scaled(self.rows.astype(dtype), self.factor)


def dense_rows(
    data: Tensor, device: torch.device, dtype: torch.dtype, block_rows: BlockRows
) -> DenseRows:
    """Rows of a host tensor (n, d), moved to the device once where it fits."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if data.numel() * torch.finfo(dtype).bits // 8 < free // 2:
            data = data.to(device, dtype)
    return DenseRows(data, device, dtype, block_rows)


def sparse_rows(
    parts: Sequence[Tensor],
    n_features: int,
    device: torch.device,
    dtype: torch.dtype,
    block_rows: BlockRows,
) -> SparseRows:
    """Rows of a CSR matrix given as (indptr, indices, values)."""
    indptr, indices, values = parts
    return SparseRows(indptr, indices, values, n_features, device, dtype, block_rows)


def _spans(n_rows: int, span: int) -> Iterator[tuple[int, int]]:
    for start in range(0, n_rows, span):
        yield start, min(start + span, n_rows)
