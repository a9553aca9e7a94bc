"""SoftKMeans among scikit-learn's tools."""

import pickle
import re

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone, is_clusterer
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

from skrbf import SoftKMeans

FITTED = [
    "cluster_centers_",
    "labels_",
    "inertia_",
    "objective_",
    "n_iter_",
    "history_",
    "temperature_",
    "sigma_",
    "critical_temperature_",
    "n_features_in_",
]


def test_the_parameters_and_their_defaults():
    assert SoftKMeans().get_params() == {
        "n_clusters": 8,
        "temperature": "auto",
        "assignment": "softmax",
        "init": "grow",
        "n_init": "auto",
        "max_iter": 300,
        "tol": 1e-4,
        "device": "auto",
        "verbose": 0,
        "random_state": None,
    }
    assert SoftKMeans(3).n_clusters == 3
    with pytest.raises(TypeError, match="positional"):
        SoftKMeans(3, 0.1)


def test_fitted_attributes(make_data):
    X = make_data("blobs")
    est = SoftKMeans(4)
    params = dict(est.get_params())

    assert est.fit(X, y=np.arange(300)) is est

    assert est.get_params() == params
    public = [name for name in vars(est) if name not in params and name[0] != "_"]
    assert set(public) >= set(FITTED)
    assert all(name.endswith("_") for name in public)
    for name in FITTED:
        assert f"{name} :" in SoftKMeans.__doc__
    assert type(est.n_iter_) is int
    assert {"temperature", "objective", "n_clusters"} <= set(est.history_)
    assert all(type(column) is list for column in est.history_.values())
    assert is_clusterer(est)


def test_pipeline(make_data):
    X = make_data("aniso") * [1, 100]
    pipe = make_pipeline(StandardScaler(), SoftKMeans(4)).fit(X)
    scaled = StandardScaler().fit_transform(X)
    alone = SoftKMeans(4).fit(scaled)

    assert_array_equal(pipe.predict(X), alone.labels_)
    assert_array_equal(pipe.predict_proba(X), alone.predict_proba(scaled))
    assert_array_equal(pipe.transform(X), alone.transform(scaled))
    assert pipe.score(X) == alone.score(scaled)
    assert_array_equal(clone(pipe).fit_predict(X), alone.labels_)


def test_responsibilities_are_features_for_a_classifier():
    """No line separates two rings, but the responsibilities of 16 centers do."""
    rng = np.random.default_rng(0)
    y, angle = np.arange(400) % 2, rng.uniform(0, 2 * np.pi, 400)
    radius = 1 + 2 * y + rng.normal(scale=0.2, size=400)
    X = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    linear = LogisticRegression().fit(X, y)
    model = make_pipeline(SoftKMeans(16), LogisticRegression(C=100)).fit(X, y)
    assert linear.score(X, y) < 0.7
    assert model.score(X, y) > 0.97


def test_grid_search_in_two_processes(make_data):
    X = make_data("blobs")
    grid = {
        "softkmeans__temperature": [0, 0.1, "auto"],
        "softkmeans__n_clusters": [2, 6],
    }
    pipe = make_pipeline(StandardScaler(), SoftKMeans())
    search = GridSearchCV(pipe, grid, cv=3, n_jobs=2, error_score="raise").fit(X)
    alone = GridSearchCV(pipe, grid, cv=3, error_score="raise").fit(X)

    assert search.best_params_["softkmeans__n_clusters"] == 6
    assert search.best_params_ == alone.best_params_
    scores = "mean_test_score"
    assert_allclose(search.cv_results_[scores], alone.cv_results_[scores], rtol=1e-9)
    assert len(set(search.cv_results_[scores])) == 6
    assert_array_equal(search.predict(X), alone.predict(X))


def test_cross_validate(make_data):
    X = make_data("blobs")
    result = cross_validate(
        SoftKMeans(5), X, cv=3, return_estimator=True, error_score="raise"
    )
    for score, est, test in zip(
        result["test_score"],
        result["estimator"],
        np.split(np.arange(300), 3),
        strict=True,
    ):
        assert score == est.score(X[test]) < 0


def test_clone_copies_the_parameters_only(make_data):
    est = SoftKMeans(3, temperature=0.2, init=make_data("blobs")[:3])
    copy = clone(est.fit(make_data("blobs")))
    assert_array_equal(copy.init, est.init)
    assert copy.temperature == 0.2
    assert set(vars(copy)) == set(est.get_params())


@pytest.mark.parametrize("temperature", [0, "auto"])
def test_pickle(make_data, fitted_state, temperature):
    X = make_data("blobs")
    est = SoftKMeans(4, temperature=temperature).fit(X)
    back = pickle.loads(pickle.dumps(est))
    assert fitted_state(back) == fitted_state(est)
    assert_array_equal(back.predict_proba(X), est.predict_proba(X))
    back.partial_fit(X)


def test_joblib_with_a_memory_map(make_data, tmp_path):
    X = make_data("blobs")
    est = SoftKMeans(4).fit(X)
    joblib.dump(est, tmp_path / "est.joblib")
    back = joblib.load(tmp_path / "est.joblib", mmap_mode="r")

    assert isinstance(back.cluster_centers_, np.memmap)
    assert_array_equal(back.predict_proba(X), est.predict_proba(X))
    assert back.score(X) == est.score(X)
    assert_array_equal(
        back.partial_fit(X).cluster_centers_, est.partial_fit(X).cluster_centers_
    )


def test_names_out(make_data):
    est = SoftKMeans(3).fit(make_data("blobs"))
    names = est.get_feature_names_out()
    assert names.tolist() == ["softkmeans0", "softkmeans1", "softkmeans2"]
    assert names.dtype == object
    assert not hasattr(est, "feature_names_in_")


def test_pandas_output(make_data):
    X = pd.DataFrame(make_data("aniso"), columns=["u", "v"]).iloc[::-1]
    est = SoftKMeans(3).set_output(transform="pandas").fit(X)
    out = est.transform(X)

    assert est.feature_names_in_.tolist() == ["u", "v"]
    assert out.columns.tolist() == ["softkmeans0", "softkmeans1", "softkmeans2"]
    assert out.index.equals(X.index)
    assert isinstance(est.predict_proba(X), np.ndarray)
    assert_array_equal(out.to_numpy(), est.predict_proba(X))
    assert_array_equal(clone(est).fit_transform(X).to_numpy(), out.to_numpy())
    with pytest.raises(ValueError, match="feature names should match"):
        est.predict(X[["v", "u"]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        est.predict(X.to_numpy())


def test_polars_output(make_data):
    X = pl.DataFrame(make_data("aniso"), schema=["u", "v"])
    est = SoftKMeans(3).set_output(transform="polars").fit(X)
    out = est.transform(X)

    assert isinstance(out, pl.DataFrame)
    assert out.columns == ["softkmeans0", "softkmeans1", "softkmeans2"]
    assert est.feature_names_in_.tolist() == ["u", "v"]
    assert_array_equal(out.to_numpy(), est.predict_proba(X))


def test_feature_union_and_column_transformer(make_data):
    X = pd.DataFrame(make_data("blobs"), columns=list("abcd"))
    union = make_union(StandardScaler(), SoftKMeans(3)).set_output(transform="pandas")
    parts = make_column_transformer((SoftKMeans(2), ["a", "b"]), remainder="drop")

    assert [c for c in union.fit_transform(X) if "softkmeans" in c] == [
        f"softkmeans__softkmeans{i}" for i in range(3)
    ]
    out = parts.fit_transform(X)
    assert_array_equal(out, SoftKMeans(2).fit_transform(X[["a", "b"]]))


def test_weights_are_routed_through_a_pipeline(make_data):
    X = make_data("blobs")
    weight = np.random.default_rng(0).exponential(size=len(X))
    alone = SoftKMeans(4).fit(X, sample_weight=weight)
    with config_context(enable_metadata_routing=True):
        est = SoftKMeans(4).set_fit_request(sample_weight=True)
        est.set_score_request(sample_weight=True)
        pipe = make_pipeline(StandardScaler(with_mean=False, with_std=False), est)
        pipe[0].set_fit_request(sample_weight=False)
        pipe.fit(X, sample_weight=weight)
        score = pipe.score(X, sample_weight=weight)
        assert hasattr(est, "set_partial_fit_request")

    assert_array_equal(pipe[-1].cluster_centers_, alone.cluster_centers_)
    assert score == alone.score(X, sample_weight=weight)
    assert not np.allclose(alone.inertia_, SoftKMeans(4).fit(X).inertia_)


def test_weights_are_routed_through_a_search(make_data):
    X = make_data("blobs")
    weight = np.random.default_rng(0).exponential(size=len(X))
    with config_context(enable_metadata_routing=True):
        est = SoftKMeans().set_fit_request(sample_weight=True)
        est.set_score_request(sample_weight=True)
        search = GridSearchCV(est, {"n_clusters": [3, 5]}, cv=2, error_score="raise")
        search.fit(X, sample_weight=weight)

    parts = np.split(np.arange(300), 2)
    expected = [
        SoftKMeans(5)
        .fit(X[train], sample_weight=weight[train])
        .score(X[test], sample_weight=weight[test])
        for test, train in (parts, parts[::-1])
    ]
    assert_allclose(
        [search.cv_results_[f"split{i}_test_score"][1] for i in range(2)],
        expected,
        rtol=1e-9,
    )


def test_repr():
    assert repr(SoftKMeans()) == "SoftKMeans()"
    assert repr(SoftKMeans(3, temperature=0)) == (
        "SoftKMeans(n_clusters=3, temperature=0)"
    )


def test_html_repr_links_to_the_documentation(make_data):
    est = SoftKMeans(3)
    links = r'href="https?://[^"]*skrbf[^"]*SoftKMeans[^"]*"'
    for html in (estimator_html_repr(est), est.fit(make_data("iris"))._repr_html_()):
        assert "SoftKMeans" in html
        assert re.search(links, html)
    assert "scikit-learn.org" not in re.sub(r"<style>.*?</style>", "", html, flags=16)
