"""scikit-learn's callbacks (1.9) on DeepCenteringClustering.

Collected only where scikit-learn has them, see conftest.py.
"""

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.callback import ProgressBar, ScoringMonitor  # noqa: TID251
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from helpers import Steps
from skrbf import DeepCenteringClustering
from skrbf.nn import Autoencoder

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6)) + 4 * (np.arange(60) % 3)[:, None]
KINDS = {
    "default": {},
    "learned": {"center_update": "gradient"},
    "pretrain only": {"max_iter": 0},
    "reset": {"weight_reset": 0.2, "reinit_interval": 2},
    "soft": {"temperature": 0.3},
}
all_kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def net(**params):
    small = {
        "n_components": 2,
        "hidden_layer_sizes": (8,),
        "pretrain_epochs": 4,
        "max_iter": 4,
        "learning_rate": 0.01,
        "tol": 0.0,
    }
    return DeepCenteringClustering(3, **small | params, random_state=0)


@all_kinds
def test_callbacks_get_a_working_estimator_after_every_epoch(kind):
    steps, plain = Steps(), net(**kind).fit(X)
    est = net(**kind).set_callbacks(steps).fit(X)
    assert est.history_["loss"] == plain.history_["loss"]
    assert_array_equal(est.cluster_centers_, plain.cluster_centers_)
    assert steps.names == est.history_["phase"]
    assert steps.most == len(steps.names)  # what a progress bar counts to
    codes = []
    for shown in steps.taken:
        assert_array_equal(shown.predict(X), shown.predict_proba(X).argmax(1))
        assert shown.cluster_centers_decoded_.shape == (3, 6)
        codes.append(shown.transform(X))
    assert all(not np.array_equal(a, b) for a, b in pairwise(codes))
    assert_array_equal(codes[-1], est.transform(X))


@all_kinds
@pytest.mark.parametrize("stop", [1, 4, 6])
def test_a_callback_stops_the_fit_by_returning_true(kind, stop):
    steps = Steps(stop)
    est = net(**kind).set_callbacks(steps).fit(X)
    last = steps.taken[-1]  # as if the fit had stopped there
    assert last.temperature_ == est.temperature_
    assert_array_equal(last.cluster_centers_, est.cluster_centers_)
    assert_array_equal(last.predict_proba(X), est.predict_proba(X))
    assert len(est.history_["loss"]) == min(stop, 4 if "max_iter" in kind else 8)
    assert_array_equal(est.labels_, est.predict(X))
    assert_array_equal(np.unique(est.labels_), [0, 1, 2])


def test_a_fit_stopped_by_a_callback_does_not_warn():
    def far_off(n_features, n_components):
        decoder = nn.Linear(n_components, n_features)
        nn.init.constant_(decoder.bias, 9.0)
        return Autoencoder(nn.Linear(n_features, n_components), decoder)

    poor = {"encoder": far_off, "learning_rate": 1e-9, "max_iter": 0}
    with pytest.warns(ConvergenceWarning, match="no better than their mean"):
        net(**poor).fit(X)
    net(**poor).set_callbacks(Steps(1)).fit(X)  # a warning would be an error


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("stop", [2, 7])
def test_an_error_in_a_callback_leaves_the_estimator_unchanged(
    fitted_state, stop, error
):
    est = net().fit(X)
    before = fitted_state(est)
    est.set_callbacks(Steps(stop, error("from the callback")))
    with pytest.raises(error, match="from the callback"):
        est.fit(2 * X[:50])
    est.set_callbacks()
    assert fitted_state(est) == before


@pytest.mark.parametrize("method", ["fit", "fit_predict", "fit_transform"])
def test_monitor_and_progress_bar(capsys, method):
    y = np.arange(len(X)) % 3
    monitor = ScoringMonitor(
        scoring={"loss": lambda estimator, X, y: estimator.score(X) + y[0]}
    )
    est = net().set_callbacks(monitor, ProgressBar())
    getattr(est, method)(X, y)
    assert len(monitor.get_logs().data) >= len(est.history_["loss"])
    assert "DeepCenteringClustering" in capsys.readouterr().out


@pytest.mark.parametrize("weight", [None, np.arange(60.0)])
def test_callbacks_get_all_fitted_attributes_of_this_fit(weight):
    steps = Steps()
    est = net().fit(X * 3 + 1).set_callbacks(steps).fit(X, sample_weight=weight)
    assert [each.n_iter_ for each in steps.taken] == [0, 0, 0, 0, 1, 2, 3, 4]
    for number, each in enumerate(steps.taken, 1):
        assert len(each.history_["loss"]) == number
        codes, labels = each.transform(X), each.predict(X)
        variance = np.cov(codes.T, aweights=weight, ddof=0).trace()
        assert each.code_variance_ == pytest.approx(variance, rel=1e-4)
        share = np.ones(60) if weight is None else weight
        for k, center in enumerate(each.cluster_centers_):
            if number <= 4:  # K-means, as long as the network is pretrained
                own = labels == k
                mean = np.average(codes[own], axis=0, weights=share[own])
                assert_allclose(center, mean, rtol=1e-4, atol=1e-4)
        assert np.isfinite(each.score(X))
    assert steps.taken[-1].score(X) == est.score(X)
