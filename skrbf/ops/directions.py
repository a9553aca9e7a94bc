"""Directions: the main axis of a covariance, and a fixed generic direction."""

from collections.abc import Callable

import torch
from torch import Tensor

from skrbf.ops.precision import full_precision


def fixed_direction(like: Tensor) -> Tensor:
    r"""Return a fixed vector (d,) that no covariance or symmetry of data singles out.

    :math:`\cos j^2` for j from 1 to d, not of unit length. `like` (..., d) gives d, the
    dtype and the device.
    """
    # Squares of large numbers need float64, which some devices lack.
    number = torch.arange(1, like.shape[-1] + 1, dtype=torch.float64, device="cpu")
    return torch.cos(number * number).to(like)  # (d,)


def leading_eigenpair(
    product: Callable[[Tensor], Tensor], start: Tensor, n_steps: int
) -> tuple[Tensor, Tensor]:
    """Compute the leading eigenpair of a covariance given by its products.

    Parameters
    ----------
    product : callable
        ``product(vector of shape (d,)) -> Tensor of shape (d,)`` by a symmetric,
        positive semidefinite matrix, possibly summed over chunks or machines. Vectors
        have the dtype of `start`.
    start : Tensor of shape (d,)
        A guess, such as a column of the covariance. May be zero or orthogonal to the
        eigenvector.
    n_steps : int
        Number of products.

    Returns
    -------
    vector : Tensor of shape (d,)
        Of unit length; its entry of largest magnitude is positive.
    value : Tensor of shape ()

    Notes
    -----
    Lanczos' method with full orthogonalization: `n_steps` products and
    O(d n_steps^2). It finds the best vector of the Krylov space, where power iteration
    takes the last one, so it needs far fewer products.

    Examples
    --------
    >>> import torch
    >>> scale = torch.tensor([1.0, 3.0])
    >>> vector, value = leading_eigenpair(lambda v: scale * v, torch.ones(2), 2)
    >>> round(float(value), 4)
    3.0
    """
    dtype = start.dtype

    def wide_product(vector: Tensor) -> Tensor:
        return product(vector.to(dtype)).to(vector.dtype)

    return _lanczos(wide_product, start, min(n_steps, start.shape[0]))


@full_precision
def _lanczos(
    product: Callable[[Tensor], Tensor], start: Tensor, n_steps: int
) -> tuple[Tensor, Tensor]:
    noise = 64.0 * torch.finfo(start.dtype).eps
    basis = start.new_zeros(n_steps, start.shape[0])  # (s, d)
    images = torch.zeros_like(basis)  # (s, d)
    vector = _perturb_start(start)
    for step in range(n_steps):
        size = torch.linalg.vector_norm(vector)
        vector = vector - (basis @ vector) @ basis
        vector = vector - (basis @ vector) @ basis  # twice is enough
        length = torch.linalg.vector_norm(vector)
        # A remainder of rounding size means that the space is complete: zeros follow.
        basis[step] = torch.where(length > noise * size, vector / length, 0.0)
        images[step] = vector = product(basis[step])
    # Solvers in single precision fail on matrices of low rank.
    projected = (images @ basis.t()).cpu().double()  # (s, s)
    values, vectors = torch.linalg.eigh((projected + projected.t()) / 2.0)
    return _orient(vectors[:, -1].to(basis) @ basis, values[-1].to(basis))


def _perturb_start(start: Tensor) -> Tensor:
    """Add a small multiple of a fixed direction, lest `start` be orthogonal."""
    generic = fixed_direction(start)  # (d,)
    length = torch.linalg.vector_norm(start)
    share = torch.where(length > 0, 0.1 * length, 1.0)
    return start + generic * (share / torch.linalg.vector_norm(generic))


def _orient(vector: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Make the largest entry positive; return a unit vector for zero variance."""
    vector = vector * vector[vector.abs().argmax()].sign()
    unit = torch.zeros_like(vector)
    unit[0] = 1.0
    value = value.clamp_min(0.0)
    return torch.where(value > 0, vector, unit), value
