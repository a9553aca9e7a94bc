"""The data of one fit, on its device, and what is computed of them once."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from skrbf.engine.data.compute import Compute
from skrbf.engine.data.limits import check_variance, has_room, times_power
from skrbf.engine.data.rows import Densified, Moved, Rows, Scaled
from skrbf.ops.distances import inner_products, relative_distances, squared_norms
from skrbf.ops.statistics import weighted_sums

_Sums = TypeVar("_Sums")
_Each = TypeVar("_Each")


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

    def sum(
        self, function: Callable[..., _Sums], columns: int, *beside: Tensor | None
    ) -> _Sums:
        """Add up a function of all rows and their weights, see :class:`Rows`."""
        return self.rows.sum(function, columns, self.weight, *beside)

    def map(
        self, function: Callable[..., _Each], columns: int, *beside: Tensor | None
    ) -> _Each:
        """Compute a result for each row and its weight, see :class:`Rows`."""
        return self.rows.map(function, columns, self.weight, *beside)

    def sum_and_map(
        self,
        function: Callable[..., tuple[_Sums, _Each]],
        columns: int,
        *beside: Tensor | None,
    ) -> tuple[_Sums, _Each]:
        """Do both in one pass."""
        return self.rows.sum_and_map(function, columns, self.weight, *beside)

    def weighted(self, values: Tensor) -> Tensor:
        """Values of all rows times their weights."""
        return values if self.weight is None else values * self.weight

    def row(self, index: Tensor) -> Tensor:
        """One row, dense."""
        row = self.rows.take(index[None])
        return (row if row.layout == torch.strided else row.to_dense())[0]  # (d,)

    def distances_to(self, center: Tensor) -> Tensor:
        """Squared distances of all rows to one center (d,)."""
        relative = self.rows.map(
            lambda block: relative_distances(center[None], block, self.offset)[0], 1
        )
        return relative.add_(self.square).clamp_(min=0)


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
        low, high = _extremes(problem.rows, problem.weight)
        half = float((high / 2 - low / 2).max())
        varies = half > 0
        if varies:
            exponent = min(max(math.frexp(half)[1], -_LARGEST), _LARGEST)
            scaled = Scaled(problem.rows, 2.0**-exponent)
            problem = _measured(scaled, problem.weight, problem.compute)
            problem = problem._replace(table=rows, exponent=exponent)
    variance = problem.scatter / problem.mass
    check_variance(times_power(variance, 2 * problem.exponent), varies=varies)
    return problem


# Powers of two up to this exponent have an inverse in float64.
_LARGEST = 1000


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
    columns = 1 if rows.is_sparse else rows.n_features

    def moments(block: Tensor, w: Tensor | None) -> tuple[Tensor, Tensor]:
        norms = squared_norms(block)  # (m,)
        w = torch.ones_like(norms) if w is None else w
        sums = weighted_sums(w[None], block)[0], w @ norms  # (d,), ()
        return sums[0].to(compute.accumulate), sums[1].to(compute.accumulate)

    total, norms = rows.sum(moments, columns, weight)
    mass = float(rows.n_rows)
    if weight is not None:
        mass = float(weight.sum(dtype=compute.accumulate))
    mean = total / mass
    variance = float(norms) / mass - float(squared_norms(mean[None])[0])
    table = rows
    if _is_sure(mean, variance, compute.dtype):
        about = _in_steps(mean, variance)
    else:
        # The mean of what is constant is that constant, and not what rounding makes of
        # it. Squares of sparse rows would cancel: they are made dense and centered.
        low, high = _extremes(rows, weight)
        about = mean = mean.clamp(low.to(mean), high.to(mean))
        rows = Densified(rows) if rows.is_sparse else rows
    origin = about.to(compute.dtype) if origin is None else origin
    square = rows.map(lambda block: squares_about(origin, block), columns)
    share = square if weight is None else square * weight
    total_square = float(share.sum(dtype=compute.accumulate))
    shift = mean.to(origin) - origin
    scatter = total_square - mass * float(squared_norms(shift[None])[0])
    return Problem(
        table,
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


# Of the rounding of the squared mean: a variance of more is one of the rows.
_SURE = 1 << 12


def _is_sure(mean: Tensor, variance: float, dtype: torch.dtype) -> bool:
    """Tell whether a difference of squares (of rows, of their mean) is a variance."""
    middle = float(squared_norms(mean[None])[0])
    return _SURE * torch.finfo(dtype).eps * middle < variance < math.inf


def _in_steps(mean: Tensor, variance: float) -> Tensor:
    """Round the mean to whole steps of about the standard deviation of a feature.

    Integers then stay integers, and equal distances stay equal: with a fractional
    origin, rounding would break the ties.
    """
    step = 2.0 ** (math.frexp(variance / len(mean))[1] // 2)
    return (mean / step).round() * step


def _extremes(rows: Rows, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Find the least and largest value (d,) of each feature, of rows with weight.

    A minimum and a maximum over the rows, not a sum. In float64, on the CPU.
    """
    dtype = torch.float64
    low = torch.full((rows.n_features,), torch.inf, dtype=dtype, device="cpu")
    high = -low
    for start, stop, block in Densified(rows).blocks(rows.n_features):
        if weight is not None:
            block = block[weight[start:stop] > 0]
        if len(block):
            least, most = (ends.cpu().to(dtype) for ends in block.aminmax(dim=0))
            low, high = low.minimum(least), high.maximum(most)
    return low, high


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
