r"""Ridge regression, judged on rows that it has not seen."""

import torch
from torch import Tensor

from skrbf.ops.precision import full_precision


@full_precision
def leave_one_out(
    features: Tensor, targets: Tensor, weight: Tensor, penalties: Tensor
) -> Tensor:
    r"""Mean squared error on rows left out one by one (:eq:`eq-leave-one-out`).

    Of the ridge regression with an intercept that is not penalized
    (:eq:`eq-ridge`), without refitting it: a row is left out with all its weight.

    Parameters
    ----------
    features : Tensor of shape (k, n)
        Such as the activations of units.
    targets : Tensor of shape (q, n)
    weight : Tensor of shape (n,)
        Positive, summing to 1.
    penalties : Tensor of shape (p,)
        On the squared weights, beside the weighted mean of the squared errors;
        positive.

    Returns
    -------
    Tensor of shape (p,)
        :math:`\sum_i w_i \lVert y_i - \hat y_i^{(-i)} \rVert^2` for each penalty.

    Notes
    -----
    O(k^2 (n + k) + p k q n), with one eigendecomposition for all penalties; single
    precision is not enough.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[0.0, 1.0, 2.0]], dtype=torch.float64)
    >>> weight, penalties = torch.full_like(x[0], 1 / 3), x.new_tensor([1e-9, 1e9])
    >>> leave_one_out(x, x, weight, penalties).round(decimals=4)
    tensor([0.0000, 1.5000], dtype=torch.float64)
    """
    phi = features - (features @ weight)[:, None]  # (k, n)
    y = targets - (targets @ weight)[:, None]  # (q, n)
    values, vectors = torch.linalg.eigh((phi * weight) @ phi.t())
    z = vectors.t() @ phi  # (k, n)
    cross = (y * weight) @ z.t()  # (q, k)
    squares = z * z
    errors = []
    for penalty in penalties:
        shrunk = 1.0 / (values.clamp_min(0.0) + penalty)  # (k,)
        leverage = weight * (1.0 + shrunk @ squares)  # (n,)
        residual = y - (cross * shrunk) @ z  # (q, n)
        # A single row leaves nothing to predict it from, and no residual.
        left = (1.0 - leverage).clamp_min(torch.finfo(z.dtype).eps)
        errors.append((residual / left).square().sum(0) @ weight)
    return torch.stack(errors)  # (p,)
