"""Parametrization of units by the width of each unit in each feature."""

import torch
from torch import Tensor

from skrbf.engine.rbf.constants import WIDTH_RTOL
from skrbf.ops.rbf import RBFParameters


def units_of_widths(centers: Tensor, widths: Tensor) -> RBFParameters:
    """Build units from the width of each unit in each feature.

    Where each width is the product of a width of the unit and a scale of the feature,
    the parameters are those: log activations then take one matrix product, not two.

    Parameters
    ----------
    centers, widths : Tensor of shape (k, d), float64

    Returns
    -------
    RBFParameters
        Its log-widths have the shape (1, 1) if all units have the same widths, (k, 1)
        if widths are such products, and (k, d) otherwise.
    """
    ratio = widths[:, :1] / widths[0, 0]  # (k, 1)
    if not torch.allclose(widths, ratio * widths[0], rtol=WIDTH_RTOL, atol=0.0):
        return RBFParameters(centers, widths.log(), torch.zeros_like(widths[0]))
    log_scales = widths[0].log()  # (d,)
    mean = log_scales.mean()
    log_widths = ratio.log() + mean  # (k, 1)
    if torch.allclose(ratio, ratio[:1], rtol=WIDTH_RTOL, atol=0.0):
        log_widths = log_widths[:1]  # (1, 1)
    return RBFParameters(centers, log_widths, log_scales - mean)


def parametrize(units: RBFParameters, width: str) -> RBFParameters:
    """Give units the log-widths that training needs for a kind of width.

    Units whose widths are more diverse than `width` allows keep them.

    Parameters
    ----------
    units : RBFParameters
    width : {"per_center", "global", "per_feature"}
    """
    centers, log_widths, log_scales = units
    if width == "per_feature":
        log_widths = (log_widths + log_scales).expand(centers.shape)  # (k, d)
        return RBFParameters(centers, log_widths, torch.zeros_like(log_scales))
    if width == "per_center" and len(log_widths) == 1:
        log_widths = log_widths.expand(len(centers), -1)  # (k, 1) or (k, d)
    return RBFParameters(centers, log_widths, log_scales)
