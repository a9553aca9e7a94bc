"""Settings of torch in a deep fit, and the rows that it trains on."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from skrbf.engine.data.training_data import prepare
from skrbf.engine.deep.fit import deterministic_convolutions


def test_convolutions_are_deterministic_and_settings_are_restored():
    cudnn = torch.backends.cudnn
    before = cudnn.enabled, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic
    with deterministic_convolutions(torch.device("cuda")):
        assert (cudnn.enabled, cudnn.allow_tf32) == before[:2]
        assert (cudnn.benchmark, cudnn.deterministic) == (False, True)
    now = cudnn.enabled, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic
    assert now == before


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_are_merged_sorted_and_scaled_by_one_number(dtype, compute):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 3)).astype(dtype) * 5 + 2
    weight = rng.integers(0, 3, 20).astype(float)

    def prepared(X, weight=None):
        weight = None if weight is None else torch.from_numpy(weight)
        rows = compute.dense(torch.from_numpy(X))
        return prepare(rows, None, weight, compute)[0]

    a = prepared(X, weight)
    b = prepared(rng.permutation(X.repeat(weight.astype(int), 0)))
    assert torch.equal(a.rows, b.rows)
    assert torch.equal(a.weight, b.weight)
    assert a.weight.mean() == pytest.approx(1)
    assert len(a.rows) == (weight > 0).sum()
    mean = np.average(X.astype(np.float64), axis=0, weights=weight)
    scale = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weight).mean())
    assert_allclose(a.scaling.mean, mean)
    assert_allclose(a.scaling.scale, scale)
    restored = a.rows.numpy() * scale + mean
    expected = np.sort(X[weight > 0], 0)
    assert_allclose(np.sort(restored, 0), expected, rtol=1e-5, atol=1e-5)
    other_unit = prepared((1024 * X).astype(dtype), weight)
    assert torch.equal(other_unit.rows, a.rows)
