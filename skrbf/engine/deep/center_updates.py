"""Centers of codes: K-means, the order of its clusters, and updates between its runs.

Every update takes centers (k, c) and the weight (k,) of the codes that each of them is
the mean of, and returns both.
"""

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from skrbf.engine.data.device import Compute
from skrbf.engine.kmeans.fit import fit_hard
from skrbf.ops import statistics
from skrbf.ops.centering import running_means
from skrbf.ops.statistics import soft_statistics

# Takes centers, their weights, and the codes (b, c), responsibilities (k, b) and
# weights (b,) of a batch.
BatchUpdate = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
# Codes (b, c), responsibilities (k, b) and weights (b,).
CodeBlock = tuple[Tensor, Tensor, Tensor]
# Takes centers, their weights, and all codes in blocks.
EpochUpdate = Callable[[Tensor, Tensor, Iterable[CodeBlock]], tuple[Tensor, Tensor]]


def kmeans_centers(
    codes: Tensor,
    weight: Tensor,
    n_clusters: int,
    compute: Compute,
    start: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute centers (k, c), and their weights (k,), by hard K-means of codes (n, c).

    The centers are grown unless there are some to start from. Some are equal if there
    are fewer distinct codes than clusters.
    """
    fitted = fit_hard(compute.dense(codes), weight, n_clusters, compute, start=start)
    return fitted.centers, fitted.cluster_weight


def match_labels(
    before: Tensor, after: Tensor, weight: Tensor, n_clusters: int
) -> Tensor:
    """Match clusters one to one, so that the largest weight keeps its label.

    This is the assignment problem for the labels (n,) before and after, solved by the
    Hungarian method: ``centers_after[match]`` has the order of the labels before.
    """
    pairs = before.long() * n_clusters + after.long()  # (n,)
    pair_weights = torch.bincount(pairs.cpu(), weight.cpu().double(), n_clusters**2)
    overlap = pair_weights.reshape(n_clusters, n_clusters)  # (before, after)
    _, order = linear_sum_assignment(overlap.numpy(), maximize=True)
    return torch.as_tensor(order, device=before.device)


def soft_means(
    centers: Tensor, cluster_weights: Tensor, blocks: Iterable[CodeBlock]
) -> tuple[Tensor, Tensor]:
    """Compute the means of all codes under their responsibilities (eq-fixed-point)."""
    accumulate = cluster_weights.dtype
    parts = (
        soft_statistics(r, codes, w, torch.zeros_like(w), accumulate=accumulate)
        for codes, r, w in blocks
    )
    total = reduce(statistics.add_statistics, parts)
    return statistics.weighted_means(total, centers), total.weight


CENTER_UPDATES: dict[str, dict[str, Any]] = {
    "kmeans": {},
    "running_mean": {"update_after_batch": running_means},
    "gradient": {"learn_centers": True},
    "soft_mean": {"update_after_epoch": soft_means},
}
"""Updates of the centers between two runs of K-means, as fields of a configuration."""
