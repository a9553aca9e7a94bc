import numpy as np
import pytest
import torch
from scipy import sparse

from skrbf.engine.data.device import Compute
from skrbf.engine.kmeans.problem import largest_variance


def table(X, memory):
    compute = Compute.resolve("cpu", torch.float64, work=0, memory_bytes=memory)
    if not sparse.issparse(X):
        return compute.dense(torch.from_numpy(X))
    parts = [torch.from_numpy(part) for part in (X.indptr, X.indices, X.data)]
    return compute.sparse(parts, X.shape[1])


def as_array(block):
    return block.to_dense().numpy()


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_blocks_are_the_rows_in_order(rng, kind):
    X = rng.normal(size=(101, 7)) * (rng.random((101, 7)) < 0.3)
    rows = table(kind(X), 8_000)
    blocks = list(rows.blocks(10))
    assert len(blocks) > 5
    assert [b[0] for b in blocks[1:]] == [b[1] for b in blocks[:-1]]
    np.testing.assert_array_equal(np.concatenate([as_array(b[2]) for b in blocks]), X)
    assert (rows.n_rows, rows.n_features) == X.shape


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_take_selects_rows(rng, kind):
    X = rng.normal(size=(50, 7)) * (rng.random((50, 7)) < 0.3)
    index = rng.integers(0, 50, 30)
    found = table(kind(X), 1 << 20).take(torch.from_numpy(index))
    np.testing.assert_array_equal(as_array(found), X[index])


def test_memory_bounds_the_blocks():
    for memory in (1_000, 100_000, 1 << 30):
        compute = Compute.resolve("cpu", torch.float32, work=0, memory_bytes=memory)
        assert compute.block_rows(10) * 10 * 4 <= max(memory / 8, 40)


def test_blocks_grow_with_the_threads_that_share_them(monkeypatch):
    rows = []
    for n_threads in (1, 2, 8, 64):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=n_threads: n)
        monkeypatch.setattr(
            "skrbf.engine.data.device.usable_cpus", lambda n=n_threads: n
        )
        many = {"work": 1 << 60, "memory_bytes": 1 << 40}
        compute = Compute.resolve("cpu", torch.float32, **many)
        rows.append(compute.block_rows(1))
    assert [each // rows[0] for each in rows] == [1, 2, 8, 8]


def test_the_device_is_checked():
    kwargs = {"work": 0, "memory_bytes": 1 << 20}
    with pytest.raises(ValueError, match=r"not a device.*'cpu'"):
        Compute.resolve("gpu", torch.float32, **kwargs)
    with pytest.raises(ValueError, match=r"xpu.*not available.*'cpu'"):
        Compute.resolve("xpu", torch.float32, **kwargs)
    fitted = Compute.resolve("xpu", torch.float32, **kwargs, fall_back=True)
    assert fitted.device.type == "cpu"
    assert "not available" in fitted.reason


def test_cuda_without_an_index_is_the_current_device(monkeypatch):
    """As in torch; the resolved device has an index."""
    cuda = {"is_available": True, "device_count": 3, "current_device": 1}
    for name, value in cuda.items():
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    kwargs = {"work": 0, "memory_bytes": 1 << 20}
    for asked, got in (("cuda", 1), ("cuda:0", 0), ("cuda:2", 2)):
        found = Compute.resolve(asked, torch.float32, **kwargs).device
        assert found == torch.device("cuda", got)


@pytest.mark.parametrize("d", [1, 3, 60])
def test_largest_variance(rng, make, d):
    X = rng.normal(size=(200, d)) * np.linspace(1, 3, d) + 1000
    weight = rng.random(200)
    expected = np.linalg.eigvalsh(np.cov(X.T, aweights=weight, bias=True).reshape(d, d))
    found = largest_variance(make(X, weight))
    assert found == pytest.approx(expected[-1], rel=1e-6)
