"""DeepCenteringClustering on a GPU: agreement with the CPU, and repeatability."""

import pickle

import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score

from helpers import Interrupting
from skrbf import DeepCenteringClustering
from skrbf.nn import RandomAffine

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
KINDS = {
    "default": {},
    "conv": {"encoder": "conv", "input_shape": (8, 8)},
    "learned": {
        "center_update": "gradient",
        "differentiate_assignments": True,
        "code_activation": "linear",
    },
    "running": {"center_update": "running_mean", "temperature": 0},
    "reset": {"weight_reset": 0.2, "reinit_interval": 2, "reinit": "grow"},
    "soft": {
        "code_activation": "tanh",
        "centering": "regularized",
        "assignment_update": "epoch",
        "center_update": "soft_mean",
    },
    "augmented": {"augment": RandomAffine(), "input_shape": (8, 8)},
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_cuda_agrees_with_the_cpu(kind):
    X, _ = load_digits(return_X_y=True)
    params = {"hidden_layer_sizes": (100,), "pretrain_epochs": 10, "max_iter": 5}
    cpu, gpu, again = (
        DeepCenteringClustering(
            10, **params, **kind, device=device, random_state=0
        ).fit(X)
        for device in ("cpu", "cuda", "cuda")
    )
    assert_array_equal(gpu.cluster_centers_, again.cluster_centers_)
    assert_array_equal(gpu.labels_, again.labels_)
    for name in ("loss", "reconstruction_loss"):
        assert_allclose(gpu.history_[name], cpu.history_[name], rtol=0.1)
    if "augment" not in kind:
        assert adjusted_rand_score(cpu.labels_, gpu.labels_) > 0.8
    back = pickle.loads(pickle.dumps(gpu)).set_params(device="cpu")
    assert_allclose(back.transform(X), gpu.transform(X), rtol=1e-4, atol=1e-4)
    assert all(p.device.type == "cpu" for p in gpu.autoencoder_.parameters())


@pytest.mark.parametrize("kind", [KINDS["default"], KINDS["running"], KINDS["learned"]])
def test_a_fit_of_a_gpu_resumes_on_a_cpu(tmp_path, kind):
    X, _ = load_digits(return_X_y=True)
    params = {"hidden_layer_sizes": (50,), "pretrain_epochs": 2, "max_iter": 3, **kind}
    augment = Interrupting(noise=0, left=24)  # batches, eight per epoch
    est = DeepCenteringClustering(
        10,
        **params,
        augment=augment,
        checkpoint=tmp_path / "fit.pt",
        random_state=0,
    )
    with pytest.raises(KeyboardInterrupt):
        est.set_params(device="cuda").fit(X)
    est.set_params(device="cpu").fit(X)
    assert augment.left == -17  # two epochs are left
    assert est.history_["phase"] == ["pretrain"] * 2 + ["cluster"] * 3
