"""Display of the codes of an autoencoder in a plane."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_is_fitted

from skrbf.plot._axes import one_axes, scatter_style
from skrbf.plot._colors import distinct
from skrbf.plot._data import classes_of_rows, distinct_labels

# Number of labels up to which a legend is readable.
_MAX_LEGEND_LABELS = 10


class CodesDisplay:
    """Scatter plot of codes and cluster centers in their plane of largest variance.

    Draws the codes of samples (`transform`), colored by cluster (`predict`) or class,
    and `cluster_centers_`. Up to ten clusters or classes have distinct colors and a
    legend; of more than ten, some share a color.

    Create displays with :meth:`from_estimator`.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, 2)
        Codes in the plane.
    centers : ndarray of shape (n_clusters, 2)
        Centers in the plane.
    labels : ndarray of shape (n_samples,)
        Clusters or classes of the samples, for their colors.
    variance_ratio : ndarray of shape (2,), default=None
        Fractions of the variance of the codes along the two axes.
    label_name : str, default="cluster"
        Title of the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure of the plot.
    rows_ : matplotlib PathCollection
        Codes of the samples.
    centers_ : matplotlib PathCollection
        Centers.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skrbf import DeepCenteringClustering
    >>> from skrbf.plot import CodesDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> model = DeepCenteringClustering(
    ...     3, n_components=4, hidden_layer_sizes=(32,), random_state=0
    ... ).fit(X)
    >>> display = CodesDisplay.from_estimator(model, X, y)
    >>> display.codes.shape
    (150, 2)
    """

    def __init__(
        self, *, codes, centers, labels, variance_ratio=None, label_name="cluster"
    ):
        self.codes = codes
        self.centers = centers
        self.labels = labels
        self.variance_ratio = variance_ratio
        self.label_name = label_name

    @classmethod
    def from_estimator(cls, estimator, X, y=None, **kwargs):
        """Compute the codes of samples and draw them.

        Parameters
        ----------
        estimator : DeepCenteringClustering
            Fitted, with codes of at least two components. Codes of more are projected
            on their first two principal axes.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,), default=None
            Classes of the samples, for their colors. None means their clusters.
        **kwargs : dict
            Passed to :meth:`plot`.

        Returns
        -------
        display : CodesDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If `estimator` is of another type, codes have one component or are all
            equal, or `y` has another length than `X`.
        """
        check_is_fitted(estimator)
        if not hasattr(estimator, "cluster_centers_decoded_"):
            raise ValueError(
                "CodesDisplay draws DeepCenteringClustering, not "
                f"{type(estimator).__name__}. For a pipeline, pass the last step "
                "and the data transformed by the others."
            )
        codes, centers = np.asarray(estimator.transform(X)), estimator.cluster_centers_
        labels = estimator.predict(X) if y is None else classes_of_rows(codes, y)
        if codes.shape[1] < 2:
            raise ValueError(
                f"Codes have {codes.shape[1]} component, but at least two are needed; "
                "fit with n_components=2 or more."
            )
        ratio = None
        if codes.shape[1] > 2:
            if not np.ptp(codes, axis=0).any():
                raise ValueError(
                    "The codes of all samples are equal: there is no plane."
                )
            plane = PCA(2, svd_solver="full").fit(codes)
            codes, centers = plane.transform(codes), plane.transform(centers)
            ratio = plane.explained_variance_ratio_
        return cls(
            codes=codes,
            centers=centers,
            labels=labels,
            variance_ratio=ratio,
            label_name="cluster" if y is None else "class",
        ).plot(**kwargs)

    def plot(self, ax=None, *, scatter_kwargs=None):
        """Draw the plot.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in. None means a new figure.
        scatter_kwargs : dict, default=None
            Properties of the points, passed to `Axes.scatter`.

        Returns
        -------
        display : CodesDisplay
        """
        ax = one_axes(f"{type(self).__name__}.plot", ax)
        names, index = distinct_labels(np.asarray(self.labels))
        colors = distinct(len(names))
        style = {"s": 12, "alpha": 0.7, "linewidth": 0, "c": colors[index]}
        self.rows_ = ax.scatter(*self.codes.T, **scatter_style(style, scatter_kwargs))
        self.centers_ = ax.scatter(
            *self.centers.T, s=90, c="k", marker="X", linewidths=1.2, edgecolors="w"
        )
        if len(names) <= _MAX_LEGEND_LABELS:
            self._draw_legend(ax, names, colors)
        for axis, set_label in enumerate((ax.set_xlabel, ax.set_ylabel)):
            set_label(self._axis_name(axis))
        ax.set(xticks=[], yticks=[])
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _axis_name(self, axis):
        if self.variance_ratio is None:
            return f"code {axis}"
        ordinal = ("first", "second")[axis]
        return f"{ordinal} principal axis, {self.variance_ratio[axis]:.0%} of variance"

    def _draw_legend(self, ax, names, colors):
        from matplotlib.lines import Line2D

        handles = [
            Line2D([], [], ls="", marker="o", ms=5, color=color, label=str(name))
            for color, name in zip(colors, names, strict=True)
        ]
        # Beside the axes, which codes fill everywhere.
        style = {"handletextpad": 0.2, "frameon": False, "fontsize": 9}
        style |= {"title": self.label_name, "title_fontsize": 9}
        ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1, 0.5), **style)
