"""Pure functions on tensors: distances, assignments, statistics, schedules, losses.

Nothing here holds state, chooses a device, checks its arguments or reads a file. Blocks
are ``(k, n)``: clusters on the leading axis, the rows of a chunk trailing.
"""

from skrbf.ops.assignment import (
    ASSIGNMENTS,
    Assignment,
    AssignmentFunction,
    entmax15,
    entmax15_jacobian_product,
    one_hot_rows,
    softmax,
    softmax_jacobian_product,
)
from skrbf.ops.axes import fixed_direction, leading_eigenpair
from skrbf.ops.clustering import (
    CENTERING_LOSSES,
    CenteringLoss,
    assign_codes,
    centroid_loss,
    distance_loss,
    regularized_loss,
    running_means,
    scale_drift,
    shrink_and_perturb,
    spread,
)
from skrbf.ops.distances import (
    inner_products,
    nearest,
    paired_squared_distances,
    places,
    relative_distances,
    squared_distances,
    squared_norms,
)
from skrbf.ops.kernel import Kernel, unit_kernel
from skrbf.ops.keys import row_keys
from skrbf.ops.losses import (
    free_energy,
    free_energy_gradient,
    gamma_bound,
    hard_distortion,
    weighted_distortion,
    weighted_distortion_gradient,
)
from skrbf.ops.network import (
    Network,
    cross_entropy,
    logits,
    network_gradient,
    output_gradient,
)
from skrbf.ops.rbf import (
    ACTIVATIONS,
    Activation,
    Units,
    exponents,
    exponents_gradient,
    gaussian,
    gaussian_jacobian_product,
    neighbour_widths,
    precisions,
)
from skrbf.ops.ridge import leave_one_out
from skrbf.ops.schedule import (
    critical_temperature,
    geometric_temperatures,
    noise_temperature,
)
from skrbf.ops.seeding import RowSource, kmeans_plusplus, random_rows, spread_rows
from skrbf.ops.statistics import (
    ClusterStatistics,
    add,
    centers,
    label_sums,
    label_totals,
    soft_statistics,
    weighted_sums,
)

__all__ = [
    "ACTIVATIONS",
    "ASSIGNMENTS",
    "CENTERING_LOSSES",
    "Activation",
    "Assignment",
    "AssignmentFunction",
    "CenteringLoss",
    "ClusterStatistics",
    "Kernel",
    "Network",
    "RowSource",
    "Units",
    "add",
    "assign_codes",
    "centers",
    "centroid_loss",
    "critical_temperature",
    "cross_entropy",
    "distance_loss",
    "entmax15",
    "entmax15_jacobian_product",
    "exponents",
    "exponents_gradient",
    "fixed_direction",
    "free_energy",
    "free_energy_gradient",
    "gamma_bound",
    "gaussian",
    "gaussian_jacobian_product",
    "geometric_temperatures",
    "hard_distortion",
    "inner_products",
    "kmeans_plusplus",
    "label_sums",
    "label_totals",
    "leading_eigenpair",
    "leave_one_out",
    "logits",
    "nearest",
    "neighbour_widths",
    "network_gradient",
    "noise_temperature",
    "one_hot_rows",
    "output_gradient",
    "paired_squared_distances",
    "places",
    "precisions",
    "random_rows",
    "regularized_loss",
    "relative_distances",
    "row_keys",
    "running_means",
    "scale_drift",
    "shrink_and_perturb",
    "soft_statistics",
    "softmax",
    "softmax_jacobian_product",
    "spread",
    "spread_rows",
    "squared_distances",
    "squared_norms",
    "unit_kernel",
    "weighted_distortion",
    "weighted_distortion_gradient",
    "weighted_sums",
]
