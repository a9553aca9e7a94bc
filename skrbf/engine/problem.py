"""The data of one fit, on its device, and what is computed of them once."""

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.compute import Compute
from skrbf.engine.limits import check_variance, has_room, times_power
from skrbf.engine.rows import Moved, Rows, Scaled
from skrbf.ops.distances import inner_products, relative_distances, squared_norms
from skrbf.ops.statistics import weighted_sums


class Problem(NamedTuple):
    """Rows, weights and their first two moments.

    Distances are held relative to an origin near the mean, as
    ``||x - c||^2 - ||x - origin||^2``, as by `relative_distances`.
    """

    table: Rows  # as they were given
    rows: Rows  # as they are computed with: in another precision, unit or origin
    weight: Tensor | None  # (n,), None where all are one
    mean: Tensor  # (d,)
    origin: Tensor  # (d,)
    square: Tensor  # (n,) ||x - origin||^2
    total_square: float  # sum w ||x - origin||^2
    scatter: float  # sum w ||x - mean||^2
    mass: float  # sum w
    compute: Compute
    centered: bool = False
    exponent: int = 0  # the rows are those of the table over 2^exponent

    @property
    def offset(self) -> Tensor | None:
        """The origin, None where it is zero since the rows are centered."""
        return None if self.centered else self.origin

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

    def distances_to(self, center: Tensor) -> Tensor:
        """Squared distances of all rows to one center (d,)."""
        parts = [
            relative_distances(center[None], block, self.offset)[0]
            for _, _, block in self.rows.blocks(1)
        ]
        return torch.cat(parts).add_(self.square).clamp_(min=0)


def make_problem(rows: Rows, weight: Tensor | None, compute: Compute) -> Problem:
    """Measure the moments of rows, in a precision and unit that have room for squares.

    Two passes over the rows. Where the squares of differences leave the range of single
    precision the problem is one of double precision, and where they leave that, its
    rows are divided by a power of two, which rounds nothing.

    Raises
    ------
    ValueError
        If the variance of the rows, in their own unit, leaves the range of float64.
    """
    problem = _measured(rows, weight, compute)
    if not _has_room(problem) and compute.dtype != compute.accumulate:
        problem = widened(problem)
    varies = problem.scatter > 0
    if not _has_room(problem):
        half = _largest_half_range(problem.rows)
        varies = half > 0
        if varies:
            exponent = math.frexp(half)[1]
            scaled = Scaled(problem.rows, math.ldexp(1.0, -exponent))
            problem = _measured(scaled, problem.weight, problem.compute)
            problem = problem._replace(table=rows, exponent=exponent)
    variance = problem.scatter / problem.mass
    check_variance(times_power(variance, 2 * problem.exponent), varies=varies)
    return problem


def widened(problem: Problem, origin: Tensor | None = None) -> Problem:
    """Measure the same rows in double precision, about another origin if one is given.

    Parameters
    ----------
    origin : Tensor of shape (d,), optional
    """
    dtype = problem.compute.accumulate
    rows, weight = problem.rows.astype(dtype), problem.weight
    weight = None if weight is None else weight.to(dtype)
    origin = None if origin is None else origin.to(dtype)
    wide = _measured(rows, weight, replace(problem.compute, dtype=dtype), origin)
    return wide._replace(table=problem.table, exponent=problem.exponent)


def _has_room(problem: Problem) -> bool:
    variance = problem.scatter / problem.mass
    return has_room(variance, problem.compute.dtype)


def _measured(
    rows: Rows, weight: Tensor | None, compute: Compute, origin: Tensor | None = None
) -> Problem:
    d, n = rows.n_features, rows.n_rows
    total = torch.zeros(d, dtype=compute.accumulate, device=compute.device)
    norms = total.new_zeros(())
    columns = 1 if rows.is_sparse else d
    for start, stop, block in rows.blocks(columns):
        ones = torch.ones(stop - start, dtype=compute.dtype, device=compute.device)
        w = ones if weight is None else weight[start:stop]
        total += weighted_sums(w[None], block)[0]
        norms += w @ squared_norms(block)
    mass = float(n) if weight is None else float(weight.sum(dtype=compute.accumulate))
    mean = total / mass
    if origin is None:
        origin = _origin(mean, float(norms) / mass, compute.dtype)
    square = torch.empty(n, dtype=compute.dtype, device=compute.device)
    for start, stop, block in rows.blocks(columns):
        square[start:stop] = squares_about(origin, block)
    share = square if weight is None else square * weight
    total_square = float(share.sum(dtype=compute.accumulate))
    shift = mean.to(origin) - origin
    scatter = total_square - mass * float(squared_norms(shift[None])[0])
    return Problem(
        rows,
        rows,
        weight,
        mean.to(compute.dtype),
        origin,
        square,
        total_square,
        max(scatter, 0.0),
        mass,
        compute,
    )


def rounding(problem: Problem) -> float:
    """Bound the change of a distortion that rounding alone can make."""
    return 4 * torch.finfo(problem.compute.dtype).eps * problem.total_square


def squares_about(point: Tensor, block: Tensor) -> Tensor:
    """Compute the squared distances (m,) of a block of rows to one point (d,)."""
    if block.layout == torch.strided:
        return squared_norms(block - point)
    cross = inner_products(point[None], block)[0]
    return (squared_norms(block) - 2 * cross + point @ point).clamp_(min=0)


# The origin is a whole number of steps where the rows spread by more than rounding.
_SURE = 1 << 12


def _origin(mean: Tensor, square: float, dtype: torch.dtype) -> Tensor:
    """Round the mean to whole steps of about the standard deviation of a row.

    Integers then stay integers, and equal distances stay equal: with a fractional
    origin, rounding would break the ties.

    Parameters
    ----------
    square : float
        Mean squared norm of the rows.
    """
    middle = float(squared_norms(mean[None])[0])
    variance = square - middle
    if not _SURE * torch.finfo(dtype).eps * middle < variance < math.inf:
        return mean.to(dtype)
    step = 2.0 ** (math.frexp(variance / len(mean))[1] // 2)
    return ((mean / step).round() * step).to(dtype)


def _largest_half_range(rows: Rows) -> float:
    """Half the largest difference of two values of one feature."""
    dtype = torch.float64
    low = torch.full((rows.n_features,), torch.inf, dtype=dtype, device="cpu")
    high, counts = -low, torch.zeros_like(low)
    for _, _, block in rows.blocks(rows.n_features):
        if block.layout == torch.strided:
            least, most = (ends.cpu().to(dtype) for ends in block.aminmax(dim=0))
            low, high = low.minimum(least), high.maximum(most)
            counts += len(block)
        else:
            values, columns = block.values().cpu().to(dtype), block.col_indices().cpu()
            low = low.scatter_reduce(0, columns, values, "amin")
            high = high.scatter_reduce(0, columns, values, "amax")
            counts += columns.bincount(minlength=len(low))
    rest = counts < rows.n_rows  # features with zeros that are not stored
    low, high = low.where(~rest, low.clamp_max(0)), high.where(~rest, high.clamp_min(0))
    return float((high / 2 - low / 2).max())


# Tables of up to this many numbers are moved to their origin by a copy, larger ones
# block by block where it lies so many standard deviations away from 0.
_COPY = 1 << 20
_FAR = 16


def about_origin(problem: Problem) -> Problem:
    """Move the origin to 0, where that is cheap or needed."""
    rows = problem.rows
    if rows.is_sparse or not bool(problem.origin.any()):
        return problem._replace(centered=not bool(problem.origin.any()))
    if rows.n_rows * rows.n_features <= _COPY:
        every = torch.arange(rows.n_rows, device=problem.origin.device)
        moved: Rows = problem.compute.dense(rows.take(every).sub_(problem.origin))
    else:
        spread = (problem.scatter / problem.mass / rows.n_features) ** 0.5
        if not bool((problem.origin.abs() > _FAR * spread).any()):
            return problem
        moved = Moved(rows, problem.origin)
    return problem._replace(
        rows=moved,
        mean=problem.mean - problem.origin,
        origin=torch.zeros_like(problem.origin),
        centered=True,
    )
