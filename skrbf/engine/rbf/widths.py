"""Parametrization of units by the width of each unit in each feature."""

import torch
from torch import Tensor

from skrbf.engine.rbf.constants import WIDTH_RTOL
from skrbf.ops.rbf_units import RBFParameters


def units_of_data(
    centers: Tensor, widths: Tensor, mean: Tensor, scale: Tensor
) -> RBFParameters:
    """Build units for scaled rows from centers and widths (k, d) in units of the data.

    Where each width is the product of a width of the unit and a scale of the feature,
    the parameters are those: log activations then take one matrix product, not two. All
    arguments are float64.
    """
    # In few passes and copies, since every prediction does this.
    ratio = widths[:, :1] / widths[0, 0]  # (k, 1)
    is_product = _is_one((ratio * widths[0]).div_(widths))
    # Halves, since the difference of two large numbers may overflow.
    scaled = torch.add(-0.5 * mean, centers, alpha=0.5).div_(0.5 * scale)  # (k, d)
    if not is_product:
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
    """
    centers, log_widths, log_scales = units
    if width == "per_feature":
        log_widths = (log_widths + log_scales).expand(centers.shape)  # (k, d)
        return RBFParameters(centers, log_widths, torch.zeros_like(log_scales))
    if width == "per_center" and len(log_widths) == 1:
        log_widths = log_widths.expand(len(centers), -1)  # (k, 1) or (k, d)
    return RBFParameters(centers, log_widths, log_scales)
