"""A fixed generic direction."""

import torch
from torch import Tensor


def fixed_direction(like: Tensor) -> Tensor:
    r"""Return a fixed vector (d,) that no covariance or symmetry of data singles out.

    :math:`\cos j^2` for j from 1 to d, not of unit length. `like` (..., d) gives d, the
    dtype and the device.
    """
    # Squares of large numbers need float64, which some devices lack.
    number = torch.arange(1, like.shape[-1] + 1, dtype=torch.float64, device="cpu")
    return torch.cos(number * number).to(like)  # (d,)
