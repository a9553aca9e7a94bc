"""The data of one fit on its device, with their moments."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from skrbf.engine.data.constants import MAX_SCALE_EXPONENT
from skrbf.engine.data.device import Compute
from skrbf.engine.data.number_range import (
    check_variance,
    squares_fit,
    times_power_of_two,
)
from skrbf.engine.data.rows import Rows, TransformedRows, as_dense
from skrbf.engine.kmeans import constants
from skrbf.ops.distances import inner_products, relative_distances, squared_norms
from skrbf.ops.fixed_direction import fixed_direction
from skrbf.ops.statistics import label_totals, weighted_sums

_Sums = TypeVar("_Sums")
_PerRow = TypeVar("_PerRow")


class Problem(NamedTuple):
    """Rows, weights and their first two moments.

    Distances are held relative to an origin near the mean, as
    ``||x - c||^2 - ||x - origin||^2``, as by `relative_distances`.

    An ordinary row has weight 1: the weights are None where all are 1. Otherwise they
    are those given, over a power of two, and every sum of them is in their unit: the
    scatter, the objective and the inertia.
    """

    table: Rows  # as given
    rows: Rows  # as computed with: in another precision, unit or origin
    weight: Tensor | None  # (n,)
    mean: Tensor  # (d,)
    origin: Tensor  # (d,)
    square: Tensor  # (n,) ||x - origin||^2
    total_square: float  # sum w ||x - origin||^2
    scatter: float  # sum w ||x - mean||^2
    weight_sum: float
    compute: Compute
    centered: bool = False
    exponent: int = 0  # the rows are those of the table over 2^exponent

    @property
    def offset(self) -> Tensor | None:
        """The origin, None where it is zero since the rows are centered."""
        return None if self.centered else self.origin

    @property
    def variance(self) -> float:
        """Sum of the variances of all features."""
        return self.scatter / self.weight_sum

    def sum(
        self, function: Callable[..., _Sums], columns: int, *aligned: Tensor | None
    ) -> _Sums:
        """Add up a function of all rows and their weights, see :class:`Rows`."""
        return self.rows.sum(function, columns, self.weight, *aligned)

    def sum_and_map(
        self,
        function: Callable[..., tuple[_Sums, _PerRow]],
        columns: int,
        *aligned: Tensor | None,
    ) -> tuple[_Sums, _PerRow]:
        """Add up a function, and keep a result for each row, see :class:`Rows`."""
        return self.rows.sum_and_map(function, columns, self.weight, *aligned)

    def weighted(self, values: Tensor) -> Tensor:
        """Multiply values of all rows by their weights."""
        return values if self.weight is None else values * self.weight

    def row(self, index: Tensor) -> Tensor:
        """Select one row, dense."""
        return as_dense(self.rows.take(index[None]))[0]  # (d,)

    def nearest_distances(self, centers: Tensor) -> Tensor:
        """Compute the squared distances (n,) of all rows to the nearest center."""

        def smallest(block: Tensor) -> Tensor:
            return relative_distances(centers, block, self.offset).amin(0)  # (m,)

        relative = self.rows.map(smallest, len(centers))
        return relative.add_(self.square).clamp_(min=0)


def make_problem(rows: Rows, weight: Tensor | None, compute: Compute) -> Problem:
    """Compute the moments of rows, in a precision and unit with room for squares.

    Two passes over the rows. Where the squares of differences leave the range of single
    precision the problem is one of double precision. Where they leave that as well, its
    rows are divided by a power of two, which rounds nothing. A variance of the rows out
    of the range of float64, in their own unit, is an error.
    """
    problem = _with_moments(rows, weight, compute)
    in_range = squares_fit(problem.variance, problem.compute.dtype)
    if not in_range and compute.dtype != compute.accumulate:
        problem = to_double(problem)
        in_range = squares_fit(problem.variance, problem.compute.dtype)
    varies = problem.scatter > 0
    if not in_range:
        low, high = _extremes(problem.rows, problem.weight)
        half = float((high / 2 - low / 2).max())
        varies = half > 0
        if varies:
            exponent = math.frexp(half)[1]
            exponent = min(max(exponent, -MAX_SCALE_EXPONENT), MAX_SCALE_EXPONENT)
            scaled = TransformedRows(problem.rows, factor=2.0**-exponent)
            problem = _with_moments(scaled, problem.weight, problem.compute)
            problem = problem._replace(table=rows, exponent=exponent)
    variance = times_power_of_two(problem.variance, 2 * problem.exponent)
    check_variance(variance, varies=varies)
    return problem


def to_double(problem: Problem, origin: Tensor | None = None) -> Problem:
    """Compute the moments in double precision, about `origin` (d,) if it is given."""
    dtype = problem.compute.accumulate
    rows, weight = problem.rows.astype(dtype), problem.weight
    weight = None if weight is None else weight.to(dtype)
    origin = None if origin is None else origin.to(dtype)
    compute = replace(problem.compute, dtype=dtype)
    double = _with_moments(rows, weight, compute, origin)
    return double._replace(table=problem.table, exponent=problem.exponent)


def _with_moments(
    rows: Rows, weight: Tensor | None, compute: Compute, origin: Tensor | None = None
) -> Problem:
    columns, table = 1 if rows.is_sparse else rows.n_features, rows

    def moments(block: Tensor, w: Tensor | None) -> tuple[Tensor, Tensor]:
        norms = squared_norms(block)  # (m,)
        w = torch.ones_like(norms) if w is None else w
        sums = weighted_sums(w[None], block)[0], w @ norms  # (d,), ()
        return sums[0].to(compute.accumulate), sums[1].to(compute.accumulate)

    total, norms = rows.sum(moments, columns, weight)
    weight_sum = float(rows.n_rows)
    if weight is not None:
        weight_sum = float(weight.sum(dtype=compute.accumulate))
    mean = total / weight_sum
    variance = float(norms) / weight_sum - float(squared_norms(mean[None])[0])
    if _is_variance(mean, variance, compute.dtype):
        middle = _round_to_steps(mean, variance)
    else:
        # A constant feature has its value as the mean: that of a sum would be rounded.
        # Squares of sparse rows would cancel: these rows are made dense and centered.
        low, high = _extremes(rows, weight)
        middle = mean = mean.clamp(low.to(mean), high.to(mean))
        rows = TransformedRows(rows, densify=True) if rows.is_sparse else rows
    origin = middle.to(compute.dtype) if origin is None else origin
    square = rows.map(lambda block: squares_about(origin, block), columns)
    weighted = square if weight is None else square * weight
    total_square = float(weighted.sum(dtype=compute.accumulate))
    shift = mean.to(origin) - origin
    scatter = total_square - weight_sum * float(squared_norms(shift[None])[0])
    return Problem(
        table,
        rows,
        weight,
        mean.to(compute.dtype),
        origin,
        square,
        total_square,
        max(scatter, 0.0),
        weight_sum,
        compute,
    )


def squares_about(point: Tensor, block: Tensor) -> Tensor:
    """Compute the squared distances (m,) of a block of rows to one point (d,)."""
    if block.layout == torch.strided:
        return squared_norms(block - point)
    cross = inner_products(point[None], block)[0]
    return (squared_norms(block) - 2 * cross + point @ point).clamp_(min=0)


def _is_variance(mean: Tensor, variance: float, dtype: torch.dtype) -> bool:
    """Tell whether a difference of sums of squares is a variance, and not rounding."""
    rounding = torch.finfo(dtype).eps * float(squared_norms(mean[None])[0])
    return constants.SAFE_VARIANCE_ROUNDING * rounding < variance < math.inf


def _round_to_steps(mean: Tensor, variance: float) -> Tensor:
    """Round the mean to whole steps of about the standard deviation of a feature.

    Integers then stay integers, and equal distances stay equal. With a fractional
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
    dense = TransformedRows(rows, densify=True)
    for start, stop, block in dense.blocks(rows.n_features):
        if weight is not None:
            block = block[weight[start:stop] > 0]
        if len(block):
            least, most = (ends.cpu().to(dtype) for ends in block.aminmax(dim=0))
            low, high = low.minimum(least), high.maximum(most)
    return low, high


def distortion_rounding(problem: Problem) -> float:
    """Bound the change of a distortion that rounding alone can make."""
    eps = torch.finfo(problem.compute.dtype).eps
    return constants.DISTORTION_ROUNDING * eps * problem.total_square


def center_rows(
    problem: Problem, max_copied: int = constants.MAX_COPIED_NUMBERS
) -> Problem:
    """Move the origin to 0, where that is cheap or needed.

    Tables of more than `max_copied` numbers are not copied but centered block by block,
    and only if they lie far from 0.
    """
    rows = problem.rows
    if rows.is_sparse or not bool(problem.origin.any()):
        return problem._replace(centered=not bool(problem.origin.any()))
    if rows.n_rows * rows.n_features <= max_copied:
        index = torch.arange(rows.n_rows, device=problem.origin.device)
        copy = rows.take(index).sub_(problem.origin)
        centered: Rows = problem.compute.dense(copy)
    else:
        deviation = (problem.scatter / problem.weight_sum / rows.n_features) ** 0.5
        if not bool((problem.origin.abs() > constants.FAR_ORIGIN * deviation).any()):
            return problem
        centered = TransformedRows(rows, origin=problem.origin)
    return problem._replace(
        rows=centered,
        mean=problem.mean - problem.origin,
        origin=torch.zeros_like(problem.origin),
        centered=True,
    )


def largest_variance(problem: Problem) -> float:
    """Compute the leading eigenvalue of the weighted covariance.

    Up to `MAX_COVARIANCE_FEATURES` features, in double precision from the matrix:
    eigensolvers in single precision fail on tables with constant features or few rows.
    Above, by ARPACK from products with the matrix. Only vectors (d,) leave the device.
    """
    d = problem.rows.n_features
    if d <= constants.MAX_COVARIANCE_FEATURES:

        def squares(block: Tensor, w: Tensor | None) -> Tensor:
            shift = as_dense(block) - problem.mean  # (m, d)
            weighted = shift if w is None else shift * w[:, None]
            return (weighted.t() @ shift).cpu().double()  # (d, d)

        scatter = problem.sum(squares, 2 * d)
        largest = max(float(torch.linalg.eigvalsh(scatter)[-1]), 0.0)
        return largest / problem.weight_sum
    if problem.scatter == 0:  # ARPACK has no start then
        return 0.0
    farthest = problem.weighted(problem.square).argmax()
    start = (problem.row(farthest) - problem.mean).cpu().double()  # (d,)
    # No symmetry of the data may leave the start orthogonal to the eigenvector.
    generic = fixed_direction(start)
    start += generic * (constants.GENERIC_START * start.norm() / generic.norm())

    # ARPACK takes eigenvalues near the machine epsilon for 0. A power of two brings
    # them to about 1, and rounds nothing.
    exponent = math.frexp(problem.scatter / problem.weight_sum)[1]

    def multiply(vector: np.ndarray) -> np.ndarray:
        product = _times_covariance(problem, torch.tensor(vector).to(problem.mean))
        return np.ldexp(product.cpu().double().numpy(), -exponent)

    covariance = LinearOperator((d, d), matvec=multiply, dtype=np.float64)
    tol = constants.EIGENVALUE_TOL
    values, _ = eigsh(covariance, 1, which="LA", v0=start.numpy(), tol=tol)
    return max(math.ldexp(float(values[0]), exponent), 0.0)


def _times_covariance(problem: Problem, vector: Tensor) -> Tensor:
    """Multiply the weighted covariance by a vector (d,)."""

    def product(block: Tensor, w: Tensor | None) -> Tensor:
        along = block @ vector - problem.mean @ vector  # (m,)
        along = along if w is None else along * w
        label = torch.zeros(len(along), dtype=torch.int64, device=along.device)
        total = label_totals(block, label, along, 1)[0]  # (d,)
        return total - along.sum() * problem.mean

    return problem.sum(product, 1) / problem.weight_sum
