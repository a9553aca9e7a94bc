"""Test the objective, its gradients and the whitened parameters against autograd."""

import pytest
import torch

from skrbf.engine.rbf import objective as net
from skrbf.ops.rbf_units import log_activations

WIDTHS = ["per_center", "global", "per_feature"]


@pytest.mark.parametrize("memory", [1 << 30, 4096])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_loss_and_its_gradient_over_blocks(ridge_start, compute, width, memory):
    objective, network, _ = ridge_start(width)
    data = objective.data._replace(compute=compute(memory))
    anchor = network.units.centers + torch.arange(8.0)[:, None]
    objective = objective._replace(data=data, anchor=anchor)
    assert (len(list(objective.blocks())) > 1) == (memory == 4096)
    value, gradient = net.loss_gradient(objective, network)
    assert value == pytest.approx(net.loss(objective, network), rel=1e-6)

    vector = net.pack(network).requires_grad_()
    moving = net.unpack(vector, network)
    phi = log_activations(moving.units, data.rows).exp()
    f = (moving.weight @ phi + moving.bias[:, None]).t()
    losses = torch.nn.functional.cross_entropy(
        f, data.labels, reduction="none", label_smoothing=0.1
    )
    norm = torch.trace(moving.weight @ objective.kernel.matrix @ moving.weight.t())
    expected = (losses * data.weight).mean() + 0.5e-3 * norm
    expected = expected + 0.25 * (moving.units.centers - anchor).square().mean()
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-5)
    slope = net.unpack(vector.grad, network)
    if width == "per_feature":
        units = slope.units._replace(log_scales=torch.zeros(2))
        slope = slope._replace(units=units)
    torch.testing.assert_close(
        net.pack(gradient), net.pack(slope), rtol=1e-3, atol=1e-5
    )
    _, (by_weight, by_bias) = net.output_loss_gradient(objective, network)
    torch.testing.assert_close(by_weight, gradient.weight)
    torch.testing.assert_close(by_bias, gradient.bias)


def test_fractions_sum_to_one(data):
    assert float(net.fractions(data).sum()) == pytest.approx(1.0)
    blocks = [weight for _, _, weight in net.fraction_blocks(data, 8)]
    assert torch.equal(torch.cat(blocks), net.fractions(data))


def test_whitened_parameters_have_the_norm_of_the_kernel(ridge_start):
    objective, network, _ = ridge_start()
    kernel = objective.kernel
    vector = net.whiten(network, kernel)
    white = net.unpack(vector, network).weight
    norm = torch.trace(network.weight @ kernel.matrix @ network.weight.t())
    assert float(white.square().sum()) == pytest.approx(float(norm), rel=1e-4)
    back = net.pack(net.unwhiten(vector, network, kernel))
    torch.testing.assert_close(back, net.pack(network), rtol=1e-3, atol=1e-4)

    slope = torch.randn(len(vector), generator=torch.Generator().manual_seed(0))
    moving = vector.clone().requires_grad_()
    (net.pack(net.unwhiten(moving, network, kernel)) @ slope).backward()
    gradient = net.whiten_gradient(net.unpack(slope, network), kernel)
    torch.testing.assert_close(gradient, moving.grad, rtol=1e-4, atol=1e-5)


def test_the_whitened_loss_and_gradient_are_those_of_the_network(ridge_start):
    objective, network, _ = ridge_start()
    vector = net.whiten(network, objective.kernel)
    vector = vector + 0.01 * torch.arange(len(vector)) / len(vector)
    moved = net.unwhiten(vector, network, objective.kernel)
    expected, gradient = net.loss_gradient(objective, moved)
    value, slope = net.whitened_loss_gradient(objective, network, vector)
    assert value == expected
    torch.testing.assert_close(slope, net.whiten_gradient(gradient, objective.kernel))
    assert net.loss(objective, network, vector) == net.loss(objective, moved)
    assert net.loss(objective, network, vector) != net.loss(objective, network)


def test_gradients_of_batches_average_to_the_gradient(ridge_start):
    objective, network, _ = ridge_start()
    objective = objective._replace(anchor=network.units.centers + 1.0)
    vector = net.whiten(network, objective.kernel)
    gradients = [
        net.whitened_batch_gradient(objective, network, vector, index)
        for index in torch.arange(90).split(30)
    ]
    _, expected = net.whitened_loss_gradient(objective, network, vector)
    torch.testing.assert_close(sum(gradients) / 3, expected, rtol=1e-3, atol=1e-5)
    assert (gradients[0] - expected).abs().max() > 1e-3
