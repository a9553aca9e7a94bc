r"""Assignment maps from logits to responsibilities, with their Jacobian products.

The logits of row i are :math:`z_{ik} = -d_{ik} / T`, up to a constant of the row. Each
map returns the maximizer of :math:`r \cdot z_i + H(r)` over the simplex for an entropy
H, and the value of the maximum, from which the free energy is computed.

All maps take finite logits ``(k, n)`` and return responsibilities ``(k, n)``, whose
columns sum to 1, and values ``(n,)``. A constant added to a column of logits does not
change its responsibilities. With `out`, which may be the logits, the responsibilities
are written there and the map is not differentiable.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from skrbf.ops.precision import full_precision

# Softmax is 0 below e^27 times the smallest normal number, so that its products with
# small numbers stay normal: denormal numbers slow the exponential and the matrix
# product that follows by an order of magnitude on a CPU. Exponents are clamped there,
# and results up to e^0.01 above are set to 0, so that no clamped one is left by
# rounding. Tested in tests/ops/test_assignment.py; the speed is on no results page.
_SOFTMAX_LOG_HEADROOM = 27.0
_SOFTMAX_LOG_FLUSH_MARGIN = 0.01

# Newton steps after which the threshold of entmax-1.5 is taken as it is. One to five
# are needed: tests/ops/test_assignment.py.
_ENTMAX15_MAX_NEWTON_STEPS = 50


class AssignmentFunction(Protocol):
    """Signature of `softmax`, `entmax15` and `sparsemax`."""

    def __call__(
        self, logits: Tensor, out: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return responsibilities (k, n) and value (n,) of logits (k, n)."""


class Assignment(NamedTuple):
    """An assignment map with the functions that belong to it, on tensors (k, n)."""

    name: str
    function: AssignmentFunction
    # (responsibilities, vectors): the symmetric Jacobian times one vector per row.
    jacobian_product: Callable[[Tensor, Tensor], Tensor]
    # (n_clusters): ratio of the critical temperature of that many coincident centers to
    # that of softmax (eq-critical-temperature).
    critical_factor: Callable[[int], float]


@full_precision
def softmax(logits: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    r"""Compute softmax over the clusters, and the log-partition function.

    The maximizer of :math:`r \cdot z + H(r)` with Shannon's entropy
    (:eq:`eq-softmax`). The value is :math:`\log \sum_k \exp z_{ik}`.

    O(k n). Responsibilities below about ``exp(-60)`` (float32) or ``exp(-681)``
    (float64) of the largest are exactly 0.
    """
    return _apply_map(logits, out, _write_softmax, softmax_jacobian_product)


@full_precision
def entmax15(logits: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    r"""Compute exact 1.5-entmax over the clusters, and the value of its maximum.

    The maximizer of :math:`r \cdot z + H_{1.5}(r)` with the Tsallis entropy
    :math:`H_{1.5}(r) = \frac43 \sum_k (r_k - r_k^{3/2})`, which is
    :math:`r_{ik} = [z_{ik} / 2 - \tau_i]_+^2` (:eq:`eq-entmax`). A column is exactly
    one-hot if its largest logit leads by 2 or more.

    Notes
    -----
    O(k n) for each of one to five Newton steps: on the columns that are not one-hot if
    they are fewer than half, else on all. Sorting is many times slower. With
    :math:`s_k = [z_k / 2 - \tau]_+` the threshold solves :math:`\|s\|_2 = 1`. The norm
    is convex and decreasing, so Newton's method from the left,
    :math:`\tau = \max z / 2 - 1`, rises monotonically to the root. A one-hot column
    needs no step, a column of equal logits one. After a step of length
    :math:`\delta` the error is at most :math:`k \delta^2`: a step of
    :math:`\sqrt{\epsilon / k}` leaves only rounding.

    References
    ----------
    Peters, Niculae, Martins (2019), "Sparse sequence-to-sequence models".
    """
    return _apply_map(logits, out, _write_entmax15, entmax15_jacobian_product)


@full_precision
def sparsemax(logits: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    r"""Compute exact sparsemax over the clusters, and the value of its maximum.

    The maximizer of :math:`r \cdot z + H(r)` with the Gini entropy
    :math:`H(r) = \frac12 (1 - \|r\|^2)`, which is the point of the simplex nearest to
    the logits, :math:`r_{ik} = [z_{ik} - \tau_i]_+` (:eq:`eq-sparsemax`). A column is
    exactly one-hot if its largest logit leads by 1 or more.

    Notes
    -----
    O(k n) for each Newton step: on the columns that are not one-hot if they are fewer
    than half, else on all. The threshold solves
    :math:`f(\tau) = \sum_k [z_k - \tau]_+ = 1`. The function f is convex, decreasing
    and piecewise linear, so Newton's method from the left, :math:`\tau = \max z - 1`,
    rises monotonically and reaches the root exactly once it is on the last linear
    piece. Each step divides the product of :math:`f(\tau) - 1` and the number of active
    clusters by at least 4, so the number of steps is logarithmic in k and in the
    precision.

    References
    ----------
    Martins, Astudillo (2016), "From softmax to sparsemax". Michelot (1986), "A finite
    algorithm for finding the projection of a point onto the canonical simplex", for the
    iteration.
    """
    return _apply_map(logits, out, _write_sparsemax, sparsemax_jacobian_product)


@full_precision
def softmax_jacobian_product(responsibilities: Tensor, vectors: Tensor) -> Tensor:
    r"""Multiply the Jacobian of `softmax` by a vector per row.

    :math:`r (v - r \cdot v)`, all (k, n). O(k n). See :eq:`eq-distortion-gradient`.
    """
    weighted = responsibilities * vectors
    return weighted - responsibilities * weighted.sum(0)


@full_precision
def entmax15_jacobian_product(responsibilities: Tensor, vectors: Tensor) -> Tensor:
    r"""Multiply the Jacobian of `entmax15` by a vector per row.

    :math:`s (v - \tilde v)` with :math:`s = \sqrt r` and
    :math:`\tilde v = s \cdot v / \sum_k s_k` (:eq:`eq-entmax-gradient`), all (k, n).
    Exactly 0 where the responsibility is 0. O(k n).
    """
    support = responsibilities > 0
    # Avoid sqrt(0), whose derivative is infinite.
    root = torch.where(support, responsibilities, 1.0).sqrt() * support
    weighted = root * vectors
    return weighted - root * (weighted.sum(0) / root.sum(0))


@full_precision
def sparsemax_jacobian_product(responsibilities: Tensor, vectors: Tensor) -> Tensor:
    r"""Multiply the Jacobian of `sparsemax` by a vector per row.

    :math:`v - \hat v` on the support of r, with :math:`\hat v` the mean of v there
    (:eq:`eq-sparsemax-gradient`), all (k, n). Exactly 0 off the support. O(k n).
    """
    support = (responsibilities > 0).to(vectors.dtype)
    weighted = support * vectors
    return weighted - support * (weighted.sum(0) / support.sum(0))


def _apply_map(
    logits: Tensor,
    out: Tensor | None,
    write: Callable[[Tensor, Tensor], Tensor],
    jacobian_product: Callable[[Tensor, Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """Return responsibilities and value, differentiable unless written to `out`.

    ``write(out, logits)`` writes the responsibilities and returns the value.
    """
    if out is not None:
        return out, write(out, logits)
    responsibilities, value = _AssignmentMap.apply(logits, write, jacobian_product)
    return responsibilities, value


def _write_softmax(out: Tensor, logits: Tensor) -> Tensor:
    cut = math.log(torch.finfo(logits.dtype).tiny) + _SOFTMAX_LOG_HEADROOM
    peak = logits.amax(0)  # (n,)
    # exp is slow where its result is denormal: clamp before it and flush after it.
    torch.sub(logits, peak, out=out).clamp_min_(cut).exp_()
    torch.threshold_(out, math.exp(cut + _SOFTMAX_LOG_FLUSH_MARGIN), 0.0)
    total = out.sum(0)  # (n,)
    out.mul_(total.reciprocal())
    return total.log_().add_(peak)


def _write_entmax15(out: Tensor, logits: Tensor) -> Tensor:
    return _write_sparse(out, logits, 2, _entmax15_by_newton)


def _write_sparsemax(out: Tensor, logits: Tensor) -> Tensor:
    return _write_sparse(out, logits, 1, _sparsemax_by_newton)


def _write_sparse(
    out: Tensor, logits: Tensor, power: int, newton: Callable[[Tensor], Tensor]
) -> Tensor:
    """Write [z / power - tau]_+^power with columns that sum to 1; return the value.

    `newton` takes [1 + (z - max z) / power]_+, replaces it by the responsibilities and
    returns the value minus max z.
    """
    value = logits.amax(0)  # (n,)
    one = logits.new_ones(())
    torch.sub(logits, value, out=out)
    torch.add(one, out, alpha=1.0 / power, out=out).relu_()  # for the lowest tau
    soft = (out.sum(0) > 1.0).nonzero()[:, 0]  # columns that are not one-hot
    if 2 * len(soft) > len(value):  # too many to copy
        return value.add_(newton(out))
    columns = out[:, soft]
    value.index_add_(0, soft, newton(columns))
    out.pow_(power)[:, soft] = columns
    return value


def _entmax15_by_newton(root: Tensor) -> Tensor:
    """Replace [1 + (z - max z) / 2]_+ by responsibilities; return the value - max z."""
    threshold = torch.full_like(root[0], -1.0)  # (n,) tau - max z / 2
    square = root * root
    total = square.sum(0)  # (n,)
    eps = torch.finfo(root.dtype).eps
    last_step = math.sqrt(eps / root.shape[0])
    for _ in range(_ENTMAX15_MAX_NEWTON_STEPS):
        step = torch.sub(total, total.sqrt()).div_(root.sum(0)).relu_()
        longest = float(step.max()) if len(step) else 0.0
        if longest <= eps:
            break
        root.sub_(step).relu_()
        threshold.add_(step)
        total = torch.mul(root, root, out=square).sum(0)
        if longest <= last_step:
            break
    square.mul_(total.reciprocal())  # r
    # z = 2 (tau + s) and r^(3/2) = r s, so r.z + H(r) is:
    product = root.mul_(square).sum(0)  # (n,)
    root.copy_(square)
    return threshold.mul_(2.0).add_(product, alpha=2.0 / 3.0).add_(4.0 / 3.0)


def _sparsemax_by_newton(r: Tensor) -> Tensor:
    """Replace [1 + z - max z]_+ by responsibilities; return the value - max z."""
    threshold = torch.full_like(r[0], -1.0)  # (n,) tau - max z
    active = torch.empty_like(r)
    eps = torch.finfo(r.dtype).eps
    total = r.sum(0)  # (n,)
    longest = 1.0
    while longest > eps:
        torch.gt(r, 0.0, out=active)  # as floats: sums of Booleans are slow
        step = torch.sub(total, 1.0).div_(active.sum(0)).relu_()
        longest = float(step.max()) if len(step) else 0.0
        r.sub_(step).relu_()
        threshold.add_(step)
        total = r.sum(0)
    r.mul_(total.reciprocal())
    # z = tau + r where r > 0, so r.z + H(r) is tau + (|r|^2 + 1) / 2:
    norm = torch.mul(r, r, out=active).sum(0)  # (n,)
    return threshold.add_(norm, alpha=0.5).add_(0.5)


class _AssignmentMap(torch.autograd.Function):
    """A map with the gradient of its Jacobian product."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        write: Callable[[Tensor, Tensor], Tensor],
        jacobian_product: Callable[[Tensor, Tensor], Tensor],
    ) -> tuple[Tensor, Tensor]:
        responsibilities = torch.empty_like(logits)
        value = write(responsibilities, logits)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(responsibilities)
        ctx.jacobian_product = jacobian_product
        return responsibilities, value

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, None, None]:
        (responsibilities,) = ctx.saved_tensors
        return _backward(ctx.jacobian_product, responsibilities, *grads), None, None


def _backward(
    jacobian_product: Callable[[Tensor, Tensor], Tensor],
    responsibilities: Tensor,
    grad_responsibilities: Tensor | None,
    grad_value: Tensor | None,
) -> Tensor | None:
    # The Jacobian is symmetric, and d value / d z = r.
    through_value = None if grad_value is None else responsibilities * grad_value
    if grad_responsibilities is None:
        return through_value
    through_map = jacobian_product(responsibilities, grad_responsibilities)
    return through_map if through_value is None else through_map + through_value


ASSIGNMENTS: dict[str, Assignment] = {
    "softmax": Assignment(
        "softmax", softmax, softmax_jacobian_product, lambda n_clusters: 1.0
    ),
    "entmax15": Assignment(
        "entmax15",
        entmax15,
        entmax15_jacobian_product,
        lambda n_clusters: math.sqrt(n_clusters),
    ),
    "sparsemax": Assignment(
        "sparsemax",
        sparsemax,
        sparsemax_jacobian_product,
        lambda n_clusters: float(n_clusters),
    ),
}


def check_assignment(name: str) -> None:
    """Raise an error if no assignment map has this name."""
    if name not in ASSIGNMENTS:
        raise ValueError(
            f"assignment must be one of {sorted(ASSIGNMENTS)}, got {name!r}."
        )
