"""Losses and center updates of deep clustering, against numpy and autograd."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from skrbf.ops.assignment import ASSIGNMENTS
from skrbf.ops.centering import (
    CENTERING_LOSSES,
    assign_codes,
    centroid_loss,
    distance_loss,
    finite_sample_correction,
    regularized_loss,
    running_means,
    scale_penalty,
    shrink_and_perturb,
    total_and_leading_variance,
)
from skrbf.ops.distances import squared_distances

all_maps = pytest.mark.parametrize("name", sorted(ASSIGNMENTS))


@pytest.fixture
def codes(rng):
    return torch.from_numpy(rng.normal(size=(30, 3)))


@pytest.fixture
def centers(rng):
    return torch.from_numpy(rng.normal(size=(4, 3)))


def soft(codes, centers, name="softmax", temperature=1.5):
    distances = squared_distances(centers, codes)
    return distances, assign_codes(distances, temperature, ASSIGNMENTS[name])


@all_maps
def test_responsibilities_agree_with_the_reference(codes, centers, name, reference):
    _, r = soft(codes, centers, name)
    expected = reference.responsibilities(codes, centers, 1.5, name)
    assert_allclose(r.T, expected, atol=1e-7)
    _, hard = soft(codes, centers, name, 0.0)
    assert_allclose(hard.T, reference.responsibilities(codes, centers, 0), atol=0)


def test_hard_responsibilities_have_no_gradient_and_break_ties_once(codes):
    codes = codes.round()  # a product may round the distances to two twins otherwise
    twins = codes[:1].repeat(2, 1).requires_grad_()
    distances, r = soft(codes, twins, temperature=0.0)
    assert not r.requires_grad
    assert distances.requires_grad
    assert_allclose(r.sum(0), 1)
    assert_allclose(r[0], 1)


@all_maps
def test_losses_agree_with_loops_over_rows(codes, centers, name, reference):
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
        found = CENTERING_LOSSES[loss](codes, centers, distances, r)
        assert_allclose(found, expected, atol=1e-6)


def test_two_losses_differ_by_the_variance_of_the_centers(codes, centers):
    distances, r = soft(codes, centers)
    mean = r.T @ centers
    variance = (r.T[:, :, None] * (centers - mean[:, None]) ** 2).sum((1, 2))
    a = distance_loss(codes, centers, distances, r)
    b = centroid_loss(codes, centers, distances, r)
    assert_allclose(a - b, variance, atol=1e-12)


@pytest.mark.parametrize("loss", [distance_loss, centroid_loss])
def test_constant_responsibilities_pull_codes_to_the_soft_centroid(
    codes, centers, loss
):
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


@all_maps
def test_the_gradient_through_the_responsibilities(codes, centers, name):
    """It agrees with finite differences, and differs from that of constant ones."""

    def value(h, c):
        distances, r = soft(h, c, name)
        return distance_loss(h, c, distances, r).sum()

    h, c = codes[:5].clone().requires_grad_(), centers.clone().requires_grad_()
    assert torch.autograd.gradcheck(value, (h, c))
    full = torch.autograd.grad(value(h, c), h)[0]
    _, r = soft(codes[:5], centers, name)
    assert not np.allclose(full, 2 * (codes[:5] - r.T @ centers), atol=1e-2)


def test_the_scale_penalty_and_its_slope(codes):
    """They depend on the scale only, not on the offset or the weights."""
    weight = torch.from_numpy(np.random.default_rng(1).random(30))
    mean = np.average(codes.numpy(), axis=0, weights=weight)
    spreads = np.square(codes.numpy() - mean).sum(1)
    variance = np.average(spreads, weights=weight)
    for scale in (0.5, 1.0, 3.0):
        s = torch.tensor(scale, dtype=torch.float64, requires_grad=True)
        drift = scale_penalty(s * codes + 5.0, weight, variance)
        assert drift.item() == pytest.approx((scale - 1) ** 2, abs=1e-12)
        (slope,) = torch.autograd.grad(drift, s)
        assert slope.item() == pytest.approx(2 * (scale - 1), abs=1e-10)


def test_the_penalty_prevents_that_codes_shrink_to_zero(codes, centers):
    """Codes that shrink with their centers have a least loss at a positive scale."""
    weight = torch.full((30,), 1 / 30, dtype=torch.float64)
    distances, r = soft(codes, centers, temperature=0.0)
    variance, _ = total_and_leading_variance(codes, weight)
    share = (weight @ distance_loss(codes, centers, distances, r)).item() / variance

    def total(scale):
        drift = scale_penalty(scale * codes, weight, variance).item()
        return scale**2 * share + drift

    best = 1 / (1 + share)
    around = [total(best * factor) for factor in (0.01, 0.9, 1.0, 1.1)]
    assert min(around) == around[2]


def test_the_penalty_of_equal_codes_has_no_gradient():
    h = torch.ones(4, 2, requires_grad=True)
    drift = scale_penalty(h, torch.ones(4), 2.0)
    assert drift.item() == 1
    (slope,) = torch.autograd.grad(drift, h)
    assert not slope.any()


def test_the_finite_sample_correction_of_pairs(codes):
    """It is the mean variance of all pairs about their own means."""
    h = codes[:12].numpy()
    whole = np.square(h - h.mean(0)).sum(1).mean()
    pairs = np.stack([h[[i, j]] for i in range(12) for j in range(12) if i != j])
    within = np.square(pairs - pairs.mean(1, keepdims=True)).sum(2).mean()
    share = finite_sample_correction(torch.ones(2)) / finite_sample_correction(
        torch.ones(12)
    )
    assert within == pytest.approx(whole * share.item())
    assert finite_sample_correction(torch.tensor([3.0, 1.0])).item() == pytest.approx(
        3 / 8
    )
    assert finite_sample_correction(torch.ones(1)).item() == 0


def test_running_means_agree_with_dcn_row_by_row(codes, centers):
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


def test_running_means_without_any_weight(centers):
    nothing = torch.zeros(4, dtype=torch.float64)
    codes, r = torch.zeros(2, 3).double(), torch.ones(4, 2).double()
    found, total = running_means(centers, nothing, codes, r, torch.zeros(2).double())
    assert torch.equal(found, centers)
    assert not total.any()


def test_variances_are_the_trace_and_the_largest_eigenvalue(codes):
    weight = torch.arange(30.0)
    cov = np.cov(codes.numpy().T, aweights=weight.numpy(), ddof=0)
    total, largest = total_and_leading_variance(codes, weight)
    assert total == pytest.approx(np.trace(cov))
    assert largest == pytest.approx(np.linalg.eigvalsh(cov)[-1])
    assert total_and_leading_variance(torch.ones(3, 2), torch.ones(3)) == (0.0, 0.0)
    assert np.isnan(
        total_and_leading_variance(torch.full((3, 2), torch.nan), torch.ones(3))
    ).all()


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_shrink_and_perturb(codes, centers, share):
    found = shrink_and_perturb(codes[:4], centers, share)
    assert_allclose(found, (1 - share) * codes[:4] + share * centers)
