"""Labels, responsibilities and scores of rows, block by block."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.data.limits import has_room, times_power
from skrbf.engine.data.rows import Blocks, Rows
from skrbf.engine.kmeans.problem import squares_about
from skrbf.ops.assignment import Assignment
from skrbf.ops.distances import (
    argmax_from_mask,
    min_and_argmin,
    paired_squared_distances,
    relative_distances,
)
from skrbf.ops.statistics import widest_float


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
    for start, stop, block in rows.blocks(measure.columns(rows)):
        yield start, stop, _label(block, measure)


def responsibilities(rows: Blocks, model: Model) -> Iterator[tuple[int, int, Tensor]]:
    """Yield (start, stop, responsibilities (k, m)) of every block."""
    measure = _Measure(model)
    k = len(model.centers)
    for start, stop, block in rows.blocks(measure.columns(rows)):
        if model.temperature == 0:
            label = _label(block, measure)
            yield start, stop, _one_hot(label, k, block.dtype)
        else:
            yield start, stop, measure.soft(measure(block))[0]


def distortion(
    rows: Rows, weight: Tensor | None, model: Model, dtype: torch.dtype
) -> float:
    """Weighted sum of squared distances of the rows to their nearest centers."""
    measure = _Measure(model._replace(temperature=0.0))

    def inertia(block: Tensor, w: Tensor | None) -> Tensor:
        view = measure(block)
        label = min_and_argmin(measure.every(view.distances))[1]
        return measure.inertia(view, label, w, dtype)

    return float(rows.sum(inertia, measure.columns(rows), weight))


class _Sums(NamedTuple):
    mass: Tensor  # (k,)
    counts: Tensor  # (k,)
    inertia: Tensor  # ()
    energy: Tensor  # (), 0 at temperature 0


def score(
    rows: Rows, weight: Tensor | None, model: Model, dtype: torch.dtype
) -> Scored:
    """Labels, masses, inertia and objective of the rows of a fit.

    Parameters
    ----------
    dtype : torch.dtype
        Of the sums.
    """
    measure, k = _Measure(model), len(model.centers)

    def scores(block: Tensor, w: Tensor | None) -> tuple[_Sums, Tensor]:
        view = measure(block)
        if model.temperature == 0:
            label = min_and_argmin(measure.every(view.distances))[1]
            r = _one_hot(label, k, block.dtype)
            energy = torch.zeros((), dtype=dtype, device=label.device)
        else:
            r, value = measure.soft(view)
            label = _largest(r)
            energy = view.free_energy(value, model.temperature, w, dtype)
        mass = (r if w is None else r * w).sum(1).to(dtype)
        inertia = measure.inertia(view, label, w, dtype)
        counts = torch.bincount(label, minlength=k)
        return _Sums(mass, counts, inertia, energy), label.int()

    sums, found = rows.sum_and_map(scores, measure.columns(rows), weight)
    objective = sums.energy if model.temperature > 0 else sums.inertia
    return Scored(found, sums.counts, sums.mass, float(sums.inertia), float(objective))


class _View(NamedTuple):
    """A block of rows beside the centers, in a unit with room for their distances."""

    given: Tensor  # (m, d)
    rows: Tensor  # (m, d) over 2^exponent
    centers: Tensor  # (k, d) over 2^exponent
    offset: Tensor | None  # (d,) that distances are relative to
    distances: Tensor  # (u, m) to the distinct centers; over -T where T is not 0
    exponent: int

    def inertia(
        self, label: Tensor, weight: Tensor | None, dtype: torch.dtype
    ) -> Tensor:
        """Weighted squared distances to the centers that the labels name."""
        each = paired_squared_distances(self.centers, self.rows, label, dtype)
        return self._summed(each, weight)

    def free_energy(
        self,
        value: Tensor,
        temperature: float,
        weight: Tensor | None,
        dtype: torch.dtype,
    ) -> Tensor:
        """Weighted free energies, from the values of the assignment map."""
        # The value is relative to the offset: add ||x - offset||^2.
        offset = (
            torch.zeros_like(self.centers[0]) if self.offset is None else self.offset
        )
        each = squares_about(offset, self.rows).to(dtype)
        each -= times_power(temperature, -2 * self.exponent) * value.to(dtype)
        return self._summed(each, weight)

    def _summed(self, each: Tensor, weight: Tensor | None) -> Tensor:
        total = (each if weight is None else each * weight).sum()
        if self.exponent:
            total = total.new_tensor(times_power(float(total), 2 * self.exponent))
        return total


# Rows are moved to the centers where these lie so many times their spread away from 0.
_FAR = 16
# Entries of rows count as no larger than this part of the exponents of their dtype, in
# the unit of the centers: products with centers stay finite, and rows so far away are
# equally near to all of them.
_REACH = 0.2


class _Measure:
    """Distances of rows to the centers, the same for centers that are the same.

    In one product their distances could differ by rounding, and with them the labels.
    """

    def __init__(self, model: Model) -> None:
        centers = model.centers
        self.model = model
        self.factor = -1.0 / model.temperature if model.temperature > 0 else 1.0
        wide = centers.to(widest_float(centers.device))
        self.offset, spread = _amid(wide)
        self.plain = _has_room(spread, model.temperature, centers.dtype)
        self.exponent = _unit(spread, model.temperature)
        self.far = bool((self.offset.abs() > _FAR * spread).any())
        self.centers = centers
        self.place: Tensor | None = None  # (k,) in the distinct centers
        self.first: Tensor | None = None  # of each distinct center in all
        keys = torch.linalg.vecdot(wide, torch.cos(wide.amax(0)))  # (k,)
        if len(keys.unique()) < len(keys):
            self.centers, self.place = centers.unique(dim=0, return_inverse=True)
            number = torch.arange(len(centers), device=centers.device)
            self.first = number.new_full((len(self.centers),), len(centers))
            self.first.scatter_reduce_(0, self.place, number, "amin")

    def __call__(self, block: Tensor) -> _View:
        """The block beside the centers."""
        if self.plain:
            view = self._plain(block)
            # Not so where rows are as large as numbers can be.
            if math.isfinite(float(view.distances.sum())):
                return view
        return self._scaled(block)

    def columns(self, rows: Blocks) -> int:
        """Temporaries of a row: with sparse rows that are made dense, its features."""
        k = len(self.model.centers)
        dense = self.far and getattr(rows, "is_sparse", False)
        return max(k, self.model.centers.shape[1]) if dense else k

    def inertia(
        self, view: _View, label: Tensor, weight: Tensor | None, dtype: torch.dtype
    ) -> Tensor:
        """Weighted squared distances to the centers that the labels name."""
        total = view.inertia(label, weight, dtype)
        if view.exponent == 0 and not math.isfinite(float(total)):
            total = self._scaled(view.given).inertia(label, weight, dtype)
        return total

    def every(self, distances: Tensor) -> Tensor:
        """Distances to all centers, from those to the distinct ones."""
        return (
            distances if self.place is None else distances.index_select(0, self.place)
        )

    def soft(self, view: _View) -> tuple[Tensor, Tensor]:
        """Responsibilities (k, m), and values (m,) of the map."""
        logits = self.every(view.distances)
        return self.model.assignment.function(logits, logits)

    def _plain(self, block: Tensor) -> _View:
        offset = self.offset.to(block.dtype)
        distinct, every = self.centers, self.model.centers
        if self.far:
            dense = block if block.layout == torch.strided else block.to_dense()
            distinct, every, rows = distinct - offset, every - offset, dense - offset
            found = relative_distances(distinct, rows, None, self.factor)
            return _View(block, rows, every, None, found, 0)
        found = relative_distances(distinct, block, offset, self.factor)
        return _View(block, block, every, offset, found, 0)

    def _scaled(self, block: Tensor) -> _View:
        """In double precision, in a unit and about a point amid the centers."""
        offset, unit = self.offset, 2.0**-self.exponent
        reach = 2.0 ** int(_REACH * math.frexp(torch.finfo(offset.dtype).max)[1])
        distinct, every = (
            (centers.to(offset.dtype) - offset) * unit
            for centers in (self.centers, self.model.centers)
        )
        rows = block.to(offset.dtype)
        origin: Tensor | None = None
        if self.far and block.layout != torch.strided:
            rows = rows.to_dense()
        if rows.layout == torch.strided:
            rows = (rows - offset) * unit
            near = rows.clamp(-reach, reach)
        else:
            origin = offset * unit
            distinct, every = distinct + origin, every + origin
            rows = rows * unit
            near = rows.clone()
            near.values().clamp_(-reach, reach)
        factor = self.factor
        if self.model.temperature > 0:
            factor = -1.0 / times_power(self.model.temperature, -2 * self.exponent)
        found = relative_distances(distinct, near, origin, factor)
        return _View(block, rows, every, origin, found, self.exponent)


def _amid(centers: Tensor) -> tuple[Tensor, float]:
    """A point (d,) amid the centers, and how far they reach from it.

    The same in whatever order the centers stand. In whole steps of the distance of the
    middle one of them: equal distances stay equal then, where rounding would break the
    ties, and centers far from all others cost these no digits.
    """
    middle = centers.median(0).values  # (d,)
    reach = (centers / 2 - middle / 2).abs().amax(1) * 2  # (k,)
    near = float(reach.median())
    if not 0 < near < math.inf:
        return middle, float(reach.amax())
    step = 2.0 ** math.frexp(near)[1]
    offset = (middle / step).round() * step
    return offset, float((centers - offset).abs().amax())


def _has_room(spread: float, temperature: float, dtype: torch.dtype) -> bool:
    sizes = (spread * spread, temperature)
    return all(has_room(size, dtype) for size in sizes if size > 0)


def _unit(spread: float, temperature: float) -> int:
    """The exponent of a power of two of about the size of the distances."""
    size = max(spread, math.sqrt(temperature))
    return min(max(math.frexp(size)[1], -1000), 1000) if 0 < size < math.inf else 0


def _label(block: Tensor, measure: _Measure) -> Tensor:
    """The first of the largest responsibilities, without them where it is clear.

    Both maps rise with the logits. Only logits that differ by rounding may become one
    responsibility: then the first of them has the label.
    """
    view = measure(block)
    if measure.model.temperature == 0:
        return min_and_argmin(measure.every(view.distances))[1]
    logits = view.distances  # (k, m)
    most = logits.amax(0)  # (m,)
    slack = _ROUNDING * torch.finfo(most.dtype).eps
    close = torch.ge(logits, most - slack, out=logits)  # (k, m) zeros and ones
    label, single = argmax_from_mask(close)
    if not single:
        return _largest(measure.soft(measure(block))[0])
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
