"""Temperatures: where centers merge, how to cool, and where to stop."""

import math

from skrbf.ops.assignment import Assignment


def critical_temperature(
    largest_variance: float, n_clusters: int, assignment: Assignment
) -> float:
    r"""Temperature above which coincident centers stay together.

    :math:`T_c = 2 \lambda` for softmax, :math:`2 \sqrt K \lambda` for entmax-1.5 and
    :math:`2 K \lambda` for sparsemax (:eq:`eq-critical-temperature`), with
    :math:`\lambda` the largest eigenvalue of the weighted covariance.

    Parameters
    ----------
    largest_variance : float
    n_clusters : int
        Number of centers that coincide.
    assignment : Assignment

    Returns
    -------
    float

    Notes
    -----
    For the fixed-point iteration. Gradient descent on the weighted distortion has twice
    these temperatures. Rose, Gurewitz, Fox (1990), "Statistical mechanics and phase
    transitions in clustering", for softmax.

    Examples
    --------
    >>> from skrbf.ops.assignment import ASSIGNMENTS
    >>> critical_temperature(3.0, 4, ASSIGNMENTS["softmax"])
    6.0
    >>> critical_temperature(3.0, 4, ASSIGNMENTS["entmax15"])
    12.0
    """
    return 2.0 * largest_variance * assignment.critical_factor(n_clusters)


def geometric_temperatures(
    start: float, stop: float, ratio: float, floor: float = 0.0
) -> tuple[float, ...]:
    """Cool from `start` to `stop` by steps of no more than `ratio`.

    Parameters
    ----------
    start : float
        Positive.
    stop : float
        The last temperature, exactly. If 0, the soft temperatures go down to `floor`
        and 0 follows them.
    ratio : float
        Between 0 and 1, exclusive. The steps are equal, and the nearest to it, not
        below it, that end where they should.
    floor : float, default=0.0
        Lowest soft temperature on the way to 0: positive where `stop` is 0.

    Returns
    -------
    tuple of float
        Never rising. ``(stop,)`` where `start` is not above it.

    Notes
    -----
    The schedule of deterministic annealing (:eq:`eq-critical-temperature` says where
    to start) as data, so that a loop over it needs no state.

    Examples
    --------
    >>> geometric_temperatures(8.0, 1.0, 0.5)
    (8.0, 4.0, 2.0, 1.0)
    >>> geometric_temperatures(8.0, 0.0, 0.5, floor=2.0)
    (8.0, 4.0, 2.0, 0.0)
    """
    last = stop if stop > 0.0 else floor
    tail = () if stop > 0.0 else (stop,)
    if start <= last:
        return (stop,)
    n_steps = math.ceil(math.log(last / start) / math.log(ratio) - 1e-9)
    step = (last / start) ** (1.0 / n_steps)
    return (*(start * step**index for index in range(n_steps)), last, *tail)


def noise_temperature(within_variance_per_feature: float) -> float:
    r"""Temperature of the noise: :math:`T = 2 \sigma^2`.

    At it, softmax responsibilities are the posteriors of an equal mixture of isotropic
    Gaussians of that variance (:eq:`eq-softmax`).

    Parameters
    ----------
    within_variance_per_feature : float
        Mean squared distance to the own center, per feature.

    Returns
    -------
    float

    Notes
    -----
    Kulis, Jordan (2012), "Revisiting k-means: new algorithms via Bayesian
    nonparametrics", for the limit of small variance.

    Examples
    --------
    >>> noise_temperature(0.5)
    1.0
    """
    return 2.0 * within_variance_per_feature
