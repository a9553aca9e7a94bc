"""Compare inertia and time of SoftKMeans at temperature 0 and other K-means.

For every dense data set in a folder, with k = the number of classes and five times
that, three methods are fitted to the same C-contiguous float32 array:

- SoftKMeans: ``SoftKMeans(k, temperature=0)``, other parameters at their defaults;
- KMeans: scikit-learn's ``KMeans(k, n_init=10, random_state=seed)``, the reference;
- bkmeans: breathing K-means, ``BKMeans(n_clusters=k, random_state=seed)`` of the
  package bkmeans, if installed.

The inertia of all methods is computed from their centers by the same float64 code, as
the sum of squared differences to the nearest centers. Its ratio to the inertia of
KMeans is below 1 if a method found a better clustering. With several seeds, a peer's
inertia is the mean over them.

Time is the median over the fits of a method; the time ratio divides it by the median
of KMeans. The methods run in turn in one process, after a fit of each to a thousand
samples to warm up. Problems that every method solves in less than a second are
repeated at least five times.

A data set is a file that ``load.py`` in the folder reads: ``load(name)`` returns
(X, y, info). In the subfolder ``small`` the label 0 marks noise, which does not count
as a class but stays in the data. Run as

    python benchmarks/kmeans_quality.py --data FOLDER
    python benchmarks/kmeans_quality.py --data FOLDER --sets usps small/sipu_s1
    python benchmarks/kmeans_quality.py --data FOLDER --max-size 1e8 --output FILE.md

``FOLDER`` defaults to the environment variable ``SKRBF_DATA``. The problems with few
samples per cluster need no folder: blobs, uniform and normal samples, a single feature,
the digits of scikit-learn, and samples repeated three times. Run as

    python benchmarks/kmeans_quality.py --few-rows --peers kmeans
"""

import argparse
import importlib.util
import math
import os
import sys
import warnings
from pathlib import Path

import numpy as np
from _common import Report, alternate, environment
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, make_blobs
from sklearn.exceptions import ConvergenceWarning

from skrbf import SoftKMeans

try:
    from bkmeans import BKMeans
except ImportError:
    BKMeans = None

CHUNK = 1 << 22  # distances held at once when inertia is computed
SHORT, REPEATS_SHORT = 1.0, 5  # seconds; repeats of problems shorter than that
WORSE = 1.005  # inertia ratios above this are counted


def find_sets(folder, wanted):
    """Return the names of data sets for ``load``, smallest files first."""
    files = [*folder.glob("*.npz"), *(folder / "small").glob("*.npz")]
    files = [file for file in files if not file.stem.endswith(".csr")]
    files.sort(key=lambda file: (file.stat().st_size, file.name))
    names = [file.relative_to(folder).with_suffix("").as_posix() for file in files]
    if not names:
        sys.exit(f"No .npz files in {folder}")
    known = set(names) | {Path(name).name for name in names}
    if unknown := set(wanted or ()) - known:
        sys.exit(f"Unknown sets {sorted(unknown)}; {folder} has {names}")
    return [n for n in names if not wanted or n in wanted or Path(n).name in wanted]


def load_function(folder):
    """Return the function ``load`` of the data folder."""
    spec = importlib.util.spec_from_file_location("data_folder", folder / "load.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load


def problems(names, load, max_size):
    """Yield (name, X, k) for each data set and both numbers of clusters."""
    for name in names:
        X, y, _ = load(name)
        X = np.ascontiguousarray(X, dtype=np.float32)
        if name.startswith("small/"):
            y = y[y != 0]
        n_classes = len(np.unique(y))
        for k in (n_classes, 5 * n_classes):
            if k < len(X) and X.size * k <= max_size:
                yield name, X, k


def few_rows_problems():
    """Yield (name, X, k) with one to twenty samples per cluster."""
    rng = np.random.default_rng(0)
    sets = (
        ("blobs", make_blobs(5000, 8, centers=50, random_state=0)[0], (1250, 2500)),
        ("uniform", rng.random((5000, 8)), (1250, 2500)),
        ("normal", rng.normal(size=(5000, 8)), (1250, 2500)),
        ("column", rng.random((20_000, 1)), (1000,)),
        ("digits", load_digits().data, (400, 1000)),
        ("three of each", rng.random((1000, 4)).repeat(3, axis=0), (600, 900)),
        ("nearly each", rng.normal(size=(1000, 4)), (900, 999)),
    )
    for name, X, numbers in sets:
        for k in numbers:
            yield name, np.ascontiguousarray(X, dtype=np.float32), k


def methods(k, seed, peers):
    """Return unfitted estimators by name."""
    found = {
        "SoftKMeans": SoftKMeans(k, temperature=0),
        "KMeans": KMeans(k, n_init=10, random_state=seed),
    }
    if "bkmeans" in peers:
        found["bkmeans"] = BKMeans(n_clusters=k, random_state=seed)
    return found


def fit(name, k, seed, peers, X):
    """Fit a new estimator; report a failure and return None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return methods(k, seed, peers)[name].fit(X)
    except Exception as error:
        size = f"{X.shape[0]} x {X.shape[1]}, k={k}"
        print(f"{name}, {size}: {type(error).__name__}: {error}", file=sys.stderr)
        return None


def inertia(X, centers, k):
    """Return the sum of squared distances to the nearest centers, in float64."""
    centers = np.asarray(centers, dtype=np.float64)
    if centers.shape != (k, X.shape[1]):
        raise ValueError(f"expected {k} centers, got an array of {centers.shape}")
    rows = max(1, CHUNK // k)
    return math.fsum(
        cdist(X[i : i + rows].astype(np.float64), centers, "sqeuclidean")
        .min(axis=1)
        .sum()
        for i in range(0, len(X), rows)
    )


def compare(X, k, args, peers):
    """Return inertia (mean over seeds) and seconds (median) of every method.

    Returns
    -------
    inertias, seconds : dict of str to float
        A method that failed is missing.
    """
    sample = np.ascontiguousarray(X[:: max(1, len(X) // max(1000, 2 * k))])
    names = [n for n in methods(k, 0, peers) if fit(n, k, 0, peers, sample)]

    seconds, inertias = {name: [] for name in names}, {name: [] for name in names}
    for seed in args.seeds:
        actions = {
            name: lambda name=name, seed=seed: fit(name, k, seed, peers, X)
            for name in names
        }
        times, models = alternate(actions, 1)
        names = [name for name in names if models[name]]
        repeats = args.repeats
        if max((times[name][0] for name in names), default=0) < SHORT:
            repeats = max(repeats, REPEATS_SHORT)
        more, _ = alternate({name: actions[name] for name in names}, repeats - 1)
        for name in names:
            inertias[name].append(inertia(X, models[name].cluster_centers_, k))
            seconds[name] += times[name] + more[name]
    return (
        {name: float(np.mean(inertias[name])) for name in names},
        {name: float(np.median(seconds[name])) for name in names},
    )


def ratio(values, name):
    """Return a value over that of KMeans, or None if one is missing."""
    if name not in values or "KMeans" not in values:
        return None
    if values[name] == values["KMeans"]:
        return 1.0
    return values[name] / values["KMeans"] if values["KMeans"] else math.inf


def summarize(report, rows, method):
    """Report mean (geometric) and worst inertia ratio, and median time ratio."""
    rows = [row for row in rows if row[f"{method} inertia"] is not None]
    if not rows:
        report.say(f"{method}: no problem was solved")
        return
    ratios = np.array([row[f"{method} inertia"] for row in rows])
    times = np.array([row[f"{method} time"] for row in rows])
    worse = [
        f"{row['label']} {value:.4f}"
        for row, value in zip(rows, ratios, strict=True)
        if value > WORSE
    ]
    report.say(
        f"{method} / KMeans on {len(rows)} problems: inertia ratio "
        f"geometric mean {np.exp(np.log(ratios).mean()):.4f}, max {ratios.max():.4f}, "
        f"above {WORSE}: {len(worse)}; time ratio median {np.median(times):.2f}, "
        f"max {times.max():.2f}"
        + (f". Above {WORSE}: {', '.join(worse)}" if worse else "")
    )


def run(args, report):
    """Solve every problem, one row each, and summarize."""
    report.items(
        environment("numpy", "scikit-learn", "torch", "entmax", "skrbf", "bkmeans")
    )
    peers = [peer for peer in args.peers if peer != "bkmeans" or BKMeans]
    if len(peers) < len(args.peers):
        report.say("bkmeans is not installed (pip install bkmeans): left out.")
    report.say(
        "Inertia and time are ratios to KMeans(n_init=10); "
        f"seeds of the peers: {', '.join(map(str, args.seeds))}"
    )

    if args.few_rows:
        solved = few_rows_problems()
    else:
        names = find_sets(args.data, args.sets)
        solved = problems(names, load_function(args.data), args.max_size)
    table = report.table(
        set="<27",
        n=">7d",
        d=">5d",
        k=">4d",
        inertia_SoftKMeans=">8.4f",
        inertia_bkmeans=">8.4f",
        time_SoftKMeans=">8.2f",
        time_bkmeans=">8.2f",
        SoftKMeans_ms=">10.1f",
        KMeans_ms=">10.1f",
    )
    rows = []
    try:
        for name, X, k in solved:
            inertias, seconds = compare(X, k, args, peers)
            row = {
                f"{method} {what}": ratio(values, method)
                for what, values in (("inertia", inertias), ("time", seconds))
                for method in ("SoftKMeans", "bkmeans")
            }
            ms = {method: 1e3 * value for method, value in seconds.items()}
            table.add(
                *(name, *X.shape, k),
                *row.values(),
                ms.get("SoftKMeans"),
                ms.get("KMeans"),
            )
            rows.append(row | {"label": f"{name} k={k}"})
    finally:  # also when the run is cut short
        for method in ("SoftKMeans", *(peer for peer in peers if peer != "kmeans")):
            summarize(report, rows, method)


def main():
    """Parse arguments and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("SKRBF_DATA")
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument(
        "--few-rows", action="store_true", help="few rows for each cluster, no folder"
    )
    parser.add_argument("--sets", nargs="+", help="names; all of them without it")
    parser.add_argument(
        "--max-size", type=float, default=math.inf, help="leave out larger n * d * k"
    )
    parser.add_argument(
        "--repeats", type=int, default=1, help="of the problems that take over 1 s"
    )
    parser.add_argument(
        "--peers",
        nargs="+",
        choices=["kmeans", "bkmeans"],
        default=["kmeans", "bkmeans"],
        help="kmeans, the reference, runs always",
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--output", help="write the same as Markdown to this file")
    args = parser.parse_args()
    if not (args.data or args.few_rows):
        parser.error("--data or --few-rows is required")
    with Report("K-means quality", args.output) as report:
        run(args, report)


if __name__ == "__main__":
    main()
