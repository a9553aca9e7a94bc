"""A whole deep fit: pretrain the autoencoder, place the centers, cluster its codes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from skrbf.engine.data.scaling import Scaling
from skrbf.engine.data.training_data import TrainingData
from skrbf.engine.deep.center_updates import Clusters, kmeans
from skrbf.engine.deep.epochs import clustering, decodes_in_range, in_range, pretraining
from skrbf.engine.deep.predict import n_parameters, network_blocks
from skrbf.engine.deep.reclustering import (
    begin,
    encode_all,
    end_with_kmeans,
    nearest_centers,
)
from skrbf.engine.deep.state import (
    ClusterPlan,
    NetPlan,
    Training,
    restore_state,
    start_training,
)
from skrbf.engine.training.loop import ADVICE, Step, follow
from skrbf.engine.training.rng import seeded
from skrbf.nn.autoencoder import Autoencoder
from skrbf.ops.statistics import weight_sums

# Epochs in a row that change fewer labels than `tol` before the fit ends, and one
# interval of K-means at the least.
PATIENCE = 3
# Of the variance that the codes had when clustering began: less than it is none.
_VANISHED = 1e-3
# Rows, about, that tell whether a network is trained.
_ENOUGH = 2048
# Rows, about, of which principal components are found.
_FEW = 512
_CLUSTER_ADVICE = "Lower learning_rate or clustering_weight."

# Called after every epoch; a true answer ends the fit.
OnEpoch = Callable[[Training], bool]


class Start(NamedTuple):
    """Where a fit starts."""

    module: Autoencoder  # on its device; trained in place
    generator: torch.Generator  # of the CPU
    pretrained: bool
    centers: Tensor | None  # (k, c) to go on from, None places them by K-means
    foreign: bool  # whether code of the user's may draw from torch's own generator
    saved: dict[str, Any] | None  # what a checkpoint holds


class DeepFitted(NamedTuple):
    """What a deep fit came to."""

    clusters: Clusters
    temperature: float
    variance: float
    n_iter: int
    collapsed: bool


def resume(start: Start, saved: dict[str, Any]) -> Start:
    """Start from what a checkpoint holds."""
    start.module.load_state_dict(saved["module"])
    start.generator.set_state(saved["generator"])
    return start._replace(saved=saved)


def fit_deep(
    data: TrainingData, net: NetPlan, plan: ClusterPlan, start: Start, on_epoch: OnEpoch
) -> DeepFitted:
    """Fit an autoencoder and centers of its codes."""
    work = min(net.batch_size, len(data.rows)) * n_parameters(start.module)
    with (
        torch.enable_grad(),
        _repeatable(data.compute.device),
        data.compute.limited_threads(work),
    ):
        stopped = _pretrain(data, net, start, on_epoch)
        return _cluster(data, net, plan, start, on_epoch, stopped)


def first_error(module: Autoencoder, data: TrainingData) -> float:
    """Reconstruction error of some rows, over that of the mean; 0 if all are equal."""
    step = max(1, len(data.rows) // _ENOUGH)
    some = data._replace(rows=data.rows[::step], weight=data.weight[::step])
    with torch.no_grad():
        errors = [
            (module.decode(module.encode(rows)) - rows).square().mean(1)
            for rows in network_blocks(some)
        ]
    of_mean = float(some.weight @ some.rows.square().mean(1))
    return float(some.weight @ torch.cat(errors)) / of_mean if of_mean else 0.0


def linear_error(data: TrainingData, n_components: int) -> float:
    """Reconstruction error of principal components, over that of the mean."""
    step = max(1, len(data.rows) // _FEW)
    rows, weight = data.rows[::step].double(), data.weight[::step].double()
    weighted = rows * weight.sqrt()[:, None]  # (m, d)
    squares = torch.linalg.svdvals(weighted).square()  # (min(m, d),)
    total = float(squares.sum())
    return float(squares[n_components:].sum()) / total if total else 0.0


def _pretrain(
    data: TrainingData, net: NetPlan, start: Start, on_epoch: OnEpoch
) -> bool:
    """Whether it was told to stop."""
    saved = start.saved
    if start.pretrained or (saved is not None and saved["phase"] == "cluster"):
        return False
    training = start_training(start.module, start.generator, net.learning_rate)
    if saved is not None:
        restore_state(training, saved)
    stopped = False

    def see(step: Step[Training]) -> bool:
        nonlocal stopped
        stopped = bool(on_epoch(training))
        return stopped

    steps = pretraining(training, data, net)
    if start.foreign:
        steps = _isolated(steps, data, start.generator)
    left = net.pretrain_epochs - training.epoch
    follow(steps, "pretrain", left, see, _advice(ADVICE, net))
    return stopped


def _cluster(
    data: TrainingData,
    net: NetPlan,
    plan: ClusterPlan,
    start: Start,
    on_epoch: OnEpoch,
    stopped: bool,
) -> DeepFitted:
    saved = start.saved if start.saved and start.saved["phase"] == "cluster" else None
    training = _placed(data, net, plan, start, saved)
    records = [] if saved is None else saved["records"]
    changes = [each.label_change for each in records if each.phase == "cluster"]

    def see(step: Step[Training]) -> bool:
        report = training.report
        assert report is not None
        changes.append(report.label_change)
        settled = _have_settled(changes, plan)
        if settled:  # before anybody sees it
            end_with_kmeans(training, data, plan)
        return bool(on_epoch(training)) or settled

    settled = _have_settled(changes, plan)  # and interrupted before the fit had ended
    if not stopped and not settled and plan.n_epochs > training.epoch:
        steps = clustering(training, data, net, plan)
        if start.foreign:
            steps = _isolated(steps, data, start.generator)
        left = plan.n_epochs - training.epoch
        follow(steps, "cluster", left, see, _advice(_CLUSTER_ADVICE, net))
    elif saved is not None and (settled or training.epoch == plan.n_epochs):
        end_with_kmeans(training, data, plan)
    return _fitted(training, data, plan)


def _placed(
    data: TrainingData,
    net: NetPlan,
    plan: ClusterPlan,
    start: Start,
    saved: dict[str, Any] | None,
) -> Training:
    """The pretrained network with centers among its codes, or a saved training."""
    codes = encode_all(start.module, data)
    if not in_range(codes):
        raise _out_of_range("codes", net, start)
    clusters = _first_clusters(codes, data, plan, start, saved)
    if not decodes_in_range(start.module, clusters.centers):
        raise _out_of_range("decoded centers", net, start)
    training = start_training(
        start.module,
        start.generator,
        net.learning_rate,
        clusters,
        learned=plan.rule.learned,
    )
    begin(training, data, plan, codes)
    if saved is not None:
        restore_state(training, saved)
    return training


def _out_of_range(what: str, net: NetPlan, start: Start) -> FloatingPointError:
    came = "that the network starts with" if start.pretrained else "after 'pretrain'"
    advice = "" if start.pretrained else f" {_advice(ADVICE, net)}"
    return FloatingPointError(
        f"The {what} {came} are not finite, or their squares overflow.{advice}"
    )


def _fitted(training: Training, data: TrainingData, plan: ClusterPlan) -> DeepFitted:
    view, clusters, began = training.view, training.clusters, training.began
    assert view is not None
    assert clusters is not None
    assert began is not None
    alone = plan.n_clusters > 1 and len(view.labels.unique()) == 1
    collapsed = alone or view.variance <= _VANISHED * began
    return DeepFitted(
        clusters,
        view.temperature,
        view.variance,
        training.epoch,
        collapsed and len(data.rows) > 1,
    )


def _advice(advice: str, net: NetPlan) -> str:
    """What to change where numbers are not finite."""
    return advice if net.augment is None else f"{advice} Or augment returned them."


def _first_clusters(
    codes: Tensor,
    data: TrainingData,
    plan: ClusterPlan,
    start: Start,
    saved: dict[str, Any] | None,
) -> Clusters:
    if saved is not None:
        mass = saved["mass"].to(data.compute.accumulate)  # before it is moved
        return Clusters(saved["centers"].to(codes), mass.to(codes.device))
    if start.centers is None:
        return kmeans(codes, data.weight, plan.n_clusters, data.compute)
    labels = nearest_centers(codes, start.centers, data)  # (m,)
    weight = data.weight.to(data.compute.accumulate)
    return Clusters(start.centers, weight_sums(labels, weight, plan.n_clusters))


def _have_settled(changes: Sequence[float], plan: ClusterPlan) -> bool:
    """Whether labels hardly changed in the last epochs, given the changes of all."""
    interval = plan.reinit_interval or 0
    patience = max(PATIENCE, interval)
    # A reset is there to change labels that have settled: those before it do not count.
    counted = changes[interval:] if plan.weight_reset else changes
    last = counted[-patience:]
    return len(last) == patience and all(change < plan.tol for change in last)


def in_data_units(
    augment: Callable[[Tensor], Tensor],
    scaling: Scaling,
    input_shape: tuple[int, ...] | None,
    device: torch.device,
) -> Callable[[Tensor], Tensor]:
    r"""An augmentation of rows in units of the data, for rows as the network has them.

    Parameters
    ----------
    augment : callable
        Of a batch (b, d), or (b, \*input_shape) with an `input_shape`.
    """
    mean, scale = (part.float().to(device) for part in scaling)  # (d,)

    def augmented(rows: Tensor) -> Tensor:
        given = rows * scale + mean  # (b, d)
        if input_shape is not None:
            given = given.reshape(-1, *input_shape)
        shape = tuple(given.shape)
        try:
            with torch.no_grad():
                made = augment(given)
        except Exception as error:
            raise ValueError(
                f"augment was called as augment(rows), with a tensor of shape {shape}, "
                f"and raised {type(error).__name__}: {error}"
            ) from error
        if not isinstance(made, Tensor) or made.shape != given.shape:
            raise ValueError(
                "augment must return a tensor of the shape that it is given, "
                f"{shape}, and returned "
                f"{tuple(made.shape) if isinstance(made, Tensor) else type(made)}."
            )
        return (made.to(rows).reshape(rows.shape) - mean) / scale

    return augmented


def _isolated(
    steps: Iterator[Step[Training]], data: TrainingData, generator: torch.Generator
) -> Iterator[Step[Training]]:
    """Steps in which torch's own random numbers come from a seed, and are put back."""
    while True:
        seed = int(torch.randint(2**31, (1,), generator=generator, device="cpu"))
        with seeded(seed, data.compute.device):
            step = next(steps)
        yield step


@contextmanager
def _repeatable(device: torch.device) -> Iterator[None]:
    """On a GPU, convolutions whose sums have one order; other settings stay."""
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
