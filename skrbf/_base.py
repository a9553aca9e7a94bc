"""What the estimators share: conversion in, device policy, observation of a fit."""

import sys
import warnings
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from scipy import sparse
from sklearn import get_config
from sklearn.utils import assert_all_finite, check_random_state
from sklearn.utils.validation import validate_data

from skrbf._compat import (
    CallbackSupportMixin,
    _check_sample_weight,
)
from skrbf.engine.data.compute import Compute
from skrbf.engine.data.scaling import Scaling

_MIB = 1 << 20

# Constraints of parameters that scikit-learn takes True and False for.
_BOOLEANS = {"boolean", "verbose", "random_state"}


class TorchEstimator(CallbackSupportMixin):
    """Mixin of the estimators that compute with torch and keep numpy."""

    _doc_link_module = "skrbf"
    _doc_link_template = (
        "https://skrbf.readthedocs.io/en/stable/generated/"
        "{estimator_module}.{estimator_name}.html"
    )

    def __sklearn_tags__(self):
        """Sparse input, and both float types kept."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _scaling(self):
        """The scaling of a fit, for another that goes on with it."""
        both = (self.mean_, self.scale_)
        return Scaling(*(torch.tensor(part, device="cpu") for part in both))

    def _validate(self, X, y="no_validation", *, reset):
        """`X` as float64 or float32, dense C-ordered or CSR; never copied in vain.

        With `y` as well, where it is given.
        """
        X, y = as_array(X, "X"), as_array(y, "y")
        if getattr(X, "ndim", 2) > 2:
            raise ValueError(
                f"X has shape {tuple(X.shape)}, and must have two dimensions: rows "
                "stay flat, also those of images. Use X.reshape(len(X), -1)."
            )
        # scikit-learn sums X to find NaN, and the largest numbers of both signs are
        # no number in sum: it looks closer then.
        with np.errstate(invalid="ignore"):
            checked = validate_data(
                self,
                X,
                y,
                reset=reset,
                accept_sparse="csr",
                dtype=[np.float64, np.float32],
                order="C",
            )
        if isinstance(checked, tuple):
            return _canonical(checked[0]), checked[1]
        return _canonical(checked)

    def _compute(self, X, n_clusters, *, fitted=False, device=None, dtype=None):
        """Device and dtype, those of the estimator and `X` by default, block size."""
        return Compute.resolve(
            self.device if device is None else device,
            torch.from_numpy(np.empty(0, dtype or X.dtype)).dtype,
            work=X.shape[0] * X.shape[1] * int(n_clusters),
            memory_bytes=get_config()["working_memory"] * _MIB,
            fall_back=fitted,
        )

    @staticmethod
    def _collect(compute, blocks, whole):
        """Write blocks (start, stop, tensor) into an array, along its last axis."""
        with torch_modes(), compute.limited_threads():
            for start, stop, block in blocks:
                whole[..., start:stop] = block.cpu().numpy()
        return whole

    def _validate_params(self):
        """Refuse True and False for numbers, too, which Python takes for integers."""
        super()._validate_params()
        for name, accepted in self._parameter_constraints.items():
            value = getattr(self, name)
            kinds = {kind for kind in accepted if isinstance(kind, str)}
            if isinstance(value, bool) and not kinds & _BOOLEANS:
                raise ValueError(
                    f"The {name!r} parameter of {type(self).__name__} must be a "
                    f"number, not a boolean; got {value!r}."
                )

    @contextmanager
    def _unchanged_on_error(self):
        """Undo what validation writes before the fit has succeeded."""
        names = ("n_features_in_", "feature_names_in_")
        before = {name: vars(self)[name] for name in names if name in vars(self)}
        try:
            yield
        except BaseException:
            for name in names:
                vars(self).pop(name, None)
            vars(self).update(before)
            raise


@contextmanager
def torch_modes(*, inference=True):
    """The modes of torch that an estimator computes in, whatever surrounds the call."""
    with ExitStack() as modes:
        modes.enter_context(torch.inference_mode(inference))
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                modes.enter_context(torch.autocast(kind, enabled=False))
        yield


def warn(message, category):
    """Warn of the nearest line outside this package and scikit-learn."""
    frame, stacklevel = sys._getframe(1), 2
    while frame is not None and _is_ours(frame):
        frame, stacklevel = frame.f_back, stacklevel + 1
    warnings.warn(message, category, stacklevel=stacklevel)


def _is_ours(frame):
    name = frame.f_globals.get("__name__", "")
    return name.partition(".")[0] in ("skrbf", "sklearn")


def drawn_seed(random_state):
    """Draw a seed for a generator of torch."""
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def too_few_clusters(n_found, n_clusters, reasons):
    """Say that clusters are missing, in the words of KMeans, and why that may be."""
    return (
        f"Number of distinct clusters ({n_found}) found smaller than n_clusters "
        f"({n_clusters}). Possibly due to duplicate points in X, {reasons}."
    )


def as_array(given, name):
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


_NUMPY_FLOATS = (torch.float16, torch.float32, torch.float64)


def _canonical(X):
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
        as_array(sample_weight, "sample_weight"),
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
        return compute.dense(from_numpy(_contiguous(X)))
    parts = [from_numpy(part) for part in (X.indptr, X.indices, X.data)]
    return compute.sparse(parts, X.shape[1])


def unscaled(values, mean, scale, dtype):
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


def from_numpy(array):
    """A tensor over the memory of an array, which nobody will write to.

    torch has no read-only tensors and warns of read-only arrays. The engine never
    writes to its data, so a read-only memory map is passed on by its address.
    """
    if array.flags.writeable or array.size == 0:
        return torch.from_numpy(array)
    return torch.from_numpy(np.asarray(_Writeable(array)))


class _Writeable:
    """The array interface of a read-only array, less the flag."""

    def __init__(self, array):
        address, _ = array.__array_interface__["data"]
        self.array = array  # keeps the memory alive
        self.__array_interface__ = {
            **array.__array_interface__,
            "data": (address, False),
        }
