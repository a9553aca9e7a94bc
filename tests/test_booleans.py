"""Boolean parameters accept numpy booleans, with the same result."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV

from skrbf import DeepCenteringClustering, RBFNetClassifier, SoftKMeans

X, y = load_iris(return_X_y=True)
ESTIMATORS = [
    SoftKMeans(3, max_iter=3),
    RBFNetClassifier(5, max_iter=2, random_state=0),
    DeepCenteringClustering(
        3,
        n_components=2,
        hidden_layer_sizes=(4,),
        pretrain_epochs=1,
        max_iter=1,
        center_update="gradient",
        random_state=0,
    ),
]
BOOLEAN = [
    (estimator, name)
    for estimator in ESTIMATORS
    for name, constraint in estimator._parameter_constraints.items()
    if {"boolean", "verbose"} & {part for part in constraint if isinstance(part, str)}
]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def results(estimator):
    """Results of a second fit, which `warm_start` changes, as arrays."""
    fitted = estimator.fit(X, y).fit(X, y)
    found = fitted.predict(X), fitted.predict_proba(X), fitted.transform(X)
    curve = fitted.history_.get("loss", fitted.history_.get("objective"))
    return *found, np.array(curve)


@pytest.mark.parametrize("value", [False, True])
@pytest.mark.parametrize(
    ("estimator", "name"), BOOLEAN, ids=[f"{type(e).__name__}-{n}" for e, n in BOOLEAN]
)
def test_numpy_booleans_give_the_same_result(estimator, name, value, capsys):
    outcomes = []
    for kind in (bool, np.bool_):
        found = results(clone(estimator).set_params(**{name: kind(value)}))
        outcomes.append((found, bool(capsys.readouterr().out)))
    (plain, printed), (of_numpy, printed_too) = outcomes
    assert printed == printed_too
    for a, b in zip(plain, of_numpy, strict=True):
        np.testing.assert_array_equal(a, b)


def test_all_boolean_parameters_are_tested():
    names = {name for _, name in BOOLEAN}
    expected = {
        "scale",
        "per_class",
        "early_stopping",
        "warm_start",
        "differentiate_assignments",
    }
    assert names >= expected


@pytest.mark.parametrize(
    ("estimator", "name"), [b for b in BOOLEAN if b[1] != "verbose"]
)
def test_grid_search_over_an_array_of_booleans(estimator, name):
    grid = {name: np.array([True, False])}
    search = GridSearchCV(clone(estimator), grid, cv=2, error_score="raise").fit(X, y)
    assert search.best_params_[name] in (True, False)


def test_a_checkpoint_knows_the_same_booleans(tmp_path):
    """The parameters of an interrupted fit are compared by their values."""
    from skrbf._deep_centering.fingerprint import parameter_fingerprint

    for value in (True, False):
        texts = {
            parameter_fingerprint(
                ESTIMATORS[2].set_params(differentiate_assignments=kind(value)),
                "differentiate_assignments",
            )
            for kind in (bool, np.bool_)
        }
        assert len(texts) == 1


NUMBERS = [
    (estimator, name)
    for estimator in ESTIMATORS
    for name, constraint in estimator._parameter_constraints.items()
    if any(hasattr(part, "closed") for part in constraint)
]


@pytest.mark.parametrize(
    ("estimator", "name"), NUMBERS, ids=[f"{type(e).__name__}-{n}" for e, n in NUMBERS]
)
@pytest.mark.parametrize("value", [False, True, np.True_])
def test_booleans_are_refused_as_numbers(estimator, name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of"):
        clone(estimator).set_params(**{name: value}).fit(X, y)
