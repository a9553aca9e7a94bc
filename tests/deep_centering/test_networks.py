"""Custom networks: random numbers, frozen layers and weight resets."""

from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from skrbf import DeepCenteringClustering
from skrbf.nn import Autoencoder, DenseAutoencoder

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6)) + 4 * (np.arange(60) % 3)[:, None]
RESET = {"weight_reset": 0.5, "reinit_interval": 1}

pytestmark = pytest.mark.filterwarnings("ignore:In its last epoch the network")


def net(encoder, **params):
    small = {"n_components": 2, "pretrain_epochs": 2, "max_iter": 3, "tol": 0.0}
    small["batch_size"] = 32
    return DeepCenteringClustering(3, encoder=encoder, random_state=0, **small | params)


def lazy(n_features, n_components):
    encoder = [nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(n_components)]
    return Autoencoder(nn.Sequential(*encoder), nn.LazyLinear(n_features))


def dropping(n_features, n_components):
    encoder = [nn.Dropout(0.3), nn.Linear(n_features, n_components)]
    return Autoencoder(nn.Sequential(*encoder), nn.Linear(n_components, n_features))


@pytest.mark.parametrize("encoder", [lazy, dropping])
def test_random_numbers_of_a_network_come_from_the_seed(encoder):
    before = torch.get_rng_state()
    first = net(encoder).fit(X)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(1)
    assert net(encoder).fit(X).history_["loss"] == first.history_["loss"]


def test_weights_of_lazy_layers_come_from_the_seed():
    def drawn(seed):
        est = net(lazy, pretrain_epochs=0, max_iter=0).set_params(random_state=seed)
        return list(est.fit(X).autoencoder_.parameters())

    first, again, other = drawn(0), drawn(0), drawn(1)
    assert len(first) == 6
    assert all(map(torch.equal, first, again))
    assert not any(map(torch.equal, first, other))


def test_fits_in_threads_do_not_share_random_numbers():
    before = torch.get_rng_state()
    alone = net(dropping).fit(X).history_["loss"]
    with ThreadPoolExecutor(4) as pool:
        fits = list(pool.map(lambda _: net(dropping).fit(X), range(8)))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(fit.history_["loss"] == alone for fit in fits)


def normalizing(n_features, n_components):
    encoder = [nn.BatchNorm1d(n_features), nn.Linear(n_features, n_components)]
    return Autoencoder(nn.Sequential(*encoder), nn.Linear(n_components, n_features))


def lazily_normalizing(n_features, n_components):
    encoder = [nn.LazyBatchNorm1d(), nn.Linear(n_features, n_components)]
    return Autoencoder(nn.Sequential(*encoder), nn.Linear(n_components, n_features))


@pytest.mark.parametrize("encoder", [normalizing, lazily_normalizing])
@pytest.mark.parametrize("given", [X, np.repeat(X[:1], 5, 0)], ids=["rows", "copies"])
def test_normalizing_batches_of_one_row_is_an_error(given, encoder):
    est = net(encoder, batch_size=1).set_params(n_clusters=1)
    with pytest.raises(ValueError, match="it needs a batch_size of at least 2"):
        est.fit(given)
    if len(np.unique(given, axis=0)) > 1:
        est.set_params(batch_size=2).fit(given)


@pytest.mark.filterwarnings("ignore:In its last epoch the network")
def test_normalizing_the_pixels_of_one_image_works():
    def convolved(n_features, n_components):
        layers = [nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 4, 3, padding=1)]
        layers += [nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(24, n_components)]
        return Autoencoder(nn.Sequential(*layers), nn.Linear(n_components, n_features))

    est = net(convolved, batch_size=1).fit(X)
    assert est.autoencoder_.encoder[2].num_batches_tracked > len(X)


@pytest.mark.filterwarnings("ignore:encoder is a module")
@pytest.mark.filterwarnings("ignore:The reconstruction error has risen")
def test_frozen_weights_are_not_reset():
    module = Autoencoder(
        nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4), nn.Linear(4, 2)),
        nn.Linear(2, 6),
    )
    module.encoder[0].requires_grad_(requires_grad=False)
    est = net(module, **RESET).fit(X)
    now, then = est.autoencoder_.encoder, module.encoder
    assert torch.equal(now[0].weight, then[0].weight)
    assert torch.equal(now[0].bias, then[0].bias)
    plain = net(module, reinit_interval=1).fit(X).autoencoder_.encoder
    moved, learned = ((e[2].weight - then[2].weight).norm() for e in (now, plain))
    assert moved > 3 * learned


def only_layer(n_features, n_components):
    return Autoencoder(
        nn.Linear(n_features, n_components), nn.Linear(n_components, n_features)
    )


def frozen(n_features, n_components):
    first = nn.Linear(n_features, 8).requires_grad_(requires_grad=False)
    encoder = nn.Sequential(first, nn.Linear(8, n_components))
    return Autoencoder(encoder, nn.Linear(n_components, n_features))


def normed(n_features, n_components):
    encoder = nn.Sequential(
        weight_norm(nn.Linear(n_features, 8)), nn.Linear(8, n_components)
    )
    return Autoencoder(encoder, nn.Linear(n_components, n_features))


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (only_layer, "finds no weights to reset"),
        (frozen, "finds no weights to reset"),
        (normed, "cannot draw the weights of layers that compute them"),
    ],
)
def test_a_reset_that_would_change_nothing_is_an_error(encoder, message):
    with pytest.raises(ValueError, match=message):
        net(encoder, **RESET).fit(X)
    net(encoder).fit(X)


class Constant(Autoencoder):
    """A network with a tensor that is not a buffer, and so is not converted."""

    def __init__(self, n_features, n_components):
        super().__init__(
            nn.Linear(n_features, n_components), nn.Linear(n_components, n_features)
        )
        self.constant = torch.eye(n_features)

    def encode(self, rows):
        return self.encoder(rows @ self.constant)


class Penalized(Constant):
    """A network that keeps a number with its graph."""

    def encode(self, rows):
        codes = self.encoder(rows)
        if self.training:
            self.penalty = codes.square().mean()
        return codes


class Locked(Constant):
    """A network that cannot be copied."""

    def __init__(self, n_features, n_components):
        super().__init__(n_features, n_components)
        self.lock = Lock()


class Neighborly(Constant):
    """A network that needs five rows in training, to average over neighbors."""

    def encode(self, rows):
        if self.training:
            near = torch.cdist(rows, rows).topk(5, largest=False).indices
            rows = rows[near].mean(1)
        return self.encoder(rows)


class Dropping(Constant):
    """A network that drops features also in evaluation mode."""

    def encode(self, rows):
        return self.encoder(nn.functional.dropout(rows, 0.3))


class Noting(Constant):
    """A network whose state is not only tensors."""

    def get_extra_state(self):
        return {"note": "any"}

    def set_extra_state(self, state):
        assert state["note"] == "any"


class Detached(Constant):
    """A network with detached codes."""

    def encode(self, rows):
        return self.encoder(rows).detach()


def frozen_encoder(n_features, n_components):
    encoder = nn.Linear(n_features, n_components).requires_grad_(requires_grad=False)
    return Autoencoder(encoder, nn.Linear(n_components, n_features))


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (Constant, r"does not take rows of torch.float64, the dtype of X .* buffers"),
        (Penalized, "cannot be copied, and a fit keeps a copy"),
        (Locked, "cannot be copied, and a fit keeps a copy"),
        (Dropping, "different codes each time, also in evaluation"),
        (Detached, "no gradient reaches the encoder"),
        (frozen_encoder, "no gradient reaches the encoder"),
    ],
)
def test_unsuitable_networks_are_found_before_training(encoder, message, capsys):
    est = net(encoder, verbose=1)
    with pytest.raises(ValueError, match=message):
        est.fit(X)
    assert capsys.readouterr().out == ""
    assert not hasattr(est, "n_features_in_")


def test_a_module_that_cannot_be_copied_is_an_error():
    with pytest.raises(ValueError, match="cannot be copied, and a fit keeps a copy"):
        net(Locked(6, 2)).fit(X)


def test_networks_that_are_unsuitable_for_other_fits_only(tmp_path):
    single = X.astype(np.float32)
    noting = net(Noting, warm_start=True, checkpoint=tmp_path / "state.pt").fit(single)
    for est in (noting, net(Constant), net(Neighborly, batch_size=20)):
        assert est.fit(single).n_iter_ == 3
    for encoder in (Detached, frozen_encoder):  # K-means on what it makes
        assert net(encoder, max_iter=0).fit(single).n_iter_ == 0


class Making:
    """A factory of networks of one width."""

    def __init__(self, width):
        self.width = width

    def __call__(self, n_features, n_components):
        return DenseAutoencoder(n_features, n_components, (self.width,))


@pytest.mark.parametrize("encoder", [Making(8), lazy])
def test_a_warm_start_with_the_same_network(encoder):
    first = net(encoder, warm_start=True).fit(X)
    loss = first.history_["reconstruction_loss"][-1]
    assert first.fit(X).history_["reconstruction_loss"][-1] < loss


def test_a_warm_start_compares_the_layers_of_networks():
    est = net(Making(8), warm_start=True).fit(X)
    with pytest.raises(ValueError, match="encoder changed; set warm_start=False"):
        est.set_params(encoder=Making(9)).fit(X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_predictions_do_not_change_the_network(dtype):
    given = X.astype(dtype)
    est = net(dropping).fit(given)
    codes, module = est.transform(given), est.autoencoder_
    before = {name: part.clone() for name, part in module.state_dict().items()}
    module.train()  # a user may have trained it further
    assert_array_equal(est.transform(given), codes)
    assert module.training
    assert next(module.parameters()).dtype == torch.float32
    for name, part in module.state_dict().items():
        assert torch.equal(part, before[name])


@pytest.mark.parametrize("pretrain_epochs", [1, 2])
def test_a_diverging_decoder_of_finite_codes_is_an_error(pretrain_epochs):
    """Also if it diverges in the last step, after which there is no loss."""

    def held(n_features, n_components):
        module = only_layer(n_features, n_components)
        module.encoder.requires_grad_(requires_grad=False)
        return module

    params = {"learning_rate": 1e39, "batch_size": 60, "max_iter": 0}
    est = net(held, pretrain_epochs=pretrain_epochs, **params)
    with pytest.raises(FloatingPointError, match=r"nan in step 1 of .* 'pretrain'"):
        est.fit(X)
    assert set(vars(est)) == set(est.get_params())
