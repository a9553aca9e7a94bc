"""Epochs of an autoencoder: those that pretrain it and those that cluster."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import starmap
from typing import NamedTuple

import torch
from torch import Tensor, nn

from skrbf.engine.centers import CenterRule, Clusters, kmeans, match, soft_means
from skrbf.engine.deep_data import DeepData
from skrbf.engine.predict import Model, labels
from skrbf.engine.train import Step
from skrbf.nn.autoencoder import DRAWN, Autoencoder, initialize
from skrbf.ops.assignment import ASSIGNMENTS, Assignment
from skrbf.ops.clustering import (
    CenteringLoss,
    assign_codes,
    scale_drift,
    shrink_and_perturb,
    spread,
    variance_share,
)
from skrbf.ops.distances import squared_distances


class NetPlan(NamedTuple):
    """How the network is trained."""

    pretrain_epochs: int
    batch_size: int
    learning_rate: float
    denoising: float  # share of the entries of a row that are masked in pretraining
    augment: Callable[[Tensor], Tensor] | None  # of rows as the network sees them


class ClusterPlan(NamedTuple):
    """How codes are clustered."""

    n_epochs: int
    n_clusters: int
    weight: float  # of the centering loss
    temperature: float  # relative to twice the largest variance of the codes
    assignment: Assignment
    loss: CenteringLoss
    through_weights: bool
    once_per_epoch: bool  # responsibilities, of all rows by the codes before
    rule: CenterRule
    reinit_interval: int | None
    regrow: bool  # K-means from a start of its own, not from the present centers
    weight_reset: float | None
    tol: float


class View(NamedTuple):
    """All codes between two epochs, and what follows from them."""

    codes: Tensor  # (m, c)
    centers: Tensor  # (k, c)
    variance: float
    temperature: float
    labels: Tensor  # (m,) int64


class Report(NamedTuple):
    """What an epoch came to."""

    phase: str  # "pretrain", "cluster"
    loss: float
    reconstruction_loss: float
    clustering_loss: float = math.nan  # this and what follows: of clustering
    scale_drift: float = math.nan
    label_change: float = math.nan  # share of the weight
    center_shift: float = math.nan  # root mean square, in deviations of the codes
    code_variance: float = math.nan
    largest_cluster: float = math.nan  # share of the weight
    temperature: float = math.nan
    learning_rate: float = math.nan  # of both phases
    seconds: float = math.nan


@dataclass
class Training:
    """A network in training. It changes in place: copy what is to be kept."""

    module: Autoencoder
    optimizer: torch.optim.Optimizer
    generator: torch.Generator  # of the CPU
    epoch: int = 0
    clusters: Clusters | None = None
    learned: nn.Parameter | None = None  # the centers, where the optimiser has them
    view: View | None = None
    report: Report | None = None
    began: float | None = None  # variance of the codes where clustering began


def start_training(
    module: Autoencoder,
    generator: torch.Generator,
    learning_rate: float,
    clusters: Clusters | None = None,
    *,
    learned: bool = False,
) -> Training:
    """A network and a fresh optimiser, which learns the centers as well if asked to."""
    parameters, own = list(module.parameters()), None
    if learned:
        assert clusters is not None
        own = nn.Parameter(clusters.centers.clone())
        parameters.append(own)
    fused = parameters[0].device.type in ("cpu", "cuda")
    optimizer = torch.optim.Adam(parameters, lr=learning_rate, fused=fused)
    return Training(module, optimizer, generator, clusters=clusters, learned=own)


def encode_all(module: Autoencoder, data: DeepData) -> Tensor:
    """Codes (m, c) of all rows, without dropout and the like."""
    module.eval()
    with torch.no_grad():
        return torch.cat([module.encode(rows) for rows in data.blocks()])


def pretraining(
    training: Training, data: DeepData, plan: NetPlan
) -> Iterator[Step[Training]]:
    """Epochs that lower the reconstruction error (eq-reconstruction)."""
    while True:
        began = time.perf_counter()
        training.module.train()
        total = data.rows.new_zeros(())
        for index, size in _batches(training, data, plan):
            rows = data.rows[index]  # (b, d)
            rows = rows if plan.augment is None else plan.augment(rows)
            seen = _masked(rows, plan.denoising, training.generator)
            back = training.module.decode(training.module.encode(seen))
            errors = (back - rows).square().mean(1)  # (b,)
            part = data.weight[index] @ errors
            _descend(training.optimizer, part / size)
            total += part.detach()
        training.epoch += 1
        error = float(total) / len(data.rows)
        if not are_finite(*training.module.parameters()):
            yield Step(training, math.nan)
        training.report = Report(
            "pretrain",
            loss=error,
            reconstruction_loss=error,
            learning_rate=plan.learning_rate,
            seconds=time.perf_counter() - began,
        )
        yield Step(training, error)


def clustering(
    training: Training, data: DeepData, net: NetPlan, plan: ClusterPlan
) -> Iterator[Step[Training]]:
    """Epochs that pull codes to their centers (eq-deep-objective)."""
    assert training.clusters is not None
    codes = encode_all(training.module, data)
    training.view = look(codes, training.clusters, data, plan)
    if training.began is None:
        training.began = training.view.variance
    while True:
        began = time.perf_counter()
        start, before = training.clusters, training.view.labels
        if _is_due(training, plan) and plan.weight_reset:
            _reset(training, data, plan)
        error, pull, drift = _clustering_epoch(training, data, net, plan)
        training.epoch += 1
        loss = error + plan.weight * (pull + drift)
        codes = encode_all(training.module, data)
        sound = are_finite(training.clusters.centers, *training.module.parameters())
        if not (sound and in_range(codes)):
            yield Step(training, math.nan)
        change, shift = _between_epochs(training, data, plan, codes, start, before)
        training.report = Report(
            "cluster",
            loss=loss,
            reconstruction_loss=error,
            clustering_loss=pull,
            scale_drift=drift,
            label_change=change,
            center_shift=shift,
            code_variance=training.view.variance,
            largest_cluster=largest_cluster(training.view, data, plan.n_clusters),
            temperature=training.view.temperature,
            learning_rate=net.learning_rate,
            seconds=time.perf_counter() - began,
        )
        yield Step(training, loss)


def in_range(codes: Tensor) -> bool:
    """Whether the squared distances of codes are finite numbers."""
    return are_finite((2 * codes).square().sum(1))


def are_finite(*tensors: Tensor) -> bool:
    """Whether all entries of all tensors are."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def _clustering_epoch(
    training: Training, data: DeepData, net: NetPlan, plan: ClusterPlan
) -> tuple[float, float, float]:
    """Mean reconstruction error, centering loss over the codes' variance, and drift."""
    training.module.train()
    view, clusters, began = training.view, training.clusters, training.began
    assert view is not None
    assert clusters is not None
    assert began is not None
    # Over the present variance, shrinking codes and centers would always gain the same.
    variance = began if plan.loss.holds_scale else view.variance
    unit = 1.0 / variance if variance > 0 else 0.0  # without any, all are at a center
    whole = variance_share(data.weight)
    total = data.rows.new_zeros(3)
    for index, size in _batches(training, data, net):
        weight, rows = data.weight[index], data.rows[index]  # (b,), (b, d)
        b = len(rows)
        if net.augment is not None:
            rows = torch.cat([rows, net.augment(rows)])  # (2 b, d)
        codes = training.module.encode(rows)
        errors = (training.module.decode(codes) - rows).square().mean(1)
        centers = clusters.centers if training.learned is None else training.learned
        distances = _distances(centers, codes)  # (k, 2 b) or (k, b)
        r = _responsibilities(distances[:, :b], index, view, plan)  # (k, b)
        everywhere, share = r, weight
        if net.augment is not None:  # what is made of a row belongs where the row does
            everywhere, share = torch.cat([r, r], 1), torch.cat([weight, weight]) / 2
        pull = share @ plan.loss.function(codes, centers, distances, everywhere)
        drift = pull.new_zeros(())
        if plan.loss.holds_scale and variance > 0 and b > 1:
            expected = variance * variance_share(weight) / whole
            drift = weight.sum() * scale_drift(codes[:b], weight, expected)
        parts = torch.stack([share @ errors, unit * pull, drift])
        loss = parts[0] + plan.weight * (parts[1] + parts[2])
        _descend(training.optimizer, loss / size)
        total += parts.detach()
        clusters = plan.rule.after_batch(
            clusters, codes[:b].detach(), r.detach(), weight
        )
    if training.learned is not None:
        clusters = clusters._replace(centers=training.learned.detach().clone())
    training.clusters = clusters
    error, pull, drift = (total / len(data.rows)).tolist()
    return error, pull, drift


def _distances(centers: Tensor, codes: Tensor) -> Tensor:
    """Squared distances (k, m), to all digits wherever the origin of the codes is."""
    origin = centers.detach().mean(0)
    return squared_distances(centers - origin, codes - origin)


def _responsibilities(
    distances: Tensor, index: Tensor, view: View, plan: ClusterPlan
) -> Tensor:
    """Those of a batch (k, b): of the codes before, held, or differentiated through."""
    if plan.once_per_epoch:
        distances = _distances(view.centers, view.codes[index])
    elif not plan.through_weights:
        distances = distances.detach()
    return assign_codes(distances, view.temperature, plan.assignment)


def _between_epochs(
    training: Training,
    data: DeepData,
    plan: ClusterPlan,
    codes: Tensor,
    start: Clusters,
    before: Tensor,
) -> tuple[float, float]:
    """Move the centers as the plan has it and look at all codes.

    Parameters
    ----------
    start, before
        Clusters and labels (m,) after the last epoch.

    Returns
    -------
    label_change, center_shift : float
    """
    view, clusters = training.view, training.clusters
    assert view is not None
    assert clusters is not None
    if plan.rule.soft_means:
        clusters = _soft_means(clusters, codes, view, data, plan)
    if _is_due(training, plan):
        clusters = _reinitialized(codes, clusters, before, data, plan)
    _set_clusters(training, clusters, plan)
    training.view = look(codes, clusters, data, plan)
    changed = training.view.labels != before  # (m,)
    change = float(data.weight[changed].sum() / data.weight.sum())
    shift = (clusters.centers - start.centers).square().sum(1).mean()
    deviation = training.view.variance**0.5
    return change, float(shift) ** 0.5 / deviation if deviation > 0 else 0.0


def _soft_means(
    clusters: Clusters, codes: Tensor, view: View, data: DeepData, plan: ClusterPlan
) -> Clusters:
    """Means of the codes by their responsibilities, or by those of the codes before."""
    held = plan.once_per_epoch
    centers, seen = (view.centers, view.codes) if held else (clusters.centers, codes)

    def responsible(
        codes: Tensor, seen: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        r = assign_codes(_distances(centers, seen), view.temperature, plan.assignment)
        return codes, r, weight  # (b, c), (k, b), (b,)

    size = data.compute.block_rows(plan.n_clusters)
    parts = zip(
        codes.split(size), seen.split(size), data.weight.split(size), strict=True
    )
    return soft_means(clusters, starmap(responsible, parts))


def _is_due(training: Training, plan: ClusterPlan) -> bool:
    """Whether K-means comes after the epochs so far: at its interval, or at their end.

    A fit that ends before has settled: for an interval labels have hardly changed.
    """
    interval = plan.reinit_interval
    if interval is None or training.epoch == 0:
        return False
    return training.epoch % interval == 0 or training.epoch == plan.n_epochs


def end_with_kmeans(training: Training, data: DeepData, plan: ClusterPlan) -> None:
    """K-means after the last epoch, of a fit that had more of them before it.

    Where it was done already, nothing changes.
    """
    view, clusters = training.view, training.clusters
    assert view is not None
    assert clusters is not None
    if _is_due(training, plan):
        clusters = _reinitialized(view.codes, clusters, view.labels, data, plan)
        training.clusters = clusters
        training.view = look(view.codes, clusters, data, plan)


def _set_clusters(training: Training, clusters: Clusters, plan: ClusterPlan) -> None:
    if training.learned is not None and clusters is not training.clusters:
        training.learned.data.copy_(clusters.centers)
        training.optimizer.state.pop(training.learned, None)
    training.clusters = clusters


def _reset(training: Training, data: DeepData, plan: ClusterPlan) -> None:
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
    _set_clusters(training, clusters, plan)
    training.view = look(codes, clusters, data, plan)


def nearest_centers(codes: Tensor, centers: Tensor, data: DeepData) -> Tensor:
    """Labels (m,) int64 of codes, block by block."""
    rows, hard = data.compute.dense(codes), Model(centers, 0.0, ASSIGNMENTS["softmax"])
    return torch.cat([label for _, _, label in labels(rows, hard)])


def _reinitialized(
    codes: Tensor, clusters: Clusters, before: Tensor, data: DeepData, plan: ClusterPlan
) -> Clusters:
    """Centers by K-means, in the order of the labels that they inherit."""
    start = None if plan.regrow else clusters.centers
    found = kmeans(codes, data.weight, plan.n_clusters, data.compute, start)
    after = nearest_centers(codes, found.centers, data)  # (m,)
    order = match(before, after, data.weight, plan.n_clusters)
    return Clusters(found.centers[order], found.mass[order])


def look(codes: Tensor, clusters: Clusters, data: DeepData, plan: ClusterPlan) -> View:
    """Variance, temperature (eq-code-temperature) and labels of all codes."""
    variance, largest = spread(codes.to(data.compute.accumulate), data.weight)
    temperature = 2.0 * plan.temperature * largest
    if temperature <= torch.finfo(codes.dtype).eps * variance:
        temperature = 0.0
    nearest = nearest_centers(codes, clusters.centers, data)
    return View(codes, clusters.centers, variance, temperature, nearest)


def largest_cluster(view: View, data: DeepData, n_clusters: int) -> float:
    """Share of the weight that the largest cluster has: 1 where all have collapsed."""
    counts = torch.bincount(
        view.labels.cpu(), data.weight.cpu().double(), n_clusters
    )  # (k,)
    return float(counts.max() / counts.sum())


def reset_weights(
    module: Autoencoder, generator: torch.Generator, share: float
) -> None:
    """Move the encoder but its last layer toward a fresh draw (eq-weight-reset).

    Parameters
    ----------
    module : Module
        Has an `encoder`.
    share : float
        Of the fresh draw in the result.
    """
    encoder, fresh = module.encoder, copy.deepcopy(module.encoder).cpu()
    initialize(fresh, generator)
    pairs = [
        pair
        for pair in zip(encoder.modules(), fresh.modules(), strict=True)
        if isinstance(pair[0], DRAWN)
    ]
    for layer, drawn in pairs[:-1]:
        for old, new in zip(layer.parameters(), drawn.parameters(), strict=True):
            old.data.copy_(shrink_and_perturb(old.data, new.data.to(old), share))


def _batches(
    training: Training, data: DeepData, plan: NetPlan
) -> Iterator[tuple[Tensor, int]]:
    """Numbers of the rows of each batch, and the size that a loss is divided by.

    The last batch may be smaller, and then its step is by as much less. A last row
    alone joins the batch before: layers that normalise a batch cannot take it.
    """
    n_rows = len(data.rows)
    size = min(plan.batch_size, n_rows)
    order = torch.randperm(n_rows, generator=training.generator)
    order = order.to(data.rows.device)
    alone = n_rows % size == 1 < size < n_rows
    sizes = [size] * (n_rows // size - alone)
    sizes.append(n_rows - sum(sizes))
    for index in order.split([each for each in sizes if each]):
        yield index, size


def _masked(rows: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Rows with a share of their entries set to 0, which is their mean."""
    if share == 0:
        return rows
    drawn = torch.rand(rows.shape, generator=generator, dtype=torch.float32)
    return rows * (drawn >= share).to(rows)


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
