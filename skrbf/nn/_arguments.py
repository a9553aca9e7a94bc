"""What the layers ask of their arguments."""

from typing import Any

import torch
from torch import Tensor


def checked_centers(centers: Any) -> Tensor:
    """`centers`, if layers can start from them: a finite matrix; else an error."""
    if not (isinstance(centers, Tensor) and centers.is_floating_point()):
        raise TypeError(
            "centers must be a tensor of floating point numbers, such as "
            f"torch.from_numpy(array); got {type(centers).__name__}"
            f"{' of ' + str(centers.dtype) if hasattr(centers, 'dtype') else ''}."
        )
    if centers.ndim != 2 or 0 in centers.shape:
        raise ValueError(
            "centers must be a matrix of at least one row and one column, got a tensor "
            f"of shape {tuple(centers.shape)}."
        )
    if not holds(centers.isfinite()):
        raise ValueError("centers must be finite, without NaN.")
    return centers


def flat_rows(rows: Any, centers: Tensor) -> Tensor:
    """Rows (..., d) as a matrix (n, d) of the precision of the centers; or an error."""
    if not isinstance(rows, Tensor):
        raise TypeError(f"rows must be a tensor, got {type(rows).__name__}.")
    n_features = centers.shape[1]
    if rows.shape[-1:] != (n_features,):
        raise ValueError(
            f"rows must have {n_features} features along their last axis, as the "
            f"centers do; got a tensor of shape {tuple(rows.shape)}."
        )
    return rows.reshape(-1, n_features).to(centers.dtype)


def holds(condition: Tensor) -> bool:
    """Whether a condition is met everywhere, as far as there are values to tell."""
    return condition.is_meta or bool(torch.all(condition))
