import math

import entmax
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skrbf.ops.assignment import ASSIGNMENTS, softmax

maps = pytest.mark.parametrize("name", ["softmax", "entmax15", "sparsemax"])
sparse_maps = pytest.mark.parametrize("name", ["entmax15", "sparsemax"])
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
laws = settings(max_examples=60, deadline=None, derandomize=True)


def reference(name, logits):
    """Responsibilities and value in float64, from torch and the entmax library."""
    logits = logits.double()
    if name == "softmax":
        return torch.softmax(logits, 0), torch.logsumexp(logits, 0)
    r = getattr(entmax, name)(logits, dim=0)
    return r, (r * logits).sum(0) + entropy(name, r)


def entropy(name, r):
    """Entropy of each column that the map maximizes."""
    if name == "softmax":
        return torch.special.entr(r).sum(0)
    if name == "entmax15":
        return 4 / 3 * (r - r**1.5).sum(0)
    return (1 - (r * r).sum(0)) / 2


@st.composite
def logits(draw, dtype=torch.float64):
    """Blocks of many shapes, from nearly uniform to one-hot, with ties."""
    k, n = draw(st.integers(1, 60)), draw(st.integers(1, 8))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    block = torch.randn(k, n, generator=generator, dtype=torch.float64)
    if draw(st.booleans()):
        block = (2 * block).round()
    return (block * 10.0 ** draw(st.floats(-3, 4))).to(dtype)


@maps
@dtypes
@given(data=st.data())
@laws
def test_matches_the_reference(name, dtype, data):
    z = data.draw(logits(dtype))
    eps = torch.finfo(dtype).eps
    r, value = ASSIGNMENTS[name].function(z)
    assert r.dtype == value.dtype == dtype
    expected_r, expected_value = reference(name, z)
    # The entmax library itself loses digits on long rows of large logits.
    assert (r - expected_r).abs().max() <= 12 * eps + 1e-13
    size = 1 + expected_value.abs().max() + z.abs().max()
    assert (value - expected_value).abs().max() <= 8 * eps * size
    assert (r >= 0).all()
    assert (r.double().sum(0) - 1).abs().max() <= 4 * eps


@maps
@given(data=st.data())
@laws
def test_shift_permutation_and_layout(name, data):
    z = data.draw(logits())
    function = ASSIGNMENTS[name].function
    r, value = function(z)
    shift = torch.linspace(-7, 7, z.shape[1], dtype=z.dtype)
    shifted_r, shifted_value = function(z + shift)
    # Adding rounds the logits.
    slack = 4e-16 * (z.abs().max() + 7) + 1e-14
    assert (shifted_r - r).abs().max() <= slack
    assert (shifted_value - shift - value).abs().max() <= 4 * slack
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(z)))
    assert (function(z[order])[0] - r[order]).abs().max() <= 4e-15
    transposed_r, transposed_value = function(z.t().contiguous().t())
    assert (transposed_r - r).abs().max() <= 4e-15
    assert (transposed_value - value).abs().max() <= slack


@maps
@dtypes
def test_limits_of_the_temperature(name, dtype):
    distances = torch.randn(7, 50, generator=torch.Generator().manual_seed(0)).to(dtype)
    function = ASSIGNMENTS[name].function
    hot, value = function(-distances / 1e8)
    assert (hot - 1 / 7).abs().max() < 1e-7
    uniform = torch.full((7, 1), 1 / 7, dtype=torch.float64)
    assert (value - entropy(name, uniform)).abs().max() < 1e-6
    cold, value = function(-distances / 1e-30)
    nearest = torch.nn.functional.one_hot(distances.argmin(0), 7).t()
    assert torch.equal(cold, nearest.to(dtype))
    torch.testing.assert_close(value, -distances.amin(0) / 1e-30)


@maps
@dtypes
def test_finite_for_any_finite_logits(name, dtype):
    big = torch.finfo(dtype).max
    z = torch.tensor(
        [[big, -big, big, 0.0, 1e8], [-big, -big, big, -big, 1e8], [0, -big, 0, 0, 0]],
        dtype=dtype,
    )
    r, value = ASSIGNMENTS[name].function(z)
    expected = [
        [1, 1 / 3, 0.5, 0.5, 0.5],
        [0, 1 / 3, 0.5, 0, 0.5],
        [0, 1 / 3, 0, 0.5, 0],
    ]
    torch.testing.assert_close(r, torch.tensor(expected, dtype=dtype))
    assert value.isfinite().all()


@dtypes
def test_softmax_has_no_denormals(dtype):
    tiny = torch.finfo(dtype).tiny
    z = torch.linspace(1.2 * math.log(tiny), 0, 4001, dtype=dtype)[:, None]
    r = softmax(z)[0]
    assert ((r == 0) | (r > 1e6 * tiny)).all()
    kept = -681.0 if dtype == torch.float64 else -60.0
    assert (r[z > kept] > 0).all()
    assert (r[z < kept - 1] == 0).all()


@pytest.mark.parametrize(("name", "margin"), [("entmax15", 2.0), ("sparsemax", 1.0)])
@dtypes
@pytest.mark.parametrize("k", [2, 3, 50, 1000])
def test_exactly_one_hot_from_the_margin(name, margin, dtype, k):
    lead = torch.tensor([-0.01, -1e-5, 0.0, 1e-5, 3.0, 1e5], dtype=dtype) + margin
    z = torch.zeros(k, 6, dtype=dtype)
    z[k // 2] = lead
    r, value = ASSIGNMENTS[name].function(z)
    hard = torch.tensor([False, False, True, True, True, True])
    assert torch.equal(r.count_nonzero(0) == 1, hard)
    assert (r[k // 2, hard] == 1).all()
    torch.testing.assert_close(value[hard], lead[hard])


def test_one_cluster():
    z = torch.tensor([[-3.0, 0.0, 1e30]])
    for assignment in ASSIGNMENTS.values():
        r, value = assignment.function(z)
        assert torch.equal(r, torch.ones(1, 3))
        torch.testing.assert_close(value, z[0])


@sparse_maps
@pytest.mark.parametrize(
    "shape", ["ramp", "step", "power", "nearly equal", "heavy", "halves"]
)
def test_sparse_maps_on_hard_shapes(name, shape):
    k = 3000
    u = torch.linspace(0, 1, k, dtype=torch.float64)
    z = {
        "ramp": 2.5 * u,
        "step": (u > 0.5) * 1.9 + 0.05 * u,
        "power": -2.0 * u**0.02,
        "nearly equal": 1e-9 * u,
        "heavy": -(u**-0.3).nan_to_num(posinf=1e6),
        "halves": -(0.5 ** torch.arange(k, dtype=torch.float64)).flip(0),
    }[shape][:, None].repeat(1, 3)
    expected, value = reference(name, z)
    function = ASSIGNMENTS[name].function
    r, found = function(z)
    assert (r - expected).abs().max() < 1e-14
    assert (found - value).abs().max() < 1e-12
    r = function(z.float())[0]
    assert (r - expected).abs().max() < 3e-7
    assert (r.double().sum(0) - 1).abs().max() < 4e-7


@sparse_maps
@dtypes
def test_zeros_are_exact_in_a_block_of_easy_and_hard_columns(name, dtype):
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(50, 400, generator=generator, dtype=dtype)
    z *= torch.logspace(-2, 2, 400, dtype=dtype)
    expected = reference(name, z)[0]
    least = torch.where(expected > 0, z, torch.inf).amin(0)  # (n,) active logit
    outside = z < least - 1e-3
    assert (outside & (z > least - 0.1)).any()
    assert (ASSIGNMENTS[name].function(z)[0][outside] == 0).all()


@maps
def test_gradient(name):
    function = ASSIGNMENTS[name].function
    generator = torch.Generator().manual_seed(1)
    z = 1.5 * torch.randn(6, 8, generator=generator, dtype=torch.float64)
    z.requires_grad_()
    assert torch.autograd.gradcheck(function, z)
    assert torch.autograd.gradcheck(lambda z: function(z)[0], z)
    assert torch.autograd.gradcheck(lambda z: function(z)[1], z)
    r, value = function(z)
    (gradient,) = torch.autograd.grad(value.sum(), z)
    assert torch.equal(gradient, r)


@maps
def test_second_derivatives(name):
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).double() * 2
    z.requires_grad_()
    function = ASSIGNMENTS[name].function
    assert (function(z)[0] == 0).any() == (name != "softmax")
    assert torch.autograd.gradgradcheck(function, z)


@maps
def test_jacobian_product(name):
    generator = torch.Generator().manual_seed(2)
    z = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    vectors = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    r = reference(name, z)[0]
    product = ASSIGNMENTS[name].jacobian_product(r, vectors)
    for i in range(4):
        column = z[:, i : i + 1]
        jacobian = torch.autograd.functional.jacobian(
            lambda column: reference(name, column)[0][:, 0], column
        )[:, :, 0]
        torch.testing.assert_close(product[:, i], jacobian @ vectors[:, i])
    torch.testing.assert_close(product.sum(0), torch.zeros(4, dtype=torch.float64))


@maps
def test_logits_are_overwritten_only_as_out(name):
    function = ASSIGNMENTS[name].function
    z = torch.randn(5, 4, generator=torch.Generator().manual_seed(2))
    before = z.clone()
    r, value = function(z)
    assert torch.equal(z, before)
    other = torch.empty_like(z)
    found = function(z, out=other)
    assert found[0] is other
    assert torch.equal(z, before)
    assert torch.equal(other, r)
    assert torch.equal(found[1], value)
    assert function(z, out=z)[0] is z
    assert torch.equal(z, r)


@maps
@dtypes
@pytest.mark.parametrize("spread", [0.03, 4.0, 30.0])
@pytest.mark.parametrize("transposed", [False, True])
def test_blocks_with_few_or_many_one_hot_columns(name, dtype, spread, transposed):
    """Test none, a third and nearly all; into another tensor and in place."""
    generator = torch.Generator().manual_seed(2)
    z = spread * torch.randn(20, 300, generator=generator, dtype=dtype)
    z = z.t().contiguous().t() if transposed else z
    expected, expected_value = reference(name, z)
    one_hot = float((expected.amax(0) == 1).double().mean())
    if name != "softmax":
        assert one_hot == 0 or one_hot > 0.2
    eps = torch.finfo(dtype).eps
    for out in (torch.empty_like(z), z):
        r, value = ASSIGNMENTS[name].function(z, out)
        assert r is out
        assert (r - expected).abs().max() < 12 * eps
        assert (r.double().sum(0) - 1).abs().max() < 4 * eps
        size = 1 + expected_value.abs().max() + spread
        assert (value - expected_value).abs().max() < 8 * eps * size


def test_names_and_critical_factors():
    assert {name: a.name for name, a in ASSIGNMENTS.items()} == {
        name: name for name in ("softmax", "entmax15", "sparsemax")
    }
    assert ASSIGNMENTS["softmax"].critical_factor(9) == 1
    assert ASSIGNMENTS["entmax15"].critical_factor(9) == 3
    assert ASSIGNMENTS["sparsemax"].critical_factor(9) == 9


@maps
@pytest.mark.parametrize("k", [2, 5, 16])
def test_critical_factor_follows_from_the_jacobian(name, k):
    """The factor is k times the slope at equal responsibilities (1 / k for softmax)."""
    r = torch.full((k, 1), 1 / k, dtype=torch.float64)
    vector = torch.zeros(k, 1, dtype=torch.float64)
    vector[:2, 0] = torch.tensor([1.0, -1.0])
    slope = ASSIGNMENTS[name].jacobian_product(r, vector)[0, 0]
    assert slope * k == pytest.approx(ASSIGNMENTS[name].critical_factor(k))
