r"""Maps from logits to responsibilities, and what belongs to each map.

The logits of row i are :math:`z_{ik} = -d_{ik} / T`, up to a constant of the row. Each
map returns the maximizer of :math:`r \cdot z_i + H(r)` over the simplex for an entropy
H, and with it the value of the maximum, of which the free energy is made.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from skrbf.ops.precision import full_precision


class AssignmentFunction(Protocol):
    """Signature of `softmax`, `entmax15` and `sparsemax`."""

    def __call__(
        self, logits: Tensor, out: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return responsibilities (k, n) and value (n,) of logits (k, n)."""


class Assignment(NamedTuple):
    """An assignment map with all that depends on the choice of it.

    Attributes
    ----------
    name : str
    function : callable
        ``function(logits, out=None) -> (responsibilities, value)``.
    jacobian_product : callable
        ``jacobian_product(responsibilities, vectors)``: the symmetric Jacobian of the
        map times one vector per row; all of shape (k, n).
    critical_factor : callable
        ``critical_factor(n_clusters)``: the critical temperature of that many
        coincident centers over softmax's (:eq:`eq-critical-temperature`).
    """

    name: str
    function: AssignmentFunction
    jacobian_product: Callable[[Tensor, Tensor], Tensor]
    critical_factor: Callable[[int], float]


@full_precision
def softmax(logits: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    r"""Softmax over the clusters, and the log-partition function.

    The maximizer of :math:`r \cdot z + H(r)` with Shannon's entropy
    (:eq:`eq-softmax`).

    Parameters
    ----------
    logits : Tensor of shape (k, n)
        Finite. Adding a constant to a row, a column of the block, changes nothing.
    out : Tensor of shape (k, n), optional
        Where to write the responsibilities; may be `logits`. Not differentiable then,
        as usual in torch.

    Returns
    -------
    responsibilities : Tensor of shape (k, n)
        Columns sum to 1. Entries below about ``exp(-60)`` (float32) or ``exp(-681)``
        (float64) of the largest are exactly 0.
    value : Tensor of shape (n,)
        :math:`\log \sum_k \exp z_{ik}`.

    Notes
    -----
    O(k n). The flush to zero is for speed: denormal numbers slow the exponential and
    the matrix product that follows by an order of magnitude on a CPU.

    Examples
    --------
    >>> import torch
    >>> softmax(torch.tensor([[0.0], [0.0]]))
    (tensor([[0.5000],
            [0.5000]]), tensor([0.6931]))
    """
    return _mapped(logits, out, _softmax_into, softmax_jacobian_product)


@full_precision
def entmax15(logits: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    r"""Sparse entmax-1.5 over the clusters, exact, and the value of its problem.

    The maximizer of :math:`r \cdot z + H_{1.5}(r)` with Tsallis' entropy
    :math:`H_{1.5}(r) = \frac43 \sum_k (r_k - r_k^{3/2})`, which is
    :math:`r_{ik} = [z_{ik} / 2 - \tau_i]_+^2` (:eq:`eq-entmax`).

    Parameters
    ----------
    logits : Tensor of shape (k, n)
        Finite. Adding a constant to a row, a column of the block, changes nothing.
    out : Tensor of shape (k, n), optional
        Where to write the responsibilities; may be `logits`. Not differentiable then,
        as usual in torch.

    Returns
    -------
    responsibilities : Tensor of shape (k, n)
        Columns sum to 1. A column is exactly one-hot where its largest logit leads by
        2 or more.
    value : Tensor of shape (n,)

    Notes
    -----
    O(k n), and as much again for each of one to five Newton steps: on the columns that
    are not one-hot where they are fewer than half, else on all. Sorting is many times
    slower. With :math:`s_k = [z_k / 2 - \tau]_+` the threshold solves
    :math:`\|s\|_2 = 1`. The norm is convex and decreasing, so Newton's method from the
    left, :math:`\tau = \max z / 2 - 1`, rises monotonically to the root; it needs no
    step where a column is one-hot, and one where all its logits are equal. Its error
    after a step of length :math:`\delta` is at most :math:`k \delta^2`: a step of
    :math:`\sqrt{\epsilon / k}` leaves rounding only.

    References
    ----------
    Peters, Niculae, Martins (2019), "Sparse sequence-to-sequence models".

    Examples
    --------
    >>> import torch
    >>> entmax15(torch.tensor([[0.0, 0.0], [0.0, -2.0]]))[0]
    tensor([[0.5000, 1.0000],
            [0.5000, 0.0000]])
    """
    return _mapped(logits, out, _entmax15_into, entmax15_jacobian_product)


@full_precision
def sparsemax(logits: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    r"""Sparsemax over the clusters, exact, and the value of its problem.

    The maximizer of :math:`r \cdot z + H(r)` with the Gini entropy
    :math:`H(r) = \frac12 (1 - \|r\|^2)`, which is the point of the simplex nearest to
    the logits, :math:`r_{ik} = [z_{ik} - \tau_i]_+` (:eq:`eq-sparsemax`).

    Parameters
    ----------
    logits : Tensor of shape (k, n)
        Finite. Adding a constant to a row, a column of the block, changes nothing.
    out : Tensor of shape (k, n), optional
        Where to write the responsibilities; may be `logits`. Not differentiable then,
        as usual in torch.

    Returns
    -------
    responsibilities : Tensor of shape (k, n)
        Columns sum to 1. A column is exactly one-hot where its largest logit leads by
        1 or more.
    value : Tensor of shape (n,)

    Notes
    -----
    O(k n), and as much again for each Newton step: on the columns that are not one-hot
    where they are fewer than half, else on all. The threshold solves
    :math:`f(\tau) = \sum_k [z_k - \tau]_+ = 1`. The function f is convex, decreasing
    and piecewise linear, so Newton's method from the left,
    :math:`\tau = \max z - 1`, rises monotonically and ends at the root, exactly as soon
    as it is on the last linear piece. The product of :math:`f(\tau) - 1` and of the
    number of active clusters falls to a quarter with each step: the number of steps is
    logarithmic in k and in the precision.

    References
    ----------
    Martins, Astudillo (2016), "From softmax to sparsemax". Michelot (1986), "A finite
    algorithm for finding the projection of a point onto the canonical simplex", for the
    iteration.

    Examples
    --------
    >>> import torch
    >>> sparsemax(torch.tensor([[0.0, 0.0], [-0.5, -1.0]]))[0]
    tensor([[0.7500, 1.0000],
            [0.2500, 0.0000]])
    """
    return _mapped(logits, out, _sparsemax_into, sparsemax_jacobian_product)


@full_precision
def softmax_jacobian_product(responsibilities: Tensor, vectors: Tensor) -> Tensor:
    r"""Jacobian of `softmax` times a vector per row: :math:`r (v - r \cdot v)`.

    Parameters
    ----------
    responsibilities, vectors : Tensor of shape (k, n)

    Returns
    -------
    Tensor of shape (k, n)

    Notes
    -----
    O(k n). See :eq:`eq-distortion-gradient`.

    Examples
    --------
    >>> import torch
    >>> half, vector = torch.tensor([[0.5], [0.5]]), torch.tensor([[1.0], [0.0]])
    >>> softmax_jacobian_product(half, vector)
    tensor([[ 0.2500],
            [-0.2500]])
    """
    weighted = responsibilities * vectors
    return weighted - responsibilities * weighted.sum(0)


@full_precision
def entmax15_jacobian_product(responsibilities: Tensor, vectors: Tensor) -> Tensor:
    r"""Jacobian of `entmax15` times a vector per row.

    :math:`s (v - \tilde v)` with :math:`s = \sqrt r` and
    :math:`\tilde v = s \cdot v / \sum_k s_k` (:eq:`eq-entmax-gradient`).

    Parameters
    ----------
    responsibilities, vectors : Tensor of shape (k, n)

    Returns
    -------
    Tensor of shape (k, n)
        Exactly 0 where the responsibility is.

    Notes
    -----
    O(k n).

    Examples
    --------
    >>> import torch
    >>> half, vector = torch.tensor([[0.5], [0.5]]), torch.tensor([[1.0], [0.0]])
    >>> entmax15_jacobian_product(half, vector)
    tensor([[ 0.3536],
            [-0.3536]])
    """
    support = responsibilities > 0
    # Not sqrt(0), whose derivative is infinite.
    root = torch.where(support, responsibilities, 1.0).sqrt() * support
    weighted = root * vectors
    return weighted - root * (weighted.sum(0) / root.sum(0))


@full_precision
def sparsemax_jacobian_product(responsibilities: Tensor, vectors: Tensor) -> Tensor:
    r"""Multiply the Jacobian of `sparsemax` by a vector per row.

    :math:`v - \hat v` on the support of r, with :math:`\hat v` the mean of v there, and
    0 elsewhere (:eq:`eq-sparsemax-gradient`).

    Parameters
    ----------
    responsibilities, vectors : Tensor of shape (k, n)

    Returns
    -------
    Tensor of shape (k, n)
        Exactly 0 where the responsibility is.

    Notes
    -----
    O(k n).

    Examples
    --------
    >>> import torch
    >>> r, vector = torch.tensor([[0.7], [0.3]]), torch.tensor([[1.0], [0.0]])
    >>> sparsemax_jacobian_product(r, vector)
    tensor([[ 0.5000],
            [-0.5000]])
    """
    support = (responsibilities > 0).to(vectors.dtype)
    weighted = support * vectors
    return weighted - support * (weighted.sum(0) / support.sum(0))


def _mapped(
    logits: Tensor,
    out: Tensor | None,
    into: Callable[[Tensor, Tensor], Tensor],
    jacobian_product: Callable[[Tensor, Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """Responsibilities and value, differentiable unless written to `out`.

    `into` writes the responsibilities of the logits, its second argument, to its first
    and returns the value.
    """
    if out is not None:
        return out, into(out, logits)
    responsibilities, value = _Map.apply(logits, into, jacobian_product)
    return responsibilities, value


def _softmax_into(out: Tensor, logits: Tensor) -> Tensor:
    cut = math.log(torch.finfo(logits.dtype).tiny) + 27.0  # leaves room for products
    peak = logits.amax(0)  # (n,)
    # exp itself is slow where its result is denormal, so clamp before and flush after.
    torch.sub(logits, peak, out=out).clamp_min_(cut).exp_()
    torch.threshold_(out, math.exp(cut + 0.01), 0.0)
    total = out.sum(0)  # (n,)
    out.mul_(total.reciprocal())
    return total.log_().add_(peak)


def _entmax15_into(out: Tensor, logits: Tensor) -> Tensor:
    return _sparse_into(out, logits, 2, _entmax15_by_newton)


def _sparsemax_into(out: Tensor, logits: Tensor) -> Tensor:
    return _sparse_into(out, logits, 1, _sparsemax_by_newton)


def _sparse_into(
    out: Tensor, logits: Tensor, power: int, newton: Callable[[Tensor], Tensor]
) -> Tensor:
    """Write [z / power - tau]_+^power with columns that sum to 1; return the value.

    `newton` is given [1 + (z - max z) / power]_+, replaces it by the responsibilities
    and returns the value less max z.
    """
    value = logits.amax(0)  # (n,)
    one = logits.new_ones(())
    torch.sub(logits, value, out=out)
    torch.add(one, out, alpha=1.0 / power, out=out).relu_()  # at the least threshold
    soft = (out.sum(0) > 1.0).nonzero()[:, 0]  # the others are one-hot
    if 2 * len(soft) > len(value):  # too many to be taken out
        return value.add_(newton(out))
    columns = out[:, soft]
    value.index_add_(0, soft, newton(columns))
    out.pow_(power)[:, soft] = columns
    return value


def _entmax15_by_newton(root: Tensor) -> Tensor:
    """Responsibilities in place of [1 + (z - max z) / 2]_+; value less max z."""
    threshold = torch.full_like(root[0], -1.0)  # (n,) less max z / 2
    square = root * root
    total = square.sum(0)  # (n,)
    eps = torch.finfo(root.dtype).eps
    last_step = math.sqrt(eps / root.shape[0])
    for _ in range(50):
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
    """Responsibilities in place of [1 + z - max z]_+; value less max z."""
    threshold = torch.full_like(r[0], -1.0)  # (n,) less max z
    active = torch.empty_like(r)
    eps = torch.finfo(r.dtype).eps
    total = r.sum(0)  # (n,)
    longest = 1.0
    while longest > eps:
        torch.gt(r, 0.0, out=active)  # ones and zeros: sums of Booleans are slow
        step = torch.sub(total, 1.0).div_(active.sum(0)).relu_()
        longest = float(step.max()) if len(step) else 0.0
        r.sub_(step).relu_()
        threshold.add_(step)
        total = r.sum(0)
    r.mul_(total.reciprocal())
    # z = tau + r where r > 0, so r.z + H(r) is tau + (|r|^2 + 1) / 2:
    norm = torch.mul(r, r, out=active).sum(0)  # (n,)
    return threshold.add_(norm, alpha=0.5).add_(0.5)


class _Map(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        into: Callable[[Tensor, Tensor], Tensor],
        jacobian_product: Callable[[Tensor, Tensor], Tensor],
    ) -> tuple[Tensor, Tensor]:
        responsibilities = torch.empty_like(logits)
        value = into(responsibilities, logits)
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
