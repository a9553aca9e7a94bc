"""Conversion of data into tensors on the way in, and into arrays on the way out."""

import numpy as np
import torch
from scipy import sparse
from sklearn.utils import assert_all_finite

from skrbf._compat import _check_sample_weight

_NUMPY_FLOATS = (torch.float16, torch.float32, torch.float64)


def tensor_to_array(given, name):
    """Convert a tensor to an array of its numbers; anything else stays as it is.

    Parameters
    ----------
    given : object
    name : str
        Of the argument, for errors.
    """
    if not isinstance(given, torch.Tensor):
        return given
    if given.layout != torch.strided or given.is_nested:
        raise TypeError(
            f"{name} is a tensor of layout {given.layout}; pass a dense tensor, or a "
            "sparse matrix of scipy."
        )
    if given.device.type == "meta":
        raise ValueError(f"{name} is a tensor on the meta device, without any numbers.")
    given = given.detach().cpu().resolve_conj().resolve_neg()
    if given.is_floating_point() and given.dtype not in _NUMPY_FLOATS:
        given = given.float()
    return given.numpy()


def canonical_csr(X):
    """Sum duplicate entries of a CSR matrix and sort them, in a copy where need be.

    Torch and functions of stored entries that are not linear, such as squares, take
    every entry for the value at its place.
    """
    if not sparse.issparse(X):
        return X
    kind = sparse.csr_array if isinstance(X, sparse.sparray) else sparse.csr_matrix
    parts = (_contiguous(part) for part in (X.data, X.indices, X.indptr))
    X = kind(tuple(parts), shape=X.shape)  # knows nothing of its format yet
    X.check_format(full_check=True)
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
        assert_all_finite(X.data, input_name="X")
    return X


def _contiguous(array):
    """The array itself, or a copy in native byte order without gaps."""
    return np.require(array, array.dtype.newbyteorder("="), ["C", "A"])


def check_sample_weight(sample_weight, X):
    """Check weights, and divide them by a power of two: only their ratios count.

    Returns
    -------
    weight : ndarray of shape (n_samples,), float64, or None
        The largest is between 0.5 and 1. None where none are given.
    exponent : int
        The weights as given are 2^exponent times as large.

    Raises
    ------
    ValueError
        For weights that are negative, not finite, or all zero.
    """
    if sample_weight is None:
        return None, 0
    weight = _check_sample_weight(
        tensor_to_array(sample_weight, "sample_weight"),
        X,
        dtype=np.float64,
        ensure_non_negative=True,
    )
    assert_all_finite(weight, input_name="sample_weight")
    if not np.any(weight):  # scikit-learn >= 1.9 has said so already
        raise ValueError(
            "Sample weights must contain at least one non-zero number; all are zero."
        )
    exponent = int(np.frexp(weight.max())[1])
    return np.ldexp(weight, -exponent), exponent


def to_rows(X, compute):
    """The rows of a validated array or CSR matrix, shared with it, not copied."""
    if not sparse.issparse(X):
        return compute.dense(tensor_from_numpy(_contiguous(X)))
    parts = [tensor_from_numpy(part) for part in (X.indptr, X.indices, X.data)]
    return compute.sparse(parts, X.shape[1])


def unscale(values, mean, scale, dtype):
    """Scaled values in units of the data; what the dtype cannot hold is its largest."""
    most = np.finfo(dtype).max
    with np.errstate(over="ignore"):
        return np.clip(values * scale + mean, -most, most).astype(dtype)


def scaling_tensors(mean, scale, compute):
    """What rows are centered and divided by, in their dtype and on their device."""
    parts = compute.tensor(mean), compute.tensor(scale)
    if not all(bool(part.isfinite().all()) for part in parts) or not parts[1].all():
        raise ValueError(
            f"The estimator was fitted to numbers of a size that {parts[0].dtype}, the "
            "dtype of X, cannot hold; pass X as float64."
        )
    return parts


def tensor_from_numpy(array):
    """A tensor over the memory of an array, which nobody will write to.

    torch has no read-only tensors and warns of read-only arrays. The engine never
    writes to its data, so a read-only memory map is passed on by its address.
    """
    if array.flags.writeable or array.size == 0:
        return torch.from_numpy(array)
    return torch.from_numpy(np.asarray(_WritableView(array)))


class _WritableView:
    """The array interface of a read-only array, less the flag."""

    def __init__(self, array):
        address, _ = array.__array_interface__["data"]
        self.array = array  # keeps the memory alive
        self.__array_interface__ = {
            **array.__array_interface__,
            "data": (address, False),
        }
