"""Radial basis functions as a layer and as a network, for models of users."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from skrbf.nn._arguments import (
    all_true,
    check_choice,
    check_dense,
    flatten_rows,
    validate_centers,
    validate_count,
)
from skrbf.ops.assignment import ASSIGNMENTS
from skrbf.ops.precision import compute_dtype, full_precision
from skrbf.ops.rbf_units import (
    ACTIVATIONS,
    RBFParameters,
    coordinate_limit,
    log_activations,
)


@full_precision
def _activations(
    units: RBFParameters, rows: Tensor, function: Callable[[Tensor], Tensor]
) -> Tensor:
    limit = coordinate_limit(units)
    return function(log_activations(units, rows.clamp(-limit, limit)))  # (k, n)


@full_precision
def _output(activations: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return nn.functional.linear(activations, weight, bias)  # (..., q)


class RBFLayer(nn.Module):
    r"""Layer of radial basis functions with trainable centers, widths and scales.

    :math:`\phi_{ik} = \exp(-\frac12 \sum_j (x_{ij} - c_{kj})^2 / \sigma_{kj}^2)`
    (:eq:`eq-gaussian`), or these log activations normalized by an assignment map.

    Parameters
    ----------
    centers : Tensor of shape (n_centers, n_features)
        Initial centers, which are copied; for example, rows of the data.
    widths : float or Tensor, default=1.0
        Initial widths, positive. A number is one width for all units, a tensor of shape
        (n_centers, 1) has one for each unit, and a tensor of shape
        (n_centers, n_features) one for each unit and feature.
    assignment : {None, "softmax", "entmax15", "sparsemax"}, default=None
        None leaves the activations Gaussian. A map normalizes them to sum to 1.

    Raises
    ------
    TypeError
        If `centers` is not a tensor of floating point numbers, or `widths` are not
        numbers.
    ValueError
        If `centers` is not a finite matrix, if `widths` have another shape, are not
        positive, or are so small that squares of centers over widths overflow, or if
        `assignment` is unknown.

    Notes
    -----
    O(n k d) for a batch, and no tensor is larger than the activations. Inputs should be
    centered and of a size near 1, as after batch normalization. Unless each unit and
    feature has its own width, a scale for each feature is trained as well.

    Rows are converted to the precision of the centers, which is that of the result.
    Half precision is computed in float32 and then rounded, and autocast has no effect.
    Coordinates are clipped to a range in which squares do not overflow.

    Examples
    --------
    >>> import torch
    >>> layer = RBFLayer(torch.tensor([[0.0], [1.0]]), widths=0.5)
    >>> layer(torch.tensor([[0.0], [0.5]])).detach().round(decimals=2)
    tensor([[1.0000, 0.1400],
            [0.6100, 0.6100]])
    """

    log_scales: Tensor

    def __init__(
        self,
        centers: Tensor,
        widths: float | Tensor = 1.0,
        assignment: str | None = None,
    ) -> None:
        super().__init__()
        centers = validate_centers(centers)
        if assignment is not None:
            check_choice("assignment", assignment, ASSIGNMENTS)
        start = _check_widths(widths, centers)
        self.assignment = assignment
        self.centers = nn.Parameter(centers.detach().clone())  # (k, d)
        self.log_widths = nn.Parameter(start.detach().log())
        scales = torch.zeros_like(self.centers.detach()[0])  # (d,)
        if start.shape == centers.shape and centers.shape[1] > 1:
            self.register_buffer("log_scales", scales)
        else:
            self.log_scales = nn.Parameter(scales)
        with torch.no_grad():
            has_room = centers.abs().amax().to(scales) <= coordinate_limit(self._units)
        if not all_true(has_room):
            raise ValueError(
                "widths must be so large that the squares of centers over widths are "
                f"finite in {compute_dtype(centers.dtype)}; scale rows and centers to "
                "a size near 1."
            )

    @property
    def _units(self) -> RBFParameters:
        """Parameters of the units for the functions of `ops`."""
        return RBFParameters(self.centers, self.log_widths, self.log_scales)

    def forward(self, rows: Tensor) -> Tensor:
        """Compute the activations.

        Parameters
        ----------
        rows : Tensor of shape (..., n_features)

        Returns
        -------
        Tensor of shape (..., n_centers)

        Raises
        ------
        TypeError
            If `rows` is not a dense tensor of real numbers.
        ValueError
            If rows and centers differ in their number of features.
        """
        flat = flatten_rows(rows, self.centers)  # (n, d)
        activation = ACTIVATIONS[self.assignment or "gaussian"]
        activations = _activations(self._units, flat, activation.function)  # (k, n)
        shape = *rows.shape[:-1], len(self.centers)
        return activations.t().reshape(shape).to(self.centers.dtype)  # (..., k)

    def extra_repr(self) -> str:
        """Return the shape and settings for ``repr``."""
        n_centers, n_features = self.centers.shape
        return (
            f"n_features={n_features}, n_centers={n_centers}, "
            f"widths={tuple(self.log_widths.shape)}, assignment={self.assignment!r}"
        )


class RBFNetwork(nn.Module):
    """Network of a layer of RBF units and a linear output layer (:eq:`eq-network`).

    Parameters
    ----------
    units : RBFLayer
    n_outputs : int
        Number of outputs, such as classes. Weights and biases start at 0.

    Raises
    ------
    TypeError
        If `units` is not an :class:`RBFLayer`.
    ValueError
        If `n_outputs` is not a positive integer.

    Examples
    --------
    >>> import torch
    >>> net = RBFNetwork(RBFLayer(torch.zeros(3, 2)), n_outputs=4)
    >>> net(torch.zeros(5, 2)).shape
    torch.Size([5, 4])
    """

    def __init__(self, units: RBFLayer, n_outputs: int) -> None:
        super().__init__()
        if not isinstance(units, RBFLayer):
            raise TypeError(f"units must be an RBFLayer, got {type(units).__name__}.")
        n_outputs = validate_count("n_outputs", n_outputs)
        self.units = units
        like = units.centers
        n_centers = like.shape[0]
        weight = torch.zeros(n_outputs, n_centers, dtype=like.dtype, device=like.device)
        bias = torch.zeros(n_outputs, dtype=like.dtype, device=like.device)
        self.weight = nn.Parameter(weight)  # (q, k)
        self.bias = nn.Parameter(bias)  # (q,)

    def forward(self, rows: Tensor) -> Tensor:
        """Compute the logits.

        Parameters
        ----------
        rows : Tensor of shape (..., n_features)

        Returns
        -------
        Tensor of shape (..., n_outputs)
        """
        return _output(self.units(rows), self.weight, self.bias)


def _check_widths(widths: Any, centers: Tensor) -> Tensor:
    """Check widths, and return them as a matrix of the dtype of the centers."""
    k, d = centers.shape
    try:
        matrix = torch.as_tensor(widths, dtype=centers.dtype, device=centers.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            "widths must be a positive number or a tensor of positive numbers, got "
            f"{type(widths).__name__}."
        ) from error
    check_dense("widths", matrix)
    matrix = matrix.reshape(1, 1) if matrix.ndim == 0 else matrix
    if matrix.shape not in {(1, 1), (k, 1), (k, d)}:
        raise ValueError(
            f"widths must be a number or of shape {(k, 1)} or {(k, d)}, got "
            f"{tuple(matrix.shape)}."
        )
    if not all_true((matrix > 0) & matrix.isfinite()):
        raise ValueError(
            "widths must be positive, finite and not 0 in the precision of the centers."
        )
    return matrix
