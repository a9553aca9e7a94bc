"""Centers as images."""

from numbers import Integral

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skrbf.plot._axes import panels
from skrbf.plot._colors import distinct
from skrbf.plot._data import whole_number

_MOST_COLUMNS = 10
_MOST_NAMES = 10
_ROW_HEIGHT = 1.3  # of an image and its name, over the width
_NAME_SIZE = 9  # points, at most
_LETTER = 0.6  # width over height


class PrototypesDisplay:
    """Centers as images, those of a classifier with their class profiles.

    It is recommended to use :meth:`from_estimator`.

    Parameters
    ----------
    images : ndarray of shape (n_prototypes, height, width) or \
            (n_prototypes, height, width, n_channels)
        The centers.
    names : sequence of str
        What stands above each.
    profiles : ndarray of shape (n_prototypes, n_classes), default=None
        Shares of the classes, which are drawn as bars below each.
    class_names : sequence of str, default=None
        Names of the classes.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The frame of the panels.
    axes_ : ndarray of shape (n_prototypes,)
        The panels of the images.
    profile_axes_ : ndarray of shape (n_prototypes,) or None
        The panels of the bars.
    figure_ : matplotlib Figure
        Their figure.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skrbf import SoftKMeans
    >>> from skrbf.plot import PrototypesDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> model = SoftKMeans(5).fit(X)
    >>> display = PrototypesDisplay.from_estimator(model, image_shape=(8, 8))
    >>> display.images.shape
    (5, 8, 8)
    """

    def __init__(self, *, images, names, profiles=None, class_names=None):
        self.images = images
        self.names = names
        self.profiles = profiles
        self.class_names = class_names

    @classmethod
    def from_estimator(
        cls, estimator, *, image_shape=None, prototypes=None, n_prototypes=20, **kwargs
    ):
        """Draw the centers of a fitted estimator.

        Parameters
        ----------
        estimator : SoftKMeans, RBFNetClassifier or DeepCenteringClustering
            Fitted. Of :class:`~skrbf.DeepCenteringClustering` the decoded centers are
            drawn.
        image_shape : tuple of int, default=None
            Shape of a row as an image, (height, width) or (channels, height, width).
            None is the `input_shape` of the estimator, where it has one.
        prototypes : array-like of int, default=None
            Numbers of the centers to draw. None is the first `n_prototypes` clusters,
            or of a classifier the units with the purest profiles: the purest of each
            class, then the second of each, and so on, in the order of the classes.
        n_prototypes : int, default=20
            How many to choose, at most.
        **kwargs : dict
            Passed to :meth:`plot`.

        Returns
        -------
        display : PrototypesDisplay
        """
        check_is_fitted(estimator)
        centers, profiles = _centers(estimator)
        n_prototypes = whole_number("n_prototypes", n_prototypes, 1)
        if image_shape is None:
            image_shape = getattr(estimator, "input_shape", None)
        images = _as_images(centers, image_shape)
        if prototypes is None and profiles is None:
            prototypes = np.arange(min(n_prototypes, len(centers)))
        elif prototypes is None:
            prototypes = _purest(profiles, n_prototypes)
        prototypes = np.asarray(prototypes)
        if (
            prototypes.ndim != 1
            or prototypes.dtype.kind not in "iu"
            or not len(prototypes)
            or not 0 <= prototypes.min() <= prototypes.max() < len(centers)
        ):
            raise ValueError(
                f"prototypes should be integers from 0 to {len(centers) - 1}, got "
                f"{prototypes.tolist()}."
            )
        kind = "cluster" if profiles is None else "unit"
        classes = None if profiles is None else estimator.classes_
        return cls(
            images=images[prototypes],
            names=[f"{kind} {number}" for number in prototypes],
            profiles=None if profiles is None else profiles[prototypes],
            class_names=None if classes is None else [str(c) for c in classes],
        ).plot(**kwargs)

    def plot(self, ax=None, *, n_columns=None, imshow_kwargs=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Whose place to take. None is a new figure.
        n_columns : int, default=None
            Images in a row. None is 10, or all if they are fewer; in the place of an
            `ax`, as many as make them largest.
        imshow_kwargs : dict, default=None
            Of the images, for `Axes.imshow`. All share one scale, from the smallest
            to the largest value, unless it has another `vmin` and `vmax`.

        Returns
        -------
        display : PrototypesDisplay
        """
        count = len(self.images)
        heights = [1] if self.profiles is None else [1, 0.55]
        if n_columns is not None:
            n_columns = whole_number("n_columns", n_columns, 1)
        else:
            n_columns = _columns(count, ax, _ROW_HEIGHT * sum(heights))
        n_rows = -(-count // n_columns)
        self.ax_, axes = panels(
            f"{type(self).__name__}.plot",
            ax,
            heights * n_rows,
            n_columns,
            size=(max(1.0 * n_columns, 2.5), _ROW_HEIGHT * n_rows * sum(heights)),
        )
        self.figure_ = self.ax_.figure
        for axis in axes.ravel():
            axis.set(xticks=[], yticks=[])
        self.axes_ = axes[:: len(heights)].ravel()
        self._draw_images(imshow_kwargs)
        self.profile_axes_ = None
        if self.profiles is not None:
            self.profile_axes_ = axes[1::2].ravel()
            self._draw_profiles()
            for axis in self.profile_axes_[count:]:
                axis.set_axis_off()
            self.profile_axes_ = self.profile_axes_[:count]
        for axis in self.axes_[count:]:
            axis.set_axis_off()
        self.axes_ = self.axes_[:count]
        return self

    def _draw_images(self, imshow_kwargs):
        style = {"cmap": "gray_r", "vmin": self.images.min(), "vmax": self.images.max()}
        low, high = style["vmin"], style["vmax"]
        style |= imshow_kwargs or {}
        if style.get("norm") is not None or self.images.ndim == 4:
            del style["vmin"], style["vmax"]
        images = self.images
        if images.ndim == 4:  # matplotlib scales no colors
            images = ((images - low) / max(high - low, 1e-12)).clip(0, 1)
        width = 72 * self.axes_[0].get_window_extent().width / self.figure_.dpi
        longest = max(map(len, self.names))
        size = min(_NAME_SIZE, width / (_LETTER * max(longest, 1)))
        for axis, image, name in zip(self.axes_, images, self.names, strict=False):
            axis.imshow(image, **style)
            axis.set_title(name, fontsize=size)

    def _draw_profiles(self):
        n_classes = self.profiles.shape[1]
        colors = distinct(n_classes)
        for axis, profile in zip(self.profile_axes_, self.profiles, strict=False):
            axis.bar(np.arange(n_classes), profile, color=colors)
            axis.set(ylim=(0, 1))
            if self.class_names is None or n_classes > _MOST_NAMES:
                continue
            # Long names stand upright; a few letters say which they are.
            long = max(map(len, self.class_names)) > 1
            axis.set_xticks(np.arange(n_classes), self.class_names)
            axis.tick_params(labelsize=6, length=0, rotation=90 if long else 0)


def _columns(count, ax, row_height):
    """Images in a row: of a figure that is made for them, or so that they fill `ax`."""
    if ax is None:
        return min(_MOST_COLUMNS, count)
    place = ax.get_window_extent()
    filling = (count * row_height * place.width / place.height) ** 0.5
    return max(1, min(round(filling), count))


def _centers(estimator):
    """Centers in units of the data, and class profiles if there are any."""
    if hasattr(estimator, "class_profile_"):
        return estimator.centers_, estimator.class_profile_
    for name in ("cluster_centers_decoded_", "cluster_centers_"):
        if hasattr(estimator, name):
            return getattr(estimator, name), None
    raise ValueError(
        "PrototypesDisplay draws SoftKMeans, RBFNetClassifier and "
        f"DeepCenteringClustering, not {type(estimator).__name__}. Of a pipeline, pass "
        "the last step."
    )


def _as_images(centers, shape):
    if shape is None:
        raise ValueError(
            f"Centers have {centers.shape[1]} features; say with "
            "image_shape=(height, width) which image that is."
        )
    if np.ndim(shape) != 1 or not _is_image(tuple(shape)):
        raise ValueError(
            f"image_shape={shape!r} should be (height, width) or (channels, "
            "height, width), with 1 or 3 channels."
        )
    if np.prod(shape) != centers.shape[1]:
        raise ValueError(
            f"image_shape={tuple(shape)} has {np.prod(shape)} values, and centers have "
            f"{centers.shape[1]}."
        )
    images = centers.reshape(len(centers), *shape)
    if len(shape) == 2:
        return images
    return images[:, 0] if shape[0] == 1 else np.moveaxis(images, 1, -1)


def _is_image(shape):
    whole = all(isinstance(size, Integral) and size > 0 for size in shape)
    return whole and (len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3)))


def _purest(profiles, n_prototypes):
    """Units that speak for one class: the purest of each, the second of each, ..."""
    own, purity = profiles.argmax(1), profiles.max(1)
    rank = np.empty(len(profiles), dtype=int)
    for label in np.unique(own):
        mine = np.flatnonzero(own == label)
        rank[mine[(-purity[mine]).argsort(kind="stable")]] = np.arange(len(mine))
    chosen = np.lexsort((-purity, rank))[:n_prototypes]
    return chosen[np.lexsort((rank[chosen], own[chosen]))]
