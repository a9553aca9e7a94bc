"""Settings of a fit of K-means."""

from typing import NamedTuple

from skrbf.ops.assignment import Assignment


class KMeansConfig(NamedTuple):
    """Settings of a fit, in the unit of the problem.

    Attributes
    ----------
    n_clusters : int
    temperature : float or None
        None is the noise level of the clusters.
    assignment : Assignment
    max_iter : int
    tol : float
    critical_temperature : float
        Temperature at which all centers merge, for the assignment map. Only soft
        K-means needs it.
    """

    n_clusters: int
    temperature: float | None
    assignment: Assignment
    max_iter: int
    tol: float
    critical_temperature: float = 0.0
