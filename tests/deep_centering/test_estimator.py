"""DeepCenteringClustering: results, invariances and fitted attributes."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skrbf import DeepCenteringClustering
from skrbf.nn import Autoencoder, DenseAutoencoder

SMALL = {
    "n_components": 2,
    "hidden_layer_sizes": (16,),
    "pretrain_epochs": 20,
    "max_iter": 6,
    "reinit_interval": 2,
    "batch_size": 64,
    "learning_rate": 0.01,
    "tol": 0.0,
    "random_state": 0,
}
DKM = {
    "center_update": "gradient",
    "differentiate_assignments": True,
    "temperature": 0.001,
}
LINEAR = {"code_activation": "linear"}  # as most papers have it
SYSTEMS = {
    "default": {},
    "default, linear": LINEAR,
    "AE + K-means": {"max_iter": 0},
    "CT": {"reinit_interval": None, **LINEAR},
    "CT + reinit": {"reinit_interval": 1},
    "CT, centroid": {"centering": "centroid"},
    "CT, entmax": {"assignment": "entmax15", "differentiate_assignments": True},
    "CT, sparsemax": {"assignment": "sparsemax", "differentiate_assignments": True},
    "DCN": {
        "temperature": 0,
        "center_update": "running_mean",
        "reinit_interval": None,
        **LINEAR,
    },
    "DKM": {**DKM, "reinit_interval": None, **LINEAR},
    "DKM + reinit": {**DKM, "reinit_interval": 1},
    "BRB": {"weight_reset": 0.2, "reinit_interval": 2, "reinit": "grow"},
    "SR-K-means": {
        "code_activation": "tanh",
        "centering": "regularized",
        "clustering_weight": 0.1,
        "assignment_update": "epoch",
        "center_update": "soft_mean",
        "reinit_interval": None,
    },
}
all_systems = pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS.keys())
N_EPOCHS = SMALL["pretrain_epochs"] + SMALL["max_iter"]


@pytest.fixture(scope="module")
def blobs():
    """Four clusters in ten dimensions, with features of different scales."""
    X, y = make_blobs(150, 10, centers=4, cluster_std=2.0, random_state=0)
    return X * np.linspace(1, 2, 10) + 20, y


def deep(n_clusters=4, **params):
    return DeepCenteringClustering(n_clusters, **SMALL | params)


@all_systems
def test_separated_clusters_are_found(blobs, system):
    X, y = blobs
    est = deep(**system)
    assert est.fit(X) is est
    baseline = system == SYSTEMS["AE + K-means"]
    assert adjusted_rand_score(y, est.labels_) > (0.9 if baseline else 0.95)
    assert est.labels_.dtype == np.int32
    assert_array_equal(np.unique(est.labels_), np.arange(4))
    assert_array_equal(est.labels_, est.predict(X))
    r = est.predict_proba(X)
    assert_array_equal(est.labels_, r.argmax(1))
    assert_allclose(r.sum(1), 1)
    assert est.cluster_centers_.shape == (4, 2)
    assert est.n_iter_ == system.get("max_iter", 6)
    hard = system.get("temperature") == 0 or system.get("max_iter") == 0
    assert hard or est.temperature_ > 0


@all_systems
def test_history_has_every_epoch(blobs, system):
    est = deep(**system).fit(blobs[0])
    n_iter, history = system.get("max_iter", 6), est.history_
    assert history["phase"] == ["pretrain"] * 20 + ["cluster"] * n_iter
    assert {len(values) for values in history.values()} == {20 + n_iter}
    frame = pd.DataFrame(history)
    assert (frame.seconds > 0).all()
    assert (frame.learning_rate == 0.01).all()
    first, last = frame[:20], frame[20:]
    assert first.loss.iloc[-1] < 0.7 * first.loss.iloc[0]
    assert_array_equal(first.loss, first.reconstruction_loss)
    assert (
        first[["clustering_loss", "label_change", "code_variance"]]
        .isna()
        .all(axis=None)
    )
    assert last.notna().all(axis=None)
    weight = system.get("clustering_weight", 1.0)
    pull = last.clustering_loss + last.scale_penalty
    total = last.reconstruction_loss + weight * pull
    assert_allclose(last.loss, total)
    assert last.label_change.between(0, 1).all()
    assert last.largest_cluster.between(0.25, 0.5).all()
    if n_iter:
        assert last.code_variance.iloc[-1] == pytest.approx(est.code_variance_)
        assert last.temperature.iloc[-1] == est.temperature_


def test_clustering_makes_clusters_compact(blobs):
    """It lowers the fraction of the variance within clusters."""

    def within(est):
        codes = est.transform(blobs[0])
        gap = codes - est.cluster_centers_[est.labels_]
        return (gap**2).sum() / ((codes - codes.mean(0)) ** 2).sum()

    before, after = deep(max_iter=0).fit(blobs[0]), deep(max_iter=20).fit(blobs[0])
    assert within(after) < 0.5 * within(before)
    weak = deep(max_iter=20, clustering_weight=0.0).fit(blobs[0])
    assert within(weak) > 0.7 * within(before)
    assert weak.history_["loss"][-1] < after.history_["loss"][-1]


def test_max_iter_0_is_k_means_on_the_codes(blobs):
    est = deep(max_iter=0).fit(blobs[0])
    codes = est.transform(blobs[0])
    other = KMeans(4, n_init=10, random_state=0).fit(codes)
    assert adjusted_rand_score(other.labels_, est.labels_) == 1
    gaps = ((codes[:, None] - est.cluster_centers_) ** 2).sum(2)
    assert_array_equal(gaps.argmin(1), est.labels_)
    assert gaps.min(1).sum() == pytest.approx(other.inertia_, rel=1e-4)


def test_the_fitted_network_encodes_and_decodes(blobs):
    X, _ = blobs
    est = deep().fit(X)
    assert isinstance(est.autoencoder_, nn.Module)
    assert not est.autoencoder_.training
    rows = torch.from_numpy((X - est.mean_) / est.scale_).float()
    with torch.no_grad():
        codes = est.autoencoder_.encode(rows).numpy()
        back = est.autoencoder_(rows).numpy() * est.scale_ + est.mean_
    assert_allclose(est.transform(X), codes, rtol=1e-3, atol=1e-4)
    assert_allclose(est.inverse_transform(est.transform(X)), back, rtol=1e-3, atol=1e-2)
    assert np.square(back - X).sum() < 0.5 * np.square(X - X.mean(0)).sum()
    assert_allclose(est.mean_, X.mean(0))
    assert_allclose(est.scale_, np.sqrt(X.var(0).mean()))
    assert_allclose(
        est.cluster_centers_decoded_,
        est.inverse_transform(torch.tensor(est.cluster_centers_, requires_grad=True)),
        rtol=1e-4,
    )
    for k in range(4):
        mean = X[est.labels_ == k].mean(0)
        assert np.abs(est.cluster_centers_decoded_[k] - mean).max() < 8


@all_systems
def test_score_is_minus_the_loss(blobs, system):
    X, _ = blobs
    est = deep(**system).fit(X)
    codes = est.transform(X)
    errors = ((est.inverse_transform(codes) - X) ** 2).mean(1) / est.scale_[0] ** 2
    gaps = ((codes[:, None] - est.cluster_centers_) ** 2).sum(2).min(1)
    variance = codes.var(0).sum()
    assert est.code_variance_ == pytest.approx(variance, rel=1e-4)
    losses = errors + system.get("clustering_weight", 1.0) * gaps / variance
    assert est.score(X) == pytest.approx(-losses.mean(), rel=1e-4)
    weight = np.arange(150.0)
    expected = -np.average(losses, weights=weight)
    assert est.score(X, sample_weight=weight) == pytest.approx(expected, rel=1e-4)
    far = np.r_[X, X[:1] * 1e25].astype(np.float32)  # has no weight, so may be anywhere
    # Products of one row more may round otherwise; the row itself would give infinity.
    assert est.score(far, sample_weight=np.r_[weight, 0]) == pytest.approx(
        est.score(far[:-1], sample_weight=weight), rel=1e-5
    )


@pytest.mark.parametrize("container", [np.asarray, csr_array])
@all_systems
def test_weights_are_repetitions_and_the_order_of_rows_has_no_effect(
    blobs, system, container
):
    """To the last bit, through every step of the training."""
    X, _ = blobs
    rng = np.random.default_rng(1)
    weight, order = rng.integers(0, 4, 150), rng.permutation(150)
    repeated = rng.permutation(np.arange(150).repeat(weight))

    a = deep(**system).fit(container(X[repeated]))
    b = deep(**system).fit(container(X[order]), sample_weight=weight[order])

    assert_array_equal(a.cluster_centers_, b.cluster_centers_)
    assert_array_equal(a.transform(X), b.transform(X))
    assert a.history_["loss"] == b.history_["loss"]
    plain = deep(**system).fit(X)
    assert not np.allclose(plain.transform(X), a.transform(X), atol=1e-3)


@all_systems
def test_units_and_offsets_have_no_effect_on_labels(blobs, system):
    X, _ = blobs
    a, b = deep(**system).fit(X), deep(**system).fit(1000 * X - 5)
    assert_array_equal(a.labels_, b.labels_)
    assert_allclose(b.cluster_centers_, a.cluster_centers_, rtol=1e-3, atol=1e-3)
    assert_allclose(
        b.cluster_centers_decoded_, 1000 * a.cluster_centers_decoded_ - 5, rtol=1e-2
    )


def test_the_temperature_is_relative_to_the_codes(blobs):
    X, _ = blobs
    est = deep(temperature=0.1).fit(X)
    largest = np.linalg.eigvalsh(np.cov(est.transform(X).T, ddof=0))[-1]
    assert est.temperature_ == pytest.approx(0.2 * largest, rel=1e-4)


def test_the_same_seed_gives_the_same_fit(blobs):
    a, b, c = (deep(random_state=seed).fit(blobs[0]) for seed in (0, 0, 1))
    assert_array_equal(a.cluster_centers_, b.cluster_centers_)
    assert not np.allclose(a.cluster_centers_, c.cluster_centers_)


def test_a_module_is_copied_and_not_pretrained(blobs):
    """Systems can start from the same weights."""
    X, _ = blobs
    first = deep(max_iter=0).fit(X)
    before = pickle.dumps(first.autoencoder_.state_dict())
    est = deep(encoder=first.autoencoder_, random_state=1)
    again, twin = clone(est).fit(X), est.fit(X)
    assert set(est.history_["phase"]) == {"cluster"}
    assert pickle.dumps(first.autoencoder_.state_dict()) == before
    assert_array_equal(again.cluster_centers_, twin.cluster_centers_)
    same = deep(encoder=first.autoencoder_, max_iter=0).fit(X)
    assert_array_equal(same.cluster_centers_, first.cluster_centers_)
    assert_array_equal(same.transform(X), first.transform(X))


def test_a_warm_start_continues_the_last_fit(blobs):
    X, _ = blobs
    est = deep(warm_start=True).fit(X)
    loss, centers = est.history_["loss"][-1], est.cluster_centers_
    mean, scale = est.mean_, est.scale_
    est.set_params(max_iter=0).fit(X[:100])
    assert_array_equal(est.cluster_centers_, centers)
    assert_array_equal(est.mean_, mean)
    assert_array_equal(est.scale_, scale)
    est.set_params(max_iter=6).fit(X)
    assert set(est.history_["phase"]) == {"cluster"}
    assert est.history_["loss"][-1] < loss
    fresh = est.set_params(n_clusters=3).fit(X)
    assert fresh.cluster_centers_.shape == (3, 2)
    with pytest.raises(ValueError, match="continues a fit with 10"):
        est.fit(X[:, :5])
    with pytest.raises(ValueError, match="n_components changed; set warm_start=False"):
        est.set_params(n_components=3).fit(X)
    cold = deep().fit(X)
    assert cold.fit(X).history_["loss"][-1] == loss


def test_a_warm_start_with_another_network_is_an_error(blobs):
    X = blobs[0][:, :6]
    conv = {"encoder": "conv", "warm_start": True, "pretrain_epochs": 1, "max_iter": 1}
    est = deep(**conv, input_shape=(2, 3)).fit(X)
    with pytest.raises(ValueError, match="input_shape changed; set warm_start=False"):
        est.set_params(input_shape=(3, 2)).fit(X)
    with pytest.raises(ValueError, match="code_activation changed; set warm_start=F"):
        est.set_params(input_shape=(2, 3), code_activation="linear").fit(X)
    est = deep(warm_start=True, max_iter=1).fit(X)  # dense: whatever shape is set
    est.set_params(input_shape=(2, 3), augment=lambda images: images).fit(X)
    for name, value in (("code_activation", "linear"), ("hidden_layer_sizes", (16, 4))):
        before = getattr(est, name)
        with pytest.raises(ValueError, match=f"but {name} changed; set warm_start=F"):
            est.set_params(**{name: value}).fit(X)
        est.set_params(**{name: before})
    a, b = (deep(max_iter=0, random_state=s).fit(X).autoencoder_ for s in (0, 1))
    est = deep(encoder=a, warm_start=True).fit(X).fit(X)
    with pytest.raises(ValueError, match="encoder changed; set warm_start=False"):
        est.set_params(encoder=b).fit(X)


def test_a_warm_start_counts_the_rows_of_the_centers(blobs):
    """New means weight the rows of the last fit and of a new epoch equally."""
    X, _ = blobs
    still = {"learning_rate": 1e-30, "reinit_interval": None, "temperature": 0}
    est = deep(max_iter=0, warm_start=True).fit(X)
    est.set_params(center_update="running_mean", max_iter=1, **still)
    means, codes, labels = est.cluster_centers_.copy(), est.transform(X), est.labels_
    est.cluster_centers_ = means + 1e-3 * np.abs(codes).max()
    moved, shift = est.cluster_centers_, est.cluster_centers_ - means
    assert_array_equal(est.predict(X), labels)
    assert_allclose(moved - est.fit(X).cluster_centers_, shift / 2, rtol=1e-3)


def test_a_single_label_of_different_codes_is_a_collapse(blobs):
    """The codes keep their variance."""
    X, _ = blobs
    est = deep(2, max_iter=0, warm_start=True).fit(X)
    est.cluster_centers_ = np.array([[0.0, 0.0], [1e4, 1e4]])
    still = {"learning_rate": 1e-30, "reinit_interval": None}
    with pytest.warns(ConvergenceWarning, match="have collapsed, to variance .* 1 clu"):
        est.set_params(max_iter=1, **still).fit(X)
    assert est.code_variance_ > 0


def test_later_changes_of_parameters_do_not_affect_predictions(blobs):
    X, _ = blobs
    est = deep(temperature=0.5).fit(X)
    proba, score = est.predict_proba(X), est.score(X)
    est.set_params(assignment="entmax15", clustering_weight=9.0, temperature=0.0)
    assert_array_equal(est.predict_proba(X), proba)
    assert est.score(X) == score
    est.set_params(device="cuda:99")  # a GPU that is not where the model is used
    assert_array_equal(est.predict_proba(X), proba)
    assert_array_equal(est.predict(X), est.labels_)
    assert_allclose(est.inverse_transform(est.transform(X)).shape, X.shape)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_a_center_of_rows_without_weight_comes_last(blobs):
    X, _ = blobs
    est = deep(3, max_iter=0, warm_start=True).fit(X)
    first = est.labels_ == 0
    still = {"max_iter": 1, "learning_rate": 1e-30, "reinit_interval": None}
    est.set_params(**still).fit(X, sample_weight=~first)
    assert_array_equal(est.labels_ == 2, first)
    decoded = est.inverse_transform(est.cluster_centers_)
    assert_allclose(est.cluster_centers_decoded_, decoded, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.parametrize("seed", range(5))
def test_centers_without_rows_come_last(blobs, seed):
    X = np.repeat(blobs[0][:3], 10, axis=0)
    est = deep(6, random_state=seed).fit(X)
    assert_array_equal(np.unique(est.labels_), [0, 1, 2])


class Dropping(Autoencoder):
    """A custom network with dropout and torch's own weights."""

    def __init__(self, n_features, n_components):
        wide = nn.Sequential(
            nn.Linear(n_features, 16), nn.Tanh(), nn.Dropout(0.1),
            nn.Linear(16, n_components),
        )  # fmt: skip
        super().__init__(wide, nn.Linear(n_components, n_features))


def test_a_custom_network(blobs):
    X, y = blobs
    state = torch.get_rng_state()
    a, b = deep(encoder=Dropping).fit(X), deep(encoder=Dropping).fit(X)
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(a.autoencoder_, Dropping)
    assert_array_equal(a.transform(X), b.transform(X))
    assert_array_equal(a.transform(X), a.transform(X))  # nothing is dropped
    # Dropout draws other masks on other processors: 0.93 to 0.98, and untrained 0.4.
    assert adjusted_rand_score(y, a.labels_) > 0.75
    other = deep(encoder=Dropping, random_state=1).fit(X)
    assert not np.allclose(other.transform(X), a.transform(X))
    assert_array_equal(pickle.loads(pickle.dumps(a)).transform(X), a.transform(X))


def stripes(n=120):
    """Make images of 6 x 5 with bars in one of three directions."""
    rng, y = np.random.default_rng(0), np.arange(n) % 3
    X = 0.3 * rng.normal(size=(n, 6, 5))
    for image, kind in zip(X, y, strict=True):
        place = rng.integers(1, 4)
        if kind == 0:
            image[place] += 3
        elif kind == 1:
            image[:, place] += 3
        else:
            image[range(5), range(5)] += 3
    return X.reshape(n, 30), y


def test_convolutional_encoder():
    X, _ = stripes()
    how = {"encoder": "conv", "learning_rate": 3e-3}
    est = deep(3, input_shape=(6, 5), **how).fit(X)
    assert [type(layer) for layer in est.autoencoder_.encoder][1] is nn.Conv2d
    losses = est.history_["loss"][:20]
    assert losses[-1] < 0.9 * losses[0]
    assert est.inverse_transform(est.cluster_centers_).shape == (3, 30)
    again = deep(3, input_shape=np.array([1, 6, 5]).tolist(), **how).fit(X)
    other = deep(3, input_shape=tuple(np.array([1, 6, 5])), **how).fit(X)
    assert_array_equal(other.transform(X), again.transform(X))
    assert_array_equal(again.labels_, est.labels_)


@pytest.mark.parametrize("encoder", ["dense", "conv"])
def test_tanh_bounds_the_codes(encoder):
    X, _ = stripes(60)
    few = {"encoder": encoder, "input_shape": (6, 5), "max_iter": 0}
    bounded = deep(3, **few).fit(X).transform(1e6 * X)
    assert np.abs(bounded).max() <= 1
    linear = deep(3, code_activation="linear", **few).fit(X).transform(1e6 * X)
    assert np.abs(linear).max() > 1


def test_augment_gets_batches_in_units_of_the_data(blobs):
    X, _ = blobs
    X, seen = 10 * X + 5, []

    def augment(rows):
        seen.append(rows)
        return rows + torch.randn(rows.shape)

    state = torch.get_rng_state()
    est = deep(augment=augment).fit(X)
    assert torch.equal(torch.get_rng_state(), state)
    per_epoch = 3  # batches of 64 rows
    assert len(seen) == per_epoch * N_EPOCHS
    assert [tuple(rows.shape) for rows in seen[:3]] == [(64, 10), (64, 10), (22, 10)]
    for epoch in (0, N_EPOCHS - 1):
        rows = torch.cat(seen[per_epoch * epoch : per_epoch * (epoch + 1)]).numpy()
        assert_allclose(np.sort(rows, 0), np.sort(X, 0), rtol=1e-4, atol=1e-3)
    again = deep(augment=augment).fit(X)
    assert_array_equal(again.transform(X), est.transform(X))
    assert not np.allclose(deep().fit(X).transform(X), est.transform(X), atol=1e-3)


def test_augment_is_not_trained(blobs):
    factor = torch.ones((), requires_grad=True)
    est = deep(augment=lambda rows: factor * rows, pretrain_epochs=1, max_iter=1)
    est.fit(blobs[0])
    assert factor.grad is None


def test_augment_may_return_another_precision(blobs):
    few = {"pretrain_epochs": 2, "max_iter": 2}
    single, double = (
        deep(augment=augment, **few).fit(blobs[0])
        for augment in (lambda rows: rows, lambda rows: rows.double())
    )
    assert double.history_["loss"] == single.history_["loss"]


def test_augment_gets_images():
    X, _ = stripes(60)
    shapes = set()

    def augment(images):
        shapes.add(tuple(images.shape[1:]))
        return images.roll(1, -1)

    deep(3, augment=augment, input_shape=(6, 5)).fit(X)
    deep(3, augment=augment, input_shape=(5, 3, 2)).fit(X)
    assert shapes == {(6, 5), (5, 3, 2)}


@pytest.mark.filterwarnings("ignore:In its last epoch the network")
def test_augment_may_fill_constant_features():
    """Such as the border of images: shifted images keep their scale."""
    X, _ = stripes(60)
    wide = np.zeros((60, 6, 9))
    wide[:, :, 2:7] = 1000 * X.reshape(60, 6, 5)
    losses = []
    for shift in (0, 2):
        est = deep(
            3,
            augment=lambda images, shift=shift: images.roll(shift, 2),
            input_shape=(6, 9),
            max_iter=0,
            pretrain_epochs=2,
        ).fit(wide.reshape(60, -1))
        assert_allclose(est.scale_, wide.var(0).mean() ** 0.5, rtol=1e-6)
        losses.append(est.history_["loss"][0])
    assert losses[1] < 3 * losses[0]


def test_denoising_improves_the_reconstruction_of_masked_entries(blobs):
    """Compared with a network trained without masks."""
    X, _ = blobs
    X = X @ np.random.default_rng(0).normal(size=(10, 40))
    hidden = np.random.default_rng(1).random(X.shape) < 0.2
    holes = np.where(hidden, X.mean(0), X)

    def error(**params):
        est = deep(max_iter=0, pretrain_epochs=60, **params).fit(X)
        return np.square(est.inverse_transform(est.transform(holes)) - X)[hidden].mean()

    assert error(denoising=0.3) < 0.9 * error()


def test_settled_labels_end_the_fit(blobs):
    X, _ = blobs
    est = deep(tol=0.01, max_iter=40).fit(X)
    change = np.array(est.history_["label_change"][20:])
    assert est.n_iter_ == len(change) < 40
    assert (change[-3:] < 0.01).all()
    quiet = np.convolve(change < 0.01, np.ones(3), "valid") == 3
    assert quiet.argmax() == len(change) - 3
    assert deep(tol=0.0, max_iter=12).fit(X).n_iter_ == 12
    known = deep(tol=0.0, max_iter=est.n_iter_).fit(X)
    assert_array_equal(est.cluster_centers_, known.cluster_centers_)
    for name in ("center_shift", "largest_cluster"):
        assert est.history_[name] == known.history_[name]
    rare = deep(tol=1.0, max_iter=12, weight_reset=0.2, reinit_interval=5).fit(X)
    assert rare.n_iter_ == 10  # five after the first reset
    plain = deep(tol=1.0, max_iter=12, reinit_interval=5).fit(X)
    assert plain.n_iter_ == 5  # not before K-means was once


@pytest.mark.parametrize(
    "other",
    [
        lambda X: X.astype(np.float32),
        lambda X: (1000 * X).astype(np.float32),
        lambda X: X + 1e6,
        lambda X: X / 7,
    ],
    ids=["single precision", "in another unit", "far away", "divided"],
)
def test_rounding_hardly_changes_labels(other):
    """For overlapping clusters, in which other batches would give other labels."""
    X, _ = make_blobs(300, 10, centers=6, cluster_std=4.0, random_state=0)
    est = deep(6, pretrain_epochs=10).fit(X)
    again = deep(6, pretrain_epochs=10).fit(other(X))
    assert again.history_["loss"][9] == pytest.approx(est.history_["loss"][9], rel=1e-4)
    assert adjusted_rand_score(est.labels_, again.labels_) > 0.98
    seed = deep(6, pretrain_epochs=10, random_state=1).fit(X)
    assert adjusted_rand_score(est.labels_, seed.labels_) < 0.95


def test_the_score_is_precise_far_from_the_origin_of_the_codes(blobs):
    X = blobs[0].astype(np.float32)
    est = deep(code_activation="linear").fit(X)
    near = est.score(X)
    with torch.no_grad():
        codes, rows = est.autoencoder_.encoder[-1], est.autoencoder_.decoder[0]
        codes.bias += 1024.0
        rows.bias -= 1024.0 * rows.weight.sum(1)
    est.cluster_centers_ = est.cluster_centers_ + np.float32(1024.0)
    assert est.score(X) == pytest.approx(near, rel=0.01)


@pytest.mark.parametrize("least", [1e-60, 1e-40, 1e-22])
def test_weights_too_small_for_single_precision_count_as_zero(blobs, least):
    X, _ = blobs
    weight = np.r_[np.ones(100), np.full(50, least)]
    tiny = deep(batch_size=4, max_iter=2).fit(X, sample_weight=weight)
    none = deep(batch_size=4, max_iter=2).fit(X, sample_weight=weight.round())
    assert_array_equal(tiny.transform(X), none.transform(X))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("n_heavy", [1, 100])
def test_weights_of_very_different_sizes(blobs, n_heavy):
    X, _ = blobs
    weight = np.r_[np.ones(n_heavy), np.full(150 - n_heavy, 1e-18)]
    for activation in ("linear", "tanh"):
        est = deep(batch_size=2, max_iter=2, code_activation=activation)
        est.fit(X[:150], sample_weight=weight)
        assert np.isfinite(est.history_["loss"]).all()


SCALARS = {
    "n_components": np.int64(2),
    "hidden_layer_sizes": np.array([16]),
    "pretrain_epochs": np.int16(2),
    "denoising": np.float32(0.25),
    "max_iter": np.int64(3),
    "clustering_weight": np.float32(1.0),
    "temperature": np.float64(0.125),
    "differentiate_assignments": np.bool_(True),
    "reinit_interval": np.int32(1),
    "weight_reset": np.float32(0.25),
    "batch_size": np.uint8(32),
    "learning_rate": np.float64(0.01),
    "tol": np.float32(0.0),
    "warm_start": np.bool_(False),
    "verbose": np.int64(0),
    "random_state": np.int64(0),
}


@pytest.mark.parametrize("size", [np.int64, np.uint8])
def test_parameters_may_be_numbers_of_numpy(blobs, size):
    X = np.r_[blobs[0], blobs[0] + 0.1]  # more rows than the smallest type can count
    assert len(X) > 255
    est = deep(size(20), **SCALARS).fit(X)
    plain = {name: value.tolist() for name, value in SCALARS.items()}
    assert_array_equal(est.transform(X), deep(20, **plain).fit(X).transform(X))


def test_small_integers_of_numpy_do_not_overflow():
    """Their products exceed their range."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 256))
    few = {"pretrain_epochs": np.uint8(150), "max_iter": np.uint8(129)}
    shape = {"input_shape": tuple(np.array([16, 16], np.uint8)), "tol": 0.0}
    est = deep(4, **few, **shape, reinit_interval=np.int8(2)).fit(X)
    assert len(est.history_["loss"]) == 279
    large = {"pretrain_epochs": 150, "max_iter": 129, "input_shape": (16, 16)}
    plain = deep(4, **large, tol=0.0, reinit_interval=2).fit(X)
    assert_array_equal(est.transform(X), plain.transform(X))


def test_layer_sizes_of_any_type_are_the_same_network(blobs):
    X, _ = blobs
    est = deep(hidden_layer_sizes=(16,), warm_start=True).fit(X)
    for sizes in ([16], np.array([16]), (np.int64(16),)):
        est.set_params(hidden_layer_sizes=sizes).fit(X)
    with pytest.raises(ValueError, match="hidden_layer_sizes changed"):
        est.set_params(hidden_layer_sizes=[17]).fit(X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes_are_preserved(blobs, dtype):
    X = blobs[0].astype(dtype)
    est = deep().fit(X)
    for values in (
        est.cluster_centers_,
        est.cluster_centers_decoded_,
        est.transform(X),
        est.predict_proba(X),
        est.inverse_transform(est.transform(X)),
    ):
        assert values.dtype == dtype
    assert next(est.autoencoder_.parameters()).dtype == torch.float32


def test_blocks_do_not_change_predictions(blobs):
    X, _ = blobs
    est = deep().fit(X)
    codes, score = est.transform(X), est.score(X)
    decoded = est.inverse_transform(codes)
    with config_context(working_memory=0.01):
        assert_allclose(est.transform(X), codes, atol=1e-10)
        assert_array_equal(est.predict(X), est.labels_)
        assert est.score(X) == pytest.approx(score)
        assert_allclose(est.inverse_transform(codes), decoded, atol=1e-10)


def test_prediction_in_single_precision_agrees(blobs):
    X, _ = blobs
    est = deep().fit(X)
    assert_array_equal(est.predict(X.astype(np.float32)), est.labels_)
    assert_array_equal(est.predict(torch.from_numpy(X)), est.labels_)


@pytest.mark.filterwarnings("ignore:In its last epoch the network")
def test_grid_search_in_a_pipeline_in_two_processes(blobs):
    X, _ = blobs
    name = "deepcenteringclustering__"
    grid = {name + "learning_rate": [1e-4, 0.01]}
    pipe = make_pipeline(StandardScaler(), deep(max_iter=2))
    search = GridSearchCV(pipe, grid, cv=3, n_jobs=2, error_score="raise").fit(X)
    alone = GridSearchCV(pipe, grid, cv=3, error_score="raise").fit(X)
    assert search.best_params_[name + "learning_rate"] == 0.01
    scores = "mean_test_score"
    assert_allclose(search.cv_results_[scores], alone.cv_results_[scores])
    assert_array_equal(search.predict(X), alone.predict(X))


def test_named_features(blobs):
    X = pd.DataFrame(blobs[0], columns=[f"x{j}" for j in range(10)])
    est = deep().set_output(transform="pandas").fit(X)
    out = est.transform(X)
    names = [f"deepcenteringclustering{j}" for j in range(2)]
    assert out.columns.tolist() == est.get_feature_names_out().tolist() == names
    assert_array_equal(clone(est).fit_transform(X), out)
    assert_array_equal(clone(est).fit_predict(X), est.labels_)


def test_a_pickled_estimator_predicts_the_same(blobs, fitted_state):
    X, _ = blobs
    est = deep().fit(X)
    back = pickle.loads(pickle.dumps(est))
    one, other = fitted_state(est), fitted_state(back)
    assert {k for k in one if one[k] != other[k]} <= {"autoencoder_"}
    assert_array_equal(back.predict_proba(X), est.predict_proba(X))
    for p, q in zip(
        est.autoencoder_.parameters(), back.autoencoder_.parameters(), strict=True
    ):
        assert torch.equal(p, q)


def test_fitted_attributes_are_documented(blobs):
    est = deep()
    params = dict(est.get_params())
    est.fit(blobs[0])
    assert est.get_params() == params
    public = [name for name in vars(est) if name not in params and name[0] != "_"]
    for name in public:
        assert name.endswith("_")
        assert name in DeepCenteringClustering.__doc__
    for name, value in vars(est).items():
        assert name == "autoencoder_" or "torch" not in type(value).__module__
    assert all(p.device.type == "cpu" for p in est.autoencoder_.parameters())


def test_the_default_network_has_the_documented_layers(blobs):
    est = DeepCenteringClustering(4, pretrain_epochs=0, max_iter=0).fit(blobs[0])
    sizes = [p.shape[0] for p in est.autoencoder_.encoder.parameters() if p.ndim == 2]
    assert sizes == [500, 500, 2000, 10]
    assert isinstance(est.autoencoder_, DenseAutoencoder)
    assert est.history_["phase"] == []
