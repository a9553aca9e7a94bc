"""Epochs of an autoencoder: those of pretraining and those of clustering."""

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from skrbf.engine.data.training_data import TrainingData
from skrbf.engine.deep import reclustering
from skrbf.engine.deep.center_updates import CodeBlock
from skrbf.engine.deep.codes import (
    are_finite,
    are_in_range,
    code_distances,
    decode_in_range,
    encode_all,
    label_and_center_change,
    largest_cluster_fraction,
    summarize_codes,
)
from skrbf.engine.deep.config import ClusteringConfig, TrainingConfig
from skrbf.engine.deep.state import ClusteringState, CodeSummary, PretrainingState
from skrbf.engine.training.batches import shuffled_batches
from skrbf.engine.training.loop import Step
from skrbf.engine.training.records import Record
from skrbf.engine.training.rng import draw_seed, scoped_rng
from skrbf.ops.centering import assign_codes, finite_sample_correction, scale_penalty


def pretraining(
    state: PretrainingState, data: TrainingData, config: TrainingConfig
) -> Iterator[Step[PretrainingState]]:
    """Yield epochs that lower the reconstruction error (eq-reconstruction)."""
    while state.epoch < config.pretrain_epochs:
        started = time.perf_counter()
        with _user_rng(state.generator, data, config):
            error = _pretraining_epoch(state, data, config)
        record = Record(
            "pretrain",
            loss=error,
            reconstruction_loss=error,
            learning_rate=config.learning_rate,
            seconds=time.perf_counter() - started,
        )
        state = state._replace(epoch=state.epoch + 1, record=record)
        finite = are_finite(*state.module.parameters())
        yield Step(state, error if finite else math.nan)


def clustering(
    state: ClusteringState,
    data: TrainingData,
    training: TrainingConfig,
    config: ClusteringConfig,
) -> Iterator[Step[ClusteringState]]:
    """Yield epochs that pull codes to their centers (eq-deep-objective).

    The last epoch is number `config.n_epochs`, or the one after which the labels have
    settled.
    """
    while state.epoch < config.n_epochs:
        if reclustering.have_settled(state.label_changes, config):
            return
        with _user_rng(state.generator, data, training):
            step = _clustering_epoch(state, data, training, config)
        state = step.state
        yield step


def _user_rng(
    generator: torch.Generator, data: TrainingData, config: TrainingConfig
) -> AbstractContextManager[None]:
    """Seed torch's own generators for an epoch, if user code may draw from them."""
    if not config.has_user_code:
        return nullcontext()
    return scoped_rng(draw_seed(generator), data.compute.device)


def _pretraining_epoch(
    state: PretrainingState, data: TrainingData, config: TrainingConfig
) -> float:
    """Train for an epoch, and return the mean reconstruction error."""
    module = state.module
    module.train()
    n_rows, device = len(data.rows), data.rows.device
    size = min(config.batch_size, n_rows)
    total = data.rows.new_zeros(())
    for index, _ in shuffled_batches(n_rows, size, state.generator, device, 2):
        rows = data.rows[index]  # (b, d)
        rows = rows if config.augment is None else config.augment(rows)
        masked = _mask_entries(rows, config.denoising, state.generator)
        decoded = module.decode(module.encode(masked))
        loss = data.weight[index] @ (decoded - rows).square().mean(1)
        _descend(state.optimizer, loss / size)
        total += loss.detach()
    return float(total) / n_rows


def _clustering_epoch(
    state: ClusteringState,
    data: TrainingData,
    training: TrainingConfig,
    config: ClusteringConfig,
) -> Step[ClusteringState]:
    """Train for an epoch and update the centers; the loss is NaN out of range."""
    started, before = time.perf_counter(), state.summary
    follows_kmeans = reclustering.should_recluster(state.epoch, config)
    if config.weight_reset is not None and follows_kmeans:
        state = reclustering.reset_encoder(state, data, config, config.weight_reset)
    losses, centers, weights = _train_batches(state, data, training, config)
    error, centering, penalty = losses
    loss = error + config.weight * (centering + penalty)
    codes = encode_all(state.module, data)
    if not (are_in_range(codes) and decode_in_range(state.module, centers)):
        return Step(state, math.nan)
    epoch = state.epoch + 1
    if config.update_after_epoch is not None:
        blocks = _responsible_blocks(centers, codes, state.summary, data, config)
        centers, weights = config.update_after_epoch(centers, weights, blocks)
    if reclustering.should_recluster(epoch, config):
        centers, weights = reclustering.recluster(
            codes, centers, before.labels, data, config
        )
        reclustering.set_learned_centers(state, centers)
    summary = summarize_codes(codes, centers, weights, data, config)
    change, shift = label_and_center_change(before, summary, data)
    changes = (*state.label_changes, change)
    state = state._replace(summary=summary, label_changes=changes, epoch=epoch)
    if reclustering.have_settled(changes, config):
        state = reclustering.recluster_at_end(state, data, config)
        _, shift = label_and_center_change(before, state.summary, data)
    record = Record(
        "cluster",
        loss=loss,
        reconstruction_loss=error,
        clustering_loss=centering,
        scale_penalty=penalty,
        label_change=change,
        center_shift=shift,
        code_variance=summary.variance,
        largest_cluster=largest_cluster_fraction(
            state.summary, data, config.n_clusters
        ),
        temperature=summary.temperature,
        learning_rate=training.learning_rate,
        seconds=time.perf_counter() - started,
    )
    return Step(state._replace(record=record), loss)


def _train_batches(
    state: ClusteringState,
    data: TrainingData,
    training: TrainingConfig,
    config: ClusteringConfig,
) -> tuple[list[float], Tensor, Tensor]:
    """Take the gradient steps of an epoch.

    Return three losses, the centers (k, c) and their weights (k,). The losses are the
    mean reconstruction error, the centering loss in units of the variance of the codes,
    and the scale penalty.
    """
    module, summary, learned = state.module, state.summary, state.learned_centers
    module.train()
    centers, cluster_weights = summary.centers, summary.cluster_weights
    # In units of the present variance, shrinking codes and centers would pay anew in
    # every epoch.
    variance = state.initial_variance if config.penalize_scale else summary.variance
    unit = 1.0 / variance if variance > 0 else 0.0  # all codes are at a center
    correction = finite_sample_correction(data.weight)
    n_rows, device = len(data.rows), data.rows.device
    size = min(training.batch_size, n_rows)
    totals = data.rows.new_zeros(3)
    for index, _ in shuffled_batches(n_rows, size, state.generator, device, 2):
        weight, rows = data.weight[index], data.rows[index]  # (b,), (b, d)
        b = len(rows)
        if training.augment is not None:
            rows = torch.cat([rows, training.augment(rows)])  # (2 b, d)
        codes = module.encode(rows)
        errors = (module.decode(codes) - rows).square().mean(1)
        distances = code_distances(centers if learned is None else learned, codes)
        r = _responsibilities(distances[:, :b], index, summary, config)  # (k, b)
        all_r, all_weight = r, weight
        if training.augment is not None:  # augmented rows belong where their rows do
            all_r = torch.cat([r, r], 1)
            all_weight = torch.cat([weight, weight]) / 2
        centering = all_weight @ config.loss(codes, centers, distances, all_r)
        penalty = centering.new_zeros(())
        if config.penalize_scale and variance > 0 and b > 1:
            expected = variance * finite_sample_correction(weight) / correction
            penalty = weight.sum() * scale_penalty(codes[:b], weight, expected)
        losses = torch.stack([all_weight @ errors, unit * centering, penalty])
        loss = losses[0] + config.weight * (losses[1] + losses[2])
        _descend(state.optimizer, loss / size)
        totals += losses.detach()
        if config.update_after_batch is not None:
            centers, cluster_weights = config.update_after_batch(
                centers, cluster_weights, codes[:b].detach(), r.detach(), weight
            )
    if learned is not None:
        centers = learned.detach().clone()
    return (totals / n_rows).tolist(), centers, cluster_weights


def _responsibilities(
    distances: Tensor, index: Tensor, summary: CodeSummary, config: ClusteringConfig
) -> Tensor:
    """Compute the responsibilities (k, b) of a batch, or those of its codes before."""
    if config.assign_once_per_epoch:
        distances = code_distances(summary.centers, summary.codes[index])
    elif not config.differentiate_assignments:
        distances = distances.detach()
    return assign_codes(distances, summary.temperature, config.assignment)


def _responsible_blocks(
    centers: Tensor,
    codes: Tensor,
    before: CodeSummary,
    data: TrainingData,
    config: ClusteringConfig,
) -> Iterator[CodeBlock]:
    """Yield all codes with their responsibilities, or those of the codes before."""
    assigned = codes
    if config.assign_once_per_epoch:
        centers, assigned = before.centers, before.codes
    size = data.compute.block_rows(config.n_clusters)
    tables = (codes, assigned, data.weight)
    for block, given, weight in zip(*(t.split(size) for t in tables), strict=True):
        distances = code_distances(centers, given)  # (k, b)
        r = assign_codes(distances, before.temperature, config.assignment)
        yield block, r, weight


def _mask_entries(rows: Tensor, fraction: float, generator: torch.Generator) -> Tensor:
    """Set a random fraction of the entries of rows to 0, their mean."""
    if fraction == 0:
        return rows
    uniform = torch.rand(
        rows.shape, generator=generator, dtype=torch.float32, device="cpu"
    )
    return rows * (uniform >= fraction).to(rows)


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Take a gradient step."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
