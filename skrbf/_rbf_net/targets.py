"""Classes and weights of the rows of a fit, from what a user gives."""

import numpy as np
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from skrbf._convert import check_sample_weight, tensor_to_array
from skrbf._labels import check_labels

_LARGEST = np.finfo(np.float64).maxexp - 1  # of the exponents of float64


def known_labels(y, name="y"):
    """Labels as an array or as they are given; an error if any are missing."""
    y = tensor_to_array(y, name)
    check_labels(y, name)
    return y


def encoded(y, classes=None):
    """All classes, sorted, and the number of that of each row.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
    classes : ndarray of shape (n_classes,), default=None
        Sorted; those of `y` where None.

    Raises
    ------
    ValueError
        If `classes` is given and `y` has others.
    """
    y = column_or_1d(y, warn=True)
    check_classification_targets(y)
    if classes is None:
        return np.unique(y, return_inverse=True)
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise ValueError(f"y has classes {unknown} that are not in {classes}.")
    return classes, np.searchsorted(classes, y)


def row_weights(X, labels, classes, sample_weight, class_weight):
    """Weight of each row by itself and by its class, and their unit.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n_samples, n_features)
    labels : ndarray of shape (n_samples,)
        Numbers of the classes.
    classes : ndarray of shape (n_classes,)
    sample_weight, class_weight : object
        As of :class:`skrbf.RBFNetClassifier`.

    Returns
    -------
    weight : ndarray of shape (n_samples,), float64, or None
        None where all are 1.
    unit : float
        A power of two that the weights as given are times as large.

    Raises
    ------
    ValueError
        For weights that no row is left with, or a class that is not there.
    """
    weight, exponent = check_sample_weight(sample_weight, X)
    unit = 2.0 ** min(exponent, _LARGEST)
    if class_weight is None:
        return weight, unit
    factor = _class_factors(class_weight, classes, labels, weight)
    power = int(np.frexp(factor.max())[1])
    unit = 2.0 ** min(exponent + power, _LARGEST)
    weight = np.ldexp(factor, -power)[labels] * (1.0 if weight is None else weight)
    if not np.any(weight > 0):
        raise ValueError("class_weight leaves no row with a positive weight.")
    return weight, unit


def _class_factors(class_weight, classes, labels, weight):
    """Factor on the weight of each class."""
    if class_weight == "balanced":
        mass = np.bincount(labels, weight, minlength=len(classes))
        there = mass > 0
        mean = mass.sum() / there.sum()
        return np.divide(mean, mass, out=np.zeros(len(mass)), where=there)
    unknown = [label for label in class_weight if label not in classes]
    if unknown:
        raise ValueError(f"class_weight names classes {unknown} not in y: {classes}.")
    factor = compute_class_weight(class_weight, classes=classes, y=classes)
    if not np.all((factor >= 0) & np.isfinite(factor)):
        raise ValueError(
            f"class_weight={class_weight} has factors that are negative or not finite."
        )
    return factor
