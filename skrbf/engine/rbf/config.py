"""Settings of a fit of an RBF network."""

import math
from typing import NamedTuple

import torch

from skrbf.engine.rbf.constants import (
    ADAM_EPOCHS,
    ADAM_MIN_STEPS,
    BATCHES_PER_EPOCH,
    LBFGS_MAX_ITER,
    MAX_BATCH_SIZE,
    MIN_BATCH_SIZE,
    OUTPUT_MAX_ITER_ALONE,
    OUTPUT_MAX_ITER_BEFORE_JOINT,
)
from skrbf.engine.training.loop import Stopping


class RBFConfig(NamedTuple):
    """Settings of a fit, named like the parameters of the estimator.

    Attributes
    ----------
    n_centers : int
        At most the number of distinct rows.
    per_class : bool
    width : {"per_center", "global", "per_feature"}
    width_factor : float or None
        None chooses the factor with the lowest leave-one-out error.
    solver : {"adam", "lbfgs"}
    batch_size : int
    learning_rate : float
    stopping : Stopping
        Of the joint training. ``max_iter=0`` trains the output layer only.
    generator : torch.Generator
        On the CPU. It draws the order of the batches.
    """

    n_centers: int
    per_class: bool
    width: str
    width_factor: float | None
    solver: str
    batch_size: int
    learning_rate: float
    stopping: Stopping
    generator: torch.Generator


def resolve_solver(
    solver: str, max_iter: int | None, batch_size: int | None, n_rows: int
) -> tuple[str, int, int]:
    """Resolve the settings of the solver that were left open.

    Adam is the solver if there are several batches: its noise keeps a network of many
    parameters from fitting every row, and it was more accurate in cross-validation.

    Parameters
    ----------
    solver : {"auto", "adam", "lbfgs"}
    max_iter, batch_size : int or None
        None stands for "auto".
    n_rows : int
        Distinct rows to train on.

    Returns
    -------
    solver : {"adam", "lbfgs"}
    max_iter, batch_size : int
    """
    if batch_size is None:
        batch_size = 2 ** int(math.log2(max(1, n_rows / BATCHES_PER_EPOCH)))
        batch_size = min(max(batch_size, MIN_BATCH_SIZE), MAX_BATCH_SIZE)
    if solver == "auto":
        solver = "adam" if n_rows > batch_size else "lbfgs"
    if max_iter is None:
        max_iter = LBFGS_MAX_ITER
        if solver == "adam":
            steps_per_epoch = math.ceil(n_rows / batch_size)
            max_iter = max(ADAM_EPOCHS, math.ceil(ADAM_MIN_STEPS / steps_per_epoch))
    return solver, max_iter, batch_size


def output_max_iter(joint_max_iter: int) -> int:
    """Limit the iterations of the output layer, by whether joint training follows."""
    return OUTPUT_MAX_ITER_BEFORE_JOINT if joint_max_iter else OUTPUT_MAX_ITER_ALONE
