"""Epochs of an autoencoder: those that pretrain it and those that cluster."""

import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from skrbf.engine.data.training_data import TrainingData
from skrbf.engine.deep.reclustering import (
    between_epochs,
    code_distances,
    encode_all,
    is_due,
    largest_cluster,
    moves,
    reset,
)
from skrbf.engine.deep.state import ClusterPlan, NetPlan, Training, View
from skrbf.engine.training.loop import Step
from skrbf.engine.training.records import Record
from skrbf.nn.autoencoder import Autoencoder
from skrbf.ops.clustering import assign_codes, scale_penalty, variance_share


def pretraining(
    training: Training, data: TrainingData, plan: NetPlan
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
        training.report = Record(
            "pretrain",
            loss=error,
            reconstruction_loss=error,
            learning_rate=plan.learning_rate,
            seconds=time.perf_counter() - began,
        )
        yield Step(training, error)


def clustering(
    training: Training, data: TrainingData, net: NetPlan, plan: ClusterPlan
) -> Iterator[Step[Training]]:
    """Epochs that pull codes to their centers (eq-deep-objective)."""
    assert training.clusters is not None
    while True:
        began = time.perf_counter()
        training.before = training.view
        if is_due(training, plan) and plan.weight_reset:
            reset(training, data, plan)
        error, pull, drift = _clustering_epoch(training, data, net, plan)
        training.epoch += 1
        loss = error + plan.weight * (pull + drift)
        codes = encode_all(training.module, data)
        centers = training.clusters.centers
        if not (in_range(codes) and decodes_in_range(training.module, centers)):
            yield Step(training, math.nan)
        between_epochs(training, data, plan, codes)
        assert training.view is not None
        change, shift = moves(training, data)
        training.report = Record(
            "cluster",
            loss=loss,
            reconstruction_loss=error,
            clustering_loss=pull,
            scale_penalty=drift,
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


def decodes_in_range(module: Autoencoder, centers: Tensor) -> bool:
    """Whether the rows that centers decode to are: bounded codes always are."""
    module.eval()
    with torch.no_grad():
        return in_range(module.decode(centers))


def are_finite(*tensors: Tensor) -> bool:
    """Whether all entries of all tensors are."""
    # One pass, in which NaN is least and largest; isfinite takes ten times as long.
    ends = (torch.stack(tensor.aminmax()) for tensor in tensors if tensor.numel())
    return all(bool(torch.isfinite(both).all()) for both in ends)


def _clustering_epoch(
    training: Training, data: TrainingData, net: NetPlan, plan: ClusterPlan
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
        distances = code_distances(centers, codes)  # (k, 2 b) or (k, b)
        r = _responsibilities(distances[:, :b], index, view, plan)  # (k, b)
        everywhere, share = r, weight
        if net.augment is not None:  # what is made of a row belongs where the row does
            everywhere, share = torch.cat([r, r], 1), torch.cat([weight, weight]) / 2
        pull = share @ plan.loss.function(codes, centers, distances, everywhere)
        drift = pull.new_zeros(())
        if plan.loss.holds_scale and variance > 0 and b > 1:
            expected = variance * variance_share(weight) / whole
            drift = weight.sum() * scale_penalty(codes[:b], weight, expected)
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


def _responsibilities(
    distances: Tensor, index: Tensor, view: View, plan: ClusterPlan
) -> Tensor:
    """Those of a batch (k, b): of the codes before, held, or differentiated through."""
    if plan.once_per_epoch:
        distances = code_distances(view.centers, view.codes[index])
    elif not plan.through_weights:
        distances = distances.detach()
    return assign_codes(distances, view.temperature, plan.assignment)


def _batches(
    training: Training, data: TrainingData, plan: NetPlan
) -> Iterator[tuple[Tensor, int]]:
    """Numbers of the rows of each batch, and the size that a loss is divided by.

    The last batch may be smaller, and then its step is by as much less. A last row
    alone joins the batch before: layers that normalize a batch cannot take it.
    """
    n_rows = len(data.rows)
    size = min(plan.batch_size, n_rows)
    order = torch.randperm(n_rows, generator=training.generator, device="cpu")
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
    drawn = torch.rand(
        rows.shape, generator=generator, dtype=torch.float32, device="cpu"
    )
    return rows * (drawn >= share).to(rows)


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
