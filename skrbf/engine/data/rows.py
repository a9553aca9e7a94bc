"""The rows of a table: a map and a sum over them, block by block.

All that is computed of the rows is a sum of a function over them, or a result for each
row that is kept beside the table. Rows are dense or CSR, and stay on the device or move
there block by block.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from skrbf.engine.data.constants import MAX_ROWS_PER_TEMPORARY

BlockRows = Callable[[int], int]

# A tensor, or a tuple of tensors.
_Sums = TypeVar("_Sums")
_PerRow = TypeVar("_PerRow")


class Blocks(Protocol):
    """The part of a table that prediction needs."""

    def blocks(self, columns: int) -> Iterator[tuple[int, int, Tensor]]:
        """Yield blocks (start, stop, rows) with room for ``columns`` numbers a row."""


class Rows(Blocks, Protocol):
    """A table of ``n_rows`` x ``n_features``.

    `sum` and `map` call their function with a block of rows (m, d), and with the same
    rows of every aligned tensor. An aligned None stays None.
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
        """Select rows, in the order of ``index``, in one tensor."""

    def astype(self, dtype: torch.dtype) -> "Rows":
        """Change the precision of the rows, block by block."""

    def sum(
        self, function: Callable[..., _Sums], columns: int, *aligned: Tensor | None
    ) -> _Sums:
        """Add up a function of all rows.

        Parameters
        ----------
        function : callable
            ``function(block, *aligned) -> sums``: a tensor or a tuple of tensors, which
            nothing else holds.
        columns : int
            Numbers that the function needs for a row: sets the size of the blocks.
        *aligned : Tensor of shape (n_rows, ...) or None
        """

    def map(
        self, function: Callable[..., _PerRow], columns: int, *aligned: Tensor | None
    ) -> _PerRow:
        """Compute a result for each row, to be kept beside the table.

        ``function(block, *aligned) -> per_row``: a tensor (m, ...) or a tuple of them.
        """

    def sum_and_map(
        self,
        function: Callable[..., tuple[_Sums, _PerRow]],
        columns: int,
        *aligned: Tensor | None,
    ) -> tuple[_Sums, _PerRow]:
        """Add up a function of all rows, and keep a result for each, in one pass.

        ``function(block, *aligned) -> (sums, per_row)``, as of `sum` and `map`.
        """


class BlockwiseRows:
    """Mixin of tables: sums and maps over their blocks, one after the other."""

    def sum(
        self: Rows,
        function: Callable[..., _Sums],
        columns: int,
        *aligned: Tensor | None,
    ) -> _Sums:
        def both(*parts: Any) -> tuple[_Sums, tuple[()]]:
            return function(*parts), ()

        return self.sum_and_map(both, columns, *aligned)[0]

    def map(
        self: Rows,
        function: Callable[..., _PerRow],
        columns: int,
        *aligned: Tensor | None,
    ) -> _PerRow:
        def both(*parts: Any) -> tuple[tuple[()], _PerRow]:
            return (), function(*parts)

        return self.sum_and_map(both, columns, *aligned)[1]

    def sum_and_map(
        self: Rows,
        function: Callable[..., tuple[_Sums, _PerRow]],
        columns: int,
        *aligned: Tensor | None,
    ) -> tuple[_Sums, _PerRow]:
        sums: Any = None
        per_row: Any = None
        for start, stop, block in self.blocks(columns):
            parts = (part if part is None else part[start:stop] for part in aligned)
            block_sums, block_rows = function(block, *parts)
            if stop - start == self.n_rows:  # a single block: nothing to collect
                sums, per_row = block_sums, block_rows
                continue
            if start == 0:
                sums, per_row = block_sums, _empty_like(block_rows, self.n_rows)
            else:
                for total, part in _pairs(sums, block_sums):
                    total += part
            for table, part in _pairs(per_row, block_rows):
                table[start:stop] = part
        return sums, per_row


def _pairs(left: Any, right: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Pair two tensors, or the tensors of two tuples."""
    if isinstance(left, Tensor):
        return iter([(left, right)])
    return zip(left, right, strict=True)


def _empty_like(part: Any, n_rows: int) -> Any:
    """Allocate the results of all rows, like those of one block."""
    if isinstance(part, Tensor):
        return part.new_empty((n_rows, *part.shape[1:]))
    tables = [_empty_like(one, n_rows) for one in part]
    return type(part)(*tables) if hasattr(part, "_fields") else tuple(tables)


@dataclass(frozen=True)
class DenseRows(BlockwiseRows):
    """Rows of a dense tensor; a block is a view where the data are on the device."""

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
        most = MAX_ROWS_PER_TEMPORARY * self.block_rows(self.n_features)
        size = min(self.block_rows(columns), most)
        if self.n_rows <= size:
            yield 0, self.n_rows, self.data.to(self.device, self.dtype)
            return
        for start, stop in _ranges(self.n_rows, size):
            yield start, stop, self.data[start:stop].to(self.device, self.dtype)

    def take(self, index: Tensor) -> Tensor:
        rows = self.data.index_select(0, index.to(self.data.device))
        return rows.to(self.device, self.dtype)

    def astype(self, dtype: torch.dtype) -> "DenseRows":
        return replace(self, dtype=dtype)


@dataclass(frozen=True)
class SparseRows(BlockwiseRows):
    """Rows of a CSR matrix; a block is a CSR tensor, never made dense."""

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
        for start, stop in _ranges(self.n_rows, self.block_rows(columns)):
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
        entry = torch.arange(int(indptr[-1]), device=index.device)  # (nnz,)
        entry += torch.repeat_interleave(first - indptr[:-1], counts)
        return self._csr(indptr, self.indices[entry], self.values[entry])

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
class TransformedRows(BlockwiseRows):
    """Rows made dense, less an origin, times a factor: block by block.

    The table stays as it is.
    """

    rows: Rows
    densify: bool = False
    origin: Tensor | None = None  # (d,) that is subtracted, only from dense rows
    factor: float = 1.0  # only a power of two rounds nothing

    @property
    def n_rows(self) -> int:
        return self.rows.n_rows

    @property
    def n_features(self) -> int:
        return self.rows.n_features

    @property
    def is_sparse(self) -> bool:
        return self.rows.is_sparse and not self.densify

    @property
    def dtype(self) -> torch.dtype:
        return self.rows.dtype

    def blocks(self, columns: int) -> Iterator[tuple[int, int, Tensor]]:
        columns = max(columns, self.n_features) if self.densify else columns
        for start, stop, block in self.rows.blocks(columns):
            yield start, stop, self._transform(block)

    def take(self, index: Tensor) -> Tensor:
        return self._transform(self.rows.take(index))

    def astype(self, dtype: torch.dtype) -> "TransformedRows":
        origin = None if self.origin is None else self.origin.to(dtype)
        return replace(self, rows=self.rows.astype(dtype), origin=origin)

    def _transform(self, block: Tensor) -> Tensor:
        block = as_dense(block) if self.densify else block
        block = block if self.origin is None else block - self.origin
        return block if self.factor == 1.0 else block * self.factor


def as_dense(block: Tensor) -> Tensor:
    """Make a block of CSR rows dense; dense rows stay as they are."""
    return block if block.layout == torch.strided else block.to_dense()


def _ranges(n_rows: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, n_rows, size):
        yield start, min(start + size, n_rows)
