"""K-means with soft, calibrated or sparse memberships."""

from numbers import Integral, Real

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from skrbf._base import TorchEstimator, distinct_clusters_message, torch_modes, warn
from skrbf._compat import Interval, StrOptions, _fit_context
from skrbf._convert import check_sample_weight, to_rows
from skrbf._soft_kmeans.initial_centers import initial_centers
from skrbf._soft_kmeans.observer import StepObserver
from skrbf.engine.data.number_range import check_variance, times_power_of_two
from skrbf.engine.kmeans import predict as prediction
from skrbf.engine.kmeans.fit import KMeansConfig, fit
from skrbf.engine.kmeans.online import update_online
from skrbf.engine.kmeans.predict import Model
from skrbf.engine.kmeans.problem import largest_variance, make_problem
from skrbf.ops.assignment import ASSIGNMENTS
from skrbf.ops.temperature import critical_temperature


class SoftKMeans(
    TorchEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ClusterMixin,
    BaseEstimator,
):
    r"""K-means as an RBF network: soft memberships at a temperature, K-means at 0.

    Row `i` belongs to cluster `k` with responsibility
    :math:`r_{ik} = \mathrm{map}(-\|x_i - c_k\|^2 / T)`, a normalized radial basis
    function of width :math:`\sigma`, :math:`T = 2 \sigma^2`. The centers are weighted
    means of the rows, and with ``init="grow"`` they do not depend on a seed. As the
    temperature falls to 0 the network becomes K-means, exactly.

    Read more in the :ref:`User Guide <soft_kmeans>`.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters, at most the number of rows.

    temperature : "auto" or float, default="auto"
        Temperature, in units of twice the largest variance of the data along any
        direction: above that temperature, softmax centers that have met at the mean
        stay there. 0 is K-means, and above 1 there is one cluster, except for a few
        rows that are far from all others. With entmax-1.5 there is one cluster from the
        square root of `n_clusters` on, with sparsemax from `n_clusters` or a little
        more on. The temperature has no unit: data scaled by any factor give the same
        result. "auto" is the noise level of the clusters themselves,
        :math:`T = 2 \sigma^2` with :math:`\sigma^2` the variance per feature within the
        clusters: memberships are then those of a mixture of equal spherical Gaussians.

    assignment : {"softmax", "entmax15", "sparsemax"}, default="softmax"
        Map from distances to memberships. Two maps are sparse: a row belongs to its
        nearest center alone, exactly, if that center leads in squared distance by
        :math:`2 T` with "entmax15", and by :math:`T` with "sparsemax".

    init : {"grow", "k-means++", "random"}, callable or array-like, default="grow"
        Initial centers.

        - "grow" is deterministic. As the temperature falls, the clusters that have
          become unstable split along their main axes, until there are `n_clusters`.
          Split-and-merge moves follow, and those that lower the distortion are kept.
          For up to 7 clusters, starts spread over the data by a fixed rule compete. A
          temperature above 0 is reached from there, and once more from above, by
          annealing from the critical temperature. The lower free energy wins.
        - "k-means++" draws rows far from each other, weighted and greedy as in
          scikit-learn.
        - "random" draws rows by their weight.
        - An array of shape (n_clusters, n_features) holds the centers themselves.
        - A callable ``init(X, n_clusters, random_state=...)`` returns them.

        Every start except "grow" goes straight to the given temperature:
        ``SoftKMeans(k, temperature=0, init=C)`` is Lloyd's algorithm from `C`.

    n_init : "auto" or int, default="auto"
        Number of starts, of which the best is kept. "auto" is 10 for "random" and
        callables, else 1. An array and "grow" are started once. An array with another
        `n_init` is warned of, as by KMeans.

    max_iter : int, default=300
        Maximum number of iterations of one start. It also limits each run of iterations
        in growth and split-and-merge, which are not counted.

    tol : float, default=1e-4
        Soft iterations stop when the sum of squared shifts of the centers is less than
        this part of the mean variance of the features, or of the temperature where
        that is lower. Hard iterations, at temperature 0, go on until no label changes.

    device : str, default="auto"
        "cpu", "cuda", "cuda:1", "mps"; "auto" takes an accelerator if there is one and
        the problem is large enough to gain. Fitted attributes are numpy arrays and
        work on any machine: `predict` uses the CPU where the device is absent.

    verbose : int, default=0
        Print a line for every step.

    random_state : int, RandomState instance or None, default=None
        Seed of "k-means++", "random" and callables. "grow" needs none.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        Centers. Those without a row come last. With ``init="grow"`` they are in the
        order of their projections on a fixed direction, that of :math:`\cos j^2`:
        neither the order of the rows nor their scale changes the label of a cluster.

    labels_ : ndarray of shape (n_samples,), int32
        Label of each row: the same as ``predict(X)``.

    inertia_ : float
        Weighted sum of squared distances of the rows to the center of their label.

    objective_ : float
        Objective that the fit minimizes: the free energy at `temperature_`, the inertia
        at 0.

    temperature_ : float
        `T`, in squared units of the data.

    relative_temperature_ : float
        `temperature_` in the unit of the parameter `temperature`, twice the largest
        variance of the rows. Pass it as `temperature` to repeat what "auto" has found.
        It is 0 where all rows are equal, or so close beside a fill value that rounding
        hides their noise. With :meth:`partial_fit` it is that of the first batch.

    sigma_ : float
        Width of the radial basis functions, :math:`\sqrt{T / 2}`.

    critical_temperature_ : float
        `T` above which centers at the mean stay there, for the assignment map.

    cluster_weight_ : ndarray of shape (n_clusters,)
        Sum of weighted responsibilities of each cluster.

    n_iter_ : int
        Iterations of the best start, after growth and split-and-merge. At temperature 0
        they are counted as by KMeans, with the one that confirms the labels.

    history_ : dict of lists
        For every step its "phase" ("grow", "split_merge", "anneal", "descend"; "batch"
        for :meth:`partial_fit`), "temperature", "objective" and "n_clusters". Where
        clusters are fitted again in double precision, see the notes, it has the steps
        of both fits.

    n_features_in_ : int
        Number of features seen in `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features, if `X` has names that are all strings.

    See Also
    --------
    sklearn.cluster.KMeans : Hard K-means, from random starts.
    sklearn.mixture.GaussianMixture : Mixtures with a covariance for each cluster.

    Notes
    -----
    One iteration costs O(n k d), and holds blocks of responsibilities that fit the
    cache of the processor and ``sklearn.config_context(working_memory=...)``, never all
    of them. Growth costs as much as a few iterations where splits are balanced.
    Split-and-merge costs as much as the moves that are tried.

    Rows and weights may be of any size. Where squares would leave the range of single
    precision, double precision is used, and where they would leave that as well, the
    rows are divided by a power of two. Only rows whose variance is out of the range of
    float64 are refused. Where the clusters are so narrow relative to the spread of all
    rows that rounding may have decided on them, as with a fill value among the rows,
    they are fitted again in double precision.

    References
    ----------
    F. de J. Felix Arredondo, A. Ucan-Puc, C. Astengo Noguez (2026), "K-Means as a
    Radial Basis Function Network", arXiv:2603.04625.

    K. Rose (1998), "Deterministic annealing for clustering, compression,
    classification, regression, and related optimization problems".

    Examples
    --------
    >>> import numpy as np
    >>> from skrbf import SoftKMeans
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> model = SoftKMeans(n_clusters=2).fit(X)
    >>> model.predict([[0, 0], [12, 3]]).tolist() == model.labels_[[0, 3]].tolist()
    True
    >>> model.predict_proba([[5.5, 2]]).round(2)
    array([[0.5, 0.5]])
    """

    _parameter_constraints = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "temperature": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "assignment": [StrOptions(set(ASSIGNMENTS))],
        "init": [StrOptions({"grow", "k-means++", "random"}), callable, "array-like"],
        "n_init": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "device": [str],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_clusters=8,
        *,
        temperature="auto",
        assignment="softmax",
        init="grow",
        n_init="auto",
        max_iter=300,
        tol=1e-4,
        device="auto",
        verbose=0,
        random_state=None,
    ):
        self.n_clusters = n_clusters
        self.temperature = temperature
        self.assignment = assignment
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    @property
    def _n_features_out(self):
        return self.cluster_centers_.shape[0]

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Fit the centers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to cluster. Float32 and float64 are computed as they are.
        y : Ignored
            Present by the convention of scikit-learn.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative weights. A weight of 2 is the same as the row twice.

        Returns
        -------
        self : SoftKMeans

        Raises
        ------
        ValueError
            For rows that are not finite numbers, fewer rows than clusters, weights that
            are negative or all zero, or a device that is not available.
        """
        given = X, y, {"sample_weight": sample_weight}
        with self._unchanged_on_error(), torch_modes():
            X = self._validate(X, reset=True)
            if X.shape[0] < self.n_clusters:
                raise ValueError(
                    f"n_samples={X.shape[0]} should be >= n_clusters={self.n_clusters}."
                )
            compute = self._compute(X, self.n_clusters)
            with compute.limited_threads():
                problem, weight_exponent = self._problem(X, sample_weight, compute)
                unit = 2.0 * largest_variance(problem)
                starts = initial_centers(self, X, problem)
                observer = StepObserver(self, *given, X.shape[1], weight_exponent)
                fitted = fit(problem, self._config(unit), starts, observer)
                attributes = {
                    **self._attributes(fitted, problem, unit),
                    **self._scores(fitted, weight_exponent),
                    "history_": observer.history(),
                }
                if not observer.stopped:
                    self._warn(fitted)
                observer.end({**attributes, "n_features_in_": X.shape[1]})
            vars(self).update(attributes)
        return self

    def _problem(self, X, sample_weight, compute):
        """Bring rows and weights to their device. Also return the weights' exponent."""
        weight, exponent = check_sample_weight(sample_weight, X)
        if weight is not None:
            weight = compute.tensor(weight)
        problem = make_problem(to_rows(X, compute), weight, compute)
        scatter = times_power_of_two(problem.scatter, 2 * problem.exponent)
        check_variance(scatter, varies=False)
        sums = scatter, problem.weight_sum
        if not np.isfinite([times_power_of_two(s, exponent) for s in sums]).all():
            raise ValueError(
                "sample_weight has values so large that sums with them overflow; "
                "divide it by a number."
            )
        return problem, exponent

    def _config(self, unit):
        """Convert the parameters to settings of a fit, in the unit of its problem.

        `unit` is that of the parameter `temperature`: twice the largest variance.
        """
        return KMeansConfig(
            int(self.n_clusters),
            None if self.temperature == "auto" else float(self.temperature) * unit,
            ASSIGNMENTS[self.assignment],
            int(self.max_iter),
            float(self.tol),
            critical_temperature(unit / 2, int(self.n_clusters), self.assignment),
        )

    def _attributes(self, fitted, problem, unit):
        """Collect the fitted attributes, except for the scores of the rows.

        `unit` is that of the parameter `temperature`, in the unit of the problem.
        """
        unit = times_power_of_two(unit, 2 * problem.exponent)
        return {
            "cluster_centers_": fitted.centers.cpu().numpy().copy(),
            "temperature_": fitted.temperature,
            "relative_temperature_": fitted.temperature / unit if unit > 0 else 0.0,
            "sigma_": (fitted.temperature / 2) ** 0.5,
            "critical_temperature_": critical_temperature(
                unit / 2, self.n_clusters, self.assignment
            ),
            "n_iter_": fitted.n_iter,
            "_assignment": self.assignment,  # that of `predict`, whatever is set
        }

    @staticmethod
    def _scores(fitted, weight_exponent):
        """Collect scores of rows whose weights were divided by 2^weight_exponent."""
        weight = fitted.cluster_weight.cpu().numpy()
        return {
            "labels_": fitted.labels.cpu().numpy().copy(),
            "inertia_": times_power_of_two(fitted.inertia, weight_exponent),
            "objective_": times_power_of_two(fitted.objective, weight_exponent),
            "cluster_weight_": np.ldexp(weight, weight_exponent),
        }

    def _warn(self, fitted):
        """Warn of missing clusters, and of iterations that did not converge."""
        n_clusters = len(fitted.centers)
        distinct = int((fitted.counts > 0).sum())
        if distinct < n_clusters:
            reason = "or to a temperature at which clusters merge"
            warn(
                distinct_clusters_message(distinct, n_clusters, reason),
                ConvergenceWarning,
            )
        if not fitted.converged:
            warn(
                f"SoftKMeans did not converge in max_iter={self.max_iter} iterations; "
                "increase max_iter, or tol.",
                ConvergenceWarning,
            )

    def fit_predict(self, X, y=None, sample_weight=None):
        """Fit, and return `labels_`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : Ignored
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        labels : ndarray of shape (n_samples,), int32
        """
        return self.fit(X, y, sample_weight=sample_weight).labels_

    def fit_transform(self, X, y=None, sample_weight=None):
        """Fit, and return the responsibilities of the same rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : Ignored
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        responsibilities : ndarray of shape (n_samples, n_clusters)
        """
        return self.fit(X, y, sample_weight=sample_weight).transform(X)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, sample_weight=None):
        """Update the centers with a batch of rows.

        The first batch is fitted, and sets the temperature. Every further batch moves
        each center to the mean of all rows so far, weighted by its responsibilities for
        them.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The first batch needs at least `n_clusters` rows.
        y : Ignored
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self : SoftKMeans
            With the labels, inertia and objective of this batch.
        """
        if not hasattr(self, "cluster_centers_"):
            return self.fit(X, sample_weight=sample_weight)
        with torch_modes():
            X = self._validate(X, reset=False)
            compute = self._compute(X, self._n_features_out)
            with compute.limited_threads():
                attributes = self._partial_fit(X, sample_weight, compute)
        vars(self).update(attributes)
        return self

    def _partial_fit(self, X, sample_weight, compute):
        """Update the model with validated rows, and return the fitted attributes."""
        problem, exponent = self._problem(X, sample_weight, compute)
        compute = problem.compute
        model = self._model(compute)
        # In the larger of two units: weights may be of any size.
        common = max(exponent, int(np.frexp(self.cluster_weight_.max())[1]))
        previous = np.ldexp(self.cluster_weight_, -common)
        centers, weight = update_online(
            problem,
            model,
            torch.tensor(previous, device=compute.device),
            torch.from_numpy(np.empty(0, self.cluster_centers_.dtype)).dtype,
            2.0 ** (exponent - common),
        )
        # Labels are those of the centers as they are kept.
        model = model._replace(centers=centers.to(problem.table.dtype))
        fitted = prediction.score(
            problem.table, problem.weight, model, compute.accumulate
        )
        scores = self._scores(fitted, exponent)
        step = {
            "phase": "batch",
            "temperature": model.temperature,
            "objective": scores["objective_"],
            "n_clusters": len(centers),
        }
        return {
            **scores,
            "cluster_weight_": np.ldexp(weight.cpu().numpy(), common),
            "cluster_centers_": centers.cpu().numpy().copy(),
            "n_iter_": self.n_iter_ + 1,
            "history_": {
                name: [*values, step[name]] for name, values in self.history_.items()
            },
        }

    def _model(self, compute):
        return Model(
            compute.tensor(self.cluster_centers_),
            self.temperature_,
            ASSIGNMENTS[self._assignment],
        )

    def _ready(self, X):
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        compute = self._compute(X, self.cluster_centers_.shape[0], fitted=True)
        return X, compute, to_rows(X, compute), self._model(compute)

    def predict(self, X):
        """Label each row with the cluster of the largest responsibility.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        labels : ndarray of shape (n_samples,), int32
        """
        X, compute, rows, model = self._ready(X)
        labels = np.empty(X.shape[0], dtype=np.int32)
        return self._collect(compute, prediction.labels(rows, model), labels)

    def predict_proba(self, X):
        """Compute responsibilities: how much of each row belongs to each cluster.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Dense. For sparse rows :meth:`transform` returns the same.

        Returns
        -------
        responsibilities : ndarray of shape (n_samples, n_clusters)
            Rows sum to 1. One-hot at temperature 0.

        Raises
        ------
        TypeError
            For sparse rows: the checks of scikit-learn would take the estimator for a
            classifier.
        """
        check_is_fitted(self)
        if issparse(X):
            raise TypeError(
                "predict_proba takes dense rows, and X is sparse; use transform, which "
                "returns the same responsibilities."
            )
        return self._memberships(X)

    def transform(self, X):
        """Compute responsibilities, as features for the next step of a pipeline.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        responsibilities : ndarray of shape (n_samples, n_clusters)
            The same as :meth:`predict_proba`.
        """
        return self._memberships(X)

    def _memberships(self, X):
        # Not `transform`: set_output may put its result in a data frame.
        X, compute, rows, model = self._ready(X)
        memberships = np.empty((X.shape[0], self._n_features_out), dtype=X.dtype)
        blocks = prediction.responsibilities(rows, model)
        self._collect(compute, blocks, memberships.T)
        return memberships

    def score(self, X, y=None, sample_weight=None):
        """Compute minus the distortion, as :class:`sklearn.cluster.KMeans` does.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : Ignored
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        score : float
            Minus the weighted sum of squared distances to the nearest center.
        """
        X, compute, rows, model = self._ready(X)
        weight, exponent = check_sample_weight(sample_weight, X)
        weight = None if weight is None else compute.tensor(weight)
        with torch_modes(), compute.limited_threads():
            total = prediction.distortion(rows, weight, model, compute.accumulate)
        return -times_power_of_two(total, exponent)
