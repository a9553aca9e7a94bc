"""Number of threads: one for little work, else those of the caller."""

import threading

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs
from threadpoolctl import threadpool_limits
from torch.overrides import TorchFunctionMode

from skrbf import DeepCenteringClustering, RBFNetClassifier, SoftKMeans
from skrbf.engine.data import device as compute_module
from skrbf.engine.data.device import Compute


class Threads(TorchFunctionMode):
    """Records the number of threads in torch functions with large results."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        many = isinstance(result, torch.Tensor) and result.numel() >= 200
        if many and result.is_floating_point():
            self.seen.add(torch.get_num_threads())
        return result


def resolved(work):
    return Compute.resolve("cpu", torch.float32, work=work, memory_bytes=1 << 30)


@pytest.fixture
def four_cpus(monkeypatch):
    """A process that may use four CPUs, and a caller that has four threads."""
    monkeypatch.setattr(compute_module, "usable_cpus", lambda: 4)
    torch.get_num_threads()
    with threadpool_limits(4):
        yield


def test_threads_grow_with_the_work(four_cpus):
    found = []
    for power in range(20, 40):
        with resolved(1 << power).limited_threads():
            found.append(torch.get_num_threads())
        assert torch.get_num_threads() == 4
    assert found == sorted(found)
    assert set(found) == {1, 2, 4}


def test_at_most_the_threads_of_caller_and_process(monkeypatch):
    for cpus, given in ((1, 4), (4, 1), (2, 4)):
        monkeypatch.setattr(compute_module, "usable_cpus", lambda cpus=cpus: cpus)
        with threadpool_limits(given), resolved(1 << 60).limited_threads():
            assert torch.get_num_threads() == min(cpus, given)


def test_cpu_quota_limits_threads(monkeypatch):
    """joblib reads CPU affinity and the quotas of containers."""
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    compute_module.usable_cpus.cache_clear()
    with threadpool_limits(4), resolved(1 << 60).limited_threads():
        assert torch.get_num_threads() == 1
    compute_module.usable_cpus.cache_clear()


def test_errors_restore_the_limit(four_cpus):
    with pytest.raises(KeyboardInterrupt), resolved(1).limited_threads():
        raise KeyboardInterrupt
    assert torch.get_num_threads() == 4


def test_limit_applies_to_the_calling_thread_only(four_cpus):
    seen = {}

    def look(name):
        torch.get_num_threads()  # torch initializes its threads here
        with threadpool_limits(3):
            ready.wait()
            done.wait()
            seen[name] = torch.get_num_threads()

    ready, done = threading.Barrier(2), threading.Event()
    other = threading.Thread(target=look, args=("other",))
    other.start()
    with resolved(1).limited_threads():
        ready.wait()
        seen["own"] = torch.get_num_threads()
        done.set()
        other.join()
    assert seen == {"own": 1, "other": 3}


SMALL = {
    "softkmeans": SoftKMeans(4),
    "rbf": RBFNetClassifier(8, max_iter=3, random_state=0),
    "deep": DeepCenteringClustering(
        4,
        n_components=2,
        hidden_layer_sizes=(8,),
        pretrain_epochs=2,
        max_iter=2,
        random_state=0,
    ),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("est", SMALL.values(), ids=SMALL.keys())
def test_small_fits_and_predictions_use_one_thread(four_cpus, est):
    X, y = make_blobs(200, 3, centers=4, random_state=0)
    with Threads() as fitting:
        est.fit(X, y)
    assert fitting.seen == {1}
    calls = ["predict", "predict_proba", "transform"]
    for name in calls:
        with Threads() as predicting:
            getattr(est, name)(X)
        assert predicting.seen == {1}
    with Threads() as scoring:
        est.score(X, y)
    assert scoring.seen == {1}
    if hasattr(est, "partial_fit"):
        with Threads() as streaming:
            est.partial_fit(X, y)
        assert streaming.seen == {1}
    assert torch.get_num_threads() == 4


def test_large_fits_use_the_threads_of_the_caller(four_cpus):
    X = np.random.default_rng(0).random((60_000, 40), dtype=np.float32)
    est = SoftKMeans(100, init="random", n_init=1, max_iter=1, temperature=0.1)
    with Threads() as fitting, pytest.warns(match="did not converge"):
        est.fit(X)
    assert max(fitting.seen) == 4
