"""Bad input and interruptions: a clear error, and an estimator as it was before."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils._param_validation import InvalidParameterError  # noqa: TID251

import skrbf
from helpers import with_value
from skrbf import SoftKMeans

GOOD = np.random.default_rng(0).normal(size=(40, 3))


BAD_X = {
    "nan": (with_value(GOOD, np.nan), "contains NaN"),
    "inf": (with_value(GOOD, np.inf), "contains infinity"),
    "sparse nan": (csr_array(with_value(GOOD, np.nan)), "contains NaN"),
    "empty": (np.empty((0, 3)), r"0 sample\(s\)"),
    "no features": (np.empty((40, 0)), r"0 feature\(s\)"),
    "1-D": (GOOD[0], "Expected 2D array, got 1D array"),
    "3-D": (GOOD[None], "Flatten each sample"),
    "complex": (GOOD + 1j, "Complex data not supported"),
    "object": (np.array([[{}, 1.0], [2.0, 3.0]], dtype=object), "argument must be"),
    "text": (np.array([["a", "b"], ["c", "d"]]), "could not convert string"),
    "few rows": (GOOD[:2], r"n_samples=2 should be >= n_clusters=3"),
    "few sparse rows": (csr_array(GOOD[:2]), r"n_samples=2 should be >= n_clusters=3"),
}
BAD_WEIGHT = {
    "negative": (np.r_[-1.0, np.ones(39)], "(?i)negative"),
    "zero": (np.zeros(40), "(?i)weight.*zero|zero.*weight"),
    "nan": (np.r_[np.nan, np.ones(39)], "NaN"),
    "long": (np.ones(41), "sample_weight.shape"),
    "2-D": (np.ones((40, 2)), "1D array|1d"),
    "text": (np.array(["a"] * 40), "could not convert|dtype"),
}
BAD_PARAMETER = {
    "n_clusters": [0, -1, 2.0, "three", None],
    "temperature": [-0.1, np.nan, np.inf, "warm", None],
    "assignment": ["hard", 1, None],
    "init": ["kmeans||", 3, None],
    "n_init": [0, 1.5, "many"],
    "max_iter": [0, 1.5, None],
    "tol": [-1e-3, "small", np.nan],
    "device": [0, None],
    "random_state": ["seed", 1.5],
    "verbose": ["loud", -1],
}
BAD_INIT = {
    "rows": (np.zeros((2, 3)), r"\(2, 3\)|n_clusters"),
    "columns": (np.zeros((3, 2)), r"\(3, 2\)|features"),
    "nan": (np.full((3, 3), np.nan), "NaN"),
    "inf": (np.full((3, 3), np.inf), "infinity"),
    "callable": (lambda X, k, random_state: X[:1], r"\(1, 3\)|n_clusters"),
}


@pytest.fixture
def fitted():
    return SoftKMeans(3).fit(GOOD)


@pytest.mark.parametrize(("X", "message"), BAD_X.values(), ids=BAD_X.keys())
def test_bad_data(fitted, fitted_state, X, message):
    before = fitted_state(fitted)
    for method in (fitted.fit, fitted.fit_predict, fitted.fit_transform):
        with pytest.raises((ValueError, TypeError), match=message):
            method(X)
    assert fitted_state(fitted) == before
    for method in (fitted.predict, fitted.transform, fitted.score):
        if "n_clusters" not in message:
            with pytest.raises((ValueError, TypeError), match=message):
                method(X)
    with pytest.raises((ValueError, TypeError), match=message):
        SoftKMeans(3).partial_fit(X)
    assert fitted_state(fitted) == before


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "transform", "score", "partial_fit"]
)
def test_another_number_of_features(fitted, fitted_state, method):
    before = fitted_state(fitted)
    message = "X has 2 features, but SoftKMeans is expecting 3 features as input"
    with pytest.raises(ValueError, match=message):
        getattr(fitted, method)(GOOD[:, :2])
    assert fitted_state(fitted) == before


@pytest.mark.parametrize(("weight", "message"), BAD_WEIGHT.values(), ids=BAD_WEIGHT)
@pytest.mark.parametrize("method", ["fit", "fit_predict", "fit_transform"])
def test_bad_weights(fitted, fitted_state, method, weight, message):
    before = fitted_state(fitted)
    with pytest.raises((ValueError, TypeError), match=message):
        getattr(fitted, method)(GOOD, sample_weight=weight)
    assert fitted_state(fitted) == before


@pytest.mark.parametrize(
    ("name", "value"), [(n, v) for n, values in BAD_PARAMETER.items() for v in values]
)
def test_bad_parameters(fitted, fitted_state, name, value):
    fitted.set_params(**{name: value})
    before = fitted_state(fitted)
    message = f"The '{name}' parameter of SoftKMeans must be .* Got .* instead"
    fresh = SoftKMeans(**fitted.get_params())
    for method in (fitted.fit, fitted.fit_predict, fresh.partial_fit):
        with pytest.raises(InvalidParameterError, match=message):
            method(GOOD)
    assert fitted_state(fitted) == before


@pytest.mark.parametrize(("init", "message"), BAD_INIT.values(), ids=BAD_INIT.keys())
def test_bad_initial_centers(fitted, fitted_state, init, message):
    fitted.set_params(init=init)
    before = fitted_state(fitted)
    with pytest.raises(ValueError, match=message):
        fitted.fit(GOOD)
    assert fitted_state(fitted) == before


def absent_devices():
    yield "cuda:99"
    if not torch.cuda.is_available():
        yield "cuda"
    if not torch.backends.mps.is_available():
        yield "mps"


@pytest.mark.parametrize("device", list(absent_devices()))
def test_the_error_of_an_absent_device_lists_the_available_ones(
    fitted, fitted_state, device
):
    fitted.set_params(device=device)
    before = fitted_state(fitted)
    with pytest.raises(ValueError, match=rf"device='{device}'.*available.*'cpu'"):
        fitted.fit(GOOD)
    assert fitted_state(fitted) == before


@pytest.mark.parametrize("device", ["banana", "cpu:x", ""])
def test_the_error_of_an_unknown_device_lists_the_available_ones(
    fitted, fitted_state, device
):
    fitted.set_params(device=device)
    before = fitted_state(fitted)
    with pytest.raises(ValueError, match=rf"device='{device}'.*'auto'.*'cpu'"):
        fitted.fit(GOOD)
    assert fitted_state(fitted) == before


@pytest.mark.parametrize("method", ["predict", "predict_proba", "transform", "score"])
def test_not_fitted(method):
    with pytest.raises(NotFittedError, match="SoftKMeans instance is not fitted yet"):
        getattr(SoftKMeans(), method)(GOOD)
    with pytest.raises(NotFittedError):
        SoftKMeans().predict_proba(csr_array(GOOD))
    with pytest.raises(NotFittedError):
        SoftKMeans().get_feature_names_out()


class Stop(Exception):
    """Exception that the package cannot catch by accident."""


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt, ValueError])
def test_a_failing_init_leaves_the_estimator_unchanged(fitted, fitted_state, error):
    def init(X, n_clusters, random_state):
        raise error("from init")

    before = fitted_state(fitted)
    fitted.set_params(init=init)
    with pytest.raises(error, match="from init"):
        fitted.fit(GOOD[:, :2])
    assert fitted_state(fitted.set_params(init="grow")) == before


@pytest.mark.parametrize(
    "params", [{"max_iter": 1, "tol": 0}, {"temperature": 2}], ids=str
)
def test_a_warning_as_an_error_leaves_the_estimator_unchanged(fitted_state, params):
    est = SoftKMeans(3).fit(GOOD)
    before = fitted_state(est.set_params(**params))
    with pytest.raises(ConvergenceWarning):
        est.fit(GOOD[:, :2])
    assert fitted_state(est) == before


ENGINE = str(Path(skrbf.__file__).parent / "engine")


class InterruptAt:
    """Raise KeyboardInterrupt at the n-th call of any function of the engine."""

    def __init__(self, n_calls):
        self.n_calls, self.seen = n_calls, 0

    def __call__(self, frame, event, arg):
        if event == "call" and frame.f_code.co_filename.startswith(ENGINE):
            self.seen += 1
            if self.seen == self.n_calls:
                raise KeyboardInterrupt

    def __enter__(self):
        self.previous = sys.getprofile()
        sys.setprofile(self)
        return self

    def __exit__(self, *_):
        sys.setprofile(self.previous)


@pytest.mark.parametrize("when", [0, 0.1, 0.5, 0.9, 1])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    "params",
    [{}, {"temperature": 0}, {"temperature": 0.1, "init": "k-means++"}],
    ids=str,
)
def test_ctrl_c_in_the_engine(fitted_state, params, method, when):
    other = GOOD[:20] * 2 + 1
    fitted = SoftKMeans(3, random_state=0, **params).fit(GOOD)
    with InterruptAt(None) as count:
        getattr(SoftKMeans(3, random_state=0, **params).fit(GOOD), method)(other)
    total = count.seen
    with InterruptAt(None) as count:
        SoftKMeans(3, random_state=0, **params).fit(GOOD)
    total -= count.seen
    assert total > 2

    before = fitted_state(fitted)
    with (
        InterruptAt(max(1, round(when * total))) as interrupt,
        pytest.raises(KeyboardInterrupt),
    ):
        getattr(fitted, method)(other)

    assert interrupt.seen >= 1
    assert fitted_state(fitted) == before
    labels = fitted.predict(GOOD)
    assert_array_equal(labels, fitted.labels_)
    getattr(fitted, method)(other)  # and it can go on


def test_ctrl_c_in_a_first_fit_leaves_nothing_fitted():
    est = SoftKMeans(3)
    with InterruptAt(20), pytest.raises(KeyboardInterrupt):
        est.fit(GOOD)
    assert set(vars(est)) == set(est.get_params())
    with pytest.raises(NotFittedError):
        est.predict(GOOD)
