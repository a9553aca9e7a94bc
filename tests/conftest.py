"""Data sets, and a reference implementation in float64 numpy without skrbf."""

import importlib.util
import os
from pathlib import Path

import entmax
import joblib
import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.special import entr, logsumexp, softmax
from sklearn.datasets import load_digits, load_iris, load_wine, make_blobs
from threadpoolctl import threadpool_limits

# Callbacks need scikit-learn 1.9.
collect_ignore = (
    []
    if importlib.util.find_spec("sklearn.callback")
    else [
        "deep_centering/test_callbacks.py",
        "rbf_net/test_callbacks.py",
        "soft_kmeans/test_callbacks.py",
    ]
)
if not os.environ.get("SKRBF_SLOW"):
    collect_ignore.append("test_common_defaults.py")
# The site is built by `make -C doc html`, with the extra "doc".
if not (Path(__file__).parents[1] / "doc/_build/html/index.html").exists():
    collect_ignore.append("test_site.py")
if not all(map(importlib.util.find_spec, ("ipykernel", "nbclient", "sphinx_gallery"))):
    collect_ignore.append("test_notebooks.py")


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Use one thread: on small data a second one mostly waits."""
    with threadpool_limits(1):
        yield


def _aniso(n_samples, seed):
    X, _ = make_blobs(n_samples, centers=4, random_state=seed)
    return X @ [[0.6, -0.64], [-0.41, 0.85]]


def _blobs(n_samples, seed):
    X, _ = make_blobs(n_samples, 4, centers=6, cluster_std=2.0, random_state=seed)
    return X


def _uneven(n_samples, seed):
    sizes = n_samples * np.array([70, 15, 8, 4, 3]) // 100
    X, _ = make_blobs(
        sizes, 3, centers=None, cluster_std=[2, 1, 0.5, 1, 0.2], random_state=seed
    )
    return X


def _uniform(n_samples, seed):
    return np.random.default_rng(seed).uniform(size=(n_samples, 3))


_GENERATED = {"aniso": _aniso, "blobs": _blobs, "uneven": _uneven, "uniform": _uniform}
_LOADED = {"digits": load_digits, "iris": load_iris, "wine": load_wine}


@pytest.fixture
def make_data():
    """``make_data(name, n_samples=300, seed=0)``: an array (n, d) in float64."""

    def make(name, n_samples=300, seed=0):
        if name in _LOADED:
            return _LOADED[name]().data
        return _GENERATED[name](n_samples, seed)

    return make


class Reference:
    """Soft K-means by its definition."""

    @staticmethod
    def distances(X, centers):
        X, centers = np.asarray(X, np.float64), np.asarray(centers, np.float64)
        return ((X[:, None] - centers) ** 2).sum(2)  # (n, k)

    @classmethod
    def responsibilities(cls, X, centers, temperature, assignment="softmax"):
        d = cls.distances(X, centers)
        d -= d.min(axis=1, keepdims=True)
        if temperature == 0:
            return np.eye(len(centers))[d.argmin(axis=1)]
        if assignment == "softmax":
            return softmax(-d / temperature, axis=1)
        return getattr(entmax, assignment)(torch.from_numpy(-d / temperature)).numpy()

    @staticmethod
    def entropy(r, assignment="softmax"):
        """Entropy of the rows of r (n, k) that the assignment map maximizes."""
        if assignment == "softmax":
            return entr(r).sum(axis=1)
        if assignment == "entmax15":
            return 4 / 3 * (r - r**1.5).sum(axis=1)
        return (1 - (r**2).sum(axis=1)) / 2

    @staticmethod
    def critical_factor(n_clusters, assignment="softmax"):
        """Critical temperature of coincident centers, over that of softmax."""
        return n_clusters ** {"softmax": 0, "entmax15": 0.5, "sparsemax": 1}[assignment]

    @classmethod
    def free_energy(cls, X, centers, temperature, assignment="softmax", weight=None):
        d = cls.distances(X, centers)
        if temperature == 0:
            value = d.min(axis=1)
        elif assignment == "softmax":
            value = -temperature * logsumexp(-d / temperature, axis=1)
        else:
            r = cls.responsibilities(X, centers, temperature, assignment)
            value = (r * d).sum(axis=1) - temperature * cls.entropy(r, assignment)
        return float(value.sum() if weight is None else value @ weight)

    @classmethod
    def step(cls, X, centers, temperature, assignment="softmax", weight=None):
        """Centers after one more E-step and M-step."""
        r = cls.responsibilities(X, centers, temperature, assignment)
        if weight is not None:
            r = r * np.asarray(weight)[:, None]
        return r.T @ np.asarray(X, np.float64) / r.sum(axis=0)[:, None]

    @staticmethod
    def largest_variance(X, weight=None):
        """Largest eigenvalue of the weighted covariance."""
        cov = np.cov(np.asarray(X, np.float64).T, aweights=weight, ddof=0)
        return float(np.linalg.eigvalsh(np.atleast_2d(cov))[-1])


@pytest.fixture(scope="session")
def reference():
    return Reference


@pytest.fixture(scope="session")
def matched():
    """``matched(A, B)``: the rows of B in the order that matches those of A best."""

    def match(A, B):
        return B[linear_sum_assignment(Reference.distances(A, B))[1]]

    return match


@pytest.fixture(scope="session")
def fitted_state():
    """``fitted_state(estimator)``: a fingerprint of every attribute."""

    def state(estimator):
        return {
            name: id(value) if callable(value) else joblib.hash(value)
            for name, value in vars(estimator).items()
        }

    return state
