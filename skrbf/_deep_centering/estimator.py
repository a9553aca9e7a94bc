"""The estimator of deep clustering: an autoencoder with centers of its codes."""

from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from os import PathLike

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from skrbf._base import TorchEstimator, torch_modes
from skrbf._compat import Interval, StrOptions, _fit_context
from skrbf._convert import check_sample_weight, tensor_to_array, to_rows
from skrbf._deep_centering.fingerprint import network_fingerprints
from skrbf._deep_centering.fitted import (
    attributes_at,
    label_rows,
    prediction_network,
    prediction_parts,
    warn_about_fit,
)
from skrbf._deep_centering.observer import EpochObserver
from skrbf._deep_centering.parameters import clustering_config, training_config
from skrbf._deep_centering.prepare import open_checkpoint, prepare_fit
from skrbf.engine.deep.center_updates import CENTER_UPDATES
from skrbf.engine.deep.codes import code_distances
from skrbf.engine.deep.constants import NETWORK_COLUMNS, NETWORK_WORK_PER_FEATURE
from skrbf.engine.deep.fit import fit_deep, have_collapsed
from skrbf.engine.deep.predict import decode_codes, n_parameters
from skrbf.engine.kmeans import predict as prediction
from skrbf.ops.assignment import ASSIGNMENTS
from skrbf.ops.centering import CENTERING_LOSSES


class DeepCenteringClustering(
    TorchEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ClusterMixin,
    BaseEstimator,
):
    r"""Clustering of codes that an autoencoder learns along with the centers.

    An autoencoder learns codes :math:`h_i` of the rows, and K-means places centers
    among them. Then the network minimizes its reconstruction error and the centering
    loss :math:`\sum_k r_{ik} \|h_i - c_k\|^2`, with responsibilities as in
    :class:`SoftKMeans`, while K-means recomputes the centers at intervals. Other
    responsibilities and center updates give deep K-means, DCN, SR-K-means and others:
    the User Guide has a table.

    Read more in the :ref:`User Guide <deep_clustering>`.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters, at most the number of rows.

    n_components : int, default=10
        Number of components of a code.

    hidden_layer_sizes : array-like of int, default=(500, 500, 2000)
        Widths of the hidden layers of the "dense" encoder. The decoder has them in
        reverse. Other encoders ignore this parameter.

    code_activation : {"tanh", "linear"}, default="tanh"
        Activation of the code layer of "dense" and "conv"; other encoders ignore it.
        "tanh" bounds every component and so fixes the scale of the codes: the
        reconstruction does not depend on this scale, but clusters do. Most papers use
        "linear", which leaves the scale free. It can be better with `augment` or after
        few steps. ``centering="regularized"`` needs bounded codes; a custom encoder has
        to bound them itself.

    encoder : {"dense", "conv"}, callable or Module, default="dense"
        The autoencoder.

        - "dense" has `hidden_layer_sizes`. "conv" has three strided convolutions and
          needs `input_shape`.
        - A callable ``encoder(n_features, n_components)`` returns a
          :class:`torch.nn.Module` with the methods `encode` and `decode`, see
          :class:`skrbf.nn.Autoencoder`.
        - A module counts as pretrained and is copied. An example is `autoencoder_` of a
          fit to the same rows with ``max_iter=0``. For an untrained network, pass a
          callable that makes it, such as
          ``lambda n_features, n_components: MyAE(n_features, n_components)``.

    input_shape : tuple of int, default=None
        Shape of a row as an image, (height, width) or (channels, height, width), for
        "conv" and for `augment`. Channels come first.

    pretrain_epochs : int, default=50
        Epochs on the reconstruction error alone. With `augment`, images benefit from a
        few hundred.

    denoising : float, default=0.0
        Fraction of the entries of each row that pretraining masks, that is, sets to
        their mean. The network still reconstructs the whole row.

    max_iter : int, default=50
        Maximum number of epochs of clustering. 0 gives K-means on the codes of the
        pretrained network.

    clustering_weight : float, default=1.0
        Weight of the centering loss relative to the reconstruction error. It has no
        unit: the two terms are fractions of the variance of the codes and of the rows.

    centering : {"distance", "centroid", "regularized"}, default="distance"
        The centering loss of a row: "distance" is the weighted squared distance to all
        centers, "centroid" the squared distance to the soft centroid, and "regularized"
        the first minus the squared norm of the code.

    assignment : {"softmax", "entmax15", "sparsemax"}, default="softmax"
        Map from distances to responsibilities. "entmax15" is sparse, "sparsemax"
        sparser.

    temperature : float, default=0.01
        Relative to twice the largest variance of the codes along any direction, as in
        :class:`SoftKMeans`. 0 assigns each row to its nearest center only.

    differentiate_assignments : bool, default=False
        Whether the gradient of the centering loss also passes through the
        responsibilities. Otherwise they are constants of the loss, as they always are
        with ``assignment_update="epoch"``.

    assignment_update : {"batch", "epoch"}, default="batch"
        Compute responsibilities for every batch, or once for all rows between two
        epochs, as in alternating optimization.

    center_update : str, default="kmeans"
        Update of the centers, besides K-means every `reinit_interval` epochs:

        - "kmeans": no other update.
        - "running_mean": after every batch, to the means of all codes assigned so far.
        - "gradient": by gradient steps, together with the network.
        - "soft_mean": after every epoch, to the means of all codes under their
          responsibilities.

    reinit_interval : int or None, default=10
        Epochs between two runs of K-means on all codes. K-means also follows the last
        epoch, unless a callback ends the fit. Its labels are matched with those before.
        None leaves the centers to `center_update`. K-means after every epoch, as in the
        paper, can keep the labels from converging, and with `augment` can make them
        worse than without clustering.

    reinit : {"lloyd", "grow"}, default="lloyd"
        Start of that K-means: the present centers, or as ``SoftKMeans(init="grow")``.

    weight_reset : float or None, default=None
        In the epoch after K-means, the linear and convolutional layers of the encoder,
        except the last one and frozen ones, first move by this fraction toward a fresh
        draw as in the built-in encoders. The moments of Adam are cleared and K-means
        runs again. This needs a `reinit_interval` of several epochs, in which the
        network recovers. Preferably `max_iter` is a multiple of it, so that the last
        reset has as many.

    batch_size : int, default=256
        Rows of a batch.

    learning_rate : float, default=1e-3
        Learning rate of Adam.

    augment : callable, default=None
        ``augment(rows)`` returns rows of the same clusters, such as slightly shifted
        images. Argument and result are tensors of the same shape, (batch, n_features)
        or (batch, \*input_shape), in units of the data and in single precision.
        Pretraining uses augmented rows only. Clustering pulls them to the centers of
        the original rows. Torch's own random numbers are seeded by `random_state` while
        `augment` runs.

    tol : float, default=1e-3
        The fit ends after `reinit_interval` consecutive epochs, and at least three, in
        which a smaller fraction of the labels changes. If `reinit_interval` is None,
        three epochs are enough. With `weight_reset`, epochs before the first reset do
        not count. 0 disables early stopping.

    checkpoint : str or path-like, default=None
        File that stores the training after every epoch. The next fit with the same rows
        and parameters resumes from it; only `max_iter` and `tol` may change the end.
        The file is removed when the fit ends. `encoder` and `augment` must be
        picklable: no lambdas and no nested functions. Fits that run at the same time
        need one file each. Do not use it in a search or cross-validation, where the
        file of an interrupted fit makes another fail.

    warm_start : bool, default=False
        Whether `fit` continues with the network, scaling and centers of the last fit,
        without pretraining, for up to `max_iter` more epochs. The parameters of the
        network must be the same. With another `n_clusters`, K-means places new centers.
        `history_` and `n_iter_` describe the last fit only.

    device : str, default="auto"
        "cpu", "cuda", "cuda:1" or "mps". "auto" uses an accelerator if there is one and
        the problem is large enough to benefit. Fitted attributes work on any machine.

    verbose : int, default=0
        Print a line for every epoch.

    random_state : int, RandomState instance or None, default=None
        Seed of the weights, of the order of the batches, of masks, and of torch's own
        random numbers for `augment`.

    Attributes
    ----------
    autoencoder_ : Module
        The network, in single precision on the CPU. Its input is rows minus `mean_`,
        divided by `scale_`.

    cluster_centers_ : ndarray of shape (n_clusters, n_components)
        Centers among the codes. Centers without rows come last.

    cluster_centers_decoded_ : ndarray of shape (n_clusters, n_features)
        Decoded centers, in units of the data.

    labels_ : ndarray of shape (n_samples,), int32
        Label of each row: the same as ``predict(X)``.

    temperature_ : float
        Temperature of `predict_proba`, in squared units of the codes.

    code_variance_ : float
        Total variance of the codes.

    mean_, scale_ : ndarray of shape (n_features,)
        Offset and divisor of each feature. All features have the same divisor, except
        constant features with a larger rounding error.

    n_iter_ : int
        Number of epochs of clustering.

    history_ : dict of lists
        For every epoch: "phase" ("pretrain" or "cluster"), "loss",
        "reconstruction_loss", "clustering_loss", "scale_penalty" (on a change of the
        scale of the codes since the start of clustering, part of "loss"),
        "label_change" (fraction of the weight), "center_shift" (root mean square, in
        standard deviations of the codes), "code_variance", "largest_cluster" (fraction
        of the weight), "temperature", "learning_rate" and "seconds". NaN if a phase
        does not have the quantity.

    n_features_in_ : int
        Number of features seen in `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features, if `X` has names that are all strings.

    See Also
    --------
    SoftKMeans : The same without an encoder.
    skrbf.nn.DenseAutoencoder, skrbf.nn.ConvAutoencoder : The networks, whose codes are
        linear by default.

    Notes
    -----
    The network dominates the cost of an epoch; K-means on codes adds little. The fit
    holds one scaled copy of the rows on the device, in single precision and dense also
    for sparse rows. While this copy is made, sparse rows are also held as a dense array
    in their own precision.

    Predictions are computed in the precision of the rows, in blocks. For rows in double
    precision, numpy's default, every call first converts the network, which takes
    longer than a few rows do. Pass float32 to predict row by row.

    Equal rows are merged and then sorted before the fit, and the losses are weighted.
    So a row with weight 2 is equivalent to the row twice, and the order of the rows has
    no effect, to the last bit.

    Scores and losses of different fits are not comparable, so neither can select
    parameters.

    References
    ----------
    D. Roy (2024), "Deep clustering using centering loss and reinitialization",
    arXiv:2411.19496.

    M. Moradi Fard, T. Thonet, E. Gaussier (2020), "Deep k-means: jointly clustering
    with k-means and learning representations".

    L. Miklautz and others (2025), "Breaking the reclustering barrier in centroid-based
    deep clustering".

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skrbf import DeepCenteringClustering
    >>> X, _ = load_iris(return_X_y=True)
    >>> model = DeepCenteringClustering(
    ...     3, n_components=2, hidden_layer_sizes=(32,), random_state=0
    ... ).fit(X)
    >>> model.transform(X[:2]).shape
    (2, 2)
    >>> model.cluster_centers_decoded_.shape
    (3, 4)
    """

    _parameter_constraints = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": ["array-like"],
        "code_activation": [StrOptions({"linear", "tanh"})],
        "encoder": [StrOptions({"dense", "conv"}), callable, torch.nn.Module],
        "input_shape": [tuple, list, None],
        "pretrain_epochs": [Interval(Integral, 0, None, closed="left")],
        "denoising": [Interval(Real, 0, 1, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "clustering_weight": [Interval(Real, 0, None, closed="left")],
        "centering": [StrOptions(set(CENTERING_LOSSES))],
        "assignment": [StrOptions(set(ASSIGNMENTS))],
        "temperature": [Interval(Real, 0, None, closed="left")],
        "differentiate_assignments": ["boolean"],
        "assignment_update": [StrOptions({"batch", "epoch"})],
        "center_update": [StrOptions(set(CENTER_UPDATES))],
        "reinit_interval": [Interval(Integral, 1, None, closed="left"), None],
        "reinit": [StrOptions({"lloyd", "grow"})],
        "weight_reset": [Interval(Real, 0, 1, closed="right"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "augment": [callable, None],
        "tol": [Interval(Real, 0, None, closed="left")],
        "checkpoint": [str, PathLike, None],
        "warm_start": ["boolean"],
        "device": [str],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_clusters=8,
        *,
        n_components=10,
        hidden_layer_sizes=(500, 500, 2000),
        code_activation="tanh",
        encoder="dense",
        input_shape=None,
        pretrain_epochs=50,
        denoising=0.0,
        max_iter=50,
        clustering_weight=1.0,
        centering="distance",
        assignment="softmax",
        temperature=0.01,
        differentiate_assignments=False,
        assignment_update="batch",
        center_update="kmeans",
        reinit_interval=10,
        reinit="lloyd",
        weight_reset=None,
        batch_size=256,
        learning_rate=1e-3,
        augment=None,
        tol=1e-3,
        checkpoint=None,
        warm_start=False,
        device="auto",
        verbose=0,
        random_state=None,
    ):
        self.n_clusters = n_clusters
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.code_activation = code_activation
        self.encoder = encoder
        self.input_shape = input_shape
        self.pretrain_epochs = pretrain_epochs
        self.denoising = denoising
        self.max_iter = max_iter
        self.clustering_weight = clustering_weight
        self.centering = centering
        self.assignment = assignment
        self.temperature = temperature
        self.differentiate_assignments = differentiate_assignments
        self.assignment_update = assignment_update
        self.center_update = center_update
        self.reinit_interval = reinit_interval
        self.reinit = reinit
        self.weight_reset = weight_reset
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.augment = augment
        self.tol = tol
        self.checkpoint = checkpoint
        self.warm_start = warm_start
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    @property
    def _n_features_out(self):
        return self.cluster_centers_.shape[1]

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Learn codes and find the centers among them.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to cluster. Sparse rows are all made dense: first reduce text with many
            words by :class:`~sklearn.decomposition.TruncatedSVD`.
        y : Ignored
            For the scikit-learn convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative weights. A weight of 2 is equivalent to the row twice.

        Returns
        -------
        self : DeepCenteringClustering

        Raises
        ------
        ValueError
            For rows that are not finite; fewer rows than clusters; negative weights or
            weights that are all zero; an `input_shape` that does not match the rows; an
            encoder that raises an error, returns codes of another width than
            `n_components`, or has no parameters to train; a warm start with another
            network; a `weight_reset` without `reinit_interval`; a checkpoint of another
            fit or of more than `max_iter` epochs; a parameter that cannot be pickled,
            with a checkpoint; or an unavailable device.
        FileNotFoundError, IsADirectoryError, PermissionError
            If the folder of `checkpoint` does not exist or may not be written to, or if
            `checkpoint` is a folder.
        FloatingPointError
            If the loss or a code becomes NaN or infinite.

        Warns
        -----
        ConvergenceWarning
            If the codes have collapsed; if the reconstruction error ends above 0.95 and
            at least a tenth above its minimum; if it ends at 1, the error of the mean,
            or more; or if a cluster has no rows.
        UserWarning
            If the channels of `input_shape` seem to come last, if `max_iter` ends
            before the first weight reset, or if a module that counts as pretrained
            reconstructs rows hardly better than their mean.
        """
        with self._unchanged_on_error(), torch_modes(inference=False):
            given, X = X, self._validate(X, reset=True)
            weight, _ = check_sample_weight(sample_weight, X)
            with self._compute(X, 1, device="cpu").limited_threads():
                data, module, generator, pretrained, centers = prepare_fit(
                    self, X, weight
                )
            checkpoint = open_checkpoint(self, data, module, pretrained)
            network = network_fingerprints(self)
            training = training_config(self, data, pretrained)
            config = clustering_config(self)
            attributes = partial(attributes_at, self, X, data, config, network)
            most = training.pretrain_epochs + config.n_epochs
            metadata = {"sample_weight": sample_weight}
            observer = EpochObserver(
                self, given, y, metadata, most, attributes, checkpoint
            )
            state = fit_deep(
                data,
                module,
                generator,
                training,
                config,
                observer.see,
                centers,
                checkpoint.saved,
            )
            fitted = {**attributes(state), "history_": observer.history()}
            fitted |= label_rows(self, X, weight, fitted)
            if not observer.stopped:
                warn_about_fit(
                    self, weight, fitted, have_collapsed(state, data, config)
                )
            observer.end(fitted)
            vars(self).update(fitted)
        checkpoint.remove()
        return self

    def _check_and_encode(self, X):
        """Validate rows; give their device, their codes, and the model that labels."""
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        return X, *prediction_parts(self, X, vars(self))

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
        """Fit, and return the codes of the same rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : Ignored
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        codes : ndarray of shape (n_samples, n_components)
        """
        return self.fit(X, y, sample_weight=sample_weight).transform(X)

    def predict(self, X):
        """Label each row by the nearest center of its code.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        labels : ndarray of shape (n_samples,), int32
        """
        X, compute, codes, model = self._check_and_encode(X)
        labels = np.empty(X.shape[0], dtype=np.int32)
        return self._collect(compute, prediction.labels(codes, model), labels)

    def predict_proba(self, X):
        """Compute responsibilities: the membership of each row in each cluster.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Dense.

        Returns
        -------
        responsibilities : ndarray of shape (n_samples, n_clusters)
            Rows sum to 1. One-hot at temperature 0.

        Raises
        ------
        TypeError
            For sparse rows. scikit-learn's checks take any estimator with sparse
            `predict_proba` for a classifier of their own classes.
        """
        check_is_fitted(self)
        if issparse(X):
            raise TypeError(
                "predict_proba takes dense rows, and X is sparse; use X.toarray()."
            )
        X, compute, codes, model = self._check_and_encode(X)
        memberships = np.empty((X.shape[0], len(model.centers)), dtype=X.dtype)
        blocks = prediction.responsibilities(codes, model)
        self._collect(compute, blocks, memberships.T)
        return memberships

    def transform(self, X):
        """Compute codes of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        codes : ndarray of shape (n_samples, n_components)
        """
        X, compute, encoded, _ = self._check_and_encode(X)
        codes = np.empty((X.shape[0], self._n_features_out), dtype=X.dtype)
        blocks = ((start, stop, block.t()) for start, stop, block in encoded.blocks(1))
        self._collect(compute, blocks, codes.T)
        return codes

    def inverse_transform(self, X):
        """Decode codes to rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        rows : ndarray of shape (n_samples, n_features)
            In units of the data.

        Raises
        ------
        ValueError
            If the codes do not have `n_components` columns.
        """
        check_is_fitted(self)
        codes = check_array(
            tensor_to_array(X, "X"), dtype=[np.float64, np.float32], order="C"
        )
        if codes.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {codes.shape[1]} columns, but codes have "
                f"{self._n_features_out}."
            )
        compute = self._compute(codes, NETWORK_WORK_PER_FEATURE, fitted=True)
        module, scaling = prediction_network(vars(self), compute)
        compute = replace(compute, work=len(codes) * n_parameters(module))
        rows = np.empty((len(codes), len(self.mean_)), dtype=codes.dtype)
        blocks = (
            (start, stop, decode_codes(module, block, scaling).t())
            for start, stop, block in to_rows(codes, compute).blocks(NETWORK_COLUMNS)
        )
        self._collect(compute, blocks, rows.T)
        return rows

    def score(self, X, y=None, sample_weight=None):
        """Compute minus the loss of rows: higher means a better fit to these rows.

        The score shows how well one fit describes other rows. It cannot rank two fits:
        most parameters change its meaning, and the fit with the better score can have
        the worse clusters. A row farther than 1e10 standard deviations from the mean
        counts as one at that distance.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : Ignored
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        score : float
            Minus the mean reconstruction error, in variances of the rows, and minus
            `clustering_weight` times the mean squared distance of the codes to their
            centers, in variances of the codes.
        """
        X, compute, codes, model = self._check_and_encode(X)
        weight, _ = check_sample_weight(sample_weight, X)
        weight = np.ones(X.shape[0]) if weight is None else weight
        unit = (
            self._clustering_weight / self.code_variance_
            if self.code_variance_ > 0
            else 0.0
        )
        losses = np.empty(X.shape[0])
        with torch_modes(), compute.limited_threads():
            for start, stop, block, errors in codes.blocks_with_errors():
                distances = code_distances(model.centers, block).amin(0)
                losses[start:stop] = (errors + unit * distances).cpu().numpy()
        # A row without weight may have any size, and so an infinite loss.
        counted = weight > 0
        return -float(losses[counted] @ weight[counted] / weight.sum())
