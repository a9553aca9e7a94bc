"""The network of a deep fit: made by name or by user code, and copied."""

import copy

import torch
from torch import nn

from skrbf._base import warn
from skrbf.engine.deep.constants import (
    UNTRAINED_OVER_LINEAR_RATIO,
    UNTRAINED_RECONSTRUCTION_ERROR,
)
from skrbf.engine.deep.predict import linear_reconstruction_error, reconstruction_error
from skrbf.engine.training.rng import draw_seed, scoped_rng
from skrbf.nn import ConvAutoencoder, DenseAutoencoder


def build_module(estimator, n_features, generator):
    """Make the autoencoder of a fit, or copy a pretrained one.

    Parameters
    ----------
    estimator : DeepCenteringClustering
    n_features : int
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    module : Module
    pretrained : bool
    """
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
    if error <= UNTRAINED_RECONSTRUCTION_ERROR:
        return
    linear = linear_reconstruction_error(data, estimator.n_components)
    if error > UNTRAINED_OVER_LINEAR_RATIO * linear:
        name = type(estimator.encoder).__name__
        warn(
            "encoder is a module, so it counts as trained and is not pretrained, but "
            "it reconstructs the rows hardly better than their mean: the error is "
            f"{error:.3g} times that of the mean. For an untrained network, pass a "
            "function that makes it, such as encoder=lambda n_features, n_components: "
            f"{name}(...). A trained network gets rows minus mean_, divided by scale_.",
            UserWarning,
        )
