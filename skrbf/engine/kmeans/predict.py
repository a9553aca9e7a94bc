"""Labels, responsibilities and scores of rows under a model, block by block."""

import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.data.constants import MAX_SCALE_EXPONENT
from skrbf.engine.data.number_range import squares_fit, times_power_of_two
from skrbf.engine.data.rows import Blocks, Rows, as_dense
from skrbf.engine.kmeans.constants import (
    FAR_ORIGIN,
    PREDICTED_EXPONENT_FRACTION,
    RESPONSIBILITY_ROUNDING,
)
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


class Fitted(NamedTuple):
    """Result of a fit, on its device: a model, and its labels and objective."""

    centers: Tensor  # (k, d)
    temperature: float
    labels: Tensor  # (n,) int32
    counts: Tensor  # (k,) rows of each label
    cluster_weight: Tensor  # (k,) sum w r
    inertia: float  # weighted squared distances to the label's center
    objective: float  # free energy; the inertia at temperature 0
    n_iter: int = 0
    converged: bool = True


def labels(rows: Blocks, model: Model) -> Iterator[tuple[int, int, Tensor]]:
    """Yield (start, stop, labels (m,)) of every block.

    The label is the first of the largest responsibilities, so that labels and
    responsibilities agree to the last bit.
    """
    distances = _distances_for(rows, model)
    for start, stop, block in rows.blocks(distances.columns):
        yield start, stop, distances.labels(block)


def responsibilities(rows: Blocks, model: Model) -> Iterator[tuple[int, int, Tensor]]:
    """Yield (start, stop, responsibilities (k, m)) of every block."""
    distances = _distances_for(rows, model)
    for start, stop, block in rows.blocks(distances.columns):
        yield start, stop, distances.responsibilities(block)


def distortion(
    rows: Rows, weight: Tensor | None, model: Model, dtype: torch.dtype
) -> float:
    """Sum the weighted squared distances of the rows to their nearest centers."""
    distances = _distances_for(rows, model._replace(temperature=0.0))

    def inertia(block: Tensor, w: Tensor | None) -> Tensor:
        frame, framed, relative = distances.measure(block)
        label = min_and_argmin(distances.to_all(relative))[1]
        return distances.inertia(block, frame, framed, label, w, dtype)

    return float(rows.sum(inertia, distances.columns, weight))


def score(
    rows: Rows, weight: Tensor | None, model: Model, dtype: torch.dtype
) -> Fitted:
    """Compute labels, cluster weights, inertia and objective of the rows of a fit.

    Sums are formed in `dtype`.
    """
    distances, k = _distances_for(rows, model), len(model.centers)

    def scores(block: Tensor, w: Tensor | None) -> tuple[tuple[Tensor, ...], Tensor]:
        frame, framed, relative = distances.measure(block)
        if model.temperature == 0:
            label = min_and_argmin(distances.to_all(relative))[1]
            r = _one_hot(label, k, block.dtype)
            energy = torch.zeros((), dtype=dtype, device=label.device)
        else:
            r, value = distances.assign(relative)
            label = _largest(r)
            energy = frame.free_energy(framed, value, model.temperature, w, dtype)
        cluster_weight = (r if w is None else r * w).sum(1).to(dtype)
        inertia = distances.inertia(block, frame, framed, label, w, dtype)
        counts = torch.bincount(label, minlength=k)
        return (counts, cluster_weight, inertia, energy), label.int()

    sums, label = rows.sum_and_map(scores, distances.columns, weight)
    counts, cluster_weight, inertia, energy = sums
    return Fitted(
        model.centers,
        model.temperature,
        label,
        counts,
        cluster_weight,
        float(inertia),
        float(energy if model.temperature > 0 else inertia),
    )


def order_empty_last(labels: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
    """Order clusters so that those without a row, which are not `used`, come last.

    ``centers[order]`` are the centers in the new order. Labels (n,) follow it.
    """
    order = torch.argsort((~used).int(), stable=True)  # (k,)
    if bool(used[: int(used.sum())].all()):  # nothing to do
        return order, labels
    rank = order.argsort().int()  # (k,)
    return order, rank.index_select(0, labels)


class _Frame:
    """Centers in a precision, about an origin, in a unit with room for distances.

    Parameters
    ----------
    origin : Tensor of shape (d,)
        In the precision of the frame.
    subtract : bool
        Subtract the origin from rows and centers, and make sparse rows dense. Otherwise
        distances are computed relative to the origin.
    exponent : int
        Rows and centers are divided by 2^exponent.
    limit : float
        Bound of the entries of rows, in the unit of the frame.
    """

    def __init__(
        self,
        centers: Tensor,
        distinct: Tensor,
        temperature: float,
        origin: Tensor,
        *,
        subtract: bool,
        exponent: int = 0,
        limit: float = math.inf,
    ) -> None:
        self.origin, self.subtract, self.exponent = origin, subtract, exponent
        self.limit = limit
        self.centers = self.rows(centers)  # (k, d)
        self.distinct = self.rows(distinct)  # (u, d)
        self.offset = None if subtract else origin * 2.0**-exponent
        self.scale = 1.0
        if temperature > 0:
            self.scale = -1.0 / times_power_of_two(temperature, -2 * exponent)

    def rows(self, block: Tensor) -> Tensor:
        """Bring a block of rows (m, d) into the frame."""
        block = block.to(self.origin.dtype)
        if self.subtract:
            block = as_dense(block) - self.origin
        return block if self.exponent == 0 else block * 2.0**-self.exponent

    def distances(self, rows: Tensor) -> Tensor:
        """Compute relative distances (u, m) of rows in the frame, or their logits."""
        if self.limit < math.inf and rows.layout == torch.strided:
            rows = rows.clamp(-self.limit, self.limit)
        elif self.limit < math.inf:
            rows = rows.clone()
            rows.values().clamp_(-self.limit, self.limit)
        return relative_distances(self.distinct, rows, self.offset, self.scale)

    def inertia(
        self, rows: Tensor, label: Tensor, weight: Tensor | None, dtype: torch.dtype
    ) -> Tensor:
        """Sum the weighted squared distances to the centers of the labels."""
        square = paired_squared_distances(self.centers, rows, label, dtype)
        return self._sum(square, weight)

    def free_energy(
        self,
        rows: Tensor,
        value: Tensor,
        temperature: float,
        weight: Tensor | None,
        dtype: torch.dtype,
    ) -> Tensor:
        """Sum the weighted free energies, from the values of the assignment map."""
        # The value is relative to the offset: add ||x - offset||^2.
        offset = self.offset
        offset = torch.zeros_like(self.centers[0]) if offset is None else offset
        energy = squares_about(offset, rows).to(dtype)
        temperature = times_power_of_two(temperature, -2 * self.exponent)
        energy -= temperature * value.to(dtype)
        return self._sum(energy, weight)

    def _sum(self, values: Tensor, weight: Tensor | None) -> Tensor:
        total = (values if weight is None else values * weight).sum()
        if self.exponent:
            wide = times_power_of_two(float(total), 2 * self.exponent)
            total = total.new_tensor(wide)
        return total


class CenterDistances:
    """Distances of blocks of rows to the centers of a model.

    Equal centers have equal distances, since those to distinct centers are computed. In
    a product with all centers they could differ by rounding, and with them the labels.
    The distances over minus the temperature are logits, where it is not 0.
    """

    def __init__(self, model: Model, is_sparse: bool = False) -> None:
        centers = model.centers
        wide = centers.to(widest_float(centers.device))
        self.model, self.is_sparse = model, is_sparse
        self.origin, self.radius = _middle(wide)
        self.is_far = bool((self.origin.abs() > FAR_ORIGIN * self.radius).any())
        self.distinct = centers
        self.inverse: Tensor | None = None  # (k,) position in the distinct centers
        self.first: Tensor | None = None  # (u,) first of all centers that are equal
        keys = torch.linalg.vecdot(wide, torch.cos(wide.amax(0)))  # (k,)
        if len(keys.unique()) < len(keys):
            self.distinct, self.inverse = centers.unique(dim=0, return_inverse=True)
            number = torch.arange(len(centers), device=centers.device)
            self.first = number.new_full((len(self.distinct),), len(centers))
            self.first.scatter_reduce_(0, self.inverse, number, "amin")

    @property
    def columns(self) -> int:
        """Temporaries of a row: its features as well, where it is made dense."""
        k, d = self.model.centers.shape
        return max(k, d) if self.is_far and self.is_sparse else k

    @functools.cached_property
    def plain(self) -> _Frame | None:
        """Frame in the precision and unit of the rows, if distances have room there."""
        centers, temperature = self.model.centers, self.model.temperature
        sizes = self.radius * self.radius, temperature
        if not all(squares_fit(size, centers.dtype) for size in sizes if size > 0):
            return None
        origin = self.origin.to(centers.dtype)
        return _Frame(centers, self.distinct, temperature, origin, subtract=self.is_far)

    @functools.cached_property
    def scaled(self) -> _Frame:
        """Frame in double precision, in the unit of the distances."""
        temperature = self.model.temperature
        largest = math.frexp(torch.finfo(self.origin.dtype).max)[1]
        return _Frame(
            self.model.centers,
            self.distinct,
            temperature,
            self.origin,
            subtract=self.is_far or not self.is_sparse,
            exponent=_unit_exponent(self.radius, temperature),
            limit=2.0 ** int(PREDICTED_EXPONENT_FRACTION * largest),
        )

    def measure(self, block: Tensor) -> tuple[_Frame, Tensor, Tensor]:
        """Choose the frame of a block, and compute its rows (m, d) and distances there.

        The distances (u, m) are those to the distinct centers.
        """
        if self.plain is not None:
            rows = self.plain.rows(block)
            distances = self.plain.distances(rows)
            # Rows may be as large as numbers can be.
            if math.isfinite(float(distances.sum())):
                return self.plain, rows, distances
        rows = self.scaled.rows(block)
        return self.scaled, rows, self.scaled.distances(rows)

    def to_all(self, distances: Tensor) -> Tensor:
        """Expand distances to the distinct centers (u, m) to all centers (k, m)."""
        if self.inverse is None:
            return distances
        return distances.index_select(0, self.inverse)

    def assign(self, distances: Tensor) -> tuple[Tensor, Tensor]:
        """Compute responsibilities (k, m) and values (m,) of the assignment map."""
        logits = self.to_all(distances)
        return self.model.assignment.function(logits, logits)

    def responsibilities(self, block: Tensor) -> Tensor:
        """Compute the responsibilities (k, m) of a block, one-hot at temperature 0."""
        if self.model.temperature == 0:
            label = self.labels(block)
            return _one_hot(label, len(self.model.centers), block.dtype)
        return self.assign(self.measure(block)[2])[0]

    def labels(self, block: Tensor) -> Tensor:
        """Find the first of the largest responsibilities (m,).

        Responsibilities rise with the logits. They are computed only for a block in
        which logits differ by so little that rounding may make them equal.
        """
        logits = self.measure(block)[2]  # (u, m)
        if self.model.temperature == 0:
            return min_and_argmin(self.to_all(logits))[1]
        most = logits.amax(0)  # (m,)
        slack = RESPONSIBILITY_ROUNDING * torch.finfo(most.dtype).eps
        close = torch.ge(logits, most - slack, out=logits)  # (u, m) zeros and ones
        label, single = argmax_from_mask(close)
        if not single:
            return _largest(self.responsibilities(block))
        return label if self.first is None else self.first[label]

    def inertia(
        self,
        block: Tensor,
        frame: _Frame,
        rows: Tensor,
        label: Tensor,
        weight: Tensor | None,
        dtype: torch.dtype,
    ) -> Tensor:
        """Sum the weighted squared distances to the centers of the labels.

        `frame` and `rows` are results of `measure` for the block.
        """
        total = frame.inertia(rows, label, weight, dtype)
        if frame is self.plain and not math.isfinite(float(total)):
            rows = self.scaled.rows(block)
            total = self.scaled.inertia(rows, label, weight, dtype)
        return total


def _distances_for(rows: Blocks, model: Model) -> CenterDistances:
    return CenterDistances(model, getattr(rows, "is_sparse", False))


def _middle(centers: Tensor) -> tuple[Tensor, float]:
    """Find a point (d,) in the middle of the centers, and their largest distance to it.

    It does not depend on the order of the centers. It is the median, rounded to whole
    steps of the median distance: equal distances stay equal then, where rounding would
    break the ties, and centers far from all others cost these no digits.
    """
    median = centers.median(0).values  # (d,)
    distance = (centers / 2 - median / 2).abs().amax(1) * 2  # (k,)
    typical = float(distance.median())
    if not 0 < typical < math.inf:
        return median, float(distance.amax())
    step = 2.0 ** math.frexp(typical)[1]
    origin = (median / step).round() * step
    return origin, float((centers - origin).abs().amax())


def _unit_exponent(radius: float, temperature: float) -> int:
    """Find the exponent of a power of two of about the size of the distances."""
    size = max(radius, math.sqrt(temperature))
    if not 0 < size < math.inf:
        return 0
    return min(max(math.frexp(size)[1], -MAX_SCALE_EXPONENT), MAX_SCALE_EXPONENT)


def _largest(r: Tensor) -> Tensor:
    """Find the first of the largest responsibilities of each row."""
    label: Tensor = r.max(0)[1]  # (m,)
    return label


def _one_hot(label: Tensor, k: int, dtype: torch.dtype) -> Tensor:
    r = torch.zeros((k, len(label)), dtype=dtype, device=label.device)
    return r.scatter_(0, label[None], 1.0)  # (k, m)
