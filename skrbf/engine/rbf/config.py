"""Settings of a fit of an RBF network."""

import math
from typing import NamedTuple

import torch

from skrbf.engine.rbf import constants
from skrbf.engine.training.loop import Stopping


class RBFConfig(NamedTuple):
    """Settings of a fit, named like the parameters of the estimator."""

    n_centers: int  # at most the number of distinct rows
    per_class: bool
    width: str  # "per_center", "global", "per_feature"
    width_factor: float | None  # None: the one with the lowest leave-one-out error
    solver: str  # "adam", "lbfgs"
    batch_size: int
    learning_rate: float
    stopping: Stopping  # of joint training; max_iter=0 trains the output layer only
    generator: torch.Generator  # on the CPU, for the order of the batches


def resolve_solver(
    solver: str, max_iter: int | None, batch_size: int | None, n_rows: int
) -> tuple[str, int, int]:
    """Resolve the solver, `max_iter` and `batch_size` where they are left open.

    Adam is the solver if there are several batches: its noise keeps a network of many
    parameters from fitting every row, and it was more accurate in cross-validation.
    """
    if batch_size is None:
        batch_size = 2 ** int(math.log2(max(1, n_rows / constants.BATCHES_PER_EPOCH)))
        batch_size = max(batch_size, constants.MIN_BATCH_SIZE)
        batch_size = min(batch_size, constants.MAX_BATCH_SIZE)
    if solver == "auto":
        solver = "adam" if n_rows > batch_size else "lbfgs"
    if max_iter is None:
        max_iter = constants.LBFGS_MAX_ITER
        if solver == "adam":
            steps_per_epoch = math.ceil(n_rows / batch_size)
            max_iter = math.ceil(constants.ADAM_MIN_STEPS / steps_per_epoch)
            max_iter = max(constants.ADAM_EPOCHS, max_iter)
    return solver, max_iter, batch_size


def output_max_iter(joint_max_iter: int) -> int:
    """Limit the iterations of the output layer, by whether joint training follows."""
    if joint_max_iter:
        return constants.OUTPUT_MAX_ITER_BEFORE_JOINT
    return constants.OUTPUT_MAX_ITER_ALONE
