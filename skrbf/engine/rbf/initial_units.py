"""Initial units of an RBF network: centers by hard K-means, and widths."""

import math

import torch
from torch import Tensor

from skrbf.engine.data.device import Compute
from skrbf.engine.data.training_data import TrainingData
from skrbf.engine.kmeans.fit import fit_hard
from skrbf.engine.rbf import constants
from skrbf.engine.rbf.config import RBFConfig
from skrbf.engine.rbf.objective import fractions
from skrbf.engine.rbf.output_layer import choose_width_factor, scale_widths
from skrbf.ops.rbf_units import Activation, RBFParameters, neighbor_widths


def initial_units(
    data: TrainingData,
    config: RBFConfig,
    n_classes: int,
    activation: Activation,
    alpha: float,
) -> tuple[RBFParameters, float]:
    """Place units by K-means, and return them with the factor on their widths.

    The factor is chosen with the penalty `alpha`, relative to the mean loss of a row.
    """
    if config.per_class:
        centers = class_centers(data, n_classes, config.n_centers)
    else:
        weight = fractions(data)
        centers = kmeans_centers(data.rows, weight, config.n_centers, data.compute)
    spread = math.sqrt(float(data.rows.square().sum(1) @ fractions(data)))
    units = units_at(centers, config.width, spread)
    factor = config.width_factor
    if factor is None:
        factor = choose_width_factor(data, units, n_classes, activation, alpha)
    return scale_widths(units, factor), factor


def kmeans_centers(
    rows: Tensor, weight: Tensor, n_centers: int, compute: Compute
) -> Tensor:
    """Compute centers (k, d) of distinct rows (n, d) by K-means.

    It starts from k-means++ with a fixed seed. Only ratios of the weights (n,) count.
    """
    fitted = fit_hard(
        compute.dense(rows),
        weight * (len(weight) / weight.sum()),
        n_centers,
        compute,
        seed=constants.PLACEMENT_SEED,
        max_iter=constants.PLACEMENT_MAX_ITER,
    )
    return fitted.centers


def class_centers(data: TrainingData, n_classes: int, n_centers: int) -> Tensor:
    """Compute centers by K-means within each class.

    The number of centers of a class is proportional to its weight, and at least one. So
    there may be more centers than `n_centers`.
    """
    weight, centers = fractions(data), []
    for label in range(n_classes):
        own = (data.labels == label).nonzero()[:, 0]
        if len(own) == 0:
            continue
        k = min(len(own), max(1, round(n_centers * float(weight[own].sum()))))
        centers.append(kmeans_centers(data.rows[own], weight[own], k, data.compute))
    return torch.cat(centers)


def units_at(centers: Tensor, width: str, spread: float) -> RBFParameters:
    """Build units at centers (k, d), as wide as the distances to their neighbors.

    The `spread`, the root mean squared norm of the rows, is the width of a single unit.
    """
    n_neighbors = int(constants.NEIGHBOR_FRACTION * len(centers))
    n_neighbors = max(constants.MIN_NEIGHBORS, n_neighbors)
    widths = neighbor_widths(centers, n_neighbors)  # (k,)
    if len(centers) == 1 and spread > 0:
        widths = torch.full_like(widths, spread)
    if width == "global":
        widths = widths.square().mean().sqrt()[None]  # (1,)
    widths = widths.clamp_min(constants.MIN_RELATIVE_WIDTH * float(widths.mean()))
    log_widths = widths.log()[:, None]  # (k, 1) or (1, 1)
    if width == "per_feature":
        log_widths = log_widths.repeat(1, centers.shape[1])  # (k, d)
    return RBFParameters(centers, log_widths, torch.zeros_like(centers[0]))
