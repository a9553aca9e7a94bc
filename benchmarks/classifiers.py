"""Compare accuracy, time and size of RBFNetClassifier and other classifiers.

For every data set, on its official split or else on 75 % of the samples (seed 0,
stratified), these are fitted to the same float32 array:

- RBFNetClassifier with default parameters;
- SVC: ``StandardScaler`` and ``SVC``, with C from {1, 10, 100} by 5-fold
  cross-validation on the training part, or on a stratified sample of it if it has more
  than ``--svc-rows`` samples;
- Nystroem: ``StandardScaler``, ``Nystroem`` with as many components as units
  and gamma = 1 / features, and ``LogisticRegression``, with C chosen in the same way;
- MLP: ``StandardScaler`` and ``MLPClassifier((256,), early_stopping=True)``;
- HGB: ``HistGradientBoostingClassifier``.

Accuracy is measured on the test part, on which nothing was chosen: mean and standard
deviation of ``--repeats`` runs with random_state 0, 1 and so on, the methods in turn.
SVC is deterministic and runs once. The fit time is that of one fit, without the choice
of C; the predict time is that of the test part. Both are medians, since a seed also
decides when MLP stops. Size is the number of units, support vectors, components, hidden
units or trees.

A data set is a file that ``load.py`` in the folder reads: ``load(name)`` returns
(X, y, info), with the number of training samples in ``info["n_train"]``. Run as

    python benchmarks/classifiers.py --data FOLDER
    python benchmarks/classifiers.py --data FOLDER --sets usps a9a --repeats 1
    python benchmarks/classifiers.py --data FOLDER --sets mnist70k --n-centers 1000

``FOLDER`` defaults to the environment variable ``SKRBF_DATA``.
"""

import argparse
import os
import time
import warnings
from pathlib import Path

import numpy as np
from _common import Report, environment
from kmeans_quality import load_function
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from skrbf import RBFNetClassifier

SETS = ["vowel", "vehicle", "dna", "svmguide1", "waveform5000", "satimage"]
SETS += ["optdigits", "pendigits", "usps", "a9a"]
NAMES = ["RBFNetClassifier", "SVC", "Nystroem", "MLP", "HGB"]
COSTS = [1, 10, 100]


def split(load, name):
    """Return training and test part: X, Xt, y, yt."""
    X, y, info = load(name)
    X = np.ascontiguousarray(X, dtype=np.float32)
    if "n_train" in info:
        n = int(info["n_train"])
        return X[:n], X[n:], y[:n], y[n:]
    return train_test_split(X, y, test_size=0.25, random_state=0, stratify=y)


def estimators(n_features, n_centers):
    """Return unfitted estimators by name."""
    nystroem = Nystroem(gamma=1 / n_features, n_components=n_centers, random_state=0)
    mlp = MLPClassifier((256,), early_stopping=True)
    return {
        "RBFNetClassifier": RBFNetClassifier(n_centers),
        "SVC": make_pipeline(StandardScaler(), SVC()),
        "Nystroem": make_pipeline(
            StandardScaler(), nystroem, LogisticRegression(max_iter=1000)
        ),
        "MLP": make_pipeline(StandardScaler(), mlp),
        "HGB": HistGradientBoostingClassifier(),
    }


def set_seed(model, seed):
    """Set all random states of a model."""
    names = [name for name in model.get_params() if name.endswith("random_state")]
    model.set_params(**dict.fromkeys(names, seed))


def choose_cost(model, X, y, most_rows):
    """Set C by cross-validation on the training part."""
    if len(X) > most_rows:
        X, _, y, _ = train_test_split(
            X, y, train_size=most_rows, random_state=0, stratify=y
        )
    grid = {f"{model.steps[-1][0]}__C": COSTS}
    search = GridSearchCV(model, grid, cv=5, error_score="raise", refit=False)
    model.set_params(**search.fit(X, y).best_params_)


def size(name, model):
    """Return the number of values that a fitted model stores."""
    if name == "RBFNetClassifier":
        return len(model.centers_)
    if name == "SVC":
        return len(model[-1].support_)
    if name == "Nystroem":
        return len(model[1].components_)
    if name == "MLP":
        return model[-1].coefs_[0].shape[1]
    return sum(len(trees) for trees in model._predictors)


def measure(models, parts, repeats):
    """Return accuracies, seconds to fit and predict, and sizes by name."""
    X, Xt, y, yt = parts
    found = {name: [] for name in models}
    for turn in range(repeats):
        for name in list(models)[:: -1 if turn % 2 else 1]:
            if turn and name == "SVC":
                continue
            model = models[name]
            set_seed(model, turn)
            start = time.perf_counter()
            model.fit(X, y)
            fitted = time.perf_counter()
            predicted = model.predict(Xt)
            done = time.perf_counter()
            accuracy = 100 * float(np.mean(predicted == yt))
            row = accuracy, fitted - start, done - fitted, size(name, model)
            found[name].append(row)
    return {name: np.array(rows) for name, rows in found.items()}


def run(args, report):
    """Measure every data set, one row per method, and summarize."""
    report.items(environment("numpy", "scikit-learn", "torch", "skrbf"))
    table = report.table(
        set="<13", method="<16", accuracy=">9.2f", sd=">5.2f", fit_s=">8.2f",
        predict_ms=">10.1f", size=">6d", C=">5d",
    )  # fmt: skip
    load, rows = load_function(args.data), {}
    warm = RBFNetClassifier(5)
    warm.fit(np.eye(50, dtype=np.float32), np.arange(50) % 2)
    for name in args.sets:
        parts = split(load, name)
        models = estimators(parts[0].shape[1], args.n_centers)
        models = {key: models[key] for key in args.methods}
        for key in {"SVC", "Nystroem"} & set(models):
            choose_cost(models[key], parts[0], parts[2], args.svc_rows)
        rows[name] = measure(models, parts, args.repeats)
        for key, row in rows[name].items():
            cost = models[key][-1].C if key in ("SVC", "Nystroem") else None
            mean, sd = row[:, 0].mean(), row[:, 0].std()
            _, fit, predict, count = np.median(row, 0)
            table.add(name, key, mean, sd, fit, 1e3 * predict, int(count), cost)
    summarize(report, rows, args.methods)


def summarize(report, rows, methods):
    """Report mean accuracies and ratios of times."""
    for key in methods:
        mean = np.mean([row[key][:, 0].mean() for row in rows.values()])
        report.say(f"{key}: mean accuracy {mean:.2f} over {len(rows)} sets")
    own = "RBFNetClassifier"
    for key, what, column in (("MLP", "fit", 1), ("SVC", "predict", 2)):
        if {own, key} <= set(methods):
            ratio = {
                n: np.median(row[own][:, column]) / np.median(row[key][:, column])
                for n, row in rows.items()
            }
            each = ", ".join(f"{n} {value:.3g}" for n, value in ratio.items())
            median = np.median(list(ratio.values()))
            report.say(f"{what} time, {own} / {key}: median {median:.3g} ({each})")


def main():
    """Parse arguments and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("SKRBF_DATA")
    parser.add_argument("--data", type=Path, default=data, required=not data)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--methods", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--n-centers", type=int, default=300)
    parser.add_argument("--svc-rows", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", help="write the same as Markdown to this file")
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    with Report("Classifiers", args.output) as report:
        run(args, report)


if __name__ == "__main__":
    main()
