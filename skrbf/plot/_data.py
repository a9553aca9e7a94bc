"""Validation and conversion of the samples and labels that a display draws."""

import copy
import math
from numbers import Integral, Real

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_consistent_length, column_or_1d

from skrbf._compat import feature_names
from skrbf._labels import check_labels


def whole_number(name, value, least):
    """Return an int of at least `least`; else raise an error."""
    if not _is_number(value, Integral) or value < least:
        raise ValueError(f"{name}={value!r} must be an integer of at least {least}.")
    return int(value)


def length(name, value):
    """Return a finite float of at least 0; else raise an error."""
    if not _is_number(value, Real) or not 0 <= value < math.inf:
        raise ValueError(f"{name}={value!r} must be a finite number of at least 0.")
    return float(value)


def _is_number(value, kind):
    return isinstance(value, kind) and not isinstance(value, bool | np.bool_)


def as_array(value):
    """Convert a tensor to an array; return other values unchanged.

    A tensor is recognized by its methods: drawing does not need torch.
    """
    if not hasattr(value, "detach"):
        return value
    value = value.detach().cpu()
    return np.asarray(value.double() if value.is_floating_point() else value)


def dense_rows(estimator, X):
    """Validate and convert `X` as the estimator does to predict, as a dense array."""
    values = estimator._validate(X, reset=False)
    return values.toarray() if issparse(values) else values


def without_names(estimator):
    """Return a shallow copy of the estimator without feature names."""
    plain = copy.copy(estimator)
    vars(plain).pop("feature_names_in_", None)
    return plain


def names_of_features(estimator, X):
    """Return feature names: of the data frame, of the fit, or numbered."""
    names = feature_names(X)
    if names is None:
        numbered = [f"feature {i}" for i in range(estimator.n_features_in_)]
        names = getattr(estimator, "feature_names_in_", numbered)
    return [str(name) for name in names]


def feature_pair(names, features):
    """Return the indices of the two features that span the plane."""
    n_features = len(names)
    if features is None:
        if n_features != 2:
            raise ValueError(
                f"X has {n_features} features. Choose the two to draw with "
                "features=(i, j); the others are held at their means."
            )
        return [0, 1]
    # A string is iterable, but not a pair.
    is_sequence = not isinstance(features, str) and np.ndim(features) == 1
    pair = (
        [_feature_index(feature, names) for feature in features] if is_sequence else []
    )
    if len(pair) != 2 or pair[0] == pair[1] or None in pair:
        raise ValueError(
            f"features={features!r} must be two different features of X, by index "
            f"from 0 to {n_features - 1} or by name."
        )
    return pair


def _feature_index(feature, names):
    """Return the index of a feature given by index or name, or None if unknown."""
    if isinstance(feature, str):
        return names.index(feature) if feature in names else None
    known = isinstance(feature, Integral) and not isinstance(feature, bool | np.bool_)
    return int(feature) if known and 0 <= feature < len(names) else None


def classes_of_rows(X, y, *, all_known=False):
    """Return the classes of the samples in `X` as a one-dimensional array.

    Missing classes are an error if `all_known`.
    """
    y = as_array(y)
    if all_known or np.ma.is_masked(y):  # the values under a mask must not be drawn
        check_labels(y)
    y = column_or_1d(np.asarray(y))
    check_consistent_length(X, y)
    return y


def distinct_labels(labels):
    """Return the sorted distinct labels, and the index of the label of each sample.

    Labels of several types, such as None or NaN among strings, are sorted by type
    first.
    """
    if labels.dtype != object:
        return np.unique(labels, return_inverse=True)
    # All NaN count as one label, though they are not equal.
    labels = [
        np.nan if isinstance(label, float) and np.isnan(label) else label
        for label in labels
    ]
    names = sorted(set(labels), key=lambda name: (type(name).__name__, name))
    index = {name: number for number, name in enumerate(names)}
    return names, np.array([index[label] for label in labels])
