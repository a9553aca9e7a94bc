"""Training of an RBF network: a mixin of its estimator."""

import sys

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning

from skrbf._base import draw_seed, warn
from skrbf._convert import to_rows, unscale
from skrbf._observe import FitObserver
from skrbf._rbf_net.targets import check_known_labels, encode_labels, row_weights
from skrbf.engine.data.training_data import prepare
from skrbf.engine.rbf import fit as rbf
from skrbf.engine.rbf.config import RBFConfig, output_max_iter, resolve_solver
from skrbf.engine.rbf.constants import ALPHA_CANDIDATES, MAX_MEAN_ALPHA
from skrbf.engine.rbf.initial_units import initial_units
from skrbf.engine.rbf.objective import Objective
from skrbf.engine.rbf.output_layer import choose_alpha
from skrbf.engine.rbf.widths import parametrize
from skrbf.engine.training.loop import Stopping
from skrbf.ops.rbf_units import ACTIVATIONS, RBFParameters
from skrbf.ops.unit_kernel import unit_kernel

# Parameters that determine the structure of a network: a fit that goes on cannot change
# them.
_STRUCTURE = ("n_centers", "assignment", "width")


class TrainingObserver(FitObserver):
    """Observer of the steps of a training."""

    fields = ("phase", "loss", "validation_score")

    def format_record(self, record):
        """Format a record for `verbose`."""
        held_out = record.validation_score
        score = "" if np.isnan(held_out) else f", validation score {held_out:.4f}"
        return f"loss {record.loss:.6g}{score}"


class RBFTraining:
    """Private methods of :class:`RBFNetClassifier` that train it."""

    def _fit(self, X, y, sample_weight, classes, resume):
        given = X, y, {"sample_weight": sample_weight}
        X, y = self._validate(X, check_known_labels(y), reset=True)
        is_stream = classes is not None
        classes, labels = encode_labels(y, classes)
        if resume:
            self._check_resumable(X, classes)
        structure = {name: getattr(self, name) for name in _STRUCTURE}
        with self._compute(X, self.n_centers).limited_threads():
            held_out, config, objective, start, initial = self._prepare(
                X, labels, classes, sample_weight, resume
            )
            max_steps = config.stopping.max_iter
            max_steps += 0 if resume else output_max_iter(max_steps)

            def attributes(record, network):
                return {
                    "n_features_in_": X.shape[1],
                    "classes_": classes,
                    "_structure": structure,
                    **self._network_attributes(network, objective.data.scaling),
                }

            observer = TrainingObserver(self, *given, attributes, max_steps)
            descent, score, diverged = rbf.fit(
                objective, held_out, config, start, observer
            )
            written = {
                **attributes(None, descent.state),
                **self._describe(objective, descent.state),
                **initial,
                "_moments": None,
                "loss_": descent.objective,
                "validation_score_": score,
                "history_": observer.history(),
                "loss_curve_": observer.history()["loss"],
                "n_iter_": descent.n_iter,
            }
            observer.end(written)
        self._warn_of_missing_units(config, is_stream)
        self._warn_of_max_iter(config, descent)
        self._warn_of_divergence(diverged, written)
        vars(self).update(written)
        return self

    def _prepare(self, X, labels, classes, sample_weight, resume):
        """Prepare all that a fit needs but its observer."""
        generator, validation = self._generator(), None
        if self.early_stopping:
            validation = float(self.validation_fraction), generator
        scaling = self._scaling() if resume else None
        weight, unit = row_weights(X, labels, classes, sample_weight, self.class_weight)
        data, held_out = self._training_data(
            X, labels, weight, self.n_centers, scaling, validation
        )
        config = self._config(data, generator)
        begin = self._resume if resume else self._start
        objective, start, initial = begin(data, classes, config, unit * data.weight_sum)
        return held_out, config, objective, start, initial

    def _fit_batch(self, X, y, sample_weight):
        X, y = self._validate(X, check_known_labels(y), reset=False)
        self._check_structure("partial_fit")
        classes, k = self.classes_, self._n_features_out
        _, labels = encode_labels(y, classes)
        with self._compute(X, k).limited_threads():
            weight, unit = row_weights(
                X, labels, classes, sample_weight, self.class_weight
            )
            data, _ = self._training_data(X, labels, weight, k, self._scaling(), None)
            config = self._config(data, self._generator())
            weight_sum = self._training_state["weight_sum"] + unit * data.weight_sum
            objective, network, initial = self._resume(
                data, classes, config, weight_sum
            )
            moments = self._moments
            if moments is not None:
                moments = (*map(data.rows.new_tensor, moments[:2]), moments[2])
            network, moments, loss = rbf.fit_batch(objective, network, moments, config)
            first, second = (part.cpu().numpy().copy() for part in moments[:2])
            record = {"phase": "batch", "loss": loss, "validation_score": np.nan}
            history = {
                name: [*past, record[name]] for name, past in self.history_.items()
            }
            written = {
                **self._network_attributes(network, data.scaling),
                **self._describe(objective, network),
                **initial,
                "_moments": (first, second, moments[2]),
                "loss_": loss,
                "history_": history,
                "loss_curve_": history["loss"].copy(),
                "n_iter_": self.n_iter_ + 1,
            }
        vars(self).update(written)
        return self

    def _generator(self):
        return torch.Generator().manual_seed(draw_seed(self.random_state))

    def _training_data(self, X, labels, weight, n_units, scaling, validation):
        """Prepare rows for training and validation."""
        host = self._compute(X, 1, device="cpu")
        return prepare(
            to_rows(X.toarray() if issparse(X) else X, host),
            torch.from_numpy(labels.astype(np.int64)),
            None if weight is None else torch.from_numpy(weight),
            self._compute(X, n_units, dtype=np.float32),
            scaling=scaling,
            per_feature=bool(self.scale),
            validation=validation,
        )

    def _config(self, data, generator):
        # The number of distinct rows decides, so that weights are repetitions.
        sizes = (self.max_iter, self.batch_size)
        sizes = (None if size == "auto" else int(size) for size in sizes)
        solver, max_iter, batch_size = resolve_solver(
            self.solver, *sizes, len(data.rows)
        )
        return RBFConfig(
            min(int(self.n_centers), data.n_points),
            bool(self.per_class),
            self.width,
            None if self.width_factor == "auto" else float(self.width_factor),
            solver,
            batch_size,
            float(self.learning_rate),
            Stopping(max_iter, float(self.tol), int(self.n_iter_no_change)),
            generator,
        )

    def _start(self, data, classes, config, weight_sum):
        """Create the objective and the units of a new network."""
        auto = self.alpha == "auto"
        alpha = ALPHA_CANDIDATES[0] if auto else float(self.alpha)
        mean_alpha = _mean_alpha(alpha, weight_sum)
        units, factor = initial_units(
            data, config, len(classes), self._activation(), mean_alpha
        )
        objective = self._objective(data, classes, mean_alpha, units)
        if auto:
            alpha = choose_alpha(objective, units)
            objective = objective._replace(alpha=_mean_alpha(alpha, weight_sum))
        return objective, units, _initial_attributes(units, factor, alpha, weight_sum)

    def _resume(self, data, classes, config, weight_sum):
        """Create the objective of the fitted network, and the network for training."""
        alpha = self.alpha_ if self.alpha == "auto" else float(self.alpha)
        initial = self._training_state["initial_units"]
        if len(self.centers_) != len(initial[0]):
            raise ValueError(
                f"centers_ has {len(self.centers_)} rows, but training goes on only "
                f"with the {len(initial[0])} units of the fit."
            )
        units = RBFParameters(*map(data.rows.new_tensor, initial))
        mean_alpha = _mean_alpha(alpha, weight_sum)
        objective = self._objective(data, classes, mean_alpha, units)
        network = self._network(data.rows)
        network = network._replace(units=parametrize(network.units, config.width))
        objective = objective._replace(anchor=network.units.centers)
        factor = self.width_factor_
        return objective, network, _initial_attributes(units, factor, alpha, weight_sum)

    def _objective(self, data, classes, mean_alpha, units):
        return Objective(
            data,
            len(classes),
            self._activation(),
            mean_alpha,
            float(self.center_penalty),
            float(self.label_smoothing),
            unit_kernel(units, self._activation()),
            units.centers,
        )

    def _activation(self):
        return ACTIVATIONS[self.assignment or "gaussian"]

    def _check_resumable(self, X, classes):
        """Check that a fit can go on from the fitted network."""
        self._check_same_classes(classes)
        if X.shape[1] != self.centers_.shape[1]:
            raise ValueError(
                f"X has {X.shape[1]} features, but warm_start=True continues from a "
                f"network with {self.centers_.shape[1]}."
            )
        self._check_structure("warm_start=True")

    def _check_structure(self, source):
        """Check that the parameters are those of the network, which `source` trains."""
        for name, fitted in self._structure.items():
            value = getattr(self, name)
            if value != fitted:
                raise ValueError(
                    f"{name}={value!r}, but {source} continues from a network with "
                    f"{name}={fitted!r}; call fit with warm_start=False to start anew."
                )

    def _check_same_classes(self, classes):
        if not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"classes={classes} is not the same as on the last call: "
                f"{self.classes_}."
            )

    def _network_attributes(self, network, scaling):
        """Collect the attributes that predict, in units of the data."""
        weight = network.weight - network.weight.mean(0)
        bias = network.bias - network.bias.mean()
        centers, log_widths, log_scales = (
            part.cpu().double().numpy() for part in network.units
        )
        mean, scale = (part.numpy().copy() for part in scaling)
        with np.errstate(over="ignore"):
            widths = np.exp(log_widths + log_scales + np.zeros_like(centers))
        widths = unscale(widths, 0.0, scale, np.float64)
        return {
            "mean_": mean,
            "scale_": scale,
            "centers_": unscale(centers, mean, scale, np.float64),
            "widths_": np.maximum(widths, np.finfo(np.float64).tiny),
            "coef_": weight.cpu().double().numpy(),
            "intercept_": bias.cpu().double().numpy(),
        }

    def _warn_of_missing_units(self, config, is_stream):
        if is_stream and config.n_centers < self.n_centers:
            warn(
                f"The first batch has only {config.n_centers} distinct rows, so there "
                f"are {config.n_centers} units instead of n_centers={self.n_centers}, "
                "and later batches add none. Use a larger first batch or a smaller "
                "n_centers.",
                ConvergenceWarning,
            )

    def _warn_of_max_iter(self, config, descent):
        max_iter = config.stopping.max_iter
        is_limited = self.max_iter != "auto" and max_iter > 0
        if config.solver == "lbfgs" and is_limited and not descent.converged:
            warn(
                f"RBFNetClassifier did not converge in max_iter={max_iter} iterations; "
                "increase max_iter, or tol.",
                ConvergenceWarning,
            )

    def _warn_of_divergence(self, diverged, written):
        alpha, weight_sum = written["alpha_"], written["_training_state"]["weight_sum"]
        if diverged and alpha >= weight_sum:
            warn(
                f"alpha={alpha:.3g} is large compared with the total weight of the "
                f"rows, {weight_sum:.3g}: the penalty dominates the loss, and fit "
                "keeps the network from before joint training. Lower alpha, or scale "
                "sample_weight to a mean of 1.",
                ConvergenceWarning,
            )
        elif diverged:
            factor = written["width_factor_"]
            warn(
                "Joint training of RBFNetClassifier diverged: its loss stayed above "
                f"its initial value, {written['loss_']:.4g}, and fit keeps the network "
                "from before joint training. Lower learning_rate, or set width_factor "
                f"to a smaller number than {factor:.3g}.",
                ConvergenceWarning,
            )


def _mean_alpha(alpha, weight_sum):
    """Convert the penalty beside a sum of losses to one beside their mean."""
    return min(alpha / max(weight_sum, sys.float_info.min), MAX_MEAN_ALPHA)


def _initial_attributes(units, factor, alpha, weight_sum):
    """Collect the attributes that are known before the training."""
    return {
        "width_factor_": factor,
        "alpha_": alpha,
        "_training_state": {
            "initial_units": tuple(part.cpu().numpy().copy() for part in units),
            "weight_sum": weight_sum,
        },
    }
