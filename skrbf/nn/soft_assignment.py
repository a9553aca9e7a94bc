"""A soft assignment to centers, as a layer: a normalised RBF layer."""

from numbers import Real

import torch
from torch import Tensor, nn

from skrbf.ops.assignment import ASSIGNMENTS
from skrbf.ops.distances import squared_distances


class SoftAssignment(nn.Module):
    r"""Responsibilities of learnable centers for the rows of a batch.

    :math:`r_i = \mathrm{map}(-\|x_i - c\|^2 / T)` (:eq:`eq-softmax`,
    :eq:`eq-entmax`): with softmax a normalised RBF layer of width
    :math:`\sigma = \sqrt{T / 2}`, which tends to the K-means assignment as `T` falls.

    Parameters
    ----------
    centers : Tensor of shape (n_clusters, n_features)
        Where the centers start, such as ``torch.from_numpy(est.cluster_centers_)`` of a
        fitted :class:`skrbf.SoftKMeans`. Copied; they are a parameter of the layer.
    temperature : float, default=1.0
        `T`, positive, in squared units of the input; such as ``est.temperature_``.
    assignment : {"softmax", "entmax15"}, default="softmax"

    Raises
    ------
    TypeError
        If `centers` is not a tensor of floating point numbers.
    ValueError
        If `temperature` is not positive, `centers` is not a matrix, or `assignment` is
        not known.

    Notes
    -----
    O(n k d) a batch, and no tensor larger than the responsibilities.

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
        if not (isinstance(centers, Tensor) and centers.is_floating_point()):
            raise TypeError(
                "centers must be a tensor of floating point numbers, such as "
                f"torch.from_numpy(array); got {type(centers).__name__}"
                f"{' of ' + str(centers.dtype) if hasattr(centers, 'dtype') else ''}."
            )
        if centers.ndim != 2:
            raise ValueError(
                f"centers must be a matrix, got a tensor of shape {centers.shape}."
            )
        if not isinstance(temperature, Real | float) or not temperature > 0:
            raise ValueError(
                f"temperature must be a positive number, got {temperature!r}."
            )
        if assignment not in ASSIGNMENTS:
            raise ValueError(
                f"assignment must be one of {sorted(ASSIGNMENTS)}, got {assignment!r}."
            )
        self.assignment = assignment
        self.centers = nn.Parameter(centers.detach().clone())  # (k, d)
        self.register_buffer(
            "temperature",
            torch.tensor(temperature, dtype=centers.dtype, device=centers.device),
        )

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
        ValueError
            If the rows have another number of features than the centers.
        """
        n_clusters, n_features = self.centers.shape
        if rows.shape[-1:] != (n_features,):
            raise ValueError(
                f"rows must have {n_features} features along their last axis, as the "
                f"centers do; got a tensor of shape {tuple(rows.shape)}."
            )
        flat = rows.reshape(-1, n_features)  # (n, d)
        logits = squared_distances(self.centers, flat) / -self.temperature  # (k, n)
        responsibilities, _ = ASSIGNMENTS[self.assignment].function(logits)
        return responsibilities.t().reshape(*rows.shape[:-1], n_clusters)  # (..., k)

    def extra_repr(self) -> str:
        """Shape and settings, for ``repr``."""
        n_clusters, n_features = self.centers.shape
        return (
            f"n_features={n_features}, n_clusters={n_clusters}, "
            f"temperature={float(self.temperature):.4g}, assignment={self.assignment!r}"
        )
