"""One cluster in two: the main axis, the critical temperature, the gain."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.problem import Problem
from skrbf.ops.axes import leading_eigenpair

# Up to this many features the axis comes from the covariance, above from products.
_FEW_FEATURES = 32
_LANCZOS_STEPS = 6

# Clusters of up to this many numbers are gathered whole, larger ones by blocks.
_GATHER = 1 << 21


class Split(NamedTuple):
    """A cluster cut across its main axis, and what the cut is worth."""

    left: Tensor  # (d,)
    right: Tensor  # (d,)
    side: Tensor  # (m,) bool, True for the rows of ``right``
    gain: float  # fall of the hard distortion
    critical_temperature: float  # twice the variance along the main axis


class _Deviations(NamedTuple):
    """The rows of one cluster, as deviations from its center."""

    blocks: Callable[[], Iterable[tuple[int, int, Tensor]]]
    center: Tensor  # (d,) still to be taken off the blocks

    def along(self, axis: Tensor) -> Tensor:
        """Coordinates along an axis."""
        parts = [block @ axis for _, _, block in self.blocks()]
        whole = parts[0] if len(parts) == 1 else torch.cat(parts)  # (m,)
        return whole - self.center @ axis

    def total(self, weight: Tensor) -> Tensor:
        """Weighted sum."""
        total = weight.sum() * -self.center  # (d,)
        for start, stop, block in self.blocks():
            total += torch.mm(weight[None, start:stop], block)[0]
        return total

    def covariance(self, weight: Tensor | None) -> Tensor:
        """Sum of outer products."""
        d = len(self.center)
        total = self.center.new_zeros((d, d))
        for start, stop, block in self.blocks():
            deviation = _dense(block) - self.center  # (m, d)
            part = deviation
            if weight is not None:
                part = deviation * weight[start:stop, None]
            total += part.t() @ deviation
        return total


def _deviations(problem: Problem, index: Tensor, center: Tensor) -> _Deviations:
    d = problem.rows.n_features
    if len(index) * d > _GATHER:
        subset = problem.subset(index)
        return _Deviations(lambda: subset.blocks(d), center)
    block = problem.rows.take(index)
    if block.layout == torch.strided:
        block, center = block - center, torch.zeros_like(center)
    return _Deviations(lambda: ((0, len(index), block),), center)


def split(problem: Problem, index: Tensor, center: Tensor) -> Split | None:
    """Cut the cluster of rows ``index`` across its main axis (eq-split).

    Parameters
    ----------
    index : Tensor of shape (m,)
    center : Tensor of shape (d,)
        Mean of the cluster.

    Returns
    -------
    Split or None
        None where all rows coincide.
    """
    if len(index) < 2:
        return None
    weight = None if problem.weight is None else problem.weight[index]
    rows = _deviations(problem, index, center)
    mass = float(len(index) if weight is None else weight.sum())
    if len(center) <= _FEW_FEATURES:
        values, vectors = torch.linalg.eigh(rows.covariance(weight))
        axis, spread = vectors[:, -1], float(values[-1]) / mass
    else:
        axis, spread = _leading(problem, rows, index, center, weight, mass)
    axis = axis * axis[axis.abs().argmax()].sign()  # else left and right are chance
    if not spread > 0:
        return None
    return _cut(rows, weight, axis, center, mass, spread)


def _leading(
    problem: Problem,
    rows: _Deviations,
    index: Tensor,
    center: Tensor,
    weight: Tensor | None,
    mass: float,
) -> tuple[Tensor, float]:
    """Main axis and variance along it, by products from the row farthest out."""
    distance = problem.weighted(problem.distances_to(center, index), index)
    far = _dense(problem.rows.take(index[distance.argmax()][None]))[0]

    def product(vector: Tensor) -> Tensor:
        along = rows.along(vector)  # (m,)
        return rows.total(along if weight is None else along * weight)  # (d,)

    axis, spread = leading_eigenpair(product, far - center, _LANCZOS_STEPS)
    return axis, float(spread) / mass


def _cut(
    rows: _Deviations,
    weight: Tensor | None,
    axis: Tensor,
    center: Tensor,
    mass: float,
    spread: float,
) -> Split | None:
    middle: Tensor | float = 0.0
    for _ in range(2):
        side = rows.along(axis) > middle  # (m,)
        share = side.to(center.dtype) if weight is None else side * weight  # (m,)
        right_mass = float(share.sum())
        left_mass = mass - right_mass
        if not (left_mass > 0 and right_mass > 0):
            return None
        total = rows.total(share)  # (d,) the deviations of the halves balance
        right, left = total / right_mass, total / -left_mass
        axis = right - left
        middle = ((right + left) / 2) @ axis
    gain = left_mass * right_mass / mass * float(axis @ axis)
    return Split(center + left, center + right, side, gain, 2 * spread)


def _dense(block: Tensor) -> Tensor:
    return block if block.layout == torch.strided else block.to_dense()
