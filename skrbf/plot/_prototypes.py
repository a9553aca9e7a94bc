"""Display of centers as images."""

from numbers import Integral

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skrbf.plot._axes import panels
from skrbf.plot._colors import distinct
from skrbf.plot._data import whole_number

_MAX_IMAGE_COLUMNS = 10
# Number of classes up to which their names are readable below a panel.
_MAX_PROFILE_NAMES = 10
_IMAGE_PANEL_HEIGHT = 1.3  # of an image with its title, over the width
_TITLE_MAX_POINTS = 9  # font size
_LETTER_ASPECT = 0.6  # width of a letter over its height


class PrototypesDisplay:
    """Centers as images, with the class profiles of the units of a classifier.

    Draws `cluster_centers_` of :class:`~skrbf.SoftKMeans`, `cluster_centers_decoded_`
    of :class:`~skrbf.DeepCenteringClustering`, or `centers_` of
    :class:`~skrbf.RBFNetClassifier`, each with a bar chart of its `class_profile_`.

    Create displays with :meth:`from_estimator`.

    Parameters
    ----------
    images : ndarray of shape (n_prototypes, height, width) or \
            (n_prototypes, height, width, n_channels)
        The centers.
    names : sequence of str
        Title of each image.
    profiles : ndarray of shape (n_prototypes, n_classes), default=None
        Class profiles, drawn as bars below the images.
    class_names : sequence of str, default=None
        Names of the classes.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes that contain the panels.
    axes_ : ndarray of shape (n_prototypes,)
        Panels of the images.
    profile_axes_ : ndarray of shape (n_prototypes,) or None
        Panels of the bars.
    figure_ : matplotlib Figure
        Figure of the panels.

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
            Fitted.
        image_shape : tuple of int, default=None
            Shape of a sample as an image, (height, width) or (channels, height, width).
            None means the `input_shape` of the estimator, if it has one.
        prototypes : array-like of int, default=None
            Indices of the centers to draw. None means the first `n_prototypes`
            clusters, or the `n_prototypes` units of a classifier with the purest class
            profiles: the purest of each class, then the second of each, and so on,
            drawn in the order of the classes.
        n_prototypes : int, default=20
            Maximum number of centers if `prototypes` is None.
        **kwargs : dict
            Passed to :meth:`plot`.

        Returns
        -------
        display : PrototypesDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If `estimator` is of another type, `image_shape` is missing or does not fit
            the features, or `prototypes` are not indices of centers.
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
                f"prototypes must be integers from 0 to {len(centers) - 1}, got "
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
        """Draw the images.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes whose area the panels fill. None means a new figure.
        n_columns : int, default=None
            Number of images per row. None means at most 10, or, within `ax`, the number
            that makes the images largest.
        imshow_kwargs : dict, default=None
            Properties of the images, passed to `Axes.imshow`. All images share one
            scale, from the smallest to the largest value, unless `vmin` and `vmax` are
            given.

        Returns
        -------
        display : PrototypesDisplay
        """
        count = len(self.images)
        heights = [1] if self.profiles is None else [1, 0.55]
        if n_columns is not None:
            n_columns = whole_number("n_columns", n_columns, 1)
        else:
            n_columns = _columns(count, ax, _IMAGE_PANEL_HEIGHT * sum(heights))
        n_rows = -(-count // n_columns)
        self.ax_, axes = panels(
            f"{type(self).__name__}.plot",
            ax,
            heights * n_rows,
            n_columns,
            size=(
                max(1.0 * n_columns, 2.5),
                _IMAGE_PANEL_HEIGHT * n_rows * sum(heights),
            ),
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
        if images.ndim == 4:  # matplotlib does not scale colors
            images = ((images - low) / max(high - low, 1e-12)).clip(0, 1)
        width = 72 * self.axes_[0].get_window_extent().width / self.figure_.dpi
        longest = max(map(len, self.names))
        size = min(_TITLE_MAX_POINTS, width / (_LETTER_ASPECT * max(longest, 1)))
        for axis, image, name in zip(self.axes_, images, self.names, strict=False):
            axis.imshow(image, **style)
            axis.set_title(name, fontsize=size)

    def _draw_profiles(self):
        n_classes = self.profiles.shape[1]
        colors = distinct(n_classes)
        for axis, profile in zip(self.profile_axes_, self.profiles, strict=False):
            axis.bar(np.arange(n_classes), profile, color=colors)
            axis.set(ylim=(0, 1))
            if self.class_names is None or n_classes > _MAX_PROFILE_NAMES:
                continue
            # Long names are vertical; their first letters are visible.
            long = max(map(len, self.class_names)) > 1
            axis.set_xticks(np.arange(n_classes), self.class_names)
            axis.tick_params(labelsize=6, length=0, rotation=90 if long else 0)


def _columns(count, ax, row_height):
    """Return the number of images per row for a new figure, or to fill `ax`."""
    if ax is None:
        return min(_MAX_IMAGE_COLUMNS, count)
    area = ax.get_window_extent()
    n_columns = (count * row_height * area.width / area.height) ** 0.5
    return max(1, min(round(n_columns), count))


def _centers(estimator):
    """Return centers in data units, and class profiles or None."""
    if hasattr(estimator, "class_profile_"):
        return estimator.centers_, estimator.class_profile_
    for name in ("cluster_centers_decoded_", "cluster_centers_"):
        if hasattr(estimator, name):
            return getattr(estimator, name), None
    raise ValueError(
        "PrototypesDisplay draws SoftKMeans, RBFNetClassifier and "
        f"DeepCenteringClustering, not {type(estimator).__name__}. For a pipeline, "
        "pass the last step."
    )


def _as_images(centers, shape):
    if shape is None:
        raise ValueError(
            f"Centers have {centers.shape[1]} features; pass their shape as images "
            "with image_shape=(height, width)."
        )
    if np.ndim(shape) != 1 or not _is_image(tuple(shape)):
        raise ValueError(
            f"image_shape={shape!r} must be (height, width) or (channels, "
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
    positive = all(isinstance(size, Integral) and size > 0 for size in shape)
    return positive and (len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3)))


def _purest(profiles, n_prototypes):
    """Choose the purest unit of each class, then the second of each, and so on."""
    unit_class, purity = profiles.argmax(1), profiles.max(1)
    rank = np.empty(len(profiles), dtype=int)
    for label in np.unique(unit_class):
        members = np.flatnonzero(unit_class == label)
        order = (-purity[members]).argsort(kind="stable")
        rank[members[order]] = np.arange(len(members))
    chosen = np.lexsort((-purity, rank))[:n_prototypes]
    return chosen[np.lexsort((rank[chosen], unit_class[chosen]))]
