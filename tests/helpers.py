"""Classes and functions that several test modules import."""

import numpy as np
import torch
from torch import nn

from skrbf.nn import Autoencoder


def generator(seed=0):
    """Return a seeded torch generator on the CPU."""
    return torch.Generator().manual_seed(seed)


def with_value(X, value):
    """Return a copy of `X` with one entry replaced."""
    X = X.copy()
    X[7, 1] = value
    return X


def poor_autoencoder(n_features, n_components):
    """Return an autoencoder whose output is one standard deviation off everywhere."""
    module = Autoencoder(
        nn.Linear(n_features, n_components), nn.Linear(n_components, n_features)
    )
    nn.init.zeros_(module.decoder.weight)
    nn.init.ones_(module.decoder.bias)
    return module


class Interrupting:
    """Augmentation by noise that raises KeyboardInterrupt once, after `left` batches.

    The batches left are no part of its state, so they do not tell two apart.
    """

    def __init__(self, noise=0.1, left=np.inf):
        self.noise, self.left = noise, left

    def __getstate__(self):
        return {"noise": self.noise}

    def __setstate__(self, state):
        self.__init__(**state)

    def __call__(self, rows):
        self.left -= 1
        if self.left == -1:
            raise KeyboardInterrupt
        return rows + self.noise * torch.randn_like(rows) if self.noise else rows


class Steps:
    """Callback that keeps the estimator after each step, and stops or raises at one."""

    def __init__(self, stop=None, error=None):
        self.stop, self.error, self.taken, self.names = stop, error, [], []
        self.most = None

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.parent is None:
            self.most = context.max_subtasks
            return False
        self.taken.append(fitted_estimator)
        self.names.append(context.task_name)
        if len(self.taken) == self.stop and self.error:
            raise self.error
        return len(self.taken) == self.stop

    def teardown(self, estimator, context):
        pass
