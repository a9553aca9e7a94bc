"""Every private or version-dependent name of scikit-learn, imported here only."""

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
    "_check_sample_weight",
    "_fit_context",
    "begin_callbacks",
    "feature_names",
]


def feature_names(X):
    """Return the names of the columns of a frame if all are strings, else None."""
    return _get_feature_names(X)


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
