"""Autoencoders, dense and convolutional, whose weights a generator draws."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from skrbf.nn._arguments import check_choice, validate_count, validate_counts

DRAWN = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


class Autoencoder(nn.Module):
    """An encoder from rows to codes, and a decoder back.

    Parameters
    ----------
    encoder : Module
        From rows (n, d) to codes (n, c).
    decoder : Module
        From codes (n, c) to rows (n, d).

    Raises
    ------
    TypeError
        If one of them is not a module.

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
        """Codes.

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
        """Rows that have these codes, as far as it can tell.

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
        """Rows as they come back from their codes.

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
        Widths of the layers of the encoder; the decoder has them in reverse.
    code_activation : {"linear", "tanh"}, default="linear"
        What a code is made with: "tanh" bounds it.
    generator : torch.Generator, default=None
        What draws the weights; None is torch's own.

    Raises
    ------
    ValueError
        If a width is not a positive integer, or `code_activation` is not known.

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
    """Strided convolutions with ReLU, a linear layer, and the same back.

    Parameters
    ----------
    input_shape : tuple of int
        Of one image: (height, width) or (channels, height, width). Rows are flat; they
        are given this shape inside.
    n_components : int, default=10
        Width of a code.
    channels : sequence of int, default=(32, 64, 128)
        Of the convolutions, each of which halves height and width. The last has kernels
        of 3 x 3, the others of 5 x 5.
    code_activation : {"linear", "tanh"}, default="linear"
        What a code is made with: "tanh" bounds it.
    generator : torch.Generator, default=None
        What draws the weights; None is torch's own.

    Raises
    ------
    ValueError
        If `input_shape` has another number of entries, there are no `channels`, a size
        is not a positive integer, or `code_activation` is not known.

    Notes
    -----
    The layers of Guo, Liu, Zhu, Yin (2017), "Deep clustering with convolutional
    autoencoders".

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
                "input_shape is (height, width) or (channels, height, width), and "
                f"there is one convolution at least; got {input_shape!r} and channels="
                f"{channels!r}."
            )
        shape = (1,) * (3 - len(input_shape)) + input_shape
        depths = [shape[0], *channels]
        sides = [shape[1:]]  # of the image before each convolution, and after all
        for _ in channels:
            sides.append(tuple((side + 1) // 2 for side in sides[-1]))
        width = depths[-1] * math.prod(sides[-1])
        encoder: list[nn.Module] = [nn.Unflatten(1, shape)]
        decoder: list[nn.Module] = [
            skip_init(nn.Linear, n_components, width, device="cpu"),
            nn.ReLU(),
            nn.Unflatten(1, (depths[-1], *sides[-1])),
        ]
        for step, (before, after) in enumerate(pairwise(depths)):
            size = 3 if step == len(channels) - 1 else 5
            encoder += [_halving(nn.Conv2d, before, after, size), nn.ReLU()]
        for step in reversed(range(len(channels))):
            size = 3 if step == len(channels) - 1 else 5
            # What two strides apart does not tell: an even side or an odd one.
            odd = [1 - side % 2 for side in sides[step]]
            back = _halving(
                nn.ConvTranspose2d,
                channels[step],
                depths[step],
                size,
                output_padding=tuple(odd),
            )
            decoder += [back] if step == 0 else [back, nn.ReLU()]
        last = skip_init(nn.Linear, width, n_components, device="cpu")
        encoder += [nn.Flatten(), last]
        encoder += _activation(code_activation)
        decoder += [nn.Flatten()]
        super().__init__(nn.Sequential(*encoder), nn.Sequential(*decoder))
        initialize(self, generator)


def initialize(module: nn.Module, generator: torch.Generator | None = None) -> None:
    """Draw the weights of all linear and convolutional layers.

    Uniform, of a variance that keeps the size of what passes (Glorot and Bengio 2010);
    biases are 0. Layers of other kinds stay as they are.

    Parameters
    ----------
    module : Module
    generator : torch.Generator, default=None
        Of the CPU; None is torch's own.
    """
    with torch.no_grad():
        for layer in module.modules():
            if not isinstance(layer, DRAWN):
                continue
            # One draw for all precisions, whatever the default one is.
            drawn = torch.empty(layer.weight.shape, dtype=torch.float32, device="cpu")
            nn.init.xavier_uniform_(drawn, generator=generator)
            layer.weight.copy_(drawn)
            if layer.bias is not None:
                layer.bias.zero_()


def _dense(sizes: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [skip_init(nn.Linear, before, after, device="cpu"), nn.ReLU()]
    return layers[:-1]


def _halving(
    kind: type[nn.Module], before: int, after: int, size: int, **options: Any
) -> nn.Module:
    return skip_init(
        kind, before, after, size, stride=2, padding=size // 2, device="cpu", **options
    )


def _activation(name: str) -> list[nn.Module]:
    made: dict[str, list[nn.Module]] = {"linear": [], "tanh": [nn.Tanh()]}
    check_choice("code_activation", name, made)
    return made[name]
