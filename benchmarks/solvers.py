"""Hand-written solvers beside those of torch and scipy.

L-BFGS trains an RBF network of skrbf.nn, all parameters together, on scikit-learn's
digits, wine and breast cancer data, in float32 by autograd:

- skrbf: ``skrbf.engine.training.lbfgs``, whose steps an estimator watches;
- torch: ``torch.optim.LBFGS`` with a strong Wolfe search, one iteration for each
  ``step``, as an estimator would have to watch it;
- torch unwatched: all iterations in one ``step``;
- scipy: ``scipy.optimize.minimize(method="L-BFGS-B")``, in float64 between evaluations.

Each takes the same number of iterations from the same start. The table has the number
of evaluations, the median time and the loss at the end.

Lanczos' method finds the largest eigenvalue of a covariance that is known by its
products with vectors only:

- by hand: 40 steps of Lanczos' method with full orthogonalization, in this file;
- scipy: ``scipy.sparse.linalg.eigsh`` with a LinearOperator, to a tolerance of 1e-4, as
  in SoftKMeans above 300 features.

The table has the number of products, the median time, and the relative error against
all eigenvalues in float64. All methods take turns in one process. Run as

    python benchmarks/solvers.py
    python benchmarks/solvers.py --iterations 50 --repeats 3
"""

import argparse
import statistics
import time
from itertools import islice

import numpy as np
import scipy.optimize
import scipy.sparse
import torch
from _common import Report, environment
from scipy.sparse.linalg import LinearOperator, eigsh
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from skrbf.engine.training.lbfgs import lbfgs
from skrbf.nn import RBFLayer, RBFNetwork

N_UNITS = 50
MEMORY = 10
N_PRODUCTS = 40
LOADERS = {"digits": load_digits, "wine": load_wine, "cancer": load_breast_cancer}


class Counted:
    """A function that counts its calls."""

    def __init__(self, function):
        self.function = function
        self.n_calls = 0

    def __call__(self, argument):
        self.n_calls += 1
        return self.function(argument)


def make_objective(name):
    """Return a penalized cross-entropy with its gradient, and a start."""
    X, y = LOADERS[name](return_X_y=True)
    X = torch.tensor(StandardScaler().fit_transform(X), dtype=torch.float32)
    y = torch.tensor(y)
    generator = torch.Generator().manual_seed(0)
    centers = X[torch.randperm(len(X), generator=generator)[:N_UNITS]]
    width = torch.cdist(centers, centers).median().reshape(1, 1)
    network = RBFNetwork(RBFLayer(centers, width.expand(N_UNITS, 1)), int(y.max()) + 1)
    start = parameters_to_vector(network.parameters()).detach()

    def objective(position):
        vector_to_parameters(position, network.parameters())
        network.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(X), y)
        loss = loss + 1e-3 * network.weight.square().sum()
        loss.backward()
        gradient = torch.cat([each.grad.flatten() for each in network.parameters()])
        return loss.item(), gradient

    return objective, start


def by_skrbf(objective, start, n_iter):
    """Train by the L-BFGS of the engine."""
    steps = islice(lbfgs(objective, start, MEMORY), n_iter)
    return [step.loss for step in steps][-1]


def by_torch(objective, start, n_iter, n_steps):
    """Train by the L-BFGS of torch, its iterations divided among `n_steps` calls."""
    position = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.LBFGS(
        [position],
        max_iter=n_iter // n_steps,
        max_eval=25 * n_iter,
        history_size=MEMORY,
        tolerance_grad=0,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def evaluate():
        loss, position.grad = objective(position.detach().clone())
        return torch.tensor(loss, dtype=torch.float64)

    for _ in range(n_steps):
        optimizer.step(evaluate)
    return objective(position.detach().clone())[0]


def by_scipy(objective, start, n_iter):
    """Train by L-BFGS-B of scipy."""

    def evaluate(position):
        loss, gradient = objective(torch.from_numpy(position).to(start))
        return loss, gradient.double().numpy()

    options = {"maxiter": n_iter, "maxcor": MEMORY, "ftol": 0, "gtol": 0}
    found = scipy.optimize.minimize(
        evaluate, start.double().numpy(), jac=True, method="L-BFGS-B", options=options
    )
    return found.fun


def take_turns(methods, function, repeats):
    """Return the calls, median seconds and last result of every method, by its name."""
    seconds, calls, results = {name: [] for name in methods}, {}, {}
    for turn in range(repeats):
        for name in list(methods)[:: -1 if turn % 2 else 1]:
            counted = Counted(function)
            start = time.perf_counter()
            results[name] = methods[name](counted)
            seconds[name].append(time.perf_counter() - start)
            calls[name] = counted.n_calls
    return {
        name: (calls[name], statistics.median(seconds[name]), results[name])
        for name in methods
    }


def compare_lbfgs(report, n_iter, repeats):
    """Print the table of L-BFGS."""
    table = report.table(
        data="<8", solver="<16", evaluations=">6d", seconds=">8.3f", loss=">9.5f"
    )
    for data in LOADERS:
        objective, start = make_objective(data)
        methods = {
            "skrbf": lambda f, s=start: by_skrbf(f, s, n_iter),
            "torch": lambda f, s=start: by_torch(f, s, n_iter, n_iter),
            "torch unwatched": lambda f, s=start: by_torch(f, s, n_iter, 1),
            "scipy": lambda f, s=start: by_scipy(f, s, n_iter),
        }
        for name, measured in take_turns(methods, objective, repeats).items():
            table.add(data, name, *measured)


def make_rows(name):
    """Return rows whose covariance has a few thousand features."""
    if name == "dense":
        X = PolynomialFeatures(2, include_bias=False).fit_transform(
            load_digits().data[:, 10:60]
        )
        return X.astype(np.float32)
    rng = np.random.default_rng(0)
    X = scipy.sparse.random(5000, 2000, 0.01, format="csr", rng=rng, dtype=np.float32)
    return X.multiply(1.0 / np.sqrt(1.0 + np.arange(2000))[None]).tocsr()


def lanczos_by_hand(product, d):
    """Find the largest eigenvalue in the Krylov space of a fixed vector."""
    basis = torch.zeros(N_PRODUCTS, d)
    images = torch.zeros(N_PRODUCTS, d)
    vector = torch.ones(d)
    for step in range(N_PRODUCTS):
        for _ in range(2):  # once leaves rounding
            vector = vector - (basis @ vector) @ basis
        basis[step] = vector / vector.norm()
        images[step] = vector = product(basis[step]).float()
    projected = (images @ basis.t()).double()
    return float(torch.linalg.eigvalsh((projected + projected.t()) / 2)[-1])


def lanczos_by_scipy(product, d):
    """Find the largest eigenvalue by scipy."""

    def multiply(vector):
        return product(torch.from_numpy(vector).reshape(-1)).numpy()

    operator = LinearOperator((d, d), matvec=multiply, dtype=np.float32)
    start = np.ones(d, np.float32)
    return float(eigsh(operator, 1, which="LA", v0=start, tol=1e-4)[0][0])


def compare_lanczos(report, repeats):
    """Print the table of Lanczos' method."""
    table = report.table(
        rows="<6", solver="<7", products=">4d", seconds=">8.3f", error=">8.1e"
    )
    for name in ("dense", "sparse"):
        X = make_rows(name)
        dense = X.toarray() if scipy.sparse.issparse(X) else X
        d = X.shape[1]
        exact = np.linalg.eigvalsh(np.cov(dense.T.astype(np.float64), bias=True))[-1]
        mean = np.asarray(X.mean(0)).reshape(-1)

        def product(vector, X=X, mean=mean):
            vector = vector.numpy()
            along = X @ vector - mean @ vector
            return torch.from_numpy((X.T @ along - along.sum() * mean) / X.shape[0])

        methods = {
            "by hand": lambda f, d=d: lanczos_by_hand(f, d),
            "scipy": lambda f, d=d: lanczos_by_scipy(f, d),
        }
        found = take_turns(methods, product, repeats)
        for solver, (calls, seconds, value) in found.items():
            table.add(name, solver, calls, seconds, abs(value - exact) / exact)


def main():
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--iterations", type=int, default=150)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", help="write the same as Markdown to this file")
    args = parser.parse_args()
    with Report("Solvers of the engine and of libraries", args.output) as report:
        report.items(environment("numpy", "scipy", "torch", "skrbf"))
        report.say(
            f"L-BFGS, {args.iterations} iterations: medians of {args.repeats} runs"
        )
        compare_lbfgs(report, args.iterations, args.repeats)
        report.say(f"Lanczos: medians of {args.repeats} runs")
        compare_lanczos(report, args.repeats)


if __name__ == "__main__":
    main()
