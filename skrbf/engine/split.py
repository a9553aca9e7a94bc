"""Every cluster in two: main axes, critical temperatures, gains."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.lloyd import Partition
from skrbf.engine.problem import Problem
from skrbf.ops.statistics import label_sums

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
    weight = partition.weight.to(centers.dtype)
    axis, variance = main_axes(problem, partition, centers)
    place, variance = _best_cut(problem, partition, centers, axis, variance.sqrt())
    mass, total = _halves(problem, partition, centers, axis, place)
    left, right = total / mass[..., None]
    between = torch.linalg.vecdot(right - left, right - left)
    gain = mass[0] * (mass[1] / weight) * between  # (k,)
    return Splits(left, right, gain.nan_to_num_(), 2 * variance)


def main_axes(
    problem: Problem, partition: Partition, centers: Tensor
) -> tuple[Tensor, Tensor]:
    """A direction in which each cluster is long (k, d), and about its variance (k,).

    A few power iterations: the longest direction where it stands out, and one of the
    longest where it does not.
    """
    k, d = centers.shape
    number = torch.arange(1, d + 1, dtype=centers.dtype, device=centers.device)
    axis = torch.cos(number * number).expand(k, d)  # that no covariance singles out
    axis = axis / torch.linalg.vector_norm(axis, dim=1, keepdim=True)
    for _ in range(_POWER_STEPS):
        product = _product(problem, partition, centers, axis)
        # Squares of products with a covariance may leave the range of float32.
        length = torch.linalg.vector_norm(product.double(), dim=1, keepdim=True)
        axis = torch.where(length > 0, product / length, axis).to(axis.dtype)
    return axis, (length[:, 0] / partition.weight).nan_to_num_().to(axis.dtype)


def _product(
    problem: Problem, partition: Partition, centers: Tensor, axis: Tensor
) -> Tensor:
    """Scatter matrices of the clusters times a vector each (k, d)."""
    k = len(centers)
    total, shift = torch.zeros_like(centers), centers.new_zeros(k)
    for start, stop, block, label, along in _along(problem, partition, centers, axis):
        w = problem.weight_of(start, stop)
        part = label_sums(block, label, along if w is None else along * w, k)
        shift += part[0]
        total += part[1]
    return total.sub_(centers * shift[:, None])


def _best_cut(
    problem: Problem,
    partition: Partition,
    centers: Tensor,
    axis: Tensor,
    width: Tensor,
) -> tuple[Tensor, Tensor]:
    """Where along its axis (k,) a cluster falls apart best, and its variance there.

    The places are dense about the center and reach far: u / (1 - |u|) standard
    deviations from it, for equally spaced u between -1 and 1.
    """
    k, accumulate = len(centers), problem.compute.accumulate
    mass = torch.zeros(k * _BINS, dtype=accumulate, device=centers.device)
    first, square = torch.zeros_like(mass), mass.new_zeros(k)
    for start, stop, _, label, along in _along(problem, partition, centers, axis):
        deviation = (along / width[label]).nan_to_num_()  # (m,)
        u = deviation / (1 + deviation.abs())
        place = ((u + 1) * (_BINS / 2)).long().clamp_(max=_BINS - 1)
        place += label * _BINS
        w = problem.weight_of(start, stop)
        mass += torch.bincount(place, w, k * _BINS)
        w = deviation if w is None else deviation * w
        first += torch.bincount(place, w, k * _BINS)
        square += torch.bincount(label, w * deviation, k)
    mass = mass.view(k, _BINS).cumsum(1)
    first = first.view(k, _BINS).cumsum(1)
    whole, sum_of_all = mass[:, -1:], first[:, -1:]
    excess = first - sum_of_all * (mass / whole)
    between = (excess.square() / (mass * (whole - mass))).nan_to_num_(posinf=0)
    u = (between[:, :-1].argmax(1) + 1) * (2 / _BINS) - 1  # (k,)
    variance = (square / whole[:, 0]).nan_to_num_().to(width.dtype) * width.square()
    return (u / (1 - u.abs())).to(width.dtype) * width, variance


def _halves(
    problem: Problem,
    partition: Partition,
    centers: Tensor,
    axis: Tensor,
    place: Tensor,
) -> tuple[Tensor, Tensor]:
    """Masses (2, k) and sums (2, k, d) on either side of a plane in each cluster."""
    k, d = centers.shape
    mass, total = centers.new_zeros(2 * k), centers.new_zeros((2 * k, d))
    for start, stop, block, label, along in _along(problem, partition, centers, axis):
        side = label + k * (along > place[label])  # (m,)
        part = label_sums(block, side, problem.weight_of(start, stop), 2 * k)
        mass += part[0]
        total += part[1]
    return mass.view(2, k), total.view(2, k, d)


def _along(
    problem: Problem, partition: Partition, centers: Tensor, axis: Tensor
) -> Iterator[tuple[int, int, Tensor, Tensor, Tensor]]:
    """Blocks with labels and coordinates along the axis of the own cluster."""
    k, d = centers.shape
    dense = not problem.rows.is_sparse
    columns = 2 * d if dense and centers.device.type == "cpu" else 2 * k
    bias = torch.linalg.vecdot(centers, axis)  # (k,)
    for start, stop, block in problem.rows.blocks(columns):
        label = partition.labels[start:stop].long()
        if dense:
            along = torch.linalg.vecdot(block, axis.index_select(0, label))  # (m,)
        else:
            along = (block @ axis.t()).gather(1, label[:, None])[:, 0]  # (m,)
        yield start, stop, block, label, along.sub_(bias.index_select(0, label))
