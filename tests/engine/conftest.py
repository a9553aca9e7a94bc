import numpy as np
import pytest
import torch

from skrbf.engine.data.device import Compute
from skrbf.engine.kmeans.problem import make_problem


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def make():
    """``make(X, weight=None, memory=1 << 30)``: the problem of an array or CSR."""

    def problem(X, weight=None, memory=1 << 30):
        sparse = hasattr(X, "indptr")
        values = X.data if sparse else X
        compute = Compute.resolve(
            "cpu", torch.from_numpy(values[:0]).dtype, work=0, memory_bytes=memory
        )
        if sparse:
            parts = [torch.from_numpy(part) for part in (X.indptr, X.indices, X.data)]
            rows = compute.sparse(parts, X.shape[1])
        else:
            rows = compute.dense(torch.from_numpy(X))
        weight = None if weight is None else compute.tensor(weight)
        return make_problem(rows, weight, compute)

    return problem


@pytest.fixture
def distortion():
    """Weighted squared distances to the nearest center, in plain numpy."""

    def total(X, centers, weight=None):
        X, centers = np.asarray(X, np.float64), np.asarray(centers, np.float64)
        nearest = ((X[:, None] - centers) ** 2).sum(2).min(1)
        return nearest.sum() if weight is None else weight @ nearest

    return total
