"""Growth: a tree of splits in the order of falling critical temperature."""

import heapq
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.problem import Problem
from skrbf.engine.split import Split, split


class _Leaf(NamedTuple):
    members: Tensor  # (m,) row numbers
    split: Split


# Sees the centers so far, the temperature and the fall of the distortion of every
# split; a true answer ends the growth.
OnSplit = Callable[[Tensor, float, float], bool]


def grow(problem: Problem, n_clusters: int, on_split: OnSplit) -> Tensor:
    """Centers grown from the weighted mean, one unstable cluster after the other.

    As the temperature falls from the critical one of all data, the cluster whose own
    critical temperature is met next splits along its main axis.

    Returns
    -------
    Tensor of shape (k, d)
        ``k < n_clusters`` where the data have fewer distinct rows.
    """
    centers = problem.mean[None].repeat(n_clusters, 1)  # (n_clusters, d)
    temperature = float("inf")
    queue: list[tuple[float, int, _Leaf]] = []

    def consider(slot: int, index: Tensor) -> None:
        cut = split(problem, index, centers[slot])
        if cut is not None and cut.gain > 0:
            entry = (-cut.critical_temperature, slot, _Leaf(index, cut))
            heapq.heappush(queue, entry)

    consider(0, torch.arange(problem.rows.n_rows, device=centers.device))
    used = 1
    while used < n_clusters and queue:
        _, slot, leaf = heapq.heappop(queue)
        # A cluster that is born unstable splits at once: the temperature only falls.
        temperature = min(temperature, leaf.split.critical_temperature)
        centers[slot], centers[used] = leaf.split.left, leaf.split.right
        used += 1
        if on_split(centers[:used].clone(), temperature, leaf.split.gain):
            break
        if used < n_clusters:
            for place, side in ((slot, ~leaf.split.side), (used - 1, leaf.split.side)):
                consider(place, leaf.members[side])
    return centers[:used]
