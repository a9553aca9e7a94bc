"""Every private or version-dependent name of scikit-learn, imported here only."""

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, _get_feature_names

try:  # scikit-learn >= 1.9
    from sklearn.callback import CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:
        """No callbacks before scikit-learn 1.9."""


__all__ = [
    "CallbackSupportMixin",
    "Interval",
    "StrOptions",
    "_fit_context",
    "begin_callbacks",
    "check_sample_weight",
    "feature_names",
]


def feature_names(X):
    """Names of the columns of a frame if all are strings, else None."""
    return _get_feature_names(X)


def check_sample_weight(sample_weight, X):
    """Validated weights in the dtype of `X`, None where none are given."""
    if sample_weight is None:
        return None
    weight = _check_sample_weight(
        sample_weight, X, dtype=X.dtype, ensure_non_negative=True
    )
    if not np.any(weight):  # scikit-learn >= 1.9 has said so already
        raise ValueError(
            "Sample weights must contain at least one non-zero number; all are zero."
        )
    with np.errstate(over="ignore"):
        total = weight.sum(dtype=np.float64)
    if not np.isfinite(total):
        raise ValueError(
            "sample_weight has values so large that their sum overflows; divide it by "
            "a number."
        )
    return weight


def begin_callbacks(estimator, X, y, metadata, most_steps):
    """Begin the root task of a fit, of so many steps at most, or None.

    Does nothing if scikit-learn has no callbacks.

    Returns the callback context, or None.
    """
    if not hasattr(CallbackSupportMixin, "_init_callback_context"):
        return None
    context = estimator._init_callback_context(max_subtasks=most_steps)
    context.call_on_fit_task_begin(estimator=estimator, X=X, y=y, metadata=metadata)
    return context
