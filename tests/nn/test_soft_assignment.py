import numpy as np
import pytest
import torch

from skrbf import SoftKMeans
from skrbf.nn import SoftAssignment


@pytest.fixture
def rows():
    return torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("assignment", ["softmax", "entmax15", "sparsemax"])
def test_layer_matches_the_estimator(rows, assignment):
    model = SoftKMeans(4, assignment=assignment, temperature=0.1).fit(rows.numpy())
    layer = SoftAssignment(
        torch.from_numpy(model.cluster_centers_), model.temperature_, assignment
    )
    found = layer(rows).detach().numpy()
    np.testing.assert_allclose(found, model.predict_proba(rows.numpy()), atol=1e-9)


@pytest.mark.parametrize("assignment", ["softmax", "entmax15", "sparsemax"])
def test_gradients(rows, assignment):
    layer = SoftAssignment(rows[:4], 2.0, assignment)
    inputs = (rows[5:9].requires_grad_(), layer.centers)

    def forward(x, centers):
        return torch.func.functional_call(layer, {"centers": centers}, (x,))

    assert torch.autograd.gradcheck(forward, inputs)


def test_leading_axes_are_kept(rows):
    layer = SoftAssignment(rows[:4], 1.0)
    batch = rows.reshape(2, 5, 4, 3)
    assert layer(batch).shape == (2, 5, 4, 4)
    torch.testing.assert_close(layer(batch).reshape(40, 4), layer(rows))


def test_centers_are_learned(rows):
    """Gradient steps of the centers lower the free energy."""
    layer = SoftAssignment(rows[:4], 0.5)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.05)

    def loss():
        r = layer(rows)
        return (r * torch.cdist(rows, layer.centers) ** 2).sum(1).mean()

    before = loss().item()
    for _ in range(50):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss().item() < 0.9 * before


def test_state_dict(rows):
    layer = SoftAssignment(rows[:4], 0.3, "entmax15")
    other = SoftAssignment(rows[4:8], 1.0, "entmax15")
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(rows), layer(rows))
    assert "temperature=0.3" in repr(layer)
    assert layer(rows).dtype == torch.float64


def test_invalid_arguments_raise(rows):
    for temperature in (0, "auto", None):
        with pytest.raises(ValueError, match="temperature must be positive"):
            SoftAssignment(rows[:4], temperature)
    with pytest.raises(ValueError, match="centers must be a matrix"):
        SoftAssignment(rows[0])
    with pytest.raises(ValueError, match="assignment must be one of"):
        SoftAssignment(rows[:4], assignment="hard")
    with pytest.raises(TypeError, match="got ndarray of float64"):
        SoftAssignment(rows[:4].numpy())
    with pytest.raises(TypeError, match=r"got Tensor of torch\.int64"):
        SoftAssignment(rows[:4].long())
    with pytest.raises(ValueError, match="features along the last axis"):
        SoftAssignment(rows[:4])(rows[:, :1])


@pytest.mark.parametrize("assignment", ["softmax", "entmax15", "sparsemax"])
def test_empty_batch(rows, assignment):
    layer = SoftAssignment(rows[:4], assignment=assignment)
    assert layer(rows[:0]).shape == (0, 4)
    assert layer(rows[:6].view(2, 3, -1)).shape == (2, 3, 4)
