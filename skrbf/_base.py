"""What the estimators share: conversion in, device policy, observation of a fit."""

import sys
import warnings
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from sklearn import get_config
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from skrbf._compat import CallbackSupportMixin
from skrbf._convert import canonical_csr, tensor_to_array
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
        X, y = tensor_to_array(X, "X"), tensor_to_array(y, "y")
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
            return canonical_csr(checked[0]), checked[1]
        return canonical_csr(checked)

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
    while frame is not None and _is_internal(frame):
        frame, stacklevel = frame.f_back, stacklevel + 1
    warnings.warn(message, category, stacklevel=stacklevel)


def _is_internal(frame):
    name = frame.f_globals.get("__name__", "")
    return name.partition(".")[0] in ("skrbf", "sklearn")


def draw_seed(random_state):
    """Draw a seed for a generator of torch."""
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def distinct_clusters_message(n_found, n_clusters, reasons):
    """Say that clusters are missing, in the words of KMeans, and why that may be."""
    return (
        f"Number of distinct clusters ({n_found}) found smaller than n_clusters "
        f"({n_clusters}). Possibly due to duplicate points in X, {reasons}."
    )
