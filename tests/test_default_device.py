"""Fits with torch's default device set to "meta", whose tensors have no values.

A tensor created without a device is on "meta" and fails in any computation. With "cuda"
as the default device, which is common, it would be on the wrong device.
"""

import numpy as np
import pytest
import torch
from numpy.testing import assert_equal
from scipy.sparse import csr_array
from sklearn.base import clone, is_classifier
from torch import nn

from helpers import Interrupting
from skrbf import DeepCenteringClustering, RBFNetClassifier, SoftKMeans
from skrbf.nn import Autoencoder, ConvAutoencoder, DenseAutoencoder, RandomAffine

RNG = np.random.default_rng(0)
Y = np.arange(60) % 3
X = RNG.normal(size=(60, 16)) + 2.0 * Y[:, None]
NEW = RNG.normal(size=(9, 16)) + 2.0
MOVED = RandomAffine(input_shape=(4, 4))
WEIGHT = RNG.uniform(0.5, 2.0, 60)
METHODS = ["predict", "predict_proba", "transform", "score_samples", "novelty"]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def own(n_features, n_components):
    """Layers that draw their weights when created, or at their first use."""
    encoder = [nn.Linear(n_features, 8), nn.BatchNorm1d(8), nn.Dropout(0.3)]
    encoder += [nn.LazyLinear(n_components)]
    return Autoencoder(nn.Sequential(*encoder), nn.Linear(n_components, n_features))


def soft(**params):
    return SoftKMeans(3, random_state=0, **params)


def rbf(**params):
    return RBFNetClassifier(random_state=0, **{"n_centers": 6, "max_iter": 3} | params)


def deep(**params):
    small = {"n_components": 2, "hidden_layer_sizes": (8,), "batch_size": 32}
    small |= {"pretrain_epochs": 2, "max_iter": 3, "tol": 0.0, "random_state": 0}
    return DeepCenteringClustering(3, **small | params)


def fit(est, tmp_path):
    return est.fit(X, Y, sample_weight=WEIGHT)


def fit_sparse(est, tmp_path):
    return est.fit(csr_array(np.where(X > 1, X, 0.0)), Y)


def fit_again(est, tmp_path):
    return est.fit(X, Y).set_params(warm_start=True).fit(X[::2], Y[::2])


def fit_in_parts(est, tmp_path):
    classes = {"classes": [0, 1, 2]} if is_classifier(est) else {}
    est.partial_fit(X, Y, **classes)
    return est.partial_fit(X[::2], Y[::2]).partial_fit(X[::4], Y[::4])


def go_on(est, tmp_path):
    est.set_params(augment=Interrupting(left=5), checkpoint=tmp_path / "state.pt")
    with pytest.raises(KeyboardInterrupt):
        est.fit(X)
    return est.fit(X)


CASES = {
    "soft": (fit, soft()),
    "soft-sparse": (fit_sparse, soft(assignment="entmax15")),
    "soft-partial": (fit_in_parts, soft()),
    "soft-hard": (fit, soft(temperature=0.0, init="k-means++")),
    "soft-random": (fit, soft(temperature=0.5, init="random", n_init=2)),
    "soft-array": (fit, soft(init=X[:3])),
    "rbf-adam": (fit, rbf(solver="adam", early_stopping=True, class_weight="balanced")),
    "rbf-lbfgs": (fit, rbf(solver="lbfgs", assignment="softmax", width="per_feature")),
    "rbf-sparse": (fit_sparse, rbf(width="global", n_centers=2, per_class=True)),
    "rbf-partial": (fit_in_parts, rbf()),
    "rbf-warm": (fit_again, rbf()),
    "deep": (fit, deep()),
    "deep-sparse": (fit_sparse, deep(code_activation="linear")),
    "deep-conv": (fit, deep(encoder="conv", input_shape=(4, 4), denoising=0.2)),
    "deep-reset": (
        fit,
        deep(weight_reset=0.5, reinit_interval=1, reinit="grow", denoising=0.2),
    ),
    "deep-gradient": (
        fit,
        deep(center_update="gradient", differentiate_assignments=True, augment=MOVED),
    ),
    "deep-checkpoint": (go_on, deep(weight_reset=0.5, reinit_interval=1)),
    "deep-checkpoint-early": (go_on, deep(pretrain_epochs=4)),
    "deep-warm": (fit_again, deep()),
    "deep-own": (fit, deep(encoder=own)),
    "deep-pretrained": (fit, deep(encoder=DenseAutoencoder(16, 2, (8,)))),
}


def outcome(how, est, tmp_path):
    """Fitted attributes except times and networks, and predictions for new samples."""
    est = how(clone(est), tmp_path)
    outputs = {name: value for name, value in vars(est).items() if name.endswith("_")}
    outputs["history_"].pop("seconds", None)
    outputs.pop("autoencoder_", None)
    for name in METHODS:
        if hasattr(est, name):
            outputs[name] = getattr(est, name)(NEW)
    outputs["sparse"] = est.predict(csr_array(NEW))
    outputs["score"] = est.score(NEW, np.arange(9) % 3)
    if hasattr(est, "inverse_transform"):
        outputs["back"] = est.inverse_transform(outputs["transform"])
    if hasattr(est, "explain"):
        outputs["why"] = est.explain(NEW)
    return outputs


@pytest.mark.filterwarnings("ignore:encoder is a module")
@pytest.mark.parametrize(("how", "est"), CASES.values(), ids=CASES.keys())
def test_default_device_changes_nothing(how, est, tmp_path):
    before = outcome(how, est, tmp_path)
    with torch.device("meta"):
        assert torch.get_default_device().type == "meta"
        after = outcome(how, est, tmp_path)
        assert torch.get_default_device().type == "meta"
    assert_equal(after, before)


@pytest.mark.parametrize("make", [DenseAutoencoder, ConvAutoencoder])
def test_networks_are_made_on_the_cpu(make):
    n_features = 16 if make is DenseAutoencoder else (4, 4)
    with torch.device("meta"):
        parameters = make(n_features, 2, (4,)).parameters()
        assert {each.device.type for each in parameters} == {"cpu"}
