"""Test the output layer and the choices made by it against scikit-learn and numpy."""

from itertools import islice

import numpy as np
import pytest
import torch
from scipy.linalg import fractional_matrix_power
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_predict

from skrbf.engine.rbf import objective as net
from skrbf.engine.rbf.initial_units import kmeans_centers, units_at
from skrbf.engine.rbf.output_layer import (
    choose_alpha,
    choose_width_factor,
    logistic,
    n_selection_rows,
    ridge,
    scale_widths,
)
from skrbf.ops.rbf_units import ACTIVATIONS, log_activations
from skrbf.ops.ridge import leave_one_out

WIDTHS = ["per_center", "global", "per_feature"]
GAUSSIAN = ACTIVATIONS["gaussian"]


@pytest.mark.parametrize("width", WIDTHS)
def test_noise_prefers_wide_units_and_a_disc_narrow_ones(rng, make_data, width):
    X = torch.from_numpy(rng.normal(size=(300, 2))).float()
    noise = torch.from_numpy(rng.permutation(np.arange(300) % 2))
    disc = (X.square().sum(1) > 1.4).long()
    for labels, factor in [(noise, 2 * 2**0.5), (disc, 1)]:
        data = make_data(X, labels)
        units = units_at(kmeans_centers(X, data.weight, 40, data.compute), width, 1.0)
        assert choose_width_factor(data, units, 2, GAUSSIAN, 3e-4) == factor


def width_factor_by_definition(data, units, alpha, n_rows):
    """Choose from the first rows, by the error at the best of three penalties."""
    z = log_activations(units, data.rows[:n_rows]).double()
    codes = torch.nn.functional.one_hot(data.labels[:n_rows], 3).t().double()
    weight = data.weight[:n_rows].double()
    weight = weight / weight.sum()
    # The penalty is beside the sum of the losses of all rows.
    penalties = alpha * len(data.rows) / n_rows * torch.tensor([0.01, 0.1, 1.0])
    errors = {
        # f times the width is 1 / f^2 times the log activation.
        f: float(leave_one_out((z / f**2).exp(), codes, weight, penalties).min())
        for f in (1.0, 2**0.5, 2.0, 2 * 2**0.5)
    }
    return min(errors, key=errors.get)


def test_the_width_factor_is_chosen_by_leave_one_out_errors_of_the_first_rows(
    rng, make_data
):
    chosen = []
    for _ in range(12):
        X = torch.from_numpy(rng.normal(size=(90, 2))).float()
        labels = torch.from_numpy(np.digitize((X.numpy() ** 2).sum(1), [1.0, 2.5]))
        noise = torch.from_numpy(rng.integers(0, 3, 90))
        labels = torch.where(torch.from_numpy(rng.random(90) < 0.4), noise, labels)
        data = make_data(X, labels, torch.from_numpy(rng.uniform(0.2, 5, 90)))
        units = units_at(X[:12], "per_center", 1.0)
        for alpha, n_rows in [(1e-3, 45), (1e-1, 45), (1e-3, 90), (1e-1, 90)]:
            factor = choose_width_factor(data, units, 3, GAUSSIAN, alpha, n_rows)
            assert factor == pytest.approx(
                width_factor_by_definition(data, units, alpha, n_rows)
            )
            chosen.append(factor)
    few, more = np.reshape(chosen, (-1, 2, 2)).transpose(1, 0, 2)
    assert len(set(chosen)) > 2
    assert (few != more).any()  # the number of rows matters
    assert (few[:, 0] != few[:, 1]).any()  # and so does the penalty


def test_a_width_factor_is_found_without_a_penalty(data):
    units = units_at(data.rows[:40], "global", 1e4)
    assert choose_width_factor(data, units, 3, GAUSSIAN, 0.0) >= 1


def test_choices_are_made_on_a_bounded_number_of_rows(rng, make_data):
    X = torch.from_numpy(rng.normal(size=(6000, 1)))
    data = make_data(X, torch.zeros(6000))
    for n_units, expected in [(3, 1000), (300, 1500), (2000, 5000)]:
        units = units_at(torch.zeros(n_units, 1), "global", 1.0)
        assert n_selection_rows(data, units) == expected
    small = make_data(X[:50], torch.zeros(50))
    assert n_selection_rows(small, units) == 50


@pytest.mark.parametrize("name", ["gaussian", "softmax"])
def test_alpha_is_that_of_the_best_kernel_ridge_regression(
    rng, make_data, objective_of, name
):
    X = torch.from_numpy(rng.normal(size=(120, 2))).float()
    separable = (X.square().sum(1) > 1.4).long()
    flipped = torch.from_numpy(rng.random(120) < 0.25)
    for labels in (separable, torch.where(flipped, 1 - separable, separable)):
        data = make_data(X, labels)
        units = units_at(kmeans_centers(X, data.weight, 30, data.compute), "global", 1)
        objective = objective_of(data, units, activation=ACTIVATIONS[name])
        activations = objective.activation.function(log_activations(units, X))
        inverse = np.linalg.inv(objective.kernel.matrix.double().numpy())
        features = activations.double().numpy().T @ np.linalg.cholesky(inverse)
        errors = []
        for factor in (1.0, 3.0, 10.0, 30.0):
            model = Ridge(alpha=120 * 1e-3 * factor)
            codes = np.eye(2)[labels]
            left_out = cross_val_predict(model, features, codes, cv=120)
            errors.append(((left_out - codes) ** 2).sum())
        best = (0.1, 0.3, 1.0, 3.0)[int(np.argmin(errors))]
        assert choose_alpha(objective, units) == best
    assert best > 0.1


def test_units_that_coincide_need_no_penalty(data, objective_of):
    units = units_at(data.rows[:40], "global", 1.0)
    for factor in (1.0, 100.0, 1e4):
        wide = scale_widths(units, factor)
        objective = objective_of(data, wide, alpha=0.0)
        network, _ = ridge(objective, wide)
        assert np.isfinite(net.loss(objective, network))


def test_ridge_is_ridge_regression(ridge_start):
    """Up to a factor of the weights, and with the intercept that fits the factor."""
    objective, network, _ = ridge_start()
    data = objective.data
    phi = log_activations(network.units, data.rows).exp().double().numpy()
    w = data.weight.double().numpy() / 90
    codes = np.eye(3)[data.labels.numpy()].T
    centered = phi - phi @ w[:, None]
    gram = (centered * w) @ centered.T
    gram += (1e-3 + 1e-6 * np.diag(gram).mean()) * np.eye(8)
    expected = np.linalg.solve(gram, (centered * w) @ codes.T).T
    factor = (network.weight.numpy() * expected).sum() / (expected**2).sum()
    assert round(factor, 3) in (0, 0.5, 1, 2, 4, 8, 16)
    np.testing.assert_allclose(network.weight, factor * expected, rtol=2e-3, atol=1e-3)
    mean = network.weight.numpy() @ (phi @ w) + network.bias.numpy()
    np.testing.assert_allclose(mean, np.log(codes @ w), rtol=1e-3)


def by_scikit_learn(objective, network):
    """Solve the same problem: a penalty on V K V^T is one on the rows of V K^(1/2)."""
    matrix, data = objective.kernel.matrix.double().numpy(), objective.data
    inverse_root = fractional_matrix_power(matrix, -0.5)
    phi = log_activations(network.units, data.rows).exp().t().numpy()
    model = LogisticRegression(C=1 / 1e-3, tol=1e-8, max_iter=1000)
    weight = data.weight.double().numpy() / len(data.weight)
    model.fit(phi @ inverse_root, data.labels, sample_weight=weight)
    return network._replace(
        weight=torch.from_numpy(model.coef_ @ inverse_root).float(),
        bias=torch.from_numpy(model.intercept_).float(),
    )


def test_the_output_layer_is_logistic_regression(ridge_start):
    objective, network, factor = ridge_start(smoothing=0.0)
    *_, last = islice(logistic(objective, network, factor), 200)
    assert net.loss(objective, network) > last.loss
    best = net.loss(objective, by_scikit_learn(objective, network))
    assert last.loss == pytest.approx(best, rel=1e-4)


def test_logistic_regression_comes_close_if_units_overlap(data, objective_of):
    """The first steps fit what separates the rows easily."""
    centers = kmeans_centers(data.rows, data.weight, 30, data.compute)
    wide = scale_widths(units_at(centers, "per_center", 1.0), 2.0)
    objective = objective_of(data, wide, smoothing=0.0)
    network, factor = ridge(objective, wide)
    losses = [step.loss for step in islice(logistic(objective, network, factor), 300)]
    best = net.loss(objective, by_scikit_learn(objective, network))
    assert losses[-1] < 1.05 * best < losses[10] < 1.6 * best
