"""Deep clustering as an estimator."""

from skrbf._deep_centering.estimator import DeepCenteringClustering

__all__ = ["DeepCenteringClustering"]
