"""The rows of a fit, made ready to train on: merged, weighted, scaled, held out."""

import sys
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.data.compute import Compute
from skrbf.engine.data.rows import DenseRows
from skrbf.engine.data.scaling import Scaling
from skrbf.engine.data.training_data import TrainingData
from skrbf.engine.data.training_data import prepare as prepare_data
from skrbf.engine.rbf.objective import Task
from skrbf.ops.rbf import Activation

# A penalty that leaves no output, and that single precision can still hold.
_MOST_ALPHA = 1e15


class Target(NamedTuple):
    """What is asked of the rows."""

    labels: Tensor  # (n,) int64
    weight: Tensor | None  # (n,) float64
    unit: float  # of the weights
    n_classes: int
    activation: Activation
    alpha: float  # beside the sum of the losses of rows
    pull: float
    smoothing: float
    compute: Compute
    own_scales: bool  # whether a scaling that is measured has one for each feature


class Prepared(NamedTuple):
    """Rows to train on, and where they come from."""

    task: Task
    held_out: Task | None
    number: Tensor  # (m,) numbers of the rows of `task` in the data
    scaling: Scaling
    n_points: int  # distinct rows to train on, whatever their label
    seen: float  # weight of all rows so far


def prepare(
    rows: DenseRows,
    target: Target,
    scaling: Scaling | None,
    validation: tuple[float, torch.Generator] | None,
    seen: float = 0.0,
) -> Prepared:
    """Merge equal rows, scale them, and hold some out.

    Parameters
    ----------
    rows : DenseRows
        On the host.
    scaling : Scaling or None
        That of an earlier fit to go on with; None measures it (eq-scaling).
    validation : (fraction, generator) or None
    seen : float
        Weight of the rows that were trained on before.
    """
    data, held_out = prepare_data(
        rows,
        target.labels,
        target.weight,
        target.compute,
        scaling=scaling,
        per_feature=target.own_scales,
        validation=validation,
    )
    seen += target.unit * data.weight_sum
    alpha = min(target.alpha / max(seen, sys.float_info.min), _MOST_ALPHA)
    return Prepared(
        _task(data, target, alpha),
        None if held_out is None else _task(held_out, target, alpha),
        data.row_index,
        data.scaling,
        data.n_points,
        seen,
    )


def _task(data: TrainingData, target: Target, alpha: float) -> Task:
    return Task(
        data.rows,
        data.labels,
        data.weight / len(data.weight),
        target.n_classes,
        target.activation,
        alpha,
        target.pull,
        target.smoothing,
        target.compute,
    )
