"""Public functions, compared with numpy, scipy and the kernels of the engine."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs

from skrbf import ops
from skrbf.nn import RBFLayer, SoftAssignment
from skrbf.ops.assignment import ASSIGNMENTS

maps = pytest.mark.parametrize("name", ASSIGNMENTS)
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_number_and_order_of_public_names():
    assert len(ops.__all__) <= 18
    assert sorted(ops.__all__) == ops.__all__
    for name in ops.__all__:
        assert not isinstance(getattr(ops, name), type)


@dtypes
@pytest.mark.parametrize("origin", [0.0, 1e4])
def test_squared_distances_far_from_the_origin(layout, sparse_array, dtype, origin):
    """The error is that of rounding the data. Sparse rows are not shifted."""
    if layout is not torch.from_numpy:
        origin = 0.0
    rows = layout(sparse_array + origin).to(dtype)
    centers = torch.from_numpy(sparse_array[:4] + origin + 0.5).to(dtype)
    dense = rows if rows.layout == torch.strided else rows.to_dense()
    expected = cdist(dense.double(), centers.double(), "sqeuclidean")
    found = ops.squared_distances(rows, centers)
    assert found.shape == (len(sparse_array), 4)
    assert found.dtype == dtype
    eps = torch.finfo(dtype).eps
    np.testing.assert_allclose(
        found, expected, rtol=20 * eps, atol=40 * eps * (1 + origin)
    )
    assert (found >= 0).all()


@maps
@dtypes
@given(
    k=st.integers(1, 40),
    n=st.integers(0, 6),
    size=st.floats(-3, 3),
    seed=st.integers(0, 999),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_maps_match_the_kernels(name, dtype, k, n, size, seed):
    z = (draw(n, k, seed=seed) * 10.0**size).to(dtype)
    expected = ASSIGNMENTS[name].function(z.t().double())[0].t()
    atol = 1e-5 if dtype == torch.float32 else 1e-11  # of the library
    for found in (
        getattr(ops, name)(z),
        getattr(ops, name)(z.t(), dim=0).t(),
        ops.responsibilities(-3.0 * z, 3.0, name),
    ):
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=atol)


@maps
def test_gradients_of_the_maps(name):
    z = draw(6, 5).requires_grad_()
    assert torch.autograd.gradcheck(getattr(ops, name), z)
    d = draw(6, 5).square().requires_grad_()
    assert torch.autograd.gradcheck(lambda d: ops.responsibilities(d, 0.7, name), d)


@maps
@dtypes
def test_responsibilities_at_any_temperature(name, dtype):
    d = draw(20, 4).square().to(dtype)
    nearest = torch.nn.functional.one_hot(d.argmin(1), 4).to(dtype)
    for temperature in (0, 0.0, 1e-300, 1e-30):
        assert torch.equal(ops.responsibilities(d, temperature, name), nearest)
    uniform = torch.full_like(d, 0.25)
    torch.testing.assert_close(ops.responsibilities(d, 1e30, name), uniform)
    leaf = d.clone().requires_grad_()
    ops.responsibilities(leaf, 1e-30, name)[:, 0].sum().backward()
    assert leaf.grad.isfinite().all()


@maps
def test_responsibilities_match_the_layer(name):
    rows, centers = draw(30, 3), draw(5, 3)
    found = ops.responsibilities(ops.squared_distances(rows, centers), 0.9, name)
    layer = SoftAssignment(centers, 0.9, name)
    torch.testing.assert_close(found, layer(rows).detach())


def test_invalid_arguments_raise():
    d = torch.ones(2, 3)
    with pytest.raises(ValueError, match=r"assignment must be one of .*'sparsemax'"):
        ops.responsibilities(d, 1.0, "hard")
    with pytest.raises(ValueError, match="assignment must be one of"):
        ops.critical_temperature(1.0, 2, "hard")
    for temperature in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="temperature must not be negative"):
            ops.responsibilities(d, temperature)


@pytest.mark.parametrize("shape", [(), (5, 1), (5, 3)])
@pytest.mark.parametrize("origin", [0.0, 1e5])
def test_gaussian_rbf_matches_the_layer(shape, origin):
    rows, centers, widths = draw(30, 3), draw(5, 3), draw(*shape).abs() + 0.5
    expected = RBFLayer(centers, widths)(rows).detach()
    found = ops.gaussian_rbf(rows + origin, centers + origin, widths)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    if not shape:
        found = ops.gaussian_rbf(rows, centers, float(widths))
        torch.testing.assert_close(found, expected)
    inputs = [one.clone().requires_grad_() for one in (rows[:6], centers, widths)]
    assert torch.autograd.gradcheck(ops.gaussian_rbf, inputs)


@pytest.mark.parametrize("weighted", [False, True])
def test_means_from_sums_of_batches(layout, sparse_array, weighted):
    n, k = len(sparse_array), 4
    r = torch.softmax(draw(n, k), 1)
    weight = draw(n).abs() if weighted else None
    sums = [torch.zeros(k).double(), torch.zeros(k, sparse_array.shape[1]).double()]
    for part in (slice(0, 25), slice(25, n)):
        share = None if weight is None else weight[part]
        more = ops.cluster_sums(r[part], layout(sparse_array[part]), share)
        sums = [one + other for one, other in zip(sums, more, strict=True)]
    w = r.numpy() if weight is None else (r * weight[:, None]).numpy()
    expected = w.T @ sparse_array / w.sum(0)[:, None]
    fallback = torch.zeros(k, sparse_array.shape[1], dtype=torch.float64)
    np.testing.assert_allclose(ops.cluster_means(*sums, fallback), expected)


def test_cluster_without_weight_keeps_its_center():
    rows, fallback = draw(10, 2).requires_grad_(), draw(3, 2)
    r = torch.zeros(10, 3, dtype=torch.float64)
    r[:, 1] = 1.0
    found = ops.cluster_means(*ops.cluster_sums(r, rows), fallback)
    assert torch.equal(found[[0, 2]], fallback[[0, 2]])
    found.sum().backward()
    torch.testing.assert_close(rows.grad, torch.full_like(rows.grad, 0.1))


def test_kmeans_from_public_functions():
    """K-means from public functions reaches the fixed point of scikit-learn."""
    X, _ = make_blobs(300, 4, centers=5, random_state=0)
    rows = torch.from_numpy(X)
    start = rows[ops.kmeans_plusplus(rows, 5, torch.Generator().manual_seed(0))]
    centers = start
    for _ in range(50):
        d = ops.squared_distances(rows, centers)
        r = ops.responsibilities(d, 0.0)
        centers = ops.cluster_means(*ops.cluster_sums(r, rows), centers)
    expected = KMeans(5, init=start.numpy(), n_init=1, tol=0).fit(X)
    np.testing.assert_allclose(centers, expected.cluster_centers_)
    assert float(ops.distance_loss(d, r).sum()) == pytest.approx(expected.inertia_)


def test_rows_without_weight_are_never_chosen():
    rows, weight = draw(40, 3), (torch.arange(40) % 4 == 0).double()
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        chosen = ops.kmeans_plusplus(
            rows.requires_grad_(), 8, generator, weight.requires_grad_()
        )
        assert len(set(chosen.tolist())) == 8
        assert (chosen % 4 == 0).all()


def test_losses_match_their_definitions():
    codes, centers = draw(12, 3), draw(4, 3)
    d = ops.squared_distances(codes, centers)
    r = ops.softmax(-d)
    soft = torch.stack([(r[i] * d[i]).sum() for i in range(12)])
    torch.testing.assert_close(ops.distance_loss(d, r), soft)
    norms = torch.linalg.vector_norm(codes, dim=1) ** 2
    torch.testing.assert_close(ops.regularized_loss(codes, d, r), soft - norms)
    inside = torch.linalg.vector_norm(codes - r @ centers, dim=1) ** 2
    torch.testing.assert_close(ops.centroid_loss(codes, centers, r), inside)
    variance = codes.var(0, correction=0).sum()
    drift = (variance.sqrt() / 2 - 1) ** 2
    torch.testing.assert_close(ops.scale_penalty(codes, 4.0), drift)


@maps
def test_critical_temperatures(name):
    factor = {"softmax": 1, "entmax15": 3, "sparsemax": 9}[name]
    assert ops.critical_temperature(0.5, 9, name) == factor
