"""Observation of the training of an RBF network."""

import numpy as np

from skrbf._observe import FitObserver


class TrainingObserver(FitObserver):
    """Observer of the steps of a training."""

    fields = ("phase", "loss", "validation_score")

    def format_record(self, record):
        """Format a record for `verbose`."""
        held_out = record.validation_score
        score = "" if np.isnan(held_out) else f", validation score {held_out:.4f}"
        return f"loss {record.loss:.6g}{score}"
