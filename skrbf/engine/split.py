"""Every cluster in two: main axes, critical temperatures, gains."""

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from skrbf.engine.lloyd import Partition
from skrbf.engine.problem import Problem
from skrbf.ops.statistics import label_totals

# Products with the covariances of the clusters, to find their main axes.
_POWER_STEPS = 3

# Places along the main axis where a cut is tried.
_BINS = 64


class Splits(NamedTuple):
    """Clusters cut across their main axes, and what the cuts are worth."""

    left: Tensor  # (k, d)
    right: Tensor  # (k, d)
    gain: Tensor  # (k,) fall of the hard distortion, 0 where all rows coincide
    critical_temperature: Tensor  # (k,) twice the variance along the main axis


def split(problem: Problem, partition: Partition, centers: Tensor) -> Splits:
    """Cut every cluster across its main axis (eq-split), all at once.

    Where the distortion falls most, out of some places along the axis.

    Parameters
    ----------
    centers : Tensor of shape (k, d)
        Means of the clusters of `partition`.

    Notes
    -----
    O(n d) on the CPU, whatever the number of clusters.
    """
    shifts = _shifts(problem, partition, centers)
    axis, variance = _main_axes(shifts, partition, centers)
    place, variance = _best_cut(shifts, partition, axis, variance.sqrt())
    mass, total = torch.zeros_like(place), torch.zeros_like(centers)
    for shift in shifts():
        right = shift.along(axis) > place.index_select(0, shift.label)  # (m,)
        share = _weighted(right.to(centers.dtype), shift)
        mass += torch.bincount(shift.label, share, len(centers))
        total += shift.totals(share)
    weight = partition.weight.to(centers.dtype)
    rest = weight - mass  # (k,)
    right, left = total / mass[:, None], total / -rest[:, None]  # (k, d)
    between = torch.linalg.vecdot(right - left, right - left)
    gain = (mass * (rest / weight) * between).nan_to_num_(posinf=0)
    return Splits(centers + left, centers + right, gain, 2 * variance)


def main_axes(
    problem: Problem, partition: Partition, centers: Tensor
) -> tuple[Tensor, Tensor]:
    """A direction in which each cluster is long (k, d), and about its variance (k,).

    A few power iterations: the longest direction where it stands out, and one of the
    longest where it does not.
    """
    return _main_axes(_shifts(problem, partition, centers), partition, centers)


class _Shift(Protocol):
    """Some rows, less the center of their own cluster."""

    label: Tensor  # (m,) int64
    weight: Tensor | None  # (m,)

    def along(self, axis: Tensor) -> Tensor:
        """Products (m,) with the axis of the own cluster, of axes (k, d)."""

    def totals(self, share: Tensor) -> Tensor:
        """Sums (k, d) by cluster, each row times its share (m,)."""


class _Held:
    """Shifts of dense rows, formed once: they are few."""

    def __init__(
        self, rows: Tensor, label: Tensor, weight: Tensor | None, centers: Tensor
    ) -> None:
        self.rows = rows - centers.index_select(0, label)  # (m, d)
        self.label, self.weight, self.k = label, weight, len(centers)

    def along(self, axis: Tensor) -> Tensor:
        return torch.linalg.vecdot(self.rows, axis.index_select(0, self.label))

    def totals(self, share: Tensor) -> Tensor:
        return label_totals(self.rows, self.label, share, self.k)


class _Implied:
    """Shifts of dense or sparse rows, never formed."""

    def __init__(
        self, rows: Tensor, label: Tensor, weight: Tensor | None, centers: Tensor
    ) -> None:
        self.rows, self.label, self.weight, self.centers = rows, label, weight, centers

    def along(self, axis: Tensor) -> Tensor:
        bias = torch.linalg.vecdot(self.centers, axis)  # (k,)
        if self.rows.layout == torch.strided:
            product = torch.linalg.vecdot(self.rows, axis.index_select(0, self.label))
        else:
            product = (self.rows @ axis.t()).gather(1, self.label[:, None])[:, 0]
        return product.sub_(bias.index_select(0, self.label))  # (m,)

    def totals(self, share: Tensor) -> Tensor:
        k = len(self.centers)
        mass = torch.bincount(self.label, share, k).to(share.dtype)  # (k,)
        total = label_totals(self.rows, self.label, share, k)
        return total - self.centers * mass[:, None]


# Gives the same shifts, block by block, each time it is called.
_Shifts = Callable[[], Iterable[_Shift]]


def _shifts(problem: Problem, partition: Partition, centers: Tensor) -> _Shifts:
    rows, k = problem.rows, len(centers)
    cpu = centers.device.type == "cpu"
    columns = 2 * rows.n_features if cpu and not rows.is_sparse else 2 * k

    def shift(
        kind: type[_Held | _Implied], start: int, stop: int, block: Tensor
    ) -> _Shift:
        label = partition.labels[start:stop].long()
        return kind(block, label, problem.weight_of(start, stop), centers)

    if not rows.is_sparse and rows.n_rows <= problem.compute.block_rows(columns):
        held = [shift(_Held, *block) for block in rows.blocks(columns)]
        return lambda: held
    return lambda: (shift(_Implied, *block) for block in rows.blocks(columns))


def _weighted(values: Tensor, shift: _Shift) -> Tensor:
    return values if shift.weight is None else values * shift.weight


def _main_axes(
    shifts: _Shifts, partition: Partition, centers: Tensor
) -> tuple[Tensor, Tensor]:
    k, d = centers.shape
    number = torch.arange(1, d + 1, dtype=centers.dtype, device=centers.device)
    axis = torch.cos(number * number).expand(k, d)  # that no covariance singles out
    axis = axis / torch.linalg.vector_norm(axis, dim=1, keepdim=True)
    for _ in range(_POWER_STEPS):
        product = torch.zeros_like(centers)  # scatter matrices times the axes
        for shift in shifts():
            product += shift.totals(_weighted(shift.along(axis), shift))
        # Squares of products with a covariance may leave the range of float32.
        length = torch.linalg.vector_norm(
            product, dim=1, keepdim=True, dtype=torch.float64
        )
        axis = torch.where(length > 0, product / length, axis).to(axis.dtype)
    return axis, (length[:, 0] / partition.weight).nan_to_num_().to(axis.dtype)


def _best_cut(
    shifts: _Shifts, partition: Partition, axis: Tensor, width: Tensor
) -> tuple[Tensor, Tensor]:
    """Where along its axis (k,) a cluster falls apart best, and its variance there.

    The places are dense about the center and reach far: u / (1 - |u|) standard
    deviations from it, for equally spaced u between -1 and 1.
    """
    k = len(axis)
    mass = partition.weight.new_zeros(k * _BINS)
    first, square = torch.zeros_like(mass), mass.new_zeros(k)
    for shift in shifts():
        deviation = shift.along(axis).div_(width.index_select(0, shift.label))
        deviation.nan_to_num_()  # (m,)
        u = deviation / (1 + deviation.abs())
        place = (u * (_BINS / 2) + (_BINS / 2)).long().clamp_(max=_BINS - 1)
        place += shift.label * _BINS
        share = _weighted(deviation, shift)
        mass += torch.bincount(place, shift.weight, k * _BINS)
        first += torch.bincount(place, share, k * _BINS)
        square += torch.bincount(shift.label, share * deviation, k)
    mass = mass.view(k, _BINS).cumsum(1)
    first = first.view(k, _BINS).cumsum(1)
    whole, sum_of_all = mass[:, -1:], first[:, -1:]
    excess = first - sum_of_all * (mass / whole)
    between = (excess.square() / (mass * (whole - mass))).nan_to_num_(posinf=0)
    u = (between[:, :-1].argmax(1) + 1) * (2 / _BINS) - 1  # (k,)
    variance = (square / whole[:, 0]).nan_to_num_().to(width.dtype) * width.square()
    return (u / (1 - u.abs())).to(width.dtype) * width, variance
