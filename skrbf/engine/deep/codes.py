"""All codes of the data: their range, distances to centers, labels and changes."""

import torch
from torch import Tensor

from skrbf.engine.data.training_data import TrainingData
from skrbf.engine.deep.config import ClusteringConfig
from skrbf.engine.deep.predict import network_blocks
from skrbf.engine.deep.state import CodeSummary
from skrbf.engine.kmeans.predict import Model, labels
from skrbf.nn.autoencoder import Autoencoder
from skrbf.ops.assignment import ASSIGNMENTS
from skrbf.ops.centering import total_and_leading_variance
from skrbf.ops.distances import squared_distances


def encode_all(module: Autoencoder, data: TrainingData) -> Tensor:
    """Compute the codes (m, c) of all rows in evaluation mode."""
    module.eval()
    with torch.no_grad():
        return torch.cat([module.encode(rows) for rows in network_blocks(data)])


def code_distances(centers: Tensor, codes: Tensor) -> Tensor:
    """Compute squared distances (k, m) to all digits, also far from the origin."""
    origin = centers.detach().mean(0)
    return squared_distances(centers - origin, codes - origin)


def label_codes(codes: Tensor, centers: Tensor, data: TrainingData) -> Tensor:
    """Label (m,) codes by their nearest centers, block by block."""
    rows, hard = data.compute.dense(codes), Model(centers, 0.0, ASSIGNMENTS["softmax"])
    return torch.cat([label for _, _, label in labels(rows, hard)])


def summarize_codes(
    codes: Tensor,
    centers: Tensor,
    cluster_weights: Tensor,
    data: TrainingData,
    config: ClusteringConfig,
) -> CodeSummary:
    """Compute the variance, temperature (eq-code-temperature) and labels of codes."""
    variance, leading = total_and_leading_variance(
        codes.to(data.compute.accumulate), data.weight
    )
    temperature = 2.0 * config.temperature * leading
    if temperature <= torch.finfo(codes.dtype).eps * variance:
        temperature = 0.0
    nearest = label_codes(codes, centers, data)
    return CodeSummary(codes, centers, cluster_weights, variance, temperature, nearest)


def label_and_center_change(
    before: CodeSummary, after: CodeSummary, data: TrainingData
) -> tuple[float, float]:
    """Compare the clusters before and after an epoch.

    Return the fraction of the weight whose label has changed, and the root mean square
    shift of the centers, in standard deviations of the codes.
    """
    weight = data.weight.cpu().double()
    changed = (after.labels != before.labels).cpu()  # (m,)
    label_change = float(weight[changed].sum() / weight.sum())
    shift = (after.centers - before.centers).square().sum(1).mean()
    deviation = after.variance**0.5
    return label_change, float(shift) ** 0.5 / deviation if deviation > 0 else 0.0


def largest_cluster_fraction(
    summary: CodeSummary, data: TrainingData, n_clusters: int
) -> float:
    """Compute the fraction of the weight in the largest cluster."""
    labels, weight = summary.labels.cpu(), data.weight.cpu().double()
    counts = torch.bincount(labels, weight, n_clusters)  # (k,)
    return float(counts.max() / counts.sum())


def are_in_range(codes: Tensor) -> bool:
    """Check that squared distances between codes are finite."""
    return are_finite((2 * codes).square().sum(1))


def decode_in_range(module: Autoencoder, centers: Tensor) -> bool:
    """Check the range of decoded centers, since bounded codes are always in range."""
    module.eval()
    with torch.no_grad():
        return are_in_range(module.decode(centers))


def are_finite(*tensors: Tensor) -> bool:
    """Check that all entries of all tensors are finite."""
    # One pass, in which NaN is both minimum and maximum. isfinite is ten times slower.
    ends = (torch.stack(tensor.aminmax()) for tensor in tensors if tensor.numel())
    return all(bool(torch.isfinite(both).all()) for both in ends)
