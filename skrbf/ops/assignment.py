r"""Maps from logits to responsibilities, and what belongs to each map.

The logits of row i are :math:`z_{ik} = -d_{ik} / T`, up to a constant of the row. Each
map returns the maximiser of :math:`r \cdot z_i + H(r)` over the simplex for an entropy
H, and with it the value of the maximum, of which the free energy is made.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from skrbf.ops.precision import full_precision


class AssignmentFunction(Protocol):
    """What `softmax` and `entmax15` have in common."""

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
        coincident centres over softmax's (:eq:`eq-critical-temperature`).
    """

    name: str
    function: AssignmentFunction
    jacobian_product: Callable[[Tensor, Tensor], Tensor]
    critical_factor: Callable[[int], float]


@full_precision
def softmax(logits: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    r"""Softmax over the clusters, and the log-partition function.

    The maximiser of :math:`r \cdot z + H(r)` with Shannon's entropy
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
    if out is not None:
        return out, _softmax_into(out, logits)
    responsibilities, value = _Softmax.apply(logits)
    return responsibilities, value


@full_precision
def entmax15(logits: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    r"""Sparse entmax-1.5 over the clusters, exact, and the value of its problem.

    The maximiser of :math:`r \cdot z + H_{1.5}(r)` with Tsallis' entropy
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
    if out is not None:
        return out, _entmax15_into(out, logits)
    responsibilities, value = _Entmax15.apply(logits)
    return responsibilities, value


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
def one_hot_rows(logits: Tensor) -> Tensor:
    r"""Rows whose entmax-1.5 responsibilities are certainly one-hot.

    Those whose best distance leads by the margin :math:`2 T`, so by 2 in the logits
    (:eq:`eq-margin`). For them the soft solution is the K-means assignment.

    Parameters
    ----------
    logits : Tensor of shape (k, n)

    Returns
    -------
    Tensor of shape (n,), bool

    Notes
    -----
    O(k n).

    Examples
    --------
    >>> import torch
    >>> one_hot_rows(torch.tensor([[0.0, 0.0], [-2.0, -1.0]]))
    tensor([ True, False])
    """
    return (logits - logits.amax(0) > -2.0).sum(0) == 1  # (n,)


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
    value = logits.amax(0)  # (n,)
    one = logits.new_ones(())
    torch.sub(logits, value, out=out)
    torch.add(one, out, alpha=0.5, out=out).relu_()  # s at the least threshold
    soft = (out.sum(0) > 1.0).nonzero()[:, 0]  # the others are one-hot
    if 2 * len(soft) > len(value):  # too many to be taken out
        return value.add_(_entmax15_by_newton(out))
    columns = out[:, soft]
    value.index_add_(0, soft, _entmax15_by_newton(columns))
    out.mul_(out)[:, soft] = columns
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


class _Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> tuple[Tensor, Tensor]:
        responsibilities = torch.empty_like(logits)
        value = _softmax_into(responsibilities, logits)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(responsibilities)
        return responsibilities, value

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Tensor | None:
        (responsibilities,) = ctx.saved_tensors
        return _backward(softmax_jacobian_product, responsibilities, *grads)


class _Entmax15(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> tuple[Tensor, Tensor]:
        responsibilities = torch.empty_like(logits)
        value = _entmax15_into(responsibilities, logits)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(responsibilities)
        return responsibilities, value

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Tensor | None:
        (responsibilities,) = ctx.saved_tensors
        return _backward(entmax15_jacobian_product, responsibilities, *grads)


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
}
