"""Radial basis functions, as a layer and as a network for models of your own."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from skrbf.nn._arguments import (
    check_choice,
    check_dense,
    checked_centers,
    checked_count,
    flat_rows,
    holds,
)
from skrbf.ops.assignment import ASSIGNMENTS
from skrbf.ops.precision import computed_dtype, full_precision
from skrbf.ops.rbf import ACTIVATIONS, RBFParameters, coordinate_limit, log_activations


@full_precision
def _activations(
    units: RBFParameters, rows: Tensor, function: Callable[[Tensor], Tensor]
) -> Tensor:
    far = coordinate_limit(units)
    return function(log_activations(units, rows.clamp(-far, far)))  # (k, n)


@full_precision
def _output(activations: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return nn.functional.linear(activations, weight, bias)  # (..., q)


class RBFLayer(nn.Module):
    r"""Activations of units with learnable centers, widths and feature scales.

    :math:`\phi_{ik} = \exp(-\frac12 \sum_j (x_{ij} - c_{kj})^2 / \sigma_{kj}^2)`
    (:eq:`eq-gaussian`), or the log_activations normalized by a map.

    Parameters
    ----------
    centers : Tensor of shape (n_centers, n_features)
        Where the centers start, such as rows of the data, copied.
    widths : float or Tensor, default=1.0
        Where the widths start, positive: a number for all units together, a tensor of
        shape (n_centers, 1) for each unit, or of shape (n_centers, n_features) for each
        unit and feature.
    assignment : {None, "softmax", "entmax15", "sparsemax"}, default=None
        None leaves the activations Gaussian; a map normalizes them to sum to 1.

    Raises
    ------
    TypeError
        If `centers` is not a tensor of floating point numbers, or `widths` are not
        numbers.
    ValueError
        If `centers` is not a finite matrix, `widths` are not positive, of another
        shape, or so small that squares of centers over widths overflow, or `assignment`
        is not known.

    Notes
    -----
    O(n k d) a batch, and no tensor larger than the activations. Inputs should be
    centered and of a size near 1, as after a batch normalization. Unless each unit and
    feature has a width of its own, a scale for each feature is learned as well.

    Rows are given the precision of the centers, which is that of the result. Half
    precision is computed in float32 and then rounded; autocast changes nothing. A row
    so far away that its squares overflow is taken to be as near as they do not.

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
        centers = checked_centers(centers)
        if assignment is not None:
            check_choice("assignment", assignment, ASSIGNMENTS)
        start = _checked_widths(widths, centers)
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
        if not holds(has_room):
            raise ValueError(
                "widths must be so large that the squares of centers over widths are "
                f"finite in {computed_dtype(centers.dtype)}; give rows and centers a "
                "size near 1."
            )

    @property
    def _units(self) -> RBFParameters:
        """Parameters of the units, as the kernels take them."""
        return RBFParameters(self.centers, self.log_widths, self.log_scales)

    def forward(self, rows: Tensor) -> Tensor:
        """Activations.

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
            If the rows have another number of features than the centers.
        """
        flat = flat_rows(rows, self.centers)  # (n, d)
        activation = ACTIVATIONS[self.assignment or "gaussian"]
        phi = _activations(self._units, flat, activation.function)  # (k, n)
        shape = *rows.shape[:-1], len(self.centers)
        return phi.t().reshape(shape).to(self.centers.dtype)  # (..., k)

    def extra_repr(self) -> str:
        """Shape and settings, for ``repr``."""
        n_centers, n_features = self.centers.shape
        return (
            f"n_features={n_features}, n_centers={n_centers}, "
            f"widths={tuple(self.log_widths.shape)}, assignment={self.assignment!r}"
        )


class RBFNetwork(nn.Module):
    """A layer of radial basis functions and a linear output (:eq:`eq-network`).

    Parameters
    ----------
    units : RBFLayer
    n_outputs : int
        Such as the number of classes. The output starts at 0.

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
        n_outputs = checked_count("n_outputs", n_outputs)
        self.units = units
        like = units.centers
        n_centers = like.shape[0]
        weight = torch.zeros(n_outputs, n_centers, dtype=like.dtype, device=like.device)
        bias = torch.zeros(n_outputs, dtype=like.dtype, device=like.device)
        self.weight = nn.Parameter(weight)  # (q, k)
        self.bias = nn.Parameter(bias)  # (q,)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits.

        Parameters
        ----------
        rows : Tensor of shape (..., n_features)

        Returns
        -------
        Tensor of shape (..., n_outputs)
        """
        return _output(self.units(rows), self.weight, self.bias)


def _checked_widths(widths: Any, centers: Tensor) -> Tensor:
    """Positive widths as a matrix of the precision of the centers."""
    k, d = centers.shape
    try:
        made = torch.as_tensor(widths, dtype=centers.dtype, device=centers.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            "widths must be a positive number or a tensor of such, got "
            f"{type(widths).__name__}."
        ) from error
    check_dense("widths", made)
    made = made.reshape(1, 1) if made.ndim == 0 else made
    if made.shape not in {(1, 1), (k, 1), (k, d)}:
        raise ValueError(
            f"widths must be a number or of shape {(k, 1)} or {(k, d)}, got "
            f"{tuple(made.shape)}."
        )
    if not holds((made > 0) & made.isfinite()):
        raise ValueError(
            "widths must be positive, finite and not 0 in the precision of the centers."
        )
    return made
