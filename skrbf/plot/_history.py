"""Display of the history of a fit."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skrbf.plot._axes import line_style, panels
from skrbf.plot._colors import distinct

# Default quantities of each estimator.
_DEFAULT_QUANTITIES = (
    ("reconstruction_loss", "clustering_loss", "label_change"),
    ("loss", "validation_score"),
    ("objective", "n_clusters"),
)
_HISTORY_PANEL_HEIGHT = 1.7  # inches

# Number of steps below which each is marked by a point.
_POINT_MARKERS_MAX_STEPS = 40


class TrainingHistoryDisplay:
    """Curves of the quantities in `history_` over the steps of a fit.

    One panel per quantity, with a colored band for each phase.

    Create displays with :meth:`from_estimator`.

    Parameters
    ----------
    history : dict of lists
        The `history_` of an estimator: the "phase" at every step, and quantities.
    quantities : sequence of str
        Quantities to draw, one per panel.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes that contain the panels.
    axes_ : ndarray of shape (n_quantities,)
        The panels.
    figure_ : matplotlib Figure
        Figure of the panels.
    lines_ : list of matplotlib Line2D
        One curve per quantity.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skrbf import RBFNetClassifier
    >>> from skrbf.plot import TrainingHistoryDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> model = RBFNetClassifier(n_centers=10, random_state=0).fit(X, y)
    >>> display = TrainingHistoryDisplay.from_estimator(model)
    >>> display.quantities
    ['loss']
    """

    def __init__(self, *, history, quantities):
        self.history = history
        self.quantities = quantities

    @classmethod
    def from_estimator(cls, estimator, *, quantities=None, **kwargs):
        """Draw the history of a fitted estimator.

        Parameters
        ----------
        estimator : SoftKMeans, RBFNetClassifier or DeepCenteringClustering
            Fitted.
        quantities : sequence of str, default=None
            Names from `history_`. None means the defaults: "objective" and
            "n_clusters" of SoftKMeans, "loss" and "validation_score" of
            RBFNetClassifier, "reconstruction_loss", "clustering_loss" and
            "label_change" of DeepCenteringClustering; without those that are NaN.
        **kwargs : dict
            Passed to :meth:`plot`.

        Returns
        -------
        display : TrainingHistoryDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If `estimator` has no `history_`, it is empty, or it lacks a quantity.
        """
        check_is_fitted(estimator)
        history = getattr(estimator, "history_", None)
        if history is None:
            raise ValueError(
                f"{type(estimator).__name__} has no history_; TrainingHistoryDisplay "
                "draws SoftKMeans, RBFNetClassifier and DeepCenteringClustering. For a "
                "pipeline, pass the last step."
            )
        if not history["phase"]:
            raise ValueError("history_ is empty: the fit had no steps.")
        if quantities is None:
            usual = next(
                names for names in _DEFAULT_QUANTITIES if set(names) <= set(history)
            )
            quantities = [n for n in usual if np.isfinite(history[n]).any()]
        known = [name for name in history if name != "phase"]
        if np.ndim(quantities) != 1 or len(quantities) == 0:
            raise ValueError(f"quantities must be a list of names from {known}.")
        for name in quantities:
            if name not in known:
                raise ValueError(f"{name!r} is not in history_, which has {known}.")
        return cls(history=history, quantities=list(quantities)).plot(**kwargs)

    def plot(self, ax=None, *, line_kwargs=None):
        """Draw the panels.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes whose area the panels fill. None means a new figure.
        line_kwargs : dict, default=None
            Properties of the curves, passed to `Axes.plot`.

        Returns
        -------
        display : TrainingHistoryDisplay
        """
        n_panels = len(self.quantities)
        self.ax_, axes = panels(
            f"{type(self).__name__}.plot",
            ax,
            [1] * n_panels,
            size=(6.4, 1.2 + _HISTORY_PANEL_HEIGHT * n_panels),
            share_x=True,
        )
        self.axes_, self.figure_, self.lines_ = axes[:, 0], self.ax_.figure, []
        steps = np.arange(1, len(self.history["phase"]) + 1)
        markers = {"marker": "."} if len(steps) < _POINT_MARKERS_MAX_STEPS else {}
        style = {"color": "k", "linewidth": 1.5, **markers}
        for axis, name in zip(self.axes_, self.quantities, strict=True):
            values = np.asarray(self.history[name], dtype=float)
            self.lines_ += axis.plot(steps, values, **line_style(style, line_kwargs))
            axis.set_ylabel(_label(name))
            if np.nanmin(values, initial=np.inf) == 0:
                axis.set_ylim(bottom=0)
            if name.startswith("n_"):
                axis.yaxis.get_major_locator().set_params(integer=True)
        # Only a deep fit records label changes, and its steps are epochs.
        unit = "epoch" if "label_change" in self.history else "step"
        self.axes_[-1].set(xlabel=unit, xlim=(0.5, len(steps) + 0.5))
        self._draw_phases()
        return self

    def _draw_phases(self):
        """Draw a band for each run of steps of one phase, and a legend above."""
        phase = np.asarray(self.history["phase"])
        first = np.flatnonzero(np.append(True, phase[1:] != phase[:-1]))
        stops = np.append(first[1:], len(phase))
        names = list(dict.fromkeys(phase.tolist()))
        colors = dict(zip(names, distinct(len(names)), strict=True))
        bands = {}
        for axis in self.axes_:
            for start, stop in zip(first, stops, strict=True):
                name = phase[start].item()
                bands[name] = axis.axvspan(
                    start + 0.5, stop + 0.5, color=colors[name], alpha=0.2, lw=0
                )
        self.axes_[0].legend(
            bands.values(),
            bands.keys(),
            ncols=len(bands),
            loc="lower right",
            bbox_to_anchor=(1, 1),
            frameon=False,
            fontsize=9,
        )


def _label(name):
    """Split a name into lines of one word, to fit a panel."""
    if name.startswith("n_"):
        name = name.replace("n_", "number of_", 1)
    return name.replace("_", "\n")
