import numpy as np
import torch

from skrbf.ops.fixed_direction import fixed_direction


def test_fixed_direction_has_no_symmetry():
    """All entries differ, even in magnitude, and none is 0."""
    for dtype in (torch.float32, torch.float64):
        found = fixed_direction(torch.ones(4, 50_000, dtype=dtype))
        assert found.dtype == dtype
        expected = np.cos(np.arange(1, 50_001.0) ** 2)
        np.testing.assert_allclose(found, expected, atol=1e-7)
        sizes = found[:500].abs().sort().values
        assert sizes[0] > 0
        assert (sizes.diff() > 0).all()
