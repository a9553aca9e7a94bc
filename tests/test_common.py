"""All checks of scikit-learn, none expected to fail and none skipped."""

import inspect
from unittest import SkipTest

import numpy as np
import pytest
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import clone
from sklearn.utils import estimator_checks, get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from skrbf import DeepCenteringClustering, RBFNetClassifier, SoftKMeans

# Small networks, so that the checks take seconds; test_common_defaults.py has others.
SMALL = {
    "n_components": 3,
    "hidden_layer_sizes": (16,),
    "pretrain_epochs": 20,
    "max_iter": 5,
    "reinit_interval": 2,
    "learning_rate": 0.01,
}
SR_KMEANS = {
    "centering": "regularized",
    "assignment_update": "epoch",
    "center_update": "soft_mean",
    "reinit_interval": None,
}

ESTIMATORS = [
    DeepCenteringClustering(**SMALL),
    DeepCenteringClustering(**SMALL | SR_KMEANS),
    SoftKMeans(),
    SoftKMeans(assignment="entmax15"),
    SoftKMeans(assignment="sparsemax"),
    SoftKMeans(temperature=0),
    RBFNetClassifier(),
    RBFNetClassifier(assignment="entmax15"),
    RBFNetClassifier(assignment="sparsemax"),
]

# Since scikit-learn 1.8. No check is expected to fail, so none may be marked so.
STRICT = (
    {"xfail_strict": True}
    if "xfail_strict" in inspect.signature(parametrize_with_checks).parameters
    else {}
)

# Checks that scikit-learn runs on its own estimators only, since 1.7.
CORE_CHECKS = {
    "check_dataframe_column_names_consistency",
    "check_get_feature_names_out_error",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
    "check_inplace_ensure_writeable",
    "check_param_validation",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
}
# Newer checks of the same kind are found by name.
OWN_CHECKS = CORE_CHECKS | {
    name
    for name in dir(estimator_checks)
    if name.startswith("check_")
    and any(
        kind in name
        for kind in ("column_names", "feature_names", "output_transform", "set_output")
    )
}

pytestmark = [
    # Some data of the checks have fewer distinct rows than clusters.
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # The checks of set_output mix data frames and arrays.
    pytest.mark.filterwarnings("ignore:X (does not have valid|has) feature names"),
]


def short(estimator):
    return "".join(repr(estimator).split())


def name_of(check):
    return getattr(check, "func", check).__name__


def run(check, *args):
    try:
        check(*args)
    except SkipTest as reason:
        pytest.fail(f"skipped: {reason}")


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=lambda _: {}, **STRICT)
def test_estimator(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # else the array API is not checked
    run(check, estimator)


@pytest.mark.parametrize("format", ["bsr", "coo", "csc", "csr", "dia", "dok", "lil"])
@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
@pytest.mark.parametrize("container", [csr_array, csr_matrix])
def test_all_sparse_formats(container, index_dtype, format):
    X = np.random.default_rng(0).random((40, 3))
    X[X < 0.6] = 0
    rows = container(X).asformat(format)
    for name in ("indices", "indptr"):
        if hasattr(rows, name):
            setattr(rows, name, getattr(rows, name).astype(index_dtype))
    est = SoftKMeans(temperature=0.1).fit(rows)
    np.testing.assert_allclose(est.transform(rows), est.predict_proba(X), atol=1e-9)
    np.testing.assert_allclose(est.fit(X).transform(rows), est.predict_proba(X))
    with pytest.raises(TypeError, match="sparse; use transform"):
        est.predict_proba(rows)
    net = RBFNetClassifier(random_state=0).fit(rows, np.arange(40) % 3)
    np.testing.assert_allclose(net.predict_proba(rows), net.predict_proba(X), atol=1e-9)
    deep = DeepCenteringClustering(3, **SMALL, random_state=0).fit(rows)
    np.testing.assert_allclose(deep.transform(rows), deep.transform(X), atol=1e-9)
    codes = deep.transform(X)
    np.testing.assert_array_equal(deep.fit(X).transform(X), codes)
    with pytest.raises(TypeError, match=r"sparse; use X\.toarray"):
        deep.predict_proba(rows)
    proba = net.predict_proba(X)
    np.testing.assert_array_equal(net.fit(X, np.arange(40) % 3).predict_proba(X), proba)


@pytest.mark.parametrize("name", sorted(OWN_CHECKS))
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=short)
def test_internal_checks_of_scikit_learn(estimator, name):
    run(getattr(estimator_checks, name), type(estimator).__name__, estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=short)
def test_checks_use_default_parameters(estimator):
    """Each kind is checked with its defaults; networks but for their size and time."""
    kind, sizes = type(estimator), set()
    if kind is DeepCenteringClustering:
        sizes = {"n_components", "hidden_layer_sizes", "pretrain_epochs", "max_iter"}
        sizes |= {"reinit_interval", "learning_rate"}
    defaults = kind().get_params()
    changed = [
        {name for name in defaults if est.get_params()[name] != defaults[name]}
        for est in ESTIMATORS
        if type(est) is kind
    ]
    assert any(names <= sizes for names in changed)


@pytest.mark.parametrize(
    ("estimator", "kind"),
    [
        (SoftKMeans(), "check_clustering"),
        (RBFNetClassifier(), "check_classifiers_train"),
        (DeepCenteringClustering(**SMALL), "check_clustering"),
    ],
)
def test_the_checks_that_others_are_excused_from_are_there(estimator, kind):
    checks = {
        name_of(check)
        for _, check in estimator_checks.estimator_checks_generator(estimator)
    }
    assert checks >= {
        kind,
        "check_estimators_partial_fit_n_features",
        "check_fit_idempotent",
        "check_methods_sample_order_invariance",
        "check_methods_subset_invariance",
        "check_readonly_memmap_input",
        "check_sample_weight_equivalence_on_dense_data",
        "check_sample_weight_equivalence_on_sparse_data",
        "check_transformer_preserve_dtypes",
    }


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=short)
def test_both_float_types_are_said_to_be_kept(estimator):
    """Without a word scikit-learn checks float64 alone."""
    tags = get_tags(estimator).transformer_tags
    assert sorted(tags.preserves_dtype) == ["float32", "float64"]


@pytest.mark.parametrize("container", [np.asarray, csr_array])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=short)
def test_sample_weight_equivalence_float32(estimator, container):
    """As scikit-learn's check, which runs in float64 only."""
    rng = np.random.default_rng(42)
    X = rng.random((15, 30)).astype(np.float32)
    weight = rng.integers(0, 5, size=15)
    repeated = container(X.repeat(weight, axis=0))
    order, y = rng.permutation(15), np.arange(15) % 3
    estimator = clone(estimator).set_params(random_state=0)

    a = clone(estimator).fit(repeated, y.repeat(weight))
    b = clone(estimator)
    b.fit(container(X[order]), y[order], sample_weight=weight[order])

    assert a.predict_proba(X).dtype == np.float32
    np.testing.assert_allclose(b.predict_proba(X), a.predict_proba(X), atol=1e-4)
    np.testing.assert_array_equal(b.predict(X), a.predict(X))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 8])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=short)
def test_subset_invariance(estimator, size, dtype):
    """As scikit-learn's check, which runs in float64 with one cluster only."""
    X = 3 * np.random.default_rng(0).random((40, 3)).astype(dtype)
    name = "n_centers" if isinstance(estimator, RBFNetClassifier) else "n_clusters"
    estimator = clone(estimator).set_params(**{name: size, "random_state": 0})
    estimator.fit(X, np.arange(40) % 3)

    rows = np.vstack([estimator.predict_proba(row[None]) for row in X])
    labels = np.hstack([estimator.predict(row[None]) for row in X])

    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(rows, estimator.predict_proba(X), atol=tolerance)
    np.testing.assert_array_equal(labels, estimator.predict(X))
