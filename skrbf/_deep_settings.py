"""From the parameters of DeepCenteringClustering to the plans of the engine."""

import copy
import math
from numbers import Integral

import torch
from torch import nn

from skrbf._described import described, weights
from skrbf._estimator import warn
from skrbf.engine.centers import CENTER_RULES
from skrbf.engine.checkpoint import fingerprints
from skrbf.engine.deep_fit import in_data_units
from skrbf.engine.deep_state import ClusterPlan, NetPlan
from skrbf.engine.randomness import seeded
from skrbf.engine.recluster import reset_layers
from skrbf.nn import ConvAutoencoder, DenseAutoencoder
from skrbf.ops import ASSIGNMENTS, CENTERING_LOSSES

# What a training that goes on need not share with the one that was interrupted: where
# it runs, and when it ends.
_FREE = {"checkpoint", "device", "verbose", "max_iter", "tol"}

# What a network that training goes on with has been made from.
_NETWORK = {
    "dense": ("hidden_layer_sizes", "code_activation"),
    "conv": ("input_shape", "code_activation"),
}

# Largest entry that passes for a bounded code.
_BOUND = 100.0


def net_plan(estimator, data):
    """How to train the network on the rows."""
    augment, shape = estimator.augment, estimator.input_shape
    if augment is not None:
        shape = None if shape is None else tuple(map(int, shape))
        augment = in_data_units(augment, data.scaling, shape, data.compute.device)
    return NetPlan(
        estimator.pretrain_epochs,
        estimator.batch_size,
        float(estimator.learning_rate),
        float(estimator.denoising),
        augment,
    )


def cluster_plan(estimator):
    """How to cluster the codes."""
    reset = estimator.weight_reset
    return ClusterPlan(
        n_epochs=estimator.max_iter,
        n_clusters=estimator.n_clusters,
        weight=float(estimator.clustering_weight),
        temperature=float(estimator.temperature),
        assignment=ASSIGNMENTS[estimator.assignment],
        loss=CENTERING_LOSSES[estimator.centering],
        through_weights=bool(estimator.through_weights),
        once_per_epoch=estimator.assignment_update == "epoch",
        rule=CENTER_RULES[estimator.center_update],
        reinit_interval=estimator.reinit_interval,
        regrow=estimator.reinit == "grow",
        weight_reset=None if reset is None else float(reset),
        tol=float(estimator.tol),
    )


def check_parameters(estimator, n_features):
    """Raise or warn of what the constraints of single parameters do not see."""
    for size in estimator.hidden_layer_sizes:
        if not _is_count(size):
            raise ValueError(
                "hidden_layer_sizes must hold integers from 1 on, got "
                f"{estimator.hidden_layer_sizes!r}."
            )
    shape = estimator.input_shape
    if estimator.encoder == "conv" and shape is None:
        raise ValueError("encoder='conv' needs input_shape, the shape of a row.")
    if shape is not None and (
        len(shape) not in (2, 3)
        or not all(map(_is_count, shape))
        or math.prod(shape) != n_features
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
    return isinstance(number, Integral) and not isinstance(number, bool) and number > 0


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


def build_module(estimator, n_features, generator):
    """The autoencoder of a fit: a new one, or a copy of one that is trained.

    Returns
    -------
    module : Module
    pretrained : bool
    """
    kind, width = estimator.encoder, estimator.n_components
    if isinstance(kind, nn.Module):
        return copy.deepcopy(kind), True
    if kind == "dense":
        sizes = tuple(map(int, estimator.hidden_layer_sizes))
        activation = estimator.code_activation
        module = DenseAutoencoder(
            n_features, width, sizes, activation, generator=generator
        )
    elif kind == "conv":
        module = ConvAutoencoder(
            tuple(map(int, estimator.input_shape)),
            width,
            code_activation=estimator.code_activation,
            generator=generator,
        )
    else:  # its layers draw from torch's own generator, which is put back
        seed = int(torch.randint(2**31, (1,), generator=generator))
        with seeded(seed, torch.device("cpu")):
            module = kind(n_features, width)
        if not isinstance(module, nn.Module):
            raise ValueError(
                f"encoder returned {type(module)}, which is not a torch.nn.Module."
            )
    return module, False


def check_module(estimator, module, rows, trained):
    """Raise where the network does not fit the rows, or what is asked of it."""
    for name in ("encode", "decode"):
        if not callable(getattr(module, name, None)):
            raise ValueError(
                f"encoder has no method {name!r}; see skrbf.nn.Autoencoder."
            )
    parameters = list(module.parameters())
    if not parameters:
        raise ValueError("encoder has no parameters.")
    if trained and not any(each.requires_grad for each in parameters):
        raise ValueError(
            "encoder has no parameters to train; for K-means on its codes pass it as a "
            "module, with max_iter=0."
        )
    if trained and min(estimator.batch_size, len(rows)) == 1:
        norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
        if any(isinstance(layer, norms) for layer in module.modules()):
            raise ValueError(
                "encoder has layers that normalise a batch, which takes a batch_size "
                "of 2 and as many distinct rows."
            )
    if estimator.weight_reset is not None:
        _check_reset(module)
    module.eval()
    with torch.set_grad_enabled(trained):
        back = _check_passes(estimator, module, rows)
    if trained and not back.requires_grad:
        raise ValueError(
            "encoder has parameters to train and no gradient reaches them: what decode "
            "returns is detached."
        )


def _check_reset(module):
    """Raise where a weight reset would change nothing."""
    if not hasattr(module, "encoder"):
        raise ValueError("weight_reset needs an autoencoder with a part 'encoder'.")
    layers = reset_layers(module.encoder)
    if any("weight" not in dict(layer.named_parameters()) for layer in layers):
        raise ValueError(
            "weight_reset cannot draw the weights of layers that compute them, as with "
            "weight_norm or spectral_norm."
        )
    if not any(each.requires_grad for layer in layers for each in layer.parameters()):
        raise ValueError(
            "weight_reset finds no weights to reset: it leaves the last of the linear "
            "and convolutional layers of the encoder as it is, and frozen ones."
        )


def _check_passes(estimator, module, rows):
    """Raise where codes of rows, or the rows made of them, are not as they must be."""
    width, n_features = estimator.n_components, rows.shape[1]
    rows = rows.clone()
    try:
        codes = module.encode(rows)
    except RuntimeError as error:
        raise ValueError(
            f"encoder does not take the {n_features} features of X, which come as "
            f"flat rows (nn.Unflatten makes images of them): {error}"
        ) from error
    _check_made("encode", codes)
    if codes.shape != (len(rows), width):
        raise ValueError(
            f"encoder makes codes of shape {tuple(codes.shape)} of {len(rows)} "
            f"rows, and n_components={width} asks for {(len(rows), width)}."
        )
    n_changes = codes._version
    try:
        back = module.decode(codes)
    except RuntimeError as error:
        raise ValueError(
            f"encoder does not decode codes of width {width}: {error}"
        ) from error
    _check_made("decode", back)
    if rows._version or codes._version > n_changes:
        raise ValueError(
            "encode and decode must not change the tensor that they are given, as a "
            "first layer with inplace=True does."
        )
    if estimator.centering == "regularized":
        _check_bounded(module, rows)
    if back.shape != rows.shape:
        raise ValueError(
            f"encoder decodes to shape {tuple(back.shape)}, and the rows have shape "
            f"{tuple(rows.shape)}."
        )
    return back


def _check_bounded(module, rows):
    with torch.no_grad():
        far = float(module.encode(1e6 * rows).abs().max())
    if far > _BOUND:
        raise ValueError(
            "centering='regularized' has no lower bound but for bounded codes, and the "
            f"encoder makes codes up to {far:.3g} of rows a million times as large; "
            "end it with tanh."
        )


def _check_made(name, made):
    if not isinstance(made, torch.Tensor):
        raise ValueError(f"{name} must return a tensor, and returned {type(made)}.")
    if not made.is_floating_point():
        raise ValueError(f"{name} must return real numbers, and returned {made.dtype}.")
    if not bool(made.isfinite().all()):
        raise ValueError(f"{name} returns numbers that are not finite.")


def configuration(estimator, data, pretrained):
    """What the fits before and after an interruption must have in common.

    Parameters
    ----------
    pretrained : Module or None
        The network, if its weights are not drawn in the fit.
    """
    parameters = {
        name: described(value)
        for name, value in estimator.get_params(deep=False).items()
        if name not in _FREE
    }
    return {
        **parameters,
        "weights of the network": "drawn"
        if pretrained is None
        else weights(pretrained),
        **fingerprints(data),
    }


def network(estimator):
    """What the network of a fit was made from."""
    kind = estimator.encoder if isinstance(estimator.encoder, str) else None
    names = ("encoder", "n_components", *_NETWORK.get(kind, ()))
    return {name: described(getattr(estimator, name)) for name in names}


def check_same_network(estimator, before):
    """Raise where a warm start would need another network."""
    now = network(estimator)
    changed = [name for name in now if now[name] != before.get(name)]
    if changed:
        raise ValueError(
            f"warm_start=True goes on with the network of the last fit, and "
            f"{', '.join(changed)} changed; set warm_start=False."
        )
