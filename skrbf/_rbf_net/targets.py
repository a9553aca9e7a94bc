"""Validation of the classes and weights of the rows of a fit."""

import numpy as np
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from skrbf._convert import check_sample_weight, tensor_to_array
from skrbf._labels import check_labels

# Largest binary exponent of a finite float64.
_MAX_EXPONENT = np.finfo(np.float64).maxexp - 1


def check_known_labels(y, name="y"):
    """Return the labels, tensors as arrays; raise an error if any are missing."""
    y = tensor_to_array(y, name)
    check_labels(y, name)
    return y


def encode_labels(y, classes=None):
    """Return the sorted classes, and the index of the class of each row.

    Raise an error if classes are given and `y` has others.
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
    """Combine sample weights and class weights, and return them with their unit.

    The weights as given are the unit, a power of two, times the weights (n,) in
    float64, which are None if all are 1. Raise an error if no row has a positive
    weight.
    """
    weight, exponent = check_sample_weight(sample_weight, X)
    unit = 2.0 ** min(exponent, _MAX_EXPONENT)
    if class_weight is None:
        return weight, unit
    factor = _class_factors(class_weight, classes, labels, weight)
    power = int(np.frexp(factor.max())[1])
    unit = 2.0 ** min(exponent + power, _MAX_EXPONENT)
    weight = np.ldexp(factor, -power)[labels] * (1.0 if weight is None else weight)
    if not np.any(weight > 0):
        raise ValueError("class_weight leaves no row with a positive weight.")
    return weight, unit


def _class_factors(class_weight, classes, labels, weight):
    """Compute the factor on the weights of each class."""
    if class_weight == "balanced":
        totals = np.bincount(labels, weight, minlength=len(classes))
        is_present = totals > 0
        mean = totals.sum() / is_present.sum()
        return np.divide(mean, totals, out=np.zeros(len(totals)), where=is_present)
    unknown = [label for label in class_weight if label not in classes]
    if unknown:
        raise ValueError(
            f"class_weight has classes {unknown} that are not in y: {classes}."
        )
    factor = compute_class_weight(class_weight, classes=classes, y=classes)
    if not np.all((factor >= 0) & np.isfinite(factor)):
        raise ValueError(
            f"class_weight={class_weight} has factors that are negative or not finite."
        )
    return factor
