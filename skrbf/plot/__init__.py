"""Displays of fitted estimators, like those of scikit-learn; they need matplotlib."""

from skrbf.plot._annealing import AnnealingPathDisplay
from skrbf.plot._codes import CodesDisplay
from skrbf.plot._history import TrainingHistoryDisplay
from skrbf.plot._prototypes import PrototypesDisplay
from skrbf.plot._responsibilities import ResponsibilitiesDisplay

__all__ = [
    "AnnealingPathDisplay",
    "CodesDisplay",
    "PrototypesDisplay",
    "ResponsibilitiesDisplay",
    "TrainingHistoryDisplay",
]
