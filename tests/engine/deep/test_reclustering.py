"""What centers and labels follow between epochs: augmented rows, resets, an end."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.optimize import linear_sum_assignment

from helpers import generator
from skrbf.engine.data.compute import Compute
from skrbf.engine.data.scaling import Scaling
from skrbf.engine.data.training_data import TrainingData
from skrbf.engine.deep.center_updates import CENTER_RULES, Clusters
from skrbf.engine.deep.epochs import clustering
from skrbf.engine.deep.reclustering import begin, encode_all, end_with_kmeans
from skrbf.engine.deep.state import ClusterPlan, NetPlan, start_training
from skrbf.nn import DenseAutoencoder
from skrbf.ops.assignment import ASSIGNMENTS
from skrbf.ops.clustering import CENTERING_LOSSES

N, D, C, K = 60, 6, 3, 4


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(N, D)) + 3 * rng.integers(0, 2, size=(N, D))
    weight = rng.integers(1, 4, N).astype(float)
    index = torch.arange(N)
    return TrainingData(
        torch.from_numpy(rows - rows.mean(0)),
        0 * index,
        torch.from_numpy(weight / weight.mean()),
        index,
        N,
        weight.sum(),
        Scaling(torch.zeros(D).double(), torch.ones(D).double()),
        Compute.resolve("cpu", torch.float64, work=0, memory_bytes=1 << 30),
    )


def started(data, how, seed=0, rate=1e-30):
    """A training of a small network, of bad centers, that is about to cluster."""
    module = DenseAutoencoder(D, C, (8,), generator=generator()).double()
    codes = encode_all(module, data)
    clusters = Clusters(codes[[3, 11, 29, 50]] + 0.1, torch.ones(K).double())
    training = start_training(module, generator(seed), rate, clusters)
    begin(training, data, how, codes)
    return training


def plan(**changes):
    return ClusterPlan(
        n_epochs=10,
        n_clusters=K,
        weight=1.0,
        temperature=0.2,
        assignment=ASSIGNMENTS["softmax"],
        loss=CENTERING_LOSSES["distance"],
        through_weights=False,
        once_per_epoch=False,
        rule=CENTER_RULES["kmeans"],
        reinit_interval=None,
        regrow=False,
        weight_reset=None,
        tol=0.0,
    )._replace(**changes)


def net(size=N, augment=None):
    return NetPlan(1, size, 0.0, 0.0, augment)  # the optimizer has its rate already


@pytest.mark.parametrize("size", [N, 25])
def test_running_means_are_of_the_rows_and_not_of_what_is_made_of_them(data, size):
    how, found = plan(rule=CENTER_RULES["running_mean"]), []
    for augment in (None, lambda rows: rows + 9):
        training = started(data, how)
        start = training.clusters.centers
        next(clustering(training, data, net(size, augment), how))
        found.append(training.clusters)
    plain, augmented = found
    assert_allclose(augmented.centers, plain.centers, atol=1e-9)
    assert_allclose(augmented.mass, plain.mass)
    assert not torch.allclose(plain.centers, start, atol=0.01)


def least_change(before, after, weight):
    """The share with another label, in the order of clusters where it is least."""
    overlap = np.zeros((K, K))
    np.add.at(overlap, (before.numpy(), after.numpy()), weight.numpy())
    kept = overlap[linear_sum_assignment(-overlap)].sum()
    return 1 - kept / overlap.sum()


@pytest.mark.parametrize("regrow", [False, True])
def test_labels_after_a_reset_and_an_epoch_are_matched_to_those_before_both(
    data, regrow
):
    """K-means twice in an epoch: an order of the clusters is no change of labels."""
    how = plan(reinit_interval=1, weight_reset=1.0, regrow=regrow)
    for seed in (5, 10, 14, 22, 30, 32):
        training = started(data, how, seed, rate=0.1)
        training.epoch, before = 1, training.view.labels
        next(clustering(training, data, net(10), how))
        least = least_change(before, training.view.labels, data.weight)
        assert training.report.label_change == pytest.approx(least)
        assert least > 0


def test_the_report_of_an_end_with_k_means_is_of_the_clusters_that_it_leaves(data):
    how = plan(reinit_interval=4)
    training = started(data, how)
    next(clustering(training, data, net(), how))
    epoch = training.report
    end_with_kmeans(training, data, how)
    counts = np.bincount(training.view.labels, data.weight)
    report = training.report
    assert report.largest_cluster == pytest.approx(counts.max() / counts.sum())
    assert abs(report.largest_cluster - epoch.largest_cluster) > 0.01
    kept = {"center_shift": 0, "largest_cluster": 0}
    assert report._replace(**kept) == epoch._replace(**kept)
    assert report.center_shift > epoch.center_shift == 0
