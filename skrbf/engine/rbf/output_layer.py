"""Output layer of an RBF network on fixed units, and what is chosen by it."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from skrbf.engine.data.training_data import TrainingData
from skrbf.engine.rbf import constants
from skrbf.engine.rbf.constants import ALPHA_CANDIDATES, WIDTH_FACTORS
from skrbf.engine.rbf.objective import Objective, fractions, loss, output_loss_gradient
from skrbf.engine.training.lbfgs import lbfgs
from skrbf.engine.training.loop import Step
from skrbf.ops.rbf_network import Network
from skrbf.ops.rbf_units import Activation, RBFParameters, log_activations
from skrbf.ops.ridge import leave_one_out


def ridge(objective: Objective, units: RBFParameters) -> tuple[Network, Tensor]:
    """Fit the output layer by ridge regression of the classes (eq-ridge).

    Return the regression times the factor with the lowest objective, as logits, and the
    Cholesky factor (k, k) of the covariance of the activations with the penalty, in
    float64 on the CPU.
    """
    mean, covariance, cross = _activation_moments(objective, units)
    second_moment = float((covariance.diagonal() + mean.square()).mean())
    rounding = _rounding(second_moment)
    factor = _cholesky(covariance, objective.alpha, rounding)  # (k, k)
    weight = torch.cholesky_solve(cross, factor).t()  # (q, k)
    data, like = objective.data, units.centers
    class_weight = mean.new_zeros(objective.n_classes)
    class_weight.index_add_(0, data.labels.cpu(), fractions(data).cpu().to(mean.dtype))
    least = constants.EMPTY_CLASS_WEIGHT / len(data.rows)
    log_prior = class_weight.clamp_min(least).log()  # (q,)
    networks = []
    for scale in (0.0, *constants.LOGIT_FACTORS):
        bias = log_prior - scale * (weight @ mean)
        networks.append(Network(units, (scale * weight).to(like), bias.to(like)))
    return min(networks, key=lambda network: loss(objective, network)), factor


def logistic(
    objective: Objective, start: Network, factor: Tensor
) -> Iterator[Step[Network]]:
    """Fit the output layer by multinomial logistic regression, with L-BFGS.

    The optimizer works on parameters in which the covariance of the activations with
    the penalty, of which `ridge` returns the `factor`, is the identity. A few
    iterations come close to the optimum unless units nearly coincide. In that case it
    takes many iterations, and the first ones fit what separates the rows easily. Joint
    training starts from those.
    """
    like, shape = start.bias, start.weight.shape
    inverse = torch.linalg.inv(factor).to(like)  # (k, k)

    def network(vector: Tensor) -> Network:
        white, bias = vector.split([shape.numel(), shape[0]])
        return start._replace(weight=white.view(shape) @ inverse, bias=bias)

    def function(vector: Tensor) -> tuple[float, Tensor]:
        value, (by_weight, by_bias) = output_loss_gradient(objective, network(vector))
        return value, torch.cat([(by_weight @ inverse.t()).reshape(-1), by_bias])

    white = start.weight @ factor.to(like)  # (q, k)
    vector = torch.cat([white.reshape(-1), start.bias])
    for step in lbfgs(function, vector, constants.OUTPUT_LBFGS_MEMORY):
        yield Step(network(step.state), step.loss)


def choose_width_factor(
    data: TrainingData,
    units: RBFParameters,
    n_classes: int,
    activation: Activation,
    alpha: float,
    n_rows: int | None = None,
) -> float:
    """Choose the factor on the widths with the lowest leave-one-out error.

    The error is that of ridge regression on the first `n_rows` rows (eq-leave-one-out),
    at the best of several parts of the penalty `alpha`, relative to the mean loss of a
    row.
    """
    if n_classes == 1:
        return WIDTH_FACTORS[0]
    n_rows = n_selection_rows(data, units) if n_rows is None else n_rows
    parts = constants.LEAVE_ONE_OUT_PENALTIES
    penalties = [alpha * len(data.rows) / n_rows * part for part in parts]
    errors = []
    for factor in WIDTH_FACTORS:
        z = log_activations(scale_widths(units, factor), data.rows[:n_rows])  # (k, m)
        activations = activation.function(z)
        error = _leave_one_out_errors(data, activations, n_classes, penalties)
        errors.append(float(error.amin()))
    return WIDTH_FACTORS[errors.index(min(errors))]


def choose_alpha(objective: Objective, units: RBFParameters) -> float:
    """Choose the one of `ALPHA_CANDIDATES` with the lowest leave-one-out error.

    The error is that of kernel ridge regression: with the penalty of the objective
    (eq-unit-kernel), whose `alpha` is the first candidate, instead of a penalty on the
    squared norm of the weights.
    """
    if objective.n_classes == 1:
        return ALPHA_CANDIDATES[0]
    data, (_, _, inverse_root) = objective.data, objective.kernel
    n_rows = n_selection_rows(data, units)
    first = objective.alpha * len(data.rows) / n_rows
    penalties = [first * (alpha / ALPHA_CANDIDATES[0]) for alpha in ALPHA_CANDIDATES]
    z = log_activations(units, data.rows[:n_rows])
    activations = inverse_root @ objective.activation.function(z)  # (k, m)
    errors = _leave_one_out_errors(data, activations, objective.n_classes, penalties)
    return ALPHA_CANDIDATES[int(errors.argmin())]


def n_selection_rows(data: TrainingData, units: RBFParameters) -> int:
    """Count the rows for choices: the first ones, since their order is arbitrary."""
    n_rows = constants.SELECTION_ROWS_PER_UNIT * len(units.centers)
    n_rows = max(constants.MIN_SELECTION_ROWS, n_rows)
    return min(n_rows, constants.MAX_SELECTION_ROWS, len(data.rows))


def _leave_one_out_errors(
    data: TrainingData, activations: Tensor, n_classes: int, penalties: list[float]
) -> Tensor:
    """Compute the leave-one-out error of the first rows for each penalty."""
    n_rows = activations.shape[1]
    activations = activations.cpu().double()  # (k, m)
    codes = one_hot(data.labels[:n_rows], n_classes).t().cpu().double()  # (q, m)
    weight = data.weight[:n_rows].cpu().double()
    weight = weight / weight.sum()
    rounding = _rounding(float((activations.square() @ weight).mean()))
    penalty = activations.new_tensor(penalties) + rounding
    return leave_one_out(activations, codes, weight, penalty)


def scale_widths(units: RBFParameters, factor: float) -> RBFParameters:
    """Multiply the widths by a factor."""
    return units._replace(log_widths=units.log_widths + math.log(factor))


def _rounding(second_moment: float) -> float:
    """Compute the smallest penalty that bounds a ridge regression."""
    return constants.ACTIVATION_ROUNDING * second_moment + 1e-12


def _cholesky(covariance: Tensor, penalty: float, rounding: float) -> Tensor:
    """Factorize a covariance with a penalty, raised until it is positive definite."""
    eye = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    for power in range(6):
        penalized = covariance + (penalty + 10.0**power * rounding) * eye
        factor, failed = torch.linalg.cholesky_ex(penalized)
        if not failed:
            return factor
    return torch.linalg.cholesky(penalized)  # raises an error


def _activation_moments(
    objective: Objective, units: RBFParameters
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute moments of the activations and the classes, in float64 on the CPU.

    Return the mean (k,) and covariance (k, k) of the activations, and their covariances
    (k, q) with the codes of the classes.
    """
    k, q = len(units.centers), objective.n_classes
    zero = torch.zeros((), dtype=torch.float64, device="cpu")
    total, square = zero.new_zeros(k), zero.new_zeros(k, k)
    cross, class_weight = zero.new_zeros(k, q), zero.new_zeros(q)
    for rows, labels, weight in objective.blocks():
        activations = objective.activation.function(log_activations(units, rows))
        weighted = activations * weight  # (k, m)
        codes = one_hot(labels, q).to(activations)  # (m, q)
        total += weighted.sum(1).cpu()
        square += (weighted @ activations.t()).cpu()
        cross += (weighted @ codes).cpu()
        class_weight += (weight @ codes).cpu()
    return total, square - total.outer(total), cross - total.outer(class_weight)
