"""Every cluster in two: main axes, critical temperatures, gains."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from skrbf.engine.kmeans.lloyd import Partition
from skrbf.engine.kmeans.problem import Problem
from skrbf.ops.directions import fixed_direction
from skrbf.ops.distances import ALL_PRODUCTS_MAX_VECTORS, paired_products
from skrbf.ops.statistics import (
    deterministic_cumsum,
    label_totals,
    one_hot_totals,
    weight_sums,
    widest_float,
)

# Products with the covariances of the clusters, to find their main axes.
_POWER_STEPS = 3

# Intervals of the main axis between which a cut is tried, and what half of them reach:
# a little less, so that no row lies beyond the last.
_BINS = 64
_REACH = _BINS / 2 * (1 - 1e-6)

# Rows of no more features are as fast to add one by one as in a product.
_FEW_FEATURES = 3


class Splits(NamedTuple):
    """Clusters cut across their main axes, and what the cuts are worth."""

    left: Tensor  # (k, d)
    right: Tensor  # (k, d)
    gain: Tensor  # (k,) fall of the hard distortion, 0 where all rows coincide
    critical_temperature: Tensor  # (k,) twice the variance along the main axis or less


def split(problem: Problem, partition: Partition, centers: Tensor) -> Splits:
    """Cut every cluster across its main axis (eq-split), all at once.

    Where the distortion falls most, out of some places along the axis.

    Parameters
    ----------
    centers : Tensor of shape (k, d)
        Means of the clusters of `partition`.

    Notes
    -----
    O(n d) on the CPU, whatever the number of clusters; O(k n d) up to 20.
    """
    total_of, k = _sum_of_shifts(problem, partition, centers), len(centers)
    axis, variance = _main_axes(total_of, partition, centers)
    axis = (axis / variance.sqrt()[:, None]).nan_to_num_(posinf=0, neginf=0)
    cut = _best_cut(total_of, axis, partition.weight.dtype)  # (k,)

    def beyond(shift: _Shift) -> tuple[Tensor, Tensor]:
        right = shift.along(axis) > cut.index_select(0, shift.label)  # (m,)
        share = _weighted(right.to(axis.dtype), shift)
        return weight_sums(shift.label, share, k), shift.totals(share)

    mass, total = total_of(beyond)  # (k,), (k, d)
    weight = partition.weight.to(axis.dtype)
    rest = weight - mass  # (k,)
    right = total / mass[:, None]  # (k, d)
    left = torch.addcdiv(centers, total, rest[:, None], value=-1)  # all sum up to 0
    gain = torch.linalg.vecdot(total, right).mul_(weight / rest).nan_to_num_(posinf=0)
    return Splits(left, right.add_(centers), gain, 2 * variance)


def main_axes(
    problem: Problem, partition: Partition, centers: Tensor
) -> tuple[Tensor, Tensor]:
    """A direction in which each cluster is long (k, d), and about its variance (k,).

    A few power iterations: the longest direction where it stands out, and one of the
    longest where it does not. The variance is that of the step before, or a little
    more, and at most that along the direction.
    """
    total_of = _sum_of_shifts(problem, partition, centers)
    return _main_axes(total_of, partition, centers)


class _Shift(Protocol):
    """Some rows, less the center of their own cluster."""

    label: Tensor  # (m,) int64
    weight: Tensor | None  # (m,)

    def along(self, axis: Tensor) -> Tensor:
        """Products (m,) with the axis of the own cluster, of axes (k, d)."""

    def totals(self, share: Tensor) -> Tensor:
        """Sums (k, d) by cluster, each row times its share (m,)."""


class _ExplicitShifts:
    """Shifts of dense rows, formed once: they are few."""

    def __init__(
        self, rows: Tensor, label: Tensor, weight: Tensor | None, centers: Tensor
    ) -> None:
        self.rows = rows - centers.index_select(0, label)  # (m, d)
        self.label, self.weight, self.k = label, weight, len(centers)

    def along(self, axis: Tensor) -> Tensor:
        return paired_products(axis, self.rows, self.label)

    def totals(self, share: Tensor) -> Tensor:
        return _totals(self.rows, self.label, share, self.k)


class _ImplicitShifts:
    """Shifts of dense or sparse rows, never formed."""

    def __init__(
        self, rows: Tensor, label: Tensor, weight: Tensor | None, centers: Tensor
    ) -> None:
        self.rows, self.label, self.weight, self.centers = rows, label, weight, centers

    def along(self, axis: Tensor) -> Tensor:
        bias = torch.linalg.vecdot(self.centers, axis)  # (k,)
        product = paired_products(axis, self.rows, self.label)
        return product.sub_(bias.index_select(0, self.label))  # (m,)

    def totals(self, share: Tensor) -> Tensor:
        k = len(self.centers)
        mass = weight_sums(self.label, share, k).to(share.dtype)  # (k,)
        total = _totals(self.rows, self.label, share, k)
        return total - self.centers * mass[:, None]


def _totals(rows: Tensor, label: Tensor, share: Tensor, k: int) -> Tensor:
    wide = rows.layout == torch.strided and rows.shape[1] > _FEW_FEATURES
    few = wide and k <= ALL_PRODUCTS_MAX_VECTORS
    return (one_hot_totals if few else label_totals)(rows, label, share, k)


# Adds up a function of the shifts of all rows.
_SumOfShifts = Callable[[Callable[[_Shift], Any]], Any]


def _sum_of_shifts(
    problem: Problem, partition: Partition, centers: Tensor
) -> _SumOfShifts:
    rows, k = problem.rows, len(centers)
    cpu = centers.device.type == "cpu"
    columns = 2 * k
    if cpu and not rows.is_sparse:  # many clusters have no products with all rows
        columns = 2 * max(rows.n_features, k if k <= ALL_PRODUCTS_MAX_VECTORS else 1)
    if not rows.is_sparse and rows.n_rows <= problem.compute.block_rows(columns):
        label = partition.labels.long()
        table = rows.map(lambda block: block, columns)  # (n, d)
        shifts = _ExplicitShifts(table, label, problem.weight, centers)
        return lambda function: function(shifts)

    def sum_implicit(function: Callable[[_Shift], Any]) -> Any:
        def part(block: Tensor, weight: Tensor | None, label: Tensor) -> Any:
            return function(_ImplicitShifts(block, label.long(), weight, centers))

        return problem.sum(part, columns, partition.labels)

    return sum_implicit


def _weighted(values: Tensor, shift: _Shift) -> Tensor:
    return values if shift.weight is None else values * shift.weight


def _main_axes(
    total_of: _SumOfShifts, partition: Partition, centers: Tensor
) -> tuple[Tensor, Tensor]:
    k, d = centers.shape
    axis = fixed_direction(centers).expand(k, d)

    def product(shift: _Shift) -> Tensor:
        return shift.totals(_weighted(shift.along(axis), shift))

    for _ in range(_POWER_STEPS):
        scattered = total_of(product)  # (k, d) scatter matrices times axes
        # Squares of products with a covariance may leave the range of float32.
        length = torch.linalg.vector_norm(
            scattered, dim=1, keepdim=True, dtype=widest_float(scattered.device)
        )
        axis = (scattered / length).to(axis.dtype)  # NaN where all rows coincide
    variance = (length[:, 0] / partition.weight).to(axis.dtype)
    return axis.nan_to_num_(), variance.nan_to_num_()


def _best_cut(total_of: _SumOfShifts, axis: Tensor, accumulate: torch.dtype) -> Tensor:
    """Where along its axis a cluster falls apart best (k,), in units of the axis.

    The places are dense about the center and reach far: u / (1 - |u|), for equally
    spaced u between -1 and 1.

    Parameters
    ----------
    axis : Tensor of shape (k, d)
        Over the standard deviation along it.
    """
    k, middle = len(axis), axis.new_full((), _BINS / 2)

    def histogram(shift: _Shift) -> Tensor:
        deviation = shift.along(axis).nan_to_num_()  # (m,)
        place = torch.addcdiv(middle, deviation, 1 + deviation.abs(), value=_REACH)
        place = place.long().add_(shift.label, alpha=_BINS)
        share = _weighted(deviation, shift)
        mass = weight_sums(place, shift.weight, k * _BINS).to(share.dtype)
        sums = torch.stack([mass, weight_sums(place, share, k * _BINS)])
        return sums.to(accumulate)  # where squares of all weights have room

    sums = total_of(histogram)  # (2, k bins)
    mass, first = deterministic_cumsum(sums.view(2, k, _BINS), 2).unbind()  # (k, bins)
    rest = mass[:, -1:] - mass
    between = (first.square() / (mass * rest)).nan_to_num_(posinf=0)
    u = (between[:, :-1].argmax(1) + (1 - _BINS // 2)) / _REACH  # (k,)
    return (u / (1 - u.abs())).to(axis.dtype)
