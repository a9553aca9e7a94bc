"""Summaries of all codes: variance, temperature and labels."""

import pytest
import torch

from skrbf.engine.data.device import Compute
from skrbf.engine.deep.codes import (
    are_finite,
    encode_all,
    largest_cluster_fraction,
    summarize_codes,
)

N, C, K = 60, 3, 4  # as in conftest.py


def test_variance_and_temperature_of_codes_far_from_the_origin(
    data, clusters, config, generator, reference
):
    """Codes in float32 have both in float64. Rounding errors are no temperature."""
    codes = (1e4 + torch.randn(N, C, generator=generator())).float()
    clusters = codes[:K], clusters[1]
    single = Compute.resolve("cpu", torch.float32, work=0, memory_bytes=1 << 30)
    data = data._replace(weight=data.weight.float(), compute=single)
    variance, leading = reference.moments(codes.double(), data.weight.double())
    summary = summarize_codes(codes, *clusters, data, config())
    assert summary.variance == pytest.approx(variance, rel=1e-9)
    assert summary.temperature == pytest.approx(2 * 0.2 * leading, rel=1e-9)
    cold = summarize_codes(codes, *clusters, data, config(temperature=1e-9))
    assert cold.temperature == 0


def test_summaries_at_temperature_0_and_of_equal_codes(
    data, module, clusters, config, reference
):
    codes = encode_all(module, data)
    hard = summarize_codes(codes, *clusters, data, config(temperature=0.0))
    assert hard.temperature == 0
    label = reference.responsibilities(codes, clusters[0], 0)[1].argmax(1)
    assert torch.equal(hard.labels, label)
    share = torch.bincount(label, data.weight).max() / data.weight.sum()
    assert largest_cluster_fraction(hard, data, K) == pytest.approx(float(share))
    equal = summarize_codes(torch.ones_like(codes), *clusters, data, config())
    assert equal.variance == equal.temperature == 0
    assert largest_cluster_fraction(equal, data, K) == 1


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_single_number_that_is_not_finite_is_found(value):
    table = torch.zeros(5, 3)
    assert are_finite(table, torch.zeros(0))
    table[3, 1] = value
    assert not are_finite(torch.zeros(2), table)
