"""What the units of a fitted RBF network mean to a person: a mixin of its estimator."""

from numbers import Integral

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Bunch, check_scalar
from sklearn.utils.validation import check_is_fitted

from skrbf._base import torch_modes, warn
from skrbf.engine.rbf import predict as rbf_predict
from skrbf.engine.rbf.prototypes import describe

_N_NEAREST = 5
# Logarithm of an activation that nothing can be learnt from.
_DEAD = -14.0


class RBFPrototypes:
    """Methods of :class:`RBFNetClassifier` that explain it."""

    def _described(self, data, network):
        found = describe(data.task, network, _N_NEAREST)
        if self.assignment is None and float(found.familiarity[-1]) < _DEAD:
            warn(
                "All units of RBFNetClassifier are dead: no row of the training "
                "activates any of them. The rows are too far from the centers for "
                "their width; change width or n_centers, or fit anew.",
                ConvergenceWarning,
            )
        return {
            "class_profile_": found.profile.cpu().numpy().astype(np.float64),
            "nearest_rows_": data.number[found.nearest.cpu()].numpy().copy(),
            "_familiarity": found.familiarity.cpu().numpy().copy(),
        }

    def score_samples(self, X):
        r"""How familiar each row is: the largest exponent of all units.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        familiarity : ndarray of shape (n_samples,)
            :math:`\max_k -\frac12 \sum_j (x_{ij} - c_{kj})^2 / \sigma_{kj}^2`: 0 at a
            center, and the lower the stranger.
        """
        check_is_fitted(self)
        return self._collected(X, rbf_predict.familiarities, 1)[:, 0]

    def novelty(self, X):
        """How strange each row is: the share of training rows that are more familiar.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        novelty : ndarray of shape (n_samples,)
            From 0 to 1, in steps of a thousandth or more. About uniform for training
            rows; higher for new ones, and much higher where there are nearly as many
            units as rows. 1 for a row far from all units, whose prediction has nothing
            to rest on. Features that do not tell the classes apart hardly count.
        """
        # A training row is as familiar as itself, whatever the precision.
        familiarity = (1.0 - 1e-5) * self.score_samples(X)
        place = np.searchsorted(self._familiarity, familiarity, side="right")
        return 1.0 - place / len(self._familiarity)

    def explain(self, X, n_units=3):
        """The units that a prediction rests on most.

        The logit of the class that is predicted is a sum, of what every unit
        contributes and of the intercept (:eq:`eq-contribution` in the user guide).

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        n_units : int, default=3
            How many units to name, at most all of them.

        Returns
        -------
        explanation : :class:`~sklearn.utils.Bunch`
            With an entry for each row:

            - label : ndarray of shape (n_samples,), the class that is predicted
            - unit : ndarray of shape (n_samples, n_units), those of the largest
              contributions, by their size
            - activation : ndarray of shape (n_samples, n_units)
            - contribution : ndarray of shape (n_samples, n_units), to the logit; with
              two classes `decision_function` is the difference of two, twice the logit
            - rest : ndarray of shape (n_samples,), what the other units contribute
            - intercept : ndarray of shape (n_samples,)

        Raises
        ------
        TypeError, ValueError
            For a number of units that is no integer, or less than 1.
        """
        _, compute, rows, model = self._ready(X)
        check_scalar(n_units, "n_units", Integral, min_val=1)
        n_units = min(n_units, self._n_features_out)
        with torch_modes(), compute.limited_threads():
            found = [part for _, _, part in rbf_predict.explained(rows, model, n_units)]
        names = rbf_predict.Explained._fields
        whole = {
            name: np.concatenate([getattr(part, name).cpu().numpy() for part in found])
            for name in names
        }
        whole["label"] = self.classes_[whole["label"]]
        return Bunch(**whole)
