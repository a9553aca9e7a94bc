"""Soft K-means as an estimator."""

from skrbf._soft_kmeans.estimator import SoftKMeans

__all__ = ["SoftKMeans"]
