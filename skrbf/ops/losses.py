r"""The objectives, their gradients with respect to the centres, and how they compare.

With :math:`F_T` the free energy, :math:`L_T` the weighted distortion and :math:`L` the
hard distortion, all sums over the rows: :math:`F_T \le L \le L_T`, and all three meet
as :math:`T \to 0`.
"""

import math

from torch import Tensor

from skrbf.ops.assignment import ASSIGNMENTS, Assignment
from skrbf.ops.distances import squared_distances
from skrbf.ops.precision import full_precision
from skrbf.ops.statistics import weighted_sums

_SOFTMAX = ASSIGNMENTS["softmax"]


@full_precision
def free_energy(
    distances: Tensor,
    temperature: float,
    sample_weight: Tensor | None = None,
    assignment: Assignment = _SOFTMAX,
) -> Tensor:
    r"""Free energy, which expectation-maximisation lowers (:eq:`eq-free-energy`).

    :math:`F_T = \sum_i w_i \min_r \, [r \cdot d_i - T H(r)]`; for softmax that is
    :math:`-T \sum_i w_i \log \sum_k \exp(-d_{ik} / T)`.

    Parameters
    ----------
    distances : Tensor of shape (k, n)
        Squared distances; a constant taken from a row is a constant of the sum.
    temperature : float
        Positive.
    sample_weight : Tensor of shape (n,), optional
    assignment : Assignment, default=softmax
        Chooses the entropy H.

    Returns
    -------
    Tensor of shape ()

    Notes
    -----
    O(k n). Differentiable; Rose (1998), "Deterministic annealing for clustering,
    compression, classification, regression, and related optimization problems".

    Examples
    --------
    >>> import torch
    >>> free_energy(torch.tensor([[1.0], [1.0]]), 1.0)
    tensor(0.3069)
    """
    _, value = assignment.function(distances * (-1.0 / temperature))
    return -temperature * _weighted_sum(value, sample_weight)


@full_precision
def weighted_distortion(
    distances: Tensor,
    temperature: float,
    sample_weight: Tensor | None = None,
    assignment: Assignment = _SOFTMAX,
) -> Tensor:
    r"""Distortion under soft responsibilities (:eq:`eq-distortion`).

    :math:`L_T = \sum_i w_i \sum_k r_{ik} d_{ik}`.

    Parameters
    ----------
    distances : Tensor of shape (k, n)
    temperature : float
        Positive.
    sample_weight : Tensor of shape (n,), optional
    assignment : Assignment, default=softmax

    Returns
    -------
    Tensor of shape ()

    Notes
    -----
    O(k n). Differentiable, through the responsibilities as well. The loss of deep
    K-means: Moradi Fard, Thonet, Gaussier (2020), "Deep k-means".

    Examples
    --------
    >>> import torch
    >>> weighted_distortion(torch.tensor([[1.0], [1.0]]), 1.0)
    tensor(1.)
    """
    responsibilities, _ = assignment.function(distances * (-1.0 / temperature))
    return _weighted_sum((responsibilities * distances).sum(0), sample_weight)


@full_precision
def hard_distortion(distances: Tensor, sample_weight: Tensor | None = None) -> Tensor:
    r"""Distortion of K-means: :math:`\sum_i w_i \min_k d_{ik}`.

    Parameters
    ----------
    distances : Tensor of shape (k, n)
    sample_weight : Tensor of shape (n,), optional

    Returns
    -------
    Tensor of shape ()

    Notes
    -----
    O(k n). The limit of :eq:`eq-distortion` and of :eq:`eq-free-energy` as T -> 0.

    Examples
    --------
    >>> import torch
    >>> hard_distortion(torch.tensor([[1.0, 5.0], [2.0, 3.0]]))
    tensor(4.)
    """
    return _weighted_sum(distances.amin(0), sample_weight)


@full_precision
def free_energy_gradient(
    centers: Tensor,
    rows: Tensor,
    temperature: float,
    sample_weight: Tensor | None = None,
    assignment: Assignment = _SOFTMAX,
) -> Tensor:
    r"""Gradient of the free energy with respect to the centres.

    :math:`2 \sum_i w_i r_{ik} (c_k - x_i)`: zero exactly at the fixed points of
    :eq:`eq-fixed-point`, at every temperature.

    Parameters
    ----------
    centers : Tensor of shape (k, d)
    rows : Tensor of shape (n, d)
        Dense or sparse CSR.
    temperature : float
        Positive.
    sample_weight : Tensor of shape (n,), optional
    assignment : Assignment, default=softmax

    Returns
    -------
    Tensor of shape (k, d)

    Notes
    -----
    O(k n d). It is also the gradient of the weighted distortion with the
    responsibilities held constant.

    Examples
    --------
    >>> import torch
    >>> free_energy_gradient(torch.tensor([[1.0]]), torch.tensor([[0.0], [4.0]]), 1.0)
    tensor([[-4.]])
    """
    distances = squared_distances(centers, rows)  # (k, n)
    responsibilities, _ = assignment.function(distances * (-1.0 / temperature))
    return _pull(responsibilities, centers, rows, sample_weight)


@full_precision
def weighted_distortion_gradient(
    centers: Tensor,
    rows: Tensor,
    temperature: float,
    sample_weight: Tensor | None = None,
    assignment: Assignment = _SOFTMAX,
) -> Tensor:
    r"""Gradient of the weighted distortion with respect to the centres.

    :math:`2 \sum_i w_i g_{ik} (c_k - x_i)` with
    :math:`g_{ik} = r_{ik} (1 + (\bar d_i - d_{ik}) / T)` for softmax
    (:eq:`eq-distortion-gradient`) and
    :math:`g_{ik} = r_{ik} + s_{ik} (\tilde d_i - d_{ik}) / T`, :math:`s = \sqrt r`, for
    entmax-1.5 (:eq:`eq-entmax-gradient`). The g of a row sum to 1; they may be
    negative, and then the centre is pushed away.

    Parameters
    ----------
    centers : Tensor of shape (k, d)
    rows : Tensor of shape (n, d)
        Dense or sparse CSR.
    temperature : float
        Positive.
    sample_weight : Tensor of shape (n,), optional
    assignment : Assignment, default=softmax

    Returns
    -------
    Tensor of shape (k, d)

    Notes
    -----
    O(k n d).

    Examples
    --------
    >>> import torch
    >>> centers, rows = torch.tensor([[0.0], [4.0]]), torch.tensor([[1.0]])
    >>> weighted_distortion_gradient(centers, rows, 100.0)
    tensor([[-1.0799],
            [ 2.7603]])
    """
    distances = squared_distances(centers, rows)  # (k, n)
    responsibilities, _ = assignment.function(distances * (-1.0 / temperature))
    change = assignment.jacobian_product(responsibilities, distances)  # (k, n)
    return _pull(responsibilities - change / temperature, centers, rows, sample_weight)


def gamma_bound(n_clusters: int, temperature: float) -> float:
    r"""Largest excess of the weighted over the hard distortion, per unit of weight.

    :math:`T \, W((K - 1) / e)`, W Lambert's function, for softmax and any centres
    (:eq:`eq-gamma-bound`). It vanishes with T uniformly in the centres, which makes
    the soft objectives Gamma-converge to that of K-means.

    Parameters
    ----------
    n_clusters : int
    temperature : float

    Returns
    -------
    float

    Notes
    -----
    Newton's method for :math:`w + \log w = \log((K - 1) / e)`.

    Examples
    --------
    >>> round(gamma_bound(2, 1.0), 4)
    0.2785
    """
    if n_clusters == 1:
        return 0.0
    target = math.log(n_clusters - 1) - 1.0
    w = math.log1p(math.exp(target))  # right within a third for every target >= -1
    for _ in range(5):
        w *= (1.0 + target - math.log(w)) / (1.0 + w)
    return temperature * w


def _weighted_sum(values: Tensor, sample_weight: Tensor | None) -> Tensor:
    return values.sum() if sample_weight is None else values.dot(sample_weight)


def _pull(
    coefficients: Tensor, centers: Tensor, rows: Tensor, sample_weight: Tensor | None
) -> Tensor:
    """Two times the sum over the rows of coefficient (center - row), per cluster."""
    if sample_weight is not None:
        coefficients = coefficients * sample_weight  # (k, n)
    totals = weighted_sums(coefficients, rows)  # (k, d)
    return 2.0 * (coefficients.sum(1)[:, None] * centers - totals)  # (k, d)
