"""What a deep fit is to do, and where it stands between two epochs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from skrbf.engine.deep.center_updates import CenterRule, Clusters
from skrbf.engine.training.records import Record
from skrbf.nn.autoencoder import Autoencoder
from skrbf.ops.assignment import Assignment
from skrbf.ops.clustering import CenteringLoss


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


@dataclass
class Training:
    """A network in training. It changes in place: copy what is to be kept."""

    module: Autoencoder
    optimizer: torch.optim.Optimizer
    generator: torch.Generator  # of the CPU
    epoch: int = 0
    clusters: Clusters | None = None
    learned: nn.Parameter | None = None  # the centers, where the optimizer has them
    view: View | None = None
    before: View | None = None  # the last epoch
    report: Record | None = None
    began: float | None = None  # variance of the codes where clustering began


def start_training(
    module: Autoencoder,
    generator: torch.Generator,
    learning_rate: float,
    clusters: Clusters | None = None,
    *,
    learned: bool = False,
) -> Training:
    """A network and a fresh optimizer, which learns the centers as well if asked to."""
    parameters, own = list(module.parameters()), None
    if learned:
        assert clusters is not None
        own = nn.Parameter(clusters.centers.clone())
        parameters.append(own)
    fused = parameters[0].device.type in ("cpu", "cuda")
    optimizer = torch.optim.Adam(parameters, lr=learning_rate, fused=fused)
    return Training(module, optimizer, generator, clusters=clusters, learned=own)


def state_to_dict(training: Training) -> dict[str, Any]:
    """Collect all that a training needs to go on later: tensors, numbers and text."""
    report = training.report
    assert report is not None
    state: dict[str, Any] = {
        "phase": report.phase,
        "epoch": training.epoch,
        "began": training.began,
        "module": training.module.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "generator": training.generator.get_state(),
    }
    if training.clusters is not None:
        state["centers"] = training.clusters.centers
        state["mass"] = training.clusters.mass
    return state


def restore_state(training: Training, saved: dict[str, Any]) -> None:
    """Set a training that has its network and centers to where a saved one was."""
    training.epoch = saved["epoch"]
    training.began = saved["began"]
    training.optimizer.load_state_dict(saved["optimizer"])
