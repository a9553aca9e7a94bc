"""Rows and classes as a fit takes them, in the arrays that a display draws."""

import copy
import math
from numbers import Integral, Real

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_consistent_length, column_or_1d

from skrbf._compat import feature_names
from skrbf._labels import check_labels


def whole_number(name, value, least):
    """An integer of python, of which no size overflows; else an error."""
    if not _is_number(value, Integral) or value < least:
        raise ValueError(f"{name}={value!r} should be an integer, at least {least}.")
    return int(value)


def length(name, value):
    """A number of python from 0 on; else an error."""
    if not _is_number(value, Real) or not 0 <= value < math.inf:
        raise ValueError(f"{name}={value!r} should be a number, at least 0.")
    return float(value)


def _is_number(value, kind):
    return isinstance(value, kind) and not isinstance(value, bool | np.bool_)


def as_array(given):
    """Convert a tensor to an array of its numbers; anything else stays as it is.

    It is told by its methods: torch is not needed to draw.
    """
    if not hasattr(given, "detach"):
        return given
    given = given.detach().cpu()
    return np.asarray(given.double() if given.is_floating_point() else given)


def dense_rows(estimator, X):
    """The rows of `X`, checked and converted as `estimator` does to predict."""
    values = estimator._validate(X, reset=False)
    return values.toarray() if issparse(values) else values


def without_names(estimator):
    """A shallow copy that was fitted to the same rows without names of features."""
    plain = copy.copy(estimator)
    vars(plain).pop("feature_names_in_", None)
    return plain


def names_of_features(estimator, X):
    """Names of the features: those of a frame, of the fit, or their numbers."""
    names = feature_names(X)
    if names is None:
        numbered = [f"feature {i}" for i in range(estimator.n_features_in_)]
        names = getattr(estimator, "feature_names_in_", numbered)
    return [str(name) for name in names]


def classes_of_rows(X, y, *, all_known=False):
    """Classes, one for each row of `X`, in a one-dimensional array.

    Parameters
    ----------
    X, y : array-like
    all_known : bool, default=False
        Whether missing ones are an error.
    """
    y = as_array(y)
    if all_known or np.ma.is_masked(y):  # what is masked must not be seen
        check_labels(y)
    y = column_or_1d(np.asarray(y))
    check_consistent_length(X, y)
    return y


def distinct_labels(labels):
    """Labels that differ, in their order, and the number of that of each row.

    Those of several types, such as None or NaN among strings, are ordered type by type.
    """
    if labels.dtype != object:
        return np.unique(labels, return_inverse=True)
    # One NaN is not equal to another, and all are one label.
    labels = [
        np.nan if isinstance(label, float) and np.isnan(label) else label
        for label in labels
    ]
    names = sorted(set(labels), key=lambda name: (type(name).__name__, name))
    place = {name: number for number, name in enumerate(names)}
    return names, np.array([place[label] for label in labels])
