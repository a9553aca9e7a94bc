"""Half precision, autocast, empty batches and arguments: the same for all layers."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from skrbf.nn import (
    Autoencoder,
    ConvAutoencoder,
    DenseAutoencoder,
    RandomAffine,
    RBFLayer,
    RBFNetwork,
    SoftAssignment,
)

HALF = [torch.float16, torch.bfloat16]
DTYPES = [torch.float32, torch.float64, *HALF]
half = pytest.mark.parametrize("dtype", HALF, ids=str)


def network(*args):
    net = RBFNetwork(RBFLayer(*args), 5)
    with torch.no_grad():
        net.weight.copy_(torch.arange(net.weight.numel()).view_as(net.weight) % 3 - 1)
    return net


LAYERS = {
    **{
        f"{kind.__name__} {assignment}": lambda centers, k=kind, a=assignment: k(
            centers, 0.75, a
        )
        for kind in (SoftAssignment, RBFLayer)
        for assignment in ("softmax", "entmax15", "sparsemax")
    },
    "RBFLayer": RBFLayer,
    "RBFLayer per center": lambda c: RBFLayer(c, torch.full((len(c), 1), 1.5)),
    "RBFLayer per feature": lambda c: RBFLayer(c, torch.full(c.shape, 1.5)),
    **{
        f"RBFNetwork {assignment}": lambda centers, a=assignment: network(
            centers, 1.0, a
        )
        for assignment in (None, "softmax", "entmax15", "sparsemax")
    },
}
layers = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)


def draw(*shape, seed=0):
    """Numbers that are exact in every precision."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).bfloat16().float()


@half
@layers
@pytest.mark.parametrize("size", [0.01, 1.0, 300.0])
def test_layer_in_half_precision_is_rounded_single_precision(make, dtype, size):
    single = make(size * draw(5, 3)).to(dtype).float()
    layer = copy.deepcopy(single).to(dtype)
    rows = (size * draw(7, 3, seed=1)).to(dtype).float()
    expected = single(rows)
    for given in (rows, rows.to(dtype), rows.double()):
        found = layer(given)
        assert found.dtype == dtype
        eps = torch.finfo(dtype).eps
        difference = (found.float() - expected).abs().max()
        assert difference <= 4 * eps * (1 + expected.abs().max())
    found.square().sum().backward()
    assert all(one.grad.isfinite().all() for one in layer.parameters())
    assert all(one.grad.dtype == dtype for one in layer.parameters())


@layers
@pytest.mark.parametrize("given", DTYPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_rows_are_converted_to_the_precision_of_the_parameters(make, dtype, given):
    layer, rows = make(draw(5, 3).to(dtype)), draw(7, 3, seed=1)
    assert torch.equal(layer(rows.to(given)), layer(rows.to(dtype)))
    assert torch.equal(layer(rows.long()), layer(rows.long().to(dtype)))


@half
@layers
@pytest.mark.parametrize("inside", [False, True])
def test_training_step_under_autocast(make, dtype, inside):
    torch.manual_seed(0)
    before = nn.Sequential(nn.Linear(8, 3), make(draw(5, 3)))
    labels, rows = torch.arange(16) % 5, draw(16, 8, seed=2)
    found = []
    for enabled in (False, True):
        net = copy.deepcopy(before)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        with torch.autocast("cpu", dtype=dtype, enabled=enabled):
            result = net(rows)
            loss = nn.functional.cross_entropy(result, labels)
            if inside:
                loss.backward()
        if not inside:
            loss.backward()
        optimizer.step()
        assert result.dtype == torch.float32
        found.append(net.state_dict())
    plain, cast = found
    for name, expected in plain.items():
        difference = (cast[name] - expected).abs().max()
        assert difference <= 4 * torch.finfo(dtype).eps


@half
@layers
def test_autocast_changes_nothing_for_rows_in_single_precision(make, dtype):
    layer, rows = make(draw(5, 3)), draw(7, 3, seed=1)
    expected = layer(rows)
    expected.square().sum().backward()
    slopes = [one.grad.clone() for one in layer.parameters()]
    layer.zero_grad()
    with torch.autocast("cpu", dtype=dtype):
        found = layer(rows)
    found.square().sum().backward()
    assert torch.equal(found, expected)
    for one, slope in zip(layer.parameters(), slopes, strict=True):
        assert torch.equal(one.grad, slope)


@layers
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(0,), (0, 4), (4, 0), (2, 0, 3)])
def test_empty_batch(make, dtype, shape):
    layer = make(draw(5, 3).to(dtype))
    rows = torch.empty(*shape, 3, dtype=dtype, requires_grad=True)
    found = layer(rows)
    assert found.shape == (*shape, 5)
    assert found.dtype == dtype
    found.sum().backward()
    assert rows.grad.shape == rows.shape
    for one in layer.parameters():
        assert one.grad is None or not one.grad.any()


@layers
def test_gradients_in_double_precision(make):
    layer = make(draw(4, 3).double())
    names = [name for name, _ in layer.named_parameters()]

    def forward(rows, *parameters):
        state = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(layer, state, (rows,))

    rows = draw(5, 3, seed=1).double().requires_grad_()
    assert torch.autograd.gradcheck(forward, (rows, *layer.parameters()))


@half
@pytest.mark.parametrize("shape", [(9, 8), (1, 9, 8), (3, 9, 8)])
def test_images_in_half_precision(dtype, shape):
    images = draw(6, *shape).requires_grad_()
    layer = RandomAffine(30.0, 0.3, 0.3)
    torch.manual_seed(0)
    expected = layer(images)
    torch.manual_seed(0)
    found = layer(images.to(dtype))
    assert torch.equal(found, expected.to(dtype))
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=dtype):
        found = layer(images)
    assert torch.equal(found, expected)
    found.sum().backward()
    assert images.grad.isfinite().all()
    empty = layer(images[:0].to(dtype))
    assert empty.shape == (0, *shape)
    assert empty.dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "net",
    [DenseAutoencoder(64, 2, (16,)), ConvAutoencoder((8, 8), 2, (4, 4))],
    ids=["dense", "conv"],
)
def test_autoencoders_in_every_precision_and_without_rows(net, dtype):
    net = copy.deepcopy(net).to(dtype)
    for n in (0, 3):
        found = net(torch.ones(n, 64, dtype=dtype))
        assert found.shape == (n, 64)
        assert found.dtype == dtype
        found.sum().backward()
        assert all(one.grad.isfinite().all() for one in net.parameters())


@pytest.mark.parametrize("kind", [SoftAssignment, RBFLayer])
@pytest.mark.parametrize(
    ("centers", "error", "message"),
    [
        (np.zeros((3, 2)), TypeError, "centers must be a tensor .* got ndarray of flo"),
        ([[0.0, 1.0]], TypeError, "centers must be a tensor .* got list"),
        (None, TypeError, "centers must be a tensor .* got NoneType"),
        (
            torch.zeros(3, 2, dtype=torch.int64),
            TypeError,
            r"of torch\.int64",
        ),
        (torch.zeros(3, 2, dtype=torch.bool), TypeError, r"got Tensor of torch\.bool"),
        (torch.zeros(3, 2) + 1j, TypeError, r"got Tensor of torch\.complex64"),
        (torch.zeros(3), ValueError, r"centers must be a matrix .* shape \(3,\)"),
        (torch.zeros(1, 3, 2), ValueError, "centers must be a matrix"),
        (torch.zeros(0, 2), ValueError, "centers must be a matrix of at least one row"),
        (torch.zeros(3, 0), ValueError, "centers must be a matrix of at least one row"),
        (torch.tensor([[np.nan]]), ValueError, "centers must be finite"),
        (torch.tensor([[np.inf]]).half(), ValueError, "centers must be finite"),
    ],
)
def test_centers_are_checked(kind, centers, error, message):
    with pytest.raises(error, match=message):
        kind(centers)


@layers
@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (torch.zeros(4, 5), ValueError, "rows must have 3 features .* shape"),
        (torch.zeros(3, 4), ValueError, "rows must have 3 features .* shape"),
        (torch.zeros(4), ValueError, "rows must have 3 features .* shape"),
        (torch.zeros(()), ValueError, "rows must have 3 features .* shape"),
        (np.zeros((4, 3)), TypeError, "rows must be a tensor, got ndarray"),
        ([[0.0] * 3], TypeError, "rows must be a tensor, got list"),
    ],
)
def test_rows_are_checked(make, rows, error, message):
    with pytest.raises(error, match=message):
        make(draw(5, 3))(rows)


@pytest.mark.parametrize(
    ("widths", "error", "message"),
    [
        (0.0, ValueError, "widths must be positive"),
        (-1, ValueError, "widths must be positive"),
        (np.nan, ValueError, "widths must be positive, finite"),
        (np.inf, ValueError, "widths must be positive, finite"),
        (1e-60, ValueError, "not 0 in the precision"),
        (torch.tensor([[1.0], [np.nan], [1.0]]), ValueError, "widths must be positive"),
        (torch.ones(3), ValueError, r"widths must be a number or of shape \(3, 1\)"),
        (torch.ones(2, 3), ValueError, r"widths must be a number or of shape \(3, 1\)"),
        ("auto", TypeError, "widths must be a positive number .* got str"),
        (None, TypeError, "widths must be a positive number .* got NoneType"),
        (
            [[1.0], [2.0, 3.0]],
            TypeError,
            "widths must be .* got list",
        ),
    ],
)
def test_widths_are_checked(widths, error, message):
    with pytest.raises(error, match=message):
        RBFLayer(draw(3, 2), widths)


def test_widths_may_be_arrays_of_the_shape():
    centers = draw(3, 2)
    for widths in (2, np.float64(2.0), np.full((3, 1), 2.0), torch.full((3, 2), 2)):
        found = RBFLayer(centers, widths)(centers)
        torch.testing.assert_close(found, RBFLayer(centers, 2.0)(centers))


@pytest.mark.parametrize("n_outputs", [0, -1, 2.0, "2", None, [2], torch.tensor(2.5)])
def test_the_number_of_outputs_is_checked(n_outputs):
    with pytest.raises(ValueError, match="n_outputs must be a positive integer, got"):
        RBFNetwork(RBFLayer(draw(3, 2)), n_outputs)


@pytest.mark.parametrize("kind", [int, np.int8, np.int64])
def test_the_number_of_outputs_may_be_a_numpy_integer(kind):
    assert RBFNetwork(RBFLayer(draw(3, 2)), kind(4))(draw(5, 2)).shape == (5, 4)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "value", [0.5, 2, np.float32(0.5), np.int64(2), torch.tensor(0.5), torch.tensor(2)]
)
def test_the_temperature_can_be_set(dtype, value):
    centers, rows = draw(5, 3).to(dtype), draw(7, 3, seed=1).to(dtype)
    layer = SoftAssignment(centers)
    layer.temperature = value
    expected = SoftAssignment(centers, value)
    assert torch.equal(layer(rows), expected(rows))
    state = layer.state_dict()
    assert state["temperature"].dtype == dtype
    assert float(state["temperature"]) == value
    assert dict(layer.named_buffers()).keys() == {"temperature"}
    other = SoftAssignment(centers)
    other.load_state_dict(state)
    assert torch.equal(other(rows), expected(rows))
    assert torch.equal(copy.deepcopy(layer)(rows), expected(rows))


@pytest.mark.parametrize(
    "value",
    [0, -1.0, np.nan, np.inf, 1e-60, "auto", None, torch.tensor(-1.0), torch.ones(2)],
)
def test_the_temperature_is_checked(value):
    layer = SoftAssignment(draw(5, 3), 0.25)
    for attempt in (
        lambda: SoftAssignment(draw(5, 3), value),
        lambda: setattr(layer, "temperature", value),
    ):
        with pytest.raises(ValueError, match="temperature must be positive"):
            attempt()
    assert layer.temperature == 0.25


def test_a_temperature_may_be_learned():
    layer = SoftAssignment(draw(5, 3).double())
    layer.temperature = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
    assert [name for name, _ in layer.named_parameters()] == ["centers", "temperature"]
    rows = draw(7, 3, seed=1).double()

    def forward(temperature):
        return torch.func.functional_call(layer, {"temperature": temperature}, (rows,))

    assert torch.autograd.gradcheck(forward, layer.temperature)


@half
def test_temperature_outside_the_range_of_half_precision(dtype):
    layer = SoftAssignment(draw(5, 3), 1e-9).to(dtype)
    rows = draw(7, 3, seed=1).to(dtype)
    distances = torch.cdist(rows.float(), layer.centers.float())
    found = layer(rows)
    found[:, 0].sum().backward()
    assert torch.equal(found.argmax(1), distances.argmin(1))
    assert torch.equal(found.amax(1), torch.ones(7, dtype=dtype))
    assert layer.centers.grad.isfinite().all()


@layers
def test_layer_on_the_meta_device(make):
    """Create a layer whose weights are loaded afterwards."""
    with torch.device("meta"):
        empty = make(torch.randn(5, 3))
    layer = make(draw(5, 3))
    rows = draw(7, 3, seed=1)
    empty.load_state_dict(layer.state_dict(), assign=True)
    assert torch.equal(empty(rows), layer(rows))


@layers
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("given", DTYPES, ids=str)
@pytest.mark.parametrize("part", [1.0, 1e-3, 1e-19, 1e-30])
def test_finite_rows_have_finite_activations(make, dtype, given, part):
    layer = make(draw(5, 3).to(dtype))
    rows = draw(7, 3, seed=1).clamp(-1, 1).double() * torch.finfo(given).max * part
    rows = rows.to(given).requires_grad_()
    assert rows.isfinite().all()
    found = layer(rows)
    assert found.dtype == dtype
    assert found.isfinite().all()
    found.square().sum().backward()
    # A slope may be more than the largest number: of half precision, or of any where
    # sparsemax shares so far a row between units.
    steep = torch.float16 in (dtype, given) or "sparsemax" in repr(layer)
    for one in (rows, *layer.parameters()):
        assert one.grad.isfinite().all() or steep
        assert not one.grad.isnan().any()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("assignment", ["softmax", "entmax15"])
@pytest.mark.parametrize("temperature", [1.0, 1e-6, 1e-30, 1e-37])
def test_distant_rows_belong_to_the_center_in_their_direction(
    dtype, assignment, temperature
):
    centers = draw(6, 3).to(dtype)
    try:
        layer = SoftAssignment(centers, temperature, assignment)
    except ValueError:  # half precision has no such temperature
        assert torch.tensor(temperature, dtype=dtype) == 0
        return
    far = 1e15 * draw(9, 3, seed=1).double()
    found = layer(far)
    wide = centers.double()
    expected = (wide.square().sum(1) - 2.0 * far @ wide.t()).argmin(1)
    assert torch.equal(found.argmax(1), expected)
    assert torch.equal(found.amax(1), torch.ones(9, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("assignment", ["softmax", "entmax15"])
def test_any_accepted_temperature_gives_responsibilities(dtype, assignment):
    centers, rows = draw(5, 3).to(dtype), draw(7, 3, seed=1).to(dtype)
    n_taken = 0
    for exponent in range(-330, 300, 5):
        try:
            layer = SoftAssignment(centers, 10.0**exponent, assignment)
        except ValueError:
            continue
        n_taken += 1
        found = layer(rows)
        found[:, 0].sum().backward()
        eps = torch.finfo(dtype).eps
        assert (found.double().sum(1) - 1).abs().max() < 8 * eps
        if dtype not in HALF:
            assert layer.centers.grad.isfinite().all()
    assert n_taken > 1


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("assignment", [None, "softmax", "entmax15"])
@pytest.mark.parametrize("shape", [(), (5, 1), (5, 3)])
def test_any_accepted_width_gives_activations(dtype, assignment, shape):
    centers, rows = draw(5, 3).to(dtype), draw(7, 3, seed=1).to(dtype)
    n_taken = 0
    for exponent in range(-330, 300, 5):
        try:
            widths = torch.full(shape, 10.0**exponent, dtype=torch.float64)
            layer = RBFLayer(centers, widths, assignment)
        except ValueError:
            continue
        n_taken += 1
        for each in (rows, centers):
            assert layer(each).isfinite().all()
        if assignment is None:
            assert layer(centers).diagonal().min() > 0.4 or exponent < -2
    assert n_taken > 1


@pytest.mark.parametrize("size", [1e19, 1e25, 3e38])
def test_centers_whose_squares_overflow_are_refused(size):
    centers = size * torch.tensor([[1.0, -1.0], [0.5, 1.0]])
    for kind in (RBFLayer, SoftAssignment):
        with pytest.raises(ValueError, match="squares"):
            kind(centers)
        assert kind(centers.double())(centers).isfinite().all()


@layers
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (torch.zeros(4, 3).to_sparse(), "rows must be a dense tensor"),
        (torch.zeros(4, 3) + 1j, "rows must be real, got torch.complex64"),
        (
            torch.zeros(4, 3, dtype=torch.complex128),
            "rows must be real, got torch.complex128",
        ),
    ],
)
def test_invalid_rows_raise(make, rows, message):
    with pytest.raises(TypeError, match=message):
        make(draw(5, 3))(rows)


@pytest.mark.parametrize("images", [np.zeros((2, 8, 8)), [[0.0]], None])
def test_images_are_tensors(images):
    with pytest.raises(TypeError, match="images must be a tensor, got"):
        RandomAffine()(images)
    with pytest.raises(TypeError, match="images must be a dense tensor"):
        RandomAffine()(torch.zeros(2, 8, 8).to_sparse())


@pytest.mark.parametrize("bad", [8, (3.0,), (8, 8.5), "88", (0, 8), (8, -1), (True, 8)])
def test_sizes_are_positive_integers(bad):
    message = "must be a sequence of positive integers, got"
    for name, make in {
        "input_shape": lambda: RandomAffine(input_shape=bad),
        "input_shape ": lambda: ConvAutoencoder(bad),
        "channels": lambda: ConvAutoencoder((8, 8), 2, bad),
        "hidden_layer_sizes": lambda: DenseAutoencoder(4, 2, bad),
    }.items():
        with pytest.raises(ValueError, match=f"{name.strip()} {message}"):
            make()


@pytest.mark.parametrize("bad", [0, -1, 2.0, "2", None, [2], True])
def test_widths_of_rows_and_codes_are_positive_integers(bad):
    for name, make in {
        "n_features": lambda: DenseAutoencoder(bad),
        "n_components": lambda: DenseAutoencoder(4, bad, (3,)),
        "n_components ": lambda: ConvAutoencoder((8, 8), bad),
    }.items():
        with pytest.raises(ValueError, match=f"{name.strip()} must be a positive int"):
            make()


@pytest.mark.parametrize("kind", [tuple, list, np.array, torch.tensor])
def test_sizes_accept_any_sequence(kind):
    rows = torch.zeros(3, 64)
    assert RandomAffine(input_shape=kind([8, 8]))(rows).shape == (3, 64)
    assert ConvAutoencoder(kind([8, 8]), 2, kind([4]))(rows).shape == (3, 64)
    assert DenseAutoencoder(np.int8(64), 2, kind([4, 4]))(rows).shape == (3, 64)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8])
def test_settings_may_be_zero_dimensional_arrays(dtype):
    centers, value = draw(5, 3), np.array(2, dtype)
    assert torch.equal(
        SoftAssignment(centers, value)(centers), SoftAssignment(centers, 2.0)(centers)
    )
    assert torch.equal(
        RBFLayer(centers, value)(centers), RBFLayer(centers, 2.0)(centers)
    )


@pytest.mark.parametrize("bad", [None, 3, nn.Linear, [nn.Linear(2, 2)]])
def test_parts_of_an_autoencoder_are_modules(bad):
    with pytest.raises(TypeError, match="encoder must be a torch"):
        Autoencoder(bad, nn.Linear(2, 2))
    with pytest.raises(TypeError, match="decoder must be a torch"):
        Autoencoder(nn.Linear(2, 2), bad)
