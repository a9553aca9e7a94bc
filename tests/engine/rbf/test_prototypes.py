"""Test the description of units by the rows of the fit."""

import numpy as np
import pytest
import torch

from skrbf.engine.rbf.prototypes import describe
from skrbf.ops.rbf_units import log_activations


@pytest.mark.parametrize("memory", [1 << 30, 4096])
def test_describe(ridge_start, compute, memory):
    objective, network, _ = ridge_start()
    data = objective.data._replace(compute=compute(memory))
    objective = objective._replace(data=data)
    profile, nearest, familiarity = describe(objective, network, 4)
    z = log_activations(network.units, data.rows)
    np.testing.assert_array_equal(nearest, z.argsort(1, descending=True)[:, :4])
    activity = (z.exp() * data.weight).numpy() @ np.eye(3)[data.labels.numpy()]
    expected = activity / activity.sum(1, keepdims=True)
    np.testing.assert_allclose(profile, expected, rtol=1e-5)
    top = z.amax(0).sort()[0]
    assert torch.equal(familiarity.sort()[0], familiarity)
    gaps = (familiarity[:, None] - top).abs().amin(1)
    assert gaps.max() < 1e-5
    even = objective._replace(data=data._replace(weight=torch.ones(90)))
    torch.testing.assert_close(describe(even, network, 1)[2], top, rtol=1e-4, atol=1e-5)


def test_a_dead_unit_has_the_profile_of_all_rows(ridge_start):
    objective, network, _ = ridge_start()
    data, centers = objective.data, network.units.centers.clone()
    centers[0] = 1e4
    dead = network._replace(units=network.units._replace(centers=centers))
    share = data.weight.new_zeros(3).index_add_(0, data.labels, data.weight) / 90
    profile, _, _ = describe(objective, dead, 2)
    np.testing.assert_allclose(profile[0], share, rtol=1e-5)
