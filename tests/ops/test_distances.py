import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from skrbf.ops.distances import (
    append_bias_column,
    argmax_from_mask,
    augmented_centers,
    inner_products,
    min_and_argmin,
    paired_products,
    paired_squared_distances,
    relative_distances,
    squared_distances,
    squared_norms,
)

TOLERANCE = {torch.float32: 2e-6, torch.float64: 4e-15}


@pytest.fixture
def centers(rng):
    return torch.from_numpy(rng.normal(size=(5, 7)))


def test_inner_products_and_norms(layout, sparse_array, centers):
    rows = layout(sparse_array)
    expected = centers.numpy() @ sparse_array.T
    np.testing.assert_allclose(inner_products(centers, rows), expected, atol=1e-14)
    expected = (sparse_array**2).sum(1)
    np.testing.assert_allclose(squared_norms(rows), expected, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("with_offset", [False, True])
def test_distances_match_scipy(layout, sparse_array, centers, dtype, with_offset):
    rows, centers = layout(sparse_array).to(dtype), centers.to(dtype)
    offset = torch.linspace(-1, 1, 7, dtype=dtype) if with_offset else None
    origin = np.zeros((1, 7)) if offset is None else offset.double()[None].numpy()
    array = sparse_array.astype(centers.numpy().dtype).astype(np.float64)
    expected = cdist(centers.double(), array, "sqeuclidean")  # (k, n)
    constant = cdist(origin, array, "sqeuclidean")  # (1, n)
    tolerance = {"atol": 30 * TOLERANCE[dtype], "rtol": TOLERANCE[dtype]}

    true = squared_distances(centers, rows, offset)
    assert true.dtype == dtype
    np.testing.assert_allclose(true, expected, **tolerance)
    relative = relative_distances(centers, rows, offset)
    np.testing.assert_allclose(relative, expected - constant, **tolerance)
    scaled = relative_distances(centers, rows, offset, scale=-0.25)
    np.testing.assert_allclose(scaled, -0.25 * (expected - constant), **tolerance)


def test_offset_keeps_the_digits_of_data_far_from_the_origin(rng):
    offset = np.full(16, 3000.0, np.float32)
    array = (offset + rng.normal(size=(200, 16))).astype(np.float32)
    centers = (offset + rng.normal(size=(4, 16))).astype(np.float32)
    exact = cdist(centers.astype(float), array.astype(float), "sqeuclidean")
    exact -= exact[0]  # differences between centers, all that an assignment sees

    def error(offset):
        found = relative_distances(
            torch.from_numpy(centers), torch.from_numpy(array), offset
        )
        return np.abs((found - found[0]).double().numpy() - exact).max()

    # Whatever their order, the d + 2 sums of a distance round by eps / 2 of the terms,
    # 2 x . (c - o) and 2 o . (c - o), and this is a difference of two distances.
    terms = 4 * np.abs(array).max() * np.abs(centers - offset).sum(1).max()
    rounding = 2 * (16 + 2) * np.finfo(np.float32).eps / 2 * terms
    assert error(torch.from_numpy(offset)) < rounding < 1
    # Without the offset a term is |c|^2, where neighbors in float32 are 8 apart.
    assert error(None) > 1


def test_rows_are_not_written_to(layout, sparse_array, centers):
    rows = layout(sparse_array.copy())
    before = rows.to_dense().clone()
    relative_distances(centers, rows, centers[0])
    squared_distances(centers, rows, centers[0])
    paired_squared_distances(centers, rows, torch.zeros(60, dtype=torch.long))
    assert torch.equal(rows.to_dense(), before)


@given(
    seed=st.integers(0, 2**32 - 1),
    exponent=st.integers(-3, 6),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 20), st.integers(1, 9)),
)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_distances_are_not_negative_and_tiny_between_equal_points(
    seed, exponent, shape
):
    k, n, d = shape
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(n + k, d, generator=generator) + 10.0**exponent
    offset = rows.mean(0)
    distances = squared_distances(rows[:k], rows, offset)  # (k, n + k)
    assert (distances >= 0).all()
    # Up to rounding the data to float32: eps |o| |c - o|, and eps of the squares.
    scale = (rows - offset).square().sum(1).amax()
    slack = 16 * 1.2e-7 * d * (10.0**exponent * scale.sqrt() + scale)
    assert (distances.diagonal() <= slack).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_paired_distances(layout, sparse_array, centers, dtype, rng):
    rows, centers = layout(sparse_array).to(dtype), centers.to(dtype)
    labels = torch.from_numpy(rng.integers(5, size=60))
    array = sparse_array.astype(centers.numpy().dtype).astype(np.float64)
    expected = ((array - centers.double().numpy()[labels]) ** 2).sum(1)
    found = paired_squared_distances(centers, rows, labels)
    assert found.dtype == torch.float64
    rtol = 1e-6 if dtype == torch.float32 else 1e-13
    np.testing.assert_allclose(found, expected, rtol=rtol)
    found = paired_squared_distances(centers, rows, labels, torch.float32)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_paired_distances_are_exact_differences_for_dense_rows():
    rows = torch.tensor([[1e6, 1e6], [1e6 + 1, 1e6]])
    labels = torch.tensor([0, 0])
    found = paired_squared_distances(rows[:1], rows, labels)
    assert found.tolist() == [0.0, 1.0]


def test_gradient_with_respect_to_centers(rng):
    rows = torch.from_numpy(rng.normal(size=(6, 3)))
    centers = torch.from_numpy(rng.normal(size=(2, 3))).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda c: relative_distances(c, rows, rows.mean(0), -0.5), centers
    )


@pytest.mark.parametrize("k", [1, 2, 3, 700])
def test_argmax_from_mask(rng, k):
    labels = rng.integers(k, size=500)
    mask = torch.from_numpy(np.eye(k, dtype=np.float32)[:, labels])
    index, is_unique = argmax_from_mask(mask)
    assert is_unique
    np.testing.assert_array_equal(index, labels)
    if k > 1:
        mask[(labels[0] + 1) % k, 0] = 1
        index, is_unique = argmax_from_mask(mask)
        assert not is_unique
        np.testing.assert_array_equal(index[1:], labels[1:])


@pytest.mark.parametrize("k", [2, 199, 200, 300])
@pytest.mark.parametrize("d", [3, 250])
def test_layout_of_dense_rows(rng, k, d):
    rows = torch.from_numpy(rng.normal(size=(6, d)))
    centers = torch.from_numpy(rng.normal(size=(k, d)))
    offset = torch.from_numpy(rng.normal(size=d))
    for origin in (None, offset):
        found = relative_distances(centers, rows, origin, -0.5)
        assert found.stride() == ((6, 1) if k < 200 else (1, k))
        expected = cdist(centers, rows, "sqeuclidean")
        reference = torch.zeros_like(offset) if origin is None else origin
        expected -= cdist(reference[None], rows, "sqeuclidean")
        np.testing.assert_allclose(found, -0.5 * expected, rtol=1e-13, atol=1e-11)
        found = augmented_centers(centers, origin, -0.5) @ append_bias_column(rows).t()
        np.testing.assert_allclose(found, -0.5 * expected, rtol=1e-13, atol=1e-11)


@pytest.mark.parametrize("k", [1, 20, 21])
def test_paired_products_match_numpy(layout, sparse_array, rng, k):
    vectors = rng.normal(size=(k, sparse_array.shape[1]))
    labels = rng.integers(k, size=60)
    found = paired_products(
        torch.from_numpy(vectors), layout(sparse_array), torch.from_numpy(labels)
    )
    expected = (sparse_array * vectors[labels]).sum(1)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("shape", [(1, 5), (7, 30), (7, 9000), (300, 40)])
def test_min_and_argmin_match_numpy(rng, shape, transposed):
    distances = rng.normal(size=shape[::-1] if transposed else shape)
    distances = distances.T if transposed else distances
    value, index = min_and_argmin(torch.from_numpy(distances.copy("K")))
    np.testing.assert_array_equal(value, distances.min(0))
    np.testing.assert_array_equal(index, distances.argmin(0))
    assert index.dtype == torch.int64


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("n", [3, 9000])
def test_argmin_is_the_first_of_equals(rng, n, transposed):
    distances = rng.integers(0, 3, (6, n)).astype(np.float32)
    expected = distances.argmin(0)
    tensor = torch.from_numpy(distances.copy("F" if transposed else "C"))
    np.testing.assert_array_equal(min_and_argmin(tensor)[1], expected)
