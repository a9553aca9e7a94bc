"""Conversion of data into tensors on the way in, and into arrays on the way out."""

import numpy as np
import torch
from scipy import sparse
from sklearn.utils import assert_all_finite

from skrbf._compat import _check_sample_weight

_NUMPY_FLOATS = (torch.float16, torch.float32, torch.float64)


def tensor_to_array(value, name):
    """Convert a dense tensor to an array; return other values unchanged."""
    if not isinstance(value, torch.Tensor):
        return value
    if value.layout != torch.strided or value.is_nested:
        raise TypeError(
            f"{name} is a tensor of layout {value.layout}; pass a dense tensor or a "
            "scipy sparse matrix."
        )
    if value.device.type == "meta":
        raise ValueError(f"{name} is on the meta device, where tensors have no values.")
    value = value.detach().cpu().resolve_conj().resolve_neg()
    if value.is_floating_point() and value.dtype not in _NUMPY_FLOATS:
        value = value.float()
    return value.numpy()


def canonical_csr(X):
    """Sort the entries of a CSR matrix and sum duplicates, in a copy if necessary.

    Torch, and functions of stored entries that are not linear, such as squares, need
    each entry to be the value at its position.
    """
    if not sparse.issparse(X):
        return X
    kind = sparse.csr_array if isinstance(X, sparse.sparray) else sparse.csr_matrix
    parts = (_contiguous(part) for part in (X.data, X.indices, X.indptr))
    X = kind(tuple(parts), shape=X.shape)  # without cached format flags
    X.check_format(full_check=True)
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
        assert_all_finite(X.data, input_name="X")
    return X


def _contiguous(array):
    """Return the array, or a contiguous copy in native byte order."""
    return np.require(array, array.dtype.newbyteorder("="), ["C", "A"])


def check_sample_weight(sample_weight, X):
    """Check weights, and divide them by a power of two: only their ratios matter.

    Return weights (n_samples,) in float64, of which the largest is between 0.5 and 1,
    and the exponent: the given weights are 2^exponent times as large. Without weights,
    return None and 0.
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
    if not np.any(weight):  # scikit-learn >= 1.9 raises before
        raise ValueError(
            "Sample weights must contain at least one non-zero number; all are zero."
        )
    exponent = int(np.frexp(weight.max())[1])
    return np.ldexp(weight, -exponent), exponent


def to_rows(X, compute):
    """Return a validated array or CSR matrix as rows of the engine, without a copy."""
    if not sparse.issparse(X):
        return compute.dense(tensor_from_numpy(_contiguous(X)))
    parts = [tensor_from_numpy(part) for part in (X.indptr, X.indices, X.data)]
    return compute.sparse(parts, X.shape[1])


def unscale(values, mean, scale, dtype):
    """Convert scaled values to data units, clipped to the range of the dtype."""
    limit = np.finfo(dtype).max
    with np.errstate(over="ignore"):
        return np.clip(values * scale + mean, -limit, limit).astype(dtype)


def scaling_tensors(mean, scale, compute):
    """Return mean and scale in the dtype and on the device of the rows."""
    parts = compute.tensor(mean), compute.tensor(scale)
    if not all(bool(part.isfinite().all()) for part in parts) or not parts[1].all():
        raise ValueError(
            f"The estimator was fitted to values beyond the range of {parts[0].dtype}, "
            "the dtype of X; pass X as float64."
        )
    return parts


def tensor_from_numpy(array):
    """Return a tensor that shares the memory of an array and is only read.

    Torch has no read-only tensors and warns about read-only arrays. The engine never
    writes to its data, so a read-only memory map is passed by its address.
    """
    if array.flags.writeable or array.size == 0:
        return torch.from_numpy(array)
    return torch.from_numpy(np.asarray(_WritableView(array)))


class _WritableView:
    """Array interface of a read-only array without the read-only flag."""

    def __init__(self, array):
        address, _ = array.__array_interface__["data"]
        self.array = array  # keeps the memory alive
        self.__array_interface__ = {
            **array.__array_interface__,
            "data": (address, False),
        }
