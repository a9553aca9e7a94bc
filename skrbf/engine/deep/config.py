"""Settings of a deep fit."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.deep.center_updates import BatchUpdate, EpochUpdate
from skrbf.ops.assignment import Assignment
from skrbf.ops.centering import CenteringLoss


class TrainingConfig(NamedTuple):
    """Settings of the training of the network."""

    pretrain_epochs: int  # 0 for a network that is trained already
    batch_size: int
    learning_rate: float
    denoising: float  # fraction of the entries of a row that are masked in pretraining
    augment: Callable[[Tensor], Tensor] | None  # of scaled rows (b, d)
    has_user_code: bool  # that may draw from torch's own generator


class ClusteringConfig(NamedTuple):
    """Settings of the clustering of the codes."""

    n_epochs: int
    n_clusters: int
    weight: float  # of the centering loss and the scale penalty
    temperature: float  # relative to twice the largest variance of the codes
    assignment: Assignment
    loss: CenteringLoss
    penalize_scale: bool
    differentiate_assignments: bool
    assign_once_per_epoch: bool  # from the codes before the epoch
    reinit_interval: int | None  # epochs between two runs of K-means
    grow_centers: bool  # instead of starting this K-means from the present ones
    weight_reset: float | None  # fraction of the fresh draw in the reset weights
    tol: float
    # One of `skrbf.engine.deep.center_updates.CENTER_UPDATES`.
    learn_centers: bool = False  # by the optimizer
    update_after_batch: BatchUpdate | None = None
    update_after_epoch: EpochUpdate | None = None


def augment_in_data_units(
    rows: Tensor,
    augment: Callable[[Tensor], Tensor],
    mean: Tensor,
    scale: Tensor,
    input_shape: tuple[int, ...] | None,
) -> Tensor:
    """Augment scaled rows (b, d) by a function of rows in units of the data."""
    given = rows * scale + mean  # (b, d)
    if input_shape is not None:
        given = given.reshape(-1, *input_shape)
    shape = tuple(given.shape)
    try:
        with torch.no_grad():
            augmented = augment(given)
    except Exception as error:
        raise ValueError(
            f"augment was called as augment(rows), with a tensor of shape {shape}, "
            f"and raised {type(error).__name__}: {error}"
        ) from error
    if not isinstance(augmented, Tensor) or tuple(augmented.shape) != shape:
        is_tensor = isinstance(augmented, Tensor)
        returned = tuple(augmented.shape) if is_tensor else type(augmented)
        raise ValueError(
            f"augment must return a tensor of the shape of its argument, {shape}, but "
            f"returned {returned}."
        )
    return (augmented.to(rows).reshape(rows.shape) - mean) / scale
