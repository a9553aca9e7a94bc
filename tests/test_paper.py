"""Results of the paper, tested with the functions of ops alone."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import lambertw
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs, make_circles, make_moons

from skrbf.ops import critical_temperature
from skrbf.ops.assignment import ASSIGNMENTS
from skrbf.ops.distances import squared_distances
from skrbf.ops.statistics import soft_statistics, weighted_means, weighted_sums

both = pytest.mark.parametrize("assignment", ASSIGNMENTS.values(), ids=lambda a: a.name)


# Lead of the smallest squared distance, in temperatures, from which a row is one-hot.
MARGINS = {"entmax15": 2, "sparsemax": 1}
margins = pytest.mark.parametrize(("name", "margin"), MARGINS.items())


def weighted_sum(values, weight):
    return values.sum() if weight is None else values @ weight


def free_energy(distances, temperature, weight, assignment):
    """eq-free-energy."""
    _, value = assignment.function(-distances / temperature)
    return -temperature * weighted_sum(value, weight)


def weighted_distortion(distances, temperature, weight, assignment):
    """eq-distortion."""
    r, _ = assignment.function(-distances / temperature)
    return weighted_sum((r * distances).sum(0), weight)


def hard_distortion(distances):
    return distances.amin(0).sum()


def free_energy_gradient(c, rows, temperature, weight, assignment):
    """Gradient with respect to the centers: zero at eq-fixed-point."""
    r, _ = assignment.function(-squared_distances(c, rows) / temperature)
    return gradient_with(r, c, rows, weight)


def weighted_distortion_gradient(c, rows, temperature, weight, assignment):
    """Gradient with respect to the centers: eq-distortion-gradient and its like."""
    distances = squared_distances(c, rows)
    r, _ = assignment.function(-distances / temperature)
    change = assignment.jacobian_product(r, distances)
    return gradient_with(r - change / temperature, c, rows, weight)


def gradient_with(g, c, rows, weight):
    """2 sum_i w_i g_ik (c_k - x_i)."""
    g = g if weight is None else g * weight
    return 2 * (g.sum(1)[:, None] * c - weighted_sums(g, rows))


def gamma_bound(n_clusters, temperature):
    """Largest excess of the weighted over the hard distortion of a row: eq-gamma-bound.

    By Lambert's function, for softmax.
    """
    return temperature * lambertw((n_clusters - 1) / np.e).real


def soft_step(rows, c, temperature, assignment, weight=None):
    """One step of eq-fixed-point: the next centers, and their statistics."""
    distances = squared_distances(c, rows, rows.mean(0))
    r, value = assignment.function(-distances / temperature)
    statistics = soft_statistics(r, rows, weight, -temperature * value)
    return weighted_means(statistics, c), statistics


def fixed_point(rows, c, temperature, assignment, n_steps=200):
    for _ in range(n_steps):
        c, previous = soft_step(rows, c, temperature, assignment)[0], c
        if (c - previous).abs().max() <= 1e-14 * c.abs().max():
            break
    return c


def largest_variance(rows):
    return main_axis(rows)[1].item()


def main_axis(rows):
    values, vectors = torch.linalg.eigh(torch.cov(rows.t(), correction=0))
    return vectors[:, -1], values[-1]


GEOMETRIES = {
    "blobs": partial(make_blobs, centers=5, cluster_std=1.0),
    "anisotropic": partial(make_blobs, centers=4, cluster_std=1.0),
    "uneven": partial(make_blobs, [200, 60, 20], cluster_std=[2.0, 1.0, 0.3]),
    "moons": partial(make_moons, noise=0.05),
    "circles": partial(make_circles, noise=0.05, factor=0.5),
}


@pytest.fixture(params=GEOMETRIES)
def geometry(request):
    """Rows (n, 2) and a fixed point of K-means on them, from scikit-learn."""
    make, kwargs = GEOMETRIES[request.param], {"random_state": 3}
    if request.param != "uneven":
        kwargs["n_samples"] = 280
    array = make(**kwargs)[0]
    if request.param == "anisotropic":
        array = array @ [[0.6, -0.6], [-0.4, 0.8]]
    k = {"blobs": 5, "uneven": 3}.get(request.param, 4)
    kmeans = KMeans(k, n_init=1, tol=0, max_iter=1000, random_state=0).fit(array)
    return torch.from_numpy(array), torch.from_numpy(kmeans.cluster_centers_)


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(0)
    normal = partial(torch.randn, generator=generator, dtype=torch.float64)
    rows = normal(80, 3) + 4 * torch.randint(3, (80, 1), generator=generator)
    weight = torch.rand(80, generator=generator, dtype=torch.float64)
    return rows, weight, rows[:5] + normal(5, 3)


# (a) Uniform closeness to the K-means objective.


@both
@given(
    seed=st.integers(0, 2**32 - 1),
    k=st.integers(1, 30),
    spread=st.floats(-3, 3),
    temperature=st.floats(-3, 3),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_gamma_bound_for_any_centers(assignment, seed, k, spread, temperature):
    generator = torch.Generator().manual_seed(seed)
    normal = partial(torch.randn, generator=generator, dtype=torch.float64)
    rows, c = normal(20, 2), normal(k, 2) * 10.0**spread
    distances, t = squared_distances(c, rows), 10.0**temperature
    hard = hard_distortion(distances)
    excess = weighted_distortion(distances, t, None, assignment) - hard
    slack = 1e-13 * hard
    assert excess >= -slack
    # Proved for softmax; the sparse maps stay below it as well.
    assert excess <= 20 * gamma_bound(k, t) + slack
    assert free_energy(distances, t, None, assignment) <= hard + slack + 1e-13 * t


@pytest.mark.parametrize("n_clusters", [2, 4, 10, 100])
def test_the_gamma_bound_is_attained(n_clusters):
    gaps = torch.linspace(0, 20, 20_001, dtype=torch.float64)  # (n,)
    distances = gaps.repeat(n_clusters, 1)  # (k, n)
    distances[0] = 0.0
    r, _ = ASSIGNMENTS["softmax"].function(-distances)
    worst = (r * distances).sum(0).max().item()
    assert worst == pytest.approx(gamma_bound(n_clusters, 1.0), rel=1e-7)


# (b) The limit sigma -> 0.


@both
def test_objective_and_fixed_points_converge_to_those_of_kmeans(geometry, assignment):
    rows, hard_centers = geometry
    distances = squared_distances(hard_centers, rows, rows.mean(0))
    hard = hard_distortion(distances)
    reference = 2 * largest_variance(rows)
    scale = reference**0.5
    excess, shift = [], []
    c = hard_centers
    for exponent in np.arange(-1.5, -6.1, -0.5):
        t = reference * 10.0**exponent
        excess.append(weighted_distortion(distances, t, None, assignment) - hard)
        assert excess[-1] <= len(rows) * gamma_bound(len(c), t) * (1 + 1e-9)
        c = fixed_point(rows, hard_centers, t, assignment)
        shift.append((c - hard_centers).norm() / scale)
    assert excess[0] > 1e-5 * hard
    assert shift[0] > 1e-4
    assert all(b <= a + 1e-12 * hard for a, b in pairwise(excess))
    assert excess[-1] < 1e-9 * hard
    assert shift[-1] < 1e-9
    # ... and the label of every row is that of K-means.
    final = squared_distances(c, rows, rows.mean(0)).argmin(0)
    assert torch.equal(final, distances.argmin(0))


@margins
def test_sparse_maps_have_the_fixed_point_of_kmeans_at_a_positive_temperature(
    geometry, name, margin
):
    rows, hard_centers = geometry
    distances = squared_distances(hard_centers, rows, rows.mean(0))
    two = distances.topk(2, dim=0, largest=False).values
    lead = (two[1] - two[0]).min().item()
    t = lead / margin * (1 - 1e-9)
    assert t > 1e-5 * largest_variance(rows)
    assert (ASSIGNMENTS[name].function(-distances / t)[0].amax(0) == 1).all()
    c, statistics = soft_step(rows, hard_centers, t, ASSIGNMENTS[name])
    torch.testing.assert_close(c, hard_centers, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(statistics.objective, hard_distortion(distances))
    # The softmax fixed point at this temperature is not that of K-means.
    c, _ = soft_step(rows, hard_centers, t, ASSIGNMENTS["softmax"])
    assert (c - hard_centers).abs().max() > 1e-9


# (c) Gradients and stationarity.


@both
@pytest.mark.parametrize("temperature", [0.3, 3.0, 30.0])
@pytest.mark.parametrize(
    ("loss", "written"),
    [
        (free_energy, free_energy_gradient),
        (weighted_distortion, weighted_distortion_gradient),
    ],
)
def test_gradients(problem, assignment, temperature, loss, written):
    rows, weight, c = problem
    c.requires_grad_()
    value = loss(squared_distances(c, rows), temperature, weight, assignment)
    (expected,) = torch.autograd.grad(value, c)
    found = written(c.detach(), rows, temperature, weight, assignment)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@both
def test_the_weights_of_the_distortion_gradient_can_repel(problem, assignment):
    rows, _, c = problem
    distances = squared_distances(c, rows)
    r, _ = assignment.function(-distances / 3.0)
    g = r - assignment.jacobian_product(r, distances) / 3.0
    torch.testing.assert_close(g.sum(0), torch.ones(80, dtype=torch.float64))
    assert (g < -0.01).any()


# With the sparse maps between these, only centers that coincide share rows: then the
# fixed point is stationary for both.
@pytest.mark.parametrize(
    ("name", "relative"),
    [
        *(("softmax", relative) for relative in (0.02, 0.25, 0.4)),
        *(("entmax15", relative) for relative in (0.02, 0.25, 0.4)),
        *(("sparsemax", relative) for relative in (0.02, 0.1, 0.4)),
    ],
)
def test_fixed_points_are_stationary_for_the_free_energy_only(problem, name, relative):
    rows, _, c = problem
    assignment = ASSIGNMENTS[name]
    t = relative * 2 * largest_variance(rows)
    c = fixed_point(rows, c, t, assignment, n_steps=3000)
    size = 2 * len(rows) * largest_variance(rows) ** 0.5
    assert free_energy_gradient(c, rows, t, None, assignment).norm() < 1e-9 * size
    soft = weighted_distortion_gradient(c, rows, t, None, assignment).norm()
    assert soft > 1e-4 * size


@both
@pytest.mark.parametrize("relative", [0.02, 0.3, 1.5])
def test_em_lowers_the_free_energy(problem, assignment, relative):
    rows, weight, c = problem
    t = relative * 2 * largest_variance(rows)
    energies = []
    for _ in range(60):
        c, statistics = soft_step(rows, c, t, assignment, weight)
        energies.append(statistics.objective.item())
    slack = 1e-13 * (abs(energies[0]) + t * weight.sum().item())
    assert all(b <= a + slack for a, b in pairwise(energies))
    assert energies[0] - energies[-1] > 1e-3 * abs(energies[0])


# (d) The gradient step that is the soft K-means update.


@both
def test_a_gradient_step_with_constant_responsibilities_is_the_update(
    problem, assignment
):
    rows, weight, c = problem
    c.requires_grad_()
    distances = squared_distances(c, rows)
    r, _ = assignment.function(-distances.detach() / 2.0)
    (gradient,) = torch.autograd.grad((weight * r * distances).sum(), c)
    length = 1 / (2 * (weight * r).sum(1))
    stepped = c.detach() - length[:, None] * gradient
    expected, _ = soft_step(rows, c.detach(), 2.0, assignment, weight)
    torch.testing.assert_close(stepped, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        gradient, free_energy_gradient(c.detach(), rows, 2.0, weight, assignment)
    )


# (e) Exactly hard at a positive temperature.


@margins
@given(
    t=st.floats(1e-3, 1e3),
    lead=st.floats(0.5, 4.0),
    others=st.lists(st.floats(0, 10), max_size=8),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_sparse_maps_are_one_hot_from_their_margin_on(name, margin, t, lead, others):
    if abs(lead - margin) < 1e-6:
        lead = margin + 1e-6
    distances = torch.tensor(
        [1.0, 1.0 + lead * t, *(1 + (lead + o) * t for o in others)]
    )
    distances = distances.double()[:, None]
    r, _ = ASSIGNMENTS[name].function(-distances / t)
    gap = (distances[1] - distances[0]).item() / t  # as rounded
    assert (r[0, 0] == 1 and r[1:].count_nonzero() == 0) == (gap >= margin)


# (f) Phase transitions.


@both
@pytest.mark.parametrize("k", [2, 3, 7])
@pytest.mark.parametrize("relative", [0.7, 0.99, 1.01, 1.6])
def test_growth_of_a_perturbation_at_the_critical_temperature(
    problem, assignment, k, relative
):
    rows = problem[0]
    mean = rows.mean(0)
    axis, variance = main_axis(rows)
    critical = critical_temperature(variance.item(), k, assignment.name)
    t = relative * critical
    push = torch.arange(1 - k, k, 2, dtype=torch.float64) * 1e-4 * variance.sqrt()
    c = mean + push[:, None] * axis
    after, statistics = soft_step(rows, c, t, assignment)
    growth = (after - mean) @ axis / push
    moved = push != 0
    torch.testing.assert_close(
        growth[moved], torch.full_like(push, 1 / relative)[moved], rtol=0.01, atol=0
    )
    # Gradient descent on the weighted distortion, with the same step, goes twice as far
    # from the mean, so its critical temperature is twice as high.
    gradient = weighted_distortion_gradient(c, rows, t, None, assignment)
    after = c - gradient / (2 * statistics.weight[:, None])
    growth = (after - mean) @ axis / push
    torch.testing.assert_close(
        growth[moved], torch.full_like(push, 2 / relative)[moved], rtol=0.01, atol=0
    )


@both
def test_centers_merge_above_the_critical_temperature_and_only_there(
    problem, assignment
):
    rows = problem[0]
    mean, deviation = rows.mean(0), largest_variance(rows) ** 0.5
    critical = critical_temperature(deviation**2, 3, assignment.name)
    # Sparsemax may hold three centers apart where they are: see below.
    share = 0.01 if assignment.name == "sparsemax" else 1.0
    start = mean + share * (rows[:3] - mean)
    merged = fixed_point(rows, start, 1.05 * critical, assignment, 2000)
    assert (merged - mean).norm(dim=1).max() < 1e-6 * deviation
    apart = fixed_point(rows, start, 0.95 * critical, assignment, 2000)
    assert (apart - mean).norm(dim=1).max() > 0.05 * deviation


@both
@pytest.mark.parametrize("k", [2, 3, 9])
def test_only_sparsemax_has_other_minima_above_the_critical_temperature(
    problem, assignment, k
):
    """Its transition is discontinuous, but for two centers: their lengths are equal."""
    rows = problem[0]
    mean, variance = rows.mean(0), largest_variance(rows)
    critical = critical_temperature(variance, k, assignment.name)

    def energy(c, t):
        distances = squared_distances(c, rows, mean)
        return free_energy(distances, t, None, assignment).item()

    def gain(relative):
        t = relative * critical
        c = fixed_point(rows, rows[:k], t, assignment, 2000)
        return (energy(mean.repeat(k, 1), t) - energy(c, t)) / (len(rows) * variance)

    if assignment.name == "sparsemax" and k > 2:
        assert gain(1.02) > 1e-3
        assert abs(gain(1.5)) < 1e-9
    else:
        assert abs(gain(1.02)) < 1e-9
