"""A radial basis function network as a classifier."""

from numbers import Integral, Real

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning

from skrbf._base import TorchEstimator, draw_seed, torch_modes, warn
from skrbf._compat import Interval, StrOptions, _fit_context
from skrbf._convert import to_rows, unscale
from skrbf._rbf_net.observer import TrainingObserver
from skrbf._rbf_net.prediction import RBFPredictions
from skrbf._rbf_net.prototypes import RBFPrototypes
from skrbf._rbf_net.targets import encoded, known_labels, row_weights
from skrbf.engine.rbf import fit as rbf
from skrbf.engine.rbf.objective import parts
from skrbf.engine.rbf.output_layer import ALPHAS, chosen_alpha
from skrbf.engine.rbf.prepare import Target, prepare
from skrbf.engine.training.adam import Moments
from skrbf.engine.training.loop import Stopping
from skrbf.ops.assignment import ASSIGNMENTS
from skrbf.ops.rbf import ACTIVATIONS, Units, precisions

# Parameters that a fitted network is made by, so that it cannot go on with others.
_STRUCTURE = ("n_centers", "assignment", "width")


class RBFNetClassifier(
    TorchEstimator,
    RBFPredictions,
    RBFPrototypes,
    ClassifierMixin,
    BaseEstimator,
):
    r"""A trained network of radial basis functions, as a classifier.

    Unit `k` answers to rows near its center :math:`c_k`, by
    :math:`\phi_{ik} = \exp(-\frac12 \sum_j (x_{ij} - c_{kj})^2 / \sigma_{kj}^2)`, and
    the classes have the probabilities
    :math:`\mathrm{softmax}(V \phi_i + b)`. Centers start from K-means and widths from
    the distances between them. The output is solved first, a convex problem, and then
    centers, widths and output are trained together. Every unit is a prototype: it has a
    place, a reach and a class profile that a person can read.

    Read more in the :ref:`User Guide <rbf_net>`.

    Parameters
    ----------
    n_centers : int, default=300
        Number of units. Where fewer rows are distinct, there are as many as those.

    assignment : {None, "softmax", "entmax15", "sparsemax"}, default=None
        None leaves the Gaussian activations as they are: far from all centers they are
        0. With a map they are normalized to sum to 1, and the units are the soft
        assignment of :class:`SoftKMeans`; "entmax15" is sparse, "sparsemax" sparser.

    width : {"per_center", "global", "per_feature"}, default="per_center"
        What has a width of its own: each unit, all of them together, or each unit in
        each feature. With the first two each feature has a scale that is trained as
        well and that all units share. A width starts at the root mean squared distance
        from the center to the nearest twentieth of the others, at least three of them,
        and "global" at the root mean square of those, times `width_factor`.

    width_factor : float or "auto", default="auto"
        Factor on the widths that the units start with. Wide units fit smooth functions
        of many features, narrow ones fine structure. "auto" is the one of 1,
        :math:`\sqrt 2`, 2 and :math:`2 \sqrt 2` with which a ridge regression on the
        units best predicts the rows that it leaves out (:eq:`eq-leave-one-out` in the
        user guide). That takes four eigendecompositions, O(n_centers^3): a number saves
        time where there are thousands of units.

    per_class : bool, default=False
        Whether the centers start from K-means within each class, with as many units as
        the share of the class, and at least one.

    scale : bool, default=True
        Whether each feature is divided by a number of its own: the larger of its
        standard deviation and a quarter of its range, and the less the more its means
        differ between the classes (:eq:`eq-scaling` in the user guide). Otherwise all
        are divided by the same number. The features' scales in `width`, which are
        trained, start from there.

    alpha : float or "auto", default="auto"
        Penalty on half the squared norm of the output, beside the sum of the losses of
        all rows: the norm of kernel machines, with the units for rows
        (:eq:`eq-unit-kernel` in the user guide). The inverse of `C` elsewhere. "auto"
        is the one of 0.1, 0.3, 1 and 3 with which a kernel ridge regression on the
        units best predicts the rows that it leaves out, as for `width_factor`. A fit
        that goes on, by `warm_start` or :meth:`partial_fit`, keeps the one there is.
        The loss of a row is multiplied by its weight. So `alpha` should shrink with
        `sample_weight`: for weights that sum to 1, divide it by the number of rows. The
        numbers that "auto" tries are meant for weights of a mean of 1.

    pull : float, default=1.0
        Penalty on half the mean squared shift of the coordinates of the centers from
        where joint training found them, in scaled units, beside the mean loss of a row.
        It keeps them near the rows, where a person can read them and `novelty` means
        something.

    label_smoothing : float, default=0.05
        Part of the target of a row that all classes share; the class of the row has the
        rest. It keeps the output from growing without end where classes are apart, and
        no probability comes out much nearer to 0 than this divided by their number. 0
        is the plain cross-entropy.

    solver : {"auto", "adam", "lbfgs"}, default="auto"
        What trains all parameters together: "adam" with mini-batches, or "lbfgs" with
        all rows. "auto" is "lbfgs" where the rows fit one batch, 32 rows by default,
        else "adam".

    learning_rate : float, default=0.02
        Step of "adam"; three times that for widths and scales. It falls to 0 along half
        a cosine, and is a quarter of it throughout in :meth:`partial_fit`.

    max_iter : int, default=None
        Epochs of "adam" or iterations of "lbfgs". 0 leaves the units where K-means has
        placed them, the classical RBF network, with its convex problem alone. None is
        150 for "lbfgs", without a warning where it could go on, and for "adam" 20, or
        as many as make 500 steps.

    batch_size : int, default=None
        Rows of a batch of "adam". None is about a 32nd of the rows, between 32 and
        256.

    early_stopping : bool, default=False
        Whether to hold out rows, stratified by class, and to keep the state with the
        best accuracy on them rather than the one with the lowest loss.

    validation_fraction : float, default=0.1
        Share of the weight of each class that is held out with `early_stopping`.

    n_iter_no_change : int, default=10
        Iterations without progress by `tol` after which "lbfgs", or any solver with
        `early_stopping`, ends.

    tol : float, default=1e-3
        Progress that counts: in validation accuracy, or in the loss relative to it.

    class_weight : dict, "balanced" or None, default=None
        Factors on the weights of the rows by their class, 1 where a dict has none.
        "balanced" gives all classes the same weight.

    warm_start : bool, default=False
        Whether `fit` goes on from the network of the last one, with its scaling. Then
        `n_centers`, `assignment` and `width` must be as they were, and what places new
        units, `width_factor`, `per_class` and `scale`, is not looked at.

    device : str, default="auto"
        "cpu", "cuda", "cuda:1", "mps"; "auto" takes an accelerator if there is one and
        the problem is large enough to gain. Fitted attributes are numpy arrays and
        work on any machine.

    verbose : int, default=0
        Print a line for every step.

    random_state : int, RandomState instance or None, default=None
        Seed of the order of the batches and of the rows held out. The centers do not
        depend on it, and with "lbfgs" and no early stopping nothing does.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.

    centers_ : ndarray of shape (n_centers, n_features)
        Centers, in units of the data.

    widths_ : ndarray of shape (n_centers, n_features)
        Widths :math:`\sigma_{kj}` in each feature, in units of the data. A width that
        the dtype of `X` cannot hold is the largest number that it can.

    width_factor_ : float
        The factor on the widths that the units started with.

    alpha_ : float
        The penalty on the output of the last fit: `alpha`, or what was chosen.

    coef_ : ndarray of shape (n_classes, n_centers)
        Weights of the output; over the classes they sum to 0.

    intercept_ : ndarray of shape (n_classes,)
        Logits where no unit is active; they sum to 0.

    class_profile_ : ndarray of shape (n_centers, n_classes)
        Share of each class in the activation of a unit by the training rows.

    nearest_rows_ : ndarray of shape (n_centers, 5)
        Training rows that activate each unit most, the nearest first; of equal rows
        the first, and fewer columns where fewer rows are distinct.

    mean_, scale_ : ndarray of shape (n_features,)
        What is taken off each feature, and what it is divided by.

    loss_ : float
        Of the state that is kept: the mean cross-entropy with the penalties
        (:eq:`eq-objective` in the user guide).

    validation_score_ : float
        Accuracy of the state that is kept on the rows held out; NaN without any.

    loss_curve_ : list of float
        Loss after every step.

    history_ : dict of lists
        For every step its "phase" ("output", "joint"), "loss" and "validation_score".

    n_iter_ : int
        Steps of the joint training; of the output, where `max_iter` is 0.

    n_features_in_ : int
        Number of features seen in `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features, if `X` has names that are all strings.

    See Also
    --------
    SoftKMeans : The soft assignment without classes.
    sklearn.svm.SVC : A kernel machine: a unit on every row that matters.
    sklearn.kernel_approximation.Nystroem : Units at rows drawn by chance, not trained.

    Notes
    -----
    One epoch costs O(n k d), and O(n_classes k^2) for each batch; the kernel of the
    units costs O(k^3) once for each call. Prediction is O(n k d), in blocks that fit
    ``sklearn.config_context(working_memory=...)``. Training holds one scaled copy of
    the rows in single precision, dense also for sparse rows. Predictions are computed
    in the precision of the rows.

    Equal rows of one class are merged and the rest is sorted before anything is
    computed. So a row with weight 2 is the same as the row twice, and the order of the
    rows has no effect, to the last bit.

    References
    ----------
    Frank (2014), "Fully supervised training of Gaussian radial basis function networks
    in WEKA".

    Que, Belkin (2016), "Back to the future: radial basis function networks revisited".

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skrbf import RBFNetClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = RBFNetClassifier(n_centers=10, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.95
    True
    >>> model.novelty([[50, 50, 50, 50]])
    array([1.])
    """

    _parameter_constraints = {
        "n_centers": [Interval(Integral, 1, None, closed="left")],
        "assignment": [StrOptions(set(ASSIGNMENTS)), None],
        "width": [StrOptions({"per_center", "global", "per_feature"})],
        "width_factor": [
            Interval(Real, 0, None, closed="neither"),
            StrOptions({"auto"}),
        ],
        "per_class": ["boolean"],
        "scale": ["boolean"],
        "alpha": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "pull": [Interval(Real, 0, None, closed="left")],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "solver": [StrOptions({"auto", "adam", "lbfgs"})],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 0, None, closed="left"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "warm_start": ["boolean"],
        "device": [str],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_centers=300,
        *,
        assignment=None,
        width="per_center",
        width_factor="auto",
        per_class=False,
        scale=True,
        alpha="auto",
        pull=1.0,
        label_smoothing=0.05,
        solver="auto",
        learning_rate=0.02,
        max_iter=None,
        batch_size=None,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-3,
        class_weight=None,
        warm_start=False,
        device="auto",
        verbose=0,
        random_state=None,
    ):
        self.n_centers = n_centers
        self.assignment = assignment
        self.width = width
        self.width_factor = width_factor
        self.per_class = per_class
        self.scale = scale
        self.alpha = alpha
        self.pull = pull
        self.label_smoothing = label_smoothing
        self.solver = solver
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Train the network.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows. Sparse ones are made dense, all of them.
        y : array-like of shape (n_samples,)
            Their classes: numbers or strings.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, not negative; a weight of 2 is the same as the row twice.

        Returns
        -------
        self : RBFNetClassifier

        Raises
        ------
        ValueError
            For rows that are not finite numbers, a `y` with missing labels, weights
            that are negative or all zero, a class in `class_weight` that is not in `y`,
            too few rows to hold any out, a device that is not there, or, with
            `warm_start`, other classes, features, `n_centers`, `assignment` or `width`
            than before.
        FloatingPointError
            If the loss becomes NaN or infinite.

        Warns
        -----
        ConvergenceWarning
            If joint training has diverged or `alpha` is larger than the weight of all
            rows, so that what is kept is the network from before it; if "lbfgs" could
            go on after `max_iter`; or if no row activates any unit.
        """
        with self._unchanged_on_error(), torch_modes():
            go_on = self.warm_start and hasattr(self, "classes_")
            return self._fit(X, y, sample_weight, None, go_on)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Go on with a batch of rows.

        The first batch is fitted, as by :meth:`fit`: it places the units, at most one
        for each distinct row, and sets the scaling. Every further batch is one epoch of
        Adam, at a quarter of the `learning_rate`: the rate does not fall here, and the
        full one throws a network that is trained already far off.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        classes : array-like of shape (n_classes,), default=None
            All classes that there will be. Needed in the first call.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self : RBFNetClassifier
            Class profiles, nearest rows and novelty are those of this batch.

        Raises
        ------
        ValueError
            If `classes` is missing in the first call or differs from those before, or
            `y` has others; and as :meth:`fit`.
        """
        known = getattr(self, "classes_", None)
        if classes is not None:
            classes = np.unique(known_labels(classes, "classes"))
        if known is None and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if known is not None and classes is not None:
            self._same_classes(classes)
        with self._unchanged_on_error(), torch_modes():
            if known is None:
                return self._fit(X, y, sample_weight, classes, False)
            return self._partial_fit(X, y, sample_weight)

    def _fit(self, X, y, sample_weight, classes, go_on):
        given = X, y, {"sample_weight": sample_weight}
        X, y = self._validate(X, known_labels(y), reset=True)
        is_stream = classes is not None
        classes, labels = encoded(y, classes)
        if go_on:
            self._check_as_before(X, classes)
        with self._compute(X, self.n_centers).limited_threads():
            fitted = self._fit_rows(X, labels, sample_weight, classes, go_on, given)
        written, trained, plan = fitted
        self._warn(trained, plan, written, is_stream)
        vars(self).update(written)
        return self

    def _fit_rows(self, X, labels, sample_weight, classes, go_on, given):
        """Fit validated rows: the fitted attributes, the training and its plan."""
        generator = self._generator()
        alpha = self._first_alpha(go_on)
        data = prepare(
            self._host_rows(X),
            self._target(X, labels, classes, sample_weight, self.n_centers, alpha),
            self._scaling() if go_on else None,
            self._validation(generator),
        )
        plan = self._plan(data, generator)

        def attributes(record, network):
            return {
                "n_features_in_": X.shape[1],
                "classes_": classes,
                **self._state(network, data.scaling, X.dtype),
            }

        most = rbf.most_steps(plan, go_on)
        observer = TrainingObserver(self, *given, attributes, most)
        if go_on:
            start, factor = self._network(data.task.rows), self.width_factor_
            task, placed = self._with_kernel(data.task), self._placed
        else:
            start, factor = rbf.first_units(data.task, plan)
            task = data.task.with_kernel(start)
            placed = tuple(part.cpu().numpy().copy() for part in start)
            if self.alpha == "auto":
                least, alpha = alpha, chosen_alpha(task, start)
                task = task._replace(alpha=task.alpha * (alpha / least))
        trained = rbf.fit(task, data.held_out, plan, start, observer)
        written = {
            **attributes(None, trained.state),
            **self._described(data, trained.state),
            "width_factor_": factor,
            "alpha_": alpha,
            "loss_": trained.loss,
            "validation_score_": trained.validation_score,
            "history_": observer.history(),
            "loss_curve_": observer.history()["loss"],
            "n_iter_": trained.n_iter,
            "_moments": None,
            "_placed": placed,
            "_seen": data.seen,
        }
        observer.end(written)
        return written, trained, plan

    def _partial_fit(self, X, y, sample_weight):
        X, y = self._validate(X, known_labels(y), reset=False)
        with self._compute(X, self._n_features_out).limited_threads():
            written = self._go_on(X, y, sample_weight)
        vars(self).update(written)
        return self

    def _go_on(self, X, y, sample_weight):
        """Take in a batch of validated rows, and return the fitted attributes."""
        _, labels = encoded(y, self.classes_)
        k = self._n_features_out
        alpha = self._first_alpha(True)
        target = self._target(X, labels, self.classes_, sample_weight, k, alpha)
        data = prepare(self._host_rows(X), target, self._scaling(), None, self._seen)
        network, moments = self._network(data.task.rows), self._moments
        if moments is not None:
            first, second = (data.task.rows.new_tensor(m) for m in moments[:2])
            moments = Moments(first, second, moments[2])
        plan = self._plan(data, self._generator())
        task = self._with_kernel(data.task)
        network, moments, loss = rbf.go_on(task, network, moments, plan)
        step = {"phase": "batch", "loss": loss, "validation_score": np.nan}
        history = {name: [*old, step[name]] for name, old in self.history_.items()}
        first, second = (m.cpu().numpy().copy() for m in moments[:2])
        return {
            **self._state(network, data.scaling, self.centers_.dtype),
            **self._described(data, network),
            "loss_": loss,
            "history_": history,
            "loss_curve_": history["loss"],
            "n_iter_": self.n_iter_ + 1,
            "alpha_": alpha,
            "_seen": data.seen,
            "_moments": (first, second, moments.n_steps),
        }

    def _validation(self, generator):
        fraction = float(self.validation_fraction)
        return (fraction, generator) if self.early_stopping else None

    def _first_alpha(self, go_on):
        """The penalty to begin with: "auto" goes up from there, or stays as it was."""
        if self.alpha != "auto":
            return float(self.alpha)
        return self.alpha_ if go_on else ALPHAS[0]

    def _with_kernel(self, task):
        """The task with the kernel of the units where they were placed."""
        parts = (task.rows.new_tensor(part) for part in self._placed)
        return task.with_kernel(Units(*parts))

    def _target(self, X, labels, classes, sample_weight, n_units, alpha):
        weight, unit = row_weights(X, labels, classes, sample_weight, self.class_weight)
        return Target(
            torch.from_numpy(labels.astype(np.int64)),
            None if weight is None else torch.from_numpy(weight),
            unit,
            len(classes),
            ACTIVATIONS[self.assignment or "gaussian"],
            alpha,
            float(self.pull),
            float(self.label_smoothing),
            self._compute(np.empty(X.shape, np.float32), n_units),
            bool(self.scale),
        )

    def _plan(self, data, generator):
        # By the rows after merging, or weights were no repetitions.
        sizes = (self.max_iter, self.batch_size)
        sizes = (None if size is None else int(size) for size in sizes)
        solver, max_iter, batch_size = rbf.plan_solver(
            self.solver, *sizes, len(data.task.rows)
        )
        return rbf.Plan(
            min(int(self.n_centers), data.n_points),
            bool(self.per_class),
            self.width,
            None if self.width_factor == "auto" else float(self.width_factor),
            solver,
            batch_size,
            float(self.learning_rate),
            Stopping(max_iter, float(self.tol), int(self.n_iter_no_change)),
            generator,
        )

    def _check_as_before(self, X, classes):
        """Whether a fit can go on from the network that is there."""
        self._same_classes(classes)
        if X.shape[1] != self.centers_.shape[1]:
            raise ValueError(
                f"X has {X.shape[1]} features, and warm_start=True goes on from "
                f"{self.centers_.shape[1]}."
            )
        for name, before in self._structure.items():
            asked = getattr(self, name)
            if asked != before:
                raise ValueError(
                    f"{name}={asked!r}, and warm_start=True goes on from a network of "
                    f"{name}={before!r}; set warm_start=False to start anew."
                )

    def _same_classes(self, classes):
        if not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"classes={classes} is not the same as on the last call: "
                f"{self.classes_}."
            )

    def _generator(self):
        return torch.Generator().manual_seed(draw_seed(self.random_state))

    def _host_rows(self, X):
        """Dense rows in memory, whatever the device."""
        compute = type(self)(device="cpu")._compute(X, 1)
        return to_rows(X.toarray() if issparse(X) else X, compute)

    def _state(self, network, scaling, dtype):
        """What prediction needs, and the network in units of the data."""
        weight = network.weight - network.weight.mean(0)
        bias = network.bias - network.bias.mean()
        network = network._replace(weight=weight, bias=bias)
        mean, scale = (part.numpy().copy() for part in scaling)
        centers = network.units.centers.cpu().numpy()
        sigma = precisions(network.units).rsqrt().cpu().numpy()
        return {
            "_structure": {name: getattr(self, name) for name in _STRUCTURE},
            "_parameters": tuple(p.cpu().numpy().copy() for p in parts(network)),
            "mean_": mean,
            "scale_": scale,
            "centers_": unscale(centers, mean, scale, dtype),
            "widths_": unscale(sigma, 0.0, scale, dtype),
            "coef_": weight.cpu().numpy().astype(dtype),
            "intercept_": bias.cpu().numpy().astype(dtype),
        }

    def _warn(self, trained, plan, written, is_stream):
        """Warn of units left out, of an early end and of joint training in vain."""
        factor, alpha = written["width_factor_"], written["alpha_"]
        weight = written["_seen"]
        if is_stream and plan.n_centers < self.n_centers:
            warn(
                f"The first batch has room for {plan.n_centers} units of n_centers="
                f"{self.n_centers}, and later batches add none; make the first one "
                "larger, or n_centers smaller.",
                ConvergenceWarning,
            )
        if self.max_iter and not trained.converged:
            warn(
                "RBFNetClassifier did not converge in "
                f"max_iter={plan.stopping.max_iter} iterations; increase max_iter, or "
                "tol.",
                ConvergenceWarning,
            )
        if trained.diverged and alpha >= weight:
            warn(
                f"alpha={alpha:.3g} is large beside the weight of all rows, "
                f"{weight:.3g}: the penalty leaves joint training nothing to gain, and "
                "fit keeps the network from before it. Lower alpha, or scale "
                "sample_weight to a mean of 1.",
                ConvergenceWarning,
            )
        elif trained.diverged:
            warn(
                "Joint training of RBFNetClassifier has diverged: its loss stayed "
                f"above the {trained.loss:.4g} that it started from, and fit keeps the "
                "network from before it. Lower learning_rate, or set width_factor to "
                f"a smaller number than {factor:.3g}.",
                ConvergenceWarning,
            )
