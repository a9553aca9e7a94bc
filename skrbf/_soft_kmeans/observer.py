"""Observation of the steps of SoftKMeans."""

from skrbf._observe import FitObserver
from skrbf.engine.data.number_range import times_power_of_two


class StepObserver(FitObserver):
    """Observer of a fit whose weights were divided by a power of two.

    Parameters
    ----------
    estimator : SoftKMeans
    X, y, metadata : object
        Arguments of `fit`, for callbacks.
    n_features : int
    weight_exponent : int
        The weights as given are 2^weight_exponent times as large.
    """

    fields = ("phase", "temperature", "objective", "n_clusters")

    def __init__(self, estimator, X, y, metadata, n_features, weight_exponent):
        super().__init__(estimator, X, y, metadata, self._attributes_after)
        self.n_features = n_features
        self.weight_exponent = weight_exponent

    def __call__(self, record, state):
        """See one step, with its objective in the unit of the weights as given."""
        objective = times_power_of_two(record.objective, self.weight_exponent)
        return super().__call__(record._replace(objective=objective), state)

    def format_record(self, record):
        """Format a record for `verbose`."""
        return (
            f"objective {record.objective:.6g}, temperature {record.temperature:.4g}, "
            f"{record.n_clusters} clusters"
        )

    def _attributes_after(self, record, centers):
        """Collect the fitted attributes that prediction needs after a step."""
        return {
            "n_features_in_": self.n_features,
            "cluster_centers_": centers.cpu().numpy().copy(),
            "temperature_": record.temperature,
            "_assignment": self.estimator.assignment,
        }
