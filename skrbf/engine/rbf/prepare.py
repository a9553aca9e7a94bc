"""The rows of a fit, made ready to train on: merged, weighted, scaled, held out."""

import sys
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.data.compute import Compute
from skrbf.engine.data.deduplicate import distinct
from skrbf.engine.data.holdout import hold_out
from skrbf.engine.data.rows import DenseRows
from skrbf.engine.data.scaling import Scaling, measure, scaled
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
    found = distinct(rows, target.labels, target.weight)
    here = out = torch.arange(len(found.number), device="cpu")
    if validation is not None:
        here, out = hold_out(found.labels, found.weight, *validation)
    if scaling is None:
        labels = found.labels[here] if target.own_scales else None
        scaling = measure(rows, found.number[here], found.weight[here], labels)
    device = target.compute.device
    seen += target.unit * found.total * float(found.weight[here].sum())
    task = Task(
        scaled(rows, found.number, scaling).to(device),
        found.labels.to(device),
        found.weight.to(target.compute.dtype).to(device),
        target.n_classes,
        target.activation,
        min(target.alpha / max(seen, sys.float_info.min), _MOST_ALPHA),
        target.pull,
        target.smoothing,
        target.compute,
    )
    if validation is None:
        return Prepared(task, None, found.number, scaling, found.n_points, seen)
    # Without the rows held out there may be fewer points, and never more.
    n_points = min(found.n_points, len(task.rows[here.to(device)].unique(dim=0)))
    return Prepared(
        task.take(here.to(device)),
        task.take(out.to(device)),
        found.number[here],
        scaling,
        n_points,
        seen,
    )
