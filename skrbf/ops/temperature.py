"""Temperatures of annealing: critical temperature, cooling schedule, noise level."""

import math

from skrbf.ops.assignment import ASSIGNMENTS, check_assignment

# Rounding error allowed in a number of cooling steps before one more is taken. Tested
# in tests/ops/test_temperature.py.
_STEP_COUNT_ROUNDING = 1e-9


def critical_temperature(
    largest_variance: float, n_clusters: int, assignment: str = "softmax"
) -> float:
    r"""Compute the temperature above which coincident centers stay together.

    :math:`2 \lambda` for softmax, :math:`2 \sqrt K \lambda` for 1.5-entmax and
    :math:`2 K \lambda` for sparsemax (:eq:`eq-critical-temperature`).

    Parameters
    ----------
    largest_variance : float
        :math:`\lambda`, the largest eigenvalue of the covariance of the rows.
    n_clusters : int
        `K`, the number of centers that coincide.
    assignment : {"softmax", "entmax15", "sparsemax"}, default="softmax"
        Assignment map.

    Returns
    -------
    float
        In squared units of the rows.

    Raises
    ------
    ValueError
        If `assignment` is unknown.

    See Also
    --------
    geometric_temperatures : A cooling schedule from there.

    Notes
    -----
    For the fixed-point iteration. Gradient descent on the weighted distortion has twice
    these temperatures. Rose, Gurewitz, Fox (1990), "Statistical mechanics and phase
    transitions in clustering", for softmax.

    Examples
    --------
    >>> import torch
    >>> rows = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    >>> variances = torch.linalg.eigvalsh(torch.cov(rows.t(), correction=0))
    >>> critical_temperature(variances[-1].item(), 4, "sparsemax")
    8.0
    """
    check_assignment(assignment)
    factor = ASSIGNMENTS[assignment].critical_factor(n_clusters)
    return 2.0 * largest_variance * factor


def geometric_temperatures(
    start: float, stop: float, ratio: float, floor: float = 0.0
) -> tuple[float, ...]:
    """Return temperatures that fall geometrically from `start` to `stop`.

    Parameters
    ----------
    start : float
        First temperature, positive.
    stop : float
        Last temperature, reached exactly. If it is 0, the temperatures fall to `floor`
        and then jump to 0.
    ratio : float
        Smallest factor between two temperatures, between 0 and 1, exclusive. All steps
        are equal: the factor is the smallest one, not below `ratio`, that ends at
        `stop` or `floor`.
    floor : float, default=0.0
        Lowest temperature above 0. Must be positive where `stop` is 0; else not used.

    Returns
    -------
    tuple of float
        Never rising. ``(stop,)`` where `start` is not above the lowest temperature.

    Notes
    -----
    The schedule of deterministic annealing; :eq:`eq-critical-temperature` gives its
    start.

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
    exact_steps = math.log(last / start) / math.log(ratio)
    n_steps = math.ceil(exact_steps - _STEP_COUNT_ROUNDING)
    step = (last / start) ** (1.0 / n_steps)
    return (*(start * step**index for index in range(n_steps)), last, *tail)


def noise_temperature(within_variance_per_feature: float) -> float:
    r"""Compute the temperature of the noise: :math:`T = 2 \sigma^2`.

    :math:`\sigma^2` is the mean squared distance to the own center, per feature. At
    this temperature softmax responsibilities are the posteriors of an equal mixture of
    isotropic Gaussians of that variance (:eq:`eq-softmax`).

    Kulis, Jordan (2012), "Revisiting k-means: new algorithms via Bayesian
    nonparametrics", for the limit of small variance.
    """
    return 2.0 * within_variance_per_feature
