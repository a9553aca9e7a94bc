"""Growth: clusters split in the order of falling critical temperature."""

import torch
from torch import Tensor

from skrbf.engine.kmeans.em import step_record
from skrbf.engine.kmeans.lloyd import Partition, assign, update
from skrbf.engine.kmeans.problem import Problem
from skrbf.engine.kmeans.split import split
from skrbf.engine.training.records import OnStep

# The temperature falls by this factor, at most, in a round.
_COOLING = 0.3


def grow(problem: Problem, n_clusters: int, on_step: OnStep[Tensor]) -> Partition:
    """Centers grown from the weighted mean.

    The temperature falls from the critical one of all data, and the clusters whose own
    critical temperature it passes split along their main axis.

    Returns
    -------
    Partition
        Of ``k < n_clusters`` clusters where the data have fewer distinct rows.
    """
    partition = assign(problem, problem.mean[None])
    centers, _ = update(problem, partition)
    temperature = float("inf")
    while len(centers) < n_clusters:
        cuts = split(problem, partition, centers)
        critical = torch.where(cuts.gain > 0, cuts.critical_temperature, 0)  # (k,)
        order = torch.argsort(critical, descending=True, stable=True)
        hot = critical[order]
        unstable = (hot > 0) & (hot >= _COOLING * hot[0])
        chosen = order[unstable][: n_clusters - len(centers)]
        if len(chosen) == 0:
            break
        temperature = min(temperature, float(critical[chosen[-1]]))
        centers = torch.cat([centers, cuts.right[chosen]])
        centers[chosen] = cuts.left[chosen]
        partition = assign(problem, centers)
        centers, distortion = update(problem, partition)
        if on_step(step_record("grow", temperature, distortion, centers), centers):
            break
    return partition
