"""A soft assignment to centers, as a layer: a normalized RBF layer."""

from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skrbf.nn._arguments import all_true, check_choice, flatten_rows, validate_centers
from skrbf.ops.assignment import ASSIGNMENTS, AssignmentFunction
from skrbf.ops.distances import relative_distances, squared_norms
from skrbf.ops.precision import compute_dtype, full_precision

# Logits this far below the largest: no map leaves anything of them.
_NOTHING = 1e4
# Products that a difference of relative distances is made of, and as many to spare.
_ROOM = 16


class SoftAssignment(nn.Module):
    r"""Responsibilities of learnable centers for the rows of a batch.

    :math:`r_i = \mathrm{map}(-\|x_i - c\|^2 / T)` (:eq:`eq-softmax`,
    :eq:`eq-entmax`, :eq:`eq-sparsemax`): with softmax a normalized RBF layer of width
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
        If `temperature` is not positive or has no finite inverse, `centers` is not a
        finite matrix or has squares that overflow, or `assignment` is not known.

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
        centers = validate_centers(centers)
        check_choice("assignment", assignment, ASSIGNMENTS)
        if not all_true(_squares(centers.detach()).isfinite()):
            raise ValueError(
                "centers must be so small that their squares are finite in "
                f"{compute_dtype(centers.dtype)}."
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
            If `rows` is not a dense tensor of real numbers.
        ValueError
            If the rows have another number of features than the centers.
        """
        flat = flatten_rows(rows, self.centers)  # (n, d)
        responsibilities = _responsibilities(
            self.centers, flat, self.temperature, ASSIGNMENTS[self.assignment].function
        )  # (k, n)
        shape = *rows.shape[:-1], len(self.centers)
        return responsibilities.t().reshape(shape).to(self.centers.dtype)

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
        if _is_number(value):
            made = torch.as_tensor(value, dtype=like.dtype, device=like.device)
            inverse = made.to(compute_dtype(like.dtype)).reciprocal()
            if all_true((made > 0) & made.isfinite() & inverse.isfinite()):
                return made
        raise ValueError(
            "temperature must be a positive number that is finite in the precision of "
            f"the centers, and so must be its inverse; got {value!r}."
        )


def _is_number(value: Any) -> bool:
    """Tell whether a value is a real number, or a tensor or an array of one."""
    if isinstance(value, Tensor):
        return value.ndim == 0 and not value.is_complex()
    if isinstance(value, np.ndarray):
        return value.ndim == 0 and value.dtype.kind in "iuf"
    return isinstance(value, Real)


@full_precision
def _responsibilities(
    centers: Tensor, rows: Tensor, temperature: Tensor, function: AssignmentFunction
) -> Tensor:
    # A constant of a row changes nothing, and without it that of a far row is finite.
    limits = torch.finfo(centers.dtype)
    middle = centers.mean(0)  # (d,)
    reach = (centers - middle).detach().abs().amax().clamp_min(1.0)
    far = limits.max / (_ROOM * centers.shape[1] * reach)
    distances = relative_distances(centers, rows.clamp(-far, far), middle)  # (k, n)
    excess = distances - distances.detach().amin(0)
    # A conversion may have rounded the temperature to 0, and quotients may overflow.
    temperature = temperature.clamp_min(limits.tiny)
    logits = excess.clamp_max(_NOTHING * temperature) / -temperature
    return function(logits)[0]  # (k, n)


@full_precision
def _squares(centers: Tensor) -> Tensor:
    """What must be finite for the distances to the centers to be: (k,)."""
    middle = centers.mean(0)
    return _ROOM * (squared_norms(centers - middle) + middle.square().sum())
