"""Test the callbacks of scikit-learn 1.9 with RBFNetClassifier.

conftest.py collects this file only if scikit-learn has callbacks.
"""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.callback import ProgressBar, ScoringMonitor  # noqa: TID251
from sklearn.exceptions import ConvergenceWarning

from helpers import Steps
from skrbf import RBFNetClassifier

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(90, 2)), np.arange(90) % 3
KINDS = {
    "adam": {},
    "lbfgs": {"solver": "lbfgs"},
    "output layer": {"max_iter": 0},
    "early": {"early_stopping": True},
}
all_kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def net(**params):
    return RBFNetClassifier(8, random_state=0, **params)


@all_kinds
def test_each_step_shows_an_estimator_that_works(kind):
    steps, plain = Steps(), net(**kind).fit(X, Y)
    est = net(**kind).set_callbacks(steps).fit(X, Y)
    assert est.history_["loss"] == plain.history_["loss"]
    assert_array_equal(est.centers_, plain.centers_)
    assert steps.names == est.history_["phase"]
    for shown in steps.taken:
        proba = shown.predict_proba(X)
        assert_array_equal(shown.predict(X), shown.classes_[proba.argmax(1)])
    assert steps.taken[0].predict_proba(X).std() > 0


@pytest.mark.parametrize(("max_iter", "most"), [(0, 500), (3, 13)])
def test_a_progress_bar_counts_to_the_most_steps(max_iter, most):
    steps = Steps()
    net(max_iter=max_iter, warm_start=True).set_callbacks(steps).fit(X, Y)
    assert len(steps.names) <= steps.most == most


def test_a_warm_start_does_not_fit_the_output_layer_first():
    steps = Steps()
    est = net(max_iter=3, warm_start=True).fit(X, Y).set_callbacks(steps).fit(X, Y)
    assert steps.most == len(steps.names) == 3
    assert est.history_["phase"] == ["joint"] * 3


@all_kinds
@pytest.mark.parametrize("stop", [1, 4])
def test_a_callback_that_returns_true_stops(kind, stop):
    est = net(**kind).set_callbacks(Steps(stop)).fit(X, Y)
    assert len(est.loss_curve_) == stop
    assert est.predict(X).shape == (90,)
    assert est.loss_ <= min(est.loss_curve_) or est.early_stopping


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
@all_kinds
def test_a_callback_that_fails_leaves_the_estimator(fitted_state, kind, error):
    est = net(**kind).fit(X, Y)
    before = fitted_state(est)
    est.set_callbacks(Steps(2, error("from the callback")))
    with pytest.raises(error, match="from the callback"):
        est.fit(2 * X[:50], Y[:50])
    est.set_callbacks()
    assert fitted_state(est) == before


def test_monitor_and_progress_bar(capsys):
    monitor = ScoringMonitor(scoring="accuracy")
    est = net().set_callbacks(monitor, ProgressBar()).fit(X, Y)
    rows = [row for row in monitor.get_logs().data if "accuracy" in row]
    assert len(rows) >= len(est.loss_curve_)
    assert "RBFNetClassifier" in capsys.readouterr().out


def test_a_fit_that_a_callback_ends_has_not_diverged():
    """One epoch at a rate that is far too high gives no warning."""
    for kind in ({}, {"early_stopping": True}):
        steps = Steps()
        with pytest.warns(ConvergenceWarning, match="diverged"):
            net(learning_rate=1.0, **kind).set_callbacks(steps).fit(X, Y)
        stop = Steps(stop=steps.names.index("joint") + 2)
        est = net(learning_rate=1.0, **kind).set_callbacks(stop).fit(X, Y)
        assert est.n_iter_ == 2
