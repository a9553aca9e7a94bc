"""The rules of deep clustering, against loops in numpy and autograd."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from skrbf.ops import (
    ASSIGNMENTS,
    CENTERING_LOSSES,
    assign_codes,
    centroid_loss,
    distance_loss,
    regularized_loss,
    running_means,
    shrink_and_perturb,
    spread,
    squared_distances,
    variance_slope,
)

both_maps = pytest.mark.parametrize("name", sorted(ASSIGNMENTS))


@pytest.fixture
def codes(rng):
    return torch.from_numpy(rng.normal(size=(30, 3)))


@pytest.fixture
def centers(rng):
    return torch.from_numpy(rng.normal(size=(4, 3)))


def soft(codes, centers, name="softmax", temperature=1.5):
    distances = squared_distances(centers, codes)
    return distances, assign_codes(distances, temperature, ASSIGNMENTS[name])


@both_maps
def test_responsibilities_are_those_of_the_reference(codes, centers, name, reference):
    _, r = soft(codes, centers, name)
    expected = reference.responsibilities(codes, centers, 1.5, name)
    assert_allclose(r.T, expected, atol=1e-7)
    _, hard = soft(codes, centers, name, 0.0)
    assert_allclose(hard.T, reference.responsibilities(codes, centers, 0), atol=0)


def test_hard_responsibilities_have_no_gradient_and_break_ties_once(codes):
    twins = codes[:1].repeat(2, 1).requires_grad_()
    distances, r = soft(codes, twins, temperature=0.0)
    assert not r.requires_grad
    assert distances.requires_grad
    assert_allclose(r.sum(0), 1)
    assert_allclose(r[0], 1)


@both_maps
def test_losses_row_by_row(codes, centers, name, reference):
    distances, r = soft(codes, centers, name)
    h, c = codes.numpy(), centers.numpy()
    weights = reference.responsibilities(h, c, 1.5, name)
    losses = {"distance": [], "centroid": [], "regularized": []}
    for i in range(30):
        weighted = sum(weights[i, k] * ((h[i] - c[k]) ** 2).sum() for k in range(4))
        losses["distance"].append(weighted)
        losses["centroid"].append(((h[i] - weights[i] @ c) ** 2).sum())
        losses["regularized"].append(weighted - (h[i] ** 2).sum())
    assert set(losses) == set(CENTERING_LOSSES)
    for loss, expected in losses.items():
        found = CENTERING_LOSSES[loss].function(codes, centers, distances, r)
        assert_allclose(found, expected, atol=1e-6)


def test_the_two_readings_differ_by_the_variance_of_the_centers(codes, centers):
    distances, r = soft(codes, centers)
    mean = r.T @ centers
    variance = (r.T[:, :, None] * (centers - mean[:, None]) ** 2).sum((1, 2))
    a = distance_loss(codes, centers, distances, r)
    b = centroid_loss(codes, centers, distances, r)
    assert_allclose(a - b, variance, atol=1e-12)


@pytest.mark.parametrize("loss", [distance_loss, centroid_loss])
def test_with_weights_held_codes_are_pulled_to_the_soft_centroid(codes, centers, loss):
    h = codes.clone().requires_grad_()
    distances = squared_distances(centers, h)
    r = assign_codes(distances.detach(), 1.5, ASSIGNMENTS["softmax"])
    (slope,) = torch.autograd.grad(loss(h, centers, distances, r).sum(), h)
    assert_allclose(slope, 2 * (codes - r.T @ centers), atol=1e-10)


def test_the_regularized_loss_is_linear_in_the_code(codes, centers):
    h = codes.clone().requires_grad_()
    distances = squared_distances(centers, h)
    r = assign_codes(distances.detach(), 1.5, ASSIGNMENTS["softmax"])
    value = regularized_loss(h, centers, distances, r).sum()
    (slope,) = torch.autograd.grad(value, h)
    assert_allclose(slope, -2 * r.T @ centers, atol=1e-10)


@both_maps
def test_the_gradient_through_the_weights(codes, centers, name):
    """Against finite differences; without it the slope is another."""

    def value(h, c):
        distances, r = soft(h, c, name)
        return distance_loss(h, c, distances, r).sum()

    h, c = codes[:5].clone().requires_grad_(), centers.clone().requires_grad_()
    assert torch.autograd.gradcheck(value, (h, c))
    full = torch.autograd.grad(value(h, c), h)[0]
    _, r = soft(codes[:5], centers, name)
    assert not np.allclose(full, 2 * (codes[:5] - r.T @ centers), atol=1e-2)


def test_nothing_is_gained_by_shrinking(codes, centers):
    """The slope of the loss over the variance along the scale of codes and centers."""
    weight = torch.rand(
        30, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)

    def loss(factor):
        h, c = scale * codes, scale * centers
        distances, r = soft(h, c, temperature=0.0)
        value = weight @ distance_loss(h, c, distances, r)
        return value * variance_slope(h, weight) if factor else value

    held, free = loss(False), loss(True)
    assert held.item() == free.item() > 0
    assert abs(torch.autograd.grad(free, scale)[0].item()) < 1e-10
    assert torch.autograd.grad(held, scale)[0].item() == pytest.approx(2 * held.item())


def test_the_slope_is_that_of_the_ratio(codes, centers):
    weight = torch.ones(30, dtype=torch.float64)

    def variance(h):
        return (h - h.mean(0)).square().sum(1).mean()

    h = codes.clone().requires_grad_()
    distances, r = soft(h, centers)
    loss = distance_loss(h, centers, distances, r).sum()
    (slope,) = torch.autograd.grad(loss * variance_slope(h, weight), h)
    distances, r = soft(h, centers)
    loss = distance_loss(h, centers, distances, r).sum()
    held = variance(codes)
    (expected,) = torch.autograd.grad(loss / variance(h) * held, h)
    assert_allclose(slope, expected, atol=1e-10)


def test_codes_that_are_all_the_same_have_no_slope():
    h = torch.ones(4, 2, requires_grad=True)
    factor = variance_slope(h, torch.ones(4))
    assert factor.item() == 1
    (slope,) = torch.autograd.grad(factor, h)
    assert not slope.any()


def test_running_means_are_those_of_dcn_row_by_row(codes, centers):
    mass = torch.tensor([3.0, 0.0, 10.0, 1.0], dtype=torch.float64)
    weight = torch.from_numpy(np.random.default_rng(1).integers(0, 3, 30)).double()
    _, r = soft(codes, centers, temperature=0.0)
    c, count = centers.numpy().copy(), mass.numpy().copy()
    for i in range(30):
        for _ in range(int(weight[i])):  # a weight of 2 is the row twice
            k = int(r[:, i].argmax())
            count[k] += 1
            c[k] += (codes[i].numpy() - c[k]) / count[k]
    found, total = running_means(centers, mass, codes, r, weight)
    assert_allclose(total, count)
    assert_allclose(found, c, atol=1e-12)
    unused = (count == mass.numpy()).nonzero()[0]
    assert_allclose(found[unused], centers[unused])


def test_running_means_without_any_mass(centers):
    nothing = torch.zeros(4, dtype=torch.float64)
    codes, r = torch.zeros(2, 3).double(), torch.ones(4, 2).double()
    found, total = running_means(centers, nothing, codes, r, torch.zeros(2).double())
    assert torch.equal(found, centers)
    assert not total.any()


def test_spread_is_trace_and_largest_eigenvalue(codes):
    weight = torch.arange(30.0)
    cov = np.cov(codes.numpy().T, aweights=weight.numpy(), ddof=0)
    total, largest = spread(codes, weight)
    assert total == pytest.approx(np.trace(cov))
    assert largest == pytest.approx(np.linalg.eigvalsh(cov)[-1])
    assert spread(torch.ones(3, 2), torch.ones(3)) == (0.0, 0.0)
    assert np.isnan(spread(torch.full((3, 2), torch.nan), torch.ones(3))).all()


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_shrink_and_perturb(codes, centers, share):
    found = shrink_and_perturb(codes[:4], centers, share)
    assert_allclose(found, (1 - share) * codes[:4] + share * centers)
