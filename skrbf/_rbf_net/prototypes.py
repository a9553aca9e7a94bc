"""Interpretation of the units of a fitted RBF network: a mixin of its estimator."""

from numbers import Integral

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Bunch, check_scalar
from sklearn.utils.validation import check_is_fitted

from skrbf._base import torch_modes, warn
from skrbf.engine.rbf.constants import (
    DEAD_LOG_ACTIVATION,
    FAMILIARITY_RTOL,
    N_NEAREST_ROWS,
)
from skrbf.engine.rbf.predict import explanation_blocks, familiarity_blocks
from skrbf.engine.rbf.prototypes import describe


class RBFPrototypes:
    """Methods of :class:`RBFNetClassifier` that explain it."""

    def _describe(self, objective, network):
        """Collect the attributes that describe the units by the training rows."""
        profile, nearest, familiarity = describe(objective, network, N_NEAREST_ROWS)
        if self.assignment is None and float(familiarity[-1]) < DEAD_LOG_ACTIVATION:
            warn(
                "All units of RBFNetClassifier are dead: no training row activates any "
                "of them, since the rows are too far from the centers for the widths. "
                "Change width or n_centers, or fit a new network.",
                ConvergenceWarning,
            )
        return {
            "class_profile_": profile.cpu().double().numpy(),
            "nearest_rows_": objective.data.row_index[nearest.cpu()].numpy().copy(),
            "familiarity_quantiles_": familiarity.cpu().double().numpy(),
        }

    def score_samples(self, X):
        r"""Compute the familiarity of each row: its largest log activation.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        familiarity : ndarray of shape (n_samples,)
            :math:`\max_k -\frac12 \sum_j (x_{ij} - c_{kj})^2 / \sigma_{kj}^2`: 0 at a
            center, and lower for rows far from all centers.
        """
        check_is_fitted(self)
        return self._collect_rows(X, familiarity_blocks, 1)[:, 0]

    def novelty(self, X):
        """Compute the fraction of training rows that are more familiar than each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        novelty : ndarray of shape (n_samples,)
            From 0 to 1, in steps of a thousandth or more. About uniform for training
            rows; higher for new rows, and much higher if there are nearly as many units
            as training rows. 1 for a row far from all units: its prediction is that of
            `intercept_`. Features that do not separate the classes hardly count.
        """
        # A training row must not be less familiar than itself, in any precision.
        familiarity = (1.0 - FAMILIARITY_RTOL) * self.score_samples(X)
        quantiles = self.familiarity_quantiles_
        n_below = np.searchsorted(quantiles, familiarity, side="right")
        return 1.0 - n_below / len(quantiles)

    def explain(self, X, n_units=3):
        """Find the units that contribute most to each prediction.

        The logit of the predicted class is a sum of the contributions of all units and
        the intercept (:eq:`eq-contribution` in the user guide).

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        n_units : int, default=3
            Number of units to name, at most all of them.

        Returns
        -------
        explanation : :class:`~sklearn.utils.Bunch`
            Each entry has one element for each row:

            - label : ndarray of shape (n_samples,), the predicted class
            - unit : ndarray of shape (n_samples, n_units), the indices of the units
              with the largest contributions in magnitude, in descending order
            - activation : ndarray of shape (n_samples, n_units)
            - contribution : ndarray of shape (n_samples, n_units), to the logit; with
              two classes `decision_function` is the difference of two logits, twice as
              large
            - rest : ndarray of shape (n_samples,), the sum over the other units
            - intercept : ndarray of shape (n_samples,)

        Raises
        ------
        TypeError, ValueError
            If `n_units` is not an integer, or is less than 1.
        """
        check_is_fitted(self)
        _, compute, rows, model = self._load(X)
        check_scalar(n_units, "n_units", Integral, min_val=1)
        n_units = min(n_units, len(self.centers_))
        with torch_modes(), compute.limited_threads():
            blocks = list(explanation_blocks(rows, model, n_units))
        explanation = {
            name: np.concatenate([block[name].cpu().numpy() for block in blocks])
            for name in blocks[0]
        }
        explanation["label"] = self.classes_[explanation["label"]]
        return Bunch(**explanation)
