"""Growth: clusters split in the order of falling critical temperature."""

import torch
from torch import Tensor

from skrbf.engine.kmeans.constants import GROWTH_COOLING
from skrbf.engine.kmeans.lloyd import HardState, assign, step_record, update
from skrbf.engine.kmeans.problem import Problem
from skrbf.engine.kmeans.splits import split
from skrbf.engine.training.records import Descent, OnStep


def grow(
    problem: Problem, n_clusters: int, on_step: OnStep[Tensor]
) -> Descent[HardState]:
    """Grow centers from the weighted mean.

    The temperature falls from the critical one of all data. The clusters whose own
    critical temperature it passes split along their main axis. There are fewer clusters
    than asked for where the data have fewer distinct rows.
    """
    partition = assign(problem, problem.mean[None])
    centers, distortion = update(problem, partition)
    temperature, n_rounds, stopped = float("inf"), 0, False
    while len(centers) < n_clusters and not stopped:
        splits = split(problem, partition, centers)
        critical = torch.where(splits.gain > 0, splits.critical_temperature, 0)  # (k,)
        order = torch.argsort(critical, descending=True, stable=True)
        falling = critical[order]
        unstable = (falling > 0) & (falling >= GROWTH_COOLING * falling[0])
        chosen = order[unstable][: n_clusters - len(centers)]
        if len(chosen) == 0:
            break
        temperature = min(temperature, float(critical[chosen[-1]]))
        centers = torch.cat([centers, splits.right[chosen]])
        centers[chosen] = splits.left[chosen]
        partition = assign(problem, centers)
        centers, distortion = update(problem, partition)
        n_rounds += 1
        record = step_record("grow", temperature, distortion, centers)
        stopped = on_step(record, centers)
    return Descent((partition, centers), distortion, n_rounds, True, stopped)
