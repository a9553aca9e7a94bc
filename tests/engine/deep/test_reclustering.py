"""K-means and weight resets between epochs, labels across them, and the last epoch."""

import copy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans

from skrbf.engine.deep.center_updates import CENTER_UPDATES, kmeans_centers
from skrbf.engine.deep.codes import encode_all
from skrbf.engine.deep.epochs import clustering
from skrbf.engine.deep.reclustering import (
    have_settled,
    recluster_at_end,
    reset_encoder,
    reset_weights,
)
from skrbf.nn.autoencoder import initialize

N, K = 60, 4  # as in conftest.py
PERMUTATION = [2, 0, 3, 1]


@pytest.fixture
def permuted_clusters(data, module):
    """K-means of the codes, with the clusters in another order than it finds them."""
    codes = encode_all(module, data)
    centers, weights = kmeans_centers(codes, data.weight, K, data.compute)
    return centers[PERMUTATION], weights[PERMUTATION]


@pytest.fixture
def run(data, start, training):
    """``run(module, clusters, settings, n_epochs)``: the state after every epoch."""

    def states(module, clusters, settings, n_epochs, **changes):
        network = training(**changes)
        state = start(module, clusters, settings, network)
        steps = clustering(state, data, network, settings)
        return [next(steps).state for _ in range(n_epochs)]

    return states


def sorted_rows(table):
    return np.sort(np.asarray(table), axis=0)


@pytest.mark.parametrize("update", ["kmeans", "gradient"])
def test_k_means_follows_an_epoch_with_matched_labels(
    data, module, clusters, one_epoch, reference, update
):
    changes = CENTER_UPDATES[update]
    state = one_epoch(module, clusters, reinit_interval=1, **changes)
    codes = encode_all(state.module, data).numpy()
    plain = one_epoch(module, clusters, **changes)
    reference.assert_same(state.module, plain.module)
    start = plain.summary.centers.numpy()
    found = KMeans(K, init=start, n_init=1, tol=0).fit(codes, None, data.weight.numpy())
    gaps = encode_all(module, data).numpy()[:, None] - clusters[0].numpy()
    before = (gaps**2).sum(2).argmin(1)
    overlap = np.zeros((K, K))
    np.add.at(overlap, (before, found.labels_), data.weight.numpy())
    order = linear_sum_assignment(-overlap)[1]
    assert_allclose(state.summary.centers, found.cluster_centers_[order], atol=1e-8)
    matched = order.argsort()[found.labels_]
    assert_array_equal(state.summary.labels, matched)
    changed = data.weight[torch.from_numpy(matched != before)].sum()
    share = float(changed / data.weight.sum())
    assert state.record.label_change == pytest.approx(share)


def test_cluster_weights_follow_their_centers_in_k_means(
    data, module, permuted_clusters, one_epoch, training
):
    changes = {"reinit_interval": 1, "grow_centers": True}
    state = one_epoch(
        module,
        permuted_clusters,
        training(learning_rate=1e-30),
        **changes,
        **CENTER_UPDATES["running_mean"],
    )
    assert_allclose(state.summary.centers, permuted_clusters[0], atol=1e-9)
    counts = np.bincount(state.summary.labels, data.weight)
    assert_allclose(state.summary.cluster_weights, counts, rtol=1e-6)


def test_k_means_sets_learned_centers_and_clears_their_moments(
    module, clusters, one_epoch
):
    changes = CENTER_UPDATES["gradient"]
    state = one_epoch(module, clusters, reinit_interval=1, **changes)
    *weights, centers = state.optimizer.param_groups[0]["params"]
    assert centers is state.learned_centers
    assert torch.equal(centers, state.summary.centers)
    assert centers not in state.optimizer.state
    assert all(parameter in state.optimizer.state for parameter in weights)


def test_a_reset_sets_learned_centers(data, module, clusters, config, run):
    changes = CENTER_UPDATES["gradient"]
    settings = config(reinit_interval=3, weight_reset=0.3, grow_centers=True, **changes)
    (state,) = run(module, clusters, settings, 1)
    before = state.learned_centers.detach().clone()
    state = reset_encoder(state, data, settings, 0.3)
    assert torch.equal(state.learned_centers, state.summary.centers)
    assert not torch.allclose(state.learned_centers, before, atol=0.01)


@pytest.mark.parametrize(
    ("interval", "n_epochs", "expected"),
    [(2, 4, [False, True, False, True]), (4, 3, [False, False, True])],
    ids=["at its interval", "after the last epoch"],
)
def test_epochs_that_k_means_follows(
    module, clusters, config, run, interval, n_epochs, expected
):
    settings = config(reinit_interval=interval, n_epochs=n_epochs)
    states = run(module, clusters, settings, n_epochs)
    assert [state.record.center_shift > 0 for state in states] == expected


def test_clustering_ends_after_its_epochs(
    data, module, clusters, start, training, config
):
    settings = config(n_epochs=3)
    state = start(module, clusters, settings, training())
    steps = clustering(state, data, training(), settings)
    assert [step.state.epoch for step in steps] == [1, 2, 3]


def test_k_means_at_an_end_that_is_set_later(data, module, clusters, config, run):
    """It gives what K-means after the last epoch gives, once or twice."""
    ends = []
    for n_epochs in (3, 9):
        settings = config(reinit_interval=4, n_epochs=n_epochs)
        state = run(module, clusters, settings, 3)[-1]
        end = recluster_at_end(state, data, settings)
        same = torch.equal(end.summary.centers, state.summary.centers)
        assert same == (n_epochs == 3)
        ends.append(end.summary)
    assert torch.equal(ends[0].centers, ends[1].centers)
    assert_array_equal(ends[0].labels, ends[1].labels)


def test_there_is_no_k_means_at_the_end_without_an_interval(
    data, module, clusters, config, run
):
    settings = config(reinit_interval=None)
    (state,) = run(module, clusters, settings, 1)
    assert recluster_at_end(state, data, settings) is state


def test_the_record_of_settled_labels_describes_the_final_clusters(
    data, module, clusters, start, training, config
):
    """K-means comes before anybody sees the record, which keeps the label change."""
    network = training(learning_rate=1e-30)
    ends = []
    for tol in (0.0, 1.1):  # above 1 all labels count as settled
        settings = config(reinit_interval=4, tol=tol)
        state = start(module, clusters, settings, network)
        state = state._replace(label_changes=(0.0, 0.0, 0.0))
        ends.append(next(clustering(state, data, network, settings)).state)
    epoch, record = (state.record for state in ends)
    counts = np.bincount(ends[1].summary.labels, data.weight)
    assert record.largest_cluster == pytest.approx(counts.max() / counts.sum())
    assert abs(record.largest_cluster - epoch.largest_cluster) > 0.01
    assert record.center_shift > epoch.center_shift == 0
    same = {"center_shift": 0, "largest_cluster": 0, "seconds": 0}
    assert record._replace(**same) == epoch._replace(**same)


def test_settled_labels_end_clustering_with_k_means(
    data, module, clusters, start, training, config
):
    settings = config(tol=1.1, reinit_interval=4, n_epochs=9)
    state = start(module, clusters, settings, training())
    steps = list(clustering(state, data, training(), settings))
    assert [step.state.epoch for step in steps] == [1, 2, 3, 4]
    last = steps[-1].state
    assert last.label_changes == tuple(step.state.record.label_change for step in steps)
    assert list(clustering(last, data, training(), settings)) == []


@pytest.mark.parametrize(
    ("changes", "interval", "reset", "expected"),
    [
        ([0.0, 0.0], None, None, False),
        ([0.0, 0.0, 0.0], None, None, True),
        ([0.0, 0.0, 0.5, 0.0, 0.0], None, None, False),
        ([0.5, 0.0, 0.0, 0.0], None, None, True),
        ([0.0, 0.0, 0.1], None, None, False),  # not below the tolerance
        ([0.0, 0.0, 0.0], 2, None, True),
        ([0.0] * 4, 5, None, False),
        ([0.0] * 5, 5, None, True),
        ([0.0] * 9, 5, 0.2, False),  # epochs before the first reset do not count
        ([0.0] * 10, 5, 0.2, True),
    ],
)
def test_labels_settle_in_consecutive_epochs(
    config, changes, interval, reset, expected
):
    settings = config(tol=0.1, reinit_interval=interval, weight_reset=reset)
    assert have_settled(changes, settings) == expected


def test_a_reset_changes_weights_and_clears_moments(
    data, module, clusters, one_epoch, config, generator, reference
):
    changes = {"reinit_interval": 1, "weight_reset": 0.3}
    state = one_epoch(module, clusters, **changes)
    start = state.summary.centers
    state = reset_encoder(state, data, config(**changes), 0.3)
    plain = one_epoch(module, clusters)
    fresh = copy.deepcopy(module)
    drawn = generator(7)
    torch.randperm(N, generator=drawn)  # the order of the one batch
    initialize(fresh.encoder, drawn)
    expected = copy.deepcopy(plain.module)
    with torch.no_grad():
        for name in ("weight", "bias"):
            old = getattr(expected.encoder[0], name)
            new = getattr(fresh.encoder[0], name)
            old.copy_(0.7 * old + 0.3 * new)
    # The fresh draw is in single precision.
    reference.assert_same(state.module, expected, 1e-6)
    assert not state.optimizer.state
    assert plain.optimizer.state
    codes = encode_all(state.module, data)
    assert torch.equal(state.summary.codes, codes)
    found = KMeans(K, init=start.numpy(), n_init=1, tol=0)
    found.fit(codes.numpy(), None, data.weight.numpy())
    centers = sorted_rows(state.summary.centers)
    assert_allclose(centers, sorted_rows(found.cluster_centers_), atol=1e-8)


def test_an_epoch_ends_with_trained_weights(module, clusters, one_epoch, reference):
    """A reset comes before an epoch, not after it."""
    state = one_epoch(module, clusters, reinit_interval=1, weight_reset=0.3)
    reference.assert_same(state.module, one_epoch(module, clusters).module)
    assert state.optimizer.state


def test_weights_are_reset_in_the_epochs_after_k_means(
    data, module, clusters, start, training, config
):
    """In epochs 3 and 5 of 6, and not after the last."""
    settings = config(n_epochs=6, reinit_interval=2, weight_reset=0.2)
    network = training(learning_rate=1e-30)  # nothing else changes the weights
    state = start(module, clusters, settings, network)
    before, reset_epochs = state.module.encoder[0].weight.clone(), []
    for step in clustering(state, data, network, settings):
        weight = step.state.module.encoder[0].weight
        if not torch.equal(weight, before):
            reset_epochs.append(step.state.epoch)
        before = weight.clone()
    assert reset_epochs == [3, 5]


def test_labels_stay_with_their_clusters_across_a_reset(
    data, module, permuted_clusters, start, training, config
):
    """Although K-means finds the same clusters in another order."""
    settings = config(reinit_interval=2, grow_centers=True, weight_reset=1e-9)
    network = training(learning_rate=1e-30)
    state = start(module, permuted_clusters, settings, network)._replace(epoch=2)
    state = next(clustering(state, data, network, settings)).state
    assert state.record.label_change == 0
    assert state.record.center_shift < 1e-6
    assert_allclose(state.summary.cluster_weights, permuted_clusters[1])


def test_a_reset_counts_in_the_changes_of_an_epoch(
    data, module, clusters, start, training, config, reference
):
    settings = config(reinit_interval=2, weight_reset=1.0)
    network = training(learning_rate=1e-30)
    before = start(module, clusters, settings, network)._replace(epoch=2)
    state = next(clustering(before, data, network, settings)).state
    changed = data.weight[state.summary.labels != before.summary.labels].sum()
    share = float(changed / data.weight.sum())
    assert state.record.label_change == pytest.approx(share)
    variance, _ = reference.moments(encode_all(state.module, data), data.weight)
    moved = reference.squared_shift(before.summary.centers, state.summary.centers)
    assert state.record.center_shift == pytest.approx((moved / variance) ** 0.5)
    assert min(share, moved) > 0.01


def test_a_reset_leaves_the_code_layer_and_the_decoder(module, generator):
    before = copy.deepcopy(module)
    reset_weights(module, generator(1), 1.0)
    assert not torch.equal(module.encoder[0].weight, before.encoder[0].weight)
    assert torch.equal(module.encoder[-1].weight, before.encoder[-1].weight)
    assert torch.equal(module.decoder[0].weight, before.decoder[0].weight)


def least_change(before, after, weight):
    """The share of the weight with another label, in the order where it is least."""
    overlap = np.zeros((K, K))
    np.add.at(overlap, (before.numpy(), after.numpy()), weight.numpy())
    kept = overlap[linear_sum_assignment(-overlap)].sum()
    return 1 - kept / overlap.sum()


@pytest.mark.parametrize("grow", [False, True])
def test_labels_after_a_reset_and_k_means_are_matched_to_those_before_both(
    data, module, clusters, start, training, config, grow
):
    """K-means runs twice in an epoch: the order of the clusters does not count."""
    settings = config(
        weight=1.0, reinit_interval=1, weight_reset=1.0, grow_centers=grow
    )
    network = training(batch_size=10, learning_rate=0.1)
    for seed in (5, 10, 14, 22, 30, 32):
        before = start(module, clusters, settings, network, seed)._replace(epoch=1)
        state = next(clustering(before, data, network, settings)).state
        least = least_change(before.summary.labels, state.summary.labels, data.weight)
        assert state.record.label_change == pytest.approx(least)
        assert least > 0


def test_k_means_starts_from_the_present_centers_or_grows(
    data, module, clusters, one_epoch, generator
):
    """Growing finds the better clusters where Lloyd's algorithm is stuck."""
    changes = {"reinit_interval": 1, "weight": 0.0}
    codes = encode_all(one_epoch(module, clusters, **changes).module, data)

    def lloyd(start):
        estimator = KMeans(K, init=start.numpy(), n_init=1, tol=0)
        return estimator.fit(codes.numpy(), None, data.weight.numpy())

    orders = [torch.randperm(N, generator=generator(seed)) for seed in range(30)]
    starts = [codes[order[:K]] for order in orders]
    bad = max(starts, key=lambda start: lloyd(start).inertia_)
    kept, grown = (
        sorted_rows(
            one_epoch(
                module, (bad, clusters[1]), grow_centers=grow, **changes
            ).summary.centers
        )
        for grow in (False, True)
    )
    assert_allclose(kept, sorted_rows(lloyd(bad).cluster_centers_), atol=1e-8)
    best, _ = kmeans_centers(codes, data.weight, K, data.compute)
    assert_allclose(grown, sorted_rows(best), atol=1e-8)
    assert not np.allclose(kept, grown, atol=1e-3)
