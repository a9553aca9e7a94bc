"""Base of the estimators: validation, device policy, warnings."""

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
from skrbf.engine.data.device import Compute
from skrbf.engine.data.scaling import Scaling

_BYTES_PER_MIB = 1 << 20

# Kinds of scikit-learn's parameter constraints that accept True and False.
_KINDS_WITH_BOOLEANS = {"boolean", "verbose", "random_state"}


class TorchEstimator(CallbackSupportMixin):
    """Mixin for estimators that compute with torch and store numpy arrays."""

    _doc_link_module = "skrbf"
    _doc_link_template = (
        "https://skrbf.readthedocs.io/en/stable/generated/"
        "{estimator_module}.{estimator_name}.html"
    )

    def __sklearn_tags__(self):
        """Declare sparse input, and output in the float type of the input."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _scaling(self):
        """Return the fitted scaling as tensors, to resume the fit."""
        arrays = (self.mean_, self.scale_)
        return Scaling(*(torch.tensor(array, device="cpu") for array in arrays))

    def _validate(self, X, y="no_validation", *, reset):
        """Convert `X` to float64 or float32, dense C-ordered or CSR, if it is not.

        Return `X`, or `X` and `y` if `y` is given.
        """
        X, y = tensor_to_array(X, "X"), tensor_to_array(y, "y")
        if getattr(X, "ndim", 2) > 2:
            raise ValueError(
                f"X must have two dimensions, got shape {tuple(X.shape)}. Flatten "
                "each sample, also images: X.reshape(len(X), -1)."
            )
        # scikit-learn sums X to find NaN. The sum of huge numbers of both signs is NaN
        # too; scikit-learn then checks the entries, but numpy warns.
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
        """Resolve device, dtype and block size for `X`.

        Device and dtype default to those of the estimator and of `X`.
        """
        return Compute.resolve(
            self.device if device is None else device,
            torch.from_numpy(np.empty(0, dtype or X.dtype)).dtype,
            work=X.shape[0] * X.shape[1] * int(n_clusters),
            memory_bytes=get_config()["working_memory"] * _BYTES_PER_MIB,
            fall_back=fitted,
        )

    @staticmethod
    def _collect(compute, blocks, out):
        """Write blocks (start, stop, tensor) along the last axis of an array."""
        with torch_modes(), compute.limited_threads():
            for start, stop, block in blocks:
                out[..., start:stop] = block.cpu().numpy()
        return out

    def _validate_params(self):
        """Validate parameters, and refuse True and False where a number is needed."""
        super()._validate_params()
        for name, accepted in self._parameter_constraints.items():
            value = getattr(self, name)
            kinds = {kind for kind in accepted if isinstance(kind, str)}
            if isinstance(value, bool) and not kinds & _KINDS_WITH_BOOLEANS:
                raise ValueError(
                    f"The {name!r} parameter of {type(self).__name__} must be a "
                    f"number, not a boolean; got {value!r}."
                )

    @contextmanager
    def _unchanged_on_error(self):
        """Restore the attributes that validation sets if the fit fails."""
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
    """Set inference mode and disable autocast inside the block."""
    with ExitStack() as modes:
        modes.enter_context(torch.inference_mode(inference))
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                modes.enter_context(torch.autocast(kind, enabled=False))
        yield


def warn(message, category):
    """Warn, pointing to the nearest caller outside this package and scikit-learn."""
    frame, stacklevel = sys._getframe(1), 2
    while frame is not None and _is_internal(frame):
        frame, stacklevel = frame.f_back, stacklevel + 1
    warnings.warn(message, category, stacklevel=stacklevel)


def _is_internal(frame):
    name = frame.f_globals.get("__name__", "")
    return name.partition(".")[0] in ("skrbf", "sklearn")


def draw_seed(random_state):
    """Draw a seed for a torch generator."""
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def distinct_clusters_message(n_found, n_clusters, reasons):
    """Compose the warning about missing clusters, in the words of KMeans."""
    return (
        f"Number of distinct clusters ({n_found}) found smaller than n_clusters "
        f"({n_clusters}). Possibly due to duplicate points in X, {reasons}."
    )
