"""Half precision, autocast and empty batches, for all functions of ops."""

import inspect
import pkgutil
from importlib import import_module
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skrbf import ops
from skrbf.ops.assignment import ASSIGNMENTS
from skrbf.ops.centering import CENTERING_LOSSES
from skrbf.ops.precision import full_precision
from skrbf.ops.rbf_network import Network
from skrbf.ops.rbf_units import ACTIVATIONS, RBFParameters
from skrbf.ops.statistics import ClusterStatistics

K, D, N, Q = 5, 3, 12, 4


def functions(module):
    """Public functions that a module defines, by name."""
    return {
        name: function
        for name, function in vars(module).items()
        if inspect.isfunction(function)
        and inspect.unwrap(function).__module__ == module.__name__
        and not name.startswith("_")
    }


KERNELS = {}
for found in pkgutil.iter_modules(ops.__path__, "skrbf.ops."):
    if found.name not in {"skrbf.ops.public", "skrbf.ops.precision"}:
        KERNELS |= functions(import_module(found.name))
kernels = SimpleNamespace(**KERNELS)

HALF = [torch.float16, torch.bfloat16]
half = pytest.mark.parametrize("dtype", HALF, ids=str)
laws = settings(max_examples=30, deadline=None, derandomize=True)


def draws(n, seed=0):
    """Arguments by name, exact in every precision."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator).bfloat16().float()

    return {
        "rows": draw(n, D),
        "centers": draw(K, D),
        "z": -draw(K, n).abs(),
        "distances": draw(K, n).abs(),
        "vectors": draw(K, n),
        "r": draw(K, n).softmax(0).bfloat16().float(),
        "weight": (draw(n).abs() + 0.125).bfloat16().float(),
        "out": draw(Q, n),
        "log_widths": draw(K, 1) / 8,
        "log_all_widths": draw(K, D) / 8,
        "log_scales": draw(D) / 8,
        "output": draw(Q, K),
        "bias": draw(Q),
        "mass": draw(K).abs(),
        "features": draw(2, n),
    }


def units(a):
    return RBFParameters(a["centers"], a["log_widths"], a["log_scales"])


def units_per_feature(a):
    return RBFParameters(a["centers"], a["log_all_widths"], a["log_scales"])


def labels(a, k=K):
    return torch.arange(len(a["rows"])) % k


def network(a):
    return Network(units(a), a["output"], a["bias"])


def each(function, *names):
    return lambda a: function(*(a[name] for name in names))


class Table:
    def __init__(self, rows):
        self.rows, self.n_rows = rows, len(rows)

    def blocks(self, columns):
        yield 0, self.n_rows, self.rows

    def take(self, index):
        return self.rows[index]


def rows_first(function, *names):
    """Apply a public function to the arguments, blocks (k, n) transposed."""
    turned = {"z", "distances", "r"}
    return lambda a: function(*(a[n].t() if n in turned else a[n] for n in names))


PUBLIC_SLOPED = {
    "ops.squared_distances": rows_first(ops.squared_distances, "rows", "centers"),
    "ops.softmax": rows_first(ops.softmax, "z"),
    "ops.entmax15": rows_first(ops.entmax15, "z"),
    "ops.sparsemax": rows_first(ops.sparsemax, "z"),
    **{
        f"ops.responsibilities by {name}": lambda a, name=name: ops.responsibilities(
            a["distances"].t(), 2.0, name
        )
        for name in ASSIGNMENTS
    },
    "ops.gaussian_rbf": rows_first(ops.gaussian_rbf, "rows", "centers"),
    "ops.gaussian_rbf, a width per unit": lambda a: ops.gaussian_rbf(
        a["rows"], a["centers"], a["mass"].round().exp2()[:, None]
    ),
    "ops.gaussian_rbf, a width per feature": lambda a: ops.gaussian_rbf(
        a["rows"], a["centers"], a["centers"].round().exp2()
    ),
    "ops.cluster_sums": rows_first(ops.cluster_sums, "r", "rows"),
    "ops.cluster_sums, weighted": rows_first(ops.cluster_sums, "r", "rows", "weight"),
    "ops.cluster_means": rows_first(ops.cluster_means, "mass", "centers", "centers"),
    "ops.distance_loss": rows_first(ops.distance_loss, "distances", "r"),
    "ops.centroid_loss": rows_first(ops.centroid_loss, "rows", "centers", "r"),
    "ops.regularized_loss": rows_first(ops.regularized_loss, "rows", "distances", "r"),
    "ops.scale_penalty": lambda a: ops.scale_penalty(a["rows"], 2.0, a["weight"]),
    "ops.shrink_and_perturb": lambda a: ops.shrink_and_perturb(
        a["rows"], a["rows"], 0.25
    ),
}
PUBLIC_FLAT = {
    "ops.responsibilities": lambda a: ops.responsibilities(a["distances"].t(), 0.0),
    "ops.neighbor_widths": lambda a: ops.neighbor_widths(a["centers"], 2),
}
PUBLIC_CHOOSING = {
    "ops.kmeans_plusplus": lambda a: ops.kmeans_plusplus(
        a["rows"], 4, torch.Generator().manual_seed(0), a["weight"]
    ),
}
PUBLIC = {**PUBLIC_SLOPED, **PUBLIC_FLAT, **PUBLIC_CHOOSING}
# What is differentiable, and what is not or has a gradient of its own beside it.
SLOPED = {
    **PUBLIC_SLOPED,
    "inner_products": each(kernels.inner_products, "centers", "rows"),
    "paired_products": lambda a: kernels.paired_products(
        a["centers"], a["rows"], labels(a)
    ),
    "squared_norms": each(kernels.squared_norms, "rows"),
    "squared_distances": each(kernels.squared_distances, "centers", "rows"),
    "squared_distances of an offset": lambda a: kernels.squared_distances(
        a["centers"], a["rows"], a["log_scales"]
    ),
    "relative_distances": lambda a: kernels.relative_distances(
        a["centers"], a["rows"], offset=a["log_scales"], scale=-0.5
    ),
    "relative_distances of many centers": lambda a: kernels.relative_distances(
        a["centers"].repeat(50, 1), a["rows"]
    ),
    "augmented_centers": each(kernels.augmented_centers, "centers"),
    "append_bias_column": each(kernels.append_bias_column, "rows"),
    "paired_squared_distances": lambda a: kernels.paired_squared_distances(
        a["centers"], a["rows"], labels(a)
    ),
    "softmax": each(kernels.softmax, "z"),
    "entmax15": each(kernels.entmax15, "z"),
    "sparsemax": each(kernels.sparsemax, "z"),
    "softmax_jacobian_product": each(kernels.softmax_jacobian_product, "r", "vectors"),
    "entmax15_jacobian_product": each(
        kernels.entmax15_jacobian_product, "r", "vectors"
    ),
    "sparsemax_jacobian_product": each(
        kernels.sparsemax_jacobian_product, "r", "vectors"
    ),
    "gaussian": each(kernels.gaussian, "z"),
    "gaussian_jacobian_product": each(
        kernels.gaussian_jacobian_product, "z", "vectors"
    ),
    "inverse_squared_widths": lambda a: kernels.inverse_squared_widths(units(a)),
    "log_activations": lambda a: kernels.log_activations(units(a), a["rows"]),
    "log_activations, a width per feature": lambda a: kernels.log_activations(
        units_per_feature(a), a["rows"]
    ),
    "logits": lambda a: kernels.logits(network(a), a["vectors"]),
    "output_gradient": each(kernels.output_gradient, "out", "vectors"),
    "leave_one_out": lambda a: kernels.leave_one_out(
        a["features"], a["out"], a["weight"] / 16, a["weight"].new_tensor([1.0, 4.0])
    ),
    "weighted_sums": each(kernels.weighted_sums, "r", "rows"),
    "soft_statistics": lambda a: kernels.soft_statistics(
        a["r"], a["rows"], a["weight"], a["out"][0]
    ),
    "label_sums": lambda a: kernels.label_sums(a["rows"], labels(a), a["weight"], K)[1],
    "label_totals": lambda a: kernels.label_totals(
        a["rows"], labels(a), a["weight"], K
    ),
    "one_hot_totals": lambda a: kernels.one_hot_totals(a["rows"], labels(a), None, K),
    "deterministic_cumsum": each(kernels.deterministic_cumsum, "rows"),
    "running_means": each(
        kernels.running_means, "centers", "mass", "rows", "r", "weight"
    ),
    "scale_penalty": lambda a: kernels.scale_penalty(a["rows"], a["weight"], 2.0),
    "finite_sample_correction": each(kernels.finite_sample_correction, "weight"),
    "shrink_and_perturb": lambda a: kernels.shrink_and_perturb(
        a["rows"], a["rows"], 0.25
    ),
    "add_statistics": lambda a: kernels.add_statistics(
        ClusterStatistics(a["mass"], a["centers"], a["bias"][0]),
        ClusterStatistics(a["mass"], a["centers"], a["bias"][0]),
    ),
    "weighted_means": lambda a: kernels.weighted_means(
        ClusterStatistics(a["mass"], a["centers"], a["bias"][0]), a["centers"]
    ),
    **{
        name: lambda a, loss=loss: loss(a["rows"], a["centers"], a["distances"], a["r"])
        for name, loss in CENTERING_LOSSES.items()
    },
    **{
        f"assign_codes by {name}": lambda a, m=assignment: kernels.assign_codes(
            a["distances"], 2.0, m
        )
        for name, assignment in ASSIGNMENTS.items()
    },
}
FLAT = {
    **PUBLIC_FLAT,
    "min_and_argmin": lambda a: kernels.min_and_argmin(a["distances"].clone()),
    "argmax_from_mask": lambda a: kernels.argmax_from_mask(
        torch.nn.functional.one_hot(labels(a), K).t().to(a["rows"])
    ),
    "assign_codes": lambda a: kernels.assign_codes(
        a["distances"], 0.0, ASSIGNMENTS["softmax"]
    ),
    "weight_sums": lambda a: kernels.weight_sums(labels(a), a["weight"], K),
    "fixed_direction": each(kernels.fixed_direction, "rows"),
    "neighbor_widths": lambda a: kernels.neighbor_widths(a["centers"], n_neighbors=2),
    "log_activations_gradient": lambda a: kernels.log_activations_gradient(
        units(a), a["rows"], a["z"], a["vectors"]
    ),
    "log_activations_gradient, a width per feature": lambda a: (
        kernels.log_activations_gradient(
            units_per_feature(a), a["rows"], a["z"], a["vectors"]
        )
    ),
    "cross_entropy": lambda a: kernels.cross_entropy(
        a["out"], labels(a, Q), a["weight"], smoothing=0.125
    ),
    "hash_rows": each(kernels.hash_rows, "rows"),
    "sort_keys": each(kernels.sort_keys, "rows"),
    "total_and_leading_variance": lambda a: torch.tensor(
        kernels.total_and_leading_variance(a["rows"], a["weight"]), dtype=torch.float64
    ),
    **{
        f"network_gradient by {name}": lambda a, m=activation: kernels.network_gradient(
            network(a), m, a["rows"], labels(a, Q), a["weight"]
        )
        for name, activation in ACTIVATIONS.items()
    },
    **{
        f"unit_kernel by {name}": lambda a, m=activation: kernels.unit_kernel(
            units(a), m
        )
        for name, activation in ACTIVATIONS.items()
    },
}
# Of rows that there must be.
CHOOSING = {
    **PUBLIC_CHOOSING,
    "kmeans_plusplus": lambda a: kernels.kmeans_plusplus(
        Table(a["rows"]), a["weight"], 4, torch.Generator().manual_seed(0), a["rows"][0]
    ),
    "quasi_random_kmeans_plusplus": lambda a: kernels.quasi_random_kmeans_plusplus(
        a["rows"], a["weight"], 4, 2
    ),
    "random_rows": lambda a: kernels.random_rows(
        len(a["rows"]), a["weight"], 4, torch.Generator().manual_seed(0)
    ),
}
ALL = {**SLOPED, **FLAT, **CHOOSING}


def tensors(result):
    if isinstance(result, torch.Tensor):
        return [result]
    parts = result if isinstance(result, tuple) else ()
    return [one for part in parts for one in tensors(part)]


def loss(results):
    """Scalar that depends on all results, with slopes exact in every precision."""
    return sum(
        (one.double() * (torch.arange(one.numel()) % 4 + 1).view(one.shape)).sum()
        for one in results
        if one.requires_grad
    )


def close(found, expected, dtype):
    """Compare with the rounded float32 result, up to one more rounding."""
    eps = torch.finfo(dtype).eps
    exact = found.dtype not in HALF
    torch.testing.assert_close(
        found.double(),
        expected.to(found.dtype).double(),
        rtol=1e-5 if exact else 2 * eps,
        atol=1e-6 if exact else 2 * torch.finfo(torch.float16).tiny,
    )


def slopes(function, arguments):
    leaves = {name: one.clone().requires_grad_() for name, one in arguments.items()}
    results = tensors(function(leaves))
    loss(results).backward()
    return {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}


def test_all_functions_are_tested():
    tried = {name.split(" ")[0].rstrip(",") for name in ALL}
    tried |= {f"{name}_loss" for name in CENTERING_LOSSES}
    of_numbers = {
        "check_assignment",
        "critical_temperature",
        "geometric_temperatures",
        "noise_temperature",
        "widest_float",
    }
    # A limit of the precision that it is asked in: the layers are tried at it.
    of_numbers.add("coordinate_limit")
    assert set(KERNELS) <= tried | of_numbers
    assert {f"ops.{name}" for name in set(ops.__all__) - of_numbers} <= tried


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *HALF], ids=str)
@pytest.mark.parametrize("name", PUBLIC)
def test_public_functions_do_not_overwrite_arguments(name, dtype):
    arguments = {key: one.to(dtype) for key, one in draws(N).items()}
    before = {key: one.clone() for key, one in arguments.items()}
    PUBLIC[name](arguments)
    for key, one in arguments.items():
        assert torch.equal(one, before[key])


@half
@pytest.mark.parametrize("name", ALL)
def test_half_precision_is_rounded_single_precision(name, dtype):
    arguments = draws(N)
    expected = tensors(ALL[name](arguments))
    cast = {key: one.to(dtype) for key, one in arguments.items()}
    found = tensors(ALL[name](cast))
    assert found
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == (dtype if other.dtype == torch.float32 else other.dtype)
        assert one.isfinite().all()
        close(one, other, dtype)


@half
@pytest.mark.parametrize("name", SLOPED)
def test_half_precision_gradients_are_rounded_single_precision(name, dtype):
    arguments = draws(N)
    expected = slopes(SLOPED[name], arguments)
    cast = {key: one.to(dtype) for key, one in arguments.items()}
    found = slopes(SLOPED[name], cast)
    assert found.keys() == expected.keys() != set()
    for key, slope in found.items():
        assert slope.dtype == dtype
        size = 1 + expected[key].abs().max()
        eps = torch.finfo(dtype).eps
        assert (slope.float() - expected[key]).abs().max() <= 4 * eps * size


@half
@pytest.mark.parametrize("name", ALL)
def test_autocast_changes_nothing(name, dtype):
    arguments = draws(N)
    expected = tensors(ALL[name](arguments))
    with torch.autocast("cpu", dtype=dtype):
        found = tensors(ALL[name](arguments))
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


@half
@pytest.mark.parametrize("backward_inside", [False, True])
@pytest.mark.parametrize("name", SLOPED)
def test_gradients_under_autocast(name, dtype, backward_inside):
    arguments = draws(N)
    leaves = {key: one.clone().requires_grad_() for key, one in arguments.items()}
    expected = slopes(SLOPED[name], arguments)
    with torch.autocast("cpu", dtype=dtype):
        value = loss(tensors(SLOPED[name](leaves)))
        if backward_inside:
            value.backward()
    if not backward_inside:
        value.backward()
    for key, slope in expected.items():
        if backward_inside:  # torch itself rounds some products then
            size = 1 + max(other.abs().max() for other in expected.values())
            eps = torch.finfo(dtype).eps
            assert (leaves[key].grad - slope).abs().max() <= 16 * eps * size
        else:
            assert torch.equal(leaves[key].grad, slope)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *HALF], ids=str)
@pytest.mark.parametrize("name", [*SLOPED, *FLAT])
def test_empty_batch(name, dtype):
    function = {**SLOPED, **FLAT}[name]
    full = tensors(function({key: one.to(dtype) for key, one in draws(N).items()}))
    leaves = {
        key: one.to(dtype).requires_grad_(name in SLOPED)
        for key, one in draws(0).items()
    }
    results = tensors(function(leaves))
    for one, like in zip(results, full, strict=True):
        assert one.shape == tuple(0 if side == N else side for side in like.shape)
        assert one.dtype == like.dtype
        assert one.isfinite().all()
    if name in SLOPED:
        loss(results).backward()
        for leaf in leaves.values():
            assert leaf.grad is None or leaf.grad.isfinite().all()


@half
@pytest.mark.parametrize("name", [*ASSIGNMENTS, "gaussian"])
@given(
    k=st.integers(1, 40),
    n=st.integers(0, 5),
    size=st.floats(-3, 4),
    seed=st.integers(0, 2**32 - 1),
)
@laws
def test_maps_of_logits_of_any_size(dtype, name, k, n, size, seed):
    generator = torch.Generator().manual_seed(seed)
    z = -(torch.randn(k, n, generator=generator).abs() * 10.0**size).to(dtype)
    wide, narrow = z.float().requires_grad_(), z.clone().requires_grad_()
    function = getattr(kernels, name)
    expected, found = tensors(function(wide)), tensors(function(narrow))
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other.to(dtype))
    for results in (expected, found):
        loss(results).backward()
    close(narrow.grad, wide.grad, dtype)


@half
@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_out_is_written_to_in_half_precision(dtype, name):
    z = draws(N)["z"].to(dtype)
    expected, expected_value = getattr(kernels, name)(z)
    other = torch.empty_like(z)
    assert getattr(kernels, name)(z, out=other)[0] is other
    assert torch.equal(other, expected)
    found, value = getattr(kernels, name)(z, z)
    assert found is z
    assert torch.equal(z, expected)
    assert torch.equal(value, expected_value)


@half
@pytest.mark.parametrize(
    "function",
    [
        kernels.inner_products,
        kernels.squared_distances,
        kernels.relative_distances,
        lambda centers, rows: kernels.weighted_sums(
            centers[:, :1].expand(-1, 60), rows
        ),
        lambda centers, rows: kernels.label_totals(rows, torch.arange(60) % 4, None, 4),
        lambda centers, rows: kernels.squared_norms(rows),
    ],
)
def test_sparse_rows_in_half_precision(csr, sparse_array, dtype, function):
    array = torch.from_numpy(sparse_array).to(dtype).float()
    centers = array[:4]
    expected = function(centers, csr(array.numpy()))
    rows = csr(array.numpy()).to(dtype)
    assert rows.dtype == dtype
    close(function(centers.to(dtype), rows), expected, dtype)
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(function(centers, csr(array.numpy())), expected)


@half
def test_sums_beyond_the_integers_of_half_precision(dtype):
    """Use more rows and clusters than half precision has exact integers."""
    n = 5000
    rows = torch.ones(n, 1, dtype=dtype)
    chosen = torch.arange(n) % 2
    weights, totals = kernels.label_sums(rows, chosen, rows[:, 0], 2)
    assert weights.tolist() == [2500.0, 2500.0] or dtype == torch.bfloat16
    assert torch.equal(weights, torch.full((2,), 2500.0).to(dtype))
    assert torch.equal(totals[:, 0], weights)
    labels = torch.arange(n).flip(0)
    mask = torch.zeros(n, n, dtype=dtype).scatter_(0, labels[None], 1.0)
    index, is_unique = kernels.argmax_from_mask(mask)
    assert is_unique
    assert torch.equal(index, labels)
    assert torch.equal(kernels.min_and_argmin(1 - mask)[1], labels)


@half
def test_result_has_the_requested_dtype(dtype):
    a = {key: one.to(dtype) for key, one in draws(N).items()}
    for accumulate in (torch.float32, torch.float64):
        found = kernels.soft_statistics(
            a["r"], a["rows"], a["weight"], a["out"][0], accumulate=accumulate
        )
        assert isinstance(found, ClusterStatistics)
        assert {part.dtype for part in found} == {accumulate}
        found = kernels.paired_squared_distances(
            a["centers"], a["rows"], labels(a), accumulate
        )
        assert found.dtype == accumulate
        assert (
            kernels.deterministic_cumsum(a["rows"], 0, accumulate).dtype == accumulate
        )


@half
def test_mixed_precision_gives_the_higher_one(dtype):
    """Test codes in half precision, as under autocast, with centers in float32."""
    a = draws(N)
    expected = kernels.squared_distances(a["centers"], a["rows"])
    found = kernels.squared_distances(a["centers"], a["rows"].to(dtype))
    assert torch.equal(found, expected)
    mass = a["mass"].double()
    cast = [a[name].to(dtype) for name in ("centers", "rows", "r", "weight")]
    centers, total = kernels.running_means(cast[0], mass, *cast[1:])
    assert (centers.dtype, total.dtype) == (dtype, torch.float64)


def test_full_precision_passes_other_dtypes_through():
    """Arguments and result are passed on as the same objects."""
    seen = []

    @full_precision
    def function(*args, **options):
        seen.append((args, options))
        return seen

    for dtype in (torch.float32, torch.float64, torch.int64):
        for device in ("cpu", "meta"):
            one = torch.zeros(2, dtype=dtype, device=device)
            pair = (one, [one])
            assert function(one, pair, 2, option=one) is seen
            args, options = seen.pop()
            assert args[0] is options["option"] is one
            assert args[1] is pair
    assert function() is seen
    meta = full_precision(torch.square)(torch.ones(2, device="meta").half())
    assert meta.dtype == torch.float16
