"""Centers among codes: by K-means, matched to those before, and moved by a rule."""

from collections.abc import Callable, Iterable
from functools import reduce
from itertools import starmap
from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from skrbf.engine.data.compute import Compute
from skrbf.engine.kmeans.fit import fit_hard
from skrbf.ops import statistics
from skrbf.ops.clustering import running_means
from skrbf.ops.statistics import ClusterStatistics, soft_statistics


class Clusters(NamedTuple):
    """Centers, and the weight of what each of them is the mean of."""

    centers: Tensor  # (k, c)
    mass: Tensor  # (k,) float64 where the device has it


def kmeans(
    codes: Tensor,
    weight: Tensor,
    n_clusters: int,
    compute: Compute,
    start: Tensor | None = None,
) -> Clusters:
    """Centers of hard K-means, grown from the mean, or by Lloyd from a start.

    Where fewer codes are distinct, some centers are equal.

    Parameters
    ----------
    codes : Tensor of shape (n, c)
    weight : Tensor of shape (n,)
    start : Tensor of shape (k, c), optional
    """
    found = fit_hard(compute.dense(codes), weight, n_clusters, compute, start=start)
    return Clusters(found.centers, found.cluster_weight)


def match(before: Tensor, after: Tensor, weight: Tensor, n_clusters: int) -> Tensor:
    """For each label before, that of the clusters after that has most of its rows.

    One to one, with the largest weight that keeps its label (the Hungarian method).

    Parameters
    ----------
    before, after : Tensor of shape (n,), integer
    weight : Tensor of shape (n,)

    Returns
    -------
    Tensor of shape (k,), int64
        ``centers_after[match]`` are in the order of the labels before.
    """
    pairs = before.long() * n_clusters + after.long()  # (n,)
    shared = torch.bincount(pairs.cpu(), weight.cpu().double(), n_clusters**2)
    overlap = shared.reshape(n_clusters, n_clusters)  # (before, after)
    _, order = linear_sum_assignment(overlap.numpy(), maximize=True)
    return torch.as_tensor(order, device=before.device)


# Moves clusters by codes (n, c), their responsibilities (k, n) and weights (n,): those
# of a batch, or all of them in parts.
Move = Callable[[Clusters, Tensor, Tensor, Tensor], Clusters]
Part = tuple[Tensor, Tensor, Tensor]
AllMove = Callable[[Clusters, Iterable[Part]], Clusters]


def stay(
    clusters: Clusters, codes: Tensor, responsibilities: Tensor, weight: Tensor
) -> Clusters:
    """Leave the centers where they are."""
    return clusters


def move_to_running_means(
    clusters: Clusters, codes: Tensor, responsibilities: Tensor, weight: Tensor
) -> Clusters:
    """The centers of DCN after a batch (eq-running-means)."""
    return Clusters(*running_means(*clusters, codes, responsibilities, weight))


def move_to_soft_means(clusters: Clusters, parts: Iterable[Part]) -> Clusters:
    """Means of all codes by their responsibilities (eq-fixed-point)."""

    def statistic(codes: Tensor, r: Tensor, weight: Tensor) -> ClusterStatistics:
        nothing, accumulate = torch.zeros_like(weight), clusters.mass.dtype
        return soft_statistics(r, codes, weight, nothing, accumulate=accumulate)

    stats = reduce(statistics.add_statistics, starmap(statistic, parts))
    return Clusters(statistics.weighted_means(stats, clusters.centers), stats.weight)


class CenterRule(NamedTuple):
    """What moves centers between one K-means and the next."""

    learned: bool = False  # by gradient steps, with the weights of the network
    after_batch: Move = stay
    after_epoch: AllMove | None = None


CENTER_RULES = {
    "kmeans": CenterRule(),
    "running_mean": CenterRule(after_batch=move_to_running_means),
    "gradient": CenterRule(learned=True),
    "soft_mean": CenterRule(after_epoch=move_to_soft_means),
}
