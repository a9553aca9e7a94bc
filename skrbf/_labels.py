"""Labels of rows that are missing: told without torch, for displays as well."""

import numpy as np


def check_labels(y, name="y"):
    """Raise where rows have no label.

    Parameters
    ----------
    y : array-like
    name : str, default="y"
        Of the argument, for the error.

    Raises
    ------
    ValueError
        For None, NaN, NaT, pandas.NA and the masked entries of an array.
    """
    if np.ma.is_masked(y) or _has_missing(_as_array(y)):
        raise ValueError(
            f"{name} has missing labels, such as None, NaN, pandas.NA or masked "
            "entries; leave them out, with their rows."
        )


def _as_array(y):
    # In an array of strings NaN would be one of them.
    return np.array(y, dtype=object) if isinstance(y, list | tuple) else np.asarray(y)


def _has_missing(labels):
    if labels.ndim == 0:  # no labels at all, which others have a message for
        return False
    if labels.dtype.kind in "fcmM":
        return bool((labels != labels).any())
    return labels.dtype == object and any(map(_is_missing, labels.ravel()))


def _is_missing(label):
    same = label == label  # NaN is not, and pandas.NA does not know
    return label is None or not (isinstance(same, bool | np.bool_) and bool(same))
