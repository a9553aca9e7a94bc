import entmax
import numpy as np
import pytest
import scipy.special
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skrbf.ops import (
    ASSIGNMENTS,
    free_energy,
    free_energy_gradient,
    gamma_bound,
    hard_distortion,
    squared_distances,
    weighted_distortion,
    weighted_distortion_gradient,
)

both = pytest.mark.parametrize("assignment", ASSIGNMENTS.values(), ids=lambda a: a.name)


def reference(assignment, d, temperature):
    """Responsibilities and entropies from scipy and the entmax library."""
    if assignment.name == "softmax":
        r = scipy.special.softmax(-d / temperature, 0)
        return r, scipy.special.entr(r).sum(0)
    r = entmax.entmax15(torch.from_numpy(-d / temperature), dim=0).numpy()
    return r, 4 / 3 * (r - r**1.5).sum(0)


@both
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("temperature", [1e-3, 0.7, 1e3])
def test_values(rng, assignment, weighted, temperature):
    d = rng.exponential(size=(6, 40))
    w = rng.random(40) if weighted else np.ones(40)
    weight = torch.from_numpy(w) if weighted else None
    r, entropy = reference(assignment, d, temperature)
    expected = w @ (r * d).sum(0)
    distances = torch.from_numpy(d)
    found = weighted_distortion(distances, temperature, weight, assignment)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    found = free_energy(distances, temperature, weight, assignment)
    np.testing.assert_allclose(
        found, expected - temperature * w @ entropy, rtol=1e-12, atol=1e-12
    )
    found = hard_distortion(distances, weight)
    np.testing.assert_allclose(found, w @ d.min(0), rtol=1e-13)


@both
@given(
    seed=st.integers(0, 2**32 - 1),
    k=st.integers(1, 12),
    temperature=st.floats(1e-4, 1e4),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_the_hard_distortion_lies_between(assignment, seed, k, temperature):
    d = torch.from_numpy(np.random.default_rng(seed).exponential(size=(k, 10)))
    hard = hard_distortion(d)
    slack = 1e-13 * (hard + temperature)
    assert free_energy(d, temperature, None, assignment) <= hard + slack
    assert weighted_distortion(d, temperature, None, assignment) >= hard - slack


@both
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("loss", "written"),
    [
        (free_energy, free_energy_gradient),
        (weighted_distortion, weighted_distortion_gradient),
    ],
)
def test_written_gradients(
    layout, sparse_array, rng, assignment, weighted, loss, written
):
    weight = torch.from_numpy(rng.random(60)) if weighted else None
    centers = torch.from_numpy(rng.normal(size=(4, 7))).requires_grad_()
    rows = torch.from_numpy(sparse_array)
    value = loss(squared_distances(centers, rows), 3.0, weight, assignment)
    (expected,) = torch.autograd.grad(value, centers)
    found = written(centers.detach(), layout(sparse_array), 3.0, weight, assignment)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_gradients_of_the_two_losses_differ(rng):
    rows = torch.from_numpy(rng.normal(size=(30, 2)))
    for assignment in ASSIGNMENTS.values():
        free = free_energy_gradient(rows[:3], rows, 1.0, None, assignment)
        soft = weighted_distortion_gradient(rows[:3], rows, 1.0, None, assignment)
        assert (free - soft).abs().max() > 0.1 * free.abs().max()


@pytest.mark.parametrize("n_clusters", [1, 2, 3, 4, 10, 100, 10_000, 10**9])
def test_gamma_bound_is_lamberts_function(n_clusters):
    expected = 0.3 * scipy.special.lambertw((n_clusters - 1) / np.e).real
    assert gamma_bound(n_clusters, 0.3) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("n_clusters", [2, 4, 10, 100])
def test_gamma_bound_is_attained(n_clusters):
    gaps = torch.linspace(0, 20, 20_001, dtype=torch.float64)  # (n,)
    distances = gaps.repeat(n_clusters, 1)  # (k, n)
    distances[0] = 0.0
    r, _ = ASSIGNMENTS["softmax"].function(-distances)
    worst = (r * distances).sum(0).max().item()
    assert worst == pytest.approx(gamma_bound(n_clusters, 1.0), rel=1e-7)
