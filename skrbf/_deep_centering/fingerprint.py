"""Fingerprints that compare parameters, data and weights across processes."""

from numbers import Real

import joblib
import numpy as np
import torch
from joblib.hashing import Hasher, NumpyHasher
from torch import nn

from skrbf._deep_centering.network import build_module, copy_module, part_shapes
from skrbf.engine.deep.constants import HASHED_ROWS

# Parameters that may change when a fit resumes: where it runs and when it ends.
RESUMABLE_PARAMETERS = {"checkpoint", "device", "verbose", "max_iter", "tol"}

# Parameters that the built-in networks depend on, besides n_components.
_NETWORK_PARAMETERS = {
    "dense": ("hidden_layer_sizes", "code_activation"),
    "conv": ("input_shape", "code_activation"),
}


def fingerprint(value):
    """Hash a value by its pickle: equal in every process that makes it the same way.

    A function or class counts by its qualified name only, an object by its pickle at
    the time of the call. Pickling runs user code, which can raise any error.
    """
    return _ValueHasher().hash(value)


class _ValueHasher(NumpyHasher):
    """The hasher of `joblib.hash`, independent of addresses and set order."""

    def save(self, obj):
        super().save(_as_values(obj))

    def _batch_setitems(self, items, *args):
        # joblib sorts dictionaries, but they hold the layers of a network in order.
        super(Hasher, self)._batch_setitems(items, *args)


def _as_values(value):
    """Replace a value by one whose pickle depends only on the value."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, set | frozenset):  # hash randomization changes their order
        return "set", sorted(map(fingerprint, value))
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return joblib.hash(np.array(value, order="C"))  # joblib hashes strides, too
    if isinstance(value, torch.Tensor) and not nn.parameter.is_lazy(value):
        dense = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        flat = dense.reshape(-1).view(torch.uint8)
        layout = str(value.dtype), tuple(value.shape), value.requires_grad
        return *layout, joblib.hash(flat.numpy())  # the pickle has addresses
    return value


def fit_fingerprints(estimator, data, module, pretrained):
    """Fingerprint all that must not change between an interruption and a resumed fit.

    The keys are the names that an error message has for them. The weights of the
    network count if they come from elsewhere than this fit.
    """
    names = estimator.get_params(deep=False).keys() - RESUMABLE_PARAMETERS
    # The parameters determine the layers of a built-in network.
    shapes = None if isinstance(estimator.encoder, str) else part_shapes(module)
    weights = dict(module.state_dict()) if pretrained else None
    return {
        **{name: parameter_fingerprint(estimator, name) for name in sorted(names)},
        "layers of the network": fingerprint(shapes),
        "weights of the network": fingerprint(weights) if pretrained else "drawn",
        "X": _table_fingerprint(data.rows),
        "sample_weight": _table_fingerprint(data.weight),
    }


def _table_fingerprint(table):
    """Fingerprint the rows of a tensor in pieces, to save memory."""
    pieces = table.split(HASHED_ROWS)
    return fingerprint([fingerprint(piece + 0.0) for piece in pieces])  # no -0.0


def parameter_fingerprint(estimator, name):
    """Fingerprint a parameter: the same for equal numbers of any type."""
    value = getattr(estimator, name)
    if name in ("hidden_layer_sizes", "input_shape") and value is not None:
        value = [int(size) for size in value]
    elif isinstance(value, Real) and not isinstance(value, bool):
        value = float(value)
    elif isinstance(value, np.random.RandomState):
        value = type(value)  # every fit changes its state
    elif isinstance(value, nn.Module) and name == "encoder":
        value = copy_module(value).eval()  # a fit sets the mode itself
    try:
        return fingerprint(value)
    except Exception as error:
        raise ValueError(
            f"{name} cannot be pickled, and a checkpoint compares parameters by their "
            "pickles. Define its functions and classes at module level, neither as a "
            "lambda nor inside a function, or set checkpoint=None."
        ) from error


def network_fingerprints(estimator):
    """Fingerprint the parameters that the network of a fit depends on.

    An encoder that cannot be pickled counts by its name and weights. Then
    `check_same_network` compares the layers as well.
    """
    encoder = estimator.encoder
    kind = encoder if isinstance(encoder, str) else None
    names = ("n_components", *_NETWORK_PARAMETERS.get(kind, ()))
    fingerprints = {name: parameter_fingerprint(estimator, name) for name in names}
    try:
        fingerprints["encoder"] = parameter_fingerprint(estimator, "encoder")
    except ValueError:
        name = getattr(encoder, "__qualname__", type(encoder).__qualname__)
        state = encoder.state_dict() if isinstance(encoder, nn.Module) else {}
        fingerprints["encoder"] = fingerprint([name, dict(state)])
    return fingerprints


def check_same_network(estimator, before):
    """Check that a warm start continues with the network of the fingerprints before."""
    now = network_fingerprints(estimator)
    changed = [name for name in now if now[name] != before.get(name)]
    if not changed and not isinstance(estimator.encoder, str | nn.Module):
        # A function counts by its name, so compare the networks that it makes.
        made, _ = build_module(estimator, len(estimator.mean_), torch.Generator())
        shapes, known = part_shapes(made), part_shapes(estimator.autoencoder_)
        known |= {name: None for name in shapes if shapes[name] is None}
        changed = ["encoder"] if shapes != known else []
    if changed:
        raise ValueError(
            "warm_start=True continues with the network of the last fit, but "
            f"{', '.join(changed)} changed; set warm_start=False."
        )
