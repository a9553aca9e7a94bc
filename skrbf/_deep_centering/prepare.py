"""Rows, network and checkpoint that a deep fit starts from."""

import copy

import numpy as np
import torch
from scipy.sparse import issparse

from skrbf._base import draw_seed
from skrbf._convert import to_rows
from skrbf._deep_centering.fingerprint import check_same_network, fit_fingerprints
from skrbf._deep_centering.network import (
    build_module,
    check_module,
    warn_if_untrained,
)
from skrbf._deep_centering.parameters import check_parameters
from skrbf.engine.data.training_data import prepare
from skrbf.engine.deep.checkpoint import Checkpoint, NoCheckpoint
from skrbf.engine.deep.constants import NETWORK_WORK_PER_FEATURE
from skrbf.engine.training.rng import scoped_rng


def prepare_fit(estimator, X, weight):
    """Prepare the rows to train on, and the network to start from.

    Returns
    -------
    data : TrainingData
    module : Module
        On the device of the data.
    generator : torch.Generator
        On the CPU.
    pretrained : bool
        Whether pretraining is skipped.
    centers : Tensor of shape (n_clusters, n_components) or None
        Centers of the last fit, in a warm start with as many.
    """
    n_features = X.shape[1]
    continues = estimator.warm_start and hasattr(estimator, "autoencoder_")
    _check_fit(estimator, *X.shape, continues)
    host = estimator._compute(X, 1, device="cpu")
    data, _ = prepare(
        to_rows(X.toarray() if issparse(X) else X, host),
        None,
        None if weight is None else torch.from_numpy(weight),
        estimator._compute(X, NETWORK_WORK_PER_FEATURE, dtype=np.float32),
        scaling=estimator._scaling() if continues else None,
    )
    seed = draw_seed(estimator.random_state)
    generator = torch.Generator().manual_seed(seed)
    if continues:
        module, pretrained = copy.deepcopy(estimator.autoencoder_), True
    else:
        module, pretrained = build_module(estimator, n_features, generator)
    module = module.to(data.rows.device, data.rows.dtype)
    batch = data.rows[: int(estimator.batch_size)]
    with scoped_rng(seed, data.rows.device):  # lazy layers draw at their first use
        check_module(estimator, module, batch, host.dtype, pretrained)
    if pretrained and not continues:
        warn_if_untrained(estimator, module, data)
    centers = None
    shape = (estimator.n_clusters, estimator.n_components)
    if continues and estimator.cluster_centers_.shape == shape:
        centers = data.rows.new_tensor(estimator.cluster_centers_)
    return data, module, generator, pretrained, centers


def _check_fit(estimator, n_samples, n_features, continues):
    """Raise an error if parameters, rows and the last fit do not match."""
    if n_samples < estimator.n_clusters:
        raise ValueError(
            f"n_samples={n_samples} should be >= n_clusters={estimator.n_clusters}."
        )
    check_parameters(estimator, n_features)
    if not continues:
        return
    if n_features != len(estimator.mean_):
        raise ValueError(
            f"X has {n_features} features, but warm_start=True continues a fit with "
            f"{len(estimator.mean_)}."
        )
    check_same_network(estimator, estimator._network_fingerprints)


def open_checkpoint(estimator, data, module, pretrained):
    """Open the checkpoint of a fit, and check that the fit may resume from it."""
    if estimator.checkpoint is None:
        return NoCheckpoint()
    fingerprints = fit_fingerprints(estimator, data, module, pretrained)
    checkpoint = Checkpoint(estimator.checkpoint, fingerprints)
    saved, max_iter = checkpoint.saved, estimator.max_iter
    if saved and saved["phase"] == "cluster" and saved["epoch"] > max_iter:
        raise ValueError(
            f"checkpoint={str(estimator.checkpoint)!r} holds {saved['epoch']} epochs "
            f"of clustering, more than max_iter={max_iter}."
        )
    return checkpoint
