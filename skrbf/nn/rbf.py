"""Radial basis functions, as a layer and as a network for models of your own."""

import torch
from torch import Tensor, nn

from skrbf.ops.rbf import ACTIVATIONS, Units, exponents


class RBFLayer(nn.Module):
    r"""Activations of units with learnable centers, widths and feature scales.

    :math:`\phi_{ik} = \exp(-\frac12 \sum_j (x_{ij} - c_{kj})^2 / \sigma_{kj}^2)`
    (:eq:`eq-gaussian`), or the exponents normalised by a map.

    Parameters
    ----------
    centers : Tensor of shape (n_centers, n_features)
        Where the centers start, such as rows of the data, copied.
    widths : float or Tensor, default=1.0
        Where the widths start, positive: a number for all units together, a tensor of
        shape (n_centers, 1) for each unit, or of shape (n_centers, n_features) for each
        unit and feature.
    assignment : {None, "softmax", "entmax15"}, default=None
        None leaves the activations Gaussian; a map normalises them to sum to 1.

    Raises
    ------
    ValueError
        If `centers` is not a matrix, `widths` are not positive or of another shape, or
        `assignment` is not known.

    Notes
    -----
    O(n k d) a batch, and no tensor larger than the activations. Inputs should be
    centred and of a size near 1, as after a batch normalisation. Unless each unit and
    feature has a width of its own, a scale for each feature is learned as well.

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
        if centers.ndim != 2:
            raise ValueError(
                f"centers must be a matrix, got a tensor of shape {centers.shape}."
            )
        if assignment is not None and assignment not in ACTIVATIONS:
            raise ValueError(
                f"assignment must be None or one of {sorted(ACTIVATIONS)}, got "
                f"{assignment!r}."
            )
        k, d = centers.shape
        start = torch.as_tensor(widths, dtype=centers.dtype, device=centers.device)
        start = start.reshape(1, 1) if start.ndim == 0 else start
        if start.shape not in {(1, 1), (k, 1), (k, d)}:
            raise ValueError(
                f"widths must be a number or of shape {(k, 1)} or {(k, d)}, got "
                f"{tuple(start.shape)}."
            )
        if not bool((start > 0).all()):
            raise ValueError("widths must be positive.")
        self.assignment = assignment
        self.centers = nn.Parameter(centers.detach().clone())  # (k, d)
        self.log_widths = nn.Parameter(start.detach().log())
        scales = torch.zeros(d, dtype=centers.dtype, device=centers.device)
        if start.shape == (k, d) and d > 1:
            self.register_buffer("log_scales", scales)
        else:
            self.log_scales = nn.Parameter(scales)

    @property
    def units(self) -> Units:
        """Its parameters, for the functions of :mod:`skrbf.ops`."""
        return Units(self.centers, self.log_widths, self.log_scales)

    def forward(self, rows: Tensor) -> Tensor:
        """Activations.

        Parameters
        ----------
        rows : Tensor of shape (..., n_features)

        Returns
        -------
        Tensor of shape (..., n_centers)
        """
        flat = rows.reshape(-1, rows.shape[-1])  # (n, d)
        activation = ACTIVATIONS[self.assignment or "gaussian"]
        phi = activation.function(exponents(self.units, flat))  # (k, n)
        return phi.t().reshape(*rows.shape[:-1], -1)  # (..., k)

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
        return nn.functional.linear(self.units(rows), self.weight, self.bias)
