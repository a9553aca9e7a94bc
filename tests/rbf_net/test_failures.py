"""Test errors and interruptions: clear messages, and an unchanged estimator."""

import sys
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import (
    load_breast_cancer,
    load_iris,
    load_wine,
    make_blobs,
    make_classification,
)
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils._param_validation import InvalidParameterError  # noqa: TID251

from helpers import with_value
from skrbf import RBFNetClassifier

RNG = np.random.default_rng(0)
GOOD, LABELS = RNG.normal(size=(60, 3)), np.arange(60) % 3
NAMES = ["predict", "predict_proba", "transform", "novelty", "explain"]
BAD_PARAMETER = {
    "n_centers": [0, 2.0, None],
    "assignment": ["hard", "gaussian"],
    "width": ["wide", None],
    "width_factor": [0, -1.0, "wide", None],
    "per_class": ["yes"],
    "scale": ["standard"],
    "alpha": [-1.0, "small"],
    "center_penalty": [-1.0],
    "label_smoothing": [-0.1, 1.0],
    "solver": ["sgd", None],
    "learning_rate": [0, -0.1],
    "max_iter": [-1, 1.5, None, "all"],
    "batch_size": [0, None, "all"],
    "early_stopping": ["yes"],
    "validation_fraction": [0, 1, 1.5],
    "n_iter_no_change": [0],
    "tol": [-1.0],
    "class_weight": ["even", 3],
    "warm_start": ["yes"],
    "device": [0],
    "random_state": ["seed"],
}


def net(**params):
    return RBFNetClassifier(**{"n_centers": 8, "random_state": 0, **params})


@pytest.fixture
def fitted():
    return net().fit(GOOD, LABELS)


@pytest.mark.parametrize(
    ("name", "value"), [(n, v) for n, values in BAD_PARAMETER.items() for v in values]
)
def test_bad_parameters(fitted, fitted_state, name, value):
    before = fitted_state(fitted.set_params(**{name: value}))
    message = f"The '{name}' parameter of RBFNetClassifier must be .* Got .* instead"
    with pytest.raises(InvalidParameterError, match=message):
        fitted.fit(GOOD, LABELS)
    assert fitted_state(fitted) == before


@pytest.mark.parametrize(
    ("X", "y", "weight", "message"),
    [
        (with_value(GOOD, np.nan), LABELS, None, "contains NaN"),
        (with_value(GOOD, np.inf), LABELS, None, "contains infinity"),
        (GOOD, LABELS[:-1], None, "inconsistent numbers of samples"),
        (GOOD, GOOD[:, 0], None, "Unknown label type: continuous"),
        (GOOD, None, None, "requires y to be passed"),
        (GOOD, LABELS, -np.ones(60), "(?i)negative"),
        (GOOD, LABELS, np.zeros(60), "(?i)weight.*zero|zero.*weight"),
        (GOOD[:0], LABELS[:0], None, r"0 sample\(s\)"),
    ],
)
def test_bad_data(fitted, fitted_state, X, y, weight, message):
    before = fitted_state(fitted)
    with pytest.raises(ValueError, match=message):
        fitted.fit(X, y, sample_weight=weight)
    assert fitted_state(fitted) == before


def test_another_number_of_features(fitted):
    message = "X has 2 features, but RBFNetClassifier is expecting 3 features as input"
    for name in NAMES:
        with pytest.raises(ValueError, match=message):
            getattr(fitted, name)(GOOD[:, :2])


def test_not_fitted():
    for name in [*NAMES, "decision_function", "predict_log_proba", "score_samples"]:
        with pytest.raises(NotFittedError, match="RBFNetClassifier instance is not"):
            getattr(net(), name)(GOOD)
    with pytest.raises(NotFittedError):
        net().get_feature_names_out()


def test_an_unknown_class_in_class_weight():
    with pytest.raises(
        ValueError, match=r"class_weight has classes \[7\] that are not in y"
    ):
        net(class_weight={0: 1, 7: 2}).fit(GOOD, LABELS)
    for factor in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="factors that are negative or not finite"):
            net(class_weight={0: factor}).fit(GOOD, LABELS)
    with pytest.raises(ValueError, match="leaves no row with a positive weight"):
        net(class_weight={0: 0, 1: 0, 2: 0}).fit(GOOD, LABELS)


def test_more_units_than_rows():
    est = RBFNetClassifier(random_state=0).fit(GOOD[:5], LABELS[:5])
    assert est.n_centers == 300
    assert est.centers_.shape == (5, 3)
    weak = RBFNetClassifier(alpha=0.1, random_state=0).fit(GOOD[:5], LABELS[:5])
    assert weak.score(GOOD[:5], LABELS[:5]) == 1
    X = np.repeat(GOOD[:4], 10, axis=0)
    est.fit(X, np.repeat([0, 1, 0, 1], 10))
    assert est.centers_.shape == (4, 3)
    assert est.nearest_rows_.shape == (4, 4)
    assert set(est.nearest_rows_.ravel()) == {0, 10, 20, 30}


def test_a_first_batch_with_too_few_rows_warns():
    est, message = net(n_centers=20), "12 units instead of n_centers=20, and later"
    with pytest.raises(ConvergenceWarning, match=message):  # an error in these tests
        est.partial_fit(GOOD[:12], LABELS[:12], classes=[0, 1, 2])
    assert not hasattr(est, "centers_")
    with pytest.warns(ConvergenceWarning, match=message) as seen:
        est.partial_fit(GOOD[:12], LABELS[:12], classes=[0, 1, 2])
    assert seen[0].filename == __file__
    shared = net(n_centers=10, per_class=True)  # three for each of three classes
    assert len(shared.partial_fit(GOOD, LABELS, classes=[0, 1, 2]).centers_) == 9
    est.partial_fit(GOOD[12:], LABELS[12:])  # warns once
    est.fit(GOOD[:12], LABELS[:12])  # has all rows, so no unit is missing


def test_dead_units_warn(fitted, fitted_state):
    before = fitted_state(fitted)
    with pytest.raises(ConvergenceWarning, match=r"All units .* dead.* width"):
        fitted.partial_fit(GOOD + 1e3, LABELS)  # a warning is an error in these tests
    assert fitted_state(fitted) == before
    with pytest.warns(ConvergenceWarning, match=r"All units .* dead"):
        fitted.partial_fit(GOOD + 1e3, LABELS)
    fitted.partial_fit(np.r_[GOOD + 1e3, GOOD[:1]], np.r_[LABELS, 0])  # one is alive


def test_one_unit_among_many_features_is_alive():
    X = np.random.default_rng(0).normal(size=(60, 400))
    assert net(n_centers=1).fit(X, LABELS).transform(X).min() > 0.01


def test_constant_features():
    X = np.column_stack([GOOD, np.full(60, 1e6)])
    y = (GOOD[:, 0] > 0).astype(int)
    est = net().fit(X, y)
    assert est.scale_[3] == 1
    assert est.score(X, y) > 0.85
    assert np.isfinite(est.centers_).all()
    none = net().fit(np.ones((60, 2)), LABELS)
    np.testing.assert_allclose(none.predict_proba(np.ones((1, 2))), 1 / 3, atol=1e-3)


@pytest.mark.parametrize("scale", [True, False])
def test_features_of_any_size(scale):
    X, y = GOOD, (GOOD**2).sum(1) > 2
    plain = net(scale=scale).fit(X, y).score(X, y)
    for factor, shift in [(1e-12, 0), (1e12, 0), (1, 1e6)]:
        est = net(scale=scale).fit(X * factor + shift, y)
        assert est.score(X * factor + shift, y) == pytest.approx(plain, abs=0.1)


def test_numbers_whose_squares_overflow():
    for scale in (True, False):
        plain = net(scale=scale).fit(GOOD, LABELS)
        large = net(scale=scale).fit(np.ldexp(GOOD, 700), LABELS)
        np.testing.assert_array_equal(large.coef_, plain.coef_)
    shares = np.bincount(LABELS) / len(LABELS)
    for est in (net(alpha=1e300), net()):
        tiny = np.full(60, 1.0 if est.alpha == 1e300 else 1e-300)
        proba = est.fit(GOOD, LABELS, sample_weight=tiny).predict_proba(GOOD)
        np.testing.assert_allclose(proba, np.tile(shares, (60, 1)), atol=1e-3)


@pytest.mark.parametrize("assignment", [None, "softmax", "entmax15", "sparsemax"])
def test_the_farthest_rows_have_probabilities(assignment):
    for dtype in (np.float32, np.float64):
        est = net(assignment=assignment).fit(GOOD.astype(dtype), LABELS)
        far = np.full((2, 3), 0.5 * np.finfo(dtype).max, dtype)
        far[1, 0] *= -1
        np.testing.assert_allclose(est.predict_proba(far).sum(1), 1, rtol=1e-5)
        assert (est.novelty(far) == 1).all()


def test_a_class_without_weight_is_known_and_improbable():
    weight = np.where(LABELS == 2, 0.0, 1.0)
    est = net().fit(GOOD, LABELS, sample_weight=weight)
    assert_array_equal(est.classes_, [0, 1, 2])
    assert (est.predict_proba(GOOD)[:, 2] < 0.1).all()
    assert not est.class_profile_[:, 2].any()


def test_a_rare_class_is_never_only_in_the_validation_part():
    y = np.r_[np.zeros(59), 1]
    for seed in range(5):
        est = net(early_stopping=True, random_state=seed, n_centers=60).fit(GOOD, y)
        assert (est.class_profile_[:, 1] > 0).any()
    with pytest.raises(ValueError, match="leaves none for validation"):
        net(early_stopping=True).fit(GOOD[:2], [0, 1])


def test_a_loss_that_is_not_finite_names_the_parameter(fitted_state):
    X, y = GOOD, LABELS
    est = net().fit(X, y)
    est.set_params(learning_rate=1e30, scale=False)
    before = fitted_state(est)
    with pytest.raises(FloatingPointError, match="Lower learning_rate"):
        est.fit(X, y)
    assert fitted_state(est) == before
    with pytest.raises(FloatingPointError, match="Lower learning_rate"):
        est.partial_fit(X, y)
    assert fitted_state(est) == before


def test_a_fit_that_has_not_converged_warns(fitted_state):
    est = net(solver="lbfgs", max_iter=2, tol=0)
    message = r"did not converge in max_iter=2 iterations; increase max_iter, or tol"
    with pytest.warns(ConvergenceWarning, match=message):
        est.fit(GOOD, LABELS)
    before = fitted_state(est)
    with pytest.raises(ConvergenceWarning):  # an error, as in these tests
        est.fit(GOOD[:30], LABELS[:30])
    assert fitted_state(est) == before


DIVERGING = {"width_factor": 4.0, "n_centers": 50, "learning_rate": 0.3}
DIVERGED = r"diverged.*Lower learning_rate, or set width_factor to a smaller number"


@pytest.mark.parametrize(
    ("params", "share"),
    [
        ({}, 0.5),
        ({}, 0.95),
        ({"early_stopping": True}, 0.5),
        ({"assignment": "softmax"}, 0.5),
    ],
)
def test_joint_training_that_diverges_warns(params, share):
    """Classes in many clusters diverge from wide units at a high rate."""
    clumps = {"n_clusters_per_class": 4, "class_sep": 0.8, "weights": [share]}
    X, y = make_classification(2000, 20, n_informative=10, random_state=2, **clumps)
    est = net(**DIVERGING, **params)
    with pytest.warns(ConvergenceWarning, match=DIVERGED):
        est.fit(X, y)
    joint = np.array(est.history_["phase"]) == "joint"
    assert est.loss_ < np.array(est.history_["loss"])[joint].min()


def test_the_output_layer_alone_has_not_diverged():
    X, y = make_classification(2000, 20, n_informative=10, random_state=2)
    est = net(**DIVERGING, max_iter=0).fit(X, y)
    with pytest.warns(ConvergenceWarning, match=DIVERGED):
        est.set_params(max_iter=20, warm_start=True).fit(X, y)


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"early_stopping": True},
        {"label_smoothing": 0.0},
        {"assignment": "softmax"},
        {"alpha": 1e5, "n_centers": 2},
        {"solver": "lbfgs", "tol": 0.01},
    ],
)
def test_a_good_start_is_no_divergence(load, params):
    X, y = load(return_X_y=True)
    est = net(**{"n_centers": 30, **params}).fit(X, y)
    est.set_params(warm_start=True)
    for _ in range(3):
        est.fit(X, y)  # a warning is an error in these tests


@pytest.mark.parametrize(
    "params", [{}, {"label_smoothing": 0.0, "alpha": 0.0}, {"early_stopping": True}]
)
def test_separated_classes_are_no_divergence(params):
    X, y = make_blobs(200, centers=3, cluster_std=0.01, random_state=0)
    for labels in (y, np.zeros_like(y)):
        est = net(**params).fit(X, labels).set_params(warm_start=True)
        for _ in range(3):
            est.fit(X, labels)


def test_partial_fit_needs_classes_first(fitted, fitted_state):
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        net().partial_fit(GOOD, LABELS)
    with pytest.raises(ValueError, match=r"y has classes \[2\] that are not in"):
        net().partial_fit(GOOD, LABELS, classes=[0, 1])
    before = fitted_state(fitted)
    with pytest.raises(ValueError, match="not the same as on the last call"):
        fitted.partial_fit(GOOD, LABELS, classes=[0, 1])
    with pytest.raises(ValueError, match=r"y has classes \[5\] that are not in"):
        fitted.partial_fit(GOOD[:1], [5])
    assert fitted_state(fitted) == before


def test_a_missing_device_names_the_available_ones():
    with pytest.raises(ValueError, match=r"device='cuda:99'.*available.*'cpu'"):
        net(device="cuda:99").fit(GOOD, LABELS)


@contextmanager
def interrupt_in(name):
    """Raise KeyboardInterrupt, as Ctrl-C does, where a function of skrbf is entered."""

    def profile(frame, event, arg):
        module = frame.f_globals.get("__name__", "")
        if event == "call" and frame.f_code.co_name == name and "skrbf" in module:
            sys.setprofile(None)
            raise KeyboardInterrupt

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(before)


@pytest.mark.parametrize(
    "name",
    ["units_at", "choose_width_factor", "ridge", "logistic", "adam_step", "describe"],
)
def test_ctrl_c_leaves_the_estimator(fitted, fitted_state, name):
    before = fitted_state(fitted)
    with pytest.raises(KeyboardInterrupt), interrupt_in(name):
        fitted.fit(GOOD[:, :2], LABELS)
    assert fitted_state(fitted) == before
    fresh = net()
    with pytest.raises(KeyboardInterrupt), interrupt_in(name):
        fresh.fit(GOOD, LABELS)
    assert set(vars(fresh)) == set(fresh.get_params())


def test_verbose_and_silence(capsys):
    net().fit(GOOD, LABELS)
    assert capsys.readouterr() == ("", "")
    est = net(verbose=1, early_stopping=True).fit(GOOD, LABELS)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(est.loss_curve_)
    assert lines[0].startswith("[RBFNetClassifier] step 1, output: loss ")
    assert "validation score" in lines[-1]


def test_no_global_state_is_touched():
    import random

    import torch

    def state():
        return (
            random.getstate(),
            np.random.get_state()[1].tolist(),  # noqa: NPY002
            torch.get_rng_state().tolist(),
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
        )

    before = state()
    est = net(early_stopping=True).fit(GOOD, LABELS)
    est.partial_fit(GOOD, LABELS).predict(GOOD)
    assert state() == before


@pytest.mark.parametrize("heavy", [1e5, 1e7, 1e8, 1e10, 1e15])
@pytest.mark.parametrize("load", [load_iris, load_wine])
def test_a_row_that_has_nearly_all_of_the_weight_is_no_divergence(load, heavy):
    X, y = load(return_X_y=True)
    weight = np.ones(len(y))
    weight[0] = heavy
    est = net(n_centers=30).fit(X, y, weight)  # a warning is an error in these tests
    assert est.predict(X[:1]) == y[:1]


@pytest.mark.parametrize("size", [1e-300, 1e-30, 1e-12])
def test_a_penalty_that_dominates_the_loss_is_named(size):
    X, y = load_wine(return_X_y=True)
    est = net(n_centers=300, learning_rate=0.5)
    message = r"alpha=0.1 is large compared .* Lower alpha, or scale sample_w"
    with pytest.warns(ConvergenceWarning, match=message):
        est.fit(X, y, np.full(len(y), size))


@pytest.mark.parametrize("far", [1e15, 1e20, 1e150, -1e300])
@pytest.mark.parametrize("assignment", [None, "softmax", "entmax15"])
@pytest.mark.parametrize("width", ["per_center", "per_feature"])
def test_batches_may_have_far_rows(assignment, width, far):
    est = net(assignment=assignment, width=width)
    est.partial_fit(GOOD, LABELS, classes=[0, 1, 2])
    batch = GOOD.copy()
    batch[0, 0] = far
    batch[1] = far
    for _ in range(3):
        est.partial_fit(batch, LABELS)
    assert np.isfinite(est.loss_)
    assert np.isfinite(est.predict_proba(batch)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("part", [1.0, -1.0, 0.3])
def test_fitted_attributes_are_finite(dtype, part):
    X = GOOD.astype(dtype)
    X[0, 0] = dtype(part) * np.finfo(dtype).max
    for params in (
        {},
        {"width": "per_feature"},
        {"width": "global", "width_factor": 50.0},
    ):
        est = net(**params).fit(X, LABELS)
        for name in ("centers_", "widths_"):
            assert getattr(est, name).dtype == np.float64
            assert np.isfinite(getattr(est, name)).all()
        assert np.isfinite(est.predict_proba(X)).all()


def test_both_ends_of_float64_have_predictions():
    """The differences of two such rows, and of their centers, are not finite."""
    X = GOOD.copy()
    X[:30, 0], X[30:, 0] = 1e308, -1e308
    est = net().fit(X, X[:, 0] > 0)
    assert est.score(X, X[:, 0] > 0) == 1
    assert np.isfinite(est.partial_fit(X, X[:, 0] > 0).predict_proba(X)).all()
