"""Soft assignment to centers as a layer: a normalized RBF layer."""

from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skrbf.nn._arguments import all_true, check_choice, flatten_rows, validate_centers
from skrbf.ops.assignment import ASSIGNMENTS, AssignmentFunction
from skrbf.ops.distances import relative_distances, squared_norms
from skrbf.ops.precision import compute_dtype, full_precision

# Difference to the largest logit from which every map returns 0. Tested in
# tests/nn/test_precision.py.
_NEGLIGIBLE_LOGIT = 1e4
# Largest number of products of the range of a dtype that a difference of relative
# distances sums, times a margin. Tested in tests/nn/test_precision.py.
_DISTANCE_OVERFLOW_MARGIN = 16


class SoftAssignment(nn.Module):
    r"""Layer that computes responsibilities of learnable centers for a batch of rows.

    :math:`r_i = \mathrm{map}(-\|x_i - c\|^2 / T)` (:eq:`eq-softmax`,
    :eq:`eq-entmax`, :eq:`eq-sparsemax`). With softmax this is a normalized RBF layer of
    width :math:`\sigma = \sqrt{T / 2}`. As `T` falls, the result tends to the K-means
    assignment.

    Parameters
    ----------
    centers : Tensor of shape (n_clusters, n_features)
        Initial centers, such as ``torch.from_numpy(est.cluster_centers_)`` of a fitted
        :class:`skrbf.SoftKMeans`. They are copied, and are a parameter of the layer.
    temperature : float, default=1.0
        `T`, positive, in squared units of the input, such as ``est.temperature_``. It
        is a buffer of the layer; assign to ``layer.temperature`` to change it.
    assignment : {"softmax", "entmax15", "sparsemax"}, default="softmax"
        Assignment map.

    Raises
    ------
    TypeError
        If `centers` is not a floating-point tensor.
    ValueError
        If `temperature` is not positive or has no finite inverse, if `centers` is not a
        finite matrix or has squares that overflow, or if `assignment` is unknown.

    Notes
    -----
    O(n k d) for a batch of n rows. No tensor is larger than the responsibilities.

    Rows are converted to the precision of the centers, which is that of the result.
    Half precision is computed in float32 and then rounded; autocast changes nothing.

    Examples
    --------
    >>> import torch
    >>> layer = SoftAssignment(torch.tensor([[0.0], [1.0]]), temperature=0.1)
    >>> layer(torch.tensor([[0.0], [0.5]])).detach().round(decimals=2)
    tensor([[1.0000, 0.0000],
            [0.5000, 0.5000]])
    """

    temperature: Tensor

    def __init__(
        self, centers: Tensor, temperature: float = 1.0, assignment: str = "softmax"
    ) -> None:
        super().__init__()
        centers = validate_centers(centers)
        check_choice("assignment", assignment, ASSIGNMENTS)
        if not all_true(_distance_bound(centers.detach()).isfinite()):
            raise ValueError(
                "centers are too large: their squares must be finite in "
                f"{compute_dtype(centers.dtype)}."
            )
        self.assignment = assignment
        self.centers = nn.Parameter(centers.detach().clone())  # (k, d)
        self.register_buffer("temperature", self._as_temperature(temperature))

    def __setattr__(self, name: str, value: Any) -> None:
        # By default a buffer accepts only tensors, and does not check them.
        if name == "temperature" and not isinstance(value, nn.Parameter):
            value = self._as_temperature(value)
        super().__setattr__(name, value)

    def forward(self, rows: Tensor) -> Tensor:
        """Compute responsibilities.

        Parameters
        ----------
        rows : Tensor of shape (..., n_features)

        Returns
        -------
        Tensor of shape (..., n_clusters)
            The last axis sums to 1.

        Raises
        ------
        TypeError
            If `rows` is not a dense, real tensor.
        ValueError
            If `rows` has a different number of features than the centers.
        """
        flat = flatten_rows(rows, self.centers)  # (n, d)
        responsibilities = _responsibilities(
            self.centers, flat, self.temperature, ASSIGNMENTS[self.assignment].function
        )  # (k, n)
        shape = *rows.shape[:-1], len(self.centers)
        return responsibilities.t().reshape(shape).to(self.centers.dtype)

    def extra_repr(self) -> str:
        """Return shape and settings for ``repr``."""
        n_clusters, n_features = self.centers.shape
        return (
            f"n_features={n_features}, n_clusters={n_clusters}, "
            f"temperature={float(self.temperature):.4g}, assignment={self.assignment!r}"
        )

    def _as_temperature(self, value: Any) -> Tensor:
        """Convert a positive number to the dtype and device of the centers."""
        like = self.centers
        if _is_number(value):
            result = torch.as_tensor(value, dtype=like.dtype, device=like.device)
            inverse = result.to(compute_dtype(like.dtype)).reciprocal()
            if all_true((result > 0) & result.isfinite() & inverse.isfinite()):
                return result
        raise ValueError(
            "temperature must be positive and finite in the precision of the centers, "
            f"and so must be its inverse; got {value!r}."
        )


def _is_number(value: Any) -> bool:
    """Check for a real number, or a tensor or array of one."""
    if isinstance(value, Tensor):
        return value.ndim == 0 and not value.is_complex()
    if isinstance(value, np.ndarray):
        return value.ndim == 0 and value.dtype.kind in "iuf"
    return isinstance(value, Real)


@full_precision
def _responsibilities(
    centers: Tensor, rows: Tensor, temperature: Tensor, function: AssignmentFunction
) -> Tensor:
    # A constant of a row changes nothing. Without it, distances of far rows are finite.
    limits = torch.finfo(centers.dtype)
    origin = centers.mean(0)  # (d,)
    radius = (centers - origin).detach().abs().amax().clamp_min(1.0)
    bound = limits.max / (_DISTANCE_OVERFLOW_MARGIN * centers.shape[1] * radius)
    rows = rows.clamp(-bound, bound)
    distances = relative_distances(centers, rows, origin)  # (k, n)
    excess = distances - distances.detach().amin(0)
    # A conversion may have rounded the temperature to 0; quotients must be finite.
    temperature = temperature.clamp_min(limits.tiny)
    logits = excess.clamp_max(_NEGLIGIBLE_LOGIT * temperature) / -temperature
    return function(logits)[0]  # (k, n)


@full_precision
def _distance_bound(centers: Tensor) -> Tensor:
    """Return values (k,) that are finite if the distances to the centers are."""
    origin = centers.mean(0)  # (d,)
    norms = squared_norms(centers - origin)  # (k,)
    return _DISTANCE_OVERFLOW_MARGIN * (norms + origin.square().sum())
