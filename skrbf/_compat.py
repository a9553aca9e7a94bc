"""Private and version-dependent names of scikit-learn, imported only here."""

from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, _get_feature_names

try:  # scikit-learn >= 1.9
    from sklearn.callback import CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:
        """Stand-in for scikit-learn before 1.9, which has no callbacks."""


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
    """Return the column names of a data frame if all are strings, else None."""
    return _get_feature_names(X)


def begin_callbacks(estimator, X, y, metadata, max_steps):
    """Begin the root task of a fit with at most `max_steps` steps; None is unknown.

    Returns
    -------
    CallbackContext or None
        None if scikit-learn has no callbacks.
    """
    if not hasattr(CallbackSupportMixin, "_init_callback_context"):
        return None
    context = estimator._init_callback_context(max_subtasks=max_steps)
    context.call_on_fit_task_begin(estimator=estimator, X=X, y=y, metadata=metadata)
    return context
