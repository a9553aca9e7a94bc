"""K-means of codes, and the order of its clusters."""

import numpy as np
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.cluster import KMeans

from skrbf.engine.deep.center_updates import kmeans_centers, match_labels
from skrbf.engine.deep.codes import encode_all

K = 4  # as in conftest.py


def test_k_means_of_codes_agrees_with_scikit_learn(data, module, compute):
    codes, weight = encode_all(module, data), data.weight.numpy()
    centers, cluster_weights = kmeans_centers(codes, data.weight, K, compute)
    best = KMeans(K, n_init=30, random_state=0).fit(codes.numpy(), None, weight)
    d = ((codes.numpy()[:, None] - centers.numpy()) ** 2).sum(2)
    assert d.min(1) @ weight <= 1.001 * best.inertia_
    assert_allclose(cluster_weights, np.bincount(d.argmin(1), weight), rtol=1e-6)
    start = codes[:K]
    lloyd, _ = kmeans_centers(codes, data.weight, K, compute, start)
    same = KMeans(K, init=start.numpy(), n_init=1, tol=0)
    same.fit(codes.numpy(), None, weight)
    assert_allclose(np.sort(lloyd, 0), np.sort(same.cluster_centers_, 0), atol=1e-8)


def test_matching_undoes_a_permutation():
    rng = np.random.default_rng(0)
    before, order = rng.integers(0, 5, 200), rng.permutation(5)
    after = order[before]
    after[:20] = rng.integers(0, 5, 20)
    labels = torch.from_numpy(before), torch.from_numpy(after)
    assert_array_equal(match_labels(*labels, torch.ones(200), 5), order)
    heavy = torch.where(torch.arange(200) < 20, 1e6, 1.0)
    weighted = match_labels(*labels, heavy, 5)
    assert not np.array_equal(weighted, order)
    assert sorted(weighted.tolist()) == list(range(5))
