"""Fitted attributes of a deep fit, and the model for predictions from them."""

import copy
from dataclasses import replace

import numpy as np
import torch

from skrbf._convert import scaling_tensors, to_rows, unscale
from skrbf.engine.data.scaling import Scaling
from skrbf.engine.deep.constants import NETWORK_WORK_PER_FEATURE
from skrbf.engine.deep.fit import current_summary
from skrbf.engine.deep.predict import EncodedRows, n_parameters, prediction_module
from skrbf.engine.deep.state import ClusteringState
from skrbf.engine.kmeans import predict as prediction
from skrbf.engine.kmeans.predict import Model, order_empty_last
from skrbf.ops.assignment import ASSIGNMENTS


def attributes_at(estimator, X, data, config, network, state):
    """Compute the attributes, except `history_` and `labels_`, at a state of a fit.

    Parameters
    ----------
    estimator : DeepCenteringClustering
    X : array or CSR matrix of shape (n_samples, n_features)
        Validated rows.
    data : TrainingData
    config : ClusteringConfig
    network : dict of str to str
        Fingerprints of the parameters of the network, for a warm start.
    state : PretrainingState or ClusteringState

    Returns
    -------
    attributes : dict
        Includes the private ones for predictions and a warm start: later changes of
        parameters do not affect them.
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
        "_weight": float(estimator.clustering_weight),
        "_network": network,
    }


def label_rows(estimator, X, weight, attributes):
    """Label rows, and order the centers: those without rows come last.

    Parameters
    ----------
    estimator : DeepCenteringClustering
    X : array or CSR matrix of shape (n_samples, n_features)
        Validated rows.
    weight : ndarray of shape (n_samples,) or None
    attributes : dict
        Fitted attributes without labels.

    Returns
    -------
    attributes : dict
        `labels_` and the ordered centers.
    """
    compute, codes, model = prediction_parts(estimator, X, attributes)
    labels = np.empty(X.shape[0], dtype=np.int32)
    estimator._collect(compute, prediction.labels(codes, model), labels)
    used = np.zeros(len(attributes["cluster_centers_"]), dtype=bool)
    used[labels_with_weight(labels, weight)] = True
    parts = torch.from_numpy(labels), torch.from_numpy(used)
    order, ordered_labels = order_empty_last(*parts)
    names = ("cluster_centers_", "cluster_centers_decoded_")
    return {
        "labels_": ordered_labels.numpy(),
        **{name: attributes[name][order.numpy()] for name in names},
    }


def labels_with_weight(labels, weight):
    """Select the labels of rows with a positive weight: other rows do not count.

    Parameters
    ----------
    labels : ndarray of shape (n_samples,)
    weight : ndarray of shape (n_samples,) or None
    """
    return labels if weight is None else labels[weight > 0]


def prediction_parts(estimator, X, attributes):
    """Make the parts of a prediction.

    Parameters
    ----------
    estimator : DeepCenteringClustering
    X : array or CSR matrix of shape (n_samples, n_features)
        Validated rows.
    attributes : dict
        Fitted attributes.

    Returns
    -------
    compute : Compute
    codes : EncodedRows
    model : Model
    """
    compute = estimator._compute(X, NETWORK_WORK_PER_FEATURE, fitted=True)
    module, scaling = prediction_network(attributes, compute)
    compute = replace(compute, work=X.shape[0] * n_parameters(module))
    centers = compute.tensor(attributes["cluster_centers_"])
    assignment = ASSIGNMENTS[attributes["_assignment"]]
    model = Model(centers, attributes["temperature_"], assignment)
    return compute, EncodedRows(to_rows(X, compute), module, scaling), model


def prediction_network(attributes, compute):
    """Give the network and the scaling, on the device and in the dtype of the rows.

    Parameters
    ----------
    attributes : dict
        Fitted attributes.
    compute : Compute
    """
    parts = scaling_tensors(attributes["mean_"], attributes["scale_"], compute)
    return prediction_module(attributes["autoencoder_"], compute), Scaling(*parts)
