"""Compare times of an iteration and of predict: SoftKMeans and KMeans.

The time of one iteration is the difference between the times of a fit with many
iterations and a fit with few, over the difference of their ``n_iter_``: validation,
copies and the last pass over the data cancel. All fits start from the same array of
centers with ``tol=0``. The data are overlapping normal clusters (centers about two
standard deviations apart), on which Lloyd's algorithm is far from convergence after
these iterations. Fits that stopped early are named below the table.

- KMeans: scikit-learn's Lloyd, ``algorithm="lloyd", n_init=1``;
- hard: ``SoftKMeans(temperature=0)``, which takes the same steps;
- softmax, entmax: the soft maps at a fixed relative temperature, in the range where
  many responsibilities are so small that their exponentials underflow;
- auto: softmax at ``temperature="auto"``;
- predict: ``SoftKMeans.predict`` of the softmax model over ``KMeans.predict``.

All run in turn in one process, after a fit of each to warm up. The output is medians
over the repeats, and their ratios, with targets in brackets. Run as

    python benchmarks/kmeans_speed.py
    python benchmarks/kmeans_speed.py --shapes 20000x16x50 --temperature 0.2
    python benchmarks/kmeans_speed.py --device cuda

On a device other than the CPU the reference is not KMeans but two float32 matrix
products of the same shapes, X C^T and R^T X, which every soft iteration contains, at
1M x 128 and k = 1024. Times are until the device has finished (synchronized before and
after). The precision of float32 products is torch's default.
"""

import argparse
import warnings

import numpy as np
import torch
from _common import Report, alternate, environment
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from skrbf import SoftKMeans

SHAPES = ["100000x32x100", "70000x784x10", "50000x64x1000", "200000x10x8"]
SHAPES_DEVICE = ["1000000x128x1024"]
SEPARATION = 2.0  # root mean square distance of two centers, in standard deviations
FEW_CLUSTERS = 8  # up to here the looser targets hold
PREDICTS = 4  # predict is short, hence timed so many times as often as fit


def make_data(n, d, k, seed=0):
    """Return overlapping normal clusters and k of their rows, in float32.

    Returns
    -------
    X : array of shape (n, d)
    centers : array of shape (k, d)
    """
    rng = np.random.default_rng(seed)
    means = rng.standard_normal((k, d), dtype=np.float32)
    means *= np.float32(SEPARATION / np.sqrt(2 * d))
    X = rng.standard_normal((n, d), dtype=np.float32)
    X += means[rng.integers(k, size=n)]
    return X, X[rng.choice(n, k, replace=False)]


def estimators(centers, temperature, device):
    """Return functions of `max_iter` that make unfitted estimators, by name."""
    k = len(centers)

    def soft(temperature, assignment="softmax"):
        return lambda max_iter: SoftKMeans(
            k,
            temperature=temperature,
            assignment=assignment,
            init=centers,
            max_iter=max_iter,
            tol=0,
            device=device,
        )

    return {
        "KMeans": lambda max_iter: KMeans(
            k, init=centers, n_init=1, max_iter=max_iter, tol=0, algorithm="lloyd"
        ),
        "hard": soft(0),
        "softmax": soft(temperature),
        "auto": soft("auto"),
        "entmax": soft(temperature, "entmax15"),
    }


def fit(make, max_iter, X):
    """Fit without convergence warnings: the fit is meant to stop at max_iter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return make(max_iter).fit(X)


def time_iterations(makers, X, args, extra=None):
    """Return seconds per iteration of every estimator.

    Parameters
    ----------
    makers : dict of str to callable
        From `estimators`.
    X : array of shape (n, d)
    args : argparse.Namespace
    extra : dict of str to callable, optional
        More actions to time in the same rounds.

    Returns
    -------
    seconds : dict of str to float
        Medians, also of `extra`; None if both fits had the same number of iterations.
    models : dict of str to estimator
    early : list of str
        Names of estimators that stopped before max_iter.
    """
    few, many = args.iterations
    actions = {
        (name, m): lambda make=make, m=m: fit(make, m, X)
        for name, make in makers.items()
        for m in (few, many)
    } | (extra or {})
    for name in [(name, few) for name in makers] + list(extra or {}):
        actions[name]()
    times, results = alternate(actions, args.repeats)

    seconds = {name: float(np.median(times[name])) for name in extra or {}}
    early = []
    for name in makers:
        done = [results[name, m].n_iter_ for m in (few, many)]
        if done != [few, many]:
            early.append(f"{name} ({done[0]} and {done[1]} iterations)")
        spent = np.subtract(times[name, many], times[name, few])
        steps = done[1] - done[0]
        seconds[name] = float(np.median(spent)) / steps if steps else None
    return seconds, {name: results[name, many] for name in makers}, early


def time_predict(models, X, repeats):
    """Return seconds of predict of the softmax model and of KMeans."""
    actions = {
        name: lambda name=name: models[name].predict(X)
        for name in ("KMeans", "softmax")
    }
    alternate(actions, 1)
    times, _ = alternate(actions, PREDICTS * repeats)
    return {name: float(np.median(times[name])) for name in times}


def two_products(X, centers, device):
    """Return a function that computes X C^T and R^T X on a device and synchronizes."""
    x = torch.as_tensor(X).to(device)  # (n, d)
    c = torch.as_tensor(centers).to(device)  # (k, d)
    r = torch.empty(len(x), len(c), dtype=x.dtype, device=x.device)  # (n, k)
    s = torch.empty_like(c)  # (k, d)
    synchronize = getattr(torch, x.device.type).synchronize

    def multiply():
        synchronize()
        torch.mm(x, c.T, out=r)  # (n, k)
        torch.mm(r.T, x, out=s)  # (k, d)
        synchronize()

    return multiply


def against(seconds, name, reference, target=None):
    """Format a ratio, with its target in brackets."""
    if not seconds[name] or not seconds[reference]:
        return None
    text = f"{seconds[name] / seconds[reference]:.2f}"
    return text if target is None else f"{text} (<={target:g})"


def milliseconds(seconds, *names):
    """Return times in milliseconds."""
    return [seconds[name] and 1e3 * seconds[name] for name in names]


def run_cpu(args, report):
    """Compare with KMeans on the CPU."""
    table = report.table(
        n=">7d",
        d=">4d",
        k=">4d",
        KMeans_ms=">9.2f",
        softmax_ms=">10.2f",
        **{
            "softmax/KMeans": ">14",
            "auto/KMeans": ">14",
            "hard/KMeans": ">14",
            "entmax/softmax": ">14",
            "predict": ">14",
        },
    )
    for n, d, k in args.shapes:
        X, centers = make_data(n, d, k)
        makers = estimators(centers, args.temperature, "cpu")
        seconds, models, early = time_iterations(makers, X, args)
        predict = time_predict(models, X, args.repeats)
        few = k <= FEW_CLUSTERS
        table.add(
            n,
            d,
            k,
            *milliseconds(seconds, "KMeans", "softmax"),
            against(seconds, "softmax", "KMeans", 8 if few else 2.5),
            against(seconds, "auto", "KMeans", 8 if few else 2.5),
            against(seconds, "hard", "KMeans", 4 if few else 1.5),
            against(seconds, "entmax", "softmax", {100: 1.6, 1000: 2}.get(k)),
            against(predict, "softmax", "KMeans", 1.5),
        )
        say_early(report, early, f"{n}x{d}x{k}")


def run_device(args, report):
    """Compare with two matrix products on a device."""
    table = report.table(
        n=">8d",
        d=">4d",
        k=">5d",
        products_ms=">9.3f",
        softmax_ms=">9.3f",
        **{f"{name}/products": ">9" for name in ("softmax", "auto", "entmax", "hard")},
    )
    for n, d, k in args.shapes:
        X, centers = make_data(n, d, k)
        makers = estimators(centers, args.temperature, args.device)
        del makers["KMeans"]
        products = {"products": two_products(X, centers, args.device)}
        seconds, _, early = time_iterations(makers, X, args, products)
        table.add(
            n,
            d,
            k,
            *milliseconds(seconds, "products", "softmax"),
            *(
                against(seconds, name, "products")
                for name in ("softmax", "auto", "entmax", "hard")
            ),
        )
        say_early(report, early, f"{n}x{d}x{k}")


def say_early(report, early, shape):
    """Report the estimators that stopped before `max_iter`."""
    if early:
        report.say(f"{shape}: stopped early: {', '.join(early)}")


def device_name(device):
    """Return the device, with its model if torch knows it."""
    if torch.device(device).type != "cuda":
        return device
    return f"{device}, {torch.cuda.get_device_name(device)}"


def shape(text):
    """Parse ``NxDxK``."""
    n, d, k = map(int, text.split("x"))
    return n, d, k


def main():
    """Parse arguments and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shapes", nargs="+", type=shape, metavar="NxDxK")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--iterations", nargs=2, type=int, default=[5, 25], metavar=("FEW", "MANY")
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.05,
        help="relative, of softmax and entmax",
    )
    parser.add_argument("--output", help="write the same as Markdown to this file")
    args = parser.parse_args()
    on_cpu = args.device == "cpu"
    args.shapes = args.shapes or [
        shape(t) for t in (SHAPES if on_cpu else SHAPES_DEVICE)
    ]
    with Report("Time of one iteration", args.output) as report:
        report.items(environment("numpy", "scikit-learn", "torch", "entmax", "skrbf"))
        if not on_cpu:
            report.say(f"Device: {device_name(args.device)}")
        report.say(
            f"Temperature {args.temperature:g}, iterations {args.iterations}, "
            f"{args.repeats} repeats"
        )
        (run_cpu if on_cpu else run_device)(args, report)


if __name__ == "__main__":
    main()
