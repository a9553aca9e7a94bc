import pytest
import torch

from skrbf.engine.kmeans.predict import Model, _label, _Measure
from skrbf.ops.assignment import ASSIGNMENTS


@pytest.mark.parametrize("name", ["softmax", "entmax15", "sparsemax"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_labels_without_memberships_are_those_of_the_largest(name, dtype):
    """Where rows lie half way between centers, so that rounding decides."""
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randint(0, 4, (200, 2), generator=generator).to(dtype) * 0.1
        rows += 0.3 * (seed % 2)
        half = torch.randint(0, 2, (7, 2), generator=generator).to(dtype) - 0.5
        centers = rows[torch.randperm(200, generator=generator)[:7]] + half * 0.1
        for temperature in (1e-3, 0.05, 1.0, 50.0, 1e5):
            model = Model(centers, temperature, ASSIGNMENTS[name])
            measure = _Measure(model)
            r, _ = measure.soft(measure(rows))
            assert torch.equal(_label(rows, measure), r.max(0)[1])
