"""The parts of a fit of an RBF network, each against something independent."""

from itertools import islice

import numpy as np
import pytest
import torch
from scipy.linalg import fractional_matrix_power
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_predict
from sklearn.preprocessing import StandardScaler

from skrbf.engine.data.compute import Compute
from skrbf.engine.data.deduplicate import deduplicate
from skrbf.engine.data.holdout import hold_out
from skrbf.engine.data.scaling import apply_scaling, fit_scaling
from skrbf.engine.rbf import fit as rbf
from skrbf.engine.rbf import objective as net
from skrbf.engine.rbf.initial_units import (
    place_centers,
    place_centers_by_class,
    place_units,
)
from skrbf.engine.rbf.objective import Task
from skrbf.engine.rbf.output_layer import (
    chosen_alpha,
    chosen_factor,
    logistic,
    ridge,
    widened,
)
from skrbf.engine.rbf.prototypes import describe
from skrbf.engine.training.loop import Stopping
from skrbf.ops.keys import row_projections
from skrbf.ops.rbf import ACTIVATIONS, exponents

WIDTHS = ["per_center", "global", "per_feature"]


def compute(memory=1 << 30):
    return Compute.resolve("cpu", torch.float32, work=0, memory_bytes=memory)


def host(X):
    dtype = torch.from_numpy(X[:0]).dtype
    there = Compute.resolve("cpu", dtype, work=0, memory_bytes=1 << 30)
    return there.dense(torch.from_numpy(X))


@pytest.fixture
def task(rng):
    """Three classes that no line parts."""
    X = rng.normal(size=(90, 2)).astype(np.float32)
    labels = np.digitize((X**2).sum(1), [1.0, 2.5])
    weight = rng.uniform(0.5, 2, 90)
    return Task(
        torch.from_numpy(X),
        torch.from_numpy(labels),
        torch.from_numpy(weight / weight.sum()).float(),
        3,
        ACTIVATIONS["gaussian"],
        1e-3,
        0.5,
        0.1,
        compute(),
    )


def start_of(task, width="per_center", k=8):
    """The task for some units, and a ridge regression on them."""
    centers = place_centers(task.rows, task.weight, k, task.compute)
    units = place_units(centers, width, 1.0)
    task = task.with_kernel(units)
    return task, *ridge(task, units)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distinct_rows_have_an_order_of_their_own(rng, dtype):
    X = rng.integers(0, 3, (60, 2)).astype(dtype)
    y, w = rng.integers(0, 2, 60), rng.integers(0, 4, 60)
    index, found_weight, n_points, weight_sum = deduplicate(
        host(X), torch.from_numpy(y), torch.from_numpy(w).double()
    )

    table = {}
    for x, label, weight in zip(X.tolist(), y, w, strict=True):
        if weight:
            table[(*x, label)] = table.get((*x, label), 0) + weight
    keys = [(*X[i].tolist(), y[i]) for i in index.tolist()]
    assert sorted(keys) == sorted(table)
    places = row_projections(torch.tensor(X[index]).double() / 2)
    assert torch.equal(places, places.sort()[0])
    expected = [table[key] / w.sum() for key in keys]
    np.testing.assert_allclose(found_weight, expected, rtol=1e-12)
    assert weight_sum == w.sum()
    assert n_points == len({key[:2] for key in keys})
    for i in index.tolist():  # the first of equal rows
        same = (X[i] == X).all(1) & (y == y[i]) & (w > 0)
        assert i == np.flatnonzero(same)[0]

    order = rng.permutation(60)
    more = order.repeat(w[order])
    again, weight, *_ = deduplicate(host(X[more]), torch.from_numpy(y[more]), None)
    assert torch.equal(weight, found_weight)
    np.testing.assert_array_equal(X[more][again], X[index])


@pytest.mark.parametrize(
    "other",
    [
        lambda X: X.astype(np.float32).astype(float),
        lambda X: X * [1e-6, 1e6, 3, 7, 0.1],
        lambda X: X + np.array([1e6, -1e4, 0, 5, 1]),
        lambda X: X * 1e300,
    ],
    ids=["rounded", "units", "origins", "large"],
)
def test_an_order_that_rounding_units_and_origins_hardly_change(rng, other):
    X = rng.normal(size=(500, 5))
    labels = torch.zeros(500, dtype=torch.int64)
    place = deduplicate(host(X), labels, None)[0].argsort()
    moved = deduplicate(host(other(X)), labels, None)[0].argsort() - place
    assert (moved != 0).sum() < 25
    assert moved.abs().max() <= 2


def test_rows_with_the_same_key_are_still_told_apart(rng, monkeypatch):
    X = np.arange(12.0).reshape(6, 2)[[0, 1, 2, 0, 1, 2]]
    monkeypatch.setattr(
        "skrbf.engine.data.deduplicate.row_keys",
        lambda rows: torch.zeros(len(rows), dtype=torch.int64),
    )
    index, weight, *_ = deduplicate(host(X), torch.zeros(6, dtype=torch.int64), None)
    assert float(weight.sum()) == pytest.approx(1.0)
    assert len({tuple(X[i]) for i in index.tolist()}) == 3


@pytest.fixture
def table(rng):
    """Rows, classes and weights: a feature that tells classes apart, and one that is
    nearly always the same.
    """
    y, w = rng.integers(0, 3, 50), rng.uniform(0.5, 1.5, 50)
    X = rng.normal(size=(50, 4)) * [1, 100, 1e-3, 0] + [0, 5, 1e3, 0]
    X[:, 0] += 2 * y
    X[7, 3] = 40.0
    return X, y, w / w.sum()


def measured(X, y, w):
    labels = None if y is None else torch.from_numpy(y)
    return fit_scaling(host(X), torch.arange(50), torch.from_numpy(w), labels)


def test_scaling_is_spread_over_relevance(table):
    X, y, w = table
    mean = w @ X
    variance = w @ (X - mean) ** 2
    spread = np.maximum(np.sqrt(variance), (X.max(0) - X.min(0)) / 4)
    assert (spread > np.sqrt(variance) * [1, 1, 1, 1.5]).any()
    ratio = np.zeros(4)  # 1 - the part of the variance that is within the classes
    for j in range(4):
        within = 0.0
        for c in range(3):
            own, part = X[y == c, j], w[y == c]
            within += part @ (own - part @ own / part.sum()) ** 2
        ratio[j] = 1 - within / variance[j]
    counts = ratio + 0.3 * ratio.mean() + 0.02
    scaling = measured(X, y, w)
    np.testing.assert_allclose(scaling.mean, mean, rtol=1e-12)
    expected = spread / np.sqrt(counts / counts.mean())
    np.testing.assert_allclose(scaling.scale, expected, rtol=1e-9)
    found = apply_scaling(host(X), torch.arange(50), scaling)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, (X - mean) / expected, atol=1e-6)


def test_one_class_leaves_the_spread_and_a_constant_feature_is_centred(table):
    X, y, w = table
    X = np.column_stack([X, np.full(50, 7.1)])
    scale = measured(X, 0 * y, w).scale.numpy()
    spread = np.maximum(
        StandardScaler().fit(X[:, :4], sample_weight=w).scale_, np.ptp(X[:, :4], 0) / 4
    )
    np.testing.assert_allclose(scale, [*spread, 1.0], rtol=1e-9)


def test_a_common_scale_is_the_mean_deviation(table):
    """Of constant features too: rows that come later may differ there."""
    X, _, w = table
    variance = [*StandardScaler().fit(X, sample_weight=w).var_, 0.0]
    common = measured(np.column_stack([X, np.full(50, 7.1)]), None, w).scale
    np.testing.assert_allclose(common, np.sqrt(np.mean(variance)), rtol=1e-9)
    constant = np.full((50, 3), 7.1)
    np.testing.assert_array_equal(measured(constant, None, w).scale, 1.0)


@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("value", [1.0, 7.1, -1e9])
def test_a_constant_feature_becomes_exactly_zero(table, value, classes):
    X, y, w = table
    X = np.column_stack([X, np.full(50, value)])
    scaling = measured(X, y if classes else None, w)
    assert scaling.mean[-1] == value
    assert not apply_scaling(host(X), torch.arange(50), scaling)[:, -1].any()


@pytest.mark.parametrize("power", [-1000, -600, -500, 500, 1000])
def test_no_scale_has_a_unit(table, power):
    """Also where the squares of the rows leave the range of float64."""
    X, y, w = table
    for labels in (None, y):
        plain, scaled = measured(X, labels, w), measured(np.ldexp(X, power), labels, w)
        for found, expected in zip(scaled, plain, strict=True):
            np.testing.assert_array_equal(found, np.ldexp(expected.numpy(), power))


def test_the_rounding_of_a_constant_feature_is_not_blown_up(rng):
    X = rng.normal(size=(50, 3)).astype(np.float32) * 1e-6
    time = np.float32(1.7e9) + rng.integers(0, 2, 50) * np.float32(128)
    X = np.column_stack([X, time]).astype(np.float32)
    scaling = measured(X, None, np.ones(50))
    scaled = (X - scaling.mean.numpy()) / scaling.scale.numpy()
    assert np.abs(scaled[:, 3]).max() < 1
    np.testing.assert_allclose(scaled[:, :3].std(), 1, rtol=0.3)


def test_hold_out_is_stratified_by_weight(rng):
    labels = torch.from_numpy(rng.choice(3, 600, p=[0.7, 0.25, 0.05]))
    weight = torch.from_numpy(rng.exponential(size=600))
    generator = torch.Generator().manual_seed(0)
    here, out = hold_out(labels, weight, 0.2, generator)
    assert sorted([*here.tolist(), *out.tolist()]) == list(range(600))
    for label in range(3):
        own = labels == label
        held = float(weight[out][labels[out] == label].sum())
        assert held == pytest.approx(0.2 * float(weight[own].sum()), rel=0.2)
    _, other = hold_out(labels, weight, 0.2, generator)
    assert other.tolist() != out.tolist()


def test_hold_out_leaves_a_row_of_every_class():
    labels, weight = torch.tensor([0] * 20 + [1]), torch.ones(21)
    weight[-1] = 100.0
    for seed in range(5):
        here, _ = hold_out(labels, weight, 0.9, torch.Generator().manual_seed(seed))
        assert set(labels[here].tolist()) == {0, 1}
    with pytest.raises(
        ValueError, match=r"validation_fraction=0\.1 of 2 distinct rows"
    ):
        hold_out(torch.tensor([0, 1]), torch.ones(2), 0.1, torch.Generator())


@pytest.mark.parametrize("width", WIDTHS)
def test_noise_wants_wide_units_and_a_disc_narrow_ones(rng, width):
    X = torch.from_numpy(rng.normal(size=(300, 2))).float()
    weight = torch.full((300,), 1 / 300)
    noise = torch.from_numpy(rng.permutation(np.arange(300) % 2))
    disc = (X.square().sum(1) > 1.4).long()
    for labels, factor in [(noise, 2 * 2**0.5), (disc, 1)]:
        gaussian = ACTIVATIONS["gaussian"]
        task = Task(X, labels, weight, 2, gaussian, 3e-4, 0.0, 0.0, compute())
        centers = place_centers(X, weight, 40, compute())
        assert chosen_factor(task, place_units(centers, width, 1.0)) == factor


def test_a_factor_is_chosen_on_some_rows_as_on_a_task_of_their_own(task, monkeypatch):
    seen = []

    def error(phi, codes, weight, penalties):
        seen.append((phi, codes, weight, penalties))
        return torch.tensor([float(len(seen) != 3)])

    monkeypatch.setattr("skrbf.engine.rbf.output_layer.leave_one_out", error)
    monkeypatch.setattr("skrbf.engine.rbf.output_layer._FEWEST", 45)
    units = place_units(task.rows[:3], "per_center", 1.0)
    assert chosen_factor(task, units) == 2
    assert len(seen) == 4
    phi, codes, weight, penalties = seen[2]
    z = exponents(units, task.rows[:45])  # twice the width is a quarter of the exponent
    np.testing.assert_allclose(phi, (z / 4).exp(), rtol=1e-5)
    assert codes.argmax(0).tolist() == task.labels[:45].tolist()
    part = task.weight[:45].double()
    np.testing.assert_allclose(weight, part / part.sum(), rtol=1e-6)
    np.testing.assert_allclose(penalties, [2e-5, 2e-4, 2e-3], rtol=0.1)
    seen.clear()
    monkeypatch.setattr("skrbf.engine.rbf.output_layer._MOST", 20)
    chosen_factor(task._replace(alpha=0.0), units)
    phi, _, _, penalties = seen[0]
    assert phi.shape == (3, 20)
    assert (penalties > 0).all()  # what rounding asks for
    seen.clear()
    monkeypatch.setattr("skrbf.engine.rbf.output_layer._FEWEST", 1)
    chosen_factor(task, units)
    assert seen[0][0].shape == (3, 15)  # five for each unit


@pytest.mark.parametrize("name", ["gaussian", "softmax"])
def test_the_penalty_is_that_of_the_best_kernel_ridge_regression(rng, name):
    X = torch.from_numpy(rng.normal(size=(120, 2))).float()
    weight = torch.full((120,), 1 / 120)
    sure = (X.square().sum(1) > 1.4).long()
    flipped = torch.from_numpy(rng.random(120) < 0.25)
    for labels in (sure, torch.where(flipped, 1 - sure, sure)):
        task = Task(X, labels, weight, 2, ACTIVATIONS[name], 1e-3, 0.0, 0.0, compute())
        units = place_units(place_centers(X, weight, 30, compute()), "global", 1.0)
        phi = task.activation.function(exponents(units, X)).double().numpy().T
        root = np.linalg.cholesky(
            np.linalg.inv(task.with_kernel(units).kernel.matrix.double().numpy())
        )
        errors = []
        for factor in (1.0, 3.0, 10.0, 30.0):
            ridge = Ridge(alpha=120 * 1e-3 * factor)
            one_out = cross_val_predict(ridge, phi @ root, np.eye(2)[labels], cv=120)
            errors.append(((one_out - np.eye(2)[labels]) ** 2).sum())
        best = (0.1, 0.3, 1.0, 3.0)[int(np.argmin(errors))]
        assert chosen_alpha(task.with_kernel(units), units) == best
    assert best > 0.1


def test_units_that_are_alike_need_no_penalty(task):
    units = place_units(task.rows[:40], "global", 1.0)
    for factor in (1.0, 100.0, 1e4):
        wide = widened(units, factor)
        alike = task._replace(alpha=0.0).with_kernel(wide)
        network, _ = ridge(alike, wide)
        assert np.isfinite(net.loss(alike, network))


@pytest.mark.parametrize("memory", [1 << 30, 4096])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_loss_and_its_gradient_over_blocks(task, width, memory):
    task, network, _ = start_of(task, width)
    task = task._replace(compute=compute(memory))
    home = network.units.centers + torch.arange(8.0)[:, None]
    task = task._replace(home=home)
    value, gradient = net.loss_gradient(task, network)
    assert value == pytest.approx(net.loss(task, network), rel=1e-6)

    vector = net.pack(network).requires_grad_()
    moving = net.unpack(vector, network)
    phi = task.activation.function(exponents(moving.units, task.rows))
    f = (moving.weight @ phi + moving.bias[:, None]).t()
    each = torch.nn.functional.cross_entropy(
        f, task.labels, reduction="none", label_smoothing=0.1
    )
    norm = torch.trace(moving.weight @ task.kernel.matrix @ moving.weight.t())
    expected = each @ task.weight + 0.5e-3 * norm
    expected = expected + 0.25 * (moving.units.centers - home).square().mean()
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-5)
    slope = net.unpack(vector.grad, network)
    if width == "per_feature":
        units = slope.units._replace(log_scales=torch.zeros(2))
        slope = slope._replace(units=units)
    torch.testing.assert_close(
        net.pack(gradient), net.pack(slope), rtol=1e-3, atol=1e-5
    )
    _, (by_weight, by_bias) = net.output_loss_gradient(task, network)
    torch.testing.assert_close(by_weight, gradient.weight)
    torch.testing.assert_close(by_bias, gradient.bias)


def test_coordinates_have_the_norm_of_the_kernel(task):
    task, network, _ = start_of(task)
    place = net.coordinates(task, network)
    vector = place.vector(network)
    white = net.unpack(vector, network).weight
    norm = torch.trace(network.weight @ task.kernel.matrix @ network.weight.t())
    assert float(white.square().sum()) == pytest.approx(float(norm), rel=1e-4)
    back = net.pack(place.network(vector))
    torch.testing.assert_close(back, net.pack(network), rtol=1e-3, atol=1e-4)

    slope = torch.randn(len(vector), generator=torch.Generator().manual_seed(0))
    moving = vector.clone().requires_grad_()
    (net.pack(place.network(moving)) @ slope).backward()
    found = place.gradient(net.unpack(slope, network))
    torch.testing.assert_close(found, moving.grad, rtol=1e-4, atol=1e-5)


def test_batches_add_up_to_the_gradient(task):
    task, network, _ = start_of(task)
    task = task._replace(home=network.units.centers + 1.0)
    batches = torch.arange(90).split(30)
    mean = sum(net.pack(net.batch_gradient(task, network, b)) for b in batches) / 3
    _, whole = net.loss_gradient(task, network)
    torch.testing.assert_close(mean, net.pack(whole), rtol=1e-3, atol=1e-5)


def test_ridge_is_ridge_regression(task):
    """Up to the factor on it, and with the intercept that goes with that."""
    task, network, _ = start_of(task)
    phi = task.activation.function(exponents(network.units, task.rows)).double().numpy()
    w, codes = task.weight.double().numpy(), np.eye(3)[task.labels.numpy()].T
    centered = phi - phi @ w[:, None]
    gram = (centered * w) @ centered.T
    gram += (1e-3 + 1e-6 * np.diag(gram).mean()) * np.eye(8)
    expected = np.linalg.solve(gram, (centered * w) @ codes.T).T
    factor = (network.weight.numpy() * expected).sum() / (expected**2).sum()
    assert round(factor, 3) in (0, 0.5, 1, 2, 4, 8, 16)
    np.testing.assert_allclose(network.weight, factor * expected, rtol=2e-3, atol=1e-3)
    mean = network.weight.numpy() @ (phi @ w) + network.bias.numpy()
    np.testing.assert_allclose(mean, np.log(codes @ w), rtol=1e-3)


def by_scikit_learn(task, network):
    """The same problem solved elsewhere: a penalty on V K V^T is one on V K^(1/2)."""
    inverse = fractional_matrix_power(task.kernel.matrix.double().numpy(), -0.5)
    phi = task.activation.function(exponents(network.units, task.rows)).t().numpy()
    theirs = LogisticRegression(C=1 / 1e-3, tol=1e-8, max_iter=1000)
    theirs.fit(phi @ inverse, task.labels, sample_weight=task.weight.double().numpy())
    return network._replace(
        weight=torch.from_numpy(theirs.coef_ @ inverse).float(),
        bias=torch.from_numpy(theirs.intercept_).float(),
    )


def test_the_convex_start_is_logistic_regression(task):
    task, network, factor = start_of(task._replace(smoothing=0.0))
    *_, last = islice(logistic(task, network, factor), 200)
    assert net.loss(task, network) > last.loss
    best = net.loss(task, by_scikit_learn(task, network))
    assert last.loss == pytest.approx(best, rel=1e-4)


def test_logistic_comes_close_where_units_are_alike(task):
    """And leaves most of what hardly tells rows apart to later: the first steps do."""
    task = task._replace(smoothing=0.0)
    centers = place_centers(task.rows, task.weight, 30, task.compute)
    wide = widened(place_units(centers, "per_center", 1.0), 2.0)
    task = task.with_kernel(wide)
    network, factor = ridge(task, wide)
    losses = [step.loss for step in islice(logistic(task, network, factor), 300)]
    best = net.loss(task, by_scikit_learn(task, network))
    assert losses[-1] < 1.05 * best < losses[10] < 1.6 * best


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("width", WIDTHS)
def test_joint_training_beats_the_convex_start(task, width, solver):
    task, seen = task._replace(smoothing=0.0, pull=0.0), []
    plan = rbf.Plan(
        6,
        False,
        width,
        1.0,
        solver,
        32,
        0.01,
        Stopping(60, 0.0, 60),
        torch.Generator().manual_seed(0),
    )
    units, _ = rbf.first_units(task, plan)
    task = task.with_kernel(units)
    trained = rbf.fit(task, None, plan, units, lambda r, s: seen.append(r) and False)
    first = [record.loss for record in seen if record.phase == "output"]
    joint = [record.loss for record in seen if record.phase == "joint"]
    assert trained.loss == min(*first, *joint) < 0.8 * min(first)
    assert trained.loss == pytest.approx(net.loss(task, trained.state), rel=1e-5)
    assert len(joint) == trained.n_iter == 60
    scales = trained.state.units.log_scales
    assert bool(scales.any()) == (width != "per_feature")


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_the_first_step_is_in_the_coordinates_of_the_kernel(task, solver):
    task, network, _ = start_of(task)
    seen, generator = [], torch.Generator().manual_seed(0)
    plan = rbf.Plan(
        8, False, "per_center", 1.0, solver, 90, 0.01, Stopping(60, 0.0, 60), generator
    )
    rbf.fit(task, None, plan, network, lambda r, s: seen.append(s) or True)
    root = fractional_matrix_power(task.kernel.matrix.double().numpy(), 0.5)
    move = (seen[0].weight - network.weight).double().numpy() @ root
    _, gradient = net.loss_gradient(task, network)
    slope = gradient.weight.double().numpy() @ np.linalg.inv(root)
    if solver == "adam":  # by its rate, whatever the size of the slope
        large = np.abs(slope) > 1e-2 * np.abs(slope).max()
        assert large.mean() > 0.5
        np.testing.assert_allclose(np.abs(move[large]), 0.01, rtol=2e-3)
        assert (np.sign(move) == -np.sign(slope))[large].all()
    else:
        cosine = (move * slope).sum() / np.linalg.norm(move) / np.linalg.norm(slope)
        assert cosine < -0.999


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_centers_are_pulled_to_where_they_start(task, solver):
    shifts = []
    for pull in (0.0, 1.0, 100.0):
        stopping = Stopping(40, 0.0, 40)
        generator = torch.Generator().manual_seed(0)
        plan = rbf.Plan(6, False, "global", 1.0, solver, 32, 0.02, stopping, generator)
        told = []
        pulled = task._replace(pull=pull)
        units, _ = rbf.first_units(pulled, plan)
        pulled = pulled.with_kernel(units)
        rbf.fit(
            pulled, None, plan, units, lambda r, s, t=told: t.append((r, s)) and False
        )
        first = next(s for r, s in told if r.phase == "output").units.centers
        shifts.append(float((told[-1][1].units.centers - first).square().mean()))
    assert shifts[0] > 2 * shifts[1] > 20 * shifts[2] > 0


def test_centers_lie_in_their_classes(task):
    centers = place_centers_by_class(task, 9)
    share = task.weight.new_zeros(3).index_add_(0, task.labels, task.weight)
    counts = [max(1, round(9 * float(s))) for s in share]
    assert len(centers) == sum(counts)
    inner = centers[: counts[0]]
    assert (inner.square().sum(1) < 1.0).all()


def test_centers_depend_on_no_seed_and_merge_nothing(task):
    a = place_centers(task.rows, task.weight, 10, task.compute)
    torch.manual_seed(3)
    b = place_centers(task.rows, task.weight, 10, task.compute)
    assert torch.equal(a, b)
    assert len(a.unique(dim=0)) == 10


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("k", [5, 80])
def test_widths_start_at_the_distance_of_neighbors(rng, width, k):
    centers = rng.normal(size=(k, 2))
    distance = ((centers[:, None] - centers) ** 2).sum(2)
    nearest = np.sort(distance, 1)[:, 1 : 1 + (3 if k == 5 else 4)]
    expected = np.sqrt(nearest.mean(1, keepdims=True))
    if width == "global":
        expected = np.sqrt((expected**2).mean(keepdims=True))
    if width == "per_feature":
        expected = expected.repeat(2, axis=1)
    units = place_units(torch.from_numpy(centers), width, 1.0)
    np.testing.assert_allclose(units.log_widths.exp(), expected, rtol=1e-6)
    assert not units.log_scales.any()


def test_a_lone_unit_is_as_wide_as_the_data():
    lone = torch.zeros(1, 2)
    width = float(place_units(lone, "global", 3.0).log_widths.exp())
    assert width == pytest.approx(3)
    assert float(place_units(lone, "per_center", 0.0).log_widths) == 0


@pytest.mark.parametrize("memory", [1 << 30, 4096])
def test_describe(task, memory):
    task, network, _ = start_of(task)
    task = task._replace(compute=compute(memory))
    found = describe(task, network, 4)
    z = exponents(network.units, task.rows)
    np.testing.assert_array_equal(found.nearest, z.argsort(1, descending=True)[:, :4])
    mass = (z.exp() * task.weight).numpy() @ np.eye(3)[task.labels.numpy()]
    expected = mass / mass.sum(1, keepdims=True)
    np.testing.assert_allclose(found.profile, expected, rtol=1e-5)
    top = z.amax(0).sort()[0]
    assert torch.equal(found.familiarity.sort()[0], found.familiarity)
    gaps = (found.familiarity[:, None] - top).abs().amin(1)
    assert gaps.max() < 1e-5
    even = describe(task._replace(weight=torch.full((90,), 1 / 90)), network, 1)
    torch.testing.assert_close(even.familiarity, top, rtol=1e-4, atol=1e-5)


def test_a_dead_unit_has_the_profile_of_all_rows(task):
    task, network, _ = start_of(task)
    centers = network.units.centers.clone()
    centers[0] = 1e4
    dead = network._replace(units=network.units._replace(centers=centers))
    share = task.weight.new_zeros(3).index_add_(0, task.labels, task.weight)
    profile = describe(task, dead, 2).profile
    np.testing.assert_allclose(profile[0], share, rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "planned"),
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
def test_what_is_left_open_is_planned(given, planned):
    assert rbf.plan_solver(*given) == planned
