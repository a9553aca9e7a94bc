"""Display of responsibilities or class probabilities over a plane."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skrbf.plot._axes import one_axes, scatter_style
from skrbf.plot._colors import as_rgb, distinct, mixture
from skrbf.plot._data import (
    classes_of_rows,
    dense_rows,
    feature_pair,
    length,
    names_of_features,
    whole_number,
    without_names,
)

# Fraction of white in the colors of the plane, so that samples stand out.
_PLANE_WHITE_FRACTION = 0.45
# Number of centers up to which numbers on them are readable.
_MAX_NUMBERED_CENTERS = 20


class ResponsibilitiesDisplay:
    """Responsibilities or class probabilities over a plane, with centers and widths.

    The color of a point mixes the colors of the clusters or classes in the proportions
    of `predict_proba`. Black lines separate regions of different largest membership.
    Markers show the centers: `cluster_centers_` of :class:`~skrbf.SoftKMeans`,
    `cluster_centers_decoded_` of :class:`~skrbf.DeepCenteringClustering`, or `centers_`
    of :class:`~skrbf.RBFNetClassifier`. Ellipses show widths: `sigma_` or `widths_`.

    Create displays with :meth:`from_estimator`.

    Parameters
    ----------
    extent : tuple of 4 float
        Limits of the plane: left, right, bottom and top.
    response : ndarray of shape (n_vertical, n_horizontal, n_outputs)
        Memberships on a grid that includes the limits of the plane, from the bottom up.
    centers : ndarray of shape (n_centers, 2)
        Centers in the plane.
    widths : ndarray of shape (n_centers, 2) or None
        Widths of the radial basis functions along both axes.
    profiles : ndarray of shape (n_centers, n_outputs)
        Memberships of the centers, for their colors.
    rows : ndarray of shape (n_samples, 2)
        Samples in the plane.
    row_response : ndarray of shape (n_samples, n_outputs)
        Memberships of the samples, for their colors.
    feature_names : tuple of 2 str, default=("feature 0", "feature 1")
        Labels of the axes.
    output_names : sequence of str, default=None
        Names of classes, for a legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure of the plot.
    surface_ : matplotlib AxesImage
        Colors of the plane.
    rows_ : matplotlib PathCollection
        Samples.
    ellipses_ : list of matplotlib Ellipse
        Widths, one for each center; empty if `widths` is None.

    See Also
    --------
    sklearn.inspection.DecisionBoundaryDisplay : The boundary of any classifier.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skrbf import SoftKMeans
    >>> from skrbf.plot import ResponsibilitiesDisplay
    >>> X = load_iris(as_frame=True).data[["petal length (cm)", "petal width (cm)"]]
    >>> model = SoftKMeans(3).fit(X)
    >>> display = ResponsibilitiesDisplay.from_estimator(model, X)
    >>> display.ax_.get_xlabel()
    'petal length (cm)'
    """

    def __init__(
        self,
        *,
        extent,
        response,
        centers,
        widths,
        profiles,
        rows,
        row_response,
        feature_names=("feature 0", "feature 1"),
        output_names=None,
    ):
        self.extent = extent
        self.response = response
        self.centers = centers
        self.widths = widths
        self.profiles = profiles
        self.rows = rows
        self.row_response = row_response
        self.feature_names = feature_names
        self.output_names = output_names

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        features=None,
        grid_resolution=200,
        margin=0.1,
        **kwargs,
    ):
        """Compute the memberships over a plane and draw them.

        Parameters
        ----------
        estimator : SoftKMeans, RBFNetClassifier or DeepCenteringClustering
            Fitted. A classifier shows class probabilities and units.
            :class:`~skrbf.DeepCenteringClustering` has no widths.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, which set the limits of the plane. Sparse data are made dense.
        y : array-like of shape (n_samples,), default=None
            Classes of the samples, for their colors, if the estimator is a classifier.
            None means the colors of their predicted memberships.
        features : tuple of 2 int or str, default=None
            Features that span the plane, by index or name. Needed if there are more
            than two. The others are held at their means in `X`: the plane is a slice,
            on which centers and samples are projected.
        grid_resolution : int, default=200
            Number of grid points along each axis.
        margin : float, default=0.1
            Margin around the samples on each side, as a fraction of their range.
        **kwargs : dict
            Passed to :meth:`plot`.

        Returns
        -------
        display : ResponsibilitiesDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If `estimator` is of another type, `features` are not two features of `X`,
            `y` has another length, missing labels or classes unknown to the estimator,
            or a number is out of range.
        """
        check_is_fitted(estimator)
        grid_resolution = whole_number("grid_resolution", grid_resolution, 2)
        margin = length("margin", margin)
        centers, widths, profiles = _units(estimator)
        values = dense_rows(estimator, X)
        names = names_of_features(estimator, X)
        pair = feature_pair(names, features)
        low, high = values[:, pair].min(0), values[:, pair].max(0)
        border = margin * np.where(high > low, high - low, 1)
        low, high = low - border, high + border
        grid = np.stack(
            np.meshgrid(*np.linspace(low, high, grid_resolution).T), axis=-1
        )  # (vertical, horizontal, 2)
        points = np.tile(values.mean(0), (grid_resolution**2, 1))
        points[:, pair] = grid.reshape(-1, 2)
        plain = without_names(estimator)
        response = plain.predict_proba(points)
        classes = getattr(estimator, "classes_", None)
        y = None if y is None else classes_of_rows(values, y, all_known=True)
        if classes is None or y is None:
            row_response = plain.predict_proba(values)
        else:
            row_response = (y[:, None] == classes).astype(float)
            if not row_response.any(1).all():
                raise ValueError(f"y has classes that are not in classes_: {classes}.")
        return cls(
            extent=(low[0], high[0], low[1], high[1]),
            response=response.reshape(*grid.shape[:2], -1),
            centers=centers[:, pair],
            widths=None if widths is None else widths[:, pair],
            profiles=profiles,
            rows=values[:, pair],
            row_response=row_response,
            feature_names=(names[pair[0]], names[pair[1]]),
            output_names=None if classes is None else [str(name) for name in classes],
        ).plot(**kwargs)

    def plot(self, ax=None, *, colors=None, n_widths=1.0, scatter_kwargs=None):
        """Draw the plot.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in. None means a new figure.
        colors : sequence of n_outputs matplotlib colors, default=None
            Color of each cluster or class, opaque. None means a palette for all kinds
            of color vision.
        n_widths : float, default=1.0
            Semi-axes of the ellipses, in widths.
        scatter_kwargs : dict, default=None
            Properties of the samples, passed to `Axes.scatter`.

        Returns
        -------
        display : ResponsibilitiesDisplay
        """
        n_widths = length("n_widths", n_widths)
        ax = one_axes(f"{type(self).__name__}.plot", ax)
        fields, group = self._fields()
        colors = distinct(len(fields))[group] if colors is None else as_rgb(colors)
        if len(colors) != len(group):
            raise ValueError(
                f"colors must have {len(group)} entries, got {len(colors)}."
            )
        left, right, bottom, top = self.extent
        # A grid point is the center of a pixel, which extends half a step beyond.
        x = (right - left) / (self.response.shape[1] - 1) / 2
        y = (top - bottom) / (self.response.shape[0] - 1) / 2
        self.surface_ = ax.imshow(
            mixture(self.response, colors, _PLANE_WHITE_FRACTION),
            extent=(left - x, right + x, bottom - y, top + y),
            origin="lower",
            aspect="auto",
            interpolation="bilinear",
        )
        self._draw_boundaries(ax, fields)
        style = {"s": 14, "linewidth": 0.4, "edgecolor": "0.25", "zorder": 3}
        style["c"] = mixture(self.row_response, colors)
        self.rows_ = ax.scatter(*self.rows.T, **scatter_style(style, scatter_kwargs))
        self._draw_centers(ax, mixture(self.profiles, colors), n_widths)
        if self.output_names is not None:
            self._draw_legend(ax, colors)
        ax.set(
            xlim=self.extent[:2],
            ylim=self.extent[2:],
            xlabel=self.feature_names[0],
            ylabel=self.feature_names[1],
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _fields(self):
        """Return the distinct memberships, and the index of that of each output.

        Clusters with coincident centers have the same memberships: they share a color,
        and no boundary separates them.
        """
        flat = self.response.reshape(-1, self.response.shape[-1])
        _, first, inverse = np.unique(
            flat, axis=1, return_index=True, return_inverse=True
        )
        order = first.argsort()  # in the order of outputs, not of values
        group = order.argsort()[inverse.ravel()]
        return np.moveaxis(self.response, -1, 0)[first[order]], group

    def _draw_boundaries(self, ax, fields):
        left, right, bottom, top = self.extent
        x = np.linspace(left, right, fields.shape[2])
        y = np.linspace(bottom, top, fields.shape[1])
        if len(fields) == 1:
            return
        second, first = np.partition(fields, -2, axis=0)[-2:]
        largest = fields.argmax(0)
        for k, field in enumerate(fields):
            lead = field - np.where(largest == k, second, first)
            if lead.min() < 0 < lead.max():
                ax.contour(x, y, lead, [0], colors="k", linewidths=1.0, zorder=2)

    def _draw_centers(self, ax, colors, n_widths):
        from matplotlib.patches import Ellipse

        self.ellipses_ = []
        if self.widths is not None:
            for center, width in zip(self.centers, self.widths, strict=True):
                ellipse = Ellipse(center, *(2 * n_widths * width), fill=False, zorder=4)
                ellipse.set(linewidth=1.0, edgecolor="0.15", linestyle="--")
                self.ellipses_.append(ax.add_patch(ellipse))
        numbered = (
            self.output_names is None and len(self.centers) <= _MAX_NUMBERED_CENTERS
        )
        style = {"lw": 1.2, "edgecolors": "k", "zorder": 5}
        if not numbered:
            ax.scatter(
                *self.centers.T, s=70, c=colors, marker="X", **style | {"lw": 0.8}
            )
            return
        # Coincident centers share a marker with their number or count.
        positions, index = np.unique(self.centers, axis=0, return_inverse=True)
        ax.scatter(*positions.T, s=190, c="w", **style)
        for i, position in enumerate(positions):
            members = np.flatnonzero(index.ravel() == i)
            text = str(members[0]) if len(members) == 1 else f"{len(members)}x"
            centered = {"ha": "center", "va": "center_baseline", "zorder": 6}
            ax.annotate(text, position, fontsize=9, weight="bold", **centered)

    def _draw_legend(self, ax, colors):
        from matplotlib.lines import Line2D

        handles = [
            Line2D([], [], ls="", marker="o", color=color, label=name)
            for color, name in zip(colors, self.output_names, strict=True)
        ]
        ax.legend(handles=handles, loc="best", fontsize=9, framealpha=0.85)


def _units(estimator):
    """Return centers, widths or None, and memberships of the centers."""
    if hasattr(estimator, "class_profile_"):
        return estimator.centers_, estimator.widths_, estimator.class_profile_
    if hasattr(estimator, "cluster_centers_decoded_"):
        centers = estimator.cluster_centers_decoded_
        return centers, None, np.eye(len(centers))
    if hasattr(estimator, "sigma_"):
        centers = estimator.cluster_centers_
        return centers, np.full(centers.shape, estimator.sigma_), np.eye(len(centers))
    raise ValueError(
        "ResponsibilitiesDisplay draws SoftKMeans, RBFNetClassifier and "
        f"DeepCenteringClustering, not {type(estimator).__name__}. For a pipeline, "
        "pass the last step and the data transformed by the others."
    )
