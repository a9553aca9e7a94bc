"""Where the units of an RBF network start: centers by hard K-means, and widths."""

import torch
from torch import Tensor

from skrbf.engine.data.compute import Compute
from skrbf.engine.kmeans.fit import fit_hard
from skrbf.engine.rbf.objective import Task
from skrbf.ops.rbf import Units, neighbor_widths

# Training moves the centers on: a few iterations from a good start are enough. The
# draws are the same in every fit, so that a result depends on no seed. Grown centers
# have a distortion lower by 4 %, but cost four times as much, a third of a whole fit,
# and were no more accurate in cross-validation.
_MAX_ITER = 10
_SEED = 0
# A unit reaches as far as the nearest of the others: this part of all of them, and this
# many at least. None reaches less than this part of the mean.
_NEIGHBORS, _FEWEST = 0.05, 3
_NARROWEST = 0.1


def place_centers(
    rows: Tensor, weight: Tensor, n_centers: int, compute: Compute
) -> Tensor:
    """Centers (k, d) of K-means, from the draws of k-means++ with a fixed seed.

    Parameters
    ----------
    n_centers : int
        At most the number of distinct rows.
    """
    weight = weight * (len(weight) / weight.sum())
    table = compute.dense(rows)
    found = fit_hard(table, weight, n_centers, compute, seed=_SEED, max_iter=_MAX_ITER)
    return found.centers


def place_centers_by_class(task: Task, n_centers: int) -> Tensor:
    """Centers of K-means within each class, as many as its share of the weight.

    Every class has one at least, so there may be more than were asked for.
    """
    parts = []
    for label in range(task.n_classes):
        own = (task.labels == label).nonzero()[:, 0]
        if len(own) == 0:
            continue
        share = float(task.weight[own].sum())
        k = min(len(own), max(1, round(n_centers * share)))
        parts.append(place_centers(task.rows[own], task.weight[own], k, task.compute))
    return torch.cat(parts)


def place_units(centers: Tensor, width: str, spread: float) -> Units:
    """Units at some centers, as wide as the distances to their neighbors.

    Parameters
    ----------
    width : {"per_center", "global", "per_feature"}
    spread : float
        Root mean squared norm of the rows, the width of a unit that has no neighbor.
    """
    n_neighbors = max(_FEWEST, int(_NEIGHBORS * len(centers)))
    reach = neighbor_widths(centers, n_neighbors)  # (k,)
    if len(centers) == 1 and spread > 0:
        reach = torch.full_like(reach, spread)
    if width == "global":
        reach = reach.square().mean().sqrt()[None]  # (1,)
    reach = reach.clamp_min(_NARROWEST * float(reach.mean()))
    log_widths = reach.log()[:, None]  # (k, 1) or (1, 1)
    if width == "per_feature":
        log_widths = log_widths.repeat(1, centers.shape[1])  # (k, d)
    return Units(centers, log_widths, torch.zeros_like(centers[0]))
