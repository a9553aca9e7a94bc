"""Observation of the epochs of a deep fit."""

import numpy as np

from skrbf._observe import FitObserver


class EpochObserver(FitObserver):
    """Observer of the epochs of a deep fit, which writes the checkpoint.

    ``attributes(state)`` returns the fitted attributes, except `history_`.
    """

    fields = (
        "phase",
        "loss",
        "reconstruction_loss",
        "clustering_loss",
        "scale_penalty",
        "label_change",
        "center_shift",
        "code_variance",
        "largest_cluster",
        "temperature",
        "learning_rate",
        "seconds",
    )
    unit = "epoch"

    def __init__(self, estimator, X, y, metadata, most_steps, attributes, checkpoint):
        super().__init__(estimator, X, y, metadata, self._attributes_at, most_steps)
        self._attributes_of_state = attributes
        self._checkpoint = checkpoint
        if checkpoint.saved is None:
            return
        self.records += checkpoint.saved["records"]
        if estimator.verbose:
            print(  # requested by verbose
                f"[{type(estimator).__name__}] resumes after epoch "
                f"{len(self.records)}, from {estimator.checkpoint}"
            )

    def see(self, step):
        """Record an epoch and save its state; True ends the fit."""
        stop = self(step.state.record, step.state)
        self._checkpoint.write(step.state, self.records)
        return stop

    def _attributes_at(self, record, state):
        """Compute the attributes of an estimator that would stop at a state."""
        return {**self._attributes_of_state(state), "history_": self.history()}

    def format_record(self, record):
        """Format a record for `verbose`."""
        if np.isnan(record.label_change):
            return f"loss {record.loss:.6g}"
        return (
            f"loss {record.loss:.6g}, reconstruction {record.reconstruction_loss:.4g}, "
            f"clustering {record.clustering_loss:.4g}, labels changed "
            f"{record.label_change:.2%}"
        )
