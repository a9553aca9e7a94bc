r"""How alike the units of a layer are: the metric of its output.

A function of the units, :math:`\sum_k v_k \phi_k`, has the squared norm
:math:`v^\top K v`, with a kernel :math:`K` between units (:eq:`eq-unit-kernel`). It is
that of kernel machines, where every row is a unit.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.ops.rbf import Activation, Units, exponents

# Of the mean eigenvalue: what is added to all, so that units that are nearly the same
# do not get weights without end.
_FLOOR = 1e-2


class Kernel(NamedTuple):
    """A symmetric positive definite matrix (k, k) with its root.

    Attributes
    ----------
    matrix : Tensor of shape (k, k)
    root : Tensor of shape (k, k)
        Symmetric; its square is `matrix`.
    inverse : Tensor of shape (k, k)
        Of the root.
    """

    matrix: Tensor
    root: Tensor
    inverse: Tensor


def unit_kernel(units: Units, activation: Activation) -> Kernel:
    r"""The kernel between units (:eq:`eq-unit-kernel`).

    The activations of the units at each other's centers, made symmetric: for Gaussian
    units of one width the Gaussian kernel itself. Negative eigenvalues, which other
    units may have, count as 0, and then a hundredth of the mean is added to all.

    Parameters
    ----------
    units : Units
    activation : Activation

    Returns
    -------
    Kernel
        Of the dtype and on the device of the units.

    Notes
    -----
    O(k^3): one eigendecomposition, in float64 on the CPU.

    Examples
    --------
    >>> import torch
    >>> from skrbf.ops.rbf import ACTIVATIONS
    >>> units = Units(torch.tensor([[0.0], [2.0]]), torch.zeros(1, 1), torch.zeros(1))
    >>> unit_kernel(units, ACTIVATIONS["gaussian"]).matrix
    tensor([[1.0100, 0.1353],
            [0.1353, 1.0100]])
    """
    centers = units.centers
    # In float64, or narrow units would not be 1 at their own centers.
    exact = Units(*(part.cpu().double() for part in units))
    alike = activation.function(exponents(exact, exact.centers)).nan_to_num()  # (k, k)
    values, vectors = torch.linalg.eigh((alike + alike.t()) / 2)
    values = values.clamp_min(0.0)
    mean = float(values.mean())
    values = values + _FLOOR * (mean if mean > 0 else 1.0)  # (k,)
    parts = (
        ((vectors * power) @ vectors.t()).to(centers)
        for power in (values, values.sqrt(), values.rsqrt())
    )
    return Kernel(*parts)
