"""Layers for torch models of your own."""

from skrbf.nn.soft_assignment import SoftAssignment

__all__ = ["SoftAssignment"]
