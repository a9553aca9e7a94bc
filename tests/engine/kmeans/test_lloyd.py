import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.cluster import KMeans

from skrbf.engine.kmeans.lloyd import assign, lloyd, update
from skrbf.engine.kmeans.problem import center_rows

# One block and several, with few and many clusters.
SIZES = [(60, 3, 7), (9000, 3, 40), (3000, 4, 210)]


def numpy_sums(X, labels, weight, k):
    one_hot = np.eye(k)[labels] * weight[:, None]
    return one_hot.sum(0), one_hot.T @ X


@pytest.mark.parametrize(("n", "d", "k"), SIZES)
@pytest.mark.parametrize("weighted", [False, True])
def test_assign_agrees_with_numpy(rng, make, n, d, k, weighted):
    X = rng.normal(size=(n, d)) + 100
    weight = rng.random(n) if weighted else np.ones(n)
    problem = make(X, weight if weighted else None)
    partition = assign(problem, torch.from_numpy(X[:k]))
    distances = ((X[:, None] - X[:k]) ** 2).sum(2)
    np.testing.assert_array_equal(partition.labels, distances.argmin(1))
    weights, totals = numpy_sums(X, distances.argmin(1), weight, k)
    np.testing.assert_allclose(partition.weight, weights, rtol=1e-12)
    np.testing.assert_allclose(partition.total, totals, rtol=1e-12)


@pytest.mark.parametrize(("n", "d", "k"), SIZES)
@pytest.mark.parametrize("weighted", [False, True])
def test_lloyd_agrees_with_scikit_learn(rng, make, distortion, n, d, k, weighted):
    X = rng.normal(size=(n, d))
    weight = rng.random(n) if weighted else None
    problem = make(X, weight)
    found = lloyd(problem, assign(problem, torch.from_numpy(X[:k])), 500)
    expected = KMeans(k, init=X[:k], n_init=1, tol=0, max_iter=500)
    expected.fit(X, sample_weight=weight)
    assert found.converged
    partition, means = found.state
    np.testing.assert_array_equal(partition.labels, expected.labels_)
    np.testing.assert_allclose(found.objective, expected.inertia_, rtol=1e-9)
    centers = partition.centers
    np.testing.assert_allclose(centers, expected.cluster_centers_, rtol=1e-9)
    np.testing.assert_array_equal(means, centers)
    assert distortion(X, centers, weight) == pytest.approx(found.objective, rel=1e-9)


def test_blocks_do_not_change_the_result(rng, make):
    X = rng.normal(size=(4000, 3))
    start = torch.from_numpy(X[:30])
    whole, small = make(X), make(X, memory=30_000)
    assert len(list(small.rows.blocks(30))) > 100
    a = lloyd(whole, assign(whole, start), 100)
    b = lloyd(small, assign(small, start), 100)
    np.testing.assert_array_equal(a.state[0].labels, b.state[0].labels)
    assert a.n_iter == b.n_iter
    torch.testing.assert_close(a.state[0].centers, b.state[0].centers)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 9))
def test_the_distortion_of_an_update_agrees_with_the_rows(seed, k):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(30, 2)) + 50
    weight = rng.random(30)
    problem = _problem(X, weight)
    partition = assign(problem, torch.from_numpy(X[:k]))
    centers, found = update(problem, partition)
    expected = weight @ ((X - centers.numpy()[partition.labels]) ** 2).sum(1)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def _problem(X, weight):
    from skrbf.engine.data.device import Compute
    from skrbf.engine.kmeans.problem import make_problem

    compute = Compute.resolve("cpu", torch.float64, work=0, memory_bytes=1 << 30)
    rows = compute.dense(torch.from_numpy(X))
    return make_problem(rows, compute.tensor(weight), compute)


@pytest.mark.parametrize("weighted", [False, True])
def test_centering_does_not_change_the_result(rng, make, weighted):
    X = rng.normal(size=(2000, 3)) + 1e3
    whole = make(X, rng.random(2000) if weighted else None)
    moved = center_rows(whole)
    start = torch.from_numpy(X[:9])
    a = lloyd(whole, assign(whole, start), 100)
    b = lloyd(moved, assign(moved, start - whole.origin), 100)
    assert moved.offset is None
    assert (whole.origin - whole.mean).abs().max() < 1  # a standard deviation
    np.testing.assert_allclose(moved.rows.data, X - whole.origin.numpy())
    np.testing.assert_array_equal(a.state[0].labels, b.state[0].labels)
    np.testing.assert_allclose(a.state[1], b.state[1] + whole.origin)
    assert a.objective == pytest.approx(b.objective, rel=1e-8)
    np.testing.assert_array_equal(whole.rows.data, X)  # a copy was moved


def test_large_and_sparse_tables_are_not_copied(rng, make):
    X = rng.normal(2.0, size=(200, 3))
    problem = make(sparse.csr_array(X))
    assert center_rows(problem).rows is problem.rows
    problem = make(X)
    assert center_rows(problem, max_copied=599).rows is problem.rows
    assert center_rows(problem, max_copied=600).rows is not problem.rows


@pytest.mark.parametrize("weighted", [False, True])
def test_large_tables_far_from_the_origin_are_centered_by_blocks(rng, make, weighted):
    X = rng.normal([1e4, -1e5, 0], size=(2000, 3)).astype(np.float32)
    weight = rng.random(2000).astype(np.float32) if weighted else None
    problem = make(X, weight)
    copied, by_blocks = center_rows(problem), center_rows(problem, max_copied=0)
    assert by_blocks.rows.rows is problem.rows
    index = torch.arange(0, 2000, 7)
    assert torch.equal(by_blocks.rows.take(index), copied.rows.take(index))
    start = torch.from_numpy(X[:9]) - problem.origin
    a, b = (lloyd(p, assign(p, start), 100) for p in (copied, by_blocks))
    assert torch.equal(a.state[0].labels, b.state[0].labels)
    assert torch.equal(a.state[1], b.state[1])


def test_an_empty_cluster_takes_the_farthest_row(make):
    X = np.array([[0.0], [1.0], [2.0], [50.0]])
    problem = make(X)
    start = assign(problem, torch.tensor([[1.0], [200.0]], dtype=torch.float64))
    assert start.weight.tolist() == [4, 0]
    found = lloyd(problem, start, 10)
    assert found.state[0].centers[:, 0].tolist() == [1, 50]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_no_cluster_is_filled_with_the_only_row_of_another(make, seed, weighted):
    """Nearly as many clusters as rows, from starts that leave many empty."""
    rng = np.random.default_rng(seed)
    X, weight = rng.normal(size=(60, 6)), rng.uniform(0.1, 2.0, 60)
    problem = make(X, weight) if weighted else make(X)
    start = assign(problem, torch.from_numpy(rng.normal(size=(57, 6))))
    assert (start.weight == 0).sum() > 15
    found = lloyd(problem, start, 100)
    assert len(found.state[0].labels.unique()) == 57
    assert found.converged


def test_copies_of_a_row_fill_one_cluster_only(make):
    X = np.array([[0.0], [0.0], [10.0], [10.0], [10.0]])  # mean 6: nothing rounds
    problem = make(X)
    start = assign(problem, torch.tensor([[0.0], [100.0], [200.0]]).double())
    found = lloyd(problem, start, 10)
    assert sorted(found.state[0].weight.tolist()) == [0, 2, 3]
    assert found.objective == pytest.approx(0, abs=1e-12)


def test_a_run_that_cannot_reach_its_target_gives_up(rng, make):
    X = rng.normal(size=(3000, 2))
    problem = make(X)
    start = assign(problem, torch.from_numpy(X[:20]))
    free = lloyd(problem, start, 300)
    beaten = lloyd(problem, start, 300, target_distortion=0.5 * free.objective)
    assert beaten.n_iter < free.n_iter / 2
    assert not beaten.converged


def test_the_last_iteration_may_confirm_the_labels(rng, make):
    X = rng.normal(size=(60, 2))
    problem = make(X)
    start = assign(problem, torch.from_numpy(X[:3]))
    free = lloyd(problem, start, 300)
    for max_iter in (free.n_iter, free.n_iter - 1):
        found = lloyd(problem, start, max_iter)
        assert found.converged
        assert found.n_iter == max_iter
