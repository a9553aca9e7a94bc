"""Observation of the epochs of a deep fit."""

import numpy as np

from skrbf._observe import FitObserver


class EpochObserver(FitObserver):
    """Follow the epochs of an autoencoder."""

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

    def resume(self, records):
        """Go on from those of a fit that was interrupted."""
        self.records += records
        if self.estimator.verbose:
            print(
                f"[{type(self.estimator).__name__}] goes on after epoch "
                f"{len(records)}, from {self.estimator.checkpoint}"
            )

    def format_record(self, record):
        """Format a record for `verbose`."""
        if np.isnan(record.label_change):
            return f"loss {record.loss:.6g}"
        return (
            f"loss {record.loss:.6g}, reconstruction {record.reconstruction_loss:.4g}, "
            f"clustering {record.clustering_loss:.4g}, labels changed "
            f"{record.label_change:.2%}"
        )
