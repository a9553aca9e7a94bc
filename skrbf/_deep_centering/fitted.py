"""Fitted attributes of a deep fit, predictions from them, and warnings about them."""

import copy
from dataclasses import replace

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from skrbf._base import distinct_clusters_message, warn
from skrbf._convert import scaling_tensors, to_rows, unscale
from skrbf.engine.data.scaling import Scaling
from skrbf.engine.deep import constants
from skrbf.engine.deep.fit import current_summary
from skrbf.engine.deep.predict import EncodedRows, n_parameters, prediction_module
from skrbf.engine.deep.state import ClusteringState
from skrbf.engine.kmeans import predict as prediction
from skrbf.ops.assignment import ASSIGNMENTS


def attributes_at(estimator, X, data, config, network, state):
    """Compute the attributes, except `history_` and `labels_`, at a state of a fit.

    They include the private ones for predictions and a warm start, such as the
    fingerprints of the network: later changes of parameters do not affect them.
    """
    summary = current_summary(state, data, config)
    mean, scale = (part.numpy().copy() for part in data.scaling)
    with torch.no_grad():
        decoded = state.module.eval().decode(summary.centers).cpu().numpy()
    return {
        "n_features_in_": X.shape[1],
        "autoencoder_": copy.deepcopy(state.module).cpu().eval(),
        "cluster_centers_": summary.centers.cpu().numpy().astype(X.dtype),
        "cluster_centers_decoded_": unscale(decoded, mean, scale, X.dtype),
        "temperature_": summary.temperature,
        "code_variance_": summary.variance,
        "mean_": mean,
        "scale_": scale,
        "n_iter_": state.epoch if isinstance(state, ClusteringState) else 0,
        "_assignment": estimator.assignment,
        "_clustering_weight": float(estimator.clustering_weight),
        "_network_fingerprints": network,
    }


def label_rows(estimator, X, weight, attributes):
    """Label rows, and order the centers: those without rows come last."""
    compute, codes, model = prediction_parts(estimator, X, attributes)
    labels = np.empty(X.shape[0], dtype=np.int32)
    estimator._collect(compute, prediction.labels(codes, model), labels)
    used = np.zeros(len(attributes["cluster_centers_"]), dtype=bool)
    used[labels_with_weight(labels, weight)] = True
    parts = torch.from_numpy(labels), torch.from_numpy(used)
    order, ordered_labels = prediction.order_empty_last(*parts)
    names = ("cluster_centers_", "cluster_centers_decoded_")
    return {
        "labels_": ordered_labels.numpy(),
        **{name: attributes[name][order.numpy()] for name in names},
    }


def labels_with_weight(labels, weight):
    """Select the labels of rows with a positive weight: other rows do not count."""
    return labels if weight is None else labels[weight > 0]


def prediction_parts(estimator, X, attributes):
    """Make a `Compute`, the encoded rows and the model of the clusters."""
    compute = estimator._compute(X, constants.NETWORK_WORK_PER_FEATURE, fitted=True)
    module, scaling = prediction_network(attributes, compute)
    compute = replace(compute, work=X.shape[0] * n_parameters(module))
    centers = compute.tensor(attributes["cluster_centers_"])
    assignment = ASSIGNMENTS[attributes["_assignment"]]
    model = prediction.Model(centers, attributes["temperature_"], assignment)
    return compute, EncodedRows(to_rows(X, compute), module, scaling), model


def prediction_network(attributes, compute):
    """Give the network and the scaling, on the device and in the dtype of the rows."""
    parts = scaling_tensors(attributes["mean_"], attributes["scale_"], compute)
    return prediction_module(attributes["autoencoder_"], compute), Scaling(*parts)


def warn_about_fit(estimator, weight, attributes, collapsed):
    """Warn about collapsed codes, or else poor reconstructions and empty clusters."""
    labels, history = attributes["labels_"], attributes["history_"]
    n_found = len(np.unique(labels_with_weight(labels, weight)))
    remedy = "lower learning_rate"
    if "cluster" in history["phase"]:
        remedy += " or clustering_weight"
    if collapsed:
        variance = attributes["code_variance_"]
        warn(
            f"The codes have collapsed, to variance {variance:.3g} and {n_found} "
            f"clusters; {remedy}, or raise pretrain_epochs.",
            ConvergenceWarning,
        )
        return
    message = _reconstruction_message(
        history["reconstruction_loss"], remedy, isinstance(estimator.encoder, str)
    )
    if message:
        warn(message, ConvergenceWarning)
    if n_found < estimator.n_clusters:
        reasons = (
            "to a few rows that lie far from all others, or to centers without rows"
        )
        message = distinct_clusters_message(n_found, estimator.n_clusters, reasons)
        warn(message, ConvergenceWarning)


def _reconstruction_message(errors, remedy, is_builtin):
    """Describe a reconstruction that is poor at the end; "" if it is not."""
    if not errors:
        return ""
    least, last = min(errors), errors[-1]
    risen = last > constants.RISEN_RECONSTRUCTION_RATIO * least
    if risen and last > constants.POOR_RECONSTRUCTION_ERROR:
        return (
            f"The reconstruction error has risen from {least:.3g} to {last:.3g}; "
            f"{remedy}."
        )
    if last < 1.0:
        return ""
    message = (
        "In its last epoch the network reconstructed rows no better than their mean: "
        f"the error is {last:.3g} times their variance. Train longer, or {remedy}."
    )
    if not is_builtin:
        message += (
            " Rows are centered, and a decoder that ends in ReLU or a sigmoid has no "
            "negative outputs."
        )
    return message
