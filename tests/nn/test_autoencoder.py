"""Autoencoders: shapes, initial weights, learning; random affine maps of images."""

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform
from torch import nn

from helpers import generator
from skrbf.nn import Autoencoder, ConvAutoencoder, DenseAutoencoder, RandomAffine
from skrbf.nn.autoencoder import initialize


def images(n=6, shape=(8, 8)):
    return torch.randn(n, *shape, generator=generator())


NETS = {
    "dense": lambda g: DenseAutoencoder(64, 3, (20, 10), generator=g),
    "linear": lambda g: DenseAutoencoder(64, 3, (), generator=g),
    "conv": lambda g: ConvAutoencoder((8, 8), 3, (4, 6), generator=g),
}
all_nets = pytest.mark.parametrize("make", NETS.values(), ids=NETS.keys())


@all_nets
def test_the_generator_draws_all_weights(make):
    before = torch.get_rng_state()
    one, two, other = make(generator()), make(generator()), make(generator(1))
    assert torch.equal(torch.get_rng_state(), before)
    rows = images().reshape(6, 64)
    assert torch.equal(one(rows), two(rows))
    assert not torch.allclose(one(rows), other(rows))
    for name, parameter in one.named_parameters():
        assert bool(parameter.any()) == ("bias" not in name)


def test_without_a_generator_torch_draws():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        one = DenseAutoencoder(4, 2, (3,))
        torch.manual_seed(0)
        two = DenseAutoencoder(4, 2, (3,))
    assert torch.equal(one.encoder[0].weight, two.encoder[0].weight)


@all_nets
def test_shapes_and_precision_of_codes_and_rows(make):
    net, rows = make(generator()), images().reshape(6, 64)
    codes = net.encode(rows)
    assert codes.shape == (6, 3)
    assert torch.equal(net.decode(codes), net(rows))
    assert net(rows).shape == (6, 64)
    double = net.double()(rows.double())
    torch.testing.assert_close(double.float(), make(generator())(rows))


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (3, 9, 7), (2, 5, 16), (28, 28)])
@pytest.mark.parametrize("channels", [(4,), (4, 5, 6)])
def test_decoded_images_have_the_size_of_their_input(shape, channels):
    net = ConvAutoencoder(shape, 2, channels, generator=generator())
    rows = images(3, shape).reshape(3, -1)
    assert net(rows).shape == rows.shape


def test_a_convolution_is_equivariant_to_shifts():
    """A shift by two strides shifts the result of the first layer by one."""
    net = ConvAutoencoder((16, 16), 2, (4,), generator=generator())
    image = torch.zeros(2, 1, 16, 16)
    image[0, 0, 6:9, 6:9] = image[1, 0, 8:11, 10:13] = 1.0
    made = nn.Sequential(*net.encoder[:2])(image.reshape(2, 256))
    torch.testing.assert_close(made[1], made[0].roll((1, 2), (1, 2)))


def test_weights_have_the_variance_of_glorot():
    """The variance is 2 over the sum of the widths."""
    net = DenseAutoencoder(400, 300, (), generator=generator())
    assert net.encoder[0].weight.var().item() == pytest.approx(2 / 700, rel=0.02)


def test_tanh_bounds_the_codes():
    for net in (
        DenseAutoencoder(64, 3, (20,), "tanh", generator=generator()),
        ConvAutoencoder((8, 8), 3, (4,), "tanh", generator=generator()),
    ):
        assert net.encode(1e3 * images().reshape(6, 64)).abs().max() <= 1


@all_nets
def test_networks_learn_a_linear_subspace(make):
    net = make(generator())
    basis = torch.randn(3, 64, generator=generator(1))
    rows = torch.randn(200, 3, generator=generator(2)) @ basis
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    first = (net(rows) - rows).square().mean().item()
    for _ in range(200):
        optimizer.zero_grad()
        loss = (net(rows) - rows).square().mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3 * first


def test_initialize_draws_the_weights_of_a_custom_autoencoder():
    net = Autoencoder(nn.Linear(4, 2), nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4)))
    initialize(net, generator())
    first = net.encoder.weight.clone()
    assert net.decoder[1].weight.eq(1).all()
    initialize(net, generator())
    assert torch.equal(net.encoder.weight, first)
    initialize(net.double(), generator())  # the same draw in any precision
    assert torch.equal(net.encoder.weight, first.double())


@pytest.mark.parametrize(
    ("shape", "channels"), [((8,), (4,)), ((1, 1, 8, 8), (4,)), ((8, 8), ())]
)
def test_convolutions_of_invalid_shapes_are_an_error(shape, channels):
    with pytest.raises(ValueError, match="channels must not be empty"):
        ConvAutoencoder(shape, 2, channels)


def test_an_unknown_activation_is_an_error():
    for make, given in ((DenseAutoencoder, 4), (ConvAutoencoder, (4, 4))):
        with pytest.raises(ValueError, match="code_activation must be one of"):
            make(given, code_activation="relu")


def test_the_identity_and_shapes_that_are_no_images():
    same = RandomAffine(0, 0, 0)
    for shape in [(8, 8), (3, 8, 5)]:
        whole = images(4, shape)
        torch.testing.assert_close(same(whole), whole)
    flat = images(4).reshape(4, 64)
    torch.testing.assert_close(RandomAffine(0, 0, 0, (8, 8))(flat), flat)
    for module, rows in (
        (RandomAffine(), flat),  # no image
        (RandomAffine(input_shape=(4, 4)), flat),  # 64 entries would be four of 16
        (RandomAffine(input_shape=(64,)), flat),
    ):
        with pytest.raises(ValueError, match="makes no image of a row"):
            module(rows)


def test_invalid_settings_of_an_affine_map_are_an_error():
    for bad in (
        {"degrees": -1},
        {"translate": float("nan")},
        {"translate": 1},  # a share, not pixels
        {"zoom": 1},
        {"zoom": "a"},
    ):
        with pytest.raises(
            ValueError, match=f"{next(iter(bad))} must be a number from 0"
        ):
            RandomAffine(**bad)
    with pytest.raises(ValueError, match=r"are torch.uint8; use images.float"):
        RandomAffine()(images(4).to(torch.uint8))


@pytest.mark.parametrize("settings", [(40.0, 0, 0), (0, 0.2, 0), (0, 0, 0.3)])
def test_an_affine_map_agrees_with_scipy(settings):
    """On a smooth image, on which different interpolations agree."""
    y, x = np.mgrid[:24, :16]
    image = np.exp(-(((x - 8.5) / 2) ** 2) - ((y - 10) / 4) ** 2)
    given = torch.from_numpy(image)[None]
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        made = RandomAffine(*settings)(given)[0].numpy()
        torch.manual_seed(1)
        u = 2 * torch.rand(4, 1, dtype=torch.float64)[:, 0].numpy() - 1
    angle, size = np.radians(settings[0]) * u[0], 1 + settings[2] * u[1]
    cos, sin = np.cos(angle) / size, np.sin(angle) / size
    # From places (row, column) of the result to those of the image, about the middle.
    matrix = np.array([[cos, sin], [-sin, cos]])
    shift = settings[1] * np.array([u[3] * 24, u[2] * 16])
    middle = np.array([11.5, 7.5])
    offset = middle - matrix @ middle + shift
    expected = affine_transform(image, matrix, offset, order=1, mode="nearest")
    np.testing.assert_allclose(made, expected, atol=1e-6)
    assert np.abs(made - image).max() > 0.05


def test_every_image_has_its_own_transformation():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        made = RandomAffine()(images(1).repeat(5, 1, 1))
    assert len(made.reshape(5, 64).unique(dim=0)) == 5
