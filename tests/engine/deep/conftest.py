"""A small training, and references in plain numpy and torch."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from skrbf.engine.data.device import Compute
from skrbf.engine.data.scaling import Scaling
from skrbf.engine.data.training_data import TrainingData
from skrbf.engine.deep.codes import encode_all
from skrbf.engine.deep.config import ClusteringConfig, TrainingConfig
from skrbf.engine.deep.epochs import clustering
from skrbf.engine.deep.fit import start_clustering
from skrbf.nn import DenseAutoencoder
from skrbf.ops.assignment import ASSIGNMENTS
from skrbf.ops.centering import CENTERING_LOSSES

N, D, C, K = 60, 6, 3, 4


@pytest.fixture
def generator():
    """``generator(seed=0)``: a generator on the CPU."""

    def make(seed=0):
        return torch.Generator().manual_seed(seed)

    return make


@pytest.fixture
def training():
    """``training(**changes)``: settings of the training of the network."""

    def make(**changes):
        settings = {
            "pretrain_epochs": 1,
            "batch_size": 100,
            "learning_rate": 0.01,
            "denoising": 0.0,
            "augment": None,
            "has_user_code": False,
        }
        return TrainingConfig(**settings | changes)

    return make


@pytest.fixture
def config():
    """``config(**changes)``: settings of the clustering of the codes."""

    def make(**changes):
        settings = {
            "n_epochs": 10,
            "n_clusters": K,
            "weight": 0.7,
            "temperature": 0.2,
            "assignment": ASSIGNMENTS["softmax"],
            "loss": CENTERING_LOSSES["distance"],
            "penalize_scale": True,
            "differentiate_assignments": False,
            "assign_once_per_epoch": False,
            "reinit_interval": None,
            "grow_centers": False,
            "weight_reset": None,
            "tol": 0.0,
        }
        return ClusteringConfig(**settings | changes)

    return make


@pytest.fixture
def compute():
    return Compute.resolve("cpu", torch.float64, work=0, memory_bytes=1 << 30)


@pytest.fixture
def make_training_data(compute):
    """``make_training_data(rows, weight)``: rows as they are, all taken as distinct."""

    def make(rows, weight, compute=compute):
        n, d = rows.shape
        index = torch.arange(n)
        scaling = Scaling(torch.zeros(d).double(), torch.ones(d).double())
        return TrainingData(rows, 0 * index, weight, index, n, n, scaling, compute)

    return make


@pytest.fixture
def data(make_training_data):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(N, D)) + 3 * rng.integers(0, 2, size=(N, D))
    weight = rng.integers(1, 4, N).astype(float)
    return make_training_data(
        torch.from_numpy(rows - rows.mean(0)), torch.from_numpy(weight / weight.mean())
    )


@pytest.fixture
def module(generator):
    return DenseAutoencoder(D, C, (8,), generator=generator()).double()


@pytest.fixture
def clusters(data, module):
    """Poor centers and arbitrary weights of their clusters."""
    codes = encode_all(module, data)
    return codes[[3, 11, 29, 50]] + 0.1, torch.tensor([5.0, 9.0, 2.0, 7.0]).double()


@pytest.fixture
def start(data, generator):
    """``start(module, clusters, config, training)``: a copy before its first epoch."""

    def make(module, clusters, config, training, seed=0):
        centers, weights = clusters
        state = start_clustering(
            copy.deepcopy(module), generator(seed), data, training, config, centers
        )
        summary = state.summary._replace(cluster_weights=weights)
        return state._replace(summary=summary)

    return make


@pytest.fixture
def one_epoch(data, start, training, config):
    """``one_epoch(module, clusters, **changes)``: the state of a copy after an epoch.

    The changes are of the settings of the clustering.
    """

    def run(module, clusters, network=None, initial_variance=None, **changes):
        network, settings = network or training(), config(**changes)
        state = start(module, clusters, settings, network, seed=7)
        if initial_variance is not None:
            state = state._replace(initial_variance=initial_variance)
        return next(clustering(state, data, network, settings)).state

    return run


def _responsibilities(codes, centers, temperature):
    """Squared distances and softmax responsibilities (n, k), one-hot at 0."""
    distances = (codes[:, None] - centers).square().sum(2)
    if temperature == 0:
        label = distances.argmin(1)
        return distances, torch.nn.functional.one_hot(label, len(centers)).to(distances)
    return distances, torch.softmax(-distances / temperature, 1)


def _moments(codes, weight):
    """Total variance, and largest variance along any direction."""
    share = (weight / weight.sum()).numpy()
    covariance = np.cov(codes.detach().numpy().T, aweights=share, ddof=0)
    return np.trace(covariance), np.linalg.eigvalsh(covariance)[-1]


def _squared_shift(before, after):
    """Mean squared shift of centers."""
    return np.square(after.numpy() - before.numpy()).sum(1).mean()


def _assert_same_parameters(module, expected, tolerance=1e-9):
    pairs = zip(module.parameters(), expected.parameters(), strict=True)
    for parameter, other in pairs:
        torch.testing.assert_close(parameter, other, rtol=tolerance, atol=tolerance)


@pytest.fixture
def reference():
    """Plain functions: responsibilities, moments, squared_shift, assert_same."""
    return SimpleNamespace(
        responsibilities=_responsibilities,
        moments=_moments,
        squared_shift=_squared_shift,
        assert_same=_assert_same_parameters,
    )
