"""Detection of missing labels, without torch: the displays use it, too."""

import numpy as np


def check_labels(y, name="y"):
    """Raise if a label is missing: None, NaN, NaT, pandas.NA or a masked entry."""
    if np.ma.is_masked(y) or _has_missing(_as_array(y)):
        raise ValueError(
            f"{name} has missing labels, such as None, NaN, pandas.NA or masked "
            "entries; remove these samples."
        )


def _as_array(y):
    # As an object array: in an array of strings, NaN would become the string 'nan'.
    return np.array(y, dtype=object) if isinstance(y, list | tuple) else np.asarray(y)


def _has_missing(labels):
    if labels.ndim == 0:  # not labels: another check reports it
        return False
    if labels.dtype.kind in "fcmM":
        return bool((labels != labels).any())
    return labels.dtype == object and any(map(_is_missing, labels.ravel()))


def _is_missing(label):
    is_equal = label == label  # False for NaN, pandas.NA for pandas.NA
    return label is None or not (
        isinstance(is_equal, bool | np.bool_) and bool(is_equal)
    )
