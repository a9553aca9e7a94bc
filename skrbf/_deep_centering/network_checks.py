"""Checks of the network of a deep fit, before it is trained."""

import torch

from skrbf._deep_centering.network import copy_module, format_error
from skrbf.engine.deep.constants import FAR_ROW_FACTOR, LARGEST_BOUNDED_CODE
from skrbf.engine.deep.reclustering import resettable_layers
from skrbf.ops.clustering import BOUNDED_CODE_LOSSES


def check_module(estimator, module, rows, dtype, pretrained):
    """Raise an error if the network does not suit the rows or the parameters.

    Parameters
    ----------
    estimator : DeepCenteringClustering
    module : Module
    rows : Tensor of shape (n, n_features)
        A batch of rows to train on.
    dtype : dtype
        Dtype of the rows to predict.
    pretrained : bool
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
        largest = float(module.encode(FAR_ROW_FACTOR * rows).abs().max())
    if largest > LARGEST_BOUNDED_CODE:
        raise ValueError(
            f"centering={centering!r} has no lower bound unless codes are bounded, but "
            f"the encoder makes codes up to {largest:.3g} of rows {FAR_ROW_FACTOR:.0e} "
            "times as large; end it with tanh."
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
