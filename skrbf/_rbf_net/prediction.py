"""Predictions of a fitted RBF network: a mixin of its estimator."""

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted

from skrbf._convert import (
    check_sample_weight,
    scaling_tensors,
    tensor_from_numpy,
    tensor_to_array,
    to_rows,
)
from skrbf.engine.rbf.objective import from_parts
from skrbf.engine.rbf.predict import RBFModel, activation_blocks, logit_blocks
from skrbf.engine.rbf.widths import units_of_data
from skrbf.ops.rbf_units import ACTIVATIONS


class RBFPredictions(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Methods of :class:`RBFNetClassifier` that predict.

    All of them follow from the same logits, so they always agree. If rounding makes two
    probabilities equal, the predicted class has the first of the largest ones.
    """

    # The mixins of scikit-learn are bases of this class, since `set_output` acts on a
    # method only where a subclass of TransformerMixin defines it.

    @property
    def _n_features_out(self):
        return self.centers_.shape[0]

    def _network(self, like):
        """Build the network from the fitted attributes, like a tensor."""
        names = ("centers_", "widths_", "coef_", "intercept_")
        arrays = {name: _as_double(getattr(self, name)) for name in names}
        _check_network(arrays, len(self.mean_), len(self.classes_))
        centers, widths, weight, bias = arrays.values()
        scaling = map(_as_double, (self.mean_, self.scale_))
        parts = (*units_of_data(centers, widths, *scaling), weight, bias)
        # Convert before moving: a device may lack float64.
        return from_parts([part.to(like.dtype).to(like.device) for part in parts])

    def _load(self, X):
        """Validate rows, and load the model in their precision."""
        X = self._validate(X, reset=False)
        compute = self._compute(X, len(self.centers_), fitted=True)
        like = torch.empty(0, dtype=compute.dtype, device=compute.device)
        model = RBFModel(
            self._network(like),
            ACTIVATIONS[self._structure["assignment"] or "gaussian"],
            *scaling_tensors(self.mean_, self.scale_, compute),
        )
        return X.dtype, compute, to_rows(X, compute), model

    def _collect_rows(self, X, blocks, n_columns):
        """Collect blocks (columns, rows) in an array (rows, columns)."""
        dtype, compute, rows, model = self._load(X)
        result = np.empty((rows.n_rows, n_columns), dtype)
        self._collect(compute, blocks(rows, model), result.T)
        return result

    def _logits(self, X):
        check_is_fitted(self)
        return self._collect_rows(X, logit_blocks, len(self.classes_))

    def decision_function(self, X):
        """Compute the logits of the classes, or the difference of two.

        The logits of a row sum to 0 over the classes, unless `coef_` or `intercept_`
        were edited so that they do not.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            One-dimensional for one or two classes. For two classes, it is positive for
            rows of the second class, and its logistic function is
            ``predict_proba(X)[:, 1]``.
        """
        f = self._logits(X)
        if f.shape[1] == 1:
            return f[:, 0]
        return f[:, 1] - f[:, 0] if f.shape[1] == 2 else f

    def predict(self, X):
        """Predict the most probable class of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        f = self._logits(X)
        return self.classes_[f.argmax(axis=1)]

    def predict_log_proba(self, X):
        """Compute log-probabilities, accurate where probabilities round to 0.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
        """
        f = self._logits(X)
        label = f.argmax(axis=1)
        f -= f.max(axis=1, keepdims=True)
        return _break_ties(f - np.log(np.exp(f).sum(axis=1, keepdims=True)), label)

    def predict_proba(self, X):
        """Predict the probabilities of the classes, in the order of `classes_`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Rows sum to 1. Far from all units the probabilities are those of
            `intercept_`.
        """
        f = self._logits(X)
        label = f.argmax(axis=1)
        p = np.exp(f - f.max(axis=1, keepdims=True))
        return _break_ties(p / p.sum(axis=1, keepdims=True), label)

    def score(self, X, y, sample_weight=None):
        """Compute the accuracy: the fraction of rows whose class is predicted.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of any scale: only their ratios count.

        Returns
        -------
        score : float
        """
        weight, _ = check_sample_weight(sample_weight, X)
        y = tensor_to_array(y, "y")
        return float(accuracy_score(y, self.predict(X), sample_weight=weight))

    def transform(self, X):
        """Compute the activations of the units.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        activations : ndarray of shape (n_samples, n_centers)
            In [0, 1]. With an `assignment`, rows sum to 1.
        """
        check_is_fitted(self)
        return self._collect_rows(X, activation_blocks, len(self.centers_))


def _as_double(array):
    return tensor_from_numpy(np.ascontiguousarray(array, np.float64))


def _check_network(arrays, n_features, n_classes):
    """Check the shapes of the attributes that may be edited, and the widths."""
    k = len(arrays["centers_"])
    shapes = (k, n_features), (k, n_features), (n_classes, k), (n_classes,)
    for (name, array), shape in zip(arrays.items(), shapes, strict=True):
        if array.shape != shape:
            raise ValueError(
                f"{name} has the shape {tuple(array.shape)} instead of {shape}, for "
                f"{k} rows of centers_, {n_features} features and {n_classes} classes."
            )
    if not arrays["widths_"].amin() > 0:  # nor NaN
        raise ValueError("widths_ has entries that are not positive.")


def _break_ties(values, label):
    """Make the value of the predicted class the first of the largest in each row.

    The values (n_samples, n_classes) increase with the logits, up to rounding. A value
    that rounding has made no larger than that of an earlier class is raised to the next
    larger number.
    """
    tied = np.flatnonzero(values.argmax(axis=1) != label)
    largest = values[tied].max(axis=1)
    values[tied, label[tied]] = np.nextafter(largest, np.inf, dtype=values.dtype)
    return values
