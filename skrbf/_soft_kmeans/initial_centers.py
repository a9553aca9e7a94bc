"""Initial centers of SoftKMeans that are given or drawn."""

import torch
from sklearn.utils import check_array, check_random_state

from skrbf._base import draw_seed, warn
from skrbf._convert import tensor_to_array
from skrbf.engine.data.rows import as_dense
from skrbf.engine.kmeans.fit import draw_centers
from skrbf.ops.seeding import random_rows


def initial_centers(estimator, X, problem):
    """Choose sets of centers (n_clusters, n_features), or None to grow them.

    Parameters
    ----------
    estimator : SoftKMeans
    X : {ndarray, csr_array} of shape (n_samples, n_features)
        Validated rows, for a callable.
    problem : Problem
        The same rows on their device. Centers are in its unit.
    """
    init, n_init = estimator.init, estimator.n_init
    n_clusters = int(estimator.n_clusters)
    if isinstance(init, str) and init == "grow":
        return None
    if not isinstance(init, str) and not callable(init):
        if n_init not in ("auto", 1):
            warn(
                "init is an array of centers: there is one start, instead of "
                f"n_init={n_init}.",
                RuntimeWarning,
            )
        return [_checked(init, n_clusters, X, problem)]
    random_state = check_random_state(estimator.random_state)
    if n_init == "auto":
        n_init = 1 if isinstance(init, str) and init == "k-means++" else 10
    if callable(init):
        return [
            _checked(
                init(X, n_clusters, random_state=random_state), n_clusters, X, problem
            )
            for _ in range(n_init)
        ]
    return [_drawn(init, n_clusters, random_state, problem) for _ in range(n_init)]


def _drawn(init, n_clusters, random_state, problem):
    """Draw rows, by "k-means++" or "random"."""
    generator = torch.Generator().manual_seed(draw_seed(random_state))
    if init == "k-means++":
        return draw_centers(problem, n_clusters, generator)
    weight = None if problem.weight is None else problem.weight.cpu()
    index = random_rows(problem.rows.n_rows, weight, n_clusters, generator)
    return as_dense(problem.rows.take(index.to(problem.origin.device)))


def _checked(centers, n_clusters, X, problem):
    """Check the shape of given centers, and bring them into the unit of the problem."""
    centers = check_array(
        tensor_to_array(centers, "init"),
        dtype=X.dtype,
        order="C",
        copy=True,
        input_name="init",
    )
    if centers.shape[0] != n_clusters:
        raise ValueError(
            f"The shape of the initial centers {centers.shape} does not match "
            f"the number of clusters {n_clusters}."
        )
    if centers.shape[1] != X.shape[1]:
        raise ValueError(
            f"The shape of the initial centers {centers.shape} does not match "
            f"the number of features of the data {X.shape[1]}."
        )
    return problem.compute.tensor(centers) * 2.0**-problem.exponent
