import pytest
import torch

from skrbf.engine.kmeans.predict import CenterDistances, Model, order_empty_last
from skrbf.ops.assignment import ASSIGNMENTS


@pytest.mark.parametrize("name", ["softmax", "entmax15", "sparsemax"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_labels_without_memberships_agree_with_the_largest_one(name, dtype):
    """Where rows lie half way between centers, so that rounding decides."""
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randint(0, 4, (200, 2), generator=generator).to(dtype) * 0.1
        rows += 0.3 * (seed % 2)
        half = torch.randint(0, 2, (7, 2), generator=generator).to(dtype) - 0.5
        centers = rows[torch.randperm(200, generator=generator)[:7]] + half * 0.1
        for temperature in (1e-3, 0.05, 1.0, 50.0, 1e5):
            model = Model(centers, temperature, ASSIGNMENTS[name])
            distances = CenterDistances(model)
            r = distances.responsibilities(rows)
            assert torch.equal(distances.labels(rows), r.max(0)[1])


def test_clusters_without_a_row_come_last():
    labels = torch.tensor([3, 1, 3, 0], dtype=torch.int32)
    order, ordered = order_empty_last(labels, torch.tensor([1, 1, 0, 1, 0]) > 0)
    assert order.tolist() == [0, 1, 3, 2, 4]
    assert torch.equal(order[ordered], labels.long())
    assert ordered.dtype == torch.int32
    order, ordered = order_empty_last(labels, torch.ones(5) > 0)
    assert order.tolist() == [0, 1, 2, 3, 4]
    assert ordered is labels
