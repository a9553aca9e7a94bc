"""Between two epochs of a deep fit: new centers, and a look at all codes."""

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from skrbf.engine.data.training_data import TrainingData
from skrbf.engine.deep.center_updates import Clusters, Part, kmeans, match
from skrbf.engine.deep.predict import network_blocks
from skrbf.engine.deep.state import ClusterPlan, Training, View
from skrbf.engine.kmeans.predict import Model, labels
from skrbf.nn.autoencoder import DRAWN, Autoencoder, initialize
from skrbf.ops.assignment import ASSIGNMENTS
from skrbf.ops.clustering import assign_codes, shrink_and_perturb, spread
from skrbf.ops.distances import squared_distances


def encode_all(module: Autoencoder, data: TrainingData) -> Tensor:
    """Codes (m, c) of all rows, without dropout and the like."""
    module.eval()
    with torch.no_grad():
        return torch.cat([module.encode(rows) for rows in network_blocks(data)])


def code_distances(centers: Tensor, codes: Tensor) -> Tensor:
    """Squared distances (k, m), to all digits wherever the origin of the codes is."""
    origin = centers.detach().mean(0)
    return squared_distances(centers - origin, codes - origin)


def begin(
    training: Training, data: TrainingData, plan: ClusterPlan, codes: Tensor
) -> None:
    """Look at the codes that clustering starts with."""
    assert training.clusters is not None
    training.view = look(codes, training.clusters, data, plan)
    training.began = training.view.variance


def between_epochs(
    training: Training, data: TrainingData, plan: ClusterPlan, codes: Tensor
) -> None:
    """Move the centers as the plan has it and look at all codes."""
    view, clusters, before = training.view, training.clusters, training.before
    assert view is not None
    assert clusters is not None
    assert before is not None
    if plan.rule.after_epoch is not None:
        parts = _responsible(clusters, codes, view, data, plan)
        clusters = plan.rule.after_epoch(clusters, parts)
    if is_due(training, plan):
        clusters = _reinitialized(codes, clusters, before.labels, data, plan)
    _set_clusters(training, clusters)
    training.view = look(codes, clusters, data, plan)


def moves(training: Training, data: TrainingData) -> tuple[float, float]:
    """What an epoch has changed: label_change and center_shift."""
    view, before = training.view, training.before
    assert view is not None
    assert before is not None
    weight = data.weight.cpu().double()
    changed = (view.labels != before.labels).cpu()  # (m,)
    change = float(weight[changed].sum() / weight.sum())
    shift = (view.centers - before.centers).square().sum(1).mean()
    deviation = view.variance**0.5
    return change, float(shift) ** 0.5 / deviation if deviation > 0 else 0.0


def _responsible(
    clusters: Clusters, codes: Tensor, view: View, data: TrainingData, plan: ClusterPlan
) -> Iterator[Part]:
    """All codes with their responsibilities, or with those of the codes before."""
    held = plan.once_per_epoch
    centers, seen = (view.centers, view.codes) if held else (clusters.centers, codes)
    size = data.compute.block_rows(plan.n_clusters)
    tables = (codes, seen, data.weight)
    for part, by, weight in zip(*(t.split(size) for t in tables), strict=True):
        distances = code_distances(centers, by)  # (k, b)
        yield part, assign_codes(distances, view.temperature, plan.assignment), weight


def is_due(training: Training, plan: ClusterPlan) -> bool:
    """Whether K-means comes after the epochs so far: at its interval, or at their end.

    After labels that have settled it comes as well, by `end_with_kmeans`.
    """
    interval = plan.reinit_interval
    if interval is None or training.epoch == 0:
        return False
    return training.epoch % interval == 0 or training.epoch == plan.n_epochs


def end_with_kmeans(training: Training, data: TrainingData, plan: ClusterPlan) -> None:
    """K-means after an epoch that turned out to be the last.

    Where it was done already, nothing changes. The report keeps the change of labels
    by which the epoch was the last.
    """
    if plan.reinit_interval is None or training.epoch == 0:
        return
    view, clusters = training.view, training.clusters
    assert view is not None
    assert clusters is not None
    clusters = _reinitialized(view.codes, clusters, view.labels, data, plan)
    training.clusters = clusters
    training.view = look(view.codes, clusters, data, plan)
    if training.report is not None:
        training.report = training.report._replace(
            center_shift=moves(training, data)[1],
            largest_cluster=largest_cluster(training.view, data, plan.n_clusters),
        )


def _set_clusters(training: Training, clusters: Clusters) -> None:
    if training.learned is not None and clusters is not training.clusters:
        training.learned.data.copy_(clusters.centers)
        training.optimizer.state.pop(training.learned, None)
    training.clusters = clusters


def reset(training: Training, data: TrainingData, plan: ClusterPlan) -> None:
    """Go on from weights that are partly drawn anew, and K-means on their codes.

    Between two epochs, so that a fit never ends with weights that were not trained.
    """
    assert training.clusters is not None
    assert training.view is not None
    assert plan.weight_reset is not None
    reset_weights(training.module, training.generator, plan.weight_reset)
    training.optimizer.state.clear()
    codes = encode_all(training.module, data)
    before = training.view.labels
    clusters = _reinitialized(codes, training.clusters, before, data, plan)
    _set_clusters(training, clusters)
    training.view = look(codes, clusters, data, plan)


def nearest_centers(codes: Tensor, centers: Tensor, data: TrainingData) -> Tensor:
    """Labels (m,) int64 of codes, block by block."""
    rows, hard = data.compute.dense(codes), Model(centers, 0.0, ASSIGNMENTS["softmax"])
    return torch.cat([label for _, _, label in labels(rows, hard)])


def _reinitialized(
    codes: Tensor,
    clusters: Clusters,
    before: Tensor,
    data: TrainingData,
    plan: ClusterPlan,
) -> Clusters:
    """Centers by K-means, in the order of the labels that they inherit."""
    start = None if plan.regrow else clusters.centers
    found = kmeans(codes, data.weight, plan.n_clusters, data.compute, start)
    after = nearest_centers(codes, found.centers, data)  # (m,)
    order = match(before, after, data.weight, plan.n_clusters)
    return Clusters(found.centers[order], found.mass[order])


def look(
    codes: Tensor, clusters: Clusters, data: TrainingData, plan: ClusterPlan
) -> View:
    """Variance, temperature (eq-code-temperature) and labels of all codes."""
    variance, largest = spread(codes.to(data.compute.accumulate), data.weight)
    temperature = 2.0 * plan.temperature * largest
    if temperature <= torch.finfo(codes.dtype).eps * variance:
        temperature = 0.0
    nearest = nearest_centers(codes, clusters.centers, data)
    return View(codes, clusters.centers, variance, temperature, nearest)


def largest_cluster(view: View, data: TrainingData, n_clusters: int) -> float:
    """Share of the weight that the largest cluster has: 1 where all have collapsed."""
    counts = torch.bincount(
        view.labels.cpu(), data.weight.cpu().double(), n_clusters
    )  # (k,)
    return float(counts.max() / counts.sum())


def reset_weights(
    module: Autoencoder, generator: torch.Generator, share: float
) -> None:
    """Move the encoder but its last layer toward a fresh draw (eq-weight-reset).

    Weights that are frozen stay as they are.

    Parameters
    ----------
    module : Module
        Has an `encoder`.
    share : float
        Of the fresh draw in the result.
    """
    encoder, fresh = module.encoder, copy.deepcopy(module.encoder).cpu()
    initialize(fresh, generator)
    pairs = zip(reset_layers(encoder), reset_layers(fresh), strict=True)
    for layer, drawn in pairs:
        for old, new in zip(layer.parameters(), drawn.parameters(), strict=True):
            if old.requires_grad:
                old.data.copy_(shrink_and_perturb(old.data, new.data.to(old), share))


def reset_layers(encoder: nn.Module) -> Sequence[nn.Module]:
    """The layers of an encoder whose weights a reset draws: all but the last."""
    return [layer for layer in encoder.modules() if isinstance(layer, DRAWN)][:-1]
