"""Images turned, shifted and zoomed a little, for `augment`."""

import math
from collections.abc import Sequence
from numbers import Real

import torch
from torch import Tensor, nn

from skrbf.nn._arguments import check_dense, validate_counts
from skrbf.ops.precision import full_precision


class RandomAffine(nn.Module):
    """Turn, shift and zoom each image of a batch at random.

    Parameters
    ----------
    degrees : float, default=10.0
        Largest angle, either way.
    translate : float, default=0.1
        Largest shift along each side, either way, as a share of it below 1.
    zoom : float, default=0.1
        Largest change of size, either way, as a share below 1.
    input_shape : tuple of int, default=None
        Shape of a flat row as an image, (height, width) or (channels, height, width).
        None takes images as they are, (n, height, width) or (n, channels, height,
        width).

    Raises
    ------
    ValueError
        For a setting that is no such number.

    Notes
    -----
    What comes in at the border is the color of the border. Draws from torch's own
    generator. Half precision is computed in float32; autocast changes nothing.

    Examples
    --------
    >>> import torch
    >>> RandomAffine(input_shape=(8, 8))(torch.zeros(5, 64)).shape
    torch.Size([5, 64])
    """

    def __init__(
        self,
        degrees: float = 10.0,
        translate: float = 0.1,
        zoom: float = 0.1,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        for name, value, most in (
            ("degrees", degrees, math.inf),
            ("translate", translate, 1.0),
            ("zoom", zoom, 1.0),
        ):
            if not (isinstance(value, Real) and 0 <= value < most):
                raise ValueError(
                    f"{name} must be a number from 0 on"
                    f"{', below 1' if most == 1 else ''}; got {value!r}."
                )
        self.degrees, self.translate, self.zoom = degrees, translate, zoom
        if input_shape is not None:
            input_shape = validate_counts("input_shape", input_shape)
        self.input_shape = input_shape

    def forward(self, images: Tensor) -> Tensor:
        """Images of the same shape.

        Parameters
        ----------
        images : Tensor of shape (n, ...)

        Returns
        -------
        Tensor of shape (n, ...)

        Raises
        ------
        TypeError
            If `images` is not a dense tensor.
        ValueError
            For flat rows without an `input_shape` or of another size, and for integers.
        """
        check_dense("images", images)
        if not images.is_floating_point():
            raise ValueError(
                f"images must be floating point, and are {images.dtype}; use "
                "images.float()."
            )
        given = tuple(images.shape[1:])
        shape = given if self.input_shape is None else self.input_shape
        if len(shape) not in (2, 3) or math.prod(shape) != math.prod(given):
            raise ValueError(
                f"input_shape={self.input_shape} makes no image of a row of shape "
                f"{given}; give RandomAffine, or the estimator that it is for, the "
                "input_shape of the rows: (height, width) or (channels, height, width)."
            )
        if len(images) == 0:  # of which affine_grid makes an error
            return images
        whole = images.reshape(len(images), *(1,) * (3 - len(shape)), *shape)
        most = (math.radians(self.degrees), self.translate, self.zoom)
        return _moved(whole, *most).reshape(images.shape)

    def extra_repr(self) -> str:
        """Settings, for ``repr``."""
        return (
            f"degrees={self.degrees}, translate={self.translate}, zoom={self.zoom}, "
            f"input_shape={self.input_shape}"
        )


@full_precision
def _moved(images: Tensor, radians: float, translate: float, zoom: float) -> Tensor:
    """Images (n, channels, height, width), each moved by what is drawn for it."""
    n, _, height, width = images.shape
    drawn = 2.0 * torch.rand(4, n, dtype=images.dtype, device=images.device) - 1.0
    angle = drawn[0] * radians
    size = 1.0 + drawn[1] * zoom
    cos, sin = angle.cos() / size, angle.sin() / size  # (n,)
    ratio = height / width  # coordinates run from -1 to 1 along both sides
    shift = 2.0 * translate * drawn[2:]  # (2, n)
    places = torch.stack(
        [cos, -sin * ratio, shift[0], sin / ratio, cos, shift[1]], 1
    ).reshape(n, 2, 3)
    grid = nn.functional.affine_grid(places, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(
        images, grid, padding_mode="border", align_corners=False
    )
