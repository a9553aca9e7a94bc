import numpy as np
import pytest
import torch

from skrbf import RBFNetClassifier
from skrbf.nn import RBFLayer, RBFNetwork


@pytest.fixture
def rows():
    return torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("assignment", [None, "softmax", "entmax15", "sparsemax"])
def test_the_network_is_the_estimator(rows, assignment):
    X, y = rows.numpy(), np.arange(40) % 3
    model = RBFNetClassifier(6, assignment=assignment, random_state=0).fit(X, y)
    centers = (model.centers_ - model.mean_) / model.scale_
    layer = RBFLayer(
        torch.from_numpy(centers),
        torch.from_numpy(model.widths_ / model.scale_),
        assignment,
    )
    net = RBFNetwork(layer, 3)
    with torch.no_grad():
        net.weight.copy_(torch.from_numpy(model.coef_))
        net.bias.copy_(torch.from_numpy(model.intercept_))
        x = torch.from_numpy((X - model.mean_) / model.scale_)
        np.testing.assert_allclose(layer(x), model.transform(X), atol=1e-5)
        np.testing.assert_allclose(net(x), model.decision_function(X), atol=1e-4)


@pytest.mark.parametrize("assignment", [None, "softmax", "entmax15", "sparsemax"])
@pytest.mark.parametrize("shape", [(), (4, 1), (4, 3)])
def test_gradients(rows, shape, assignment):
    layer = RBFLayer(rows[:4], torch.full(shape, 1.3), assignment)
    names = [name for name, _ in layer.named_parameters()]
    assert ("log_scales" in names) == (shape != (4, 3))

    def forward(x, *parameters):
        state = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(layer, state, (x,))

    inputs = (rows[5:9].requires_grad_(), *layer.parameters())
    assert torch.autograd.gradcheck(forward, inputs)


def test_it_learns(rows):
    """One unit can tell the rows of a ball from the others, so the loss can fall to 0.

    The line search of L-BFGS lets it fall only. Below log(2) / n no row is wrong: a row
    that is wrong costs log(2) or more.
    """
    labels = (rows.square().sum(1) > 2.5).long()
    net = RBFNetwork(RBFLayer(rows[:3]), 2)
    start = [parameter.detach().clone() for parameter in net.parameters()]
    assert not net(rows).any()
    optimizer = torch.optim.LBFGS(
        net.parameters(), max_iter=100, line_search_fn="strong_wolfe"
    )

    def loss():
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(net(rows), labels)
        value.backward()
        return value

    optimizer.step(loss)
    assert loss() < np.log(2) / len(rows)
    assert (net(rows).argmax(1) == labels).all()
    for before, after in zip(start, net.parameters(), strict=True):
        assert not torch.equal(before, after)


def test_leading_axes_and_state(rows):
    layer = RBFLayer(rows[:4], 0.7)
    batch = rows.reshape(2, 5, 4, 3)
    assert layer(batch).shape == (2, 5, 4, 4)
    torch.testing.assert_close(layer(batch).reshape(40, 4), layer(rows))
    other = RBFLayer(rows[4:8])
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(rows), layer(rows))
    assert "n_centers=4" in repr(layer)
    assert layer(rows).dtype == torch.float64


def test_bad_arguments(rows):
    with pytest.raises(ValueError, match="centers must be a matrix"):
        RBFLayer(rows[0])
    with pytest.raises(ValueError, match=r"widths must be a number or of shape \(4, 1"):
        RBFLayer(rows[:4], torch.ones(3, 1))
    with pytest.raises(ValueError, match="widths must be positive"):
        RBFLayer(rows[:4], 0.0)
    with pytest.raises(ValueError, match="assignment must be one of"):
        RBFLayer(rows[:4], assignment="hard")
    with pytest.raises(TypeError, match="units must be an RBFLayer, got Tensor"):
        RBFNetwork(rows[:4], 3)
