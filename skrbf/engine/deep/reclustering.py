"""K-means and weight resets between two epochs of clustering."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skrbf.engine.data.training_data import TrainingData
from skrbf.engine.deep.center_updates import kmeans_centers, match_labels
from skrbf.engine.deep.codes import encode_all, label_codes, summarize_codes
from skrbf.engine.deep.config import ClusteringConfig
from skrbf.engine.deep.constants import MIN_SETTLED_EPOCHS
from skrbf.engine.deep.state import ClusteringState
from skrbf.nn.autoencoder import RESETTABLE_LAYERS, Autoencoder, initialize
from skrbf.ops.centering import shrink_and_perturb


def should_recluster(epoch: int, config: ClusteringConfig) -> bool:
    """Tell whether K-means follows an epoch: at its interval, or at the last epoch.

    K-means also follows an epoch after which the labels have settled, see
    `recluster_at_end`.
    """
    interval = config.reinit_interval
    if interval is None or epoch == 0:
        return False
    return epoch % interval == 0 or epoch == config.n_epochs


def have_settled(label_changes: Sequence[float], config: ClusteringConfig) -> bool:
    """Tell whether labels hardly changed in the last epochs, by the changes of all."""
    interval = config.reinit_interval or 0
    n_last = max(MIN_SETTLED_EPOCHS, interval)
    # A reset is there to change labels that have settled: epochs before the first reset
    # do not count.
    counted = label_changes[interval:] if config.weight_reset else label_changes
    last = counted[-n_last:]
    return len(last) == n_last and all(change < config.tol for change in last)


def recluster(
    codes: Tensor,
    centers: Tensor,
    labels: Tensor,
    data: TrainingData,
    config: ClusteringConfig,
) -> tuple[Tensor, Tensor]:
    """Compute centers (k, c) and their weights (k,) by K-means of codes (m, c).

    K-means starts from the centers given, unless it grows them. Their order is that of
    the labels (m,) that they inherit.
    """
    start = None if config.grow_centers else centers
    k = config.n_clusters
    centers, weights = kmeans_centers(codes, data.weight, k, data.compute, start)
    order = match_labels(labels, label_codes(codes, centers, data), data.weight, k)
    return centers[order], weights[order]


def recluster_at_end(
    state: ClusteringState, data: TrainingData, config: ClusteringConfig
) -> ClusteringState:
    """Run K-means after an epoch that turned out to be the last.

    Nothing changes if K-means has followed this epoch already.
    """
    if config.reinit_interval is None:
        return state
    codes, before = state.summary.codes, state.summary
    centers, weights = recluster(codes, before.centers, before.labels, data, config)
    summary = summarize_codes(codes, centers, weights, data, config)
    return state._replace(summary=summary)


def set_learned_centers(state: ClusteringState, centers: Tensor) -> None:
    """Set the centers in the optimizer, if it trains any, and forget their moments."""
    if state.learned_centers is not None:
        state.learned_centers.data.copy_(centers)
        state.optimizer.state.pop(state.learned_centers, None)


def reset_encoder(
    state: ClusteringState,
    data: TrainingData,
    config: ClusteringConfig,
    fraction: float,
) -> ClusteringState:
    """Continue from partly reset weights, and from K-means on their codes.

    This happens before an epoch, so that a fit never ends with untrained weights.
    """
    reset_weights(state.module, state.generator, fraction)
    state.optimizer.state.clear()
    codes, before = encode_all(state.module, data), state.summary
    centers, weights = recluster(codes, before.centers, before.labels, data, config)
    set_learned_centers(state, centers)
    summary = summarize_codes(codes, centers, weights, data, config)
    return state._replace(summary=summary)


def reset_weights(
    module: Autoencoder, generator: torch.Generator, fraction: float
) -> None:
    """Move the encoder except its last layer toward a fresh draw (eq-weight-reset).

    The result has the fraction `fraction` of the fresh draw. Frozen weights stay as
    they are.
    """
    encoder, fresh = module.encoder, copy.deepcopy(module.encoder).cpu()
    initialize(fresh, generator)
    pairs = zip(resettable_layers(encoder), resettable_layers(fresh), strict=True)
    for layer, fresh_layer in pairs:
        parameters = zip(layer.parameters(), fresh_layer.parameters(), strict=True)
        for old, new in parameters:
            if old.requires_grad:
                old.data.copy_(shrink_and_perturb(old.data, new.data.to(old), fraction))


def resettable_layers(encoder: nn.Module) -> Sequence[nn.Module]:
    """List the layers of an encoder that a reset changes: all but the last."""
    return [m for m in encoder.modules() if isinstance(m, RESETTABLE_LAYERS)][:-1]
