"""Test where units are placed and how wide they are, and how widths are stored."""

import numpy as np
import pytest
import torch

from skrbf.engine.rbf.initial_units import class_centers, kmeans_centers, units_at
from skrbf.engine.rbf.widths import parametrize, units_of_data
from skrbf.ops.rbf_units import inverse_squared_widths

WIDTHS = ["per_center", "global", "per_feature"]


def test_centers_per_class_lie_in_their_classes(data):
    centers = class_centers(data, 3, 9)
    share = data.weight.new_zeros(3).index_add_(0, data.labels, data.weight) / 90
    counts = [max(1, round(9 * float(s))) for s in share]
    assert len(centers) == sum(counts)
    inner = centers[: counts[0]]
    assert (inner.square().sum(1) < 1.0).all()


def test_a_class_without_rows_has_no_centers(data):
    assert torch.equal(class_centers(data, 5, 9), class_centers(data, 3, 9))


def test_centers_depend_on_no_seed(data):
    a = kmeans_centers(data.rows, data.weight, 10, data.compute)
    torch.manual_seed(3)
    b = kmeans_centers(data.rows, data.weight, 10, data.compute)
    assert torch.equal(a, b)
    assert len(a.unique(dim=0)) == 10


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("k", [5, 80])
def test_widths_start_at_the_distance_of_neighbors(rng, width, k):
    centers = rng.normal(size=(k, 2))
    distance = ((centers[:, None] - centers) ** 2).sum(2)
    nearest = np.sort(distance, 1)[:, 1 : 1 + (3 if k == 5 else 4)]
    expected = np.sqrt(nearest.mean(1, keepdims=True))
    if width == "global":
        expected = np.sqrt((expected**2).mean(keepdims=True))
    if width == "per_feature":
        expected = expected.repeat(2, axis=1)
    units = units_at(torch.from_numpy(centers), width, 1.0)
    np.testing.assert_allclose(units.log_widths.exp(), expected, rtol=1e-6)
    assert not units.log_scales.any()


def test_a_single_unit_is_as_wide_as_the_data():
    center = torch.zeros(1, 2)
    width = float(units_at(center, "global", 3.0).log_widths.exp())
    assert width == pytest.approx(3)
    assert float(units_at(center, "per_center", 0.0).log_widths) == 0


SHAPES = {"global": (1, 1), "per_center": (5, 1), "per_feature": (5, 3)}


@pytest.mark.parametrize("kind", SHAPES)
def test_widths_are_stored_as_compactly_as_possible(rng, kind):
    centers = torch.from_numpy(rng.normal(size=(5, 3)))
    log_widths = torch.from_numpy(rng.normal(size=SHAPES[kind]))
    widths = (log_widths + torch.from_numpy(rng.normal(size=3))).exp().expand(5, 3)
    mean, scale = widths[0] - 5, widths[1] + 1
    units = units_of_data(centers, widths, mean, scale)
    np.testing.assert_allclose(units.centers, (centers - mean) / scale)
    assert units.log_widths.shape == SHAPES[kind]
    np.testing.assert_allclose(
        inverse_squared_widths(units), (scale / widths) ** 2, rtol=1e-12
    )
    # A single edited width needs a width for each unit and feature.
    edited = widths.clone()
    edited[3, 1] *= 1.001
    units = units_of_data(centers, edited, mean, scale)
    assert units.log_widths.shape == (5, 3)
    np.testing.assert_allclose(
        inverse_squared_widths(units), (scale / edited) ** 2, rtol=1e-12
    )


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("width", SHAPES)
def test_training_has_the_widths_that_it_asks_for_or_more(rng, kind, width):
    centers = torch.from_numpy(rng.normal(size=(5, 3)))
    log_widths = torch.from_numpy(rng.normal(size=SHAPES[kind]))
    scale = torch.ones(3).double()
    widths = log_widths.exp().expand(5, 3)
    units = units_of_data(centers, widths, torch.zeros_like(scale), scale)
    asked = parametrize(units, width)
    assert asked.log_widths.shape == max(SHAPES[kind], SHAPES[width])
    assert asked.log_scales.any() == (units.log_scales.any() and width != "per_feature")
    torch.testing.assert_close(
        inverse_squared_widths(asked), inverse_squared_widths(units)
    )
