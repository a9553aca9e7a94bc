"""Measure the memory of SoftKMeans on data that it must not copy.

Two inputs are written to a temporary directory: a float32 array of 5M x 16 in an
``.npy`` file, opened as a read-only memory map (320 MB), and a CSR matrix of
20000 x 50000 with one entry in a thousand stored (4 GB as a dense array). Each case
runs in a separate process, which opens the data, fits the estimator to 1000 rows, then
to all rows, and predicts all rows.

The private memory of the process is measured: on Linux ``RssAnon`` in
``/proc/self/status``, the resident memory that is not backed by files, so without the
pages of the memory map; elsewhere the unique set size (USS) from psutil. A thread reads
it every 2 ms, or as often as it is scheduled. The output is its peaks, in MB of 10^6
bytes, above its value after the data were opened:

- small: in the fit of 1000 rows. This is mostly libraries loaded late, threads and
  their buffers, which do not grow with the number of rows;
- fit, predict: up to the end of fit, and of predict, of all rows. The labels, one
  integer per row, are included. The target is 200 MB for both.

Cases with a working memory run under ``sklearn.config_context(working_memory=...)``
(in MiB, 1024 by default), which bounds the chunks: less must never take more memory.
``kmeans`` is scikit-learn's KMeans for comparison, which copies its input. Run as

    python benchmarks/memory.py
    python benchmarks/memory.py --rows 500000 --cases hard soft
    python benchmarks/memory.py --output FILE.md
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import sklearn
from _common import Report, environment
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from skrbf import SoftKMeans

TARGET = 200  # MB
INTERVAL = 0.002  # seconds between two readings
COLUMNS = 16
CSR_SHAPE, CSR_PER_ROW = (20_000, 50_000), 50
STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Case:
    """One estimator on one input; ``init="rows"`` means the first k rows."""

    n_clusters: int
    params: dict
    working_memory: int | None = None
    data: str = "dense"
    estimator: type = SoftKMeans


HARD = {"temperature": 0, "init": "k-means++"}
SOFT = {"temperature": "auto", "init": "k-means++"}
CASES = {
    "hard": Case(8, HARD),
    "hard-grow": Case(8, HARD | {"init": "grow"}),
    "hard-64": Case(64, HARD | {"init": "rows"}),
    "soft": Case(8, SOFT),
    "soft-grow": Case(8, SOFT | {"init": "grow"}),
    "soft-64": Case(64, SOFT | {"init": "rows"}),
    "entmax-64": Case(64, SOFT | {"init": "rows", "assignment": "entmax15"}),
    "soft-64-wm128": Case(64, SOFT | {"init": "rows"}, working_memory=128),
    "soft-64-wm16": Case(64, SOFT | {"init": "rows"}, working_memory=16),
    "csr-hard": Case(8, HARD, data="csr"),
    "csr-hard-grow": Case(8, HARD | {"init": "grow"}, data="csr"),
    "csr-soft": Case(8, SOFT, data="csr"),
    "kmeans": Case(8, {"init": "rows"}, estimator=KMeans),
}


def write_dense(file, rows, chunk=250_000):
    """Write eight normal clusters in chunks of rows."""
    rng = np.random.default_rng(0)
    means = 4 * rng.standard_normal((8, COLUMNS), dtype=np.float32)
    out = np.lib.format.open_memmap(file, "w+", np.float32, (rows, COLUMNS))
    for start in range(0, rows, chunk):
        part = out[start : start + chunk]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32)
        part += means[rng.integers(len(means), size=len(part))]
    out.flush()


def write_csr(file):
    """Write a CSR matrix with about CSR_PER_ROW entries in each row."""
    rng = np.random.default_rng(0)
    n, d = CSR_SHAPE
    size = n * CSR_PER_ROW
    values = rng.random(size, dtype=np.float32)
    columns = rng.integers(d, size=size, dtype=np.int32)
    starts = np.arange(0, size + 1, CSR_PER_ROW, dtype=np.int32)
    X = sp.csr_matrix((values, columns, starts), shape=CSR_SHAPE)
    X.sum_duplicates()
    sp.save_npz(file, X, compressed=False)


def private_memory():
    """Return the private memory of this process in bytes."""
    if STATUS.exists():
        for line in STATUS.read_text().splitlines():
            if line.startswith("RssAnon:"):
                return 1024 * int(line.split()[1])
    import psutil

    return psutil.Process().memory_full_info().uss


@contextlib.contextmanager
def watched(record, phase):
    """Record peak private memory and seconds of a block in a dict."""
    done, peak = threading.Event(), [private_memory()]

    def watch():
        while not done.wait(INTERVAL):
            peak[0] = max(peak[0], private_memory())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds = time.perf_counter() - start
        done.set()
        thread.join()
        record[phase] = max(peak[0], private_memory())
        record[f"{phase} seconds"] = seconds


def build(case, X, max_iter):
    """Return the unfitted estimator of a case."""
    params = dict(case.params)
    if params["init"] == "rows":
        params["init"] = np.array(X[: case.n_clusters])
    return case.estimator(
        case.n_clusters, n_init=1, max_iter=max_iter, random_state=0, **params
    )


def measure(case, folder, max_iter):
    """Run a case in this process; return bytes and seconds of each phase."""
    if case.data == "csr":
        X = sp.load_npz(folder / "csr.npz")
    else:
        X = np.load(folder / "dense.npy", mmap_mode="r")
    model = build(case, X, max_iter)
    context = contextlib.nullcontext()
    if case.working_memory:
        context = sklearn.config_context(working_memory=case.working_memory)
    record = {"before": private_memory()}
    with context, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        with watched(record, "small"):
            sklearn.clone(model).fit(X[:1000])
        with watched(record, "fit"):
            model.fit(X)
        with watched(record, "predict"):
            model.predict(X)
    return record


def run_apart(name, folder, max_iter):
    """Run a case in a separate process; return None if it fails."""
    command = [sys.executable, __file__, "--child", name, "--folder", str(folder)]
    command += ["--max-iter", str(max_iter)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return None
    return json.loads(done.stdout.splitlines()[-1])


def run(args, report):
    """Write the data and run every case, one row each."""
    report.items(environment("numpy", "scipy", "scikit-learn", "torch", "skrbf"))
    what = "RssAnon" if STATUS.exists() else "USS"
    report.say(
        f"Growth of private memory ({what}) in MB since the data were opened; "
        f"dense {args.rows} x {COLUMNS}, CSR {CSR_SHAPE[0]} x {CSR_SHAPE[1]}, "
        f"max_iter {args.max_iter}, target {TARGET} MB"
    )
    table = report.table(
        case="<14",
        k=">3d",
        working_memory=">5d",
        small=">7.1f",
        fit=">7.1f",
        predict=">7.1f",
        fit_s=">7.1f",
        target="<6",
    )
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_dense(folder / "dense.npy", args.rows)
        write_csr(folder / "csr.npz")
        for name in args.cases:
            case = CASES[name]
            record = run_apart(name, folder, args.max_iter)
            row = [name, case.n_clusters, case.working_memory]
            if record is None:
                table.add(*row, None, None, None, None, "failed")
                continue
            phases = ("small", "fit", "predict")
            growth = [(record[phase] - record["before"]) / 1e6 for phase in phases]
            verdict = "met" if max(growth) <= TARGET else "missed"
            if case.estimator is KMeans:
                verdict = None
            table.add(*row, *growth, record["fit seconds"], verdict)


def main():
    """Parse arguments and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--max-iter", type=int, default=5)
    parser.add_argument("--output", help="write the same as Markdown to this file")
    parser.add_argument("--child", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(CASES[args.child], args.folder, args.max_iter)))
        return
    with Report("Memory", args.output) as report:
        run(args, report)


if __name__ == "__main__":
    main()
