import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skrbf.ops.temperature import (
    critical_temperature,
    geometric_temperatures,
    noise_temperature,
)


def test_critical_temperature():
    assert critical_temperature(0.75, 5, "softmax") == 1.5
    assert critical_temperature(0.75, 16, "entmax15") == 6.0
    assert critical_temperature(0.75, 16, "sparsemax") == 24.0


def test_noise_temperature():
    sigma = 0.3
    assert noise_temperature(sigma**2) == pytest.approx(2 * sigma**2)


@given(
    start=st.floats(1e-6, 1e6), drop=st.floats(1e-9, 0.999), ratio=st.floats(0.05, 0.99)
)
def test_geometric_steps(start, drop, ratio):
    stop = start * drop
    temperatures = geometric_temperatures(start, stop, ratio)
    assert temperatures[0] == start
    assert temperatures[-1] == stop
    steps = [b / a for a, b in pairwise(temperatures)]
    assert steps == pytest.approx([steps[0]] * len(steps), rel=1e-9)
    assert steps[0] >= ratio * (1 - 1e-9)
    # No more steps than needed.
    assert math.log(drop) / math.log(ratio) > len(steps) - 1 - 1e-6


def test_schedule_down_to_zero():
    temperatures = geometric_temperatures(1.0, 0.0, 0.5, floor=0.1)
    assert temperatures[-1] == 0.0
    assert temperatures[-2] == 0.1
    assert temperatures[:-1] == geometric_temperatures(1.0, 0.1, 0.5)


def test_nothing_to_cool():
    assert geometric_temperatures(1.0, 1.0, 0.5) == (1.0,)
    assert geometric_temperatures(0.5, 1.0, 0.5) == (1.0,)
    assert geometric_temperatures(0.0, 0.0, 0.5) == (0.0,)
