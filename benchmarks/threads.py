"""Measure times with the threads that skrbf chooses, on an idle and a busy machine.

Every fit and prediction is timed in three ways, in turn:

- one: with one thread;
- all: with all threads, whatever the work;
- chosen: with the number of threads that skrbf chooses, by the multiply-adds of a pass
  over the samples.

On the busy machine as many other processes compute as there are CPUs. There the threads
of one process wait for each other for longer than they compute. The output is medians
over the repeats, and ratios to one thread. Run as

    python benchmarks/threads.py
    python benchmarks/threads.py --repeats 3
"""

import argparse
import os
import subprocess
import sys
import warnings
from contextlib import contextmanager, nullcontext
from functools import partial
from statistics import median
from unittest import mock

import numpy as np
from _common import Report, alternate, environment
from sklearn.datasets import load_digits, make_blobs
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import ThreadpoolController

from skrbf import DeepCenteringClustering, RBFNetClassifier, SoftKMeans
from skrbf.engine.data import device as compute


def problems():
    """Return name, estimator, samples and classes of each problem."""
    X, y = load_digits(return_X_y=True)
    yield "digits", SoftKMeans(10), X, None
    yield "digits", RBFNetClassifier(max_iter=5, random_state=0), X, y
    small = {"pretrain_epochs": 2, "max_iter": 2, "random_state": 0}
    yield (
        "digits, 100 x 100",
        DeepCenteringClustering(10, hidden_layer_sizes=(100, 100), **small),
        X,
        None,
    )
    for n, d, k in ((20_000, 64, 20), (100_000, 16, 100)):
        X, _ = make_blobs(n, d, centers=k, cluster_std=6.0, random_state=0)
        yield f"{n} x {d}, k = {k}", SoftKMeans(k), X.astype(np.float32), None


@contextmanager
def busy(n_processes):
    """Keep other processes computing inside the block."""
    command = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(command) for _ in range(n_processes)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def timed(action, repeats):
    """Return the median time with one thread, and ratios for all and chosen threads."""

    def within(context):
        def run():
            with context():
                action()

        return run

    openmp = ThreadpoolController().select(user_api="openmp")  # takes milliseconds
    actions = {
        "one": within(partial(openmp.limit, limits=1)),
        "all": within(lambda: mock.patch.object(compute, "MIN_WORK_PER_THREAD", 1)),
        "chosen": within(nullcontext),
    }
    action()
    seconds, _ = alternate(actions, repeats)
    one, every, chosen = (median(seconds[name]) for name in actions)
    return 1e3 * one, every / one, chosen / one


def main():
    """Print the table of an idle and of a busy machine."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--output", help="Markdown file to write")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    with Report("Threads by the work", options.output) as report:
        report.items(environment("numpy", "scikit-learn", "torch", "skrbf"))
        table = report.table(
            machine="<7",
            problem="<24",
            estimator="<24",
            call="<8",
            one_ms=">9.1f",
            all=">6.2f",
            chosen=">6.2f",
        )
        for machine, n_processes in (("idle", 0), ("busy", os.cpu_count())):
            for name, est, X, y in problems():
                fitted = est.fit(X, y)
                with busy(n_processes):
                    calls = {
                        "fit": partial(est.fit, X, y),
                        "predict": partial(fitted.predict, X),
                    }
                    for call, action in calls.items():
                        found = timed(action, options.repeats)
                        table.add(machine, name, type(est).__name__, call, *found)


if __name__ == "__main__":
    main()
