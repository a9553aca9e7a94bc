"""The network of a deep fit: made, tried out on rows, and told by its layers."""

import copy

import torch
from torch import nn

from skrbf._base import warn
from skrbf.engine.deep.fit import first_error, linear_error
from skrbf.engine.deep.reclustering import reset_layers
from skrbf.engine.training.rng import seeded
from skrbf.nn import ConvAutoencoder, DenseAutoencoder

# Reconstruction error, over that of the mean, that a trained network stays below. Drawn
# at random networks of two layers and more come to 0.91 to 1.3 on scikit-learn's data.
# Rows of much noise have more in them than codes can hold: there so many times the
# error of as many principal components.
_UNTRAINED, _OVER_LINEAR = 0.9, 1.1
# Largest entry that passes for a bounded code.
_BOUND = 100.0


def build_module(estimator, n_features, generator):
    """The autoencoder of a fit: a new one, or a copy of one that is trained.

    Returns
    -------
    module : Module
    pretrained : bool
    """
    kind, width = estimator.encoder, estimator.n_components
    if isinstance(kind, nn.Module):
        _check_values(kind)
        return copied(kind), True
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
    else:  # its layers draw on the CPU, from torch's own generator, which is put back
        seed = int(torch.randint(2**31, (1,), generator=generator, device="cpu"))
        with seeded(seed, torch.device("cpu")), torch.device("cpu"):
            module = _called(kind, n_features, width)
        if not isinstance(module, nn.Module):
            raise ValueError(
                f"encoder returned {type(module)}, which is not a torch.nn.Module."
            )
        _check_values(module)
    return module, False


def _called(make, n_features, width):
    """Call a factory; its errors say how it was called."""
    call = (
        "encoder was called as encoder(n_features, n_components), with the numbers "
        f"encoder({n_features}, {width})"
    )
    try:
        return make(n_features, width)
    except (TypeError, ValueError) as error:  # of arguments that it does not take
        raise ValueError(f"{call}, and raised {_told(error)}") from error
    except Exception as error:
        error.add_note(f"{call}.")
        raise


def _told(error):
    return f"{type(error).__name__}: {error}"


def _check_values(module):
    """Raise where a network has shapes alone."""
    for name, part in (*module.named_parameters(), *module.named_buffers()):
        if part.is_meta:
            raise ValueError(
                f"encoder has no numbers in {name!r}, which is on the meta device; "
                "load some with load_state_dict(..., assign=True)."
            )


def warn_of_untrained(estimator, module, data):
    """Warn where a module that is taken as trained says nothing of the rows."""
    if not any(each.requires_grad for each in module.parameters()):
        return  # frozen on purpose
    error = first_error(module, data)
    if error > _UNTRAINED and error > _OVER_LINEAR * linear_error(
        data, estimator.n_components
    ):
        name = type(estimator.encoder).__name__
        warn(
            "encoder is a module, so it is taken as trained and not pretrained, but it "
            "reconstructs the rows hardly better than their mean does: the error is "
            f"{error:.3g} times theirs. For a network that is not trained pass a "
            "function that makes it, such as encoder=lambda n_features, n_components: "
            f"{name}(...). One that is trained gets rows less mean_ and divided by "
            "scale_.",
            UserWarning,
        )


def check_module(estimator, module, rows, dtype, pretrained):
    """Raise where the network does not fit the rows, or what is asked of it.

    Parameters
    ----------
    estimator : DeepCenteringClustering
    module : Module
    rows : Tensor of shape (n, n_features)
        A batch of those to train on.
    dtype : dtype
        Of the rows to predict.
    pretrained : bool
    """
    clustered = estimator.max_iter > 0
    trained = bool(clustered or (estimator.pretrain_epochs > 0 and not pretrained))
    _check_parts(module, trained)
    if estimator.weight_reset is not None:
        _check_reset(module)
    module.eval()
    with torch.set_grad_enabled(trained):
        codes, back = _check_passes(estimator, module, rows[:2])
    if trained and not back.requires_grad:
        raise ValueError(
            "encoder has parameters to train and no gradient reaches them: what decode "
            "returns is detached."
        )
    if clustered and not codes.requires_grad:
        raise ValueError(
            "no gradient reaches what makes the codes, so none is pulled to a center: "
            "it is frozen, or what encode returns is detached. For K-means on such "
            "codes set max_iter=0."
        )
    if not isinstance(estimator.encoder, str):
        _check_copies(module, rows, dtype, trained)


def _check_parts(module, trained):
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
    except Exception as error:
        raise ValueError(
            f"encoder does not take the {n_features} features of X, which come as "
            "flat rows (nn.Unflatten makes images of them): encode raised "
            f"{_told(error)}"
        ) from error
    _check_made("encode", codes)
    if not torch.allclose(module.encode(rows.clone()), codes, rtol=0.01):
        raise ValueError(
            "encode gives the same rows other codes each time, also out of training: "
            "labels_ would not be what predict returns."
        )
    if codes.shape != (len(rows), width):
        raise ValueError(
            f"encoder makes codes of shape {tuple(codes.shape)} of {len(rows)} "
            f"rows, and n_components={width} asks for {(len(rows), width)}."
        )
    n_changes = codes._version
    try:
        back = module.decode(codes)
    except Exception as error:
        raise ValueError(
            f"encoder does not decode codes of width {width}: decode raised "
            f"{_told(error)}"
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
    return codes, back


def _check_copies(module, rows, dtype, trained):
    """Raise where a fit could not copy the network at its end, or predict by it."""
    few = rows[:2]
    trial = _settled_copy(module, few)
    if trained:  # which may leave something in it
        _check_training(trial.train(), rows.clone())
        trial = _settled_copy(trial.eval(), few)
    try:
        with torch.inference_mode():
            trial.to(dtype)
            trial.decode(trial.encode(few.to(dtype)))
    except Exception as error:
        raise ValueError(
            f"encoder does not take rows of {dtype}, as X has them and as it has to "
            "predict. Tensors that a network holds must be parameters or buffers; or "
            f"pass X as float32. It raised {_told(error)}"
        ) from error


def _check_training(module, rows):
    """Raise where a batch of one row cannot be normalized."""
    try:
        module.decode(module.encode(rows))
    except Exception as error:
        if len(rows) > 1:
            raise ValueError(
                f"encoder cannot be trained: in training it raised {_told(error)}"
            ) from error
        raise ValueError(
            "encoder cannot be trained on batches of one row; where it normalizes a "
            "batch that takes a batch_size of 2 and as many distinct rows. It raised "
            f"{_told(error)}"
        ) from error


def _settled_copy(module, rows):
    """A copy after a pass without gradients, as the copies of a fit are.

    Weights that are computed at every pass, as by weight_norm, know of none then.
    """
    with torch.no_grad():
        module.decode(module.encode(rows))
    return copied(module)


def copied(module):
    """Copy a network, or raise an error that says why it cannot be."""
    try:
        return copy.deepcopy(module)
    except Exception as error:
        raise ValueError(
            f"encoder cannot be copied, and a fit keeps a copy of it: {_told(error)}"
        ) from error


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


def layers(module):
    """The shapes of all that a network holds, by name; None where it is not known."""
    parts = (*module.named_parameters(), *module.named_buffers())
    return {
        name: None if nn.parameter.is_lazy(part) else tuple(part.shape)
        for name, part in parts
    }
