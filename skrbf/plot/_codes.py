"""Codes of an autoencoder in two dimensions."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_is_fitted

from skrbf.plot._axes import one_axes, scatter_style
from skrbf.plot._colors import distinct
from skrbf.plot._data import classes_of_rows, distinct_labels

_MOST_NAMES = 10


class CodesDisplay:
    """Codes of rows, and the centers among them, in the plane of largest variance.

    It is recommended to use :meth:`from_estimator`. Up to ten clusters or classes have
    colors of their own and a legend; of more, some share a color.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, 2)
        Codes in the plane.
    centers : ndarray of shape (n_clusters, 2)
        Centers in the plane.
    labels : ndarray of shape (n_samples,)
        Clusters or classes of the rows, for their colors.
    variance_ratio : ndarray of shape (2,), default=None
        Shares of the variance of the codes along the axes.
    label_name : str, default="cluster"
        What `labels` are, above their legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn in.
    figure_ : matplotlib Figure
        Its figure.
    rows_ : matplotlib PathCollection
        The codes of the rows.
    centers_ : matplotlib PathCollection
        The centers.

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
        """Compute the codes of rows, and draw them.

        Parameters
        ----------
        estimator : DeepCenteringClustering
            Fitted, with codes of two components or more. The plane of more than two is
            that of the first two principal axes of the codes.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,), default=None
            Classes of the rows, for their colors. Without, it is their clusters.
        **kwargs : dict
            Passed to :meth:`plot`.

        Returns
        -------
        display : CodesDisplay

        Raises
        ------
        ValueError
            For another estimator, codes of one component or all the same, and a `y` of
            another length.
        """
        check_is_fitted(estimator)
        if not hasattr(estimator, "cluster_centers_decoded_"):
            raise ValueError(
                "CodesDisplay draws DeepCenteringClustering, not "
                f"{type(estimator).__name__}. Of a pipeline, pass the last step, and "
                "the rows as they reach it."
            )
        codes, centers = np.asarray(estimator.transform(X)), estimator.cluster_centers_
        labels = estimator.predict(X) if y is None else classes_of_rows(codes, y)
        if codes.shape[1] < 2:
            raise ValueError(
                f"Codes have {codes.shape[1]} component, and a plane has two; fit with "
                "n_components=2 or more."
            )
        ratio = None
        if codes.shape[1] > 2:
            if not np.ptp(codes, axis=0).any():
                raise ValueError("The codes of all rows are the same: no plane.")
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
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to. None is a new figure.
        scatter_kwargs : dict, default=None
            Of the rows, for `Axes.scatter`.

        Returns
        -------
        display : CodesDisplay
        """
        ax = one_axes(f"{type(self).__name__}.plot", ax)
        names, number = distinct_labels(np.asarray(self.labels))
        colors = distinct(len(names))
        style = {"s": 12, "alpha": 0.7, "linewidth": 0, "c": colors[number]}
        self.rows_ = ax.scatter(*self.codes.T, **scatter_style(style, scatter_kwargs))
        self.centers_ = ax.scatter(
            *self.centers.T, s=90, c="k", marker="X", linewidths=1.2, edgecolors="w"
        )
        if len(names) <= _MOST_NAMES:
            self._draw_legend(ax, names, colors)
        for place, set_label in enumerate((ax.set_xlabel, ax.set_ylabel)):
            set_label(self._axis_name(place))
        ax.set(xticks=[], yticks=[])
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _axis_name(self, place):
        if self.variance_ratio is None:
            return f"code {place}"
        ordinal = ("first", "second")[place]
        return f"{ordinal} principal axis, {self.variance_ratio[place]:.0%} of variance"

    def _draw_legend(self, ax, names, colors):
        from matplotlib.lines import Line2D

        handles = [
            Line2D([], [], ls="", marker="o", ms=5, color=color, label=str(name))
            for color, name in zip(colors, names, strict=True)
        ]
        # Beside the axes: codes are everywhere in it.
        style = {"handletextpad": 0.2, "frameon": False, "fontsize": 9}
        style |= {"title": self.label_name, "title_fontsize": 9}
        ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1, 0.5), **style)
