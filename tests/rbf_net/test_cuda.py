"""Test RBFNetClassifier on a GPU against the CPU."""

import pickle

import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits

from skrbf import RBFNetClassifier

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("assignment", [None, "softmax", "entmax15", "sparsemax"])
def test_cuda_is_the_cpu(assignment, solver):
    X, y = load_digits(return_X_y=True)
    params = {"assignment": assignment, "solver": solver, "random_state": 0}
    cpu, gpu, again = (
        RBFNetClassifier(60, device=device, **params).fit(X, y)
        for device in ("cpu", "cuda", "cuda")
    )
    assert_array_equal(gpu.centers_, again.centers_)
    assert gpu.loss_ == pytest.approx(cpu.loss_, rel=0.2)
    assert gpu.score(X, y) == pytest.approx(cpu.score(X, y), abs=0.02)
    back = pickle.loads(pickle.dumps(gpu)).set_params(device="cpu")
    assert_allclose(back.predict_proba(X), gpu.predict_proba(X), atol=1e-5)
