"""Gains and costs of split-and-merge moves, before Lloyd iterations."""

import torch
from torch import Tensor

from skrbf.engine.kmeans.problem import Problem
from skrbf.engine.kmeans.splits import Splits
from skrbf.ops.distances import min_and_argmin, relative_distances
from skrbf.ops.statistics import label_totals, weight_sums

# Of each row: relative distances (n,) to the nearest and to the second nearest center,
# and these two centers (n,).
TwoNearest = tuple[Tensor, Tensor, Tensor, Tensor]


def merge_costs(centers: Tensor, weight: Tensor) -> Tensor:
    """Compute the rise of the distortion (k, k) when a cluster joins another one.

    By split cluster and cluster that joins. It joins the cheapest one (eq-split) but
    the split one. The common center has moved to the common mean, as it does in the
    iterations after a move. The rise is infinite on the diagonal, and where there is no
    other cluster to join.
    """
    gap = torch.cdist(centers, centers).square_().to(weight.dtype)  # (k, k)
    rise = gap / (1 / weight[:, None] + 1 / weight)
    rise.fill_diagonal_(torch.inf)
    least, second = rise.topk(2, largest=False).values.unbind(1)  # (k,)
    split = torch.arange(len(rise), device=rise.device)[:, None]  # (k, 1)
    cost = torch.where(rise.argmin(1) == split, second, least)  # (k, k)
    return cost.fill_diagonal_(torch.inf)


def two_nearest(problem: Problem, centers: Tensor) -> TwoNearest:
    """Find the two nearest of two centers or more, at the cost of two iterations."""

    def of_block(block: Tensor) -> TwoNearest:
        distances = relative_distances(centers, block, problem.offset)  # (k, m)
        first, label = min_and_argmin(distances.clone())  # (m,), (m,)
        second, next_label = min_and_argmin(
            distances.scatter_(0, label[None], torch.inf)
        )
        return first, second, label, next_label

    return problem.rows.map(of_block, 2 * len(centers))


def drop_factors(single_point: Tensor, nearby: TwoNearest, weight: Tensor) -> Tensor:
    """Compute the part of a row's rise (n,) that counts when its center is dropped.

    All rows of a `single_point` cluster (k,) go to the same center. That center moves,
    and the cost is that of eq-split, known exactly. The rows of other clusters go to
    several centers: none is taken to move, and the factor is 1.
    """
    first, _, label, next_label = nearby
    own, other = weight[label], weight[next_label]
    factor = torch.where(single_point[label], other / (own + other), 1.0)
    return factor.nan_to_num_().to(first.dtype)


def move_costs(
    problem: Problem,
    centers: Tensor,
    splits: Splits,
    nearby: TwoNearest,
    factor: Tensor,
    to_split: Tensor,
    to_drop: Tensor,
) -> tuple[Tensor, Tensor]:
    """Compute the change of the distortion by each move, before centers move (eq-swap).

    The gains (s,) are the falls when clusters `to_split` (s,) get the two centers of
    their split. The costs (s, t) are the rises when, after the split of the first, the
    center of the second of `to_drop` (t,) is dropped: its rows go to the nearest
    remaining center. An upper bound: a third center, behind the split one, is not
    looked for. A cost is infinite where both are one. `factor` (n,) is that of
    `drop_factors`.

    O(n s d), as two Lloyd iterations with as many centers.
    """
    s, t = len(to_split), len(to_drop)
    possible = splits.gain[to_split, None] > 0
    halves = torch.cat(
        [
            torch.where(possible, side[to_split], centers[to_split])
            for side in (splits.left, splits.right)
        ]
    )
    split_position = _positions(to_split, len(centers))
    drop_position = _positions(to_drop, len(centers))

    def changes(
        block: Tensor, w: Tensor | None, factor: Tensor, *nearby: Tensor
    ) -> tuple[Tensor, Tensor]:
        first, second, label, next_label = nearby
        to_halves = relative_distances(halves, block, problem.offset)  # (2 s, m)
        half = to_halves.reshape(2, s, -1).amin(0)  # (s, m)
        near = torch.minimum(half, first)  # (s, m)
        rise = torch.minimum(half, second)  # (s, m)
        # Rows whose second nearest center is the split one, and those of that cluster
        # itself, have its halves only.
        behind = _rows_of(split_position, next_label, s)
        rise[behind] = half[behind]
        rise.sub_(near).mul_(factor)
        inside = _rows_of(split_position, label, s)
        inside_half, row = half[inside], inside[1]
        kept = torch.minimum(inside_half, second[row])
        near[inside] = kept
        inside_rise = inside_half - kept
        fall = near.sub_(first).neg_()  # (s, m)
        if w is not None:
            inside_rise *= w[row]
            rise *= w
            fall *= w
        # The last position is that of all clusters that are not dropped.
        cost = label_totals(rise.t().contiguous(), drop_position[label], None, t + 1)
        cost = cost.to(problem.compute.accumulate).contiguous()  # (t + 1, s)
        pair = drop_position[next_label[row]] * s + inside[0]
        cost.view(-1).add_(weight_sums(pair, inside_rise, cost.numel()))
        return fall.sum(1).to(cost), cost

    gain, cost = problem.sum(changes, 4 * s, factor, *nearby)
    cost = cost[:t].t().masked_fill(to_split[:, None] == to_drop, torch.inf)
    return gain, cost


def _positions(chosen: Tensor, k: int) -> Tensor:
    """Map clusters (k,) to their position among those chosen, and others to the next.

    For clusters 4 and 1 of five, the positions are 2, 1, 2, 2, 0.
    """
    positions = torch.full((k,), len(chosen), dtype=torch.int64, device=chosen.device)
    positions[chosen] = torch.arange(len(chosen), device=chosen.device)
    return positions


def _rows_of(positions: Tensor, label: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Find the rows whose cluster is one of `count` chosen: its position, the row."""
    position = positions[label]
    row = (position < count).nonzero()[:, 0]
    return position[row], row
