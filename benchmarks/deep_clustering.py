"""Compare deep clustering methods, as settings of DeepCenteringClustering.

For every data set and seed, one autoencoder with bounded codes and one with linear
codes are pretrained (``max_iter=0``: the baselines, AE + K-means). Every system starts
from the weights of one of them. Accuracy (best one-to-one matching of labels and
classes), normalized mutual information (arithmetic mean) and adjusted Rand index are in
percent: mean and standard deviation over the seeds. "gain" is the mean difference in
accuracy to the baseline of the same seed, with its standard deviation. Classes are used
only for these figures. Seconds are the median time of one fit, without pretraining
except for the baselines. K-means is ``KMeans`` on the samples, with ten starts.

Dense data are float32, as in the files. ``--augment`` applies small rotations, shifts
and zooms to images, in pretraining and clustering. Run as

    python benchmarks/deep_clustering.py --data FOLDER --sets usps optdigits --seeds 5
    python benchmarks/deep_clustering.py --data FOLDER --sets usps --augment
    python benchmarks/deep_clustering.py --data FOLDER --sets optdigits --peer clustpy

``--matmul-precision medium`` lets torch round the factors of products to bfloat16,
which some processors multiply faster; the report says so above the table.

``--peer clustpy`` adds ClustPy's DCN with the same layers, batches and epochs, and
compares its time to that of DCN here, each with its own pretraining. A plain torch loop
that only reconstructs, for as many epochs, shows the cost that a system adds.
``FOLDER`` defaults to the environment variable ``SKRBF_DATA``.
"""

import argparse
import os
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from _common import Report, environment
from kmeans_quality import load_function
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from skrbf import DeepCenteringClustering
from skrbf.nn import DenseAutoencoder, RandomAffine

SETS = ["optdigits", "usps"]
IMAGES = {
    "optdigits": (8, 8),
    "usps": (16, 16),
    "mnist70k": (28, 28),
    "coil100_gray_32x32": (32, 32),
    "coil20_32x32": (32, 32),
}
DKM = {
    "center_update": "gradient",
    "differentiate_assignments": True,
    "temperature": 1e-3,
}
LINEAR = {  # codes without bound, as most papers have them
    "AE + K-means, linear": {"max_iter": 0},
    "DCN": {
        "temperature": 0,
        "center_update": "running_mean",
        "reinit_interval": None,
    },
    "DKM": {**DKM, "reinit_interval": None},
    "CT": {"reinit_interval": None},
    "CT, centroid": {"centering": "centroid", "reinit_interval": None},
    "default, linear": {},
    "CT + reinit": {"reinit_interval": 1},
    "CT + reinit, entmax": {"reinit_interval": 1, "assignment": "entmax15"},
    "DKM + reinit": {**DKM, "reinit_interval": 1},
    "CT + BRB": {"weight_reset": 0.2, "reinit_interval": 10, "reinit": "grow"},
}
SYSTEMS = {
    "AE + K-means": {"max_iter": 0},
    "default": {},  # centering loss (CT), K-means every ten epochs, codes with bounds
    "SR-K-means": {
        "centering": "regularized",
        "assignment_update": "epoch",
        "center_update": "soft_mean",
        "reinit_interval": None,
    },
    **{name: {"code_activation": "linear", **each} for name, each in LINEAR.items()},
}


def scores(y, labels):
    """Return ACC, NMI and ARI in percent."""
    counts = np.zeros((y.max() + 1, labels.max() + 1))
    np.add.at(counts, (y, labels), 1)
    matched = counts[linear_sum_assignment(counts, maximize=True)].sum()
    nmi, ari = normalized_mutual_info_score(y, labels), adjusted_rand_score(y, labels)
    return 100 * np.array([matched / len(y), nmi, ari])


def timed(estimator, X):
    """Fit an estimator; return it and the seconds."""
    start = time.perf_counter()
    estimator.fit(X)
    return estimator, time.perf_counter() - start


def clustpy_dcn(args, k, seed):
    """Return ClustPy's DCN with the same layers, batches and epochs."""
    from clustpy.deep import DCN

    return DCN(
        k,
        batch_size=256,
        pretrain_epochs=args.pretrain_epochs,
        clustering_epochs=args.max_iter,
        embedding_size=10,
        random_state=seed,
    )


def reconstruct(args, X):
    """Return the seconds of a plain loop over all epochs that only reconstructs."""
    rows = torch.from_numpy((X - X.mean(0)) / X.std())
    net = DenseAutoencoder(rows.shape[1])
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    start = time.perf_counter()
    for _ in range(args.pretrain_epochs + args.max_iter):
        for index in torch.randperm(len(rows)).split(256):
            batch = rows[index]
            loss = (net(batch) - batch).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return time.perf_counter() - start


class Runs:
    """All runs on one data set."""

    def __init__(self, args, name):
        self.args, self.name = args, name
        X, y, _ = load_function(args.data)(name)
        self.X = X if hasattr(X, "indptr") else np.ascontiguousarray(X, np.float32)
        self.y = np.unique(y, return_inverse=True)[1]
        self.k = len(np.unique(y))
        self.found = {}
        self.bare = []

    def deep(self, seed, **params):
        """An estimator with the settings of all systems."""
        shape = IMAGES.get(self.name)
        if self.args.augment and shape is not None:
            params |= {"augment": RandomAffine(), "input_shape": shape}
        if self.args.encoder == "conv":
            params |= {"input_shape": shape}
        params = {
            "pretrain_epochs": self.args.pretrain_epochs,
            "max_iter": self.args.max_iter,
            "encoder": self.args.encoder,
            "device": self.args.device,
            **params,
        }
        return DeepCenteringClustering(self.k, random_state=seed, **params)

    def note(self, system, labels, seconds):
        """Keep what a run came to."""
        row = [*scores(self.y, labels), seconds]
        self.found.setdefault(system, []).append(row)
        print(
            f"  {self.name} {system}: ACC {row[0]:.1f} NMI {row[1]:.1f} "
            f"ARI {row[2]:.1f} in {seconds:.0f} s",
            flush=True,
        )

    def run(self, seed):
        """All systems from one seed."""
        networks = {}
        for system in self.args.systems:
            settings = SYSTEMS[system]
            baseline = baseline_of(system)
            if baseline not in networks:
                first, seconds = timed(self.deep(seed, **SYSTEMS[baseline]), self.X)
                networks[baseline] = first.autoencoder_
                self.note(baseline, first.labels_, seconds)
            if system != baseline:
                est = self.deep(seed, **settings | {"encoder": networks[baseline]})
                est, seconds = timed(est, self.X)
                self.note(system, est.labels_, seconds)
        if self.args.peer == "clustpy":
            peer, seconds = timed(clustpy_dcn(self.args, self.k, seed), self.X)
            self.note("ClustPy DCN, all", peer.labels_, seconds)
            own = self.deep(seed, **SYSTEMS["DCN"] | {"tol": 0.0})
            own, seconds = timed(own, self.X)
            self.note("skrbf DCN, all", own.labels_, seconds)
            self.bare.append(reconstruct(self.args, self.X))


def baseline_of(system):
    """Return the system with the same network and no clustering."""
    linear = "code_activation" in SYSTEMS[system]
    return "AE + K-means, linear" if linear else "AE + K-means"


def run(args, report):
    """Measure every data set and print a row for each system."""
    report.items(environment("numpy", "scikit-learn", "torch", "skrbf"))
    report.say(
        f"encoder {args.encoder}, {args.pretrain_epochs} + {args.max_iter} epochs, "
        f"{'with' if args.augment else 'no'} augmentation, device {args.device}, "
        f"precision of products {args.matmul_precision}"
    )
    every = {}
    for name in args.sets:
        runs = every[name] = Runs(args, name)
        start = time.perf_counter()
        plain = KMeans(runs.k, n_init=10, random_state=0).fit_predict(runs.X)
        runs.note("K-means", plain, time.perf_counter() - start)
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            runs.run(seed)
    table = report.table(
        set="<10", system="<20", seeds=">5d", ACC=">5.1f", sd=">4.1f", NMI=">5.1f",
        sd_=">4.1f", ARI=">5.1f", sd__=">4.1f", gain=">5.1f", sd___=">4.1f",
        s=">5.0f",
    )  # fmt: skip
    for name, runs in every.items():
        for system, rows in runs.found.items():
            rows = np.array(rows)
            mean, spread = rows.mean(0), rows.std(0)
            gain = [None, None]
            if system in SYSTEMS and system != baseline_of(system):
                gap = rows[:, 0] - np.array(runs.found[baseline_of(system)])[:, 0]
                gain = [gap.mean(), gap.std()]
            pairs = [v for both in zip(mean[:3], spread[:3], strict=True) for v in both]
            table.add(name, system, len(rows), *pairs, *gain, np.median(rows[:, 3]))
        if args.peer == "clustpy":
            peer = np.array(runs.found["ClustPy DCN, all"])[:, 3]
            own = np.array(runs.found["skrbf DCN, all"])[:, 3]
            report.say(
                f"{name}: time of skrbf's DCN / ClustPy's {np.median(own / peer):.2f}; "
                f"of reconstruction alone / ClustPy's {np.median(runs.bare / peer):.2f}"
            )


def main():
    """Parse arguments and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("SKRBF_DATA")
    parser.add_argument("--data", type=Path, default=data, required=not data)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--pretrain-epochs", type=int, default=50)
    parser.add_argument("--max-iter", type=int, default=50)
    parser.add_argument("--encoder", choices=["dense", "conv"], default="dense")
    parser.add_argument("--augment", action="store_true")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--matmul-precision", choices=["highest", "high", "medium"], default="highest"
    )
    parser.add_argument("--peer", choices=["clustpy"])
    parser.add_argument("--output", help="write the same as Markdown to this file")
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    torch.set_float32_matmul_precision(args.matmul_precision)
    with Report("Deep clustering", args.output) as report:
        run(args, report)


if __name__ == "__main__":
    main()
