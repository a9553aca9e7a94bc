"""Checks of the parameters of DeepCenteringClustering, and the settings they make."""

import math
from functools import partial
from numbers import Integral

import numpy as np

from skrbf._base import warn
from skrbf.engine.deep.center_updates import CENTER_UPDATES
from skrbf.engine.deep.config import (
    ClusteringConfig,
    TrainingConfig,
    augment_in_data_units,
)
from skrbf.ops.assignment import ASSIGNMENTS
from skrbf.ops.centering import BOUNDED_CODE_LOSSES, CENTERING_LOSSES


def training_config(estimator, data, pretrained):
    """Make the settings of the training of the network."""
    augment, shape = estimator.augment, estimator.input_shape
    if augment is not None:
        mean, scale = (part.float().to(data.rows.device) for part in data.scaling)
        augment = partial(
            augment_in_data_units,
            augment=augment,
            mean=mean,
            scale=scale,
            input_shape=None if shape is None else tuple(map(int, shape)),
        )
    return TrainingConfig(
        pretrain_epochs=0 if pretrained else int(estimator.pretrain_epochs),
        batch_size=int(estimator.batch_size),
        learning_rate=float(estimator.learning_rate),
        denoising=float(estimator.denoising),
        augment=augment,
        has_user_code=augment is not None or not isinstance(estimator.encoder, str),
    )


def clustering_config(estimator):
    """Make the settings of the clustering of the codes."""
    interval, reset = estimator.reinit_interval, estimator.weight_reset
    return ClusteringConfig(
        n_epochs=int(estimator.max_iter),
        n_clusters=int(estimator.n_clusters),
        weight=float(estimator.clustering_weight),
        temperature=float(estimator.temperature),
        assignment=ASSIGNMENTS[estimator.assignment],
        loss=CENTERING_LOSSES[estimator.centering],
        penalize_scale=estimator.centering not in BOUNDED_CODE_LOSSES,
        differentiate_assignments=bool(estimator.differentiate_assignments),
        assign_once_per_epoch=estimator.assignment_update == "epoch",
        reinit_interval=None if interval is None else int(interval),
        grow_centers=estimator.reinit == "grow",
        weight_reset=None if reset is None else float(reset),
        tol=float(estimator.tol),
        **CENTER_UPDATES[estimator.center_update],
    )


def check_parameters(estimator, n_features):
    """Check what the constraints of single parameters cannot, and warn."""
    sizes = estimator.hidden_layer_sizes
    if np.ndim(sizes) != 1 or not all(map(_is_count, sizes)):
        raise ValueError(
            f"hidden_layer_sizes must hold positive integers; got {sizes!r}."
        )
    if estimator.encoder == "conv" and estimator.input_shape is None:
        raise ValueError("encoder='conv' needs input_shape, the shape of a row.")
    _check_input_shape(estimator.input_shape, n_features)
    if estimator.weight_reset is not None and estimator.reinit_interval is None:
        raise ValueError(
            "weight_reset needs a reinit_interval, since a reset follows K-means."
        )
    if isinstance(estimator.augment, type):
        name = estimator.augment.__name__
        raise ValueError(f"augment is the class {name}; pass an instance, {name}().")
    is_builtin = isinstance(estimator.encoder, str)  # other networks are tested
    linear = is_builtin and estimator.code_activation != "tanh"
    if estimator.centering in BOUNDED_CODE_LOSSES and linear:
        raise ValueError(
            f"centering={estimator.centering!r} has no lower bound unless codes are "
            "bounded; use code_activation='tanh'."
        )
    _warn_about_settings(estimator)


def _check_input_shape(shape, n_features):
    """Raise an error if a shape is not that of images with as many pixels."""
    if shape is not None and (
        len(shape) not in (2, 3)
        or not all(map(_is_count, shape))
        or math.prod(map(int, shape)) != n_features
    ):
        raise ValueError(
            f"input_shape={shape!r} does not match the {n_features} features of X; it "
            "must be (height, width) or (channels, height, width)."
        )


def _is_count(value):
    """Tell positive integers from other values."""
    return isinstance(value, Integral) and not isinstance(value, bool) and value > 0


def _warn_about_settings(estimator):
    """Warn about valid but unusual settings."""
    shape, interval = estimator.input_shape, estimator.reinit_interval
    if shape is not None and len(shape) == 3 and shape[2] <= 4 < min(shape[:2]):
        height, width, channels = shape
        warn(
            f"input_shape={shape!r} is read as {height} channels of {width} x "
            f"{channels}. If the channels come last, move them to the front: "
            f"X.reshape(-1, *{shape!r}).transpose(0, 3, 1, 2).reshape(len(X), -1), "
            f"with input_shape={(channels, height, width)!r}.",
            UserWarning,
        )
    if estimator.weight_reset is not None and 0 < estimator.max_iter <= interval:
        warn(
            f"No weights are reset: the first epoch after K-means is {interval + 1}, "
            f"but max_iter={estimator.max_iter}. Lower reinit_interval or raise "
            "max_iter.",
            UserWarning,
        )
