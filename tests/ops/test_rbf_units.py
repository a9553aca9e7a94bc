"""Units and their gradients, against loops in float64 numpy and autograd."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skrbf.nn import RBFLayer, RBFNetwork
from skrbf.ops.rbf_network import Network, cross_entropy, logits, network_gradient
from skrbf.ops.rbf_units import (
    ACTIVATIONS,
    RBFParameters,
    gaussian,
    gaussian_jacobian_product,
    inverse_squared_widths,
    log_activations,
    log_activations_gradient,
    neighbor_widths,
)

K, D, N, Q = 5, 3, 11, 4
SHAPES = {"per_center": (K, 1), "global": (1, 1), "per_feature": (K, D)}
all_widths = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def rows():
    return draw(N, D, seed=3)


def make_units(shape):
    scales = 0.2 * draw(D, seed=1)
    if shape == (K, D):  # the gradient by the scales is that of the widths then
        scales = torch.zeros_like(scales)
    return RBFParameters(draw(K, D), 0.3 * draw(*shape, seed=2), scales)


def loop(units, rows):
    """Compute log activations by their definition."""
    z = np.zeros((K, N))
    width = np.broadcast_to(units.log_widths.numpy(), (K, D))
    for k in range(K):
        for i in range(N):
            for j in range(D):
                sigma = np.exp(width[k, j] + units.log_scales[j].item())
                gap = rows[i, j].item() - units.centers[k, j].item()
                z[k, i] -= 0.5 * (gap / sigma) ** 2
    return z


@all_widths
def test_log_activations_are_their_definition(rows, shape):
    units = make_units(shape)
    np.testing.assert_allclose(
        log_activations(units, rows), loop(units, rows), rtol=1e-12
    )


@all_widths
def test_inverse_squared_widths_are_their_definition(shape):
    units = make_units(shape)
    sigma = np.exp(units.log_widths.numpy() + units.log_scales.numpy())
    expected = np.broadcast_to(1 / sigma**2, (K, D))
    np.testing.assert_allclose(inverse_squared_widths(units), expected, rtol=1e-12)


@all_widths
def test_log_activations_at_the_centers_are_zero_and_never_above(shape):
    units = make_units(shape)
    for dtype in (torch.float32, torch.float64):
        cast = RBFParameters(*(part.to(dtype) for part in units))
        z = log_activations(cast, cast.centers)
        assert z.max() <= 0
        torch.testing.assert_close(z.diagonal(), torch.zeros(K, dtype=dtype))


@all_widths
def test_the_gradient_is_that_of_autograd(rows, shape):
    units = RBFParameters(*(part.requires_grad_() for part in make_units(shape)))
    weights = draw(K, N, seed=7)
    (log_activations(units, rows) * weights).sum().backward()
    plain = RBFParameters(*(part.detach() for part in units))
    found = log_activations_gradient(plain, rows, log_activations(plain, rows), weights)
    for name, one, slope in zip(RBFParameters._fields, units, found, strict=True):
        if name == "log_scales" and shape == (K, D):
            assert not slope.any()  # said so: the widths have the features
        else:
            torch.testing.assert_close(slope, one.grad, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_jacobian_products_are_those_of_autograd(name):
    z = -draw(K, N).abs()
    vectors = draw(K, N, seed=1)
    activation = ACTIVATIONS[name]
    phi, product = torch.autograd.functional.vjp(activation.function, z, vectors)
    torch.testing.assert_close(
        activation.jacobian_product(phi, vectors), product, rtol=1e-7, atol=1e-9
    )


@pytest.mark.parametrize("name", ACTIVATIONS)
@all_widths
def test_the_network_gradient_is_that_of_autograd(rows, shape, name):
    """Also between the layers for torch models and the functions of the engine."""
    assignment = None if name == "gaussian" else name
    units = make_units(shape)
    layer = RBFLayer(units.centers, units.log_widths.exp(), assignment)
    net = RBFNetwork(layer, Q)
    with torch.no_grad():
        layer.log_scales.copy_(units.log_scales)
        net.weight.copy_(draw(Q, K, seed=5))
        net.bias.copy_(draw(Q, seed=6))
    labels, weight = torch.arange(N) % Q, draw(N, seed=8).abs()
    each = torch.nn.functional.cross_entropy(net(rows), labels, reduction="none")
    expected = (each * weight).sum()
    expected.backward()

    plain = Network(units, net.weight.detach(), net.bias.detach())
    loss, found = network_gradient(plain, ACTIVATIONS[name], rows, labels, weight)

    torch.testing.assert_close(loss, expected)
    pairs = [
        (found.units.centers, layer.centers),
        (found.units.log_widths, layer.log_widths),
        (found.weight, net.weight),
        (found.bias, net.bias),
    ]
    if shape != (K, D):
        pairs.append((found.units.log_scales, layer.log_scales))
    for slope, parameter in pairs:
        torch.testing.assert_close(slope, parameter.grad, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_is_that_of_torch(smoothing):
    f, labels, weight = draw(Q, N), torch.arange(N) % Q, draw(N).abs()
    f.requires_grad_()
    each = torch.nn.functional.cross_entropy(
        f.t(), labels, reduction="none", label_smoothing=smoothing
    )
    (each * weight).sum().backward()
    loss, residuals = cross_entropy(f.detach(), labels, weight, smoothing)
    torch.testing.assert_close(loss, (each * weight).sum().detach())
    torch.testing.assert_close(residuals, f.grad)


def test_logits(rows):
    units = make_units((K, 1))
    network = Network(units, draw(Q, K), draw(Q))
    phi = gaussian(log_activations(units, rows))
    expected = network.weight.numpy() @ phi.numpy() + network.bias.numpy()[:, None]
    np.testing.assert_allclose(logits(network, phi), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gaussian_is_exp_and_never_denormal(dtype):
    z = torch.linspace(-1000, 0, 4001, dtype=dtype)[None]
    phi = gaussian(z)
    large = phi > 0
    torch.testing.assert_close(phi[large], z[large].exp())
    assert phi[large].min() > torch.finfo(dtype).tiny
    assert not phi[z < -700].any()
    assert phi[z > -50].all()
    torch.testing.assert_close(gaussian_jacobian_product(phi, phi), phi**2)


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 12), st.integers(1, 5), st.integers(1, 4), st.integers(0, 99))
def test_neighbor_widths_are_their_definition(k, d, p, seed):
    centers = np.random.default_rng(seed).normal(size=(k, d))
    distance = ((centers[:, None] - centers) ** 2).sum(2)
    np.fill_diagonal(distance, np.inf)
    nearest = np.sort(distance, 1)[:, : min(p, k - 1)]
    found = neighbor_widths(torch.from_numpy(centers), p)
    np.testing.assert_allclose(found, np.sqrt(nearest.mean(1)), rtol=1e-6)


def test_neighbor_widths_without_neighbors():
    assert neighbor_widths(torch.ones(1, 2)).tolist() == [1.0]
    assert neighbor_widths(torch.ones(3, 2)).tolist() == [1.0] * 3
    twins = torch.tensor([[0.0], [0.0], [2.0]])
    np.testing.assert_allclose(neighbor_widths(twins), [2.0] * 3, rtol=1e-6)
