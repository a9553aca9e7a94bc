r"""Leave-one-out error of ridge regression."""

import torch
from torch import Tensor

from skrbf.ops.precision import full_precision


@full_precision
def leave_one_out(
    features: Tensor, targets: Tensor, weight: Tensor, penalties: Tensor
) -> Tensor:
    r"""Compute the leave-one-out error of ridge regression (:eq:`eq-leave-one-out`).

    The regression has an intercept without a penalty (:eq:`eq-ridge`), and is not
    refitted. Each row is left out with all of its weight.

    Parameters
    ----------
    features : Tensor of shape (k, n)
        For example, the activations of units.
    targets : Tensor of shape (q, n)
    weight : Tensor of shape (n,)
        Positive; their sum is 1.
    penalties : Tensor of shape (p,)
        Positive factors of the squared norm of the coefficients, which is added to the
        weighted mean of the squared errors.

    Returns
    -------
    Tensor of shape (p,)
        Error :math:`\sum_i w_i \lVert y_i - \hat y_i^{(-i)} \rVert^2` for each penalty.

    Notes
    -----
    O(k^2 (n + k) + p k q n), with one eigendecomposition for all penalties. It needs
    double precision.
    """
    centered = features - (features @ weight)[:, None]  # (k, n)
    y = targets - (targets @ weight)[:, None]  # (q, n)
    values, vectors = torch.linalg.eigh((centered * weight) @ centered.t())
    z = vectors.t() @ centered  # (k, n)
    cross = (y * weight) @ z.t()  # (q, k)
    squares = z * z
    errors = []
    for penalty in penalties:
        shrinkage = 1.0 / (values.clamp_min(0.0) + penalty)  # (k,)
        leverage = weight * (1.0 + shrinkage @ squares)  # (n,)
        residual = y - (cross * shrinkage) @ z  # (q, n)
        # A single row has a leverage of 1 and a residual of 0.
        denominator = (1.0 - leverage).clamp_min(torch.finfo(z.dtype).eps)
        errors.append((residual / denominator).square().sum(0) @ weight)
    return torch.stack(errors)  # (p,)
