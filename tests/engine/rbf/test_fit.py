"""Test the fit of an RBF network: joint training, batches of a stream, and settings."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import fractional_matrix_power

from skrbf.engine.rbf import fit as rbf
from skrbf.engine.rbf import objective as net
from skrbf.engine.rbf.config import output_max_iter, resolve_solver
from skrbf.engine.rbf.initial_units import initial_units
from skrbf.engine.training.loop import Stopping
from skrbf.engine.training.records import never_stop
from skrbf.ops.rbf_units import ACTIVATIONS

WIDTHS = ["per_center", "global", "per_feature"]


def recorder():
    """Return a list and a hook that appends (record, network) of every step to it."""
    seen = []

    def on_step(record, network):
        seen.append((record, network))
        return False

    return seen, on_step


@pytest.fixture
def units_of(data):
    def place(config):
        return initial_units(data, config, 3, ACTIVATIONS["gaussian"], 1e-3)[0]

    return place


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("width", WIDTHS)
def test_joint_training_has_a_lower_loss_than_the_output_layer(
    data, make_config, units_of, objective_of, width, solver
):
    config = make_config(width=width, solver=solver)
    units = units_of(config)
    objective = objective_of(data, units, smoothing=0.0, center_penalty=0.0)
    seen, on_step = recorder()
    descent, score, diverged = rbf.fit(objective, None, config, units, on_step)
    output = [record.loss for record, _ in seen if record.phase == "output"]
    joint = [record.loss for record, _ in seen if record.phase == "joint"]
    assert descent.objective == min(*output, *joint) < 0.8 * min(output)
    loss = net.loss(objective, descent.state)
    assert descent.objective == pytest.approx(loss, rel=1e-5)
    assert len(joint) == descent.n_iter == 60
    assert math.isnan(score)
    assert not diverged
    assert bool(descent.state.units.log_scales.any()) == (width != "per_feature")


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_the_first_step_is_in_whitened_parameters(ridge_start, make_config, solver):
    objective, network, _ = ridge_start()
    seen, on_step = recorder()

    def stop_at_once(record, state):
        return on_step(record, state) or True

    config = make_config(solver=solver, batch_size=90)
    rbf.fit(objective, None, config, network, stop_at_once)
    root = fractional_matrix_power(objective.kernel.matrix.double().numpy(), 0.5)
    move = (seen[0][1].weight - network.weight).double().numpy() @ root
    _, gradient = net.loss_gradient(objective, network)
    slope = gradient.weight.double().numpy() @ np.linalg.inv(root)
    if solver == "adam":  # by its rate, for any size of the slope
        large = np.abs(slope) > 1e-2 * np.abs(slope).max()
        assert large.mean() > 0.5
        np.testing.assert_allclose(np.abs(move[large]), 0.01, rtol=2e-3)
        assert (np.sign(move) == -np.sign(slope))[large].all()
    else:
        cosine = (move * slope).sum() / np.linalg.norm(move) / np.linalg.norm(slope)
        assert cosine < -0.999


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_the_penalty_keeps_centers_near_their_anchor(
    data, make_config, units_of, objective_of, solver
):
    shifts = []
    for penalty in (0.0, 1.0, 100.0):
        config = make_config(
            width="global",
            solver=solver,
            learning_rate=0.02,
            stopping=Stopping(40, 0.0, 40),
        )
        units = units_of(config)
        objective = objective_of(data, units, center_penalty=penalty)
        seen, on_step = recorder()
        rbf.fit(objective, None, config, units, on_step)
        last = seen[-1][1].units.centers
        shifts.append(float((last - units.centers).square().mean()))
    assert shifts[0] > 2 * shifts[1] > 20 * shifts[2] > 0


def test_an_epoch_of_a_stream_is_an_epoch_of_adam(ridge_start, make_config):
    """At a quarter of the rate, which does not decay, and with earlier moments."""
    objective, network, _ = ridge_start()
    config = make_config(learning_rate=0.04)
    vector = net.whiten(network, objective.kernel)
    generator = torch.Generator().manual_seed(0)
    position = torch.nn.Parameter(vector.clone())
    moved, moments = network, None
    optimizer, start = None, vector
    for _ in range(2):
        moved, moments, loss = rbf.fit_batch(objective, moved, moments, config)
        if optimizer is None:
            optimizer = torch.optim.Adam([position], lr=0.01)
        for index in torch.randperm(90, generator=generator).split(32):
            position.grad = net.whitened_batch_gradient(
                objective, network, position.detach(), index
            )
            # Widths and scales have three times the rate: so let torch move them.
            before = position.detach().clone()
            optimizer.step()
            move = position.detach() - before
            fast = net.unpack(move, network).units
            fast = [fast.log_widths, fast.log_scales]
            for part in fast:
                part.mul_(3.0)
            position.data = before + move
        expected = net.unwhiten(position.detach(), network, objective.kernel)
        torch.testing.assert_close(
            net.pack(moved), net.pack(expected), rtol=1e-3, atol=1e-4
        )
        assert loss == pytest.approx(net.loss(objective, moved))
    assert moments[2] == 6
    assert not torch.equal(net.whiten(moved, objective.kernel), start)


def test_moments_of_another_network_are_not_used(ridge_start, make_config):
    objective, network, _ = ridge_start()
    other = torch.ones(3), torch.ones(3), 7
    fresh, _, _ = rbf.fit_batch(objective, network, None, make_config())
    again, moments, _ = rbf.fit_batch(objective, network, other, make_config())
    assert torch.equal(net.pack(fresh), net.pack(again))
    assert moments[2] == 3


def test_held_out_rows_choose_the_best_state(data, make_config, units_of, objective_of):
    config = make_config()
    units = units_of(config)
    training, held_out = data.take(torch.arange(60)), data.take(torch.arange(60, 90))
    seen, on_step = recorder()
    objective = objective_of(training, units)
    descent, score, _ = rbf.fit(objective, held_out, config, units, on_step)
    joint = [record for record, _ in seen if record.phase == "joint"]
    scores = [record.validation_score for record in joint]
    assert score == max(scores) > min(scores)
    # A score is a fraction of the weight, of rows that the network gets right.
    network = descent.state
    z = -((held_out.rows - network.units.centers[:, None]) ** 2) / 2
    widths = network.units.log_widths + network.units.log_scales
    z = (z * (-2 * widths).exp()[:, None]).sum(2)
    f = network.weight @ z.exp() + network.bias[:, None]
    right = held_out.weight @ (f.argmax(0) == held_out.labels).float()
    assert score == pytest.approx(float(right / held_out.weight.sum()), rel=1e-5)


def test_a_fit_that_is_stopped_in_the_output_layer_ends_there(
    data, make_config, units_of, objective_of
):
    config = make_config()
    units = units_of(config)
    objective = objective_of(data, units)
    descent, _, _ = rbf.fit(objective, None, config, units, lambda record, state: True)
    assert descent.n_iter == 1
    assert torch.equal(descent.state.units.centers, units.centers)
    none = config._replace(stopping=Stopping(0, 0.0, 60))
    descent, _, _ = rbf.fit(objective, None, none, units, never_stop)
    assert 1 < descent.n_iter <= 500
    assert torch.equal(descent.state.units.centers, units.centers)


@pytest.mark.parametrize(
    ("given", "resolved"),
    [
        (("auto", None, None, 32), ("lbfgs", 150, 32)),
        (("auto", None, None, 5000), ("adam", 20, 128)),
        (("auto", None, None, 320), ("adam", 50, 32)),
        (("auto", None, None, 60_000), ("adam", 20, 256)),
        (("auto", 7, 50, 60), ("adam", 7, 50)),
        (("lbfgs", None, None, 10**6), ("lbfgs", 150, 256)),
        (("auto", 0, None, 1), ("lbfgs", 0, 32)),
    ],
)
def test_settings_that_are_left_open_are_resolved(given, resolved):
    assert resolve_solver(*given) == resolved


def test_the_output_layer_is_fitted_longer_if_nothing_follows():
    assert (output_max_iter(0), output_max_iter(1)) == (500, 10)
