"""Gains and costs of split-and-merge moves, before Lloyd iterations."""

from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.kmeans.problem import Problem
from skrbf.engine.kmeans.split import Splits
from skrbf.ops.distances import min_and_argmin, relative_distances
from skrbf.ops.statistics import label_totals, weight_sums


class Nearby(NamedTuple):
    """The two nearest centers of each row, with the relative distances to them."""

    first: Tensor  # (n,) distance to the nearest
    second: Tensor  # (n,)
    own: Tensor  # (n,) the nearest
    other: Tensor  # (n,) the second nearest


def merge_costs(centers: Tensor, weight: Tensor) -> Tensor:
    """Rise of the distortion when a cluster joins another one, not the split one.

    The cheapest other cluster (eq-split); the common center has followed, as it does in
    the iterations after a move.

    Returns
    -------
    Tensor of shape (k, k)
        Of the split cluster and the one that joins. Infinite on the diagonal, and where
        there is no other.
    """
    gap = torch.cdist(centers, centers).square_().to(weight.dtype)  # (k, k)
    rise = gap / (1 / weight[:, None] + 1 / weight)
    rise.fill_diagonal_(torch.inf)
    least, next_to = rise.topk(2, largest=False).values.unbind(1)  # (k,)
    split = torch.arange(len(rise), device=rise.device)[:, None]  # (k, 1)
    cost = torch.where(rise.argmin(1) == split, next_to, least)  # (k, k)
    return cost.fill_diagonal_(torch.inf)


def two_nearest(problem: Problem, centers: Tensor) -> Nearby:
    """Look for the two nearest of two centers or more: as two Lloyd iterations."""

    def of_block(block: Tensor) -> Nearby:
        distances = relative_distances(centers, block, problem.offset)  # (k, m)
        first, own = min_and_argmin(distances.clone())  # (m,), (m,)
        second, other = min_and_argmin(distances.scatter_(0, own[None], torch.inf))
        return Nearby(first, second, own, other)

    return problem.rows.map(of_block, 2 * len(centers))


def following_shares(single: Tensor, nearby: Nearby, weight: Tensor) -> Tensor:
    """Find the share of a row's way (n,) that counts where its center is dropped.

    All rows of a cluster that is `single` (k,), in one place, go to the same center.
    That follows, and the cost is that of eq-split, known exactly. Other clusters break
    up: there no center is taken to follow, and the share is one.
    """
    own, other = weight[nearby.own], weight[nearby.other]
    share = torch.where(single[nearby.own], other / (own + other), 1.0).nan_to_num_()
    return share.to(nearby.first.dtype)


def move_costs(
    problem: Problem,
    centers: Tensor,
    cuts: Splits,
    nearby: Nearby,
    share: Tensor,
    cut: Tensor,
    dropped: Tensor,
) -> tuple[Tensor, Tensor]:
    """Find what moves change in the distortion before any center follows (eq-swap).

    Parameters
    ----------
    share : Tensor of shape (n,)
        What counts of the rise of a row whose center is dropped.
    cut : Tensor of shape (s,)
        Clusters that may be split.
    dropped : Tensor of shape (t,)
        Clusters whose center may be dropped.

    Returns
    -------
    gain : Tensor of shape (s,)
        Fall of the distortion when a cluster gets the two centers of its split.
    cost : Tensor of shape (s, t)
        Rise when, after the split of the first, the center of the second is dropped:
        its rows go to the nearest center that is left. A bound from above: a third
        center, behind the split one, is not looked for. Infinite where both are one.

    Notes
    -----
    O(n s d), as two Lloyd iterations with as many centers.
    """
    s, t = len(cut), len(dropped)
    possible = cuts.gain[cut, None] > 0
    halves = torch.cat(
        [
            torch.where(possible, side[cut], centers[cut])
            for side in (cuts.left, cuts.right)
        ]
    )
    cut_place, drop_place = _places(cut, len(centers)), _places(dropped, len(centers))

    def changes(
        block: Tensor, w: Tensor | None, share: Tensor, *distances: Tensor
    ) -> tuple[Tensor, Tensor]:
        first, second, own, other = distances
        to_halves = relative_distances(halves, block, problem.offset)  # (2 s, m)
        half = to_halves.reshape(2, s, -1).amin(0)  # (s, m)
        near = torch.minimum(half, first)  # (s, m)
        rise = torch.minimum(half, second)  # (s, m)
        # Rows whose second nearest center is the split one, and those of that cluster
        # itself, have its halves only.
        behind = _met(cut_place, other, s)
        rise[behind] = half[behind]
        rise.sub_(near).mul_(share)
        inside = _met(cut_place, own, s)
        own_half, row = half[inside], inside[1]
        kept = torch.minimum(own_half, second[row])
        near[inside] = kept
        own_rise = own_half - kept
        fall = near.sub_(first).neg_()  # (s, m)
        if w is not None:
            own_rise *= w[row]
            rise *= w
            fall *= w
        # The last place is that of all clusters that are not dropped.
        cost = label_totals(rise.t().contiguous(), drop_place[own], None, t + 1)
        cost = cost.to(problem.compute.accumulate).contiguous()  # (t + 1, s)
        pair = drop_place[other[row]] * s + inside[0]
        cost.view(-1).add_(weight_sums(pair, own_rise, cost.numel()))
        return fall.sum(1).to(cost), cost

    gain, cost = problem.sum(changes, 4 * s, share, *nearby)
    cost = cost[:t].t().masked_fill(cut[:, None] == dropped, torch.inf)
    return gain, cost


def _places(chosen: Tensor, k: int) -> Tensor:
    """Number the clusters chosen (k,); all others get the next number."""
    places = torch.full((k,), len(chosen), dtype=torch.int64, device=chosen.device)
    places[chosen] = torch.arange(len(chosen), device=chosen.device)
    return places


def _met(places: Tensor, label: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Find the rows whose cluster is one of so many chosen: its place, the row."""
    place = places[label]
    row = (place < count).nonzero()[:, 0]
    return place[row], row
