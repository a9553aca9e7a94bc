"""Blocks of rows for a network."""

import torch
from numpy.testing import assert_array_equal

from skrbf.engine.data.device import Compute
from skrbf.engine.deep.predict import network_blocks


def test_blocks_of_rows_fit_into_memory(make_training_data):
    memory = 300_000
    small = Compute.resolve("cpu", torch.float64, work=0, memory_bytes=memory)
    wide = make_training_data(torch.zeros(100, 900), torch.ones(100), small)
    assert 1 < max(map(len, network_blocks(wide))) <= memory / 8 / 8 / 900
    assert_array_equal(torch.cat([*network_blocks(wide)]), wide.rows)


def test_blocks_of_wide_rows_exceed_a_cache(make_training_data):
    large = Compute.resolve("cpu", torch.float32, work=0, memory_bytes=1 << 30)
    wide = make_training_data(torch.zeros(300, 100_000), torch.ones(300), large)
    assert [*map(len, network_blocks(wide))] == [128, 128, 44]
