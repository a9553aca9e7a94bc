"""Torch modes that are active around a call do not change its result."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.datasets import make_blobs

from skrbf import DeepCenteringClustering, RBFNetClassifier, SoftKMeans

X, Y = make_blobs(90, 6, centers=3, random_state=0)
X = X.astype(np.float32)  # autocast would round it
SMALL = {"n_components": 2, "hidden_layer_sizes": (8,), "pretrain_epochs": 2}
MODES = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
}


def seen(est):
    if hasattr(est, "inverse_transform"):
        yield est.inverse_transform(est.transform(X))
    yield from (est.predict_proba(X), est.transform(X), est.predict(X))
    yield est.score(X, Y)


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize(
    "est",
    [
        SoftKMeans(3),
        RBFNetClassifier(10, max_iter=5, random_state=0),
        DeepCenteringClustering(3, **SMALL, max_iter=2, random_state=0),
    ],
    ids=lambda est: type(est).__name__,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_modes_around_a_call_change_nothing(est, mode):
    plain = [*seen(est.fit(X, Y))]
    with mode():
        within = [*seen(est)]
        again = [*seen(est.fit(X, Y))]
    for ours, other, fitted in zip(plain, within, again, strict=True):
        assert_array_equal(other, ours)
        assert_array_equal(fitted, ours)


@pytest.mark.parametrize(
    ("est", "known"),
    [
        (SoftKMeans(3), {}),
        (RBFNetClassifier(10, random_state=0), {"classes": [0, 1, 2]}),
    ],
    ids=["SoftKMeans", "RBFNetClassifier"],
)
def test_partial_fit_inside_autocast(est, known):
    def streamed():
        fresh = clone(est).partial_fit(X[:45], Y[:45], **known)
        return fresh.partial_fit(X[45:], Y[45:]).transform(X)

    plain = streamed()
    with MODES["autocast"]():
        assert_array_equal(streamed(), plain)
