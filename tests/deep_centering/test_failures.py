"""Bad input and interruptions: a clear error, and an unchanged estimator."""

import re

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils._param_validation import InvalidParameterError  # noqa: TID251
from torch import nn

from helpers import poor_autoencoder, with_value
from skrbf import DeepCenteringClustering
from skrbf.nn import Autoencoder, ConvAutoencoder, DenseAutoencoder, RandomAffine

RNG = np.random.default_rng(0)
GOOD = RNG.normal(size=(60, 6)) + 4 * (np.arange(60) % 3)[:, None]
NAMES = ["predict", "predict_proba", "transform", "score"]
SMALL = {
    "n_components": 2,
    "hidden_layer_sizes": (8,),
    "pretrain_epochs": 4,
    "max_iter": 4,
    "reinit_interval": 2,
    "batch_size": 32,
    "learning_rate": 0.01,
    "tol": 0.0,
    "random_state": 0,
}
LINEAR = {"code_activation": "linear"}  # codes that nothing bounds
activations = pytest.mark.parametrize("activation", ["linear", "tanh"])
BAD_PARAMETER = {
    "n_clusters": [0, 2.0, None],
    "n_components": [0, 1.5],
    "hidden_layer_sizes": [3, "deep"],
    "code_activation": ["relu"],
    "encoder": ["resnet", None],
    "input_shape": [8, "8x8"],
    "pretrain_epochs": [-1, 1.5],
    "denoising": [-0.1, 1],
    "max_iter": [-1],
    "clustering_weight": [-1.0, "auto"],
    "centering": ["ring"],
    "assignment": ["hard"],
    "temperature": [-1.0, "auto"],
    "differentiate_assignments": ["yes"],
    "assignment_update": ["never"],
    "center_update": ["mean"],
    "reinit_interval": [0, 1.5],
    "reinit": ["random"],
    "weight_reset": [0, 1.5],
    "batch_size": [0],
    "learning_rate": [0, -0.1],
    "augment": ["flip"],
    "tol": [-1.0],
    "checkpoint": [3],
    "warm_start": ["yes"],
    "device": [0],
    "random_state": ["seed"],
}


def net(n_clusters=3, **params):
    return DeepCenteringClustering(n_clusters, **SMALL | params)


@pytest.fixture
def fitted():
    return net().fit(GOOD)


@pytest.mark.parametrize(
    ("name", "value"), [(n, v) for n, values in BAD_PARAMETER.items() for v in values]
)
def test_bad_parameters(fitted, fitted_state, name, value):
    before = fitted_state(fitted.set_params(**{name: value}))
    message = f"'{name}' parameter of DeepCenteringClustering must be .* Got .* instead"
    with pytest.raises(InvalidParameterError, match=message):
        fitted.fit(GOOD)
    assert fitted_state(fitted) == before


@pytest.mark.parametrize(
    ("X", "weight", "message"),
    [
        (with_value(GOOD, np.nan), None, "contains NaN"),
        (with_value(GOOD, np.inf), None, "contains infinity"),
        (GOOD, -np.ones(60), "(?i)negative"),
        (GOOD, np.zeros(60), "(?i)weight.*zero|zero.*weight"),
        (GOOD, np.ones(59), "sample_weight"),
        (GOOD[:0], None, r"0 sample\(s\)"),
        (GOOD[:2], None, "n_samples=2 should be >= n_clusters=3"),
        (GOOD[0], None, "Expected 2D array"),
        (GOOD.astype(complex), None, "Complex data not supported"),
    ],
)
def test_bad_data(fitted, fitted_state, X, weight, message):
    before = fitted_state(fitted)
    with pytest.raises(ValueError, match=message):
        fitted.fit(X, sample_weight=weight)
    assert fitted_state(fitted) == before


def wide(n_features, n_components):
    return Autoencoder(nn.Linear(n_features, 5), nn.Linear(5, n_features))


def narrow(n_features, n_components):
    return Autoencoder(nn.Linear(n_features, 2), nn.Linear(3, n_features))


def short(n_features, n_components):
    return Autoencoder(nn.Linear(n_features, 2), nn.Linear(2, 3))


def image(n_features, n_components):
    return Autoencoder(nn.Conv2d(1, n_components, 3), nn.Linear(2, n_features))


class Variational(Autoencoder):
    def __init__(self):
        super().__init__(nn.Linear(6, 2), nn.Linear(2, 6))

    def encode(self, rows):
        return self.encoder(rows), self.encoder(rows)


class Decoded(Autoencoder):
    """A function of the result of the decoder."""

    def __init__(self, made):
        super().__init__(nn.Linear(6, 2), nn.Linear(2, 6))
        self.made = made

    def decode(self, codes):
        return self.made(self.decoder(codes))


class Far(Decoded):
    """Codes whose squares overflow."""

    def __init__(self):
        super().__init__(lambda rows: rows)

    def encode(self, rows):
        return 1e30 * self.encoder(rows)

    def decode(self, codes):
        return self.decoder(1e-30 * codes)


class Small(Decoded):
    """A network that refuses rows that are not scaled."""

    def __init__(self):
        super().__init__(lambda rows: rows)

    def encode(self, rows):
        assert float(rows.abs().max()) < 1e3
        return super().encode(rows)


def in_place(before, behind):
    """Make a factory of networks whose first layers may change their input."""

    def make(n_features, n_components):
        encoder = nn.Sequential(nn.ReLU(before), nn.Linear(n_features, n_components))
        decoder = nn.Sequential(nn.ReLU(behind), nn.Linear(n_components, n_features))
        return Autoencoder(encoder, decoder)

    return make


@pytest.mark.filterwarnings("ignore:encoder is a module")
@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"hidden_layer_sizes": (8, 0)},
            "hidden_layer_sizes must hold positive integers",
        ),
        (
            {"hidden_layer_sizes": (8, 1.5)},
            "hidden_layer_sizes must hold positive integers",
        ),
        (
            {"hidden_layer_sizes": (True,)},
            "hidden_layer_sizes must hold positive integers",
        ),
        (
            {"input_shape": (2, 4)},
            r"input_shape=\(2, 4\) does not match the 6",
        ),
        ({"input_shape": (6,)}, r"input_shape=\(6,\) does not match"),
        ({"input_shape": (2.0, 3)}, r"input_shape=\(2.0, 3\) does not match"),
        ({"encoder": "conv"}, "encoder='conv' needs input_shape"),
        (LINEAR | {"centering": "regularized"}, "use code_activation='tanh'"),
        ({"encoder": wide}, r"codes of shape \(2, 5\) of 2 rows, but n_components=2"),
        ({"encoder": short}, r"decodes to shape \(2, 3\), but the rows have shape"),
        ({"encoder": wide(5, 2)}, "encoder does not take the 6 features of X"),
        (
            {"encoder": narrow},
            "encoder does not decode codes of width 2: decode raised RuntimeErr",
        ),
        ({"encoder": image}, "which come as flat rows .nn.Unflatten"),
        ({"encoder": Variational()}, "encode must return a tensor, but returned"),
        ({"encoder": Decoded(lambda x: (x,))}, "decode must return a tensor, but"),
        ({"encoder": Decoded(torch.Tensor.int)}, "decode must return real numbers"),
        ({"encoder": Decoded(lambda x: x / 0)}, "decode returned numbers that are not"),
        ({"encoder": Decoded(torch.Tensor.detach)}, "no gradient reaches them"),
        ({"encoder": in_place(True, False)}, "must not change their argument"),
        ({"encoder": Far()}, "codes that the network starts with .* squares overflow"),
        (
            {"augment": lambda rows: rows / 0},
            "loss is .* 'pretrain'.* augment returned",
        ),
        ({"encoder": in_place(False, True)}, "must not change their argument"),
        ({"encoder": nn.Linear(6, 2)}, "encoder has no method 'encode'"),
        ({"encoder": lambda d, c: c}, "not a torch.nn.Module"),
        ({"augment": lambda rows: rows[:, :3]}, "augment must return a tensor of the"),
        ({"augment": lambda rows: rows.numpy()}, "augment must return a tensor of"),
        ({"device": "cuda:99"}, r"device='cuda:99'.*available.*'cpu'"),
        ({"device": "tpu2000"}, "device='tpu2000' is not a device"),
    ],
)
def test_incompatible_parameters(fitted, fitted_state, params, message):
    before = fitted_state(fitted.set_params(**params))
    with pytest.raises((ValueError, FloatingPointError), match=message):
        fitted.fit(GOOD)
    assert fitted_state(fitted) == before


class NoParts(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 2)

    def encode(self, rows):
        return self.layer(rows)

    def decode(self, codes):
        return codes @ self.layer.weight


@pytest.mark.filterwarnings("ignore:encoder is a module")
def test_methods_that_a_network_needs():
    assert net(encoder=NoParts()).fit(GOOD).transform(GOOD).shape == (60, 2)
    with pytest.raises(ValueError, match="weight_reset needs an autoencoder with a"):
        net(encoder=NoParts(), weight_reset=0.2).fit(GOOD)


@pytest.mark.filterwarnings("ignore:In its last epoch the network")
@pytest.mark.filterwarnings("ignore:encoder is a module")
def test_a_module_of_the_user_is_not_changed():
    torch.manual_seed(0)
    held = Small()
    before = [each.clone() for each in held.parameters()]
    net(encoder=held).fit(GOOD)
    for now, then in zip(held.parameters(), before, strict=True):
        assert torch.equal(now, then)


@pytest.mark.filterwarnings("ignore:In its last epoch the network")
@pytest.mark.filterwarnings("ignore:encoder is a module")
def test_networks_with_computed_weights_or_half_precision():
    def normed(d, c):
        layer = nn.utils.parametrizations.weight_norm(nn.Linear(d, c))
        return Autoencoder(layer, nn.Linear(c, d))

    def old_normed(d, c):
        return Autoencoder(nn.utils.weight_norm(nn.Linear(d, c)), nn.Linear(c, d))

    def halves(d, c):
        return Autoencoder(nn.Linear(d, c), nn.Linear(c, d)).bfloat16()

    for make in (normed, halves, halves(6, 2)):
        est = net(encoder=make, warm_start=True).fit(GOOD)
        assert np.isfinite(est.fit(GOOD).score(GOOD))
    with pytest.warns(FutureWarning, match="weight_norm"):
        assert net(encoder=old_normed).fit(GOOD).n_iter_ == 4


def test_predictions_for_another_number_of_features(fitted):
    message = "X has 2 features, but DeepCenteringClustering is expecting 6 features"
    for name in NAMES:
        with pytest.raises(ValueError, match=message):
            getattr(fitted, name)(GOOD[:, :2])
    with pytest.raises(ValueError, match="X has 3 columns, but codes have 2"):
        fitted.inverse_transform(GOOD[:, :3])
    with pytest.raises(ValueError, match="contains NaN"):
        fitted.inverse_transform([[0.0, np.nan]])


def test_not_fitted():
    for name in [*NAMES, "inverse_transform"]:
        with pytest.raises(NotFittedError, match="DeepCenteringClustering instance is"):
            getattr(net(), name)(GOOD)
    with pytest.raises(NotFittedError):
        net().predict_proba(csr_array(GOOD))
    with pytest.raises(NotFittedError):
        net().get_feature_names_out()


def test_predict_proba_of_sparse_rows_is_an_error(fitted):
    with pytest.raises(TypeError, match=r"X is sparse; use X\.toarray"):
        fitted.predict_proba(csr_array(GOOD))


@pytest.mark.parametrize(
    ("params", "phase", "advice"),
    [
        ({"learning_rate": 1e30}, "pretrain", "Lower learning_rate, or scale"),
        (
            {"learning_rate": 1e30, "pretrain_epochs": 0},
            "cluster",
            "Lower learning_rate or clustering_weight",
        ),
        (
            {
                "learning_rate": 1e38,
                "pretrain_epochs": 0,
                "max_iter": 1,
                "center_update": "gradient",
            },
            "cluster",
            "Lower learning_rate or clustering_weight",
        ),
        (
            {"clustering_weight": 1e300, "pretrain_epochs": 1},
            "cluster",
            "Lower learning_rate or clustering_weight",
        ),
    ],
)
def test_the_error_for_nan_names_the_parameter(
    fitted, fitted_state, params, phase, advice
):
    before = fitted_state(fitted.set_params(**params))
    message = rf"The loss is (nan|inf) in step \d of the phase '{phase}'. {advice}"
    with pytest.raises(FloatingPointError, match=message):
        fitted.fit(GOOD)
    assert fitted_state(fitted) == before


class Collapsing(Autoencoder):
    """Codes that shrink to zero in training."""

    def __init__(self, n_features, n_components):
        super().__init__(nn.Linear(n_features, 2), nn.Linear(2, n_features))
        self.register_buffer("size", torch.ones(()))

    def encode(self, rows):
        if self.training:
            self.size *= 1e-3
        return self.size * self.encoder(rows)


class Constant(Autoencoder):
    """One code for all rows."""

    def __init__(self, n_features, n_components):
        super().__init__(nn.Linear(n_features, 2), nn.Linear(2, n_features))

    def encode(self, rows):
        return 0 * self.encoder(rows) + 1.0


def test_a_collapse_is_in_the_history_and_warns(fitted_state):
    est = net(encoder=Collapsing, pretrain_epochs=0, max_iter=3)
    message = "codes have collapsed.*lower learning_rate or clustering_weight"
    with pytest.warns(ConvergenceWarning, match=message):
        est.fit(GOOD)
    variance = est.history_["code_variance"]
    assert variance[-1] < 1e-6 * variance[0]
    before = fitted_state(est)
    with pytest.raises(ConvergenceWarning):  # an error, as in these tests
        est.fit(GOOD[:30])
    assert fitted_state(est) == before


def test_a_single_label_is_a_collapse():
    est = net(encoder=Constant, pretrain_epochs=1)
    with pytest.warns(ConvergenceWarning, match="collapsed, to variance 0 and 1 clus"):
        est.fit(GOOD)
    assert est.history_["largest_cluster"][-1] == 1
    assert est.history_["code_variance"][-1] == 0
    assert np.isfinite(est.score(GOOD))
    assert_array_equal(est.labels_, 0)


def test_fewer_distinct_rows_than_clusters_warn():
    X = np.repeat(GOOD[:2], 5, axis=0)
    with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(2\) .*smaller"):
        est = net().fit(X)
    assert_array_equal(np.unique(est.labels_), [0, 1])
    assert_array_equal(est.labels_, est.predict(X))
    with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(1\)"):
        one = net().fit(np.ones((5, 3)))
    assert np.isfinite(one.cluster_centers_).all()
    assert_array_equal(one.scale_, 1)


def test_rows_without_weight_do_not_count_as_a_cluster():
    """The centers and the warning are those without these rows."""
    weight = np.zeros(60)
    weight[[0, 1]] = 10
    with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(2\)"):
        weighted = net().fit(GOOD, sample_weight=weight)
    with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(2\)"):
        repeated = net().fit(np.repeat(GOOD[:2], 10, axis=0))
    assert_array_equal(weighted.cluster_centers_, repeated.cluster_centers_)


def test_several_problems_give_several_warnings():
    X = np.repeat(GOOD[:2], 5, axis=0)
    with pytest.warns(ConvergenceWarning) as warned:
        net(encoder=poor_autoencoder, pretrain_epochs=1, max_iter=0).fit(X)
    words = " ".join(str(each.message) for each in warned)
    assert "no better than their mean" in words
    assert "distinct clusters (2)" in words


def test_a_row_with_almost_all_weight_is_not_a_collapse():
    est = net(**LINEAR).fit(GOOD, sample_weight=np.r_[1e18, np.ones(59)])
    assert est.history_["largest_cluster"][-1] == 1  # as far as its digits go
    assert_array_equal(np.bincount(est.labels_), 20)


def test_one_cluster_is_not_a_collapse():
    est = net(1).fit(GOOD)
    assert_array_equal(est.labels_, 0)
    assert np.isfinite(est.history_["loss"]).all()
    one = net(1).fit(GOOD[:1])
    assert_array_equal(one.predict(GOOD), 0)


@pytest.mark.parametrize(
    ("factor", "shift"), [(1e-12, 0), (1e12, 0), (1, 1e6), (1e-3, 1e3)]
)
def test_labels_do_not_depend_on_the_unit_of_the_features(factor, shift):
    plain = net().fit(GOOD).labels_
    assert_array_equal(net().fit(GOOD * factor + shift).labels_, plain)


def interrupt(*args, **kwargs):
    raise KeyboardInterrupt


class Interrupted(Autoencoder):
    """A network that is interrupted in one of the calls of `encode`."""

    def __init__(self, n_features, n_components, n_calls):
        super().__init__(
            nn.Linear(n_features, n_components), nn.Linear(n_components, n_features)
        )
        self.register_buffer("n_left", torch.tensor(n_calls))

    def encode(self, rows):
        self.n_left -= 1
        if self.n_left == 0:
            raise KeyboardInterrupt
        return super().encode(rows)


def assert_interruption_leaves(estimator, fitted_state, X):
    before = fitted_state(estimator)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X)
    assert fitted_state(estimator) == before


@pytest.mark.filterwarnings("ignore:In its last epoch the network")
@pytest.mark.parametrize("n_calls", [1, 8, 12, 16, 20, 24])
def test_an_interruption_in_any_phase_leaves_the_estimator(
    fitted, fitted_state, n_calls
):
    def encoder(n_features, n_components):
        return Interrupted(n_features, n_components, n_calls)

    fitted.set_params(encoder=encoder)
    assert_interruption_leaves(fitted, fitted_state, GOOD[:, :2])
    fresh = net(encoder=encoder)
    assert_interruption_leaves(fresh, fitted_state, GOOD)
    assert set(vars(fresh)) == set(fresh.get_params())


@pytest.mark.parametrize(
    ("module", "name"), [(torch.linalg, "eigvalsh"), (torch, "bincount")]
)
def test_an_interruption_in_k_means_leaves_the_estimator(
    fitted, fitted_state, monkeypatch, module, name
):
    """While temperatures are computed, or labels are matched."""
    monkeypatch.setattr(module, name, interrupt)
    assert_interruption_leaves(fitted, fitted_state, GOOD[:, :2])


def test_a_warm_start_does_not_change_the_last_network(fitted, monkeypatch):
    """A fit that is interrupted, fails, or ends trains a copy of the network."""
    held = fitted.set_params(warm_start=True).autoencoder_
    weights = [each.detach().clone() for each in held.parameters()]

    def has_changed(module):
        pairs = zip(module.parameters(), weights, strict=True)
        return not all(torch.equal(now, then) for now, then in pairs)

    with monkeypatch.context() as patched:
        patched.setattr(torch, "bincount", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fitted.fit(GOOD)
    assert fitted.autoencoder_ is held
    assert not has_changed(held)
    with pytest.raises(FloatingPointError):
        fitted.set_params(learning_rate=1e30).fit(GOOD)
    assert not has_changed(fitted.autoencoder_)
    fitted.set_params(learning_rate=0.01).fit(GOOD)
    assert has_changed(fitted.autoencoder_)
    assert not has_changed(held)


def test_a_network_without_trainable_parameters_is_an_error():
    class Same(nn.Module):
        def encode(self, rows):
            return rows

        decode = encode

    for params in ({}, {"max_iter": 0}, {"encoder": Same(), "max_iter": 0}):
        est = net(encoder=lambda n_features, n_components: Same(), n_components=6)
        with pytest.raises(ValueError, match=r"encoder has no parameters\."):
            est.set_params(**params).fit(GOOD)
    frozen = net(max_iter=0).fit(GOOD).autoencoder_.requires_grad_(False)
    with pytest.raises(ValueError, match="encoder has no parameters to train"):
        net(encoder=frozen).fit(GOOD)
    labels = net(encoder=frozen, max_iter=0).fit(GOOD).labels_
    assert len(np.unique(labels)) == 3


@pytest.mark.filterwarnings("ignore:In its last epoch the network")
def test_batch_normalization_never_gets_a_single_row():
    def normalized(n_features, n_components):
        layers = nn.Linear(n_features, 8), nn.BatchNorm1d(8), nn.ReLU()
        return Autoencoder(
            nn.Sequential(*layers, nn.Linear(8, n_components)),
            nn.Linear(n_components, n_features),
        )

    est = net(encoder=normalized, batch_size=59).fit(GOOD)  # 60 distinct rows
    assert len(np.unique(est.labels_)) == 3


def test_a_rising_reconstruction_error_warns():
    est = net(learning_rate=1.0, pretrain_epochs=2, max_iter=0, batch_size=60)
    with pytest.warns(ConvergenceWarning, match="has risen.* lower learning_rate"):
        est.fit(GOOD)
    errors = est.history_["reconstruction_loss"]
    assert errors[-1] > errors[0]


def test_a_useless_reconstruction_warns(fitted, fitted_state):
    before = fitted_state(fitted)
    few = {
        "encoder": poor_autoencoder,
        "pretrain_epochs": 1,
        "max_iter": 1,
        "learning_rate": 1e-9,
    }
    fitted.set_params(**few)
    message = r"rows no better than their mean: the error is 2 times their .* longer"
    with pytest.raises(ConvergenceWarning, match=message):  # an error in these tests
        fitted.fit(GOOD)
    fitted.set_params(**{name: getattr(net(), name) for name in few})
    assert fitted_state(fitted) == before
    for name in ("fit", "fit_predict", "fit_transform"):
        with pytest.warns(ConvergenceWarning, match=message) as seen:
            getattr(net(**few), name)(GOOD)
        assert seen[0].filename == __file__
    assert "has no negative outputs" in str(seen[0].message)


def plain(n_features, n_components):
    torch.manual_seed(0)
    return Autoencoder(
        nn.Linear(n_features, n_components), nn.Linear(n_components, n_features)
    )


UNTRAINED = [
    plain,
    poor_autoencoder,
    lambda d, c: ConvAutoencoder((2, 3), c, channels=(4, 4, 4)),
    lambda d, c: DenseAutoencoder(d, c, (8, 8)),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("make", UNTRAINED)
def test_an_untrained_module_warns(fitted, fitted_state, make):
    message = (
        r"counts as trained.* untrained network, pass a function .*=lambda n_features"
    )
    before = fitted_state(fitted)
    module = make(6, 2)
    with pytest.raises(UserWarning, match=message):  # an error in these tests
        fitted.set_params(encoder=module).fit(GOOD)
    assert fitted_state(fitted.set_params(encoder="dense")) == before
    with pytest.warns(UserWarning, match=message) as seen:
        net(encoder=module, max_iter=1).fit(GOOD)
    assert seen[0].filename == __file__
    assert f"n_components: {type(module).__name__}(...)" in str(seen[0].message)
    net(encoder=make).fit(GOOD)  # which trains it


@pytest.mark.parametrize("encoder", [plain, "dense"])
def test_a_trained_module_does_not_warn(encoder):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 6))
    for factor in (1.0, 1e3):
        first = net(encoder=encoder, pretrain_epochs=60, max_iter=0).fit(factor * X)
        for rows in (X, X[:50], 1e4 + X):
            est = net(encoder=first.autoencoder_, warm_start=True, max_iter=1)
            est.fit(factor * rows).fit(factor * rows)


class Strict(Autoencoder):
    def __init__(self, n_features, n_components):
        super().__init__(
            nn.Linear(n_features, n_components), nn.Linear(n_components, n_features)
        )


class Keyed(Autoencoder):
    def __init__(self, *, width):
        super().__init__(nn.Linear(6, width), nn.Linear(width, 6))


def failing(n_features, n_components):
    raise KeyError("no weights")


@pytest.mark.parametrize(
    ("encoder", "raised"),
    [
        (Keyed, TypeError),
        (Small, TypeError),
        (lambda: Small(), TypeError),
        (lambda n_features: Small(), TypeError),
        (lambda a, b, c: Small(), TypeError),
        (lambda a, b: nn.Linear("six", b), TypeError),
    ],
)
@pytest.mark.filterwarnings("ignore:In its last epoch the network")
def test_the_error_of_a_factory_says_how_it_was_called(
    fitted, fitted_state, encoder, raised
):
    before = fitted_state(fitted)
    message = (
        r"encoder\(n_features, n_components\), with the numbers encoder\(6, 2\), and "
        f"raised {raised.__name__}: "
    )
    with pytest.raises(ValueError, match=message) as error:
        fitted.set_params(encoder=encoder).fit(GOOD)
    assert isinstance(error.value.__cause__, raised)
    assert fitted_state(fitted.set_params(encoder="dense")) == before
    assert net(encoder=Strict).fit(GOOD).autoencoder_.encoder.out_features == 2


def test_other_errors_of_a_factory_keep_their_type(fitted, fitted_state):
    before = fitted_state(fitted)
    with pytest.raises(KeyError, match="no weights") as error:
        fitted.set_params(encoder=failing).fit(GOOD)
    assert "encoder(6, 2)" in error.value.__notes__[0]
    assert fitted_state(fitted.set_params(encoder="dense")) == before


def test_a_network_trained_on_noise_does_not_warn():
    """Two components hold little of fifty features of noise."""
    X = np.random.default_rng(0).normal(size=(300, 50))
    small = {"n_components": 2, "max_iter": 0}
    first = DeepCenteringClustering(
        3, hidden_layer_sizes=(32,), pretrain_epochs=30, random_state=0, **small
    ).fit(X)
    rows = (X - first.mean_) / first.scale_
    DeepCenteringClustering(3, encoder=first.autoencoder_, **small).fit(rows)


@pytest.mark.filterwarnings("ignore:In its last epoch the network")
def test_channels_that_seem_to_come_last_warn():
    X = np.random.default_rng(0).normal(size=(30, 5 * 6 * 3))
    message = r"read as 5 channels of 6 x 3.*=\(3, 5, 6\)"
    with pytest.warns(UserWarning, match=message) as seen:
        net(encoder="conv", input_shape=(5, 6, 3)).fit(X)
    assert seen[0].filename == __file__
    for shape in [(3, 5, 6), (1, 30, 3), (10, 3, 3), (5, 2, 9)]:
        net(encoder="conv", input_shape=shape).fit(X)


def test_verbose_and_silence(capsys):
    net().fit(GOOD)
    assert capsys.readouterr() == ("", "")
    net(verbose=1).fit(GOOD)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8
    assert lines[0].startswith("[DeepCenteringClustering] epoch 1, pretrain: loss ")
    assert re.search(r"reconstruction .*, clustering .*, labels changed .*%", lines[-1])


@pytest.mark.filterwarnings("ignore:In its last epoch the network")
def test_no_global_state_is_touched():
    import random

    def state():
        return (
            random.getstate(),
            np.random.get_state()[1].tolist(),  # noqa: NPY002
            torch.get_rng_state().tolist(),
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.are_deterministic_algorithms_enabled(),
        )

    before = state()
    for params in (
        {},
        {"encoder": "conv", "input_shape": (2, 3), "denoising": 0.1},
        {"augment": RandomAffine(input_shape=(2, 3))},
        {"encoder": lambda d, c: Autoencoder(nn.Linear(d, c), nn.Linear(c, d))},
        {"weight_reset": 0.2, "reinit_interval": 2},
    ):
        est = net(**params).fit(GOOD)
        est.predict(GOOD)
        est.inverse_transform(est.transform(GOOD))
    assert state() == before


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_a_fit_enables_gradients(context):
    plain = net().fit(GOOD)
    with context():
        est = net().fit(GOOD)
    assert_array_equal(est.transform(GOOD), plain.transform(GOOD))


def test_a_reset_without_k_means_is_an_error():
    with pytest.raises(ValueError, match="needs a reinit_interval"):
        net(weight_reset=0.2, reinit_interval=None).fit(GOOD)


@pytest.mark.parametrize("max_iter", [1, 4, 5])
def test_a_reset_that_never_happens_warns(max_iter):
    est = net(weight_reset=0.2, reinit_interval=4, max_iter=max_iter)
    if max_iter == 5:
        est.fit(GOOD)
        return
    with pytest.warns(UserWarning, match="K-means is 5, but max_iter=") as seen:
        est.fit(GOOD)
    assert seen[0].filename == __file__


def test_a_class_as_augmentation_is_an_error():
    with pytest.raises(ValueError, match=r"pass an instance, RandomAffine\(\)"):
        net(augment=RandomAffine, input_shape=(2, 3)).fit(GOOD)


def test_an_estimator_as_encoder_is_an_error():
    with pytest.raises(InvalidParameterError, match=r"or an instance of .*Module"):
        net(encoder=net()).fit(GOOD)


def test_the_regularized_loss_of_unbounded_codes_is_an_error():
    linear = net(max_iter=0, **LINEAR).fit(GOOD).autoencoder_
    est = net(encoder=linear, centering="regularized")
    with pytest.raises(
        ValueError, match=r"codes up to .* of rows 1e\+06 times as large"
    ):
        est.fit(GOOD)

    def bounded(n_features, n_components):
        encoder = nn.Sequential(nn.Linear(n_features, n_components), nn.Sigmoid())
        return Autoencoder(encoder, nn.Linear(n_components, n_features))

    est.set_params(encoder=bounded, pretrain_epochs=40)
    codes = est.fit(GOOD).transform(GOOD)
    assert (codes >= 0).all()


@activations
def test_codes_that_diverge_in_the_last_step_are_an_error(activation):
    params = {"pretrain_epochs": 0, "max_iter": 1, "batch_size": 500}
    params["code_activation"] = activation
    with pytest.raises(
        FloatingPointError, match="nan in step 1 of the phase 'cluster'"
    ):
        net(**params, learning_rate=1e18).fit(GOOD)


@pytest.mark.parametrize("rate", [1e18, 1e30])
def test_codes_that_diverge_before_a_frozen_decoder_are_an_error(rate):
    def frozen(n_features, n_components):
        decoder = nn.Linear(n_components, n_features).requires_grad_(
            requires_grad=False
        )
        return Autoencoder(nn.Linear(n_features, n_components), decoder)

    once = {"pretrain_epochs": 0, "max_iter": 1, "batch_size": 500}
    with pytest.raises(FloatingPointError, match="nan in step 1"):
        net(encoder=frozen, learning_rate=rate, **once).fit(GOOD)


@pytest.mark.parametrize("rate", [1e18, 1e30])
@pytest.mark.parametrize("max_iter", [0, 2])
@activations
def test_weights_that_diverge_in_the_last_step_of_pretraining_are_an_error(
    rate, max_iter, activation
):
    params = {"pretrain_epochs": 1, "max_iter": max_iter, "batch_size": 500}
    est = net(**params, learning_rate=rate, code_activation=activation)
    with pytest.raises(FloatingPointError, match=r"'pretrain'.* learning_rate"):
        est.fit(GOOD)
    assert "n_features_in_" not in vars(est)


@pytest.mark.parametrize("weight", [1.0, 10.0])
@pytest.mark.parametrize(
    "system", [{}, {"center_update": "gradient", "reinit_interval": None}]
)
def test_loose_clusters_do_not_shrink_to_nothing(system, weight):
    """Most of the variance is within clusters, since one cloud is cut in two."""
    X = np.random.default_rng(0).normal(size=(200, 6))
    params = {"pretrain_epochs": 20, "max_iter": 150, "n_components": 6, **LINEAR}
    est = net(2, **params, **system, clustering_weight=weight).fit(X)
    variance = np.array(est.history_["code_variance"])[20:]
    assert (variance > 0.25 * variance[0]).all()


@pytest.mark.parametrize("system", [{}, {"reinit_interval": None}])
def test_augmented_rows_do_not_inflate_the_codes(system):
    """Augmented rows are nearer to the mean than the rows of the centers."""
    params = {"pretrain_epochs": 20, "max_iter": 60, "augment": lambda rows: 0.3 * rows}
    est = net(**params, **system, **LINEAR).fit(GOOD)
    variance = np.array(est.history_["code_variance"])[20:]
    assert est.code_variance_ == variance[-1]
    assert 0.25 < variance.min() / variance[0] <= variance.max() / variance[0] < 4
    assert len(np.unique(est.labels_)) == 3


class Raising(Autoencoder):
    """A network that raises an error in one of its methods."""

    def __init__(self, error, method):
        super().__init__(nn.Linear(6, 2), nn.Linear(2, 6))
        self.error, self.method = error, method

    def encode(self, rows):
        if self.method == "encode":
            raise self.error
        return super().encode(rows)

    def decode(self, codes):
        if self.method == "decode" or (self.method == "train" and self.training):
            raise self.error
        return super().decode(codes)


@pytest.mark.parametrize("method", ["encode", "decode", "train"])
@pytest.mark.parametrize("kind", [KeyError, IndexError, AttributeError, TypeError])
@pytest.mark.parametrize("as_module", [True, False])
def test_errors_of_a_network_are_quoted(kind, method, as_module):
    module = Raising(kind("pixels"), method)
    encoder = module if as_module else lambda n_features, n_components: module
    with pytest.raises(ValueError, match=rf"encoder .* raised {kind.__name__}: .*pixe"):
        net(encoder=encoder).fit(GOOD)


@pytest.mark.parametrize("as_module", [True, False])
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_network_on_the_meta_device_is_an_error(as_module, part):
    module = DenseAutoencoder(6, 2, (4,))
    getattr(module, part).to("meta")
    encoder = module if as_module else lambda n_features, n_components: module
    message = rf"encoder has no values in '{part}.*' which is on the meta device"
    with pytest.raises(ValueError, match=message.replace("' which", "', which")):
        net(encoder=encoder).fit(GOOD)


def test_the_base_class_as_factory_is_an_error():
    message = r"encoder\(n_features, n_components\).*encoder must be a torch.nn.Module"
    with pytest.raises(ValueError, match=message):
        net(encoder=Autoencoder).fit(GOOD)


@pytest.mark.parametrize(
    "augment", [lambda: 0, lambda rows, more: rows, {}.__getitem__]
)
@pytest.mark.parametrize("input_shape", [None, (2, 3)])
def test_the_error_of_an_augmentation_says_how_it_was_called(augment, input_shape):
    shape = r"\(\d+, 6\)" if input_shape is None else r"\(\d+, 2, 3\)"
    message = rf"augment\(rows\), with a tensor of shape {shape}, and raised \w+Error"
    with pytest.raises(ValueError, match=message):
        net(augment=augment, input_shape=input_shape).fit(GOOD)


@pytest.mark.parametrize("sizes", [np.array(8), np.array([[8]]), (8, "4"), np.ones(1)])
def test_invalid_layer_sizes(sizes):
    with pytest.raises(ValueError, match="hidden_layer_sizes must"):
        net(hidden_layer_sizes=sizes).fit(GOOD)


@pytest.mark.parametrize("constant", [1e150, 1e200, -1e300, 1.7e308])
@pytest.mark.parametrize("size", [1.0, 1e-100, 1e100])
def test_a_constant_feature_of_any_size_does_not_change_labels(constant, size):
    X = np.column_stack([GOOD * size, np.full(60, constant)])
    est = net().fit(X)
    assert np.isfinite(est.scale_).all()
    assert est.mean_[-1] == constant
    assert_array_equal(est.labels_, est.predict(X))
    assert len(np.unique(est.labels_)) == 3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_decoded_rows_stay_in_the_range_of_their_dtype(dtype):
    X = (GOOD / np.abs(GOOD).max() * np.finfo(dtype).max).astype(dtype)
    est = net(code_activation="linear").fit(X)
    back = est.inverse_transform(1e6 * est.transform(X))
    assert back.dtype == est.cluster_centers_decoded_.dtype == dtype
    assert np.isfinite(back).all()
    assert np.isfinite(est.cluster_centers_decoded_).all()
