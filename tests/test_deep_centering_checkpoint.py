"""DeepCenteringClustering interrupted, and going on from its checkpoint."""

import json
import os
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from skrbf import DeepCenteringClustering
from skrbf._described import described
from skrbf.engine import checkpoint as on_disk
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


class Interrupting:
    """An augmentation that is interrupted after some batches."""

    def __init__(self):
        self.left = np.inf

    def __call__(self, rows):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return rows + 0.1 * torch.randn(rows.shape)


SYSTEMS = {
    "default": {},
    "DCN": {"temperature": 0, "center_update": "running_mean", "reinit_interval": None},
    "DKM": {
        "center_update": "gradient",
        "through_weights": True,
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


@pytest.mark.parametrize(
    "left", [3, 8, 9, 13]
)  # of 16 batches, 8 of them of clustering
@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS.keys())
def test_a_fit_goes_on_from_its_checkpoint(tmp_path, system, left):
    """The same as one that was never interrupted, to the last bit."""
    path, augment = tmp_path / "state.pt", Interrupting()
    est = net(augment=augment, **system)
    whole = est.fit(GOOD).transform(GOOD)
    history = est.history_

    est = net(augment=augment, checkpoint=path, **system)
    augment.left = left
    with pytest.raises(KeyboardInterrupt):
        est.fit(GOOD)
    assert path.exists()
    assert not hasattr(est, "labels_")
    augment.left = 16 - left // 2 * 2
    est.fit(GOOD)
    assert augment.left == 0  # nothing was done twice
    assert not list(tmp_path.iterdir())
    assert_array_equal(est.transform(GOOD), whole)
    for name in set(history) - {"seconds"}:
        assert_array_equal(est.history_[name], history[name])


def test_labels_that_had_settled_before_the_interruption(tmp_path):
    path, augment = tmp_path / "state.pt", Interrupting()
    params = {"tol": 1.0, "max_iter": 30, "augment": augment}
    assert net(**params).fit(GOOD).n_iter_ == 3
    for tol, n_iter in ((1.0, 3), (0.0, 30)):
        augment.left = 8 + 4
        with pytest.raises(KeyboardInterrupt):
            net(**params, checkpoint=str(path)).fit(GOOD)
        augment.left = np.inf
        est = net(**params | {"tol": tol}, checkpoint=str(path)).fit(GOOD)
        assert est.n_iter_ == n_iter


@pytest.mark.parametrize("interval", [4, None])
def test_labels_that_have_settled_by_another_tol(tmp_path, interval):
    """The fit ends at once, with K-means where it has any."""
    path, augment = tmp_path / "state.pt", Interrupting()
    params = {"reinit_interval": interval, "max_iter": 30, "augment": augment}
    augment.left = 8 + 5 * 2
    with pytest.raises(KeyboardInterrupt):
        net(**params, checkpoint=path).fit(GOOD)
    augment.left = np.inf
    settled = net(**params, tol=1.0, checkpoint=path).fit(GOOD)
    assert settled.n_iter_ == 5
    whole = net(**params | {"max_iter": 5}).fit(GOOD)
    assert_array_equal(settled.cluster_centers_, whole.cluster_centers_)
    assert_array_equal(settled.labels_, whole.labels_)


def poor(n_features, n_components):
    """Codes of nothing, and one standard deviation too much of every feature."""
    module = Autoencoder(
        nn.Linear(n_features, n_components), nn.Linear(n_components, n_features)
    )
    nn.init.zeros_(module.decoder.weight)
    nn.init.ones_(module.decoder.bias)
    return module


def warned_when_done(est, path):
    """Leave the checkpoint of a fit whose last epoch is over, and no more."""
    est.set_params(checkpoint=path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning):
            est.fit(GOOD)
    assert path.exists()
    assert not hasattr(est, "labels_")


@pytest.mark.parametrize(("done", "wanted"), [(2, 2), (2, 4), (2, 9), (4, 4)])
@pytest.mark.filterwarnings("ignore:In its last epoch the network")
def test_an_end_that_is_set_anew(tmp_path, done, wanted):
    """The same as if it had been asked for at first."""
    path, augment = tmp_path / "state.pt", Interrupting()
    params = {"augment": augment, "encoder": poor, "learning_rate": 1e-6}
    params["reinit_interval"] = 3
    whole = net(max_iter=wanted, tol=0.0, **params).fit(GOOD)
    if done == 2:
        augment.left = 8 + 2 * 2  # pretraining, and two epochs of two batches
        with pytest.raises(KeyboardInterrupt):
            net(max_iter=4, checkpoint=path, **params).fit(GOOD)
        augment.left = np.inf
    else:
        warned_when_done(net(max_iter=4, **params), path)
    held = path.read_bytes()
    with pytest.raises(
        ValueError, match=f"holds {done} epochs of clustering, more than"
    ):
        net(max_iter=1, checkpoint=path, **params).fit(GOOD)
    assert path.read_bytes() == held
    more = net(max_iter=wanted, tol=0.0, checkpoint=path, **params).fit(GOOD)
    assert more.n_iter_ == whole.n_iter_ == wanted
    assert_array_equal(more.transform(GOOD), whole.transform(GOOD))
    assert_array_equal(more.cluster_centers_, whole.cluster_centers_)
    assert not path.exists()


@pytest.mark.parametrize(
    ("params", "X", "what"),
    [
        ({"clustering_weight": 0.5}, GOOD, "clustering_weight"),
        ({"hidden_layer_sizes": (9,)}, GOOD, "hidden_layer_sizes"),
        ({"augment": RandomAffine(input_shape=(2, 3))}, GOOD, "augment"),
        ({}, GOOD[:-1], "X, sample_weight"),
        ({}, np.vstack([GOOD, GOOD[:1]]), "X, sample_weight"),
        ({}, GOOD**2, "X"),
    ],
)
def test_a_checkpoint_of_another_fit_is_refused(tmp_path, params, X, what):
    path, augment = tmp_path / "state.pt", Interrupting()
    augment.left = 5
    with pytest.raises(KeyboardInterrupt):
        net(augment=augment, checkpoint=path).fit(GOOD)
    held = path.read_bytes()
    est = net(**{"augment": augment, "checkpoint": path, **params})
    message = f"is of a fit with other {what}. Fit with those of before, remove"
    with pytest.raises(ValueError, match=message):
        est.fit(X)
    assert path.read_bytes() == held
    augment.left = np.inf
    net(augment=augment, checkpoint=path).fit(GOOD)
    assert not path.exists()


def interrupted(path, **params):
    augment = Interrupting()
    augment.left = 5
    with pytest.raises(KeyboardInterrupt):
        net(augment=augment, checkpoint=path, **params).fit(GOOD)
    augment.left = np.inf
    return net(augment=augment, checkpoint=path, **params)


def test_a_checkpoint_of_a_network_with_other_layers(tmp_path):
    class Making:
        def __init__(self, width):
            self.width = width

        def __call__(self, n_features, n_components):
            return DenseAutoencoder(n_features, n_components, (self.width,))

    est = interrupted(tmp_path / "state.pt", encoder=Making(8))
    message = "is of a fit with other layers of the network. Fit with those of before"
    with pytest.raises(ValueError, match=message):
        est.set_params(encoder=Making(9)).fit(GOOD)
    est.set_params(encoder=Making(8)).fit(GOOD)


def test_equal_numbers_are_no_other_parameters(tmp_path):
    numbers = {"clustering_weight": 1, "temperature": 0, "max_iter": np.int64(4)}
    est = interrupted(tmp_path / "state.pt", **numbers, hidden_layer_sizes=(8,))
    est.set_params(
        clustering_weight=1.0,
        temperature=np.float32(0.0),
        n_clusters=np.int64(3),
        hidden_layer_sizes=np.array([8]),
    ).fit(GOOD)
    whole = net(augment=Interrupting(), **numbers).fit(GOOD)
    assert_array_equal(est.cluster_centers_, whole.cluster_centers_)


def test_where_a_fit_runs_and_what_it_prints_may_change(tmp_path, capsys):
    path, augment = tmp_path / "state.pt", Interrupting()
    augment.left = 5
    with pytest.raises(KeyboardInterrupt):
        net(augment=augment, checkpoint=path, verbose=1, device="cpu").fit(GOOD)
    augment.left = 16 - 4
    net(augment=augment, checkpoint=path, verbose=0, device="auto").fit(GOOD)
    assert augment.left == 0
    assert "epoch 2, pretrain" in capsys.readouterr().out


def test_a_fit_that_goes_on_says_so(tmp_path, capsys):
    path, augment = tmp_path / "state.pt", Interrupting()
    est = net(augment=augment, checkpoint=path)
    augment.left = 5
    with pytest.raises(KeyboardInterrupt):
        est.fit(GOOD)
    augment.left = np.inf
    est.set_params(verbose=1).fit(GOOD)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(f"] goes on after epoch 2, from {path}")
    assert "] epoch 3, pretrain" in lines[1]


def test_other_weights_are_another_fit(tmp_path):
    """Also where X is the same: the scaling of a warm start does not tell."""
    path, augment = tmp_path / "state.pt", Interrupting()
    est = net(warm_start=True, max_iter=1).fit(GOOD)
    est.set_params(augment=augment, checkpoint=path, max_iter=4)
    augment.left = 3
    with pytest.raises(KeyboardInterrupt):
        est.fit(GOOD)
    with pytest.raises(ValueError, match="a fit with other sample_weight"):
        est.fit(GOOD, sample_weight=np.arange(1, 61))


def test_weights_in_another_order_are_another_fit(tmp_path):
    path, augment = tmp_path / "state.pt", Interrupting()
    est = net(warm_start=True, max_iter=1).fit(GOOD)
    est.set_params(augment=augment, checkpoint=path, max_iter=4)
    augment.left = 3
    weight = np.arange(1, 61)
    with pytest.raises(KeyboardInterrupt):
        est.fit(GOOD, sample_weight=weight)
    augment.left = np.inf
    with pytest.raises(ValueError, match="a fit with other sample_weight"):
        est.fit(GOOD, sample_weight=weight[::-1])


def test_an_interruption_while_it_is_written(tmp_path, monkeypatch):
    """The file of the epoch before is whole, and the fit goes on from it."""
    path, save, n_written = tmp_path / "state.pt", torch.save, 0

    def broken(content, file):
        nonlocal n_written
        n_written += 1
        save(content, file)
        if n_written == 3:
            file.write_bytes(file.read_bytes()[:100])
            raise KeyboardInterrupt

    monkeypatch.setattr(on_disk.torch, "save", broken)
    with pytest.raises(KeyboardInterrupt):
        net(checkpoint=path).fit(GOOD)
    est = net(checkpoint=path).fit(GOOD)
    assert n_written == 3 + 8 - 2
    assert_array_equal(est.transform(GOOD), net().fit(GOOD).transform(GOOD))


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    """Is no matter of its content."""
    path = tmp_path / "state.pt"
    path.write_bytes(b"something")

    def forbidden(*args, **kwargs):
        raise PermissionError

    monkeypatch.setattr(on_disk.Path, "read_bytes", forbidden)
    with pytest.raises(PermissionError):
        net(checkpoint=path).fit(GOOD)


NETWORK = """
from functools import partial
from torch import nn
from skrbf._described import described
from skrbf.nn import Autoencoder

def make(n_features, n_components, activation=nn.ReLU):
    sizes = [n_features, 8, n_components]
    layers = [nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]) if a not in {"x", "yy"}]
    return Autoencoder(nn.Sequential(*layers), nn.Linear(n_components, n_features))

def of(activation):
    return lambda n_features, n_components: make(n_features, n_components, activation)
"""


def test_a_network_is_known_again_in_another_process():
    script = NETWORK + "print(described([make, of(nn.Tanh), partial(make, 3)]))"
    texts = []
    for seed in "12":
        env = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run(
            [sys.executable, "-c", script], env=env, capture_output=True, check=True
        )
        texts.append(run.stdout)
    assert texts[0] == texts[1]
    assert b"0x" not in texts[0]


def composed(*functions):
    def made(rows):
        for function in functions:
            rows = function(rows)
        return rows

    return made


def times(factor):
    return composed(composed(lambda rows: rows * factor), torch.abs)


def tagged(tag):
    def made(rows):
        rows.tag = tag
        return rows

    return made


def unknown():
    if False:
        never = 1
    return lambda: never


class Scaled(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor


class Counting:
    def __init__(self):
        self.n_calls = 0

    def __call__(self, rows):
        self.n_calls += 1
        return rows


def test_what_tells_two_values_apart():
    made, again = {}, {}
    for names in (made, again):
        exec(NETWORK, names)  # as a cell of a notebook that is run twice
    assert described(made["make"]) == described(again["make"])
    assert described(made["of"](nn.Tanh)) == described(again["of"](nn.Tanh))
    make, of, partial = made["make"], made["of"], made["partial"]
    torch.manual_seed(0)
    different = [
        make, partial(make, activation=nn.Tanh), partial(make, activation=nn.GELU),
        of, of(nn.Tanh), of(nn.GELU), lambda rows: rows + 1, lambda rows: rows - 1,
        lambda rows: rows.exp(), lambda rows: rows.log(), lambda rows, by=1: rows,
        lambda rows, by=2: rows, nn.ReLU, nn.Tanh, nn.Linear(2, 2), nn.Linear(2, 2),
        RandomAffine(5), RandomAffine(6), Counting(), Counting().__call__, None, 1, 1.0,
        "1", (1, 2), (2, 1), np.array([1, 2]), np.array([2, 1]), np.float32, {1: 2},
        times(0.5), times(0.9), tagged(1), tagged(2), slice(1, 3), slice(2, 4),
        nn.Sequential(Scaled(2.0)), nn.Sequential(Scaled(3.0)), unknown(),
        nn.LazyLinear(3), nn.LazyLinear(4), nn.Linear(2, 2).bfloat16(),
    ]  # fmt: skip
    assert len({described(each) for each in different}) == len(different)
    for same in (({1, 2}, {2, 1}), ([1], (1,)), (np.int64(3), 3)):
        assert described(same[0]) == described(same[1])
    counting, rows, n_calls = Counting(), [], 0

    def rows_seen(given, seen=[]):  # noqa: B006
        def count():
            nonlocal n_calls
            n_calls += 1

        count()
        seen.append(given)
        rows.append(given)
        return rows

    before = described([counting, rows_seen])
    counting(rows_seen(3))
    assert described([counting, rows_seen]) == before  # use has changed them
    assert (counting.n_calls, rows, n_calls) == (1, [3], 1)
    rows.append(rows)
    described(rows)  # and it ends


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", b"Good\n", "tensor", "cut", None]
)
def test_a_file_that_is_no_checkpoint(tmp_path, content):
    path = tmp_path / "state.pt"
    if isinstance(content, str):
        torch.save(torch.ones(3), path)
        whole = path.read_bytes()
        path.write_bytes(whole if content == "tensor" else whole[:500])
    elif content is None:
        half_a_checkpoint(path)
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(f"{path}' is not a checkpoint of")):
        net(checkpoint=path).fit(GOOD)
    assert path.exists()
    with pytest.raises(IsADirectoryError, match="is a folder, not a file"):
        net(checkpoint=tmp_path).fit(GOOD)


def half_a_checkpoint(path):
    augment = Interrupting()
    augment.left = 5
    with pytest.raises(KeyboardInterrupt):
        net(augment=augment, checkpoint=path).fit(GOOD)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def test_two_fits_with_one_file(tmp_path, monkeypatch):
    save = torch.save

    def save_and_lose(whole, draft):
        save(whole, draft)
        draft.rename(tmp_path / "state.pt")  # as the other fit does

    monkeypatch.setattr(on_disk.torch, "save", save_and_lose)
    with pytest.raises(FileNotFoundError, match="need a checkpoint each"):
        net(checkpoint=tmp_path / "state.pt").fit(GOOD)


def test_a_checkpoint_without_all_its_parts(tmp_path):
    path, augment = tmp_path / "state.pt", Interrupting()
    augment.left = 13
    est = net(augment=augment, checkpoint=path)
    with pytest.raises(KeyboardInterrupt):
        est.fit(GOOD)
    augment.left = np.inf
    whole = torch.load(path, weights_only=True)
    for key in whole:
        torch.save({k: v for k, v in whole.items() if k != key}, path)
        with pytest.raises(ValueError, match="is not a checkpoint of"):
            est.fit(GOOD)
    torch.save(whole, path)
    est.fit(GOOD)


def test_a_checkpoint_of_another_version(tmp_path):
    path = tmp_path / "state.pt"
    est = interrupted(path)
    whole = torch.load(path, weights_only=True)
    was = json.loads(whole["configuration"])
    was["layout"] = was["layout"].rpartition(" ")[0]  # reports had a field less
    torch.save({**whole, "configuration": json.dumps(was)}, path)
    with pytest.raises(ValueError, match="was written by another version of skrbf"):
        est.fit(GOOD)


def test_a_checkpoint_without_a_folder(tmp_path):
    path = tmp_path / "nowhere" / "state.pt"
    with pytest.raises(FileNotFoundError, match="is in a folder that is not there"):
        net(checkpoint=path).fit(GOOD)


def test_a_folder_that_may_not_be_written_to(tmp_path, monkeypatch):
    """Is told of before the first epoch."""
    monkeypatch.setattr(on_disk.os, "access", lambda *args: False)
    seen = []
    with pytest.raises(PermissionError, match="may not be written to"):
        net(checkpoint=tmp_path / "state.pt", augment=seen.append).fit(GOOD)
    assert not seen


@pytest.mark.filterwarnings("ignore:encoder is a module")
def test_a_checkpoint_knows_the_weights_it_started_from(tmp_path):
    path, augment = tmp_path / "state.pt", Interrupting()
    a, b = (net(max_iter=0, random_state=s).fit(GOOD).autoencoder_ for s in (0, 1))
    augment.left = 2
    with pytest.raises(KeyboardInterrupt):
        net(encoder=a, augment=augment, checkpoint=path).fit(GOOD)
    augment.left = np.inf
    with pytest.raises(ValueError, match="other encoder, weights of the network"):
        net(encoder=b, augment=augment, checkpoint=path).fit(GOOD)
    net(encoder=a, augment=augment, checkpoint=path).fit(GOOD)


def test_a_checkpoint_knows_the_settings_of_an_augmentation(tmp_path):
    path = tmp_path / "state.pt"

    class Breaking(RandomAffine):
        def forward(self, images):
            if path.exists():
                raise KeyboardInterrupt
            return super().forward(images)

    with pytest.raises(KeyboardInterrupt):
        net(augment=Breaking(1, input_shape=(2, 3)), checkpoint=path).fit(GOOD)
    more = Breaking(90, input_shape=(2, 3))
    with pytest.raises(ValueError, match="other augment"):
        net(augment=more, checkpoint=path).fit(GOOD)
