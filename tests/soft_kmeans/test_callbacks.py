"""scikit-learn's callbacks (1.9): see a fit, score it, stop it, fail in it.

Collected only where scikit-learn has them, see conftest.py.
"""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.callback import ProgressBar, ScoringMonitor  # noqa: TID251
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrbf import SoftKMeans

KINDS = {
    "grow": {"temperature": 0.02},
    "auto": {},
    "entmax15": {"assignment": "entmax15"},
    "sparsemax": {"assignment": "sparsemax"},
    "hard": {"temperature": 0},
    "k-means++": {"temperature": 0.02, "init": "k-means++", "random_state": 0},
}
all_kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


class Recorder:
    """Record the events of a fit; ``at`` is called with the number of steps so far."""

    def __init__(self, at=lambda n_steps: False):
        self.at, self.events, self.n_steps, self.contexts = at, [], 0, []

    def setup(self, estimator, context):
        self.events.append("setup")

    def on_fit_task_begin(self, estimator, context):
        root = context.parent is None
        self.events.append("begin fit" if root else "begin step")

    def on_fit_task_end(self, estimator, context):
        if context.parent is None:
            self.events.append("end fit")
            return False
        self.events.append("end step")
        self.contexts.append(context)
        self.n_steps += 1
        return self.at(self.n_steps)

    def teardown(self, estimator, context):
        self.events.append("teardown")


class Snapshots(Recorder):
    """Keep the estimator as it would be if the fit stopped at each step."""

    def __init__(self):
        super().__init__()
        self.taken = []

    def on_fit_task_end(
        self, estimator, context, *, X=None, metadata=None, fitted_estimator=None
    ):
        if context.parent is not None:
            self.taken.append((X, metadata, fitted_estimator))


@all_kinds
def test_a_callback_sees_every_step(make_data, kind):
    X, seen = make_data("uniform"), Recorder()
    plain = SoftKMeans(8, **kind).fit(X)

    est = SoftKMeans(8, **kind).set_callbacks(seen).fit(X)

    assert seen.events[:2] == ["setup", "begin fit"]
    assert seen.events[-2:] == ["end fit", "teardown"]
    steps = seen.events[2:-2]
    assert set(steps) == {"begin step", "end step"}
    assert steps.count("begin step") == steps.count("end step") >= 3
    assert len({context.task_id for context in seen.contexts}) == len(seen.contexts)
    assert_array_equal(est.cluster_centers_, plain.cluster_centers_)
    assert est.history_ == plain.history_


@all_kinds
def test_a_callback_that_returns_true_stops_the_fit(make_data, kind):
    X = make_data("uniform")
    plain = SoftKMeans(8, **kind).fit(X)
    seen = Recorder(at=lambda n_steps: n_steps >= 2)

    est = SoftKMeans(8, **kind).set_callbacks(seen).fit(X)

    assert seen.n_steps == 2
    assert seen.events[-2:] == ["end fit", "teardown"]
    assert len(est.history_["objective"]) == 2 < len(plain.history_["objective"])
    assert est.n_iter_ <= plain.n_iter_
    assert_array_equal(est.labels_, est.predict(X))
    assert np.isfinite(est.cluster_centers_).all()
    assert est.cluster_centers_.shape[1] == 3


@all_kinds
def test_the_estimator_of_each_step_predicts(make_data, kind):
    X, weight, seen = make_data("uniform"), np.linspace(0.1, 1, 300), Snapshots()

    est = SoftKMeans(8, **kind).set_callbacks(seen).fit(X, sample_weight=weight)

    assert len(seen.taken) >= 3
    scores = []
    sizes = [len(snapshot.cluster_centers_) for _, _, snapshot in seen.taken]
    assert sizes == est.history_["n_clusters"]
    for data, metadata, snapshot in seen.taken:
        assert data.shape == X.shape
        assert_array_equal(metadata["sample_weight"], weight)
        r = snapshot.predict_proba(X)
        assert_array_equal(snapshot.predict(X), r.argmax(axis=1))
        scores.append(snapshot.score(X, sample_weight=weight))
    assert scores[0] < scores[-1]
    assert scores[-1] == pytest.approx(est.score(X, sample_weight=weight), rel=0.05)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.parametrize("method", ["fit", "fit_predict", "fit_transform"])
def test_scoring_monitor(make_data, method):
    X = make_data("blobs")
    y = SoftKMeans(5).fit_predict(X)
    monitor = ScoringMonitor(scoring="adjusted_rand_score")

    getattr(SoftKMeans(5, init=X[:5]).set_callbacks(monitor), method)(X, y)

    scores = [row.get("adjusted_rand_score", 0) for row in monitor.get_logs().data]
    assert len(scores) >= 3
    assert len(set(scores)) >= 3


def test_progress_bar(make_data, capsys):
    X = make_data("blobs")
    SoftKMeans(5).set_callbacks(ProgressBar()).fit(X)
    assert "SoftKMeans" in capsys.readouterr().out

    pipe = make_pipeline(StandardScaler(), SoftKMeans(5))
    pipe.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(X)
    assert "SoftKMeans" in capsys.readouterr().out


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("step", [1, 3])
@all_kinds
def test_a_failing_callback_leaves_the_estimator_unchanged(
    make_data, fitted_state, kind, step, error
):
    def fail(n_steps):
        if n_steps == step:
            raise error("from the callback")

    X, seen = make_data("blobs"), Recorder(at=fail)
    est = SoftKMeans(5, **kind).fit(X)
    before = fitted_state(est)

    est.set_callbacks(seen)
    with pytest.raises(error, match="from the callback"):
        est.fit(make_data("uniform"))

    assert seen.events[-1] == "teardown"
    est.set_callbacks()
    assert fitted_state(est) == before
    assert_array_equal(est.predict(X), est.labels_)


@pytest.mark.parametrize("hook", ["setup", "on_fit_task_begin", "on_fit_task_end"])
def test_a_callback_failing_at_either_end_leaves_the_estimator_unchanged(
    make_data, fitted_state, monkeypatch, hook
):
    def fail(estimator, context):
        if context.parent is None:
            raise ZeroDivisionError("from the callback")

    X, seen = make_data("blobs"), Recorder()
    monkeypatch.setattr(seen, hook, fail)
    est = SoftKMeans(5).fit(X)
    before = fitted_state(est)

    est.set_callbacks(seen)
    with pytest.raises(ZeroDivisionError):
        est.fit(make_data("uniform"))

    est.set_callbacks()
    assert fitted_state(est) == before
