"""Settings of a fit of K-means."""

from typing import NamedTuple

from skrbf.ops.assignment import Assignment


class KMeansConfig(NamedTuple):
    """Settings of a fit, in the unit of the problem."""

    n_clusters: int
    temperature: float | None  # None is the noise level of the clusters
    assignment: Assignment
    max_iter: int
    tol: float
    # Temperature at which all centers merge, for the assignment map; not used at 0.
    critical_temperature: float = 0.0
