"""One epoch of every system, against plain torch and numpy; centers and their rules."""

import copy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from torch import nn

from helpers import generator
from skrbf.engine.data.compute import Compute
from skrbf.engine.data.scaling import Scaling
from skrbf.engine.data.training_data import TrainingData, prepare
from skrbf.engine.deep.center_updates import CENTER_RULES, Clusters, kmeans, match
from skrbf.engine.deep.epochs import _batches, clustering, pretraining
from skrbf.engine.deep.fit import _repeatable
from skrbf.engine.deep.predict import network_blocks
from skrbf.engine.deep.reclustering import (
    begin,
    encode_all,
    end_with_kmeans,
    largest_cluster,
    look,
    reset,
    reset_weights,
)
from skrbf.engine.deep.state import ClusterPlan, NetPlan, start_training
from skrbf.nn import DenseAutoencoder
from skrbf.nn.autoencoder import initialize
from skrbf.ops.assignment import ASSIGNMENTS
from skrbf.ops.clustering import CENTERING_LOSSES

N, D, C, K = 60, 6, 3, 4
RATE, WEIGHT = 0.01, 0.7
NET = NetPlan(1, 100, RATE, 0.0, None)
TURN = [2, 0, 3, 1]  # another order of the clusters


def plan(**changes):
    return ClusterPlan(
        n_epochs=10,
        n_clusters=K,
        weight=WEIGHT,
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


@pytest.fixture
def compute():
    return Compute.resolve("cpu", torch.float64, work=0, memory_bytes=1 << 30)


@pytest.fixture
def data(compute):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(N, D)) + 3 * rng.integers(0, 2, size=(N, D))
    weight = rng.integers(1, 4, N).astype(float)
    scaling = Scaling(torch.zeros(D).double(), torch.ones(D).double())
    return training_data(
        torch.from_numpy(rows - rows.mean(0)),
        torch.from_numpy(weight / weight.mean()),
        scaling,
        compute,
    )


def training_data(rows, weight, scaling, compute):
    """Rows as a fit has them, that are not merged or scaled."""
    n = len(rows)
    index = torch.arange(n)
    return TrainingData(rows, 0 * index, weight, index, n, n, scaling, compute)


@pytest.fixture
def module():
    return DenseAutoencoder(D, C, (8,), generator=generator()).double()


@pytest.fixture
def clusters(data, module):
    codes, mass = encode_all(module, data), torch.tensor([5.0, 9.0, 2.0, 7.0])
    return Clusters(codes[[3, 11, 29, 50]] + 0.1, mass.double())


def started(module, data, clusters, how, seed=0, rate=RATE):
    """A training about to cluster, of a copy of the module."""
    training = start_training(
        copy.deepcopy(module), generator(seed), rate, clusters, learned=how.rule.learned
    )
    begin(training, data, how, encode_all(training.module, data))
    return training


def one_epoch(module, data, clusters, net=NET, began=None, **changes):
    """The training after one epoch, from a copy of the module."""
    how = plan(**changes)
    training = started(module, data, clusters, how, 7, net.learning_rate)
    if began is not None:
        training.began = began
    next(clustering(training, data, net, how))
    return training


def squared_shift(before, after):
    return np.square(after.numpy() - before.numpy()).sum(1).mean()


def responsibilities(h, centers, temperature):
    d = (h[:, None] - centers).square().sum(2)  # (n, k)
    if temperature == 0:
        return d, torch.nn.functional.one_hot(d.argmin(1), len(centers)).to(d)
    return d, torch.softmax(-d / temperature, 1)


def moments(h, weight):
    share = weight / weight.sum()
    cov = np.cov(h.detach().numpy().T, aweights=share.numpy(), ddof=0)
    return np.trace(cov), np.linalg.eigvalsh(cov)[-1]


def expected_step(
    module, data, centers, how, learned=False, centroid=False, began=None
):
    """The same with nothing of skrbf but the network: one step of Adam on all rows.

    ``how``: "held" or "through" the weights, with softmax, or "hard".
    """
    module, x, w = copy.deepcopy(module), data.rows, data.weight
    centers = centers.clone().requires_grad_(learned)
    parameters = [*module.parameters(), *([centers] if learned else [])]
    optimizer = torch.optim.Adam(parameters, RATE)
    h = module.encoder(x)
    variance, largest = moments(h, w)
    temperature = 0.0 if how == "hard" else 2 * 0.2 * largest
    d, r = responsibilities(h, centers, temperature)
    r = r if how == "through" else r.detach()
    error = (module.decoder(h) - x).square().mean(1)
    mean = (w @ h) / w.sum()
    spread = (w @ (h - mean).square().sum(1)) / w.sum()
    pulls = (h - r @ centers).square().sum(1) if centroid else (r * d).sum(1)
    pull = (w @ pulls) / N / (began or variance)
    drift = w.sum() / N * ((spread / (began or variance)).sqrt() - 1) ** 2
    loss = (w @ error) / N + WEIGHT * (pull + drift)
    loss.backward()
    optimizer.step()
    return module, centers.detach(), (((w @ error) / N).item(), pull.item()), h.detach()


def assert_same(training, module, tolerance=1e-9):
    for found, expected in zip(
        training.module.parameters(), module.parameters(), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("size", [N, 25])
def test_pretraining_is_adam_on_the_reconstruction(data, module, size):
    """With a smaller step where the last batch is smaller."""
    training = start_training(copy.deepcopy(module), generator(), RATE)
    step = next(pretraining(training, data, NET._replace(batch_size=size)))
    expected, total = copy.deepcopy(module), 0.0
    optimizer = torch.optim.Adam(expected.parameters(), RATE)
    for index in torch.randperm(N, generator=generator()).split(size):
        x = data.rows[index]
        loss = data.weight[index] @ (expected(x) - x).square().mean(1)
        optimizer.zero_grad()
        (loss / size).backward()
        optimizer.step()
        total += loss.item()
    assert step.loss == pytest.approx(total / N)
    assert training.report.phase == "pretrain"
    assert_same(training, expected)


def test_ct_pulls_to_centers_that_stay(data, module, clusters):
    training = one_epoch(module, data, clusters)
    expected, _, losses, _ = expected_step(module, data, clusters.centers, "held")
    assert_same(training, expected)
    assert torch.equal(training.clusters.centers, clusters.centers)
    report = training.report
    assert_allclose([report.reconstruction_loss, report.clustering_loss], losses)
    assert report.loss == pytest.approx(losses[0] + WEIGHT * losses[1])
    assert report.center_shift == 0
    variance, largest = moments(encode_all(training.module, data), data.weight)
    assert report.code_variance == pytest.approx(variance)
    assert report.temperature == pytest.approx(0.4 * largest)


@pytest.mark.parametrize("through", [False, True])
def test_ct_with_the_other_reading(data, module, clusters, through):
    loss = CENTERING_LOSSES["centroid"]
    training = one_epoch(module, data, clusters, loss=loss, through_weights=through)
    how = "through" if through else "held"
    expected, _, losses, _ = expected_step(
        module, data, clusters.centers, how, centroid=True
    )
    assert_same(training, expected)
    assert training.report.clustering_loss == pytest.approx(losses[1])
    first, _, others, _ = expected_step(module, data, clusters.centers, how)
    assert losses[1] < others[1]
    if through:
        with pytest.raises(AssertionError):
            assert_same(training, first)
    else:  # both pull to the soft centroid
        assert_same(training, first)


def test_codes_are_held_to_the_scale_that_they_began_with(data, module, clusters):
    variance, _ = moments(encode_all(module, data), data.weight)
    began = 4 * variance
    training = one_epoch(module, data, clusters, began=began)
    expected, _, losses, _ = expected_step(
        module, data, clusters.centers, "held", began=began
    )
    assert_same(training, expected)
    share = data.weight.sum() / N  # the deviation is half of what it was
    expected_loss = losses[0] + WEIGHT * (losses[1] + float(share) / 4)
    assert training.report.loss == pytest.approx(expected_loss)


@pytest.mark.parametrize("size", [3, 20, 59])
def test_few_rows_are_held_to_what_few_rows_have(data, module, clusters, size):
    """Their variance is about their own mean: batches of any size hold one scale."""
    data = data._replace(weight=torch.ones(N, dtype=torch.float64))
    variance, _ = moments(encode_all(module, data), data.weight)
    net = NET._replace(batch_size=size, learning_rate=1e-30)
    training = one_epoch(module, data, clusters, net, began=variance)
    h = encode_all(module, data)[torch.randperm(N, generator=generator(7))].numpy()
    drift = 0.0
    for rows in np.split(h, range(size, N, size)) if size < 59 else [h]:
        b = len(rows)
        present = np.square(rows - rows.mean(0)).sum(1).mean()
        expected = variance * (1 - 1 / b) / (1 - 1 / N)
        drift += b / N * (np.sqrt(present / expected) - 1) ** 2
    assert training.report.scale_penalty == pytest.approx(drift, abs=1e-12)


def test_a_smaller_last_batch_is_a_smaller_step(data):
    """Its loss is divided by the size of all others."""
    net = NET._replace(batch_size=25)
    training = start_training(nn.Linear(1, 1), generator(), 1.0)
    batches, sizes = zip(*_batches(training, data, net), strict=True)
    assert [len(index) for index in batches] == [25, 25, 10]
    assert sizes == (25, 25, 25)
    assert_array_equal(torch.cat(batches).sort()[0], range(N))


def test_blocks_of_rows_keep_to_the_memory(data, module):
    small = Compute.resolve("cpu", torch.float64, work=0, memory_bytes=300_000)
    wide = training_data(torch.zeros(100, 900), torch.ones(100), data.scaling, small)
    assert 1 < max(map(len, network_blocks(wide))) <= 300_000 / 8 / 8 / 900
    assert_array_equal(torch.cat([*network_blocks(wide)]), wide.rows)
    large = Compute.resolve("cpu", torch.float32, work=0, memory_bytes=1 << 30)
    rows = torch.zeros(300, 100_000)  # so wide that a cache holds but few of them
    wide = training_data(rows, torch.ones(300), data.scaling, large)
    assert [*map(len, network_blocks(wide))] == [128, 128, 44]


def test_variance_and_temperature_of_codes_far_away(data, clusters):
    """To the digits of float64, of codes in float32; rounding is no temperature."""
    codes = (1e4 + torch.randn(N, C, generator=generator())).float()
    centers = clusters._replace(centers=codes[:K])
    single = Compute.resolve("cpu", torch.float32, work=0, memory_bytes=1 << 30)
    data = data._replace(weight=data.weight.float(), compute=single)
    variance, largest = moments(codes.double(), data.weight.double())
    view = look(codes, centers, data, plan())
    assert view.variance == pytest.approx(variance, rel=1e-9)
    assert view.temperature == pytest.approx(2 * 0.2 * largest, rel=1e-9)
    assert look(codes, centers, data, plan(temperature=1e-9)).temperature == 0


def test_deterministic_convolutions_are_asked_for_and_settings_come_back():
    cudnn = torch.backends.cudnn
    before = cudnn.enabled, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic
    with _repeatable(torch.device("cuda")):
        assert (cudnn.enabled, cudnn.allow_tf32) == before[:2]
        assert (cudnn.benchmark, cudnn.deterministic) == (False, True)
    now = cudnn.enabled, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic
    assert now == before


def test_a_row_alone_has_no_scale(data, module, clusters):
    net = NET._replace(batch_size=1)
    assert one_epoch(module, data, clusters, net).report.scale_penalty == 0


def test_codes_far_from_the_origin(data, module, clusters):
    """Their distances have all digits: losses are those of the codes moved back."""
    plain = one_epoch(module, data, clusters).report
    shift = 1e7
    module.encoder[-1].bias.data += shift
    decoder = module.decoder[0]
    decoder.bias.data -= shift * decoder.weight.sum(1)
    moved = Clusters(clusters.centers + shift, clusters.mass)
    far = one_epoch(module, data, moved).report
    assert far.clustering_loss == pytest.approx(plain.clustering_loss, rel=1e-6)
    assert far.label_change == plain.label_change


def test_the_regularized_loss_has_no_drift(data, module, clusters):
    regularized = CENTERING_LOSSES["regularized"]
    variance, _ = moments(encode_all(module, data), data.weight)
    training = one_epoch(module, data, clusters, began=9 * variance, loss=regularized)
    assert training.report.scale_penalty == 0
    assert_same(training, one_epoch(module, data, clusters, loss=regularized).module)


def test_codes_that_were_all_the_same_have_no_drift(data, module, clusters):
    training = one_epoch(module, data, clusters, began=0.0)
    assert training.report.scale_penalty == training.report.clustering_loss == 0
    assert_same(training, one_epoch(module, data, clusters, weight=0.0).module)


def test_dcn_moves_the_centers_to_running_means(data, module, clusters):
    rule = CENTER_RULES["running_mean"]
    training = one_epoch(module, data, clusters, temperature=0.0, rule=rule)
    expected, _, _, h = expected_step(module, data, clusters.centers, "hard")
    assert_same(training, expected)
    centers, count = clusters.centers.numpy().copy(), clusters.mass.numpy().copy()
    label = ((h.numpy()[:, None] - centers) ** 2).sum(2).argmin(1)
    for i in range(N):
        count[label[i]] += data.weight[i]
        step = data.weight[i].numpy() / count[label[i]]
        centers[label[i]] += step * (h[i].numpy() - centers[label[i]])
    assert_allclose(training.clusters.centers, centers, atol=1e-9)
    assert_allclose(training.clusters.mass, count)
    assert training.report.center_shift > 0


def test_dcn_moves_the_centers_with_every_batch(data, module, clusters):
    net = NET._replace(batch_size=20)
    rule = CENTER_RULES["running_mean"]
    # At a rate of 0 the codes stay, and the moves of the centers can be followed.
    frozen = net._replace(learning_rate=0.0)
    training = one_epoch(module, data, clusters, frozen, temperature=0.0, rule=rule)
    codes = encode_all(module, data).numpy()
    centers, count = clusters.centers.numpy().copy(), clusters.mass.numpy().copy()
    order = torch.randperm(N, generator=generator(7))  # of the seed in one_epoch
    for batch in order.split(20):
        label = ((codes[batch][:, None] - centers) ** 2).sum(2).argmin(1)
        for i, k in zip(batch.tolist(), label, strict=True):
            count[k] += data.weight[i]
            centers[k] += data.weight[i].item() / count[k] * (codes[i] - centers[k])
    assert_allclose(training.clusters.centers, centers, atol=1e-9)
    assert_allclose(training.clusters.mass, count)
    training = one_epoch(module, data, clusters, net, temperature=0.0, rule=rule)
    still = one_epoch(module, data, clusters, net, temperature=0.0)
    assert any(
        not torch.allclose(p, q)
        for p, q in zip(
            training.module.parameters(), still.module.parameters(), strict=True
        )
    )


def test_dkm_learns_weights_and_centers_by_the_full_gradient(data, module, clusters):
    rule = CENTER_RULES["gradient"]
    training = one_epoch(module, data, clusters, through_weights=True, rule=rule)
    expected, centers, _, _ = expected_step(
        module, data, clusters.centers, "through", learned=True
    )
    assert_same(training, expected)
    assert_allclose(training.clusters.centers, centers, atol=1e-9)
    assert not np.allclose(centers, clusters.centers)
    held, _, _, _ = expected_step(module, data, clusters.centers, "held", learned=True)
    with pytest.raises(AssertionError):
        assert_same(training, held)


@pytest.mark.parametrize("rule", ["kmeans", "gradient"])
def test_reinitialization_is_k_means_with_matched_labels(data, module, clusters, rule):
    training = one_epoch(
        module, data, clusters, rule=CENTER_RULES[rule], reinit_interval=1
    )
    codes = encode_all(training.module, data).numpy()
    plain = one_epoch(module, data, clusters, rule=CENTER_RULES[rule])
    assert_same(training, plain.module)
    start = plain.clusters.centers.numpy()
    found = KMeans(K, init=start, n_init=1, tol=0).fit(codes, None, data.weight.numpy())
    before = ((encode_all(module, data).numpy()[:, None] - clusters.centers.numpy())
              ** 2).sum(2).argmin(1)  # fmt: skip
    overlap = np.zeros((K, K))
    np.add.at(overlap, (before, found.labels_), data.weight.numpy())
    order = linear_sum_assignment(-overlap)[1]
    assert_allclose(training.clusters.centers, found.cluster_centers_[order], atol=1e-8)
    place = order.argsort()
    assert_array_equal(training.view.labels, place[found.labels_])
    changed = data.weight[torch.from_numpy(place[found.labels_] != before)].sum()
    assert training.report.label_change == pytest.approx(
        float(changed / data.weight.sum())
    )


@pytest.mark.parametrize("rule", ["running_mean", "gradient", "soft_mean"])
def test_shift_of_the_centers_in_deviations_of_the_codes(data, module, clusters, rule):
    how = plan(rule=CENTER_RULES[rule])
    training = started(module, data, clusters, how)
    steps = clustering(training, data, NET, how)
    for _ in range(2):
        before = training.clusters.centers.clone()
        next(steps)
        variance, _ = moments(encode_all(training.module, data), data.weight)
        moved = squared_shift(before, training.clusters.centers)
        assert training.report.center_shift == pytest.approx((moved / variance) ** 0.5)
        assert moved > 0


def test_mass_belongs_to_its_center_after_k_means(data, module):
    found = kmeans(encode_all(module, data), data.weight, K, data.compute)
    clusters = Clusters(found.centers[TURN], found.mass[TURN])
    how = {"rule": CENTER_RULES["running_mean"], "reinit_interval": 1, "regrow": True}
    net = NET._replace(learning_rate=1e-30)
    training = one_epoch(module, data, clusters, net, **how)
    assert_allclose(training.clusters.centers, clusters.centers, atol=1e-9)
    counts = np.bincount(training.view.labels, data.weight)
    assert_allclose(training.clusters.mass, counts, rtol=1e-6)


def test_learned_centers_go_on_from_k_means_without_their_moments(
    data, module, clusters
):
    training = one_epoch(
        module, data, clusters, rule=CENTER_RULES["gradient"], reinit_interval=1
    )
    parameters = training.optimizer.param_groups[0]["params"]
    assert torch.equal(parameters[-1], training.clusters.centers)
    assert parameters[-1] not in training.optimizer.state
    assert all(p in training.optimizer.state for p in parameters[:-1])


def test_learned_centers_keep_their_moments_where_k_means_is_not_due(
    data, module, clusters
):
    """Two epochs against a loop of plain torch."""
    how = plan(rule=CENTER_RULES["gradient"])
    training = started(module, data, clusters, how)
    steps = clustering(training, data, NET, how)
    net, centers = copy.deepcopy(module), clusters.centers.clone().requires_grad_()
    adam = torch.optim.Adam([*net.parameters(), centers], RATE)
    share = data.weight / data.weight.sum()
    began, _ = moments(encode_all(module, data), data.weight)
    for _ in range(2):
        next(steps)
        _, largest = moments(encode_all(net, data), data.weight)
        h = net.encode(data.rows)
        d, r = responsibilities(h, centers, 2 * 0.2 * largest)
        pull = share @ (r.detach() * d).sum(1)
        mean = share @ h
        variance = share @ (h - mean).square().sum(1)
        drift = ((variance / began).sqrt() - 1) ** 2
        error = share @ (net.decode(h) - data.rows).square().mean(1)
        adam.zero_grad()
        (error + WEIGHT * (pull / began + drift)).backward()
        adam.step()
    assert_same(training, net)
    assert_allclose(training.clusters.centers, centers.detach(), atol=1e-9)


def test_learned_centers_are_those_of_k_means_after_a_reset(data, module, clusters):
    how = plan(
        rule=CENTER_RULES["gradient"], reinit_interval=3, weight_reset=0.3, regrow=True
    )
    training = started(module, data, clusters, how)
    next(clustering(training, data, NET, how))
    before = training.learned.detach().clone()
    reset(training, data, how)
    assert torch.equal(training.learned, training.clusters.centers)
    assert not torch.allclose(training.learned, before, atol=0.01)


def test_k_means_every_other_epoch(data, module, clusters):
    how = plan(reinit_interval=2)
    training = started(module, data, clusters, how)
    steps = clustering(training, data, NET, how)
    shifts = []
    for _ in range(4):
        next(steps)
        shifts.append(training.report.center_shift > 0)
    assert shifts == [False, True, False, True]


def test_k_means_after_the_last_epoch(data, module, clusters):
    how = plan(reinit_interval=4, n_epochs=3)
    training = started(module, data, clusters, how)
    steps = clustering(training, data, NET, how)
    shifts = []
    for _ in range(3):
        next(steps)
        shifts.append(training.report.center_shift > 0)
    assert shifts == [False, False, True]


def test_k_means_at_an_end_that_was_set_later(data, module, clusters):
    """The same as in the epoch that was known to be the last; twice is as once."""
    found = []
    for n_epochs in (3, 9):
        how = plan(reinit_interval=4, n_epochs=n_epochs)
        training = started(module, data, clusters, how)
        steps = clustering(training, data, NET, how)
        for _ in range(3):
            next(steps)
        before = training.clusters.centers.clone()
        end_with_kmeans(training, data, plan(reinit_interval=4, n_epochs=3))
        assert torch.equal(training.clusters.centers, before) == (n_epochs == 3)
        found.append(training)
    assert torch.equal(found[0].clusters.centers, found[1].clusters.centers)
    assert_array_equal(found[0].view.labels, found[1].view.labels)


def test_brb_resets_weights_and_moments(data, module, clusters):
    how = {"reinit_interval": 1, "weight_reset": 0.3}
    training = one_epoch(module, data, clusters, **how)
    start = training.clusters.centers
    reset(training, data, plan(**how))
    plain = one_epoch(module, data, clusters)
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
    assert_same(training, expected, 1e-6)  # the fresh draw is in single precision
    assert not training.optimizer.state
    assert plain.optimizer.state
    codes = encode_all(training.module, data)
    assert torch.equal(training.view.codes, codes)
    found = KMeans(K, init=start.numpy(), n_init=1, tol=0)
    found.fit(codes.numpy(), None, data.weight.numpy())
    assert_allclose(
        np.sort(training.clusters.centers, axis=0),
        np.sort(found.cluster_centers_, axis=0),
        atol=1e-8,
    )


def test_an_epoch_ends_with_weights_that_were_trained(data, module, clusters):
    how = {"reinit_interval": 1, "weight_reset": 0.3}
    training = one_epoch(module, data, clusters, **how)
    assert_same(training, one_epoch(module, data, clusters).module)
    assert training.optimizer.state


def test_labels_stay_with_their_clusters_across_a_reset(data, module):
    """Where K-means finds the same clusters in another order."""
    how = plan(reinit_interval=2, regrow=True, weight_reset=1e-9)
    found = kmeans(encode_all(module, data), data.weight, K, data.compute)
    clusters = Clusters(found.centers[TURN], found.mass[TURN])
    training = started(module, data, clusters, how, rate=1e-30)
    training.epoch = 2
    next(clustering(training, data, NET, how))
    assert training.report.label_change == 0
    assert training.report.center_shift < 1e-6
    assert_allclose(training.clusters.mass, clusters.mass)


def test_a_reset_is_part_of_what_an_epoch_has_changed(data, module, clusters):
    how = plan(reinit_interval=2, weight_reset=1.0)
    training = started(module, data, clusters, how, rate=1e-30)
    training.epoch, before = 2, training.view
    next(clustering(training, data, NET, how))
    changed = data.weight[training.view.labels != before.labels].sum()
    share = float(changed / data.weight.sum())
    assert training.report.label_change == pytest.approx(share)
    variance, _ = moments(encode_all(training.module, data), data.weight)
    moved = squared_shift(before.centers, training.clusters.centers)
    assert training.report.center_shift == pytest.approx((moved / variance) ** 0.5)
    assert min(share, moved) > 0.01


def test_a_reset_leaves_the_last_layer_of_the_encoder_and_the_decoder(module):
    before = copy.deepcopy(module)
    reset_weights(module, generator(1), 1.0)
    assert not torch.equal(module.encoder[0].weight, before.encoder[0].weight)
    assert torch.equal(module.encoder[-1].weight, before.encoder[-1].weight)
    assert torch.equal(module.decoder[0].weight, before.decoder[0].weight)


def test_sr_k_means_alternates_in_closed_form(data, clusters):
    module = DenseAutoencoder(D, C, (8,), "tanh", generator=generator()).double()
    centers = encode_all(module, data)[[3, 11, 29, 50]]
    clusters = clusters._replace(centers=centers)
    how = plan(
        loss=CENTERING_LOSSES["regularized"],
        once_per_epoch=True,
        rule=CENTER_RULES["soft_mean"],
    )
    training = started(module, data, clusters, how)
    steps = clustering(training, data, NET, how)
    h = encode_all(module, data)
    variance, largest = moments(h, data.weight)
    _, q = responsibilities(h, centers, 0.4 * largest)
    for _ in range(3):
        # One pass with (theta, q) fixed ...
        reference = copy.deepcopy(training.module)
        next(steps)
        z = reference.encoder(data.rows)
        d = (z[:, None] - centers).square().sum(2)
        loss = data.weight @ ((q * d).sum(1) - z.square().sum(1)) / N / variance
        assert training.report.clustering_loss == pytest.approx(loss.item())
        # ... then theta from the old q, and q from the new theta.
        h = encode_all(training.module, data)
        share = (data.weight[:, None] * q).numpy()
        centers = torch.from_numpy(share.T @ h.numpy() / share.sum(0)[:, None])
        assert_allclose(training.clusters.centers, centers, atol=1e-9)
        variance, largest = moments(h, data.weight)
        _, q = responsibilities(h, centers, 0.4 * largest)  # seen in the next loss


@pytest.mark.parametrize("once_per_epoch", [False, True])
def test_soft_means_block_by_block(data, module, clusters, once_per_epoch):
    how = {"rule": CENTER_RULES["soft_mean"], "once_per_epoch": once_per_epoch}
    whole = one_epoch(module, data, clusters, **how).clusters
    little = Compute.resolve("cpu", torch.float64, work=0, memory_bytes=8 * 8 * K * 7)
    assert little.block_rows(K) == 7
    parts = one_epoch(module, data._replace(compute=little), clusters, **how).clusters
    assert_allclose(parts.centers, whole.centers, atol=1e-12)
    assert_allclose(parts.mass, whole.mass)
    assert not torch.allclose(whole.centers, clusters.centers, atol=1e-3)


@pytest.mark.parametrize("size", [N, 25])
def test_sr_k_means_steps_with_the_variance_held(data, module, clusters, size):
    """With a smaller step where the last batch is smaller."""
    how = {"loss": CENTERING_LOSSES["regularized"], "once_per_epoch": True}
    net = NET._replace(batch_size=size)
    training = one_epoch(module, data, clusters, net, **how)
    expected = copy.deepcopy(module)
    optimizer = torch.optim.Adam(expected.parameters(), RATE)
    h = encode_all(module, data)
    variance, largest = moments(h, data.weight)
    _, q = responsibilities(h, clusters.centers, 0.4 * largest)
    for index in torch.randperm(N, generator=generator(7)).split(size):
        x = data.rows[index]
        h = expected.encoder(x)
        d = (h[:, None] - clusters.centers).square().sum(2)
        pull = (q[index] * d).sum(1) - h.square().sum(1)
        error = (expected.decoder(h) - x).square().mean(1)
        optimizer.zero_grad()
        loss = data.weight[index] @ (error + WEIGHT / variance * pull)
        (loss / size).backward()
        optimizer.step()
    assert_same(training, expected)


def test_an_augmented_row_is_pulled_to_where_the_row_belongs(data, module, clusters):
    def away(rows):
        return rows.flip(1) + 5.0

    training = one_epoch(module, data, clusters, NET._replace(augment=away))
    expected = copy.deepcopy(module)
    optimizer = torch.optim.Adam(expected.parameters(), RATE)
    x, w = torch.cat([data.rows, away(data.rows)]), data.weight.repeat(2) / 2
    h = expected.encoder(x)
    variance, largest = moments(h[:N], data.weight)
    _, r = responsibilities(h[:N].detach(), clusters.centers, 0.4 * largest)
    d = (h[:, None] - clusters.centers).square().sum(2)
    pull = w @ (r.repeat(2, 1) * d).sum(1) / variance
    error = w @ (expected.decoder(h) - x).square().mean(1)
    ((error + WEIGHT * pull) / N).backward()
    optimizer.step()
    assert_same(training, expected)


def test_denoising_masks_what_is_seen_and_not_what_is_asked_for(data, module):
    seen, before = [], copy.deepcopy(module)
    module.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    training = start_training(module, generator(), RATE)
    next(pretraining(training, data, NET._replace(denoising=0.25)))
    masked = seen[0] == 0
    assert float(masked.double().mean()) == pytest.approx(0.25, abs=0.08)
    values, kept = data.rows.flatten().sort()[0], seen[0][~masked]
    assert torch.isin(kept, values).all()
    order = torch.randperm(N, generator=generator())
    with torch.no_grad():
        errors = (before(seen[0]) - data.rows[order]).square().mean(1)
    loss = data.weight[order] @ errors / N
    assert training.report.loss == pytest.approx(float(loss))


def test_only_what_is_trained_is_in_training_mode(data, module, clusters):
    """Such as dropout: not where codes are looked at, before or after."""
    modes = []
    module.eval()
    module.encoder.register_forward_pre_hook(
        lambda encoder, _: modes.append(encoder.training)
    )
    next(pretraining(start_training(module, generator(), RATE), data, NET))
    assert modes == [True]
    training = started(module, data, clusters, plan())
    next(clustering(training, data, NET, plan()))
    assert modes == [True, False, True, False]


def test_a_last_row_alone_joins_the_batch_before(data, module):
    data = data._replace(rows=data.rows[:57], weight=data.weight[:57])
    sizes = []
    module.encoder.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    for size, expected in {
        28: [28, 29],
        56: [57],
        55: [55, 2],
        57: [57],
        80: [57],
        1: [1] * 57,
    }.items():
        sizes.clear()
        training = start_training(module, generator(), RATE)
        next(pretraining(training, data, NET._replace(batch_size=size)))
        assert sizes == expected


def test_reinitialization_from_the_present_centers_or_grown(data, module, clusters):
    """Where Lloyd stays in a bad basin, growing does not."""
    still = {"reinit_interval": 1, "weight": 0.0}
    codes = encode_all(one_epoch(module, data, clusters, **still).module, data)

    def lloyd(start):
        est = KMeans(K, init=start.numpy(), n_init=1, tol=0)
        return est.fit(codes.numpy(), None, data.weight.numpy())

    starts = [codes[torch.randperm(N, generator=generator(s))[:K]] for s in range(30)]
    bad = max(starts, key=lambda start: lloyd(start).inertia_)
    clusters = clusters._replace(centers=bad)
    kept = one_epoch(module, data, clusters, **still).clusters.centers
    grown = one_epoch(module, data, clusters, regrow=True, **still).clusters.centers
    own = lloyd(bad).cluster_centers_
    assert_allclose(np.sort(kept, 0), np.sort(own, 0), atol=1e-8)
    best = kmeans(codes, data.weight, K, data.compute).centers
    assert_allclose(np.sort(grown, 0), np.sort(best, 0), atol=1e-8)
    assert not np.allclose(np.sort(kept, 0), np.sort(grown, 0), atol=1e-3)


def test_hard_and_soft_views(data, module, clusters):
    codes = encode_all(module, data)
    hard = look(codes, clusters, data, plan(temperature=0.0))
    assert hard.temperature == 0
    label = responsibilities(codes, clusters.centers, 0)[1].argmax(1)
    assert torch.equal(hard.labels, label)
    share = torch.bincount(label, data.weight).max() / data.weight.sum()
    assert largest_cluster(hard, data, K) == pytest.approx(float(share))
    same = look(torch.ones_like(codes), clusters, data, plan())
    assert same.variance == same.temperature == 0
    assert largest_cluster(same, data, K) == 1


def test_k_means_of_codes_is_that_of_scikit_learn(data, module, compute):
    codes = encode_all(module, data)
    found = kmeans(codes, data.weight, K, compute)
    many = KMeans(K, n_init=30, random_state=0).fit(codes.numpy(), None, data.weight)
    d = ((codes.numpy()[:, None] - found.centers.numpy()) ** 2).sum(2)
    assert d.min(1) @ data.weight.numpy() <= 1.001 * many.inertia_
    assert_allclose(
        found.mass, np.bincount(d.argmin(1), data.weight.numpy()), rtol=1e-6
    )
    lloyd = kmeans(codes, data.weight, K, compute, codes[:K])
    one = KMeans(K, init=codes[:K].numpy(), n_init=1, tol=0)
    one.fit(codes.numpy(), None, data.weight.numpy())
    assert_allclose(
        np.sort(lloyd.centers, 0), np.sort(one.cluster_centers_, 0), atol=1e-8
    )


def test_match_undoes_a_permutation():
    rng = np.random.default_rng(0)
    before, order = rng.integers(0, 5, 200), rng.permutation(5)
    after = order[before]
    after[:20] = rng.integers(0, 5, 20)
    found = match(torch.from_numpy(before), torch.from_numpy(after), torch.ones(200), 5)
    assert_array_equal(found, order)
    light = torch.where(torch.arange(200) < 20, 1e6, 1.0)
    with_weight = match(torch.from_numpy(before), torch.from_numpy(after), light, 5)
    assert not np.array_equal(with_weight, order)
    assert sorted(with_weight.tolist()) == list(range(5))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_are_merged_scaled_by_one_number_and_sorted(dtype, compute):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 3)).astype(dtype) * 5 + 2
    weight = rng.integers(0, 3, 20).astype(float)

    def prepared(X, weight=None):
        weight = None if weight is None else torch.from_numpy(weight)
        rows = compute.dense(torch.from_numpy(X))
        return prepare(rows, None, weight, compute)[0]

    a = prepared(X, weight)
    b = prepared(rng.permutation(X.repeat(weight.astype(int), 0)))
    assert torch.equal(a.rows, b.rows)
    assert torch.equal(a.weight, b.weight)
    assert a.weight.mean() == pytest.approx(1)
    assert len(a.rows) == (weight > 0).sum()
    mean = np.average(X.astype(np.float64), axis=0, weights=weight)
    scale = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weight).mean())
    assert_allclose(a.scaling.mean, mean)
    assert_allclose(a.scaling.scale, scale)
    back = a.rows.numpy() * scale + mean
    assert_allclose(np.sort(back, 0), np.sort(X[weight > 0], 0), rtol=1e-5, atol=1e-5)
    thousand = prepared((1024 * X).astype(dtype), weight)
    assert torch.equal(thousand.rows, a.rows)
