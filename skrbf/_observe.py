"""Observation of a fit: its history, `verbose` and the callbacks of scikit-learn."""

from skrbf._compat import begin_callbacks


class FitObserver:
    """Follow a fit: keep its history, print it, and pass it to callbacks.

    Called by the engine after every step; the answer True ends the fit.
    """

    fields: tuple[str, ...] = ("phase", "temperature", "objective", "n_clusters")
    unit = "step"

    def __init__(self, estimator, X, y, metadata, attributes, most_steps=None):
        self.estimator = estimator
        self.records = []
        self.stopped = False
        self._given = {"X": X, "y": y, "metadata": metadata}
        self._attributes = attributes
        self._context = begin_callbacks(estimator, X, y, metadata, most_steps)

    def format_record(self, record):
        """Format a record for `verbose`."""
        return (
            f"objective {record.objective:.6g}, temperature {record.temperature:.4g}, "
            f"{record.n_clusters} clusters"
        )

    def __call__(self, record, state):
        """See one step."""
        if self.stopped:
            return True
        self.records.append(record)
        if self.estimator.verbose:
            print(  # asked for by verbose
                f"[{type(self.estimator).__name__}] {self.unit} {len(self.records)}, "
                f"{record.phase}: {self.format_record(record)}"
            )
        if self._context is None:
            return False
        step = self._context.subcontext(task_name=record.phase)
        step.call_on_fit_task_begin(estimator=self.estimator, **self._given)
        self.stopped = step.call_on_fit_task_end(
            estimator=self.estimator,
            **self._given,
            reconstruction_attributes=lambda: self._attributes(record, state),
        )
        return self.stopped

    def end(self, attributes):
        """End the root task, with the fitted attributes."""
        if self._context is not None:
            self._context.call_on_fit_task_end(
                estimator=self.estimator,
                **self._given,
                reconstruction_attributes=attributes,
            )

    def history(self):
        """The records as a dict of lists, one for each field."""
        return {name: [getattr(r, name) for r in self.records] for name in self.fields}
