"""Random rotations, shifts and zooms of images, for `augment`."""

import math
from collections.abc import Sequence
from numbers import Real

import torch
from torch import Tensor, nn

from skrbf.nn._arguments import check_dense, validate_counts
from skrbf.ops.precision import full_precision


class RandomAffine(nn.Module):
    """Rotate, shift and zoom each image of a batch at random.

    Parameters
    ----------
    degrees : float, default=10.0
        Largest angle, in both directions.
    translate : float, default=0.1
        Largest shift along each side, in both directions, as a fraction of that side
        below 1.
    zoom : float, default=0.1
        Largest change of size, in both directions, as a fraction below 1.
    input_shape : tuple of int, default=None
        Shape of a flat row as an image, (height, width) or (channels, height, width).
        None takes images of shape (n, height, width) or (n, channels, height, width).

    Raises
    ------
    ValueError
        If a setting is not a number in its range.

    Notes
    -----
    Pixels from outside the image have the color of the nearest border pixel. Random
    numbers come from torch's own generator. Half precision is computed in float32, and
    autocast has no effect.

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
        for name, value, limit in (
            ("degrees", degrees, math.inf),
            ("translate", translate, 1.0),
            ("zoom", zoom, 1.0),
        ):
            if not (isinstance(value, Real) and 0 <= value < limit):
                raise ValueError(
                    f"{name} must be a number from 0 on"
                    f"{', below 1' if limit == 1 else ''}; got {value!r}."
                )
        self.degrees, self.translate, self.zoom = degrees, translate, zoom
        if input_shape is not None:
            input_shape = validate_counts("input_shape", input_shape)
        self.input_shape = input_shape

    def forward(self, images: Tensor) -> Tensor:
        """Transform images; the result has the same shape.

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
            For flat rows without an `input_shape`, rows of another size, and integers.
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
                f"{given}. Pass the input_shape of the rows, (height, width) or "
                "(channels, height, width), to RandomAffine or to its estimator."
            )
        if len(images) == 0:  # affine_grid would raise an error
            return images
        batch = images.reshape(len(images), *(1,) * (3 - len(shape)), *shape)
        limits = (math.radians(self.degrees), self.translate, self.zoom)
        return _transform(batch, *limits).reshape(images.shape)

    def extra_repr(self) -> str:
        """Format the settings for ``repr``."""
        return (
            f"degrees={self.degrees}, translate={self.translate}, zoom={self.zoom}, "
            f"input_shape={self.input_shape}"
        )


@full_precision
def _transform(images: Tensor, radians: float, translate: float, zoom: float) -> Tensor:
    """Transform images (n, channels, height, width), each by its own random numbers."""
    n, _, height, width = images.shape
    uniform = 2.0 * torch.rand(4, n, dtype=images.dtype, device=images.device) - 1.0
    angle = uniform[0] * radians
    size = 1.0 + uniform[1] * zoom
    cos, sin = angle.cos() / size, angle.sin() / size  # (n,)
    ratio = height / width  # coordinates run from -1 to 1 along both sides
    shift = 2.0 * translate * uniform[2:]  # (2, n)
    matrices = torch.stack(
        [cos, -sin * ratio, shift[0], sin / ratio, cos, shift[1]], 1
    ).reshape(n, 2, 3)
    grid = nn.functional.affine_grid(matrices, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(
        images, grid, padding_mode="border", align_corners=False
    )
