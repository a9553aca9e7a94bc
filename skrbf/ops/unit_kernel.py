r"""Kernel matrix between the units of a layer.

A function of the units, :math:`\sum_k v_k \phi_k`, has the squared norm
:math:`v^\top K v` with the kernel matrix :math:`K` (:eq:`eq-unit-kernel`). It is the
norm of kernel machines, in which every row is a unit.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.ops.rbf_units import Activation, RBFParameters, log_activations

# Ridge on the kernel matrix, in units of its mean eigenvalue. It bounds the output
# weights of units that nearly coincide. Not measured by itself; the constant is part of
# eq-unit-kernel, and benchmarks/results/classifiers.md has the accuracy with it.
_KERNEL_RIDGE = 1e-2


class UnitKernel(NamedTuple):
    """Kernel matrix between units, with its root."""

    matrix: Tensor  # (k, k), positive definite
    root: Tensor  # (k, k), symmetric; its square is the matrix
    inverse_root: Tensor  # (k, k)


def unit_kernel(units: RBFParameters, activation: Activation) -> UnitKernel:
    """Compute the kernel matrix between units and its root (:eq:`eq-unit-kernel`).

    The kernel has the activations of the units at each other's centers, made symmetric:
    for Gaussian units of one width it is the Gaussian kernel. Other units may have
    negative eigenvalues, which are set to 0. Then a hundredth of the mean eigenvalue is
    added to all.

    O(k^3): one eigendecomposition, in float64 on the CPU.
    """
    centers = units.centers
    # In float32, narrow units would not have the activation 1 at their own centers.
    exact = RBFParameters(*(part.cpu().double() for part in units))
    z = log_activations(exact, exact.centers)  # (k, k)
    mutual = activation.function(z).nan_to_num()  # (k, k)
    values, vectors = torch.linalg.eigh((mutual + mutual.t()) / 2)
    values = values.clamp_min(0.0)
    mean = float(values.mean())
    values = values + _KERNEL_RIDGE * (mean if mean > 0 else 1.0)  # (k,)
    powers = values, values.sqrt(), values.rsqrt()
    return UnitKernel(
        *(((vectors * power) @ vectors.t()).to(centers) for power in powers)
    )
