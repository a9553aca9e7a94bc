import warnings

import numpy as np
import pytest
import scipy.sparse
import torch


def to_csr(array):
    """A torch CSR tensor of a dense array or scipy matrix."""
    matrix = scipy.sparse.csr_matrix(array)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr),
            torch.from_numpy(matrix.indices),
            torch.from_numpy(matrix.data),
            matrix.shape,
            check_invariants=False,
        )


@pytest.fixture(params=["dense", "csr"])
def layout(request):
    """A function that turns an array into rows of one of the two layouts."""
    return torch.from_numpy if request.param == "dense" else to_csr


@pytest.fixture
def csr():
    return to_csr


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def sparse_array(rng):
    """Rows (60, 7), three quarters zeros, one row and one column empty."""
    array = rng.normal(size=(60, 7)) * (rng.random((60, 7)) < 0.25)
    array[11] = 0.0
    array[:, 3] = 0.0
    return array
