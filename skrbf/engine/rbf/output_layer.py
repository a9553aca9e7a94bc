"""The convex start of an RBF network: its output on units that stand still."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from skrbf.engine.rbf.objective import Task, loss, output_loss_gradient
from skrbf.engine.training.lbfgs import lbfgs
from skrbf.engine.training.loop import Step
from skrbf.ops.network import Network
from skrbf.ops.rbf import Units, exponents
from skrbf.ops.ridge import leave_one_out

# Factors on the output of the ridge regression, which predicts 0 or 1 and not logits.
_TEMPERATURES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
# Of one row's weight, what a class without any is given for its logarithm.
_RARE = 0.1
# Widths to choose from, by so many rows for each unit, at least and at most. The units
# are trained later and come to fit better than now, as with a smaller penalty: parts of
# it are tried as well.
_FACTORS = (1.0, math.sqrt(2.0), 2.0, 2.0 * math.sqrt(2.0))
_ROWS_PER_UNIT, _FEWEST, _MOST = 5, 1000, 5000
_PENALTIES = (0.01, 0.1, 1.0)
# Penalties on the norm of the output to choose from, the smallest first.
ALPHAS = (0.1, 0.3, 1.0, 3.0)
# What rounding of the activations leaves of a variance, in single precision.
_ROUNDING = 1e-6
# Of L-BFGS: its vectors are short here, next to a pass over the rows.
_MEMORY = 20


def ridge(task: Task, units: Units) -> tuple[Network, Tensor]:
    """Ridge regression of the classes on the activations (eq-ridge).

    Returns
    -------
    network : Network
        With the factor on the output that has the least cross-entropy.
    factor : Tensor of shape (k, k), float64, on the CPU
        Cholesky factor of the covariance of the activations, with the penalty.
    """
    mean, covariance, cross = _moments(task, units)
    second = float((covariance.diagonal() + mean.square()).mean())
    factor = _cholesky(covariance, task.alpha, _rounding(second))  # (k, k)
    weight = torch.cholesky_solve(cross, factor).t()  # (q, k)
    share = mean.new_zeros(task.n_classes)
    share.index_add_(0, task.labels.cpu(), task.weight.cpu().to(mean.dtype))
    prior = share.clamp_min(_RARE / len(task.rows)).log()  # (q,)
    like = units.centers

    def scaled(factor: float) -> Network:
        bias = prior - factor * (weight @ mean)
        return Network(units, (factor * weight).to(like), bias.to(like))

    networks = [scaled(factor) for factor in (0.0, *_TEMPERATURES)]
    return min(networks, key=lambda network: loss(task, network)), factor


def logistic(task: Task, start: Network, factor: Tensor) -> Iterator[Step[Network]]:
    """Multinomial logistic regression on the activations, by L-BFGS.

    In the coordinates in which the covariance of the activations with the penalty of
    the ridge regression is the identity. A few iterations come close to the optimum
    where units are not alike. Where they are it takes many: joint training, which
    follows a few, begins with what tells rows apart easily.

    Parameters
    ----------
    start : Network
    factor : Tensor of shape (k, k)
        As of :func:`ridge`.
    """
    like, shape = start.bias, start.weight.shape
    inverse = torch.linalg.inv(factor).to(like)  # (k, k)

    def network(vector: Tensor) -> Network:
        white, bias = vector.split([shape.numel(), shape[0]])
        return start._replace(weight=white.view(shape) @ inverse, bias=bias)

    def function(vector: Tensor) -> tuple[float, Tensor]:
        value, (by_weight, by_bias) = output_loss_gradient(task, network(vector))
        return value, torch.cat([(by_weight @ inverse.t()).reshape(-1), by_bias])

    white = start.weight @ factor.to(like)  # (q, k)
    for step in lbfgs(function, torch.cat([white.reshape(-1), start.bias]), _MEMORY):
        yield Step(network(step.state), step.loss)


def chosen_factor(task: Task, units: Units) -> float:
    """Factor on the widths of units with the best ridge regression.

    By its error on rows left out (eq-leave-one-out), at the best part of the penalty.
    """
    if task.n_classes == 1:
        return _FACTORS[0]
    task = _few(task, units)

    def error(factor: float) -> float:
        z = exponents(widened(units, factor), task.rows)
        return float(_left_out(task, task.activation.function(z), _PENALTIES).amin())

    return min(_FACTORS, key=error)


def chosen_alpha(task: Task, units: Units) -> float:
    """The one of `ALPHAS` with the best kernel ridge regression.

    As the factor on the widths, with the penalty that the output has: on its norm
    (eq-unit-kernel).

    Parameters
    ----------
    task : Task
        With the kernel of the units, and the first of `ALPHAS`.
    """
    kernel = task.kernel
    assert kernel is not None
    if task.n_classes == 1:
        return ALPHAS[0]
    task = _few(task, units)
    phi = task.activation.function(exponents(units, task.rows))  # (k, n)
    factors = tuple(alpha / ALPHAS[0] for alpha in ALPHAS)
    return ALPHAS[int(_left_out(task, kernel.inverse @ phi, factors).argmin())]


def _few(task: Task, units: Units) -> Task:
    """Enough rows to choose by."""
    n_rows = min(max(_FEWEST, _ROWS_PER_UNIT * len(units.centers)), _MOST)
    if n_rows >= len(task.rows):
        return task
    # Their order says nothing of them: the first are as good as drawn.
    few = task.take(torch.arange(n_rows, device=task.rows.device))
    return few._replace(alpha=task.alpha * len(task.rows) / n_rows)


def _left_out(task: Task, phi: Tensor, factors: tuple[float, ...]) -> Tensor:
    """Errors on rows left out with so many times the penalty each."""
    phi = phi.cpu().double()  # (k, n)
    codes = torch.nn.functional.one_hot(task.labels, task.n_classes).t().cpu().double()
    weight = task.weight.cpu().double()
    weight = weight / weight.sum()
    penalties = task.alpha * phi.new_tensor(factors)
    penalties += _rounding(float((phi.square() @ weight).mean()))
    return leave_one_out(phi, codes, weight, penalties)


def widened(units: Units, factor: float) -> Units:
    """Units of so many times the width."""
    return units._replace(log_widths=units.log_widths + math.log(factor))


def _rounding(second: float) -> float:
    """What still bounds a ridge regression with a penalty of 0."""
    return _ROUNDING * second + 1e-12


def _cholesky(covariance: Tensor, penalty: float, rounding: float) -> Tensor:
    """Factor of a covariance with a penalty, and with as much more as it needs."""
    eye = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    for power in range(6):
        whole = covariance + (penalty + 10.0**power * rounding) * eye
        factor, failed = torch.linalg.cholesky_ex(whole)
        if not failed:
            return factor
    return torch.linalg.cholesky(whole)  # says what is wrong


def _moments(task: Task, units: Units) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (k,) and covariance (k, k) of the activations, and with the classes (k, q).

    Summed in float64 on the CPU, where every device has it.
    """
    k, q = len(units.centers), task.n_classes
    zero = torch.zeros((), dtype=torch.float64, device="cpu")
    total, square = zero.new_zeros(k), zero.new_zeros(k, k)
    cross, share = zero.new_zeros(k, q), zero.new_zeros(q)
    for rows, labels, weight in task.blocks(k):
        phi = task.activation.function(exponents(units, rows))  # (k, m)
        weighted = phi * weight  # (k, m)
        codes = torch.nn.functional.one_hot(labels, q).to(phi)  # (m, q)
        total += weighted.sum(1).cpu()
        square += (weighted @ phi.t()).cpu()
        cross += (weighted @ codes).cpu()
        share += (weight @ codes).cpu()
    return total, square - total.outer(total), cross - total.outer(share)
