import numpy as np
import pytest
import torch

from skrbf.engine.data.device import Compute
from skrbf.engine.data.scaling import Scaling
from skrbf.engine.data.training_data import TrainingData
from skrbf.engine.rbf.config import RBFConfig
from skrbf.engine.rbf.initial_units import kmeans_centers, units_at
from skrbf.engine.rbf.objective import Objective
from skrbf.engine.rbf.output_layer import ridge
from skrbf.engine.training.loop import Stopping
from skrbf.ops.rbf_units import ACTIVATIONS
from skrbf.ops.unit_kernel import unit_kernel


@pytest.fixture
def compute():
    """``compute(memory=1 << 30)``: single precision on the CPU."""

    def resolve(memory=1 << 30):
        return Compute.resolve("cpu", torch.float32, work=0, memory_bytes=memory)

    return resolve


@pytest.fixture
def make_data(compute):
    """``make_data(X, labels, weight=None)``: training data of tensors."""

    def make(X, labels, weight=None):
        weight = torch.ones(len(X)) if weight is None else weight
        return TrainingData(
            X.float(),
            labels.long(),
            (weight / weight.mean()).float(),
            torch.arange(len(X)),
            len(X),
            float(weight.sum()),
            Scaling(X.new_zeros(X.shape[1]), X.new_ones(X.shape[1])),
            compute(),
        )

    return make


@pytest.fixture
def data(rng, make_data):
    """Three classes that are not linearly separable, with weights."""
    X = rng.normal(size=(90, 2)).astype(np.float32)
    labels = np.digitize((X**2).sum(1), [1.0, 2.5])
    weight = rng.uniform(0.5, 2, 90)
    return make_data(*map(torch.from_numpy, (X, labels, weight)))


@pytest.fixture
def objective_of():
    """``objective_of(data, units, **changes)``: an objective for some units."""

    def make(data, units, **changes):
        activation = changes.pop("activation", ACTIVATIONS["gaussian"])
        objective = Objective(
            data,
            int(data.labels.max()) + 1,
            activation,
            1e-3,
            0.5,
            0.1,
            unit_kernel(units, activation),
            units.centers,
        )
        return objective._replace(**changes)

    return make


@pytest.fixture
def ridge_start(data, objective_of):
    """``ridge_start(width, **changes)``: objective, ridge regression and its factor."""

    def make(width="per_center", **changes):
        centers = kmeans_centers(data.rows, data.weight, 8, data.compute)
        units = units_at(centers, width, 1.0)
        objective = objective_of(data, units, **changes)
        return objective, *ridge(objective, units)

    return make


@pytest.fixture
def make_config():
    """``make_config(**changes)``: settings of a fit."""

    def make(**changes):
        config = RBFConfig(
            n_centers=6,
            per_class=False,
            width="per_center",
            width_factor=1.0,
            solver="adam",
            batch_size=32,
            learning_rate=0.01,
            stopping=Stopping(60, 0.0, 60),
            generator=torch.Generator().manual_seed(0),
        )
        return config._replace(**changes)

    return make
