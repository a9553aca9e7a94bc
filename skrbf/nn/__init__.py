"""Layers and networks for torch models."""

from skrbf.nn.augment import RandomAffine
from skrbf.nn.autoencoder import Autoencoder, ConvAutoencoder, DenseAutoencoder
from skrbf.nn.rbf import RBFLayer, RBFNetwork
from skrbf.nn.soft_assignment import SoftAssignment

__all__ = [
    "Autoencoder",
    "ConvAutoencoder",
    "DenseAutoencoder",
    "RBFLayer",
    "RBFNetwork",
    "RandomAffine",
    "SoftAssignment",
]
