"""Settings of torch in a deep fit."""

import torch

from skrbf.engine.deep.fit import deterministic_convolutions


def test_convolutions_are_deterministic_and_settings_are_restored():
    cudnn = torch.backends.cudnn
    before = cudnn.enabled, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic
    with deterministic_convolutions(torch.device("cuda")):
        assert (cudnn.enabled, cudnn.allow_tf32) == before[:2]
        assert (cudnn.benchmark, cudnn.deterministic) == (False, True)
    now = cudnn.enabled, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic
    assert now == before
