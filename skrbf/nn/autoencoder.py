"""Dense and convolutional autoencoders with weights drawn by a generator."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from skrbf.nn._arguments import check_choice, validate_count, validate_counts

# Layers whose weights `initialize` draws and a weight reset may change.
RESETTABLE_LAYERS = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


class Autoencoder(nn.Module):
    """An encoder of rows to codes and a decoder of codes to rows.

    Parameters
    ----------
    encoder : Module
        Maps rows (n, d) to codes (n, c).
    decoder : Module
        Maps codes (n, c) to rows (n, d).

    Raises
    ------
    TypeError
        If `encoder` or `decoder` is not a module.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> net = Autoencoder(nn.Identity(), nn.Identity())
    >>> net(torch.zeros(5, 4)).shape
    torch.Size([5, 4])
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        for name, part in (("encoder", encoder), ("decoder", decoder)):
            if not isinstance(part, nn.Module):
                raise TypeError(f"{name} must be a torch.nn.Module, got {part!r}.")
        self.encoder = encoder
        self.decoder = decoder

    def encode(self, rows: Tensor) -> Tensor:
        """Compute the codes of rows.

        Parameters
        ----------
        rows : Tensor of shape (n, n_features)

        Returns
        -------
        Tensor of shape (n, n_components)
        """
        codes: Tensor = self.encoder(rows)
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """Reconstruct rows from codes.

        Parameters
        ----------
        codes : Tensor of shape (n, n_components)

        Returns
        -------
        Tensor of shape (n, n_features)
        """
        rows: Tensor = self.decoder(codes)
        return rows

    def forward(self, rows: Tensor) -> Tensor:
        """Reconstruct rows from their own codes.

        Parameters
        ----------
        rows : Tensor of shape (n, n_features)

        Returns
        -------
        Tensor of shape (n, n_features)
        """
        return self.decode(self.encode(rows))


class DenseAutoencoder(Autoencoder):
    """Fully connected layers with ReLU between them, mirrored in the decoder.

    Parameters
    ----------
    n_features : int
        Width of a row.
    n_components : int, default=10
        Width of a code.
    hidden_layer_sizes : sequence of int, default=(500, 500, 2000)
        Widths of the hidden layers of the encoder, in reverse in the decoder.
    code_activation : {"linear", "tanh"}, default="linear"
        Activation of the code layer. "tanh" bounds the codes.
    generator : torch.Generator, default=None
        Draws the weights. None uses torch's own generator.

    Raises
    ------
    ValueError
        If a width is not a positive integer, or `code_activation` is unknown.

    Examples
    --------
    >>> import torch
    >>> net = DenseAutoencoder(64, 2, (16,), generator=torch.Generator().manual_seed(0))
    >>> net.encode(torch.zeros(5, 64)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        n_features: int,
        n_components: int = 10,
        hidden_layer_sizes: Sequence[int] = (500, 500, 2000),
        code_activation: str = "linear",
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        sizes = [
            validate_count("n_features", n_features),
            *validate_counts("hidden_layer_sizes", hidden_layer_sizes),
            validate_count("n_components", n_components),
        ]
        encoder = [*_dense(sizes), *_activation(code_activation)]
        decoder = _dense(sizes[::-1])
        super().__init__(nn.Sequential(*encoder), nn.Sequential(*decoder))
        initialize(self, generator)


class ConvAutoencoder(Autoencoder):
    """Strided convolutions with ReLU and a linear layer, mirrored in the decoder.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of an image: (height, width) or (channels, height, width). Rows are flat,
        and the encoder reshapes them.
    n_components : int, default=10
        Width of a code.
    channels : sequence of int, default=(32, 64, 128)
        Output channels of the convolutions, each of which halves height and width. The
        last has kernels of 3 x 3, the others of 5 x 5.
    code_activation : {"linear", "tanh"}, default="linear"
        Activation of the code layer. "tanh" bounds the codes.
    generator : torch.Generator, default=None
        Draws the weights. None uses torch's own generator.

    Raises
    ------
    ValueError
        If `input_shape` does not have two or three entries, `channels` is empty, a size
        is not a positive integer, or `code_activation` is unknown.

    Notes
    -----
    The architecture is that of Guo, Liu, Zhu, Yin (2017), "Deep clustering with
    convolutional autoencoders".

    Examples
    --------
    >>> import torch
    >>> net = ConvAutoencoder((8, 8), 2, (4,), generator=torch.Generator())
    >>> net(torch.zeros(5, 64)).shape
    torch.Size([5, 64])
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        n_components: int = 10,
        channels: Sequence[int] = (32, 64, 128),
        code_activation: str = "linear",
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        input_shape = validate_counts("input_shape", input_shape)
        n_components = validate_count("n_components", n_components)
        channels = validate_counts("channels", channels)
        if len(input_shape) not in (2, 3) or not channels:
            raise ValueError(
                "input_shape must be (height, width) or (channels, height, width), and "
                f"channels must not be empty; got {input_shape!r} and channels="
                f"{channels!r}."
            )
        shape = (1,) * (3 - len(input_shape)) + input_shape
        depths = [shape[0], *channels]
        sides = [shape[1:]]  # before each convolution, and after the last
        for _ in channels:
            sides.append(tuple((side + 1) // 2 for side in sides[-1]))
        width = depths[-1] * math.prod(sides[-1])
        encoder = [
            nn.Unflatten(1, shape),
            *_convolutions(depths),
            nn.Flatten(),
            skip_init(nn.Linear, width, n_components, device="cpu"),
            *_activation(code_activation),
        ]
        decoder = [
            skip_init(nn.Linear, n_components, width, device="cpu"),
            nn.ReLU(),
            nn.Unflatten(1, (depths[-1], *sides[-1])),
            *_transposed_convolutions(depths, sides),
            nn.Flatten(),
        ]
        super().__init__(nn.Sequential(*encoder), nn.Sequential(*decoder))
        initialize(self, generator)


def initialize(module: nn.Module, generator: torch.Generator | None = None) -> None:
    """Draw the weights of all linear and convolutional layers.

    The weights are uniform, with the variance that preserves the scale of activations
    and gradients (Glorot and Bengio 2010). Biases are 0. Other layers do not change.

    Parameters
    ----------
    module : Module
    generator : torch.Generator, default=None
        On the CPU. None uses torch's own generator.
    """
    with torch.no_grad():
        for layer in module.modules():
            if not isinstance(layer, RESETTABLE_LAYERS):
                continue
            # In float32 for every precision, so that the weights do not depend on it.
            weight = torch.empty(layer.weight.shape, dtype=torch.float32, device="cpu")
            nn.init.xavier_uniform_(weight, generator=generator)
            layer.weight.copy_(weight)
            if layer.bias is not None:
                layer.bias.zero_()


def _dense(sizes: Sequence[int]) -> list[nn.Module]:
    """Make linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [skip_init(nn.Linear, before, after, device="cpu"), nn.ReLU()]
    return layers[:-1]


def _convolutions(depths: Sequence[int]) -> list[nn.Module]:
    """Make convolutions that halve the sides, with ReLU after each."""
    layers: list[nn.Module] = []
    for step, (before, after) in enumerate(pairwise(depths), 1):
        size = 3 if step == len(depths) - 1 else 5
        layers += [_strided(nn.Conv2d, before, after, size), nn.ReLU()]
    return layers


def _transposed_convolutions(
    depths: Sequence[int], sides: Sequence[tuple[int, ...]]
) -> list[nn.Module]:
    """Make the mirror image of `_convolutions`, without ReLU after the last.

    `depths` are the channels before each convolution of the encoder, and after the
    last. `sides` are height and width at the same places.
    """
    layers: list[nn.Module] = []
    n_steps = len(depths) - 1
    for step in reversed(range(n_steps)):
        size = 3 if step == n_steps - 1 else 5
        # An even side and the odd one below it are halved to the same side.
        padding = tuple(1 - side % 2 for side in sides[step])
        layers += [
            _strided(
                nn.ConvTranspose2d,
                depths[step + 1],
                depths[step],
                size,
                output_padding=padding,
            ),
            nn.ReLU(),
        ]
    return layers[:-1]


def _strided(
    kind: type[nn.Module], before: int, after: int, size: int, **options: Any
) -> nn.Module:
    """Make a convolution of stride 2 with uninitialized weights."""
    return skip_init(
        kind, before, after, size, stride=2, padding=size // 2, device="cpu", **options
    )


def _activation(name: str) -> list[nn.Module]:
    """Make the layers of an activation."""
    activations: dict[str, list[nn.Module]] = {"linear": [], "tanh": [nn.Tanh()]}
    check_choice("code_activation", name, activations)
    return activations[name]
