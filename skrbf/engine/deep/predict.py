"""Codes of rows and rows of codes, block by block, in the precision of the rows."""

import copy
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from skrbf.engine.data.compute import Compute
from skrbf.engine.data.constants import MAX_SCALED_VALUE
from skrbf.engine.data.rows import Rows
from skrbf.engine.data.training_data import TrainingData
from skrbf.nn.autoencoder import Autoencoder

# Temporaries of a row in a network, beside its features, for the size of blocks. Layers
# are wider, but reading their weights takes a few hundred rows to pay off.
NETWORK_COLUMNS = 256
_ENOUGH_ROWS = (
    128  # rows of a block, where they fit into the memory but not into a cache
)


def network_blocks(data: TrainingData) -> Iterator[Tensor]:
    """Yield the rows in blocks for a network."""
    columns = NETWORK_COLUMNS + data.rows.shape[1]
    for rows, _, _ in data.blocks(columns, _ENOUGH_ROWS):
        yield rows


class Encoder(NamedTuple):
    """An autoencoder on a device, with the scaling of its rows."""

    module: Autoencoder
    mean: Tensor  # (d,)
    scale: Tensor  # (d,)

    def scaled(self, block: Tensor) -> Tensor:
        """Rows (m, d), dense or CSR, as the network sees them."""
        rows = block if block.layout == torch.strided else block.to_dense()
        return ((rows - self.mean) / self.scale).clamp(
            -MAX_SCALED_VALUE, MAX_SCALED_VALUE
        )

    def encode(self, scaled: Tensor) -> Tensor:
        """Codes (m, c) of rows (m, d) as the network sees them.

        Raises
        ------
        ValueError
            If a code is not finite.
        """
        codes = self.module.encode(scaled)
        if not bool(codes.isfinite().all()):
            raise ValueError(
                "The autoencoder makes codes that are not finite of rows of X that lie "
                "far from those of the fit; leave such rows out."
            )
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """Rows (m, d), in units of the data, of codes (m, c).

        What their precision cannot hold is its largest number.
        """
        most = torch.finfo(self.mean.dtype).max
        rows = self.module.decode(codes) * self.scale + self.mean
        return rows.clamp(-most, most)


class EncodedRows(NamedTuple):
    """The codes of rows: made block by block, never all at once."""

    rows: Rows
    encoder: Encoder

    def blocks(self, columns: int) -> Iterator[tuple[int, int, Tensor]]:
        wide = max(columns, NETWORK_COLUMNS + self.rows.n_features)
        for start, stop, block in self.rows.blocks(wide):
            yield start, stop, self.encoder.encode(self.encoder.scaled(block))


def make_encoder(
    module: Autoencoder, mean: Tensor, scale: Tensor, compute: Compute
) -> Encoder:
    """A network for prediction, in the dtype and on the device of rows.

    The network itself if it is there already, or a copy: it is never changed.
    """
    there = all(
        each.device == compute.device and each.dtype == compute.dtype
        for each in module.parameters()
    )
    if not there or any(each.training for each in module.modules()):
        module = copy.deepcopy(module).to(compute.device, compute.dtype).eval()
    return Encoder(module, mean, scale)


def n_parameters(module: Autoencoder) -> int:
    """Count the parameters: about the multiply-adds for one row, of dense layers."""
    return sum(each.numel() for each in module.parameters())


def reconstruction_errors(
    rows: Rows, encoder: Encoder
) -> Iterator[tuple[int, int, Tensor, Tensor]]:
    """Yield (start, stop, errors (m,), codes (m, c)) of every block.

    Errors (eq-reconstruction) are in units of the mean variance of the features.
    """
    for start, stop, block in rows.blocks(NETWORK_COLUMNS + rows.n_features):
        scaled = encoder.scaled(block)
        codes = encoder.encode(scaled)
        errors = (encoder.module.decode(codes) - scaled).square().mean(1)
        yield start, stop, errors, codes
