"""Rows that hold the largest numbers, as rasters do where they have no data."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.datasets import load_iris
from torch import nn

from skrbf import DeepCenteringClustering, RBFNetClassifier

DTYPES = [np.float32, np.float64]
NETS = {
    "gaussian": {},
    "softmax": {"assignment": "softmax"},
    "entmax15": {"assignment": "entmax15"},
    "sparsemax": {"assignment": "sparsemax"},
    "global": {"width": "global", "assignment": "softmax"},
    "per_feature": {"width": "per_feature", "assignment": "softmax"},
    "narrow": {"width_factor": 1e-12, "assignment": "softmax", "max_iter": 0},
    "narrow in each": {"width_factor": 1e-12, "width": "per_feature", "max_iter": 0},
    "wide": {"width_factor": 1e12, "assignment": "softmax", "max_iter": 0},
    "common scale": {"scale": False},
}
DEEP = {
    "tanh": {},
    "linear": {"code_activation": "linear"},
    "entmax15": {"code_activation": "linear", "assignment": "entmax15"},
    "sparsemax": {"code_activation": "linear", "assignment": "sparsemax"},
    "cold": {"code_activation": "linear", "temperature": 1e-12},
    "hard": {"code_activation": "linear", "temperature": 0},
}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(params=[4, 24], ids=["few features", "many features"])
def data(request):
    X, y = load_iris(return_X_y=True)
    return np.tile(X, request.param // 4), y


def extreme_rows(X, dtype):
    """Rows with extreme values in one feature or all, of one sign or both."""
    info, rows = np.finfo(dtype), []
    for value in (info.max, info.min, info.min / 2, -1e30, info.tiny):
        row = X[0].copy()
        row[0] = value
        rows += [row, np.full_like(row, value)]
    both = np.where(np.arange(X.shape[1]) % 2, info.max, info.min)
    return np.array([*rows, both, -both], dtype)


def check_shares(shares):
    assert np.isfinite(shares).all()
    assert (shares >= 0).all()
    assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("params", NETS.values(), ids=NETS.keys())
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fitted", DTYPES)
def test_network_predicts_extreme_values(data, params, fitted, dtype):
    X, y = data
    params = {"max_iter": 2, "random_state": 0, **params}
    net = RBFNetClassifier(8, **params).fit(X.astype(fitted), y)
    Z = extreme_rows(X, dtype)
    proba = net.predict_proba(Z)
    check_shares(proba)
    assert_array_equal(net.classes_[proba.argmax(axis=1)], net.predict(Z))
    activations = net.transform(Z)
    assert ((activations >= 0) & (activations <= 1 + 1e-5)).all()
    novelty = net.novelty(Z)
    assert ((novelty >= 0) & (novelty <= 1)).all()
    familiarity = net.score_samples(Z)
    assert (np.isfinite(familiarity) & (familiarity <= 0)).all()
    explained = net.explain(Z)
    assert_array_equal(explained.label, net.predict(Z))
    parts = [explained[name] for name in ("activation", "contribution", "rest")]
    logs, decision = net.predict_log_proba(Z), net.decision_function(Z)
    assert all(np.isfinite(part).all() for part in (*parts, logs, decision))
    assert 0 <= net.score(Z, np.zeros(len(Z))) <= 1
    assert_allclose(net.predict_proba(csr_array(Z)), proba, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("params", DEEP.values(), ids=DEEP.keys())
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fitted", DTYPES)
def test_deep_clustering_predicts_extreme_values(data, params, fitted, dtype):
    X, _ = data
    small = {"n_components": 2, "hidden_layer_sizes": (8, 8), "random_state": 0}
    params = {"pretrain_epochs": 2, "max_iter": 1, **small, **params}
    deep = DeepCenteringClustering(3, **params).fit(X.astype(fitted))
    Z = extreme_rows(X, dtype)
    shares = deep.predict_proba(Z)
    check_shares(shares)
    assert_array_equal(shares.argmax(axis=1), deep.predict(Z))
    codes = deep.transform(Z)
    assert np.isfinite(codes).all()
    assert np.isfinite(deep.inverse_transform(codes)).all()
    assert np.isfinite(deep.score(Z))
    assert_array_equal(deep.predict(csr_array(Z)), deep.predict(Z))


class Growing(nn.Module):
    """Autoencoder whose codes overflow far from the training data."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.encoder = nn.Linear(n_features, n_components)
        self.decoder = nn.Linear(n_components, n_features)

    def encode(self, rows):
        return self.encoder(rows) + rows.abs().amax(1, keepdim=True).exp()

    def decode(self, codes):
        return self.decoder(codes)


def test_codes_that_overflow_raise(data):
    X, _ = data
    deep = DeepCenteringClustering(
        3, n_components=2, encoder=Growing, pretrain_epochs=1, max_iter=1
    ).fit(X)
    Z = extreme_rows(X, np.float64)
    for name in ("predict", "predict_proba", "transform", "score"):
        with pytest.raises(ValueError, match="codes that are not finite for rows"):
            getattr(deep, name)(Z)


@pytest.mark.parametrize("factor", [1e100, 1e-60])
@pytest.mark.parametrize(
    "estimator",
    [
        RBFNetClassifier(4, max_iter=1, random_state=0),
        DeepCenteringClustering(
            2,
            n_components=1,
            hidden_layer_sizes=(4,),
            pretrain_epochs=1,
            max_iter=1,
            random_state=0,
        ),
    ],
)
def test_fit_beyond_the_range_of_the_dtype_of_x(data, estimator, factor):
    X, y = data
    estimator.fit(factor * X, y)
    with pytest.raises(
        ValueError,
        match="pass X as float64",
    ):
        estimator.predict(X.astype(np.float32))
