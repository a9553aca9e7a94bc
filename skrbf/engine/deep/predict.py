"""Codes of rows and rows of codes, block by block, in the precision of the rows."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from skrbf.engine.data.constants import MAX_SCALED_VALUE
from skrbf.engine.data.device import Compute
from skrbf.engine.data.rows import Rows, as_dense
from skrbf.engine.data.scaling import Scaling
from skrbf.engine.data.training_data import TrainingData
from skrbf.engine.deep import constants
from skrbf.engine.deep.constants import NETWORK_COLUMNS
from skrbf.nn.autoencoder import Autoencoder


def network_blocks(data: TrainingData) -> Iterator[Tensor]:
    """Yield the rows in blocks for a network."""
    columns = NETWORK_COLUMNS + data.rows.shape[1]
    for rows, _, _ in data.blocks(columns, constants.MIN_NETWORK_BLOCK_ROWS):
        yield rows


def n_parameters(module: Autoencoder) -> int:
    """Count the parameters: about the multiply-adds per row of dense layers."""
    return sum(parameter.numel() for parameter in module.parameters())


def prediction_module(module: Autoencoder, compute: Compute) -> Autoencoder:
    """Give a network for prediction, in the dtype and on the device of the rows.

    It is the network itself if it is there already, otherwise a copy: `module` never
    changes.
    """
    fits = all(
        parameter.device == compute.device and parameter.dtype == compute.dtype
        for parameter in module.parameters()
    )
    if fits and not any(part.training for part in module.modules()):
        return module
    return copy.deepcopy(module).to(compute.device, compute.dtype).eval()


def scale_rows(block: Tensor, scaling: Scaling) -> Tensor:
    """Scale rows (m, d), dense or CSR, for the network."""
    scaled = (as_dense(block) - scaling.mean) / scaling.scale
    return scaled.clamp(-MAX_SCALED_VALUE, MAX_SCALED_VALUE)


def encode_rows(module: Autoencoder, scaled: Tensor) -> Tensor:
    """Compute the codes (m, c) of scaled rows (m, d); raise an error if not finite."""
    codes = module.encode(scaled)
    if not bool(codes.isfinite().all()):
        raise ValueError(
            "The autoencoder makes codes that are not finite for rows of X that lie "
            "far from those of the fit; leave such rows out."
        )
    return codes


def decode_codes(module: Autoencoder, codes: Tensor, scaling: Scaling) -> Tensor:
    """Compute the rows (m, d), in units of the data, of codes (m, c).

    Numbers beyond the range of their precision become its largest number.
    """
    largest = torch.finfo(scaling.mean.dtype).max
    rows = module.decode(codes) * scaling.scale + scaling.mean
    return rows.clamp(-largest, largest)


class EncodedRows:
    """Codes of a table, computed block by block and never all at once."""

    def __init__(self, rows: Rows, module: Autoencoder, scaling: Scaling) -> None:
        self.rows = rows
        self.module = module
        self.scaling = scaling

    def blocks(self, columns: int) -> Iterator[tuple[int, int, Tensor]]:
        """Yield (start, stop, codes), with room for `columns` temporaries per row."""
        columns = max(columns, NETWORK_COLUMNS + self.rows.n_features)
        for start, stop, block in self.rows.blocks(columns):
            yield start, stop, encode_rows(self.module, scale_rows(block, self.scaling))

    def blocks_with_errors(self) -> Iterator[tuple[int, int, Tensor, Tensor]]:
        """Yield (start, stop, codes (m, c), errors (m,)).

        Reconstruction errors (eq-reconstruction) are in units of the mean variance of
        the features.
        """
        columns = NETWORK_COLUMNS + self.rows.n_features
        for start, stop, block in self.rows.blocks(columns):
            scaled = scale_rows(block, self.scaling)
            codes = encode_rows(self.module, scaled)
            errors = (self.module.decode(codes) - scaled).square().mean(1)
            yield start, stop, codes, errors


def reconstruction_error(module: Autoencoder, data: TrainingData) -> float:
    """Compute the reconstruction error of some rows, in units of that of the mean.

    It is 0 if all rows are equal.
    """
    step = max(1, len(data.rows) // constants.UNTRAINED_TEST_ROWS)
    some = data._replace(rows=data.rows[::step], weight=data.weight[::step])
    with torch.no_grad():
        errors = [
            (module.decode(module.encode(rows)) - rows).square().mean(1)
            for rows in network_blocks(some)
        ]
    error_of_mean = float(some.weight @ some.rows.square().mean(1))
    if error_of_mean == 0:
        return 0.0
    return float(some.weight @ torch.cat(errors)) / error_of_mean


def linear_reconstruction_error(data: TrainingData, n_components: int) -> float:
    """Compute the error of principal components, in units of that of the mean."""
    step = max(1, len(data.rows) // constants.LINEAR_TEST_ROWS)
    rows, weight = data.rows[::step].double(), data.weight[::step].double()
    weighted = rows * weight.sqrt()[:, None]  # (m, d)
    squares = torch.linalg.svdvals(weighted).square()  # (min(m, d),)
    total = float(squares.sum())
    return float(squares[n_components:].sum()) / total if total else 0.0
