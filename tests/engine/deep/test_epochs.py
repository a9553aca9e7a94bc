"""One epoch of every system, against plain torch and numpy."""

import copy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from skrbf.engine.data.device import Compute
from skrbf.engine.deep.center_updates import CENTER_UPDATES
from skrbf.engine.deep.codes import encode_all
from skrbf.engine.deep.epochs import clustering, pretraining
from skrbf.engine.deep.state import start_pretraining
from skrbf.nn import DenseAutoencoder
from skrbf.ops.centering import CENTERING_LOSSES

N, D, C, K = 60, 6, 3, 4
RATE, WEIGHT = 0.01, 0.7  # as in conftest.py
REGULARIZED = {"loss": CENTERING_LOSSES["regularized"], "penalize_scale": False}


@pytest.fixture
def expected_step(data, reference):
    """One step of Adam on all rows, with nothing of skrbf but the network."""

    def step(
        module,
        centers,
        how,
        learned=False,
        centroid=False,
        initial_variance=None,
    ):
        """``how``: softmax responsibilities "constant" or "differentiated"; "hard"."""
        module, x, w = copy.deepcopy(module), data.rows, data.weight
        centers = centers.clone().requires_grad_(learned)
        parameters = [*module.parameters(), *([centers] if learned else [])]
        optimizer = torch.optim.Adam(parameters, RATE)
        h = module.encoder(x)
        variance, leading = reference.moments(h, w)
        temperature = 0.0 if how == "hard" else 2 * 0.2 * leading
        d, r = reference.responsibilities(h, centers, temperature)
        r = r if how == "differentiated" else r.detach()
        error = (module.decoder(h) - x).square().mean(1)
        mean = (w @ h) / w.sum()
        present = (w @ (h - mean).square().sum(1)) / w.sum()
        losses = (h - r @ centers).square().sum(1) if centroid else (r * d).sum(1)
        unit = initial_variance or variance
        centering = (w @ losses) / N / unit
        penalty = w.sum() / N * ((present / unit).sqrt() - 1) ** 2
        loss = (w @ error) / N + WEIGHT * (centering + penalty)
        loss.backward()
        optimizer.step()
        parts = ((w @ error) / N).item(), centering.item()
        return module, centers.detach(), parts, h.detach()

    return step


@pytest.mark.parametrize("size", [N, 25])
def test_pretraining_is_adam_on_the_reconstruction_error(
    data, module, training, generator, reference, size
):
    """The step of a smaller last batch is smaller."""
    settings = training(batch_size=size)
    start = start_pretraining(copy.deepcopy(module), generator(), settings)
    step = next(pretraining(start, data, settings))
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
    assert step.state.record.phase == "pretrain"
    assert (start.epoch, step.state.epoch) == (0, 1)
    reference.assert_same(step.state.module, expected)


def test_pretraining_ends_after_its_epochs(data, module, training, generator):
    settings = training(pretrain_epochs=3)
    start = start_pretraining(module, generator(), settings)
    epochs = [step.state.epoch for step in pretraining(start, data, settings)]
    assert epochs == [1, 2, 3]


def test_ct_pulls_codes_to_fixed_centers(
    data, module, clusters, one_epoch, expected_step, reference
):
    centers, _ = clusters
    state = one_epoch(module, clusters)
    expected, _, losses, _ = expected_step(module, centers, "constant")
    reference.assert_same(state.module, expected)
    assert torch.equal(state.summary.centers, centers)
    record = state.record
    assert_allclose([record.reconstruction_loss, record.clustering_loss], losses)
    assert record.loss == pytest.approx(losses[0] + WEIGHT * losses[1])
    assert record.center_shift == 0
    variance, leading = reference.moments(encode_all(state.module, data), data.weight)
    assert record.code_variance == pytest.approx(variance)
    assert record.temperature == pytest.approx(0.4 * leading)


def test_an_epoch_does_not_change_the_state_before_it(
    data, module, clusters, start, training, config
):
    """Except the network, the optimizer and the generator, which it refers to."""
    settings = config(reinit_interval=1, **CENTER_UPDATES["running_mean"])
    state = start(module, clusters, settings, training())
    before = copy.deepcopy((state.summary, state.label_changes, state.record))
    after = next(clustering(state, data, training(), settings)).state
    for part, copied in zip(state.summary, before[0], strict=True):
        assert torch.equal(torch.as_tensor(part), torch.as_tensor(copied))
    assert (state.epoch, state.label_changes, state.record) == (0, *before[1:])
    assert not torch.equal(after.summary.centers, state.summary.centers)


@pytest.mark.parametrize("differentiate", [False, True])
def test_ct_with_the_centroid_loss(
    module, clusters, one_epoch, expected_step, reference, differentiate
):
    centers, _ = clusters
    state = one_epoch(
        module,
        clusters,
        loss=CENTERING_LOSSES["centroid"],
        differentiate_assignments=differentiate,
    )
    how = "differentiated" if differentiate else "constant"
    expected, _, losses, _ = expected_step(module, centers, how, centroid=True)
    reference.assert_same(state.module, expected)
    assert state.record.clustering_loss == pytest.approx(losses[1])
    distance, _, others, _ = expected_step(module, centers, how)
    assert losses[1] < others[1]
    if differentiate:
        with pytest.raises(AssertionError):
            reference.assert_same(state.module, distance)
    else:  # both losses pull to the soft centroid
        reference.assert_same(state.module, distance)


def test_the_penalty_is_on_a_change_from_the_initial_scale(
    data, module, clusters, one_epoch, expected_step, reference
):
    variance, _ = reference.moments(encode_all(module, data), data.weight)
    initial = 4 * variance
    state = one_epoch(module, clusters, initial_variance=initial)
    expected, _, losses, _ = expected_step(
        module, clusters[0], "constant", initial_variance=initial
    )
    reference.assert_same(state.module, expected)
    share = data.weight.sum() / N  # the standard deviation is half the initial one
    expected_loss = losses[0] + WEIGHT * (losses[1] + float(share) / 4)
    assert state.record.loss == pytest.approx(expected_loss)


@pytest.mark.parametrize("size", [3, 20, 59])
def test_the_penalty_corrects_for_the_size_of_a_batch(
    data, module, clusters, start, training, config, reference, size
):
    """The variance in a batch is about its own mean, which is not that of all rows."""
    data = data._replace(weight=torch.ones(N, dtype=torch.float64))
    variance, _ = reference.moments(encode_all(module, data), data.weight)
    settings = training(batch_size=size, learning_rate=1e-30)
    state = start(module, clusters, config(), settings)
    state = state._replace(initial_variance=variance)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    record = next(clustering(state, data, settings, config())).state.record
    h = encode_all(module, data)[order].numpy()
    penalty = 0.0
    for rows in np.split(h, range(size, N, size)) if size < 59 else [h]:
        b = len(rows)
        present = np.square(rows - rows.mean(0)).sum(1).mean()
        expected = variance * (1 - 1 / b) / (1 - 1 / N)
        penalty += b / N * (np.sqrt(present / expected) - 1) ** 2
    assert record.scale_penalty == pytest.approx(penalty, abs=1e-12)


def test_a_batch_of_one_row_has_no_penalty(module, clusters, one_epoch, training):
    state = one_epoch(module, clusters, training(batch_size=1))
    assert state.record.scale_penalty == 0


def test_codes_far_from_the_origin(module, clusters, one_epoch):
    """Distances keep all their digits, so losses do not depend on the origin."""
    centers, weights = clusters
    near = one_epoch(module, clusters).record
    shift = 1e7
    module.encoder[-1].bias.data += shift
    decoder = module.decoder[0]
    decoder.bias.data -= shift * decoder.weight.sum(1)
    far = one_epoch(module, (centers + shift, weights)).record
    assert far.clustering_loss == pytest.approx(near.clustering_loss, rel=1e-6)
    assert far.label_change == near.label_change


def test_the_regularized_loss_has_no_penalty(
    data, module, clusters, one_epoch, reference
):
    variance, _ = reference.moments(encode_all(module, data), data.weight)
    state = one_epoch(module, clusters, initial_variance=9 * variance, **REGULARIZED)
    assert state.record.scale_penalty == 0
    plain = one_epoch(module, clusters, **REGULARIZED)
    reference.assert_same(state.module, plain.module)


def test_codes_without_initial_variance_have_no_clustering_loss(
    module, clusters, one_epoch, reference
):
    state = one_epoch(module, clusters, initial_variance=0.0)
    assert state.record.scale_penalty == state.record.clustering_loss == 0
    reference.assert_same(state.module, one_epoch(module, clusters, weight=0.0).module)


def test_dcn_moves_the_centers_to_running_means(
    data, module, clusters, one_epoch, expected_step, reference
):
    update = CENTER_UPDATES["running_mean"]
    state = one_epoch(module, clusters, temperature=0.0, **update)
    expected, _, _, h = expected_step(module, clusters[0], "hard")
    reference.assert_same(state.module, expected)
    centers, count = (part.numpy().copy() for part in clusters)
    label = ((h.numpy()[:, None] - centers) ** 2).sum(2).argmin(1)
    for i in range(N):
        count[label[i]] += data.weight[i]
        step = data.weight[i].numpy() / count[label[i]]
        centers[label[i]] += step * (h[i].numpy() - centers[label[i]])
    assert_allclose(state.summary.centers, centers, atol=1e-9)
    assert_allclose(state.summary.cluster_weights, count)
    assert state.record.center_shift > 0


def test_dcn_moves_the_centers_after_every_batch(
    data, module, clusters, one_epoch, training, generator
):
    update = {"temperature": 0.0, **CENTER_UPDATES["running_mean"]}
    # At a learning rate of 0 the codes are fixed and only the centers move.
    frozen = training(batch_size=20, learning_rate=0.0)
    state = one_epoch(module, clusters, frozen, **update)
    codes = encode_all(module, data).numpy()
    centers, count = (part.numpy().copy() for part in clusters)
    order = torch.randperm(N, generator=generator(7))  # the seed of one_epoch
    for batch in order.split(20):
        label = ((codes[batch][:, None] - centers) ** 2).sum(2).argmin(1)
        for i, k in zip(batch.tolist(), label, strict=True):
            count[k] += data.weight[i]
            centers[k] += data.weight[i].item() / count[k] * (codes[i] - centers[k])
    assert_allclose(state.summary.centers, centers, atol=1e-9)
    assert_allclose(state.summary.cluster_weights, count)
    batches = training(batch_size=20)
    moving = one_epoch(module, clusters, batches, **update)
    fixed = one_epoch(module, clusters, batches, temperature=0.0)
    pairs = zip(moving.module.parameters(), fixed.module.parameters(), strict=True)
    assert any(not torch.allclose(p, q) for p, q in pairs)


@pytest.mark.parametrize("size", [N, 25])
def test_running_means_ignore_augmented_rows(
    module, clusters, one_epoch, training, size
):
    plain, augmented = (
        one_epoch(
            module,
            clusters,
            training(batch_size=size, learning_rate=1e-30, augment=augment),
            **CENTER_UPDATES["running_mean"],
        ).summary
        for augment in (None, lambda rows: rows + 9)
    )
    assert_allclose(augmented.centers, plain.centers, atol=1e-9)
    assert_allclose(augmented.cluster_weights, plain.cluster_weights)
    assert not torch.allclose(plain.centers, clusters[0], atol=0.01)


def test_dkm_learns_weights_and_centers_by_the_full_gradient(
    module, clusters, one_epoch, expected_step, reference
):
    state = one_epoch(
        module,
        clusters,
        differentiate_assignments=True,
        **CENTER_UPDATES["gradient"],
    )
    expected, centers, _, _ = expected_step(
        module, clusters[0], "differentiated", learned=True
    )
    reference.assert_same(state.module, expected)
    assert_allclose(state.summary.centers, centers, atol=1e-9)
    assert not np.allclose(centers, clusters[0])
    constant, _, _, _ = expected_step(module, clusters[0], "constant", learned=True)
    with pytest.raises(AssertionError):
        reference.assert_same(state.module, constant)


def test_learned_centers_keep_their_moments_without_k_means(
    data, module, clusters, start, training, config, reference
):
    """Two epochs against a loop of plain torch."""
    settings = config(**CENTER_UPDATES["gradient"])
    state = start(module, clusters, settings, training())
    steps = clustering(state, data, training(), settings)
    net, centers = copy.deepcopy(module), clusters[0].clone().requires_grad_()
    adam = torch.optim.Adam([*net.parameters(), centers], RATE)
    share = data.weight / data.weight.sum()
    initial, _ = reference.moments(encode_all(module, data), data.weight)
    for _ in range(2):
        state = next(steps).state
        _, leading = reference.moments(encode_all(net, data), data.weight)
        h = net.encode(data.rows)
        d, r = reference.responsibilities(h, centers, 2 * 0.2 * leading)
        centering = share @ (r.detach() * d).sum(1)
        mean = share @ h
        variance = share @ (h - mean).square().sum(1)
        penalty = ((variance / initial).sqrt() - 1) ** 2
        error = share @ (net.decode(h) - data.rows).square().mean(1)
        adam.zero_grad()
        (error + WEIGHT * (centering / initial + penalty)).backward()
        adam.step()
    reference.assert_same(state.module, net)
    assert_allclose(state.summary.centers, centers.detach(), atol=1e-9)


@pytest.mark.parametrize("update", ["running_mean", "gradient", "soft_mean"])
def test_the_shift_of_the_centers_is_in_deviations_of_the_codes(
    data, module, clusters, start, training, config, reference, update
):
    settings = config(**CENTER_UPDATES[update])
    state = start(module, clusters, settings, training())
    steps = clustering(state, data, training(), settings)
    for _ in range(2):
        before = state.summary.centers
        state = next(steps).state
        variance, _ = reference.moments(encode_all(state.module, data), data.weight)
        moved = reference.squared_shift(before, state.summary.centers)
        assert state.record.center_shift == pytest.approx((moved / variance) ** 0.5)
        assert moved > 0


def test_sr_k_means_alternates_in_closed_form(
    data, start, training, config, generator, reference
):
    module = DenseAutoencoder(D, C, (8,), "tanh", generator=generator()).double()
    centers = encode_all(module, data)[[3, 11, 29, 50]]
    settings = config(
        **REGULARIZED, assign_once_per_epoch=True, **CENTER_UPDATES["soft_mean"]
    )
    weights = torch.ones(K, dtype=torch.float64)
    state = start(module, (centers, weights), settings, training())
    steps = clustering(state, data, training(), settings)
    h = encode_all(module, data)
    variance, leading = reference.moments(h, data.weight)
    _, q = reference.responsibilities(h, centers, 0.4 * leading)
    for _ in range(3):
        # One pass with (theta, q) fixed ...
        before = copy.deepcopy(state.module)
        state = next(steps).state
        z = before.encoder(data.rows)
        d = (z[:, None] - centers).square().sum(2)
        loss = data.weight @ ((q * d).sum(1) - z.square().sum(1)) / N / variance
        assert state.record.clustering_loss == pytest.approx(loss.item())
        # ... then theta from the old q, and q from the new theta.
        h = encode_all(state.module, data)
        share = (data.weight[:, None] * q).numpy()
        centers = torch.from_numpy(share.T @ h.numpy() / share.sum(0)[:, None])
        assert_allclose(state.summary.centers, centers, atol=1e-9)
        variance, leading = reference.moments(h, data.weight)
        _, q = reference.responsibilities(h, centers, 0.4 * leading)


@pytest.mark.parametrize("once_per_epoch", [False, True])
def test_soft_means_do_not_depend_on_blocks(
    data, module, clusters, start, training, config, once_per_epoch
):
    settings = config(
        assign_once_per_epoch=once_per_epoch, **CENTER_UPDATES["soft_mean"]
    )
    small = Compute.resolve("cpu", torch.float64, work=0, memory_bytes=8 * 8 * K * 7)
    assert small.block_rows(K) == 7
    at_once, in_blocks = (
        next(
            clustering(
                start(module, clusters, settings, training()),
                data._replace(compute=compute),
                training(),
                settings,
            )
        ).state.summary
        for compute in (data.compute, small)
    )
    assert_allclose(in_blocks.centers, at_once.centers, atol=1e-12)
    assert_allclose(in_blocks.cluster_weights, at_once.cluster_weights)
    assert not torch.allclose(at_once.centers, clusters[0], atol=1e-3)


@pytest.mark.parametrize("size", [N, 25])
def test_sr_k_means_steps_at_the_variance_before_the_epoch(
    data, module, clusters, one_epoch, training, generator, reference, size
):
    """The step of a smaller last batch is smaller."""
    settings = training(batch_size=size)
    state = one_epoch(
        module, clusters, settings, assign_once_per_epoch=True, **REGULARIZED
    )
    expected = copy.deepcopy(module)
    optimizer = torch.optim.Adam(expected.parameters(), RATE)
    h = encode_all(module, data)
    variance, leading = reference.moments(h, data.weight)
    _, q = reference.responsibilities(h, clusters[0], 0.4 * leading)
    for index in torch.randperm(N, generator=generator(7)).split(size):
        x = data.rows[index]
        h = expected.encoder(x)
        d = (h[:, None] - clusters[0]).square().sum(2)
        centering = (q[index] * d).sum(1) - h.square().sum(1)
        error = (expected.decoder(h) - x).square().mean(1)
        optimizer.zero_grad()
        loss = data.weight[index] @ (error + WEIGHT / variance * centering)
        (loss / size).backward()
        optimizer.step()
    reference.assert_same(state.module, expected)


def test_augmented_rows_are_pulled_to_the_centers_of_their_rows(
    data, module, clusters, one_epoch, training, reference
):
    def move_far(rows):
        return rows.flip(1) + 5.0

    state = one_epoch(module, clusters, training(augment=move_far))
    expected = copy.deepcopy(module)
    optimizer = torch.optim.Adam(expected.parameters(), RATE)
    x, w = torch.cat([data.rows, move_far(data.rows)]), data.weight.repeat(2) / 2
    h = expected.encoder(x)
    variance, leading = reference.moments(h[:N], data.weight)
    _, r = reference.responsibilities(h[:N].detach(), clusters[0], 0.4 * leading)
    d = (h[:, None] - clusters[0]).square().sum(2)
    centering = w @ (r.repeat(2, 1) * d).sum(1) / variance
    error = w @ (expected.decoder(h) - x).square().mean(1)
    ((error + WEIGHT * centering) / N).backward()
    optimizer.step()
    reference.assert_same(state.module, expected)


def test_denoising_masks_the_input_but_not_the_target(
    data, module, training, generator
):
    inputs, before = [], copy.deepcopy(module)
    module.encoder.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    settings = training(denoising=0.25)
    start = start_pretraining(module, generator(), settings)
    record = next(pretraining(start, data, settings)).state.record
    masked = inputs[0] == 0
    assert float(masked.double().mean()) == pytest.approx(0.25, abs=0.08)
    values, kept = data.rows.flatten().sort()[0], inputs[0][~masked]
    assert torch.isin(kept, values).all()
    order = torch.randperm(N, generator=generator())
    with torch.no_grad():
        errors = (before(inputs[0]) - data.rows[order]).square().mean(1)
    loss = data.weight[order] @ errors / N
    assert record.loss == pytest.approx(float(loss))


def test_only_gradient_steps_are_in_training_mode(
    data, module, clusters, start, training, config, generator
):
    """Dropout, for example, must not act on the codes before or after an epoch."""
    modes = []
    module.eval()
    module.encoder.register_forward_pre_hook(
        lambda encoder, _: modes.append(encoder.training)
    )
    pretrained = start_pretraining(module, generator(), training())
    next(pretraining(pretrained, data, training()))
    assert modes == [True]
    state = start(module, clusters, config(), training())
    next(clustering(state, data, training(), config()))
    assert modes == [True, False, True, False]


def test_a_single_last_row_joins_the_batch_before(data, module, training, generator):
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
        settings = training(batch_size=size)
        start = start_pretraining(module, generator(), settings)
        next(pretraining(start, data, settings))
        assert sizes == expected
