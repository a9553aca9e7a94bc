"""Where SoftKMeans starts, other than grown: an array, a callable, drawn rows."""

import torch
from sklearn.utils import check_array, check_random_state

from skrbf._base import draw_seed, warn
from skrbf._convert import tensor_to_array
from skrbf.ops.seeding import kmeans_plusplus, random_rows


def starting_centers(init, n_init, n_clusters, random_state, X, problem):
    """Sets of centers to start from.

    Parameters
    ----------
    init, n_init, n_clusters, random_state : object
        Parameters of :class:`skrbf.SoftKMeans`.
    X : {ndarray, csr_array} of shape (n_samples, n_features)
        Validated rows, for a callable.
    problem : Problem
        The same rows on their device.

    Returns
    -------
    list of Tensor of shape (n_clusters, n_features), or None
        In the unit of the problem. None where centers are to be grown.
    """
    if isinstance(init, str) and init == "grow":
        return None
    if not isinstance(init, str) and not callable(init):
        if n_init not in ("auto", 1):
            warn(
                "init is an array of centers: there is one start, instead of n_init="
                f"{n_init}.",
                RuntimeWarning,
            )
        return [_checked(init, n_clusters, X, problem)]
    random_state = check_random_state(random_state)
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
    """Rows, drawn by "k-means++" or "random"."""
    generator = torch.Generator().manual_seed(draw_seed(random_state))
    weight, origin = problem.weight, problem.origin
    if init == "k-means++":
        accumulate = problem.compute.accumulate
        index = kmeans_plusplus(
            problem.rows, weight, n_clusters, generator, origin, accumulate
        )
    else:
        weight = None if weight is None else weight.cpu()
        index = random_rows(problem.rows.n_rows, weight, n_clusters, generator)
    rows = problem.rows.take(index.to(origin.device))
    return rows if rows.layout == torch.strided else rows.to_dense()


def _checked(centers, n_clusters, X, problem):
    """Centers from outside, of the right shape."""
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
