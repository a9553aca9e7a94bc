"""A whole deep fit: pretrain the autoencoder, place the centers, cluster the codes."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from skrbf.engine.data.training_data import TrainingData
from skrbf.engine.deep.center_updates import kmeans_centers
from skrbf.engine.deep.codes import (
    are_in_range,
    decode_in_range,
    encode_all,
    label_codes,
    summarize_codes,
)
from skrbf.engine.deep.config import ClusteringConfig, TrainingConfig
from skrbf.engine.deep.constants import COLLAPSED_VARIANCE_FRACTION
from skrbf.engine.deep.epochs import clustering, pretraining
from skrbf.engine.deep.predict import n_parameters
from skrbf.engine.deep.reclustering import have_settled, recluster_at_end
from skrbf.engine.deep.state import (
    ClusteringState,
    CodeSummary,
    State,
    make_optimizer,
    restore_clustering,
    start_pretraining,
)
from skrbf.engine.training.loop import ADVICE, Step, checked
from skrbf.nn.autoencoder import Autoencoder
from skrbf.ops.statistics import weight_sums

# Called after every epoch; a true answer ends the fit.
OnEpoch = Callable[[Step[Any]], bool]


def fit_deep(
    data: TrainingData,
    module: Autoencoder,
    generator: torch.Generator,
    training: TrainingConfig,
    config: ClusteringConfig,
    on_epoch: OnEpoch,
    centers: Tensor | None = None,
    saved: Mapping[str, Any] | None = None,
) -> ClusteringState:
    """Fit an autoencoder on the device of the data, in place, and centers of its codes.

    The generator is on the CPU. K-means places the centers unless there are some to
    start from. A fit resumes from the content of a checkpoint, if it was saved.
    """
    if saved is not None:
        module.load_state_dict(saved["module"])
        generator.set_state(saved["generator"])
    is_clustering = saved is not None and saved["phase"] == "cluster"
    batch_work = min(training.batch_size, len(data.rows)) * n_parameters(module)
    with (
        torch.enable_grad(),
        deterministic_convolutions(data.compute.device),
        data.compute.limited_threads(batch_work),
    ):
        stopped = False
        if not is_clustering:
            start = start_pretraining(module, generator, training, saved)
            epochs = pretraining(start, data, training)
            left = training.pretrain_epochs - start.epoch
            advice = _advice(ADVICE, training)
            stopped = any(map(on_epoch, checked(epochs, "pretrain", left, advice)))
            saved = None
        state = start_clustering(
            module, generator, data, training, config, centers, saved
        )
        if stopped:
            return state
        left = config.n_epochs - state.epoch
        advice = _advice("Lower learning_rate or clustering_weight.", training)
        steps = clustering(state, data, training, config)
        for step in checked(steps, "cluster", left, advice):
            state = step.state
            if on_epoch(step):
                break
    return state


def start_clustering(
    module: Autoencoder,
    generator: torch.Generator,
    data: TrainingData,
    training: TrainingConfig,
    config: ClusteringConfig,
    centers: Tensor | None = None,
    saved: Mapping[str, Any] | None = None,
) -> ClusteringState:
    """Make the first state of clustering, or the one of a checkpoint of clustering."""
    codes = encode_all(module, data)
    if not are_in_range(codes):
        raise _out_of_range("codes", training)
    if saved is not None:
        centers = saved["centers"].to(codes)
        # In two steps, since the device may lack the dtype of the file.
        weights = saved["cluster_weights"].to(data.compute.accumulate).to(codes.device)
    elif centers is None:
        k = config.n_clusters
        centers, weights = kmeans_centers(codes, data.weight, k, data.compute)
    else:
        labels = label_codes(codes, centers, data)
        weight = data.weight.to(data.compute.accumulate)
        weights = weight_sums(labels, weight, config.n_clusters)
    if not decode_in_range(module, centers):
        raise _out_of_range("decoded centers", training)
    learned = nn.Parameter(centers.clone()) if config.learn_centers else None
    optimizer = make_optimizer(module, training.learning_rate, learned)
    summary = summarize_codes(codes, centers, weights, data, config)
    variance = summary.variance
    state = ClusteringState(module, optimizer, generator, learned, summary, variance)
    if saved is None:
        return state
    state = restore_clustering(state, saved)
    if have_settled(state.label_changes, config) or state.epoch == config.n_epochs:
        return recluster_at_end(state, data, config)  # interrupted after its last epoch
    return state


def current_summary(
    state: State, data: TrainingData, config: ClusteringConfig
) -> CodeSummary:
    """Summarize the codes of a state, clustered by K-means in pretraining."""
    if isinstance(state, ClusteringState):
        return state.summary
    codes = encode_all(state.module, data)
    k = config.n_clusters
    centers, weights = kmeans_centers(codes, data.weight, k, data.compute)
    return summarize_codes(codes, centers, weights, data, config)


def have_collapsed(
    state: ClusteringState, data: TrainingData, config: ClusteringConfig
) -> bool:
    """Tell whether the codes have lost their variance or all have one label."""
    summary = state.summary
    one_label = config.n_clusters > 1 and len(summary.labels.unique()) == 1
    least = COLLAPSED_VARIANCE_FRACTION * state.initial_variance
    return len(data.rows) > 1 and (one_label or summary.variance <= least)


def _out_of_range(what: str, training: TrainingConfig) -> FloatingPointError:
    """Make the error for codes or centers that clustering cannot start from."""
    origin, advice = "after 'pretrain'", f" {_advice(ADVICE, training)}"
    if training.pretrain_epochs == 0:
        origin, advice = "that the network starts with", ""
    return FloatingPointError(
        f"The {what} {origin} are not finite, or their squares overflow.{advice}"
    )


def _advice(advice: str, training: TrainingConfig) -> str:
    """Add `augment` to the possible causes of numbers that are not finite."""
    if training.augment is None:
        return advice
    return f"{advice} Or augment returned such numbers."


@contextmanager
def deterministic_convolutions(device: torch.device) -> Iterator[None]:
    """On a GPU, use convolutions that sum in a fixed order; keep other settings."""
    if device.type != "cuda":
        yield
        return
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before
