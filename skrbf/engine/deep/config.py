"""Settings of a deep fit."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.deep.center_updates import BatchUpdate, EpochUpdate
from skrbf.ops.assignment import Assignment
from skrbf.ops.clustering import CenteringLoss


class TrainingConfig(NamedTuple):
    """Settings of the training of the network.

    Attributes
    ----------
    pretrain_epochs : int
        0 for a network that is trained already.
    batch_size : int
    learning_rate : float
    denoising : float
        Fraction of the entries of a row that are masked in pretraining.
    augment : callable or None
        ``augment(rows)``, of scaled rows (b, d).
    has_user_code : bool
        Whether the network or `augment` may draw from torch's own generator.
    """

    pretrain_epochs: int
    batch_size: int
    learning_rate: float
    denoising: float
    augment: Callable[[Tensor], Tensor] | None
    has_user_code: bool


class ClusteringConfig(NamedTuple):
    """Settings of the clustering of the codes.

    Attributes
    ----------
    n_epochs, n_clusters : int
    weight : float
        Weight of the centering loss, and of the scale penalty.
    temperature : float
        Relative to twice the largest variance of the codes.
    assignment : Assignment
    loss : callable
        See `skrbf.ops.clustering.CENTERING_LOSSES`.
    penalize_scale : bool
        Whether the scale penalty is added to the loss.
    differentiate_assignments : bool
    assign_once_per_epoch : bool
        Whether the responsibilities in an epoch are those of the codes before it.
    reinit_interval : int or None
        Epochs between two runs of K-means.
    grow_centers : bool
        Whether this K-means grows its centers instead of starting from the present
        ones.
    weight_reset : float or None
        Fraction of the fresh draw in the reset weights.
    tol : float
    learn_centers : bool, default=False
        Whether the optimizer trains the centers.
    update_after_batch, update_after_epoch : callable or None, default=None
        See `skrbf.engine.deep.center_updates.CENTER_UPDATES`.
    """

    n_epochs: int
    n_clusters: int
    weight: float
    temperature: float
    assignment: Assignment
    loss: CenteringLoss
    penalize_scale: bool
    differentiate_assignments: bool
    assign_once_per_epoch: bool
    reinit_interval: int | None
    grow_centers: bool
    weight_reset: float | None
    tol: float
    learn_centers: bool = False
    update_after_batch: BatchUpdate | None = None
    update_after_epoch: EpochUpdate | None = None


def augment_in_data_units(
    rows: Tensor,
    augment: Callable[[Tensor], Tensor],
    mean: Tensor,
    scale: Tensor,
    input_shape: tuple[int, ...] | None,
) -> Tensor:
    r"""Augment scaled rows by a function of rows in units of the data.

    Parameters
    ----------
    rows : Tensor of shape (b, d)
    augment : callable
        Takes a batch (b, d), or (b, \*input_shape) if there is an `input_shape`.
    mean, scale : Tensor of shape (d,)
    input_shape : tuple of int or None

    Raises
    ------
    ValueError
        If `augment` raises an error, or returns anything but a tensor of the shape of
        its argument.
    """
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
