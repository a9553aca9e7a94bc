"""Display of the centers of soft K-means as the temperature falls."""

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

# Default temperatures: their number, and the lowest, relative to twice the largest
# variance of the data.
_N_TEMPERATURES, _LOWEST_TEMPERATURE = 50, 0.01
# First default temperature over the critical one: all centers coincide there.
_START_OVER_CRITICAL = 1.2
# Coincident centers never separate by themselves. They are moved before each fit, by a
# fraction of the standard deviation of a feature.
_PERTURBATION_IN_STD = 1e-3
# Settings to fit until centers stand still. Near a split that takes long: the first
# shifts after a perturbation are small there, too.
_FULL_CONVERGENCE = {"tol": 1e-10, "max_iter": 1000, "n_init": 1, "verbose": 0}


class AnnealingPathDisplay:
    """Centers, effective number of clusters, and loss as the temperature falls.

    Three panels with the temperature on the horizontal axis: the positions of the
    centers (`cluster_centers_` of the fits) along one direction; the effective number
    of clusters, from the responsibilities (`transform`); and `inertia_` and
    `objective_`, as fractions of the inertia of one cluster.

    Create displays with :meth:`from_estimator`.

    Parameters
    ----------
    temperatures : ndarray of shape (n_temperatures,)
        Falling, relative to twice the largest variance of the data.
    centers : ndarray of shape (n_temperatures, n_clusters, n_features)
        Centers at each temperature, in matching order.
    direction : ndarray of shape (n_features,)
        Direction along which the centers are drawn.
    n_effective : ndarray of shape (n_temperatures,)
        Effective number of clusters.
    inertias : ndarray of shape (n_temperatures,)
        Inertia, over that of one cluster.
    objectives : ndarray of shape (n_temperatures,)
        Free energy, over the inertia of one cluster.
    critical_temperature : float, default=None
        Relative temperature above which all centers coincide.
    chosen_temperature : float, default=None
        Relative temperature of the estimator.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes that contain the panels.
    axes_ : ndarray of shape (3,)
        The panels.
    figure_ : matplotlib Figure
        Figure of the panels.
    lines_ : list of matplotlib Line2D
        One curve per center, then effective number, inertia and objective.

    Notes
    -----
    The effective number of clusters is :math:`e^{I}`, with `I` the mutual information
    of samples and clusters: the entropy of the cluster weights minus the mean entropy
    of the responsibilities. It is 1 if all centers coincide, counts coincident centers
    once, and equals the number of clusters if they are hard and of equal weight.

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

        All centers start together and are cooled together: the path of deterministic
        annealing. ``init="grow"`` finds its centers in another way, and may find better
        ones.

        This is one fit per temperature, and a long one near a critical temperature.
        Pass a sample of large data.

        Parameters
        ----------
        estimator : SoftKMeans
            Gives `n_clusters`, `assignment` and `device`. It is cloned and need not be
            fitted. If it is fitted, its `temperature_` is marked.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.
        temperatures : array-like of shape (n_temperatures,), default=None
            Positive and relative, like `temperature` of :class:`~skrbf.SoftKMeans`.
            None means 50 temperatures from a little above the critical one to 0.01.
        **kwargs : dict
            Passed to :meth:`plot`.

        Returns
        -------
        display : AnnealingPathDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If `estimator` is a class.
        ValueError
            If `estimator` is not a SoftKMeans, the samples are all equal, or
            `temperatures` are not positive numbers.
        """
        _check_estimator(estimator)
        sample_weight = as_array(sample_weight)
        base = clone(estimator).set_params(**_FULL_CONVERGENCE)
        one = clone(base).set_params(n_clusters=1, temperature=0, init="grow")
        one.fit(X, sample_weight=sample_weight)
        if not one.inertia_ > 0:
            raise ValueError(
                "All samples in X are equal: there are no clusters to separate."
            )
        critical = _relative_critical_temperature(base, one, X, sample_weight)
        temperatures = _check_temperatures(temperatures, critical)
        models = _fit_path(base, one, temperatures, X, sample_weight)
        centers = np.array([model.cluster_centers_ for model in models])
        unit = models[0].temperature_ / temperatures[0]
        chosen = getattr(estimator, "temperature_", None)
        return cls(
            temperatures=temperatures,
            centers=_match_order(centers),
            direction=_main_axis(centers[-1]),
            n_effective=np.array([_n_effective(m, X, sample_weight) for m in models]),
            inertias=np.array([model.inertia_ for model in models]) / one.inertia_,
            objectives=np.array([model.objective_ for model in models]) / one.inertia_,
            critical_temperature=critical,
            chosen_temperature=None if chosen is None else chosen / unit,
        ).plot(**kwargs)

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
            properties = {"color": color, "label": label} | style
            self.lines_ += axis.plot(self.temperatures, values, **properties)
        top.set_ylabel("centers, along\none direction")
        middle.set_ylabel("effective number\nof clusters")
        bottom.set_ylabel("share of the\nvariance")
        bottom.legend(frameon=False, fontsize=9)
        bottom.set(xscale="log", xlabel="temperature, falling")
        bottom.invert_xaxis()
        self._draw_marks()
        return self

    def _draw_marks(self):
        """Draw vertical lines at the critical and the chosen temperature."""
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


def _check_estimator(estimator):
    """Raise if the estimator is not a SoftKMeans."""
    if isinstance(estimator, type):
        raise TypeError(f"{estimator.__name__} is a class, not an instance.")
    settings = estimator.get_params() if hasattr(estimator, "get_params") else ()
    if not {"n_clusters", "temperature", "init"} <= set(settings):
        raise ValueError(
            "AnnealingPathDisplay draws SoftKMeans, not "
            f"{type(estimator).__name__}. For a pipeline, pass the last step and the "
            "data transformed by the others."
        )


def _check_temperatures(temperatures, critical):
    """Return falling temperatures, the default ones for None; else raise."""
    if temperatures is None:
        highest = _START_OVER_CRITICAL * critical
        temperatures = np.geomspace(highest, _LOWEST_TEMPERATURE, _N_TEMPERATURES)
    temperatures = np.asarray(temperatures, dtype=float)
    positive = np.isfinite(temperatures) & (temperatures > 0)
    if temperatures.ndim != 1 or not len(temperatures) or not positive.all():
        raise ValueError(
            "temperatures must be a list of positive numbers: the axis is logarithmic."
        )
    return np.sort(temperatures)[::-1]


def _relative_critical_temperature(base, one, X, sample_weight):
    """Return the relative critical temperature for the assignment map."""
    start = np.repeat(one.cluster_centers_, base.n_clusters, axis=0)
    model = clone(base).set_params(temperature=1.0, init=start, max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, sample_weight=sample_weight)
    return model.critical_temperature_ / model.temperature_


def _fit_path(base, one, temperatures, X, sample_weight):
    """Fit a model at each temperature, starting from the centers before."""
    mean, weight = one.cluster_centers_, one.cluster_weight_.sum()
    scale = _PERTURBATION_IN_STD * (one.inertia_ / (weight * mean.shape[1])) ** 0.5
    shape = base.n_clusters, mean.shape[1]
    perturbation = scale * np.random.default_rng(0).normal(size=shape)
    models, centers = [], mean
    for temperature in temperatures:
        model = clone(base).set_params(
            temperature=temperature, init=(centers + perturbation).astype(mean.dtype)
        )
        with warnings.catch_warnings():
            # Merged clusters are expected on this path.
            warnings.simplefilter("ignore", ConvergenceWarning)
            models.append(model.fit(X, sample_weight=sample_weight))
        centers = model.cluster_centers_
    return models


def _match_order(centers):
    """Order each set of centers like the one before, matched by distance."""
    ordered = [centers[0]]
    for unordered in centers[1:]:
        distances = cdist(ordered[-1], unordered)
        ordered.append(unordered[linear_sum_assignment(distances)[1]])
    return np.array(ordered)


def _main_axis(centers):
    """Return the main axis of the centers, its largest entry positive."""
    axis = np.linalg.svd(centers - centers.mean(0), full_matrices=False)[2][0]
    return axis * np.sign(axis[np.abs(axis).argmax()])


def _n_effective(model, X, weight):
    """Return the exponential of the mutual information of samples and clusters."""
    responsibilities = np.asarray(model.transform(X))  # (n, k)
    if weight is not None:
        weight = _check_sample_weight(
            weight, responsibilities, dtype=np.float64, ensure_non_negative=True
        )
    of_clusters = entr(np.average(responsibilities, axis=0, weights=weight)).sum()
    of_rows = np.average(entr(responsibilities).sum(1), weights=weight)
    return float(np.exp(of_clusters - of_rows))
