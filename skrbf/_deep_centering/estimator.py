"""Clustering of the codes of an autoencoder that are pulled to their centers."""

import copy
from dataclasses import replace
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
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from skrbf._base import (
    TorchEstimator,
    distinct_clusters_message,
    draw_seed,
    torch_modes,
    warn,
)
from skrbf._compat import Interval, StrOptions, _fit_context
from skrbf._convert import (
    check_sample_weight,
    scaling_tensors,
    tensor_to_array,
    to_rows,
    unscale,
)
from skrbf._deep_centering.network import build_module, check_module, warn_of_untrained
from skrbf._deep_centering.observer import EpochObserver
from skrbf._deep_centering.parameters import (
    check_parameters,
    check_same_network,
    cluster_plan,
    configuration,
    net_plan,
    network,
)
from skrbf.engine.data.training_data import prepare
from skrbf.engine.deep.center_updates import CENTER_RULES, kmeans
from skrbf.engine.deep.checkpoint import Checkpoint, NoCheckpoint
from skrbf.engine.deep.fit import Start, fit_deep, resume
from skrbf.engine.deep.predict import (
    NETWORK_COLUMNS,
    EncodedRows,
    make_encoder,
    n_parameters,
    reconstruction_errors,
)
from skrbf.engine.deep.reclustering import code_distances, encode_all, look
from skrbf.engine.kmeans import predict as prediction
from skrbf.engine.kmeans.predict import Model
from skrbf.engine.training.rng import seeded
from skrbf.ops.assignment import ASSIGNMENTS
from skrbf.ops.clustering import CENTERING_LOSSES

# Multiply-adds of a row, in units of its features, for the choice of a device.
_WORK = 5000

# A reconstruction error near that of the mean, 1, and so much above the lowest before.
_NOTHING = 0.95
_WORSE = 1.1


class DeepCenteringClustering(
    TorchEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ClusterMixin,
    BaseEstimator,
):
    r"""Clusters of learned codes: an autoencoder whose codes are pulled to centers.

    An autoencoder learns codes :math:`h_i` of the rows, K-means places centers among
    them, and then the network is trained on both its reconstruction error and the
    centering loss :math:`\sum_k r_{ik} \|h_i - c_k\|^2`, with responsibilities as in
    :class:`SoftKMeans`, while K-means sets the centers anew. Other rules for the
    responsibilities and the centers make it deep K-means, DCN, SR-K-means and others:
    the User Guide has a table.

    Read more in the :ref:`User Guide <deep_clustering>`.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters, at most the number of rows.

    n_components : int, default=10
        Width of a code.

    hidden_layer_sizes : array-like of int, default=(500, 500, 2000)
        Widths of the layers of the dense encoder; the decoder has them in reverse.
        Other encoders do not use it.

    code_activation : {"tanh", "linear"}, default="tanh"
        What "dense" and "conv" make a code with; no other encoder uses it. "tanh"
        bounds it, and so the scale of every component: what is reconstructed does not
        depend on that, and clusters do. Most papers have "linear", which leaves it
        free, and can be ahead with `augment` or after few steps.
        ``centering="regularized"`` needs codes with bounds; an encoder of your own has
        to bound them itself.

    encoder : {"dense", "conv"}, callable or Module, default="dense"
        The autoencoder.

        - "dense" has `hidden_layer_sizes`; "conv" has three strided convolutions, and
          needs `input_shape`.
        - A callable ``encoder(n_features, n_components)`` returns a
          :class:`torch.nn.Module` with the methods `encode` and `decode`, see
          :class:`skrbf.nn.Autoencoder`.
        - A module is taken as pretrained, and copied: such as `autoencoder_` of a fit
          to the same rows with ``max_iter=0``. One that is not trained needs a
          callable that makes it, for example
          ``lambda n_features, n_components: MyAE(n_features, n_components)``.

    input_shape : tuple of int, default=None
        Shape of a row as an image, (height, width) or (channels, height, width), for
        "conv" and for `augment`. Channels come first.

    pretrain_epochs : int, default=50
        Epochs on the reconstruction error alone. Images with `augment` gain from a few
        hundred.

    denoising : float, default=0.0
        Share of the entries of each row that are masked, set to their mean, in
        pretraining; what is reconstructed is the whole row.

    max_iter : int, default=50
        Most epochs of clustering. 0 is K-means on the codes of the pretrained network.

    clustering_weight : float, default=1.0
        Of the centering loss, beside the reconstruction error. Both are shares, of the
        variance of the codes and of the rows: the weight has no unit.

    centering : {"distance", "centroid", "regularized"}, default="distance"
        The centering loss of a row: its weighted squared distances to all centers, the
        squared distance to its soft centroid, or the first less the squared norm of the
        code.

    assignment : {"softmax", "entmax15", "sparsemax"}, default="softmax"
        The map from distances to responsibilities. "entmax15" is sparse, "sparsemax"
        sparser.

    temperature : float, default=0.01
        Relative to twice the largest variance of the codes along any direction, as in
        :class:`SoftKMeans`. 0 assigns a row to its nearest center alone.

    through_weights : bool, default=False
        Whether the gradient of the centering loss also passes through the
        responsibilities, or they are held. With ``assignment_update="epoch"`` they are.

    assignment_update : {"batch", "epoch"}, default="batch"
        When responsibilities are computed: with every batch, or of all rows between
        two epochs, as alternating directions do.

    center_update : str, default="kmeans"
        What moves the centers, other than K-means every `reinit_interval` epochs:

        - "kmeans": nothing.
        - "running_mean": after every batch, to the means of all that they were given.
        - "gradient": they are trained with the network.
        - "soft_mean": after every epoch, to the means of all codes by their
          responsibilities.

    reinit_interval : int or None, default=10
        Epochs from one K-means on all codes to the next; there is one after the last,
        too, unless a callback has ended the fit. Labels are matched with those before.
        None leaves the centers to `center_update`. After every epoch, as in the paper,
        centers run after the codes that run after them: labels may not settle, and
        with `augment` they can get worse than without any clustering.

    reinit : {"lloyd", "grow"}, default="lloyd"
        Where that K-means starts: from the present centers, or as
        ``SoftKMeans(init="grow")``.

    weight_reset : float or None, default=None
        In an epoch after K-means, the linear and convolutional layers of the encoder
        but for the last and frozen ones are first moved by this share to a fresh draw,
        as that of the built-in encoders. The moments of Adam are forgotten, and K-means
        runs again. Needs a `reinit_interval` of several epochs, in which the network
        recovers, and at best a `max_iter` that is a multiple of it: then the last reset
        has as many.

    batch_size : int, default=256
        Rows of a batch.

    learning_rate : float, default=1e-3
        Of Adam.

    augment : callable, default=None
        ``augment(rows)`` returns rows that belong to the same clusters, such as images
        shifted a little: a tensor of the same shape, (batch, n_features) or
        (batch, \*input_shape), in units of the data and single precision. Pretraining
        is on these; in clustering they are pulled to where the rows themselves belong.
        It may use torch's own random numbers, which come from `random_state` then.

    tol : float, default=1e-3
        The fit ends after `reinit_interval` epochs in a row in which a smaller share of
        the labels changes, and after three at the least, or where that is None. With
        `weight_reset` those before the first reset do not count. 0 never ends it early.

    checkpoint : str or path-like, default=None
        A file to which the training is written after every epoch, and from which the
        next fit with the same rows and parameters resumes, to the end that `max_iter`
        and `tol` say then. It is removed at the end of a fit. `encoder` and `augment`
        must be picklable: no lambda, and no function inside a function. Fits that run
        at the same time need a file each: not for use in a search or cross-validation,
        where a file that an interrupted fit has left makes another fail.

    warm_start : bool, default=False
        Whether `fit` goes on with the network, scaling and centers of the last one,
        without pretraining, for `max_iter` epochs more. The parameters of the network
        must be the same; with another `n_clusters` K-means places the centers anew.
        `history_` and `n_iter_` are those of the last fit alone.

    device : str, default="auto"
        "cpu", "cuda", "cuda:1", "mps"; "auto" takes an accelerator if there is one and
        the problem is large enough to gain. Fitted attributes work on any machine.

    verbose : int, default=0
        Print a line for every epoch.

    random_state : int, RandomState instance or None, default=None
        Seed of the weights, of the order of the batches, of masks, and of what torch
        draws for `augment`.

    Attributes
    ----------
    autoencoder_ : Module
        The network, in single precision on the CPU. It takes rows less `mean_` and
        divided by `scale_`.

    cluster_centers_ : ndarray of shape (n_clusters, n_components)
        Centers among the codes, those without a row of their own last.

    cluster_centers_decoded_ : ndarray of shape (n_clusters, n_features)
        What the decoder makes of them, in units of the data.

    labels_ : ndarray of shape (n_samples,), int32
        Label of each row: the same as ``predict(X)``.

    temperature_ : float
        In squared units of the codes; `predict_proba` uses it.

    code_variance_ : float
        Total variance of the codes.

    mean_, scale_ : ndarray of shape (n_features,)
        What is taken off each feature, and the number by which all are divided: one
        for all, but for a constant feature whose rounding is larger.

    n_iter_ : int
        Epochs of clustering.

    history_ : dict of lists
        For every epoch its "phase" ("pretrain", "cluster"), "loss",
        "reconstruction_loss", "clustering_loss", "scale_penalty" (of the codes, since
        clustering began; "loss" has it too), "label_change" (share of the weight),
        "center_shift" (root mean square, in standard deviations of the codes),
        "code_variance", "largest_cluster" (share of the weight), "temperature",
        "learning_rate" and "seconds"; NaN where a phase has none.

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
    An epoch costs what the network costs, and K-means on codes little beside it. One
    scaled copy of the rows is held in single precision, dense also for sparse rows, on
    the device. While it is made, sparse rows are also held dense in their own
    precision.

    Predictions are computed in the precision of the rows, in blocks. For rows in double
    precision, numpy's default, every call first casts the network, which takes longer
    than a few rows do: to predict row by row, pass float32.

    Equal rows are merged and the rest is sorted before anything is computed, and the
    losses are weighted. So a row with weight 2 is the same as the row twice, and the
    order of the rows has no effect, to the last bit.

    A score or loss of one fit is not comparable with that of another: neither chooses
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
        "through_weights": ["boolean"],
        "assignment_update": [StrOptions({"batch", "epoch"})],
        "center_update": [StrOptions(set(CENTER_RULES))],
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
        through_weights=False,
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
        self.through_weights = through_weights
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
            Rows to cluster. Sparse ones are made dense, all of them: reduce text of
            many words with :class:`~sklearn.decomposition.TruncatedSVD` first.
        y : Ignored
            For the scikit-learn convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, not negative; a weight of 2 is the same as the row twice.

        Returns
        -------
        self : DeepCenteringClustering

        Raises
        ------
        ValueError
            For rows that are not finite numbers, fewer rows than clusters, weights that
            are negative or all zero, an `input_shape` of another size than a row, an
            encoder that raises an error where it is called or whose codes have another
            width than `n_components`, a warm start with another network, a network
            without parameters to train, a `weight_reset` without `reinit_interval`, a
            checkpoint of another fit or of more than `max_iter` epochs, a checkpoint
            and a parameter that cannot be pickled, or a device that is not there.
        FileNotFoundError, IsADirectoryError, PermissionError
            If the folder of `checkpoint` is not there, `checkpoint` is one, or it may
            not be written.
        FloatingPointError
            If the loss or a code becomes NaN or infinite.

        Warns
        -----
        ConvergenceWarning
            If the codes have collapsed; if the reconstruction error ends above 0.95 and
            a tenth above its lowest, or at 1, that of the mean, or more; or if a
            cluster has no row.
        UserWarning
            If the channels of `input_shape` seem to come last, if `max_iter` ends
            before the first weight reset, or if a module that is taken as pretrained
            reconstructs rows hardly better than their mean does.
        """
        with self._unchanged_on_error(), torch_modes(inference=False):
            checkpoint = self._fit(X, y, sample_weight)
        checkpoint.remove()
        return self

    def _fit(self, X, y, sample_weight):
        given = X
        X = self._validate(X, reset=True)
        weight, _ = check_sample_weight(sample_weight, X)
        with self._compute(X, 1, device="cpu").limited_threads():
            data, start = self._start(X, weight)
        checkpoint = self._checkpoint(data, start)
        if checkpoint.saved is not None:
            start = resume(start, checkpoint.saved)

        def attributes(record, training):
            present = _present(training, data, plan)
            return {
                "n_features_in_": X.shape[1],
                **self._state(X, data, training.module, *present),
                "_network": made,
                "n_iter_": 0 if training.view is None else training.epoch,
                "history_": observer.history(),
            }

        made, net, plan = network(self), net_plan(self, data), cluster_plan(self)
        metadata = {"sample_weight": sample_weight}
        most = plan.n_epochs + (0 if start.pretrained else net.pretrain_epochs)
        observer = EpochObserver(self, given, y, metadata, attributes, most)
        if checkpoint.saved is not None:
            observer.resume(checkpoint.saved["records"])

        def on_epoch(training):
            stop = observer(training.report, training)
            checkpoint.write(training, observer.records)
            return stop

        fitted = fit_deep(data, net, plan, start, on_epoch)
        written = {
            **self._state(
                X,
                data,
                start.module,
                fitted.clusters.centers,
                fitted.temperature,
                fitted.variance,
            ),
            "_network": made,  # what `warm_start` goes on with
            "n_iter_": fitted.n_iter,
            "history_": observer.history(),
        }
        written |= self._labelled(X, weight, written)
        if not observer.stopped:
            self._warn(written["labels_"], weight, fitted, written["history_"])
        observer.end({**written, "n_features_in_": X.shape[1]})
        vars(self).update(written)
        return checkpoint

    def _start(self, X, weight):
        """The rows to train on, and the network to start from."""
        if X.shape[0] < self.n_clusters:
            raise ValueError(
                f"n_samples={X.shape[0]} should be >= n_clusters={self.n_clusters}."
            )
        check_parameters(self, X.shape[1])
        go_on = self.warm_start and hasattr(self, "autoencoder_")
        if go_on and X.shape[1] != len(self.mean_):
            raise ValueError(
                f"X has {X.shape[1]} features, and warm_start=True goes on from "
                f"{len(self.mean_)}."
            )
        if go_on:
            check_same_network(self, self._network)
        host = self._compute(X, 1, device="cpu")
        data, _ = prepare(
            to_rows(X.toarray() if issparse(X) else X, host),
            None,
            None if weight is None else torch.from_numpy(weight),
            self._compute(X, _WORK, dtype=np.float32),
            scaling=self._scaling() if go_on else None,
        )
        seed = draw_seed(self.random_state)
        generator = torch.Generator().manual_seed(seed)
        centers = None
        if go_on:
            module, pretrained = copy.deepcopy(self.autoencoder_), True
            if self.cluster_centers_.shape == (self.n_clusters, self.n_components):
                centers = data.rows.new_tensor(self.cluster_centers_)
        else:
            module, pretrained = build_module(self, X.shape[1], generator)
        module = module.to(data.rows.device, data.rows.dtype)
        batch = data.rows[: int(self.batch_size)]
        with seeded(seed, data.rows.device):  # lazy layers draw at their first use
            check_module(self, module, batch, host.dtype, pretrained)
        if pretrained and not go_on:
            warn_of_untrained(self, module, data)
        foreign = self.augment is not None or not isinstance(self.encoder, str)
        return data, Start(module, generator, pretrained, centers, foreign, None)

    def _checkpoint(self, data, start):
        if self.checkpoint is None:
            return NoCheckpoint()
        fit = configuration(self, data, start.module, start.pretrained)
        checkpoint = Checkpoint(self.checkpoint, fit)
        saved = checkpoint.saved
        if saved and saved["phase"] == "cluster" and saved["epoch"] > self.max_iter:
            raise ValueError(
                f"checkpoint={str(self.checkpoint)!r} holds {saved['epoch']} epochs of "
                f"clustering, more than max_iter={self.max_iter}."
            )
        return checkpoint

    def _state(self, X, data, module, centers, temperature, variance):
        """What prediction needs."""
        mean, scale = (part.numpy().copy() for part in data.scaling)
        with torch.no_grad():
            decoded = module.eval().decode(centers).cpu().numpy()
        return {
            "autoencoder_": copy.deepcopy(module).cpu().eval(),
            "cluster_centers_": centers.cpu().numpy().astype(X.dtype),
            "cluster_centers_decoded_": unscale(decoded, mean, scale, X.dtype),
            "temperature_": temperature,
            "code_variance_": variance,
            "mean_": mean,
            "scale_": scale,
            "_assignment": self.assignment,  # what `predict` uses, whatever is set
            "_weight": float(self.clustering_weight),
        }

    def _labelled(self, X, weight, state):
        """Labels, and the centers with those last that have no row of their own."""
        compute, _, codes, model = self._codes(X, state)
        labels = np.empty(X.shape[0], dtype=np.int32)
        self._collect(compute, prediction.labels(codes, model), labels)
        k = len(state["cluster_centers_"])
        used = np.isin(np.arange(k), _weighty(labels, weight))
        order = np.argsort(~used, kind="stable")
        place = np.argsort(order).astype(np.int32)
        names = ("cluster_centers_", "cluster_centers_decoded_")
        return {
            "labels_": place[labels],
            **{name: state[name][order] for name in names},
        }

    def _warn(self, labels, weight, fitted, history):
        n_found = len(np.unique(_weighty(labels, weight)))
        errors = history["reconstruction_loss"]
        to_lower = "learning_rate"
        if "cluster" in history["phase"]:
            to_lower += " or clustering_weight"
        messages = []
        if errors and errors[-1] > _NOTHING and errors[-1] > _WORSE * min(errors):
            messages.append(
                f"The reconstruction error has risen, from {min(errors):.3g} to "
                f"{errors[-1]:.3g}; lower {to_lower}."
            )
        elif errors and errors[-1] >= 1.0:
            messages.append(
                "In its last epoch the network reconstructed rows no better than their "
                f"mean does: the error is {errors[-1]:.3g} times their variance. "
                f"Train longer, or lower {to_lower}."
            )
            if not isinstance(self.encoder, str):
                messages[-1] += (
                    " Rows are centered, and a decoder that ends in ReLU or a sigmoid "
                    "makes no negative numbers."
                )
        if n_found < self.n_clusters:
            messages.append(
                distinct_clusters_message(
                    n_found,
                    self.n_clusters,
                    "to a few rows that lie far from all others, or to centers without "
                    "rows",
                )
            )
        if fitted.collapsed:
            messages = [
                f"The codes have collapsed, to variance {fitted.variance:.3g} and "
                f"{n_found} clusters; lower {to_lower}, or raise pretrain_epochs."
            ]
        for message in messages:
            warn(message, ConvergenceWarning)

    def _codes(self, X, state=None):
        """The device, the network, the codes of rows and the model that labels them."""
        state = vars(self) if state is None else state
        compute = self._compute(X, _WORK, fitted=True)
        encoder = _encoder(state, compute)
        compute = replace(compute, work=X.shape[0] * n_parameters(encoder.module))
        centers = compute.tensor(state["cluster_centers_"])
        codes = EncodedRows(to_rows(X, compute), encoder)
        assignment = ASSIGNMENTS[state["_assignment"]]
        model = Model(centers, state["temperature_"], assignment)
        return compute, encoder, codes, model

    def _ready(self, X):
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        return X, *self._codes(X)

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
        """Label of each row: the cluster with the nearest center.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        labels : ndarray of shape (n_samples,), int32
        """
        X, compute, _, codes, model = self._ready(X)
        labels = np.empty(X.shape[0], dtype=np.int32)
        return self._collect(compute, prediction.labels(codes, model), labels)

    def predict_proba(self, X):
        """Responsibilities: how much of each row belongs to each cluster.

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
            For sparse rows: scikit-learn's checks take whatever answers to
            `predict_proba` there for a classifier of their own classes.
        """
        check_is_fitted(self)
        if issparse(X):
            raise TypeError(
                "predict_proba takes dense rows, and X is sparse; use X.toarray()."
            )
        X, compute, _, codes, model = self._ready(X)
        whole = np.empty((X.shape[0], len(model.centers)), dtype=X.dtype)
        self._collect(compute, prediction.responsibilities(codes, model), whole.T)
        return whole

    def transform(self, X):
        """Codes of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        codes : ndarray of shape (n_samples, n_components)
        """
        X, compute, _, codes, _ = self._ready(X)
        whole = np.empty((X.shape[0], self._n_features_out), dtype=X.dtype)
        blocks = ((start, stop, block.t()) for start, stop, block in codes.blocks(1))
        self._collect(compute, blocks, whole.T)
        return whole

    def inverse_transform(self, X):
        """Rows that have these codes, as far as the decoder can tell.

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
            If the codes have another width.
        """
        check_is_fitted(self)
        codes = check_array(
            tensor_to_array(X, "X"), dtype=[np.float64, np.float32], order="C"
        )
        if codes.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {codes.shape[1]} columns, and codes have "
                f"{self._n_features_out}."
            )
        compute = self._compute(codes, _WORK, fitted=True)
        encoder = _encoder(vars(self), compute)
        compute = replace(compute, work=len(codes) * n_parameters(encoder.module))
        whole = np.empty((len(codes), len(self.mean_)), dtype=codes.dtype)
        blocks = (
            (start, stop, encoder.decode(block).t())
            for start, stop, block in to_rows(codes, compute).blocks(NETWORK_COLUMNS)
        )
        self._collect(compute, blocks, whole.T)
        return whole

    def score(self, X, y=None, sample_weight=None):
        """Minus the loss of rows: the higher, the better reconstructed and clustered.

        It tells how well other rows are served by one fit. It ranks no two fits: most
        parameters change what it measures, and the fit of the better score can have
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
        X, compute, encoder, codes, model = self._ready(X)
        weight, _ = check_sample_weight(sample_weight, X)
        weight = np.ones(X.shape[0]) if weight is None else weight
        unit = self._weight / self.code_variance_ if self.code_variance_ > 0 else 0.0
        losses = np.empty(X.shape[0])
        with torch_modes(), compute.limited_threads():
            for start, stop, errors, part in reconstruction_errors(codes.rows, encoder):
                pulls = code_distances(model.centers, part).amin(0)
                losses[start:stop] = (errors + unit * pulls).cpu().numpy()
        # A row without weight may be of any size, and its loss infinite.
        counts = weight > 0
        return -float(losses[counts] @ weight[counts] / weight.sum())


def _encoder(state, compute):
    mean, scale = scaling_tensors(state["mean_"], state["scale_"], compute)
    return make_encoder(state["autoencoder_"], mean, scale, compute)


def _weighty(labels, weight):
    """The labels of the rows that count: one without weight is as good as not there."""
    return labels if weight is None else labels[weight > 0]


def _present(training, data, plan):
    """Centers, temperature and variance of the codes while a fit goes on."""
    view = training.view
    if view is None:  # in pretraining: as if it had ended
        codes = encode_all(training.module, data)
        found = kmeans(codes, data.weight, plan.n_clusters, data.compute)
        view = look(codes, found, data, plan)
    return view.centers, view.temperature, view.variance
