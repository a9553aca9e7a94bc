"""Splits of all clusters in two: main axes, critical temperatures, gains."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from skrbf.engine.kmeans.constants import (
    CUT_BINS,
    CUT_REACH,
    MAX_UNVECTORIZED_FEATURES,
    POWER_STEPS,
)
from skrbf.engine.kmeans.lloyd import Partition
from skrbf.engine.kmeans.problem import Problem
from skrbf.ops.distances import ALL_PRODUCTS_MAX_VECTORS, paired_products
from skrbf.ops.fixed_direction import fixed_direction
from skrbf.ops.statistics import (
    deterministic_cumsum,
    label_totals,
    one_hot_totals,
    weight_sums,
    widest_float,
)


class Splits(NamedTuple):
    """Halves of clusters that are cut across their main axes, and the gains."""

    left: Tensor  # (k, d) means of the halves
    right: Tensor  # (k, d)
    gain: Tensor  # (k,) fall of the hard distortion, 0 where all rows coincide
    critical_temperature: Tensor  # (k,) twice the variance along the main axis or less


def split(problem: Problem, partition: Partition, centers: Tensor) -> Splits:
    """Cut every cluster across its main axis (eq-split), all at once.

    The cut is the one after which the distortion is lowest, of some along the axis. The
    centers (k, d) are the means of the clusters of `partition`.

    O(n d) on the CPU, whatever the number of clusters; O(k n d) up to 20.
    """
    total_of, k = _sum_of_shifts(problem, partition, centers), len(centers)
    axis, variance = _main_axes(total_of, partition, centers)
    axis = (axis / variance.sqrt()[:, None]).nan_to_num_(posinf=0, neginf=0)
    cut = _best_cut(total_of, axis, partition.weight.dtype)  # (k,)

    def beyond_cut(shift: _Shift) -> tuple[Tensor, Tensor]:
        beyond = shift.along(axis) > cut.index_select(0, shift.label)  # (m,)
        weight = _weighted(beyond.to(axis.dtype), shift)
        return weight_sums(shift.label, weight, k), shift.totals(weight)

    right_weight, total = total_of(beyond_cut)  # (k,), (k, d)
    weight = partition.weight.to(axis.dtype)
    left_weight = weight - right_weight  # (k,)
    right = total / right_weight[:, None]  # (k, d), shifts
    # The shifts of a cluster sum to 0.
    left = torch.addcdiv(centers, total, left_weight[:, None], value=-1)
    gain = torch.linalg.vecdot(total, right).mul_(weight / left_weight)
    gain = gain.nan_to_num_(posinf=0)
    return Splits(left, right.add_(centers), gain, 2 * variance)


def main_axes(
    problem: Problem, partition: Partition, centers: Tensor
) -> tuple[Tensor, Tensor]:
    """Find a main axis of each cluster (k, d), and about the variance along it (k,).

    A few power iterations: the axis is the longest direction where that stands out, and
    one of the longest where it does not. The variance is at least that along the axis
    of the step before, and at most that along the axis.
    """
    total_of = _sum_of_shifts(problem, partition, centers)
    return _main_axes(total_of, partition, centers)


class _Shift(Protocol):
    """Rows less the centers of their clusters."""

    label: Tensor  # (m,) int64
    weight: Tensor | None  # (m,)

    def along(self, axis: Tensor) -> Tensor:
        """Multiply each row by the axis of its cluster, of axes (k, d)."""

    def totals(self, weight: Tensor) -> Tensor:
        """Sum by cluster (k, d), with one weight for each row (m,)."""


class _ExplicitShifts:
    """Shifts of a single block of dense rows, formed once."""

    def __init__(
        self, rows: Tensor, label: Tensor, weight: Tensor | None, centers: Tensor
    ) -> None:
        self.rows = rows - centers.index_select(0, label)  # (m, d)
        self.label, self.weight, self.k = label, weight, len(centers)

    def along(self, axis: Tensor) -> Tensor:
        return paired_products(axis, self.rows, self.label)

    def totals(self, weight: Tensor) -> Tensor:
        return _totals(self.rows, self.label, weight, self.k)


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

    def totals(self, weight: Tensor) -> Tensor:
        k = len(self.centers)
        sums = weight_sums(self.label, weight, k).to(weight.dtype)  # (k,)
        total = _totals(self.rows, self.label, weight, k)
        return total - self.centers * sums[:, None]


def _totals(rows: Tensor, label: Tensor, weight: Tensor, k: int) -> Tensor:
    wide = rows.layout == torch.strided and rows.shape[1] > MAX_UNVECTORIZED_FEATURES
    use_product = wide and k <= ALL_PRODUCTS_MAX_VECTORS
    return (one_hot_totals if use_product else label_totals)(rows, label, weight, k)


# Adds up a function of the shifts of all rows.
_SumOfShifts = Callable[[Callable[[_Shift], Any]], Any]


def _sum_of_shifts(
    problem: Problem, partition: Partition, centers: Tensor
) -> _SumOfShifts:
    rows, k = problem.rows, len(centers)
    on_cpu = centers.device.type == "cpu"
    columns = 2 * k
    if on_cpu and not rows.is_sparse:  # many clusters: no products with all rows
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

    for _ in range(POWER_STEPS):
        scattered = total_of(product)  # (k, d) scatter matrices times axes
        # Squares of products with a covariance may leave the range of float32.
        length = torch.linalg.vector_norm(
            scattered, dim=1, keepdim=True, dtype=widest_float(scattered.device)
        )
        axis = (scattered / length).to(axis.dtype)  # NaN where all rows coincide
    variance = (length[:, 0] / partition.weight).to(axis.dtype)
    return axis.nan_to_num_(), variance.nan_to_num_()


def _best_cut(total_of: _SumOfShifts, axis: Tensor, accumulate: torch.dtype) -> Tensor:
    """Find the best cut of each cluster (k,), in units of its axis.

    The cuts that are tried are dense about the center and reach far: u / (1 - |u|), for
    equally spaced u between -1 and 1. The axes (k, d) are over the standard deviations
    along them.
    """
    k, middle = len(axis), axis.new_full((), CUT_BINS / 2)

    def histogram(shift: _Shift) -> Tensor:
        deviation = shift.along(axis).nan_to_num_()  # (m,)
        position = torch.addcdiv(
            middle, deviation, 1 + deviation.abs(), value=CUT_REACH
        )
        bin_index = position.long().add_(shift.label, alpha=CUT_BINS)
        first = _weighted(deviation, shift)
        weight = weight_sums(bin_index, shift.weight, k * CUT_BINS).to(first.dtype)
        sums = torch.stack([weight, weight_sums(bin_index, first, k * CUT_BINS)])
        return sums.to(accumulate)  # where squares of all weights have room

    sums = total_of(histogram)  # (2, k bins)
    weight, first = deterministic_cumsum(
        sums.view(2, k, CUT_BINS), 2
    ).unbind()  # (k, bins)
    rest = weight[:, -1:] - weight
    between = (first.square() / (weight * rest)).nan_to_num_(posinf=0)
    u = (between[:, :-1].argmax(1) + (1 - CUT_BINS // 2)) / CUT_REACH  # (k,)
    return (u / (1 - u.abs())).to(axis.dtype)
