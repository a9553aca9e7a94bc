"""The data of one fit, on its device, and what is computed of them once."""

from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.compute import Compute
from skrbf.engine.rows import Moved, Rows
from skrbf.ops.distances import inner_products, relative_distances, squared_norms
from skrbf.ops.statistics import weighted_sums


class Problem(NamedTuple):
    """Rows, weights and their first two moments.

    Distances are held relative to the weighted mean, as
    ``||x - c||^2 - ||x - mean||^2``, see :func:`skrbf.ops.relative_distances`.
    """

    rows: Rows
    weight: Tensor | None  # (n,), None where all are one
    mean: Tensor  # (d,)
    square: Tensor  # (n,) ||x - mean||^2
    scatter: float  # sum w ||x - mean||^2
    mass: float  # sum w
    compute: Compute
    centered: bool = False

    @property
    def offset(self) -> Tensor | None:
        """The mean, None where it is zero since the rows are centered."""
        return None if self.centered else self.mean

    def empty(self, dtype: torch.dtype) -> Tensor:
        """Room for one number of each row."""
        return torch.empty(self.rows.n_rows, dtype=dtype, device=self.compute.device)

    def weight_of(self, start: int, stop: int) -> Tensor | None:
        """Weights of a block of rows."""
        return None if self.weight is None else self.weight[start:stop]

    def weighted(self, values: Tensor) -> Tensor:
        """Values of all rows times their weights."""
        return values if self.weight is None else values * self.weight

    def row(self, index: Tensor) -> Tensor:
        """One row, dense."""
        row = self.rows.take(index[None])
        return (row if row.layout == torch.strided else row.to_dense())[0]  # (d,)

    def square_about(
        self, point: Tensor, start: int, stop: int, block: Tensor
    ) -> Tensor:
        """Squared distances of a block of rows to one point."""
        if block.layout == torch.strided:
            return squared_norms(block - point)
        shift = relative_distances(point[None], block, self.mean)[0]
        return self.square[start:stop] + shift

    def distances_to(self, center: Tensor) -> Tensor:
        """Squared distances of all rows to one center (d,)."""
        parts = [
            relative_distances(center[None], block, self.offset)[0]
            for _, _, block in self.rows.blocks(1)
        ]
        return torch.cat(parts).add_(self.square).clamp_(min=0)


def make_problem(rows: Rows, weight: Tensor | None, compute: Compute) -> Problem:
    """Weighted mean, squared distances to it and their sum, in two passes."""
    d, n = rows.n_features, rows.n_rows
    total = torch.zeros(d, dtype=compute.accumulate, device=compute.device)
    columns = 1 if rows.is_sparse else d
    for start, stop, block in rows.blocks(columns):
        ones = torch.ones(stop - start, dtype=compute.dtype, device=compute.device)
        w = ones if weight is None else weight[start:stop]
        total += weighted_sums(w[None], block)[0]
    mass = float(n) if weight is None else float(weight.sum(dtype=compute.accumulate))
    mean = (total / mass).to(compute.dtype)
    square = torch.empty(n, dtype=compute.dtype, device=compute.device)
    for start, stop, block in rows.blocks(columns):
        if block.layout == torch.strided:
            square[start:stop] = squared_norms(block - mean)
        else:
            cross = inner_products(mean[None], block)[0]
            part = squared_norms(block) - 2 * cross + mean @ mean
            square[start:stop] = part.clamp_(min=0)
    share = square if weight is None else square * weight
    scatter = float(share.sum(dtype=compute.accumulate))
    return Problem(rows, weight, mean, square, scatter, mass, compute)


# Tables of up to this many numbers are moved to their mean by a copy, larger ones block
# by block where it lies so many standard deviations away from 0.
_COPY = 1 << 20
_FAR = 16


def about_mean(problem: Problem) -> Problem:
    """The same problem with its mean at 0, where that is cheap or needed."""
    rows = problem.rows
    if rows.is_sparse:
        return problem
    zero = torch.zeros_like(problem.mean)
    if rows.n_rows * rows.n_features <= _COPY:
        every = torch.arange(rows.n_rows, device=zero.device)
        moved = problem.compute.dense(rows.take(every).sub_(problem.mean))
    else:
        spread = (problem.scatter / problem.mass / rows.n_features) ** 0.5
        if not bool((problem.mean.abs() > _FAR * spread).any()):
            return problem
        moved = Moved(rows, problem.mean)
    return problem._replace(rows=moved, mean=zero, centered=True)
