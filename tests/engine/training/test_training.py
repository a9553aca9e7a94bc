"""Test the training loop and its optimizers against scipy, torch and closed forms."""

import math
from functools import partial

import numpy as np
import pytest
import scipy.optimize
import torch

from skrbf.engine.training.adam import (
    adam,
    adam_step,
    constant_schedule,
    cosine_schedule,
    no_moments,
)
from skrbf.engine.training.batches import shuffled_batches
from skrbf.engine.training.lbfgs import lbfgs
from skrbf.engine.training.loop import Step, Stopping, checked, train
from skrbf.engine.training.records import never_stop

LONG = Stopping(max_iter=100, tol=0.0, patience=100)


def steps_of(losses):
    return (Step(f"state {i}", loss) for i, loss in enumerate(losses, 1))


def test_the_lowest_loss_is_kept():
    start = Step("state 0", 5.0)
    descent, score, least = train(
        steps_of([4.0, 2.0, 3.0]), start, "joint", LONG, never_stop
    )
    assert descent == ("state 2", 2.0, 3, True, False)
    assert math.isnan(score)
    assert least == 2.0


def test_the_start_is_kept_if_nothing_is_better():
    start = Step("state 0", 5.0)
    descent, _, least = train(steps_of([6.0, 7.0]), start, "joint", LONG, never_stop)
    assert descent[:2] == ("state 0", 5.0)
    assert least == 6.0


def test_validation_decides_and_ties_go_to_the_lower_loss():
    scores = {"state 0": 0.1, "state 1": 0.8, "state 2": 0.8, "state 3": 0.5}
    start = Step("state 0", 9.0)
    steps = steps_of([4.0, 3.0, 1.0])
    descent, score, _ = train(steps, start, "p", LONG, never_stop, scores.get)
    assert (descent.state, descent.objective, score) == ("state 2", 3.0, 0.8)


@pytest.mark.parametrize(("tol", "n_iter"), [(0.0, 50), (0.01, 13), (0.5, 3)])
def test_training_ends_without_progress(tol, n_iter):
    """Losses 10, 9, ..., 1 that then hardly fall: progress is relative."""
    losses = [max(10.0 - i, 1.0) - 1e-6 * i for i in range(1, 51)]
    stopping = Stopping(max_iter=50, tol=tol, patience=3)
    start = Step("start", 10.0)
    descent, *_ = train(steps_of(losses), start, "p", stopping, never_stop)
    assert descent.n_iter in (n_iter, n_iter - 1)
    assert descent.converged == (n_iter < 50)


def test_validation_without_progress_ends_the_training():
    """Two steps without a higher score, though the loss still falls."""
    scores = {f"state {i}": min(i, 3) for i in range(10)}
    stopping = Stopping(max_iter=9, tol=0.5, patience=2)
    steps = steps_of([9.0 - i for i in range(9)])
    descent, score, _ = train(
        steps, Step("state 0", 10.0), "p", stopping, never_stop, scores.get
    )
    assert (descent.n_iter, descent.converged, score) == (5, True, 3)


def test_many_small_steps_are_progress():
    losses = [1.0 - 0.004 * i for i in range(1, 51)]
    stopping = Stopping(max_iter=50, tol=0.01, patience=5)
    start = Step("s", 1.0)
    descent, *_ = train(steps_of(losses), start, "p", stopping, never_stop)
    assert descent.n_iter == 50


def test_the_hook_sees_every_step_and_stops():
    seen = []

    def on_step(record, state):
        seen.append((record, state))
        return len(seen) == 2

    start = Step("s", 5.0)
    descent, *_ = train(steps_of([4.0, 3.0, 2.0]), start, "joint", LONG, on_step)
    assert [(r.phase, r.loss, s) for r, s in seen] == [
        ("joint", 4.0, "state 1"),
        ("joint", 3.0, "state 2"),
    ]
    assert descent == ("state 2", 3.0, 2, True, True)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_an_error(bad):
    message = rf"loss is {bad} in step 2 of the phase 'joint'. Lower learning_rate"
    with pytest.raises(FloatingPointError, match=message):
        train(steps_of([1.0, bad]), Step("s", 5.0), "joint", LONG, never_stop)
    with pytest.raises(FloatingPointError, match="in step 0"):
        train(steps_of([1.0]), Step("s", bad), "joint", LONG, never_stop)
    with pytest.raises(FloatingPointError, match=r"step 2 of .* Use smaller images"):
        list(checked(steps_of([1.0, bad]), "p", 9, "Use smaller images."))


def test_a_training_of_no_steps_keeps_the_start():
    stopping = LONG._replace(max_iter=0)
    descent, _, least = train(
        steps_of([1.0]), Step("s", 5.0), "p", stopping, never_stop
    )
    assert descent == ("s", 5.0, 0, False, False)
    assert least == math.inf


@pytest.mark.parametrize(("max_iter", "expected"), [(9, 3), (3, 3), (2, 2), (0, 0)])
def test_checked_steps_are_limited(max_iter, expected):
    steps = list(checked(steps_of([3.0, 2.0, 1.0]), "p", max_iter))
    assert [step.loss for step in steps] == [3.0, 2.0, 1.0][:expected]


def rosenbrock(x):
    value, slope = scipy.optimize.rosen(x.numpy()), scipy.optimize.rosen_der(x.numpy())
    return float(value), torch.from_numpy(slope)


def test_lbfgs_descends_the_valley_of_rosenbrock():
    start = torch.full((10,), -1.2, dtype=torch.float64)
    steps = list(lbfgs(rosenbrock, start))
    losses = [rosenbrock(start)[0], *(step.loss for step in steps)]
    assert (np.diff(losses) < 0).all()
    np.testing.assert_allclose(steps[-1].state, 1.0, rtol=1e-6)
    found = scipy.optimize.minimize(
        scipy.optimize.rosen, start, jac=scipy.optimize.rosen_der, method="L-BFGS-B"
    )
    assert found.fun < 1e-6
    below = sum(step.loss > found.fun for step in steps)
    assert below <= 2 * found.nit


def test_lbfgs_solves_a_quadratic_and_leaves_its_states_alone():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(8, 8, generator=generator, dtype=torch.float64)
    matrix, b = root @ root.t() + torch.eye(8).double(), root[0]

    def function(x):
        return float(0.5 * x @ matrix @ x - b @ x), matrix @ x - b

    start = torch.zeros(8, dtype=torch.float64)
    steps = [(step.state, step.state.clone()) for step in lbfgs(function, start)]
    assert all(torch.equal(now, then) for now, then in steps)
    assert not start.any()
    torch.testing.assert_close(steps[-1][0], torch.linalg.solve(matrix, b))


def test_lbfgs_ends_at_a_minimum_and_at_nan():
    def bowl(x):
        return float(x @ x), 2 * x

    assert list(lbfgs(bowl, torch.zeros(3))) == []
    assert list(lbfgs(lambda x: (math.nan, x), torch.ones(3))) == []


def test_lbfgs_survives_a_region_without_values():
    """Minus the logarithm: a step too far is outside of its domain."""

    def barrier(x):
        return float((x - x.log()).sum()), 1 - 1 / x

    *_, last = lbfgs(barrier, torch.full((2,), 1e-3, dtype=torch.float64))
    torch.testing.assert_close(last.state, torch.ones(2).double())


def test_adam_steps_are_those_of_torch():
    factor, rates = 0.25, torch.tensor([0.1, 0.01, 0.0]).double()
    start = torch.tensor([1.0, -2.0, 3.0]).double()
    theirs = [torch.nn.Parameter(part.clone()) for part in start]
    optimizer = torch.optim.Adam(
        [
            {"params": [p], "lr": factor * float(r)}
            for p, r in zip(theirs, rates, strict=True)
        ]
    )
    ours, moments = start, no_moments(start)
    for _ in range(20):
        slope = ours**3 - 1
        ours, moments = adam_step(ours, slope, moments, rates, factor)
        for parameter in theirs:
            parameter.grad = parameter.detach() ** 3 - 1
        optimizer.step()
    torch.testing.assert_close(ours, torch.stack([p.detach() for p in theirs]))
    assert start.tolist() == [1.0, -2.0, 3.0]
    assert ours[2] == 3.0


def test_steps_of_adam_by_a_tiny_gradient_are_those_of_torch():
    """Epsilon decides on the length of such steps."""
    theirs = torch.nn.Parameter(torch.zeros(1).double())
    optimizer = torch.optim.Adam([theirs], lr=1.0)
    ours = theirs.detach().clone()
    moments, slope = no_moments(ours), torch.full((1,), 1e-8).double()
    for _ in range(3):
        ours, moments = adam_step(ours, slope, moments, torch.ones(1).double())
        theirs.grad = slope.clone()
        optimizer.step()
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-12, atol=0)
    assert -2 < float(ours) < -1  # halved


def epochs(schedule, start):
    """Yield the states of Adam with a constant gradient, five batches an epoch."""
    generator = torch.Generator().manual_seed(0)
    batches = partial(shuffled_batches, 10, 2, generator, torch.device("cpu"))
    rates = torch.ones_like(start[0])
    return adam(lambda x, index: rates, float, start, rates, batches, schedule)


def test_the_rates_of_the_cosine_schedule_fall_to_zero():
    start = torch.zeros(1, dtype=torch.float64)
    steps = epochs(cosine_schedule(4), (start, no_moments(start)))
    positions = [0.0, *(next(steps).loss for _ in range(6))]
    moves = -np.diff(positions)
    # The gradient is constant, so a step is as long as its rate, up to epsilon.
    done = np.arange(1, 21) / 20
    expected = (0.5 * (1 + np.cos(np.pi * done))).reshape(4, 5).sum(1)
    np.testing.assert_allclose(moves[:4], expected, rtol=1e-7)
    np.testing.assert_allclose(moves[4:], 0, atol=1e-6)


def test_adam_goes_on_from_its_moments():
    start = torch.zeros(1, dtype=torch.float64)
    first = next(epochs(constant_schedule, (start, no_moments(start))))
    position, (mean, second, n_steps) = first.state
    assert float(position) == pytest.approx(-5, rel=1e-6)
    assert n_steps == 5
    assert float(mean) == pytest.approx(1 - 0.9**5)
    assert float(second) == pytest.approx(1 - 0.999**5)
    again = next(epochs(constant_schedule, first.state))
    assert again.state[1][2] == 10
    assert again.loss == pytest.approx(-10, rel=1e-6)
