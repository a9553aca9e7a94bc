"""Warnings about the result of a deep fit."""

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skrbf._base import distinct_clusters_message, warn
from skrbf._deep_centering.fitted import labels_with_weight
from skrbf.engine.deep.constants import (
    POOR_RECONSTRUCTION_ERROR,
    RISEN_RECONSTRUCTION_RATIO,
)


def warn_about_fit(estimator, weight, attributes, collapsed):
    """Warn about collapsed codes, poor reconstructions and empty clusters.

    Parameters
    ----------
    estimator : DeepCenteringClustering
    weight : ndarray of shape (n_samples,) or None
    attributes : dict
        Fitted attributes.
    collapsed : bool
        Whether the codes have collapsed. This is the only warning then.
    """
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
    """Describe a reconstruction that is poor at the end; "" if it is not.

    Parameters
    ----------
    errors : list of float
        Reconstruction error of every epoch.
    remedy : str
    is_builtin : bool
        Whether the network is built in.
    """
    if not errors:
        return ""
    least, last = min(errors), errors[-1]
    if last > POOR_RECONSTRUCTION_ERROR and last > RISEN_RECONSTRUCTION_RATIO * least:
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
