"""A soft assignment to centers, as a layer: a normalised RBF layer."""

from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from skrbf.nn._arguments import checked_centers, flat_rows, holds
from skrbf.ops.assignment import ASSIGNMENTS, AssignmentFunction
from skrbf.ops.distances import squared_distances
from skrbf.ops.precision import full_precision


class SoftAssignment(nn.Module):
    r"""Responsibilities of learnable centers for the rows of a batch.

    :math:`r_i = \mathrm{map}(-\|x_i - c\|^2 / T)` (:eq:`eq-softmax`,
    :eq:`eq-entmax`, :eq:`eq-sparsemax`): with softmax a normalised RBF layer of width
    :math:`\sigma = \sqrt{T / 2}`, which tends to the K-means assignment as `T` falls.

    Parameters
    ----------
    centers : Tensor of shape (n_clusters, n_features)
        Where the centers start, such as ``torch.from_numpy(est.cluster_centers_)`` of a
        fitted :class:`skrbf.SoftKMeans`. Copied; they are a parameter of the layer.
    temperature : float, default=1.0
        `T`, positive, in squared units of the input; such as ``est.temperature_``. A
        buffer of the layer; ``layer.temperature = 0.5`` sets it anew.
    assignment : {"softmax", "entmax15", "sparsemax"}, default="softmax"

    Raises
    ------
    TypeError
        If `centers` is not a tensor of floating point numbers.
    ValueError
        If `temperature` is not positive, `centers` is not a finite matrix, or
        `assignment` is not known.

    Notes
    -----
    O(n k d) a batch, and no tensor larger than the responsibilities.

    Rows are given the precision of the centers, which is that of the result. Half
    precision is computed in float32 and then rounded; autocast changes nothing.

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
        centers = checked_centers(centers)
        if assignment not in ASSIGNMENTS:
            raise ValueError(
                f"assignment must be one of {sorted(ASSIGNMENTS)}, got {assignment!r}."
            )
        self.assignment = assignment
        self.centers = nn.Parameter(centers.detach().clone())  # (k, d)
        self.register_buffer("temperature", self._as_temperature(temperature))

    def __setattr__(self, name: str, value: Any) -> None:
        # Of itself a buffer takes nothing but tensors, and those unseen.
        if name == "temperature" and not isinstance(value, nn.Parameter):
            value = self._as_temperature(value)
        super().__setattr__(name, value)

    def forward(self, rows: Tensor) -> Tensor:
        """Responsibilities.

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
            If `rows` is not a tensor.
        ValueError
            If the rows have another number of features than the centers.
        """
        flat = flat_rows(rows, self.centers)  # (n, d)
        # A conversion to half precision may have rounded it to 0.
        limits = torch.finfo(self.temperature.dtype)
        temperature = self.temperature.clamp_min(limits.tiny * limits.eps)
        responsibilities = _responsibilities(
            self.centers, flat, temperature, ASSIGNMENTS[self.assignment].function
        )  # (k, n)
        return responsibilities.t().reshape(*rows.shape[:-1], len(self.centers))

    def extra_repr(self) -> str:
        """Shape and settings, for ``repr``."""
        n_clusters, n_features = self.centers.shape
        return (
            f"n_features={n_features}, n_clusters={n_clusters}, "
            f"temperature={float(self.temperature):.4g}, assignment={self.assignment!r}"
        )

    def _as_temperature(self, value: Any) -> Tensor:
        """A positive number as a tensor like the centers."""
        like = self.centers
        if isinstance(value, Real) or (isinstance(value, Tensor) and value.ndim == 0):
            made = torch.as_tensor(value, dtype=like.dtype, device=like.device)
            if holds((made > 0) & made.isfinite()):
                return made
        raise ValueError(
            "temperature must be a positive number, finite and not 0 in the precision "
            f"of the centers; got {value!r}."
        )


@full_precision
def _responsibilities(
    centers: Tensor, rows: Tensor, temperature: Tensor, function: AssignmentFunction
) -> Tensor:
    logits = squared_distances(centers, rows) / -temperature  # (k, n)
    return function(logits)[0]  # (k, n)
