"""From the parameters of DeepCenteringClustering to the plans of the engine."""

import math
from numbers import Integral, Real

import numpy as np
import torch
from torch import nn

from skrbf._base import warn
from skrbf._deep_centering.fingerprint import fingerprint
from skrbf._deep_centering.network import build_module, copied, layers
from skrbf.engine.deep.center_updates import CENTER_RULES
from skrbf.engine.deep.fit import in_data_units
from skrbf.engine.deep.state import ClusterPlan, NetPlan
from skrbf.ops.assignment import ASSIGNMENTS
from skrbf.ops.clustering import CENTERING_LOSSES

# Parameters that may change when a fit is resumed: where it runs, and when it ends.
RESUMABLE_PARAMETERS = {"checkpoint", "device", "verbose", "max_iter", "tol"}

# Rows that are hashed at a time: the same on every device.
_HASHED_ROWS = 2**14

# Parameters that the built-in networks are made from.
_NETWORK = {
    "dense": ("hidden_layer_sizes", "code_activation"),
    "conv": ("input_shape", "code_activation"),
}


def net_plan(estimator, data):
    """How to train the network on the rows."""
    augment, shape = estimator.augment, estimator.input_shape
    if augment is not None:
        shape = None if shape is None else tuple(map(int, shape))
        augment = in_data_units(augment, data.scaling, shape, data.compute.device)
    return NetPlan(
        int(estimator.pretrain_epochs),
        int(estimator.batch_size),
        float(estimator.learning_rate),
        float(estimator.denoising),
        augment,
    )


def cluster_plan(estimator):
    """How to cluster the codes."""
    interval, reset = estimator.reinit_interval, estimator.weight_reset
    return ClusterPlan(
        n_epochs=int(estimator.max_iter),
        n_clusters=int(estimator.n_clusters),
        weight=float(estimator.clustering_weight),
        temperature=float(estimator.temperature),
        assignment=ASSIGNMENTS[estimator.assignment],
        loss=CENTERING_LOSSES[estimator.centering],
        through_weights=bool(estimator.through_weights),
        once_per_epoch=estimator.assignment_update == "epoch",
        rule=CENTER_RULES[estimator.center_update],
        reinit_interval=None if interval is None else int(interval),
        regrow=estimator.reinit == "grow",
        weight_reset=None if reset is None else float(reset),
        tol=float(estimator.tol),
    )


def check_parameters(estimator, n_features):
    """Raise or warn of what the constraints of single parameters do not see."""
    sizes = estimator.hidden_layer_sizes
    if np.ndim(sizes) != 1 or not all(map(_is_count, sizes)):
        raise ValueError(
            f"hidden_layer_sizes must hold integers from 1 on; got {sizes!r}."
        )
    shape = estimator.input_shape
    if estimator.encoder == "conv" and shape is None:
        raise ValueError("encoder='conv' needs input_shape, the shape of a row.")
    if shape is not None and (
        len(shape) not in (2, 3)
        or not all(map(_is_count, shape))
        or math.prod(map(int, shape)) != n_features
    ):
        raise ValueError(
            f"input_shape={shape!r} does not match the {n_features} features of X; "
            "it is (height, width) or (channels, height, width)."
        )
    if estimator.weight_reset is not None and estimator.reinit_interval is None:
        raise ValueError(
            "weight_reset comes before K-means, and needs a reinit_interval."
        )
    if isinstance(estimator.augment, type):
        raise ValueError(
            f"augment is the class {estimator.augment.__name__}; pass an instance of "
            f"it, as {estimator.augment.__name__}()."
        )
    ours = isinstance(estimator.encoder, str)  # others are tried out
    bounded = not ours or estimator.code_activation == "tanh"
    if estimator.centering == "regularized" and not bounded:
        raise ValueError(
            "centering='regularized' has no lower bound but for bounded codes; use "
            "code_activation='tanh'."
        )
    _warn_of_settings(estimator)


def _is_count(number):
    return isinstance(number, Integral) and _is_number(number) and number > 0


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def _warn_of_settings(estimator):
    """What can be meant, and seldom is."""
    messages = []
    shape, interval = estimator.input_shape, estimator.reinit_interval
    if shape is not None and len(shape) == 3 and shape[2] <= 4 < min(shape[:2]):
        height, width, channels = shape
        messages.append(
            f"input_shape={shape!r} is read as {height} channels of {width} x "
            f"{channels}. If the channels come last, move them to the front: "
            f"X.reshape(-1, *{shape!r}).transpose(0, 3, 1, 2).reshape(len(X), -1), "
            f"with input_shape={(channels, height, width)!r}."
        )
    if estimator.weight_reset is not None and 0 < estimator.max_iter <= interval:
        messages.append(
            f"No weight is reset: the first epoch after K-means is {interval + 1}, and "
            f"max_iter={estimator.max_iter}. Lower reinit_interval or raise max_iter."
        )
    for message in messages:
        warn(message, UserWarning)


def configuration(estimator, data, module, pretrained):
    """Fingerprint what the fits before and after an interruption must have in common.

    Parameters
    ----------
    estimator : DeepCenteringClustering
    data : TrainingData
    module : Module
        The network that the fit starts with.
    pretrained : bool
        Whether its weights are not drawn in the fit.

    Returns
    -------
    fingerprints : dict of str to str
        By the names that an error message has for them.

    Raises
    ------
    ValueError
        If a parameter cannot be pickled.
    """
    names = estimator.get_params(deep=False).keys() - RESUMABLE_PARAMETERS
    parameters = {name: _parameter(estimator, name) for name in sorted(names)}
    ours = isinstance(estimator.encoder, str)  # the parameters tell its layers
    state = dict(module.state_dict())
    return {
        **parameters,
        "layers of the network": fingerprint(None if ours else layers(module)),
        "weights of the network": fingerprint(state) if pretrained else "drawn",
        "X": _table(data.rows),
        "sample_weight": _table(data.weight),
    }


def _table(table):
    """Fingerprint the rows of a tensor, piece by piece to save memory."""
    pieces = table.split(_HASHED_ROWS)
    return fingerprint([fingerprint(piece + 0.0) for piece in pieces])  # no -0.0


def _parameter(estimator, name):
    """Fingerprint a parameter, the same for equal numbers of any type."""
    value = getattr(estimator, name)
    if name in ("hidden_layer_sizes", "input_shape") and value is not None:
        value = [int(size) for size in value]
    elif _is_number(value):
        value = float(value)
    elif isinstance(value, np.random.RandomState):
        value = type(value)  # each fit changes its state
    elif isinstance(value, nn.Module) and name == "encoder":
        value = copied(value).eval()  # a fit sets the mode itself
    try:
        return fingerprint(value)
    except Exception as error:  # pickling runs code of the user's
        raise ValueError(
            f"{name} cannot be pickled, and a checkpoint compares parameters by their "
            "pickles. Define its functions and classes at module level, neither as a "
            "lambda nor inside a function, or set checkpoint=None."
        ) from error


def network(estimator):
    """Fingerprint the parameters that the network of a fit is made from.

    Without a checkpoint, an encoder need not be pickled: one that cannot be counts by
    its name and weights, and `check_same_network` compares the layers that it makes.
    """
    encoder = estimator.encoder
    kind = encoder if isinstance(encoder, str) else None
    names = ("n_components", *_NETWORK.get(kind, ()))
    found = {name: _parameter(estimator, name) for name in names}
    try:
        found["encoder"] = _parameter(estimator, "encoder")
    except ValueError:
        name = getattr(encoder, "__qualname__", type(encoder).__qualname__)
        state = encoder.state_dict() if isinstance(encoder, nn.Module) else {}
        found["encoder"] = fingerprint([name, dict(state)])
    return found


def check_same_network(estimator, before):
    """Raise where a warm start would need another network."""
    now = network(estimator)
    changed = [name for name in now if now[name] != before.get(name)]
    if not changed and not isinstance(estimator.encoder, str | nn.Module):
        # A function counts by its name: see what it makes.
        made, _ = build_module(estimator, len(estimator.mean_), torch.Generator())
        shapes, known = layers(made), layers(estimator.autoencoder_)
        known |= {name: None for name in shapes if shapes[name] is None}
        changed = ["encoder"] if shapes != known else []
    if changed:
        raise ValueError(
            f"warm_start=True goes on with the network of the last fit, and "
            f"{', '.join(changed)} changed; set warm_start=False."
        )
