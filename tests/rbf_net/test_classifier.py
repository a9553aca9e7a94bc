"""Test what RBFNetClassifier learns, predicts and explains."""

import pickle
import warnings
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from scipy.special import log_softmax, softmax
from sklearn.base import clone
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
    make_classification,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from skrbf import RBFNetClassifier

KINDS = {
    "gaussian": {},
    "softmax": {"assignment": "softmax"},
    "entmax15": {"assignment": "entmax15"},
    "sparsemax": {"assignment": "sparsemax"},
    "global": {"width": "global"},
    "per_feature": {"width": "per_feature"},
    "per_class": {"per_class": True},
    "lbfgs": {"solver": "lbfgs"},
    "output layer": {"max_iter": 0},
    "common scale": {"scale": False},
}
all_kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


@pytest.fixture(scope="module")
def rings():
    """Three classes on rings, with features of very different units."""
    rng = np.random.default_rng(0)
    y, angle = np.arange(300) % 3, rng.uniform(0, 2 * np.pi, 300)
    radius = 1 + y + rng.normal(scale=0.15, size=300)
    X = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    return X * [1, 100] + [5, 0], np.array(["inner", "middle", "outer"])[y]


def net(n_centers=20, **params):
    return RBFNetClassifier(n_centers, random_state=0, **params)


@all_kinds
def test_classes_that_are_not_linearly_separable(rings, kind):
    if "scale" in kind:
        rings = rings[0] * [1, 0.01], rings[1]
    X, Xt, y, yt = train_test_split(*rings, random_state=0)
    est = net(**kind)
    assert est.fit(X, y) is est
    linear = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    assert linear.score(Xt, yt) < 0.6
    assert est.score(Xt, yt) > (0.75 if "max_iter" in kind else 0.9)


@pytest.mark.parametrize("load", [load_breast_cancer, load_digits, load_iris])
def test_accuracy_is_near_that_of_an_svm(load):
    X, Xt, y, yt = train_test_split(*load(return_X_y=True), random_state=0)
    svm = make_pipeline(StandardScaler(), SVC(C=10)).fit(X, y)
    assert net(150).fit(X, y).score(Xt, yt) >= svm.score(Xt, yt) - 0.04


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [1, 2, 3])
@all_kinds
def test_the_methods_agree(rings, kind, n_classes, dtype):
    X, y = rings[0].astype(dtype), rings[1]
    kept = np.isin(y, np.unique(y)[:n_classes])
    est = net(**kind).fit(X[kept], y[kept])

    decision, proba = est.decision_function(X), est.predict_proba(X)

    assert proba.shape == (300, n_classes)
    assert decision.shape == ((300,) if n_classes < 3 else (300, 3))
    assert proba.dtype == decision.dtype == est.transform(X).dtype == dtype
    logits = est.transform(X) @ est.coef_.T + est.intercept_
    rtol = 1e-4 if dtype == np.float32 else 1e-6
    assert_allclose(proba, softmax(logits, axis=1), rtol, atol=rtol)
    logs = log_softmax(logits, axis=1)
    assert_allclose(est.predict_log_proba(X), logs, rtol, atol=10 * rtol)
    assert_array_equal(est.predict(X), est.classes_[proba.argmax(axis=1)])
    assert_allclose(proba.sum(axis=1), 1, rtol=1e-6)
    if n_classes == 2:
        assert_allclose(decision, logits[:, 1] - logits[:, 0], rtol, atol=10 * rtol)
        assert_array_equal(est.predict(X) == est.classes_[1], decision > 0)
    if n_classes == 3:
        assert_allclose(decision, logits, rtol, atol=10 * rtol)
    for array in (est.centers_, est.widths_, est.coef_, est.intercept_):
        assert array.dtype == np.float64
    assert est.classes_.dtype == y.dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("assignment", [None, "softmax", "entmax15", "sparsemax"])
@pytest.mark.parametrize("alpha", [0.1, 1e4])
@pytest.mark.parametrize("n_classes", [2, 50, 500])
def test_the_methods_agree_where_rounding_makes_ties(
    n_classes, alpha, assignment, dtype
):
    """Under a strong penalty all classes are about equally probable."""
    rng = np.random.default_rng(n_classes)
    X = rng.normal(size=(1000, 4)).astype(dtype)
    y = np.arange(1000) % n_classes
    est = net(alpha=alpha, assignment=assignment, max_iter=0).fit(X, y)
    Z = np.concatenate([X, 1e3 * X, 0.01 * X, np.zeros((3, 4)), est.centers_])
    Z = Z.astype(dtype)
    decision, predicted = est.decision_function(Z), est.predict(Z)
    if n_classes == 2:
        decision = np.column_stack([np.zeros(len(Z)), decision])
    proba, logs = est.predict_proba(Z), est.predict_log_proba(Z)
    for found in (decision, proba, logs):
        assert_array_equal(est.classes_[found.argmax(axis=1)], predicted)
    assert_array_equal(est.explain(Z).label, predicted)
    assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
    assert_allclose(np.exp(logs), proba, rtol=1e-5)
    assert proba.dtype == logs.dtype == dtype


@pytest.mark.parametrize(
    "other",
    [
        lambda X: X.astype(np.float32),
        lambda X: X + 1e4,
        lambda X: X * np.geomspace(1e-3, 1e3, 10),
    ],
    ids=["single precision", "far away", "other units"],
)
@pytest.mark.parametrize("params", [{}, {"early_stopping": True}], ids=["", "held out"])
def test_rounding_changes_less_than_another_seed(other, params):
    """Classes overlap, so that other batches would give other probabilities."""
    X, y = make_classification(
        600, 10, n_informative=6, n_classes=3, flip_y=0.2, random_state=0
    )
    params = {"max_iter": 10, **params}
    proba = net(30, **params).fit(X, y).predict_proba(X)
    again = net(30, **params).fit(other(X), y).predict_proba(other(X))
    seed = RBFNetClassifier(30, random_state=1, **params).fit(X, y).predict_proba(X)
    assert abs(again - proba).mean() < 0.1 * abs(seed - proba).mean()


@all_kinds
def test_activations_follow_from_centers_and_widths_in_input_units(rings, kind):
    X, y = rings
    est = net(**kind).fit(X, y)
    z = log_activations(X, est)
    phi = est.transform(X)
    if est.assignment is None:
        assert_allclose(phi, np.exp(z), atol=1e-5)
    else:
        assert_allclose(phi.sum(1), 1, rtol=1e-6)
    if est.assignment == "softmax":
        assert_allclose(phi, softmax(z, axis=1), atol=1e-4)
    if est.assignment in ("entmax15", "sparsemax"):
        assert (phi == 0).mean() > 0.3
    assert_allclose(est.score_samples(X), z.max(1), rtol=1e-4, atol=1e-4)
    assert (est.widths_ > 0).all()
    distinct = len(np.unique(np.round(np.log(est.widths_ / est.widths_[0]), 4), axis=0))
    assert distinct == 1 if est.width == "global" else distinct > 10


def test_joint_training_is_never_worse_than_its_start(rings):
    X, y = rings
    for params in ({}, {"learning_rate": 0.1}, {"solver": "lbfgs"}):
        est = net(**params).fit(X, y)
        output = [
            loss
            for phase, loss in zip(
                est.history_["phase"], est.history_["loss"], strict=True
            )
            if phase == "output"
        ]
        assert est.loss_ <= min(output)
        assert est.loss_ <= min(est.loss_curve_)
        assert est.loss_curve_ == est.history_["loss"]
        assert "output" in est.history_["phase"]
        assert est.history_["phase"].count("joint") == est.n_iter_ > 0
        logs = est.predict_log_proba(X)[
            np.arange(300), np.searchsorted(est.classes_, y)
        ]
        smooth = est.predict_log_proba(X).mean(axis=1)
        loss = -0.95 * logs.mean() - 0.05 * smooth.mean()
        placed = net(max_iter=0).fit(X, y)
        mutual = placed.transform(placed.centers_)
        values, vectors = np.linalg.eigh((mutual + mutual.T) / 2)
        values = values.clip(0) + 0.01 * values.clip(0).mean()
        penalty = ((est.coef_ @ vectors) ** 2 * values).sum()
        loss += 0.5 * est.alpha_ / 300 * penalty
        shift = (est.centers_ - placed.centers_) / est.scale_
        loss += 0.5 * (shift**2).mean()
        # `coef_` is centered over the classes, which changes the penalty only.
        assert loss - 1e-5 <= est.loss_ <= 1.003 * loss
        assert np.isnan(est.validation_score_)


def test_max_iter_0_leaves_the_units(rings):
    X, y = rings
    est = net(max_iter=0).fit(X, y)
    assert set(est.history_["phase"]) == {"output"}
    trained = net().fit(X, y)
    assert not np.allclose(trained.centers_, est.centers_, rtol=1e-2)


@pytest.mark.parametrize("container", [np.asarray, csr_array])
@pytest.mark.parametrize(
    "params",
    [{}, {"solver": "lbfgs"}, {"early_stopping": True}, {"class_weight": "balanced"}],
    ids=str,
)
def test_weights_are_repetitions_and_order_does_not_matter(rings, params, container):
    """The results agree to the last bit, through every step of the training."""
    X, y = rings
    rng = np.random.default_rng(1)
    weight, order = rng.integers(0, 4, 300), rng.permutation(300)
    repeated = rng.permutation(np.arange(300).repeat(weight))

    a = net(**params).fit(container(X[repeated]), y[repeated])
    b = net(**params).fit(container(X[order]), y[order], sample_weight=weight[order])

    assert_array_equal(a.centers_, b.centers_)
    assert_array_equal(a.predict_proba(X), b.predict_proba(X))
    assert a.history_ == b.history_ or params.get("early_stopping") is None
    plain = net(**params).fit(X, y)
    assert not np.allclose(plain.predict_proba(X), a.predict_proba(X), atol=1e-3)


def test_the_same_seed_gives_the_same_network(rings):
    a, b, c = (
        RBFNetClassifier(20, random_state=seed).fit(*rings).centers_
        for seed in (0, 0, 1)
    )
    assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    full = [
        RBFNetClassifier(20, solver="lbfgs", random_state=seed).fit(*rings).centers_
        for seed in (0, 1, None)
    ]
    assert_array_equal(full[0], full[1])
    assert_array_equal(full[0], full[2])


@pytest.mark.filterwarnings("ignore:RBFNetClassifier did not converge")
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_small_integers_of_numpy_as_parameters(rings, solver):
    X, y = rings
    assert len(X) > 255
    small = {"n_centers": np.uint8(20), "batch_size": np.uint8(64)}
    small |= {"max_iter": np.int8(100), "n_iter_no_change": np.uint8(10)}
    plain = {name: int(value) for name, value in small.items()}
    est, other = (
        RBFNetClassifier(**each, solver=solver, random_state=0).fit(X, y)
        for each in (small, plain)
    )
    assert_array_equal(est.predict_proba(X), other.predict_proba(X))


def test_scale_makes_units_irrelevant(rings):
    X, y = rings
    a, b = net().fit(X, y), net().fit(X * [1e3, 1e-3], y)
    assert_allclose(b.scale_, a.scale_ * [1e3, 1e-3])
    assert b.score(X * [1e3, 1e-3], y) == pytest.approx(a.score(X, y), abs=0.03)
    common = net(scale=False, max_iter=0).fit(X, y)
    assert_allclose(common.scale_, np.sqrt(X.var(axis=0).mean()))
    assert common.score(X, y) < a.score(X, y)


def test_alpha(rings):
    X, y = rings
    rng = np.random.default_rng(0)
    noisy = np.where(rng.random(300) < 0.3, rng.permutation(y), y)
    clean, est = (net(100, max_iter=0).fit(X, labels) for labels in (y, noisy))
    assert clean.alpha_ == 0.1 < est.alpha_
    same = net(100, max_iter=0, alpha=est.alpha_).fit(X, noisy)
    assert_allclose(same.coef_, est.coef_, rtol=1e-6)
    est.set_params(warm_start=True, max_iter=1).fit(X, y)
    assert est.alpha_ == same.alpha_
    est.partial_fit(X, y)
    assert est.alpha_ == same.alpha_
    assert est.set_params(alpha=0).fit(X, y).alpha_ == 0
    balanced = {"class_weight": "balanced", "early_stopping": True}
    assert net(100, max_iter=2, **balanced).fit(X, noisy).alpha_ > 0.1
    assert net(5, max_iter=0).fit(X, np.zeros(300)).alpha_ == 0.1  # a single class


def test_width_factor(rings):
    X, y = rings
    narrow, wide, auto = (
        net(width_factor=factor, max_iter=0).fit(X, y) for factor in (1, 3.0, "auto")
    )
    assert_allclose(wide.widths_, 3 * narrow.widths_, rtol=1e-5)
    assert_allclose(auto.widths_, auto.width_factor_ * narrow.widths_, rtol=1e-5)
    assert wide.width_factor_ == 3
    noise = np.random.default_rng(0).permutation(y)
    assert auto.width_factor_ == 1 < net(max_iter=0).fit(X, noise).width_factor_
    wide.set_params(warm_start=True, width_factor="auto").fit(X, y)
    assert wide.width_factor_ == 3


def norm(est):
    return np.square(est.coef_).sum()


def center_shift(est, X, y):
    """Compute the mean squared distance of the centers from where they were placed."""
    placed = clone(est).set_params(max_iter=0).fit(X, y)
    return np.square((est.centers_ - placed.centers_) / est.scale_).mean()


def confidence(est, X):
    return est.predict_proba(X).max(1).mean()


# Two settings of a parameter, and a measure that is larger for the second.
LAWS = {
    "alpha": ({"alpha": 10.0}, {"alpha": 0.1}, lambda est, X, y: norm(est)),
    "center_penalty": (
        {"center_penalty": 100.0},
        {"center_penalty": 0.0},
        center_shift,
    ),
    "label_smoothing": (
        {"label_smoothing": 0.3},
        {"label_smoothing": 0.0},
        lambda est, X, y: confidence(est, X),
    ),
    "learning_rate": (
        {"learning_rate": 1e-5},
        {"learning_rate": 0.02},
        center_shift,
    ),
    "max_iter": ({"max_iter": 3}, {}, lambda est, X, y: len(est.loss_curve_)),
    "batch_size": (  # fewer steps in an epoch move centers less
        {"batch_size": 300, "solver": "adam", "max_iter": 5},
        {"batch_size": 7, "solver": "adam", "max_iter": 5},
        center_shift,
    ),
    "tol": (
        {"tol": 0.5, "solver": "lbfgs"},
        {"tol": 1e-6, "solver": "lbfgs"},
        lambda est, X, y: est.n_iter_,
    ),
    "n_iter_no_change": (
        {"n_iter_no_change": 1, "early_stopping": True, "tol": 0.1},
        {"n_iter_no_change": 10, "early_stopping": True, "tol": 0.1},
        lambda est, X, y: est.n_iter_,
    ),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", LAWS)
def test_parameters_have_the_documented_effect(rings, name):
    X, y = rings
    less, more, measure = LAWS[name]
    small, large = (net(**params).fit(X, y) for params in (less, more))
    assert measure(small, X, y) < 0.95 * measure(large, X, y)


def test_centers_per_class_lie_in_their_class(rings):
    """The fraction that is held out is that of each class, too."""
    X, y = rings
    own = net(per_class=True, max_iter=0).fit(X, y)
    mixed = net(5, max_iter=0).fit(X, y)
    assert own.class_profile_.max(1).mean() > mixed.class_profile_.max(1).mean() + 0.1
    for share in (0.1, 0.4):
        est = net(early_stopping=True, validation_fraction=share, max_iter=2).fit(X, y)
        # A score is a number of rows over those that are held out.
        right = est.validation_score_ * share * 300
        assert right == pytest.approx(round(right), abs=1e-3)


def test_class_weight(rings):
    X, y = rings
    rare = np.r_[np.flatnonzero(y == "inner")[:12], np.flatnonzero(y == "middle")]
    X, y = X[rare] + [0, 60], y[rare]
    weight = {"inner": 5.0}
    a = net(class_weight=weight).fit(X, y)
    b = net().fit(X, y, sample_weight=np.where(y == "inner", 5.0, 1.0))
    assert_array_equal(a.predict_proba(X), b.predict_proba(X))
    balanced = net(class_weight="balanced").fit(X, y)
    factor = np.where(y == "inner", len(y) / 24, len(y) / 2 / (y == "middle").sum())
    c = net().fit(X, y, sample_weight=factor)
    assert_allclose(balanced.predict_proba(X), c.predict_proba(X), atol=1e-3)
    few = {"n_centers": 2, "max_iter": 0}
    plain = RBFNetClassifier(**few).fit(X, y).predict_proba(X)[:, 0].mean()
    more = RBFNetClassifier(**few, class_weight="balanced").fit(X, y)
    assert more.predict_proba(X)[:, 0].mean() > 1.1 * plain


def test_early_stopping(rings):
    X, y = rings
    est = net(early_stopping=True, max_iter=200, n_iter_no_change=5, tol=0.01).fit(X, y)
    scores = est.history_["validation_score"]
    assert est.validation_score_ == np.max(scores)
    assert est.n_iter_ < 200
    assert est.score(X, y) > 0.9
    assert len(scores) == len(est.loss_curve_)


@pytest.mark.filterwarnings("ignore:Joint training of RBFNetClassifier diverged")
def test_warm_start_goes_on(rings):
    X, y = rings
    est = net(warm_start=True, max_iter=1).fit(X, y)
    first, entropy = est.loss_, log_loss(y, est.predict_proba(X))
    again = est.set_params(max_iter=9).fit(X, y)
    assert again is est
    assert "output" not in est.history_["phase"]
    assert log_loss(y, est.predict_proba(X)) < entropy
    assert est.loss_ < first  # with the same norm of the output layer
    cold = net(max_iter=1).fit(X, y).fit(X, y)
    assert cold.loss_ == first
    others = {"n_centers": 5, "width": "global", "assignment": "softmax"}
    for name, value in others.items():
        other = pickle.loads(pickle.dumps(est)).set_params(**{name: value})
        with pytest.raises(
            ValueError, match=f"{name}=.* warm_start=True continues from"
        ):
            other.fit(X, y)
        assert_array_equal(other.predict_proba(X), est.predict_proba(X))
        other.set_params(warm_start=False).fit(X, y)
    with pytest.raises(ValueError, match="not the same as on the last call"):
        est.fit(X[y != "outer"], y[y != "outer"])
    with pytest.raises(ValueError, match="continues from a network with 2"):
        est.fit(X[:, :1], y)
    assert_array_equal(est.classes_, ["inner", "middle", "outer"])
    assert est.n_features_in_ == 2


def log_activations(X, est):
    """Compute log activations by their formula, in plain numpy."""
    scaled = (X[:, None] - est.centers_) / est.widths_  # (n, k, d)
    return -0.5 * (scaled**2).sum(2)


EDITS = {
    "centers_": lambda a: a + 0.3 * a.std(axis=0) * np.arange(a.size).reshape(a.shape),
    "one width": lambda a: a * np.where(np.arange(a.size).reshape(a.shape) == 3, 2, 1),
    "all widths": lambda a: 1.5 * a,
    "no structure": lambda a: a * np.linspace(0.7, 1.4, a.size).reshape(a.shape),
    "coef_": lambda a: a * np.arange(a.size).reshape(a.shape),
    "intercept_": lambda a: a + np.arange(a.size),
}


@pytest.fixture(scope="module")
def fitted(rings):
    """``fitted(width, dtype=np.float64)``: a copy of a fitted network."""
    networks = {}

    def copy(width, dtype=np.float64):
        key = width, dtype
        if key not in networks:
            networks[key] = net(width=width).fit(rings[0].astype(dtype), rings[1])
        return deepcopy(networks[key])

    return copy


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", ["per_center", "global", "per_feature"])
@pytest.mark.parametrize("edit", EDITS)
def test_edited_attributes_predict_by_the_formula(rings, fitted, edit, width, dtype):
    X, est = rings[0].astype(dtype), fitted(width, dtype)
    before = est.decision_function(X)
    name = edit if edit.endswith("_") else "widths_"
    setattr(est, name, EDITS[edit](getattr(est, name)))
    z = log_activations(X, est)
    expected = np.exp(z) @ est.coef_.T + est.intercept_
    size = np.abs(est.coef_).sum(axis=1).max()
    atol = (1e-5 if dtype == np.float32 else 1e-12) * size
    found = est.decision_function(X)
    assert_allclose(found, expected, rtol=0, atol=atol)
    assert_allclose(est.transform(X), np.exp(z), atol=2e-5)
    assert_allclose(est.score_samples(X), z.max(axis=1), rtol=1e-4, atol=1e-4)
    assert np.abs(found - before).max() > 1e-3
    assert_array_equal(est.predict(X), est.classes_[found.argmax(axis=1)])


def test_edited_attributes_may_have_any_dtype(rings, fitted):
    (X, _), est = rings, fitted("per_center")
    est.coef_ = np.round(est.coef_, 1).astype(np.float32)
    expected = est.transform(X) @ est.coef_.T + est.intercept_
    assert_allclose(est.decision_function(X), expected, atol=1e-9)
    est.coef_ = est.coef_.tolist()
    assert_allclose(est.decision_function(X), expected, atol=1e-9)


WRONG_EDITS = {
    "centers_": [lambda a: a[:, :1], lambda a: a[:, 0]],
    "widths_": [
        lambda a: a[:19],
        lambda a: a.T,
        lambda a: a[0],
        lambda a: a * np.where(np.arange(a.size).reshape(a.shape) == 3, 0, 1),
        lambda a: -a,
        lambda a: np.where(np.arange(a.size).reshape(a.shape) == 3, np.nan, a),
    ],
    "coef_": [lambda a: a[:, :19], lambda a: a[:2], lambda a: a.T],
    "intercept_": [lambda a: a[:2], lambda a: a[:, None], lambda a: a[0]],
}


@pytest.mark.parametrize(
    ("name", "edit"), [(n, e) for n, edits in WRONG_EDITS.items() for e in edits]
)
def test_an_edit_that_makes_no_network_is_named(rings, fitted, name, edit):
    (X, y), est = rings, fitted("per_center")
    setattr(est, name, edit(getattr(est, name)))
    for method in (est.predict, est.transform, est.novelty, est.explain):
        with pytest.raises(ValueError, match=f"^{name} has"):
            method(X[:1])
    with pytest.raises(ValueError, match=f"^{name} has"):
        est.partial_fit(X, y)


def test_units_may_be_removed_but_not_trained_then(rings, fitted):
    (X, y), est = rings, fitted("per_center")
    phi = est.transform(X)
    est.centers_, est.widths_ = est.centers_[5:], est.widths_[5:]
    with pytest.raises(ValueError, match=r"coef_ has the shape \(3, 20\) .* \(3, 15\)"):
        est.predict(X)
    est.coef_ = est.coef_[:, 5:]
    assert_allclose(est.transform(X), phi[:, 5:], atol=1e-9)
    expected = phi[:, 5:] @ est.coef_.T + est.intercept_
    assert_allclose(est.decision_function(X), expected, atol=1e-6)
    message = "centers_ has 15 rows, but training goes on only with the 20 units"
    with pytest.raises(ValueError, match=message):
        est.partial_fit(X, y)
    with pytest.raises(ValueError, match=message):
        est.set_params(warm_start=True).fit(X, y)


@pytest.mark.parametrize("fit", ["fit", "partial_fit"])
@pytest.mark.parametrize("width", ["per_center", "global", "per_feature"])
def test_training_goes_on_from_edited_attributes(rings, fitted, width, fit):
    """A step of a tiny rate leaves them where they are."""
    (X, y), est = rings, fitted(width)
    est.partial_fit(X, y)  # leaves moments
    est.set_params(learning_rate=1e-9, warm_start=True, max_iter=1)
    est.centers_ = est.centers_ + 0.1 * est.scale_
    est.widths_ = est.widths_ * np.linspace(0.9, 1.1, 40).reshape(20, 2)
    est.coef_ = 0.5 * est.coef_
    edited = {name: getattr(est, name) for name in ("centers_", "widths_", "coef_")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        getattr(est, fit)(X, y)
    for name, value in edited.items():
        assert_allclose(getattr(est, name), value, rtol=1e-4, atol=1e-5)
    assert np.isfinite(est.partial_fit(X, y).loss_)


@pytest.mark.parametrize("origin", [0.0, 1e3, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_training_goes_on_far_from_the_origin(rings, dtype, origin):
    """Attributes hold steps that are less than the rounding of the data."""
    X = ((rings[0] - [5, 0]) / [1, 100] + origin).astype(dtype)
    y = rings[1]
    est = net(learning_rate=1e-3, batch_size=300).fit(X, y)
    before, score = est.centers_, est.score(X, y)
    for _ in range(4):
        est.partial_fit(X, y)
    shift = np.abs(est.centers_ - before) / est.scale_
    assert 2e-4 < np.median(shift) < 2e-3
    assert est.score(X, y) >= score - 0.01


def test_partial_fit_learns_from_a_stream(rings):
    X, y = rings
    est = net(learning_rate=0.03, max_iter=0)
    first = est.partial_fit(X[:24], y[:24], classes=np.unique(y)).score(X, y)
    losses = []
    for _ in range(8):
        for batch in np.array_split(np.arange(60, 300), 4):
            losses.append(est.partial_fit(X[batch], y[batch]).loss_)
    assert est.score(X, y) > max(first, 0.95)
    assert np.mean(losses[-4:]) < 0.9 * np.mean(losses[:4])
    assert est.history_["phase"].count("batch") == 32
    assert est.loss_curve_[-1] == est.loss_
    assert est.centers_.shape == (20, 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [("n_centers", 50), ("width", "global"), ("assignment", "softmax")],
)
def test_partial_fit_keeps_the_structure(rings, fitted, fitted_state, name, value):
    (X, y), est = rings, fitted("per_center")
    before = getattr(est, name)
    est.set_params(**{name: value})
    state, message = fitted_state(est), f"{name}={value!r}, but partial_fit continues"
    with pytest.raises(ValueError, match=f"{message} .* {name}={before!r}; call fit"):
        est.partial_fit(X, y)
    assert fitted_state(est) == state
    est.set_params(**{name: before}).partial_fit(X, y)


def test_partial_fit_goes_on_with_the_units_of_a_small_batch(rings):
    X, y = rings
    with pytest.warns(ConvergenceWarning, match="only 12 distinct rows"):
        est = net().partial_fit(X[:12], y[:12], classes=np.unique(y))
    est.partial_fit(X, y)
    assert est.centers_.shape == (12, 2)
    with pytest.raises(ValueError, match="n_centers=12, but partial_fit continues"):
        est.set_params(n_centers=12).partial_fit(X, y)


def test_lists_of_the_history_are_separate(rings):
    X, y = rings
    est = net(max_iter=0).fit(X, y)
    for _ in range(2):
        assert est.loss_curve_ == est.history_["loss"]
        assert est.loss_curve_ is not est.history_["loss"]
        est.partial_fit(X, y)


def test_partial_fit_does_not_undo_a_fit(rings):
    X, y = rings
    est = net(learning_rate=0.04, batch_size=len(X)).fit(X, y)
    before, score, loss = est.centers_, est.score(X, y), est.loss_
    est.partial_fit(X, y)
    # The first step of Adam is as long as its rate, here a quarter of 0.04.
    shift = np.abs(est.centers_ - before) / est.scale_
    assert_allclose(shift.max(), 0.01, rtol=0.01)
    assert est.score(X, y) > score - 0.01
    assert est.loss_ < 1.3 * loss


def test_partial_fit_with_a_class_that_comes_later(rings):
    X, y = rings
    early = y != "outer"
    est = net(learning_rate=0.03).partial_fit(X[early], y[early], classes=np.unique(y))
    assert_array_equal(est.classes_, ["inner", "middle", "outer"])
    assert (est.predict_proba(X[early])[:, 2] < 0.1).all()
    for _ in range(60):
        est.partial_fit(X, y)
    assert est.score(X, y) > 0.9


def test_units_are_prototypes(rings):
    X, y = rings
    est = net().fit(X, y)
    assert est.class_profile_.shape == (20, 3)
    assert_allclose(est.class_profile_.sum(1), 1)
    phi = est.transform(X)
    mass = phi.T @ (y[:, None] == est.classes_)
    assert_allclose(est.class_profile_, mass / mass.sum(1, keepdims=True), rtol=1e-3)
    assert est.nearest_rows_.shape == (20, 5)
    top = np.take_along_axis(phi.T, est.nearest_rows_, 1)
    assert_allclose(top, -np.sort(-phi.T, axis=1)[:, :5], rtol=1e-3)


@all_kinds
def test_an_explanation_adds_up(rings, kind):
    X, y = rings
    est = net(**kind).fit(X, y)
    found = est.explain(X, n_units=4)
    logits = est.transform(X) @ est.coef_.T + est.intercept_
    total = found.contribution.sum(1) + found.rest + found.intercept
    assert_allclose(total, logits.max(1), rtol=1e-4, atol=1e-4)
    assert_array_equal(found.label, est.predict(X))
    phi = est.transform(X)
    assert_allclose(found.activation, np.take_along_axis(phi, found.unit, 1), atol=1e-6)
    own = est.coef_[np.searchsorted(est.classes_, found.label)] * phi
    assert_allclose(found.contribution, np.take_along_axis(own, found.unit, 1), 1e-5)
    strongest = -np.sort(-np.abs(own), axis=1)[:, :4]
    assert_allclose(np.abs(found.contribution), strongest, rtol=1e-4, atol=1e-5)
    assert est.explain(X[:1], n_units=100).unit.shape == (1, len(est.centers_))
    with pytest.raises(ValueError, match="n_units == 0, must be >= 1"):
        est.explain(X[:1], n_units=0)
    with pytest.raises(TypeError, match="n_units must be an instance of"):
        est.explain(X[:1], n_units=2.5)


def test_novelty(rings):
    X, y = rings
    est = net().fit(X, y)
    inside = est.novelty(X)
    assert (inside >= 0).all()
    assert (inside < 1).all()
    assert inside.mean() == pytest.approx(0.5, abs=0.02)
    strange = est.novelty([[60, 0], [5, -5e4], [5, 0]])
    assert strange[0] == strange[1] == 1
    assert strange[2] > 0.5
    assert_allclose(est.predict_proba([[60, 0]])[0], softmax(est.intercept_), rtol=1e-5)
    order = est.score_samples(X).argsort()
    assert (np.diff(inside[order]) <= 0).all()


def test_grid_search_in_a_pipeline_in_two_processes(rings):
    X, y = rings
    grid = {
        "rbfnetclassifier__n_centers": [2, 25],
        "rbfnetclassifier__alpha": [0.1, 1e4],
    }
    pipe = make_pipeline(StandardScaler(), net(max_iter=15))
    search = GridSearchCV(pipe, grid, cv=3, n_jobs=2, error_score="raise").fit(X, y)
    alone = GridSearchCV(pipe, grid, cv=3, error_score="raise").fit(X, y)
    assert search.best_params_["rbfnetclassifier__n_centers"] == 25
    assert search.best_params_["rbfnetclassifier__alpha"] == 0.1
    scores = "mean_test_score"
    assert_allclose(search.cv_results_[scores], alone.cv_results_[scores])
    assert len(set(search.cv_results_[scores])) > 2
    assert_array_equal(search.predict(X), alone.predict(X))


def test_named_features(rings):
    X = pd.DataFrame(rings[0], columns=["u", "v"])
    est = net(3).set_output(transform="pandas").fit(X, rings[1])
    out = est.transform(X)
    names = [f"rbfnetclassifier{k}" for k in range(3)]
    assert out.columns.tolist() == est.get_feature_names_out().tolist() == names
    assert_array_equal(clone(est).fit_transform(X, rings[1]), out)


def test_pickle_holds_no_tensor(rings, fitted_state):
    X, y = rings
    est = net().partial_fit(X, y, classes=np.unique(y)).partial_fit(X, y)
    data = pickle.dumps(est)
    assert b"torch" not in data
    back = pickle.loads(data)
    assert fitted_state(back) == fitted_state(est)
    assert_array_equal(back.predict_proba(X), est.predict_proba(X))
    assert_array_equal(back.partial_fit(X, y).coef_, est.partial_fit(X, y).coef_)


def test_what_fit_leaves_is_documented(rings):
    est = net()
    params = dict(est.get_params())
    est.fit(*rings)
    assert est.get_params() == params
    public = [name for name in vars(est) if name not in params and name[0] != "_"]
    for name in public:
        assert name.endswith("_")
        assert name in RBFNetClassifier.__doc__
    for value in vars(est).values():
        assert "torch" not in type(value).__module__


def test_score_takes_weights_of_any_size_and_tensors(make_data):
    X = make_data("iris")
    y = np.arange(150) // 50
    est = RBFNetClassifier(6, max_iter=0, random_state=0).fit(X, y)
    weight = np.random.default_rng(0).integers(1, 4, 150).astype(float)
    expected = np.average(est.predict(X) == y, weights=weight)
    for given in (
        weight,
        np.ldexp(weight, 1020),
        np.ldexp(weight, -1020),
        torch.from_numpy(weight).requires_grad_(),
    ):
        assert est.score(X, y, sample_weight=given) == pytest.approx(expected)
    assert est.score(torch.from_numpy(X), torch.from_numpy(y)) == est.score(X, y)
