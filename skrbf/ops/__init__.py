"""Pure functions on tensors: distances, assignment maps, cluster updates, losses.

Nothing here holds state, chooses a device or reads a file. Rows come first: distances,
logits and responsibilities are ``(n, k)`` for n rows and k clusters. No argument is
overwritten. Half precision is computed in float32, its results are rounded, and
autocast changes nothing.
"""

from skrbf.ops.centering import shrink_and_perturb
from skrbf.ops.public import (
    centroid_loss,
    cluster_means,
    cluster_sums,
    distance_loss,
    entmax15,
    gaussian_rbf,
    kmeans_plusplus,
    regularized_loss,
    responsibilities,
    scale_penalty,
    softmax,
    sparsemax,
    squared_distances,
)
from skrbf.ops.rbf_units import neighbor_widths
from skrbf.ops.temperature import critical_temperature, geometric_temperatures

__all__ = [
    "centroid_loss",
    "cluster_means",
    "cluster_sums",
    "critical_temperature",
    "distance_loss",
    "entmax15",
    "gaussian_rbf",
    "geometric_temperatures",
    "kmeans_plusplus",
    "neighbor_widths",
    "regularized_loss",
    "responsibilities",
    "scale_penalty",
    "shrink_and_perturb",
    "softmax",
    "sparsemax",
    "squared_distances",
]
