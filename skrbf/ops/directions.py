"""Directions: where a cluster is longest, and one that no data single out."""

from collections.abc import Callable

import torch
from torch import Tensor

from skrbf.ops.precision import full_precision


def fixed_direction(like: Tensor) -> Tensor:
    r"""A direction that no covariance and no symmetry of data single out.

    Parameters
    ----------
    like : Tensor of shape (..., d)
        Gives the number of features, the dtype and the device.

    Returns
    -------
    Tensor of shape (d,)
        :math:`\cos j^2` for j from 1 to d: not of unit length.

    Examples
    --------
    >>> import torch
    >>> fixed_direction(torch.zeros(2))
    tensor([ 0.5403, -0.6536])
    """
    # Squares of large numbers need float64, which not every device has.
    number = torch.arange(1, like.shape[-1] + 1, dtype=torch.float64, device="cpu")
    return torch.cos(number * number).to(like)  # (d,)


def leading_eigenpair(
    product: Callable[[Tensor], Tensor], start: Tensor, n_steps: int
) -> tuple[Tensor, Tensor]:
    """Leading eigenpair of a covariance that is known by its products only.

    Parameters
    ----------
    product : callable
        ``product(vector of shape (d,)) -> Tensor of shape (d,)``: symmetric, not
        negative. It may run over chunks, or machines.
    start : Tensor of shape (d,)
        A guess, such as a column of the covariance. May be orthogonal to the answer,
        and may be zero. Vectors that the product is given have its dtype.
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
    O(d n_steps^2). It finds the best vector of the same Krylov space of which power
    iteration finds the last, so it needs far fewer products.

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
    vector = _generic(start)
    for step in range(n_steps):
        size = torch.linalg.vector_norm(vector)
        vector = vector - (basis @ vector) @ basis
        vector = vector - (basis @ vector) @ basis  # twice is enough
        length = torch.linalg.vector_norm(vector)
        # What is left may be rounding: then the space is complete, and zeros follow.
        basis[step] = torch.where(length > noise * size, vector / length, 0.0)
        images[step] = vector = product(basis[step])
    # Solvers in single precision fail on matrices of low rank.
    projected = (images @ basis.t()).cpu().double()  # (s, s)
    values, vectors = torch.linalg.eigh((projected + projected.t()) / 2.0)
    return _oriented(vectors[:, -1].to(basis) @ basis, values[-1].to(basis))


def _generic(start: Tensor) -> Tensor:
    """`start`, plus a little of a fixed vector that no covariance singles out."""
    generic = fixed_direction(start)  # (d,)
    length = torch.linalg.vector_norm(start)
    share = torch.where(length > 0, 0.1 * length, 1.0)
    return start + generic * (share / torch.linalg.vector_norm(generic))


def _oriented(vector: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Fix the sign, and what is returned where there is no variance."""
    vector = vector * vector[vector.abs().argmax()].sign()
    unit = torch.zeros_like(vector)
    unit[0] = 1.0
    value = value.clamp_min(0.0)
    return torch.where(value > 0, vector, unit), value
