"""Classifier with a radial basis function network."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from skrbf._base import TorchEstimator, torch_modes
from skrbf._compat import Interval, StrOptions, _fit_context
from skrbf._rbf_net.prediction import RBFPredictions
from skrbf._rbf_net.prototypes import RBFPrototypes
from skrbf._rbf_net.targets import check_known_labels
from skrbf._rbf_net.training import RBFTraining
from skrbf.ops.assignment import ASSIGNMENTS


class RBFNetClassifier(
    TorchEstimator,
    RBFTraining,
    RBFPredictions,
    RBFPrototypes,
    ClassifierMixin,
    BaseEstimator,
):
    r"""Classifier with a trained network of radial basis functions.

    Unit `k` has the activation
    :math:`\phi_{ik} = \exp(-\frac12 \sum_j (x_{ij} - c_{kj})^2 / \sigma_{kj}^2)` for a
    row :math:`x_i`, which is largest at its center :math:`c_k`. The classes have the
    probabilities :math:`\mathrm{softmax}(V \phi_i + b)`. Centers start from K-means,
    and widths from the distances between them. The output layer is fitted first, which
    is a convex problem; then centers, widths and output layer are trained together.
    Every unit is a prototype: a person can read its center, its width and its class
    profile.

    Read more in the :ref:`User Guide <rbf_net>`.

    Parameters
    ----------
    n_centers : int, default=300
        Number of units. If fewer rows are distinct, there is one unit for each of them.

    assignment : {None, "softmax", "entmax15", "sparsemax"}, default=None
        Normalization of the activations. None leaves them Gaussian: they are 0 far from
        all centers. With an assignment map they sum to 1, and the units are the soft
        assignment of :class:`SoftKMeans`; "entmax15" is sparse, "sparsemax" sparser.

    width : {"per_center", "global", "per_feature"}, default="per_center"
        Number of widths: one for each unit, one for all units, or one for each unit and
        feature. With the first two, each feature also has a trained scale that all
        units share. A width starts at the root mean squared distance from the center to
        the nearest twentieth of the other centers, at least three of them. "global"
        starts at the root mean square of those. Both are multiplied by `width_factor`.

    width_factor : float or "auto", default="auto"
        Factor on the initial widths. Wide units fit smooth functions of many features,
        narrow ones fine structure. "auto" chooses among 1, :math:`\sqrt 2`, 2 and
        :math:`2 \sqrt 2` by the leave-one-out error of a ridge regression on the units
        (:eq:`eq-leave-one-out` in the user guide). That takes four eigendecompositions,
        O(n_centers^3): a number saves time if there are thousands of units.

    per_class : bool, default=False
        Whether the centers start from K-means within each class. The number of units of
        a class is proportional to its weight, and at least one.

    scale : bool, default=True
        Whether each feature is divided by its own scale: the larger of its standard
        deviation and a quarter of its range, less for features whose means differ more
        between the classes (:eq:`eq-scaling` in the user guide). Otherwise one scale
        divides all features. The trained scales of the features start from there.

    alpha : float or "auto", default="auto"
        Penalty on half the squared norm of the output layer, which is added to the sum
        of the losses of all rows. It is the norm of kernel machines with a unit in the
        place of each row (:eq:`eq-unit-kernel` in the user guide), and `alpha` is the
        inverse of their `C`. "auto" chooses among 0.1, 0.3, 1 and 3 by the
        leave-one-out error of a kernel ridge regression on the units. A fit that goes
        on, by `warm_start` or :meth:`partial_fit`, keeps the value. Losses are
        multiplied by `sample_weight`, so `alpha` should shrink with the weights: for
        weights that sum to 1, divide it by the number of rows. The candidates of "auto"
        are meant for weights with a mean of 1.

    center_penalty : float, default=1.0
        Penalty on half the mean squared distance of the centers from where joint
        training found them, in scaled features, which is added to the mean loss of a
        row. It keeps the centers near the rows, so that they can be read as prototypes
        and `novelty` is meaningful.

    label_smoothing : float, default=0.05
        Fraction of the target of a row that is spread evenly over all classes. It
        limits the output weights if the classes are separable, and no probability is
        much smaller than `label_smoothing` divided by the number of classes. 0 is the
        plain cross-entropy.

    solver : {"auto", "adam", "lbfgs"}, default="auto"
        Optimizer of the joint training: "adam" with mini-batches, or "lbfgs" with all
        rows. "auto" is "lbfgs" if the rows fit into one batch, else "adam".

    learning_rate : float, default=0.02
        Learning rate of "adam"; three times this for widths and scales. It decays to 0
        along half a cosine. :meth:`partial_fit` uses a quarter of it, without decay.

    max_iter : int or "auto", default="auto"
        Maximum number of epochs of "adam" or iterations of "lbfgs". 0 fits the output
        layer only and leaves the units where K-means places them: the classical RBF
        network. "auto" is 20 epochs of "adam", or as many as make 500 steps, and 150
        iterations of "lbfgs" without a warning if that is not enough.

    batch_size : int or "auto", default="auto"
        Rows of a batch of "adam". "auto" is about a 32nd of the rows, between 32 and
        256.

    early_stopping : bool, default=False
        Whether to hold out rows, stratified by class, and to keep the state with the
        highest accuracy on them instead of the one with the lowest loss.

    validation_fraction : float, default=0.1
        Fraction of the weight of each class that is held out with `early_stopping`.

    n_iter_no_change : int, default=10
        Number of iterations without progress by `tol` after which "lbfgs" ends, or any
        solver with `early_stopping`.

    tol : float, default=1e-3
        Smallest change that counts as progress: of the validation accuracy, or of the
        loss relative to it.

    class_weight : dict, "balanced" or None, default=None
        Factor on the weights of the rows of each class; 1 for a class that the dict
        does not have. "balanced" gives all classes the same weight.

    warm_start : bool, default=False
        Whether `fit` goes on from the last network, with its scaling. `n_centers`,
        `assignment` and `width` must then be as before, and `width_factor`, `per_class`
        and `scale`, which place new units, have no effect.

    device : str, default="auto"
        "cpu", "cuda", "cuda:1" or "mps". "auto" takes an accelerator if there is one
        and the problem is large enough to gain from it. Fitted attributes are numpy
        arrays and work on any machine.

    verbose : int, default=0
        Whether to print a line for every step.

    random_state : int, RandomState instance or None, default=None
        Seed of the order of the batches and of the rows held out. The initial centers
        do not depend on it. With "lbfgs" and without early stopping nothing does.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the classes, sorted.

    centers_ : ndarray of shape (n_centers, n_features)
        Centers in units of the data.

    widths_ : ndarray of shape (n_centers, n_features)
        Width :math:`\sigma_{kj}` of each unit in each feature, in units of the data,
        clipped to the range of float64.

    width_factor_ : float
        Factor on the initial widths.

    alpha_ : float
        Penalty on the output layer in the last fit: `alpha`, or the value chosen.

    coef_ : ndarray of shape (n_classes, n_centers)
        Weights of the output layer. They sum to 0 over the classes.

    intercept_ : ndarray of shape (n_classes,)
        Biases of the output layer: the logits far from all units. They sum to 0.

    class_profile_ : ndarray of shape (n_centers, n_classes)
        Share of each class in the activation of a unit by the training rows.

    nearest_rows_ : ndarray of shape (n_centers, 5)
        Indices of the training rows that activate each unit most, the nearest first. Of
        equal rows the first counts. There are fewer columns if fewer rows are distinct.

    familiarity_quantiles_ : ndarray of shape (n_quantiles,)
        Quantiles of :meth:`score_samples` over the training rows, ascending, for
        :meth:`novelty`.

    mean_, scale_ : ndarray of shape (n_features,)
        Center and scale of each feature: rows are centered and scaled for training.

    loss_ : float
        Loss of the state that is kept: the mean cross-entropy plus the penalties
        (:eq:`eq-objective` in the user guide).

    validation_score_ : float
        Accuracy of that state on the rows held out; NaN without such rows.

    loss_curve_ : list of float
        Loss after every step: ``history_["loss"]``, under its name in
        :class:`~sklearn.neural_network.MLPClassifier`.

    history_ : dict of lists
        "phase" ("output" or "joint", "batch" for a call of :meth:`partial_fit`), "loss"
        and "validation_score" of every step.

    n_iter_ : int
        Number of steps of the joint training; of the output layer if `max_iter` is 0.

    n_features_in_ : int
        Number of features seen in `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features, if `X` has names that are all strings.

    See Also
    --------
    SoftKMeans : Soft assignment without classes.
    sklearn.svm.SVC : Kernel machine, with a unit on every support vector.
    sklearn.kernel_approximation.Nystroem : Units at random rows, not trained.

    Notes
    -----
    One epoch costs O(n k d), and O(n_classes k^2) for each batch; the kernel of the
    units costs O(k^3) once for each call. Prediction costs O(n k d), in blocks that fit
    ``sklearn.config_context(working_memory=...)``. Training holds one scaled copy of
    the rows in single precision, which is dense even if the rows are sparse.

    Predictions follow from `centers_`, `widths_`, `coef_` and `intercept_`, which may
    be edited, with `mean_` and `scale_` against rounding. Units may be removed, but
    then the network cannot be trained further. These attributes are float64 for any
    `X`. Predictions are computed in the precision of the rows.

    Equal rows of one class are merged, and rows are sorted, before anything is
    computed. So a row with weight 2 is the same as two equal rows, and the order of the
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
        "center_penalty": [Interval(Real, 0, None, closed="left")],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "solver": [StrOptions({"auto", "adam", "lbfgs"})],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 0, None, closed="left"), StrOptions({"auto"})],
        "batch_size": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
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
        center_penalty=1.0,
        label_smoothing=0.05,
        solver="auto",
        learning_rate=0.02,
        max_iter="auto",
        batch_size="auto",
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
        self.center_penalty = center_penalty
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
            Rows. Sparse rows are made dense, all of them at once.
        y : array-like of shape (n_samples,)
            Classes of the rows: numbers or strings.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative weights. A weight of 2 is the same as two equal rows.

        Returns
        -------
        self : RBFNetClassifier

        Raises
        ------
        ValueError
            If rows are not finite, labels are missing, weights are negative or all
            zero, a class of `class_weight` is not in `y`, there are too few rows to
            hold any out, or the device is not available. With `warm_start`, if classes,
            features, `n_centers`, `assignment` or `width` are not as before.
        FloatingPointError
            If the loss becomes NaN or infinite.

        Warns
        -----
        ConvergenceWarning
            If joint training has diverged, or `alpha` is larger than the weight of all
            rows: then the network before joint training is kept. If "lbfgs" has not
            converged after `max_iter` iterations. If no row activates any unit.
        """
        with self._unchanged_on_error(), torch_modes():
            resume = self.warm_start and hasattr(self, "classes_")
            return self._fit(X, y, sample_weight, None, resume)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train the network on a batch of rows.

        The first call fits the batch, as :meth:`fit` does: it places the units, at most
        one for each distinct row, and sets the scaling. Every later call is one epoch
        of Adam at a quarter of `learning_rate`. The rate does not decay here, and the
        full rate would undo much of an earlier training.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        classes : array-like of shape (n_classes,), default=None
            All classes of all batches. Required in the first call.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self : RBFNetClassifier
            Class profiles, nearest rows and novelty refer to this batch.

        Raises
        ------
        ValueError
            If `classes` is missing in the first call or differs from earlier ones, if
            `y` has other classes, if `n_centers`, `assignment` or `width` are not as
            before, and for the reasons of :meth:`fit`.
        """
        known = getattr(self, "classes_", None)
        if classes is not None:
            classes = np.unique(check_known_labels(classes, "classes"))
        if known is None and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if known is not None and classes is not None:
            self._check_same_classes(classes)
        with self._unchanged_on_error(), torch_modes():
            if known is None:
                return self._fit(X, y, sample_weight, classes, False)
            return self._fit_batch(X, y, sample_weight)
