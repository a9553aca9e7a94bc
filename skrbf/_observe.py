"""Observation of a fit: its history, `verbose` and the callbacks of scikit-learn."""

from abc import ABC, abstractmethod

from skrbf._compat import begin_callbacks


class FitObserver(ABC):
    """Observer of a fit: keeps its history, prints it, and runs callbacks.

    The engine calls the observer after every step; the answer True ends the fit. For
    callbacks, ``attributes(record, state)`` returns the fitted attributes after a step.
    """

    fields: tuple[str, ...]  # of a record, in the history
    unit = "step"

    def __init__(self, estimator, X, y, metadata, attributes, max_steps=None):
        self.estimator = estimator
        self.records = []
        self.stopped = False
        self._fit_arguments = {"X": X, "y": y, "metadata": metadata}
        self._attributes = attributes
        self._context = begin_callbacks(estimator, X, y, metadata, max_steps)

    @abstractmethod
    def format_record(self, record):
        """Format a record for `verbose`."""

    def __call__(self, record, state):
        """Observe one step; return whether to stop."""
        if self.stopped:
            return True
        self.records.append(record)
        if self.estimator.verbose:
            print(  # only if verbose
                f"[{type(self.estimator).__name__}] {self.unit} {len(self.records)}, "
                f"{record.phase}: {self.format_record(record)}"
            )
        if self._context is None:
            return False
        step = self._context.subcontext(task_name=record.phase)
        step.call_on_fit_task_begin(estimator=self.estimator, **self._fit_arguments)
        self.stopped = step.call_on_fit_task_end(
            estimator=self.estimator,
            **self._fit_arguments,
            reconstruction_attributes=lambda: self._attributes(record, state),
        )
        return self.stopped

    def end(self, attributes):
        """End the root task of the callbacks with the fitted attributes."""
        if self._context is not None:
            self._context.call_on_fit_task_end(
                estimator=self.estimator,
                **self._fit_arguments,
                reconstruction_attributes=attributes,
            )

    def history(self):
        """Return the records as a dict of lists, one per field."""
        return {name: [getattr(r, name) for r in self.records] for name in self.fields}
