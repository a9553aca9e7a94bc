"""What a fitted RBF network says of new rows: a mixin of its estimator."""

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted

from skrbf._convert import (
    check_sample_weight,
    scaling_tensors,
    tensor_to_array,
    to_rows,
)
from skrbf.engine.rbf import predict as rbf_predict
from skrbf.engine.rbf.objective import from_parts
from skrbf.ops.rbf import ACTIVATIONS


class RBFPredictions(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Methods of :class:`RBFNetClassifier` that predict.

    All of them follow from the same logits, so they always agree: also where rounding
    leaves nothing of the lead of a class, the class that is predicted has the first of
    the largest probabilities.
    """

    @property
    def _n_features_out(self):
        return self.centers_.shape[0]

    def _network(self, like):
        """The network in the dtype and on the device of a tensor."""
        return from_parts(tuple(like.new_tensor(p) for p in self._parameters))

    def _ready(self, X):
        """Rows, and the model in their precision."""
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        compute = self._compute(X, self._n_features_out, fitted=True)
        like = torch.empty(0, dtype=compute.dtype, device=compute.device)
        model = rbf_predict.RBFModel(
            self._network(like),
            ACTIVATIONS[self._structure["assignment"] or "gaussian"],
            *scaling_tensors(self.mean_, self.scale_, compute),
        )
        return X, compute, to_rows(X, compute), model

    def _collected(self, X, blocks, n_columns):
        """Blocks (columns, rows) as an array (rows, columns)."""
        X, compute, rows, model = self._ready(X)
        whole = np.empty((X.shape[0], n_columns), dtype=X.dtype)
        self._collect(compute, blocks(rows, model), whole.T)
        return whole

    def _logits(self, X):
        check_is_fitted(self)
        return self._collected(X, rbf_predict.decisions, len(self.classes_))

    def decision_function(self, X):
        """Logits of the classes, centered; of two classes, their difference.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            One-dimensional for one or two classes: of two, positive where the second
            is predicted; the logistic function of it is ``predict_proba(X)[:, 1]``.
        """
        f = self._logits(X)
        if f.shape[1] == 1:
            return f[:, 0]
        return f[:, 1] - f[:, 0] if f.shape[1] == 2 else f

    def predict(self, X):
        """Most probable class of each row.

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
        """Logarithms of :meth:`predict_proba`, accurate where those round to 0.

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
        return _led(f - np.log(np.exp(f).sum(axis=1, keepdims=True)), label)

    def predict_proba(self, X):
        """Probabilities of the classes, in the order of `classes_`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Rows sum to 1. Far from all units they are those of `intercept_`.
        """
        f = self._logits(X)
        label = f.argmax(axis=1)
        p = np.exp(f - f.max(axis=1, keepdims=True))
        return _led(p / p.sum(axis=1, keepdims=True), label)

    def score(self, X, y, sample_weight=None):
        """Accuracy: the share of rows whose class is predicted.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of any size: only their ratios count.

        Returns
        -------
        score : float
        """
        weight, _ = check_sample_weight(sample_weight, X)
        y = tensor_to_array(y, "y")
        return float(accuracy_score(y, self.predict(X), sample_weight=weight))

    def transform(self, X):
        """Activations of the units.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        activations : ndarray of shape (n_samples, n_centers)
            In [0, 1]; with an `assignment` their rows sum to 1.
        """
        check_is_fitted(self)
        return self._collected(X, rbf_predict.activations, self._n_features_out)


def _led(values, label):
    """Values (rows, classes) of which that of the label is the first of the largest.

    They rise with the logits, but for rounding: where that has made one before it as
    large, it is the next larger number.
    """
    lost = np.flatnonzero(values.argmax(axis=1) != label)
    largest = values[lost].max(axis=1)
    values[lost, label[lost]] = np.nextafter(largest, np.inf, dtype=values.dtype)
    return values
