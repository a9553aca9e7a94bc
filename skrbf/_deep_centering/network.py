"""The network of a deep fit: made by name or by user code, copied and checked."""

import copy

import torch
from torch import nn

from skrbf._base import warn
from skrbf.engine.deep import constants
from skrbf.engine.deep.predict import linear_reconstruction_error, reconstruction_error
from skrbf.engine.deep.reclustering import resettable_layers
from skrbf.engine.training.rng import draw_seed, scoped_rng
from skrbf.nn import ConvAutoencoder, DenseAutoencoder
from skrbf.ops.centering import BOUNDED_CODE_LOSSES


def build_module(estimator, n_features, generator):
    """Make the autoencoder of a fit, or copy a pretrained one; tell which."""
    encoder, width = estimator.encoder, estimator.n_components
    activation = estimator.code_activation
    if isinstance(encoder, nn.Module):
        _check_values(encoder)
        return copy_module(encoder), True
    if encoder == "dense":
        sizes = tuple(map(int, estimator.hidden_layer_sizes))
        module = DenseAutoencoder(
            n_features, width, sizes, activation, generator=generator
        )
    elif encoder == "conv":
        module = ConvAutoencoder(
            tuple(map(int, estimator.input_shape)),
            width,
            code_activation=activation,
            generator=generator,
        )
    else:  # user code draws weights on the CPU, from torch's own generator
        seed = draw_seed(generator)
        with scoped_rng(seed, torch.device("cpu")), torch.device("cpu"):
            module = _call_factory(encoder, n_features, width)
        if not isinstance(module, nn.Module):
            raise ValueError(
                f"encoder returned {type(module)}, which is not a torch.nn.Module."
            )
        _check_values(module)
    return module, False


def _call_factory(make, n_features, width):
    """Call a factory, and say in its errors how it was called."""
    call = (
        "encoder was called as encoder(n_features, n_components), with the numbers "
        f"encoder({n_features}, {width})"
    )
    try:
        return make(n_features, width)
    except (TypeError, ValueError) as error:  # wrong arguments
        raise ValueError(f"{call}, and raised {format_error(error)}") from error
    except Exception as error:
        error.add_note(f"{call}.")
        raise


def format_error(error):
    """Format the type and message of an error."""
    return f"{type(error).__name__}: {error}"


def _check_values(module):
    """Raise an error if a network has shapes without values."""
    for name, part in (*module.named_parameters(), *module.named_buffers()):
        if part.is_meta:
            raise ValueError(
                f"encoder has no values in {name!r}, which is on the meta device; load "
                "them with load_state_dict(..., assign=True)."
            )


def copy_module(module):
    """Copy a network, or raise an error that says why that is impossible."""
    try:
        return copy.deepcopy(module)
    except Exception as error:
        raise ValueError(
            "encoder cannot be copied, and a fit keeps a copy of it: "
            f"{format_error(error)}"
        ) from error


def part_shapes(module):
    """List the shapes of parameters and buffers by name; None if still unknown."""
    parts = (*module.named_parameters(), *module.named_buffers())
    return {
        name: None if nn.parameter.is_lazy(part) else tuple(part.shape)
        for name, part in parts
    }


def warn_if_untrained(estimator, module, data):
    """Warn if a module that counts as trained does not reconstruct the rows."""
    if not any(parameter.requires_grad for parameter in module.parameters()):
        return  # frozen on purpose
    error = reconstruction_error(module, data)
    if error <= constants.UNTRAINED_RECONSTRUCTION_ERROR:
        return
    linear = linear_reconstruction_error(data, estimator.n_components)
    if error > constants.UNTRAINED_OVER_LINEAR_RATIO * linear:
        name = type(estimator.encoder).__name__
        warn(
            "encoder is a module, so it counts as trained and is not pretrained, but "
            "it reconstructs the rows hardly better than their mean: the error is "
            f"{error:.3g} times that of the mean. For an untrained network, pass a "
            "function that makes it, such as encoder=lambda n_features, n_components: "
            f"{name}(...). A trained network gets rows minus mean_, divided by scale_.",
            UserWarning,
        )


def check_module(estimator, module, rows, dtype, pretrained):
    """Raise an error if the network does not suit the rows or the parameters.

    The rows are a batch to train on, and `dtype` is that of the rows to predict.
    """
    clusters = estimator.max_iter > 0
    trains = bool(clusters or (estimator.pretrain_epochs > 0 and not pretrained))
    _check_parts(module, trains)
    if estimator.weight_reset is not None:
        _check_reset(module)
    module.eval()
    with torch.set_grad_enabled(trains):
        codes, decoded = _check_passes(estimator, module, rows[:2])
    if trains and not decoded.requires_grad:
        raise ValueError(
            "encoder has parameters to train, but no gradient reaches them: the result "
            "of decode is detached."
        )
    if clusters and not codes.requires_grad:
        raise ValueError(
            "no gradient reaches the encoder, so no code can move to a center: the "
            "encoder is frozen, or the result of encode is detached. For K-means on "
            "such codes set max_iter=0."
        )
    if not isinstance(estimator.encoder, str):
        _check_copies(module, rows, dtype, trains)


def _check_parts(module, trains):
    """Raise an error if methods or parameters are missing."""
    for name in ("encode", "decode"):
        if not callable(getattr(module, name, None)):
            raise ValueError(
                f"encoder has no method {name!r}; see skrbf.nn.Autoencoder."
            )
    parameters = list(module.parameters())
    if not parameters:
        raise ValueError("encoder has no parameters.")
    if trains and not any(parameter.requires_grad for parameter in parameters):
        raise ValueError(
            "encoder has no parameters to train; for K-means on its codes, pass it as "
            "a module with max_iter=0."
        )


def _check_reset(module):
    """Raise an error if a weight reset would change nothing."""
    if not hasattr(module, "encoder"):
        raise ValueError(
            "weight_reset needs an autoencoder with an attribute 'encoder'."
        )
    layers = resettable_layers(module.encoder)
    if any("weight" not in dict(layer.named_parameters()) for layer in layers):
        raise ValueError(
            "weight_reset cannot draw the weights of layers that compute them, such as "
            "those of weight_norm or spectral_norm."
        )
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    if not any(parameter.requires_grad for parameter in parameters):
        raise ValueError(
            "weight_reset finds no weights to reset: it changes neither the last "
            "linear or convolutional layer of the encoder nor frozen layers."
        )


def _check_passes(estimator, module, rows):
    """Encode and decode rows; raise an error if a result is not as it must be."""
    rows = rows.clone()
    codes = _check_encode(module, rows, estimator.n_components)
    n_changes = codes._version
    try:
        decoded = module.decode(codes)
    except Exception as error:
        raise ValueError(
            f"encoder does not decode codes of width {codes.shape[1]}: decode raised "
            f"{format_error(error)}"
        ) from error
    _check_result("decode", decoded)
    if rows._version or codes._version > n_changes:
        raise ValueError(
            "encode and decode must not change their argument, as a first layer with "
            "inplace=True does."
        )
    if estimator.centering in BOUNDED_CODE_LOSSES:
        _check_bounded(module, rows, estimator.centering)
    if decoded.shape != rows.shape:
        raise ValueError(
            f"encoder decodes to shape {tuple(decoded.shape)}, but the rows have shape "
            f"{tuple(rows.shape)}."
        )
    return codes, decoded


def _check_encode(module, rows, width):
    """Encode rows; raise an error if the codes are not as they must be."""
    try:
        codes = module.encode(rows)
    except Exception as error:
        raise ValueError(
            f"encoder does not take the {rows.shape[1]} features of X, which come as "
            "flat rows (nn.Unflatten makes images of them): encode raised "
            f"{format_error(error)}"
        ) from error
    _check_result("encode", codes)
    if not torch.allclose(module.encode(rows.clone()), codes, rtol=0.01):
        raise ValueError(
            "encode gives the same rows different codes each time, also in evaluation "
            "mode: labels_ would not agree with predict."
        )
    if codes.shape != (len(rows), width):
        raise ValueError(
            f"encoder makes codes of shape {tuple(codes.shape)} of {len(rows)} rows, "
            f"but n_components={width} requires {(len(rows), width)}."
        )
    return codes


def _check_copies(module, rows, dtype, trains):
    """Raise an error if a copy of the network could not be trained or predict."""
    few = rows[:2]
    trial = _copy_after_pass(module, few)
    if trains:  # training may leave something in the network
        _check_training(trial.train(), rows.clone())
        trial = _copy_after_pass(trial.eval(), few)
    try:
        with torch.inference_mode():
            trial.to(dtype)
            trial.decode(trial.encode(few.to(dtype)))
    except Exception as error:
        raise ValueError(
            f"encoder does not take rows of {dtype}, the dtype of X and so of "
            "predictions. Tensors of a network must be parameters or buffers; or pass "
            f"X as float32. It raised {format_error(error)}"
        ) from error


def _check_training(module, rows):
    """Raise an error if a batch does not pass in training mode."""
    try:
        module.decode(module.encode(rows))
    except Exception as error:
        if len(rows) > 1:
            raise ValueError(
                f"encoder cannot be trained: in training mode it raised "
                f"{format_error(error)}"
            ) from error
        raise ValueError(
            "encoder cannot be trained on batches of one row. If it normalizes over a "
            "batch, it needs a batch_size of at least 2 and as many distinct rows. It "
            f"raised {format_error(error)}"
        ) from error


def _copy_after_pass(module, rows):
    """Copy a network after a pass without gradients, as a fit does.

    Then weights that are computed at every pass, as by weight_norm, can be copied.
    """
    with torch.no_grad():
        module.decode(module.encode(rows))
    return copy_module(module)


def _check_bounded(module, rows, centering):
    """Raise an error if the codes of far rows are large."""
    with torch.no_grad():
        largest = float(module.encode(constants.FAR_ROW_FACTOR * rows).abs().max())
    if largest > constants.LARGEST_BOUNDED_CODE:
        raise ValueError(
            f"centering={centering!r} has no lower bound unless codes are bounded, but "
            f"the encoder makes codes up to {largest:.3g} of rows "
            f"{constants.FAR_ROW_FACTOR:.0e} times as large; end it with tanh."
        )


def _check_result(name, result):
    """Raise an error if a method does not return finite real numbers."""
    if not isinstance(result, torch.Tensor):
        raise ValueError(f"{name} must return a tensor, but returned {type(result)}.")
    if not result.is_floating_point():
        raise ValueError(
            f"{name} must return real numbers, but returned {result.dtype}."
        )
    if not bool(result.isfinite().all()):
        raise ValueError(f"{name} returned numbers that are not finite.")
