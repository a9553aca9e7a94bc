"""scikit-learn's checks on DeepCenteringClustering with default parameters: minutes.

Collected only if SKRBF_SLOW is set, see conftest.py. test_common.py runs the same
checks on small networks.
"""

import inspect
from unittest import SkipTest

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skrbf import DeepCenteringClustering

STRICT = (
    {"xfail_strict": True}
    if "xfail_strict" in inspect.signature(parametrize_with_checks).parameters
    else {}
)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(
    [DeepCenteringClustering()], expected_failed_checks=lambda _: {}, **STRICT
)
def test_estimator(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # else the array API is not checked
    try:
        check(estimator)
    except SkipTest as reason:
        pytest.fail(f"skipped: {reason}")
