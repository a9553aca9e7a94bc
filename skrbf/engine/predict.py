"""Labels, responsibilities and scores of rows, block by block."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.problem import Problem
from skrbf.engine.rows import Blocks, Rows
from skrbf.ops.assignment import Assignment
from skrbf.ops.distances import (
    nearest,
    paired_squared_distances,
    places,
    relative_distances,
)


class Model(NamedTuple):
    """All that prediction needs."""

    centers: Tensor  # (k, d)
    temperature: float
    assignment: Assignment


class Scored(NamedTuple):
    """Rows held against a model."""

    labels: Tensor  # (n,) int32
    counts: Tensor  # (k,) rows of each label
    weight: Tensor  # (k,) sum w r
    inertia: float  # weighted squared distances to the label's center
    objective: float  # free energy; the inertia at temperature 0


def labels(rows: Blocks, model: Model) -> Iterator[tuple[int, int, Tensor]]:
    """Yield (start, stop, labels (m,)) of every block.

    The label is the first of the largest responsibilities, so that labels and
    responsibilities agree to the last bit.
    """
    measure = _Measure(model)
    for start, stop, block in rows.blocks(len(model.centers)):
        if model.temperature == 0:
            yield start, stop, nearest(measure(block))[1]
        else:
            yield start, stop, _label(block, model, measure)


def responsibilities(rows: Blocks, model: Model) -> Iterator[tuple[int, int, Tensor]]:
    """Yield (start, stop, responsibilities (k, m)) of every block."""
    measure = _Measure(model)
    k = len(model.centers)
    for start, stop, block in rows.blocks(k):
        if model.temperature == 0:
            label = nearest(measure(block))[1]
            yield start, stop, _one_hot(label, k, block.dtype)
        else:
            yield start, stop, _soft(block, model, measure)[0]


def distortion(
    rows: Rows, weight: Tensor | None, model: Model, dtype: torch.dtype
) -> float:
    """Weighted sum of squared distances of the rows to their nearest centers."""
    measure = _Measure(model)
    total = 0.0
    for start, stop, block in rows.blocks(len(model.centers)):
        label = nearest(measure(block))[1]
        distance = paired_squared_distances(model.centers, block, label, dtype)
        w = None if weight is None else weight[start:stop]
        total += float((distance if w is None else distance * w).sum())
    return total


def score(problem: Problem, model: Model) -> Scored:
    """Labels, masses, inertia and objective of the rows of a fit."""
    measure, dtype = _Measure(model), problem.compute.accumulate
    offset = measure.offset
    k = len(model.centers)
    found, inertia, energy = problem.empty(torch.int32), 0.0, 0.0
    mass = torch.zeros(k, dtype=dtype, device=offset.device)
    counts = mass.new_zeros(k, dtype=torch.int64)
    for start, stop, block in problem.rows.blocks(k):
        w = problem.weight_of(start, stop)
        if model.temperature == 0:
            label = nearest(measure(block))[1]
            r = _one_hot(label, k, block.dtype)
        else:
            r, value = _soft(block, model, measure)
            label = _largest(r)
            # The value is relative to the offset: add ||x - offset||^2.
            free = problem.square_about(offset, start, stop, block).to(dtype)
            free -= model.temperature * value.to(dtype)
            energy += float((free if w is None else free * w).sum())
        mass += (r if w is None else r * w).sum(1)
        distance = paired_squared_distances(model.centers, block, label, dtype)
        inertia += float((distance if w is None else distance * w).sum())
        found[start:stop] = label
        counts += torch.bincount(label, minlength=k)
    objective = energy if model.temperature > 0 else inertia
    return Scored(found, counts, mass, inertia, objective)


# Rows are moved to the centers where these lie so many times their spread away from 0.
_FAR = 16


class _Measure:
    """Distances (k, m) of rows to the centers, the same for centers that are the same.

    In one product their distances could differ by rounding, and with them the labels.
    """

    def __init__(self, model: Model) -> None:
        centers = model.centers
        # A point amid the centers, the same in whatever order they stand.
        self.offset = centers.median(0).values  # (d,)
        spread = (centers - self.offset).abs().amax(0)  # (d,)
        self.far = bool((self.offset.abs() > _FAR * spread).any())
        self.centers = centers
        self.place: Tensor | None = None  # (k,) in the distinct centers
        self.first: Tensor | None = None  # of each distinct center in all
        keys = torch.linalg.vecdot(centers, torch.cos(centers.amax(0)))  # (k,)
        if len(keys.unique()) < len(keys):
            self.centers, self.place = centers.unique(dim=0, return_inverse=True)
            number = torch.arange(len(centers), device=centers.device)
            self.first = number.new_full((len(self.centers),), len(centers))
            self.first.scatter_reduce_(0, self.place, number, "amin")

    def distinct(self, block: Tensor, scale: float = 1.0) -> Tensor:
        """Distances to the distinct centers."""
        centers, offset = self.centers, self.offset
        if self.far and block.layout == torch.strided:
            return relative_distances(
                centers - offset, block - offset, torch.zeros_like(offset), scale
            )
        return relative_distances(centers, block, offset, scale)

    def __call__(self, block: Tensor, scale: float = 1.0) -> Tensor:
        found = self.distinct(block, scale)
        return found if self.place is None else found.index_select(0, self.place)


def _soft(block: Tensor, model: Model, measure: _Measure) -> tuple[Tensor, Tensor]:
    logits = measure(block, -1.0 / model.temperature)  # (k, m)
    return model.assignment.function(logits, logits)


def _label(block: Tensor, model: Model, measure: _Measure) -> Tensor:
    """The first of the largest responsibilities, without them where it is clear.

    Both maps rise with the logits. Only logits that differ by rounding may become one
    responsibility: then the first of them has the label.
    """
    distances = measure.distinct(block, 1.0 / model.temperature)  # (k, m)
    least = distances.amin(0)  # (m,)
    slack = _ROUNDING * torch.finfo(least.dtype).eps
    close = torch.le(distances, least + slack, out=distances)  # (k, m) zeros and ones
    label, single = places(close)
    if not single:
        return _largest(_soft(block, model, measure)[0])
    return label if measure.first is None else measure.first[label]


# In units of the rounding of 1: what exponentials, roots and products may lose.
_ROUNDING = 8


def _largest(r: Tensor) -> Tensor:
    """The first of the largest responsibilities of each row."""
    label: Tensor = r.max(0)[1]  # (m,)
    return label


def _one_hot(label: Tensor, k: int, dtype: torch.dtype) -> Tensor:
    r = torch.zeros((k, len(label)), dtype=dtype, device=label.device)
    return r.scatter_(0, label[None], 1.0)  # (k, m)
