"""Layers for torch models of your own."""

from skrbf.nn.rbf import RBFLayer, RBFNetwork
from skrbf.nn.soft_assignment import SoftAssignment

__all__ = ["RBFLayer", "RBFNetwork", "SoftAssignment"]
