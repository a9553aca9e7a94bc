"""SoftKMeans on a GPU: the CPU's results, bitwise repeatable."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from skrbf import SoftKMeans

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
KINDS = {
    "softmax": {"temperature": 0.05},
    "entmax15": {"temperature": 0.05, "assignment": "entmax15"},
    "sparsemax": {"temperature": 0.05, "assignment": "sparsemax"},
    "hard": {"temperature": 0},
    "auto": {},
}
all_kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("container", [np.asarray, csr_array])
@all_kinds
def test_cuda_agrees_with_the_cpu(make_data, kind, container, dtype):
    X = container(make_data("blobs", 2000).astype(dtype))
    weight = np.random.default_rng(0).exponential(size=2000)
    cpu, gpu = (
        SoftKMeans(6, device=device, **kind).fit(X, sample_weight=weight)
        for device in ("cpu", "cuda")
    )

    assert_array_equal(gpu.labels_, cpu.labels_)
    assert_allclose(gpu.cluster_centers_, cpu.cluster_centers_, rtol=1e-4, atol=1e-4)
    assert_allclose(gpu.predict_proba(X), cpu.predict_proba(X), atol=1e-3)
    assert type(gpu.cluster_centers_) is np.ndarray
    assert gpu.cluster_centers_.dtype == dtype


@pytest.mark.parametrize("init", ["grow", "k-means++"])
@all_kinds
def test_cuda_is_repeatable(make_data, kind, init):
    X = make_data("blobs", 20_000).astype(np.float32)
    params = {"n_clusters": 10, "device": "cuda", "init": init, "random_state": 0}
    a, b = (SoftKMeans(**params, **kind).fit(X) for _ in "ab")

    assert_array_equal(a.cluster_centers_, b.cluster_centers_)
    assert_array_equal(a.labels_, b.labels_)
    assert a.objective_ == b.objective_
    assert_array_equal(a.predict_proba(X), b.predict_proba(X))


def test_tensors_on_the_gpu(make_data):
    X = make_data("blobs", 2000)
    a = SoftKMeans(6, device="cuda").fit(X)
    b = SoftKMeans(6, device="cuda").fit(torch.from_numpy(X).cuda())
    assert_array_equal(a.labels_, b.labels_)
    assert_array_equal(a.predict_proba(X), b.predict_proba(torch.tensor(X).cuda()))
