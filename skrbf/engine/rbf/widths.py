"""Parametrization of units by the width of each unit in each feature."""

import torch
from torch import Tensor

from skrbf.engine.rbf.constants import WIDTH_RTOL
from skrbf.ops.rbf import RBFParameters


def units_of_data(
    centers: Tensor, widths: Tensor, mean: Tensor, scale: Tensor
) -> RBFParameters:
    """Build units for scaled rows from centers and widths in units of the data.

    Where each width is the product of a width of the unit and a scale of the feature,
    the parameters are those: log activations then take one matrix product, not two.

    Parameters
    ----------
    centers, widths : Tensor of shape (k, d), float64
    mean, scale : Tensor of shape (d,), float64
        Center and scale of each feature.

    Returns
    -------
    RBFParameters
        Its log-widths have the shape (1, 1) if all units have the same widths, (k, 1)
        if widths are such products, and (k, d) otherwise.
    """
    # Halves, since the difference of two large numbers may overflow. In place, since
    # every prediction does this.
    scaled = (0.5 * centers).sub_(0.5 * mean).div_(0.5 * scale)  # (k, d)
    ratio = widths[:, :1] / widths[0, 0]  # (k, 1)
    if not _is_one((ratio * widths[0]).div_(widths)):
        log_widths = (widths / scale).log_()  # (k, d)
        return RBFParameters(scaled, log_widths, torch.zeros_like(scale))
    log_scales = (widths[0] / scale).log()  # (d,)
    mean_log_scale = log_scales.mean()
    log_widths = ratio.log() + mean_log_scale  # (k, 1)
    if _is_one(ratio):
        log_widths = log_widths[:1]  # (1, 1)
    return RBFParameters(scaled, log_widths, log_scales - mean_log_scale)


def _is_one(ratio: Tensor) -> bool:
    """Tell whether all entries are 1, up to rounding."""
    low, high = ratio.aminmax()
    return bool(low >= 1.0 - WIDTH_RTOL) and bool(high <= 1.0 + WIDTH_RTOL)


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
