"""States of a deep training between two epochs.

A state refers to the network, the optimizer and the generator, which change in place.
Everything else in it is a value that does not change.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from skrbf.engine.deep.config import TrainingConfig
from skrbf.engine.training.records import Record
from skrbf.nn.autoencoder import Autoencoder


class CodeSummary(NamedTuple):
    """All codes, and the centers, temperature and labels that belong to them."""

    codes: Tensor  # (m, c)
    centers: Tensor  # (k, c)
    cluster_weights: Tensor  # (k,) of the codes that each center is the mean of
    variance: float  # total, of the codes
    temperature: float
    labels: Tensor  # (m,)


class PretrainingState(NamedTuple):
    """State of a network after some epochs of pretraining."""

    module: Autoencoder
    optimizer: torch.optim.Optimizer
    generator: torch.Generator  # on the CPU
    epoch: int = 0
    record: Record = Record("pretrain")


class ClusteringState(NamedTuple):
    """State of a network and centers after some epochs of clustering."""

    module: Autoencoder
    optimizer: torch.optim.Optimizer
    generator: torch.Generator  # on the CPU
    learned_centers: nn.Parameter | None  # (k, c) centers that the optimizer trains
    summary: CodeSummary
    initial_variance: float  # of the codes at the start of clustering
    label_changes: tuple[float, ...] = ()  # of every epoch so far
    epoch: int = 0
    record: Record = Record("cluster")


State = PretrainingState | ClusteringState


def start_pretraining(
    module: Autoencoder,
    generator: torch.Generator,
    config: TrainingConfig,
    saved: Mapping[str, Any] | None = None,
) -> PretrainingState:
    """Make the first state of pretraining, or the one of a checkpoint."""
    optimizer = make_optimizer(module, config.learning_rate)
    state = PretrainingState(module, optimizer, generator)
    if saved is None:
        return state
    optimizer.load_state_dict(saved["optimizer"])
    return state._replace(epoch=saved["epoch"])


def make_optimizer(
    module: Autoencoder, learning_rate: float, centers: nn.Parameter | None = None
) -> torch.optim.Optimizer:
    """Make an optimizer of a network, and of centers if there are any."""
    parameters = list(module.parameters())
    fused = parameters[0].device.type in ("cpu", "cuda")
    if centers is not None:
        parameters.append(centers)
    return torch.optim.Adam(parameters, lr=learning_rate, fused=fused)


def restore_clustering(
    state: ClusteringState, saved: Mapping[str, Any]
) -> ClusteringState:
    """Continue from a checkpoint, with a state of its network and centers."""
    state.optimizer.load_state_dict(saved["optimizer"])
    records = [record for record in saved["records"] if record.phase == "cluster"]
    return state._replace(
        initial_variance=saved["initial_variance"],
        label_changes=tuple(record.label_change for record in records),
        epoch=saved["epoch"],
    )


def state_to_dict(state: State) -> dict[str, Any]:
    """Collect all that a training needs to continue: tensors, numbers and text."""
    content = {
        "phase": state.record.phase,
        "epoch": state.epoch,
        "module": state.module.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "generator": state.generator.get_state(),
    }
    if isinstance(state, PretrainingState):
        return content
    return content | {
        "centers": state.summary.centers,
        "cluster_weights": state.summary.cluster_weights,
        "initial_variance": state.initial_variance,
    }
