"""RBF networks as estimators."""

from skrbf._rbf_net.classifier import RBFNetClassifier

__all__ = ["RBFNetClassifier"]
