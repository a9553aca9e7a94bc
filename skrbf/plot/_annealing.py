"""How centers part as the temperature falls."""

import warnings

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.special import entr
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skrbf._compat import _check_sample_weight
from skrbf.plot._axes import line_style, panels
from skrbf.plot._colors import distinct
from skrbf.plot._data import as_array

_N_TEMPERATURES = 50
_COLDEST = 0.01
# Above the critical temperature, so that the first fit has one place for all.
_HOTTER = 1.2
# Centers that coincide never part: they are moved by this share of the standard
# deviation of a feature before they are cooled on.
_NUDGE = 1e-3
# Until centers really stand still, which takes long near a split: their first shifts
# after a nudge are small there, too.
_UNTIL_STILL = {"tol": 1e-10, "max_iter": 1000, "n_init": 1, "verbose": 0}


class AnnealingPathDisplay:
    """How centers part, and what they come to, as the temperature falls.

    Three panels against the temperature: the centers along one direction; the
    effective number of clusters; and the inertia and the objective, as shares of the
    inertia of one cluster.

    It is recommended to use :meth:`from_estimator`.

    Parameters
    ----------
    temperatures : ndarray of shape (n_temperatures,)
        Falling, relative to twice the largest variance of the data.
    centers : ndarray of shape (n_temperatures, n_clusters, n_features)
        Centers at each, in the order that follows them.
    direction : ndarray of shape (n_features,)
        Along which they are drawn.
    n_effective : ndarray of shape (n_temperatures,)
        Effective number of clusters.
    inertias : ndarray of shape (n_temperatures,)
        Inertia, as a share of that of one cluster.
    objectives : ndarray of shape (n_temperatures,)
        Free energy, as a share of the inertia of one cluster.
    critical_temperature : float, default=None
        Relative temperature above which all centers meet.
    chosen_temperature : float, default=None
        Relative temperature of the estimator.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The frame of the panels.
    axes_ : ndarray of shape (3,)
        The panels.
    figure_ : matplotlib Figure
        Their figure.
    lines_ : list of matplotlib Line2D
        The curves: of each center, of the effective number, inertia and objective.

    Notes
    -----
    The effective number of clusters is :math:`e^{I}`, with `I` the mutual information
    of rows and clusters: the entropy of the weights of the clusters less the mean
    entropy of the responsibilities. It is 1 where all centers have met, does not count
    centers in one place twice, and with hard clusters of equal weight is their number.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skrbf import SoftKMeans
    >>> from skrbf.plot import AnnealingPathDisplay
    >>> X, _ = load_iris(return_X_y=True)
    >>> display = AnnealingPathDisplay.from_estimator(
    ...     SoftKMeans(3), X, temperatures=[1.2, 0.3, 0.1]
    ... )
    >>> display.n_effective.round(1).tolist()[0]
    1.0
    """

    def __init__(
        self,
        *,
        temperatures,
        centers,
        direction,
        n_effective,
        inertias,
        objectives,
        critical_temperature=None,
        chosen_temperature=None,
    ):
        self.temperatures = temperatures
        self.centers = centers
        self.direction = direction
        self.n_effective = n_effective
        self.inertias = inertias
        self.objectives = objectives
        self.critical_temperature = critical_temperature
        self.chosen_temperature = chosen_temperature

    @classmethod
    def from_estimator(
        cls, estimator, X, sample_weight=None, *, temperatures=None, **kwargs
    ):
        """Fit at falling temperatures, each from the centers before, and draw.

        All centers start together and are cooled together. That is the path of
        deterministic annealing, not how ``init="grow"`` finds its centers, which may be
        better ones.

        That is a fit for each temperature, and near a critical one a long one: of large
        data, pass a sample.

        Parameters
        ----------
        estimator : SoftKMeans
            Its `n_clusters`, `assignment` and `device` are used; it is cloned. If it is
            fitted, its own temperature is marked.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        sample_weight : array-like of shape (n_samples,), default=None
            Their weights.
        temperatures : array-like of shape (n_temperatures,), default=None
            Positive, and relative as `temperature` of :class:`~skrbf.SoftKMeans`. None
            is 50 from a little above the critical one down to 0.01.
        **kwargs : dict
            Passed to :meth:`plot`.

        Returns
        -------
        display : AnnealingPathDisplay
        """
        if isinstance(estimator, type):
            raise TypeError(f"{estimator.__name__} is a class, not an instance.")
        settings = estimator.get_params() if hasattr(estimator, "get_params") else ()
        if not {"n_clusters", "temperature", "init"} <= set(settings):
            raise ValueError(
                "AnnealingPathDisplay draws SoftKMeans, not "
                f"{type(estimator).__name__}. Of a pipeline, pass the last step, and "
                "the rows as they reach it."
            )
        sample_weight = as_array(sample_weight)
        base = clone(estimator).set_params(**_UNTIL_STILL)
        one = clone(base).set_params(n_clusters=1, temperature=0, init="grow")
        one.fit(X, sample_weight=sample_weight)
        if not one.inertia_ > 0:
            raise ValueError("The rows of X are all the same: no centers part.")
        critical = _critical(base, one, X, sample_weight)
        if temperatures is None:
            temperatures = np.geomspace(_HOTTER * critical, _COLDEST, _N_TEMPERATURES)
        temperatures = np.asarray(temperatures, dtype=float)
        positive = np.isfinite(temperatures) & (temperatures > 0)
        if temperatures.ndim != 1 or not len(temperatures) or not positive.all():
            raise ValueError(
                "temperatures should be a list of positive numbers: 0 has no place on "
                "an axis of their logarithms."
            )
        temperatures = np.sort(temperatures)[::-1]
        models = _cooled(base, one, temperatures, X, sample_weight)
        centers = np.array([model.cluster_centers_ for model in models])
        unit = models[0].temperature_ / temperatures[0]
        return cls(
            temperatures=temperatures,
            centers=_followed(centers),
            direction=_main_axis(centers[-1]),
            n_effective=np.array(
                [
                    _n_effective(np.asarray(model.transform(X)), sample_weight)
                    for model in models
                ]
            ),
            inertias=np.array([model.inertia_ for model in models]) / one.inertia_,
            objectives=np.array([model.objective_ for model in models]) / one.inertia_,
            critical_temperature=critical,
            chosen_temperature=(
                estimator.temperature_ / unit
                if hasattr(estimator, "temperature_")
                else None
            ),
        ).plot(**kwargs)

    def plot(self, ax=None, *, line_kwargs=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Whose place to take. None is a new figure.
        line_kwargs : dict, default=None
            Of the curves, for `Axes.plot`.

        Returns
        -------
        display : AnnealingPathDisplay
        """
        self.ax_, axes = panels(
            f"{type(self).__name__}.plot",
            ax,
            [1.6, 1, 1],
            size=(6.4, 6.4),
            share_x=True,
        )
        self.axes_, self.figure_ = axes[:, 0], self.ax_.figure
        top, middle, bottom = self.axes_
        style = line_style({"linewidth": 1.6}, line_kwargs)
        positions = self.centers @ self.direction  # (n_temperatures, n_clusters)
        blue, orange = distinct(2)
        self.lines_ = []
        for path, color in zip(positions.T, distinct(positions.shape[1]), strict=True):
            self.lines_ += top.plot(self.temperatures, path, **{"color": color} | style)
        for axis, values, color, label in (
            (middle, self.n_effective, blue, None),
            (bottom, self.inertias, blue, "inertia"),
            (bottom, self.objectives, orange, "objective"),
        ):
            look = {"color": color, "label": label} | style
            self.lines_ += axis.plot(self.temperatures, values, **look)
        top.set_ylabel("centers, along\none direction")
        middle.set_ylabel("effective number\nof clusters")
        bottom.set_ylabel("share of the\nvariance")
        bottom.legend(frameon=False, fontsize=9)
        bottom.set(xscale="log", xlabel="temperature, falling")
        bottom.invert_xaxis()
        self._mark()
        return self

    def _mark(self):
        """Vertical lines at the temperatures that have a name."""
        marks = {
            "critical temperature": (self.critical_temperature, ":"),
            "temperature of the estimator": (self.chosen_temperature, "--"),
        }
        ends = self.temperatures.max(), self.temperatures.min()
        for label, (value, dashes) in marks.items():
            if value is None or not ends[1] <= value <= ends[0]:
                continue
            for axis in self.axes_:
                axis.axvline(value, color="0.3", linestyle=dashes, lw=1, label=label)
        handles, labels = self.axes_[0].get_legend_handles_labels()
        if handles:
            style = {"ncols": 2, "loc": "lower left", "bbox_to_anchor": (0, 1)}
            self.axes_[0].legend(handles, labels, frameon=False, fontsize=9, **style)


def _critical(base, one, X, sample_weight):
    """Relative temperature above which all centers meet, for the map in use."""
    start = np.repeat(one.cluster_centers_, base.n_clusters, axis=0)
    model = clone(base).set_params(temperature=1.0, init=start, max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, sample_weight=sample_weight)
    return model.critical_temperature_ / model.temperature_


def _cooled(base, one, temperatures, X, sample_weight):
    """A model for each temperature, from the centers of the one before."""
    mean, mass = one.cluster_centers_, one.cluster_weight_.sum()
    scale = _NUDGE * (one.inertia_ / (mass * mean.shape[1])) ** 0.5
    shape = base.n_clusters, mean.shape[1]
    nudge = scale * np.random.default_rng(0).normal(size=shape)
    models, centers = [], mean
    for temperature in temperatures:
        model = clone(base).set_params(
            temperature=temperature, init=(centers + nudge).astype(mean.dtype)
        )
        with warnings.catch_warnings():
            # That clusters merge is what there is to see.
            warnings.simplefilter("ignore", ConvergenceWarning)
            models.append(model.fit(X, sample_weight=sample_weight))
        centers = model.cluster_centers_
    return models


def _followed(centers):
    """Each set of centers in the order of the one before, matched by distance."""
    ordered = [centers[0]]
    for here in centers[1:]:
        ordered.append(here[linear_sum_assignment(cdist(ordered[-1], here))[1]])
    return np.array(ordered)


def _main_axis(centers):
    """Direction in which the centers are spread most, its largest part positive."""
    axis = np.linalg.svd(centers - centers.mean(0), full_matrices=False)[2][0]
    return axis * np.sign(axis[np.abs(axis).argmax()])


def _n_effective(responsibilities, weight):
    """Exponential of the mutual information of rows and clusters."""
    if weight is not None:
        weight = _check_sample_weight(
            weight, responsibilities, dtype=np.float64, ensure_non_negative=True
        )
    of_clusters = entr(np.average(responsibilities, axis=0, weights=weight)).sum()
    of_rows = np.average(entr(responsibilities).sum(1), weights=weight)
    return float(np.exp(of_clusters - of_rows))
