"""DeepCenteringClustering, interrupted and resumed from its checkpoint."""

import os
import re
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from helpers import Interrupting, poor_autoencoder
from skrbf import DeepCenteringClustering
from skrbf.nn import Autoencoder, DenseAutoencoder, RandomAffine

RNG = np.random.default_rng(0)
GOOD = RNG.normal(size=(60, 6)) + 4 * (np.arange(60) % 3)[:, None]
SMALL = {
    "n_components": 2,
    "hidden_layer_sizes": (8,),
    "pretrain_epochs": 4,
    "max_iter": 4,
    "reinit_interval": 2,
    "batch_size": 32,
    "learning_rate": 0.01,
    "tol": 0.0,
    "random_state": 0,
}


def net(n_clusters=3, **params):
    return DeepCenteringClustering(n_clusters, **SMALL | params)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.pt"


def interrupted(path, left=5, X=GOOD, **params):
    """Leave a checkpoint after some batches, and return an estimator that resumes."""
    augment = Interrupting()
    augment.left = left
    with pytest.raises(KeyboardInterrupt):
        net(augment=augment, checkpoint=path, **params).fit(X)
    augment.left = np.inf
    return net(augment=augment, checkpoint=path, **params)


SYSTEMS = {
    "default": {},
    "DCN": {"temperature": 0, "center_update": "running_mean", "reinit_interval": None},
    "DKM": {
        "center_update": "gradient",
        "differentiate_assignments": True,
        "code_activation": "linear",
    },
    "BRB": {"weight_reset": 0.2, "reinit_interval": 2},
    "SR-K-means": {
        "code_activation": "tanh",
        "centering": "regularized",
        "assignment_update": "epoch",
        "center_update": "soft_mean",
        "reinit_interval": None,
    },
    "denoising": {"denoising": 0.2},
}


@pytest.mark.parametrize("left", [3, 8, 9, 13])  # batches of 16, half of clustering
@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS.keys())
def test_a_resumed_fit_equals_an_uninterrupted_one(path, system, left):
    """To the last bit."""
    uninterrupted = net(augment=Interrupting(), **system).fit(GOOD)
    est = interrupted(path, left, **system)
    assert path.exists()
    est.augment.left = 16 - left // 2 * 2
    est.fit(GOOD)
    assert est.augment.left == 0  # nothing was done twice
    assert not list(path.parent.iterdir())
    assert_array_equal(est.transform(GOOD), uninterrupted.transform(GOOD))
    for name in set(uninterrupted.history_) - {"seconds"}:
        assert_array_equal(est.history_[name], uninterrupted.history_[name])


def test_a_resumed_fit_counts_settled_epochs_before_the_interruption(path):
    params = {"tol": 1.0, "max_iter": 30}
    assert net(**params, augment=Interrupting()).fit(GOOD).n_iter_ == 3
    for tol, n_iter in ((1.0, 3), (0.0, 30)):
        est = interrupted(str(path), 8 + 4, **params)
        assert est.set_params(tol=tol).fit(GOOD).n_iter_ == n_iter


@pytest.mark.parametrize("interval", [4, None])
def test_a_resumed_fit_with_a_larger_tol_ends_at_once(path, interval):
    """With K-means at its end, unless the interval is None."""
    params = {"reinit_interval": interval, "max_iter": 30}
    settled = interrupted(path, 8 + 5 * 2, **params).set_params(tol=1.0).fit(GOOD)
    assert settled.n_iter_ == 5
    uninterrupted = net(**params | {"max_iter": 5}, augment=Interrupting()).fit(GOOD)
    assert_array_equal(settled.cluster_centers_, uninterrupted.cluster_centers_)
    assert_array_equal(settled.labels_, uninterrupted.labels_)


def warned_when_done(est, path):
    """Interrupt a fit by a warning after its last epoch, and keep the checkpoint."""
    est.set_params(checkpoint=path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning):
            est.fit(GOOD)
    assert path.exists()
    assert not hasattr(est, "labels_")


@pytest.mark.parametrize(("done", "wanted"), [(2, 2), (2, 4), (2, 9), (4, 4)])
@pytest.mark.filterwarnings("ignore:In its last epoch the network")
def test_max_iter_may_change_when_a_fit_resumes(path, done, wanted):
    """The result is that of an uninterrupted fit with this max_iter."""
    params = {"encoder": poor_autoencoder, "learning_rate": 1e-6, "reinit_interval": 3}
    uninterrupted = net(max_iter=wanted, augment=Interrupting(), **params).fit(GOOD)
    if done == 2:
        est = interrupted(path, 8 + 2 * 2, **params)  # two epochs of two batches
    else:
        est = net(augment=Interrupting(), **params)
        warned_when_done(est, path)
    held = path.read_bytes()
    message = f"holds {done} epochs of clustering, more than"
    with pytest.raises(ValueError, match=message):
        est.set_params(max_iter=1).fit(GOOD)
    assert path.read_bytes() == held
    more = est.set_params(max_iter=wanted).fit(GOOD)
    assert more.n_iter_ == uninterrupted.n_iter_ == wanted
    assert_array_equal(more.transform(GOOD), uninterrupted.transform(GOOD))
    assert_array_equal(more.cluster_centers_, uninterrupted.cluster_centers_)
    assert not path.exists()


@pytest.mark.parametrize(
    ("params", "X", "what"),
    [
        ({"clustering_weight": 0.5}, GOOD, "clustering_weight"),
        ({"hidden_layer_sizes": (9,)}, GOOD, "hidden_layer_sizes"),
        ({"augment": RandomAffine(input_shape=(2, 3))}, GOOD, "augment"),
        ({"augment": Interrupting(0.2)}, GOOD, "augment"),
        ({}, GOOD[:-1], "X, sample_weight"),
        ({}, np.vstack([GOOD, GOOD[:1]]), "X, sample_weight"),
        ({}, GOOD**2, "X"),
    ],
)
def test_a_checkpoint_of_another_fit_is_an_error(path, params, X, what):
    est = interrupted(path)
    held = path.read_bytes()
    message = (
        f"is of a fit with different {what}. Restore the values of that fit, remove"
    )
    with pytest.raises(ValueError, match=message):
        clone(est).set_params(**params).fit(X)
    assert path.read_bytes() == held
    est.fit(GOOD)
    assert not path.exists()


class Making:
    """A factory of networks with a width that is not in its pickle."""

    shared = 8

    def __init__(self, width):
        self.width = width

    def __call__(self, n_features, n_components):
        return DenseAutoencoder(n_features, n_components, (self.width, self.shared))


def test_a_checkpoint_of_a_network_with_other_layers_is_an_error(path, monkeypatch):
    """Also if the encoder has the same name and pickle."""
    est = interrupted(path, encoder=Making(8))
    with pytest.raises(
        ValueError, match=r"different encoder, layers of the network\. Restore"
    ):
        est.set_params(encoder=Making(9)).fit(GOOD)
    est.set_params(encoder=Making(8))
    with monkeypatch.context() as patched:
        patched.setattr(Making, "shared", 9)
        with pytest.raises(
            ValueError, match=r"with different layers of the network\. Restore"
        ):
            est.fit(GOOD)
    est.fit(GOOD)


def test_equal_numbers_of_any_type_are_the_same_parameters(path):
    numbers = {"clustering_weight": 1, "temperature": 0, "max_iter": np.int64(4)}
    numbers |= {"hidden_layer_sizes": (8,), "input_shape": (2, 3)}
    est = interrupted(path, **numbers)
    est.set_params(
        clustering_weight=1.0,
        temperature=np.float32(0.0),
        n_clusters=np.int64(3),
        hidden_layer_sizes=np.array([8]),
        input_shape=[np.int64(2), 3],
    ).fit(GOOD)
    uninterrupted = net(augment=Interrupting(), **numbers).fit(GOOD)
    assert_array_equal(est.cluster_centers_, uninterrupted.cluster_centers_)


def test_equal_rows_are_the_same_data(path):
    """In another order and container, and with equal weights."""
    zero = GOOD * [1, 1, 1, 1, 1, 0]
    assert np.signbit(zero[:, 5]).any()
    est = interrupted(path, X=zero)
    est.augment.left = 16 - 4
    est.fit(csr_array(zero[::-1]), sample_weight=np.full(60, 2.0))
    assert est.augment.left == 0


def test_device_and_verbose_may_change_when_a_fit_resumes(path, capsys):
    est = interrupted(path, verbose=1, device="cpu")
    assert "epoch 2, pretrain" in capsys.readouterr().out
    est.augment.left = 16 - 4
    est.set_params(verbose=0, device="auto").fit(GOOD)
    assert est.augment.left == 0
    assert not capsys.readouterr().out


def test_verbose_prints_that_a_fit_resumes(path, capsys):
    interrupted(path).set_params(verbose=1).fit(GOOD)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(f"] resumes after epoch 2, from {path}")
    assert "] epoch 3, pretrain" in lines[1]


@pytest.mark.parametrize("weight", [None, np.arange(1, 61)])
def test_other_sample_weights_are_an_error(path, weight):
    """Also in a warm start, in which the scaling does not depend on the weights."""
    augment = Interrupting()
    est = net(warm_start=True, max_iter=1).fit(GOOD)
    est.set_params(augment=augment, checkpoint=path, max_iter=4)
    augment.left = 3
    with pytest.raises(KeyboardInterrupt):
        est.fit(GOOD, sample_weight=weight)
    augment.left = np.inf
    with pytest.raises(ValueError, match="a fit with different sample_weight"):
        est.fit(GOOD, sample_weight=np.arange(60, 0, -1))


def test_an_interruption_while_the_checkpoint_is_written(path, monkeypatch):
    """The file of the epoch before stays intact, and the fit resumes from it."""
    save, n_written = torch.save, 0

    def broken(content, file):
        nonlocal n_written
        n_written += 1
        save(content, file)
        if n_written == 3:
            file.write_bytes(file.read_bytes()[:100])
            raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(KeyboardInterrupt):
        net(checkpoint=path).fit(GOOD)
    est = net(checkpoint=path).fit(GOOD)
    assert n_written == 3 + 8 - 2
    assert_array_equal(est.transform(GOOD), net().fit(GOOD).transform(GOOD))


def test_an_unreadable_file_is_a_permission_error(path, monkeypatch):
    """It is not taken for a file with other content."""
    path.write_bytes(b"something")

    def forbidden(*args, **kwargs):
        raise PermissionError

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    with pytest.raises(PermissionError):
        net(checkpoint=path).fit(GOOD)


SCRIPT = """
import sys
import numpy as np, torch
from torch import nn
from skrbf import DeepCenteringClustering
from skrbf.nn import Autoencoder

class Moving:
    left = np.inf

    def __init__(self):
        self.names = frozenset({"left", "right", "up", "down"}), {1, "two", None}
        self.by = torch.linspace(0, 0.1, 6)
        self.layer = nn.Conv1d(1, 1, 3, padding=1).requires_grad_(False)
        nn.init.dirac_(self.layer.weight)

    def __call__(self, rows):
        Moving.left -= 1
        if Moving.left < 0:
            raise KeyboardInterrupt
        return self.layer(rows[:, None])[:, 0] + self.by * torch.randn(rows.shape)

def make(n_features, n_components):
    return Autoencoder(nn.Linear(n_features, n_components), nn.Linear(n_components, 6))

Moving.left = 11 if sys.argv[1] == "1" else 6  # batches: no epoch is done twice
torch.rand(int(sys.argv[1]))  # other addresses, and another state of torch
torch.manual_seed(0)  # for the weights of the augmentation
X = np.random.default_rng(0).normal(size=(60, 6))
est = DeepCenteringClustering(
    3, n_components=2, pretrain_epochs=4, max_iter=4, batch_size=32, tol=0,
    encoder=make, augment=Moving(), checkpoint="state.pt", random_state=0,
)
resumed = est.fit(X).cluster_centers_
Moving.left = np.inf
assert np.array_equal(est.set_params(checkpoint=None).fit(X).cluster_centers_, resumed)
"""


def test_a_fit_resumes_in_another_process(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    runs = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "script.py", seed],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
        )
        for seed in "12"
    ]
    assert "KeyboardInterrupt" in runs[0].stderr
    assert runs[1].returncode == 0, runs[1].stderr


class Holding:
    """An object whose state is a function."""

    def __init__(self, function):
        self.function = function

    def __call__(self, rows):
        return self.function(rows)


def local_callables():
    def moved(rows):
        return rows + 0.1

    class Moved(nn.Identity):
        pass

    return [lambda rows: rows, moved, Moved(), partial(moved), Holding(moved)]


@pytest.mark.parametrize("augment", local_callables())
def test_an_augmentation_that_cannot_be_pickled_is_an_error(path, augment):
    """Before the first epoch, and only with a checkpoint."""
    est = net(augment=augment, checkpoint=path, max_iter=1)
    with pytest.raises(ValueError, match=r"augment cannot be pickled, .* module level"):
        est.fit(GOOD)
    assert not list(path.parent.iterdir())
    assert est.set_params(checkpoint=None).fit(GOOD).n_iter_ == 1


def made_locally(width):
    def make(n_features, n_components):
        return DenseAutoencoder(n_features, n_components, (width,))

    return make


def normed(n_features, n_components):
    first = nn.utils.parametrizations.weight_norm(nn.Linear(n_features, n_components))
    return Autoencoder(first, nn.Linear(n_components, n_features))


@pytest.mark.filterwarnings("ignore:encoder is a module")
@pytest.mark.filterwarnings("ignore:In its last epoch the network")
@pytest.mark.parametrize(
    ("encoder", "other"),
    [
        (made_locally(8), made_locally(9)),
        (lambda d, c: DenseAutoencoder(d, c, (8,)), made_locally(8)),
        (partial(made_locally(8)), partial(made_locally(9))),
        (normed(6, 2), normed(6, 2)),
    ],
    ids=["function", "lambda", "partial", "module"],
)
def test_an_encoder_that_cannot_be_pickled_is_an_error(path, encoder, other):
    """Only with a checkpoint. A warm start recognizes the encoder anyway."""
    est = net(encoder=encoder, checkpoint=path, warm_start=True)
    with pytest.raises(ValueError, match=r"encoder cannot be pickled, .* module level"):
        est.fit(GOOD)
    est.set_params(checkpoint=None).fit(GOOD).fit(GOOD)
    with pytest.raises(ValueError, match="encoder changed; set warm_start=False"):
        est.set_params(encoder=other).fit(GOOD)


def test_a_used_random_state_resumes_the_fit(path):
    """The state of the random numbers is in the file."""
    state = np.random.RandomState(0)
    est = interrupted(path, random_state=state).fit(GOOD)
    uninterrupted = net(augment=Interrupting(), random_state=np.random.RandomState(0))
    assert_array_equal(est.cluster_centers_, uninterrupted.fit(GOOD).cluster_centers_)


@pytest.mark.parametrize("content", [b"", b"none", b"Good\n", "tensor", "cut", "half"])
def test_another_file_is_not_a_checkpoint(path, content):
    if content == "half":
        interrupted(path)
    else:
        torch.save(torch.ones(3), path)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content != "tensor":
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
    with pytest.raises(
        ValueError, match=re.escape(f"{path}' is not a complete checkpoint of")
    ):
        net(checkpoint=path).fit(GOOD)
    assert path.exists()
    with pytest.raises(IsADirectoryError, match="is a folder, not a file"):
        net(checkpoint=path.parent).fit(GOOD)


def test_two_fits_with_one_file_are_an_error(path, monkeypatch):
    save = torch.save

    def save_and_lose(content, draft):
        save(content, draft)
        draft.rename(path)  # as the other fit does

    monkeypatch.setattr(torch, "save", save_and_lose)
    with pytest.raises(FileNotFoundError, match="need one checkpoint each"):
        net(checkpoint=path).fit(GOOD)


def test_a_checkpoint_without_one_of_its_parts_is_an_error(path):
    est = interrupted(path, 13)
    content = torch.load(path, weights_only=True)
    for key in content:
        torch.save({k: v for k, v in content.items() if k != key}, path)
        with pytest.raises(ValueError, match="is not a complete checkpoint of"):
            est.fit(GOOD)
    torch.save(content, path)
    est.fit(GOOD)


def test_a_checkpoint_of_another_version_is_an_error(path):
    est = interrupted(path)
    content = torch.load(path, weights_only=True)
    was = content["configuration"]
    older = [
        was | {"layout": was["layout"].rpartition(" ")[0]},  # reports had a field less
        was | {"a_former_parameter": was["n_clusters"]},
        {name: was[name] for name in was if name != "augment"},
    ]
    for configuration in older:
        torch.save({**content, "configuration": configuration}, path)
        with pytest.raises(ValueError, match="was written by another version of skrbf"):
            est.fit(GOOD)
    torch.save(content, path)
    est.fit(GOOD)


def test_a_checkpoint_in_a_missing_folder_is_an_error(tmp_path):
    path = tmp_path / "nowhere" / "state.pt"
    with pytest.raises(FileNotFoundError, match="is in a folder that does not exist"):
        net(checkpoint=path).fit(GOOD)


def test_a_read_only_folder_is_an_error(path, monkeypatch):
    """Before the first epoch."""
    monkeypatch.setattr(os, "access", lambda *args: False)
    seen = []
    with pytest.raises(PermissionError, match="may not be written to"):
        net(checkpoint=path, augment=seen.append).fit(GOOD)
    assert not seen


@pytest.mark.filterwarnings("ignore:encoder is a module")
def test_a_checkpoint_of_a_module_with_other_weights_is_an_error(path):
    a, b = (net(max_iter=0, random_state=s).fit(GOOD).autoencoder_ for s in (0, 1))
    est = interrupted(path, 2, encoder=a)
    with pytest.raises(ValueError, match="different encoder, weights of the network"):
        est.set_params(encoder=b).fit(GOOD)
    a.decoder.requires_grad_(requires_grad=False)
    with pytest.raises(ValueError, match=r"different encoder\. Restore"):
        est.set_params(encoder=a).fit(GOOD)
    a.requires_grad_().train()  # a fit sets the mode itself
    est.set_params(encoder=a).fit(GOOD)
